//! Definitions of tables.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by a panic, also in what it shares"
)]

mod support;

use d365_client::ErrorKind;
use d365_client::metadata::{AttributeType, DateTimeBehavior};
use http_kit::testing::{ScriptedTransport, response};
use support::{BASE, client, line};

const TABLE: &str = r##"{"@odata.context":"x","LogicalName":"contact","EntitySetName":"contacts","SchemaName":"Contact",
 "PrimaryIdAttribute":"contactid","PrimaryNameAttribute":"fullname","IsActivity":false,"ChangeTrackingEnabled":true,
 "IsOptimisticConcurrencyEnabled":true,"MetadataId":"608861bc-50a4-4c5f-a02c-21fe1943e2cf","LaterMember":{"a":[1]},
 "Keys":[{"SchemaName":"adx_key","LogicalName":"adx_key","KeyAttributes":["externaluseridentifier"],"EntityKeyIndexStatus":"Active"},
         {"LogicalName":"slow","KeyAttributes":["employeeid","department"],"EntityKeyIndexStatus":"Pending"}]}"##;

fn plain(name: &str, kind: &str, extra: &str) -> String {
    format!(
        r##"{{"@odata.type":"#Microsoft.Dynamics.CRM.{kind}AttributeMetadata","LogicalName":"{name}","AttributeType":"Virtual",
        "AttributeTypeName":{{"Value":"{kind}Type"}},"AttributeOf":null,"IsPrimaryId":false,"IsPrimaryName":false,"IsValidForRead":true,
        "IsValidForCreate":true,"IsValidForUpdate":true{extra}}}"##
    )
}

fn label(text: &str, german: &str) -> String {
    format!(
        r#"{{"LocalizedLabels":[{{"Label":"{text}","LanguageCode":1033,"IsManaged":true}},{{"Label":"{german}","LanguageCode":1031}}],
        "UserLocalizedLabel":{{"Label":"{text}","LanguageCode":1033}}}}"#
    )
}

fn option(value: i32, text: &str, german: &str, extra: &str) -> String {
    format!(r#"{{"Value":{value},"Label":{}{extra}}}"#, label(text, german))
}

/// Answers like the service, whatever the order of the casts.
fn service(script: &ScriptedTransport) {
    script.handle(|request| {
        let path = request.url.path();
        let columns = [
            plain("contactid", "Uniqueidentifier", r#","MetadataId":"x""#),
            plain("fullname", "String", ""),
            plain("description", "Memo", ""),
            plain("birthdate", "DateTime", ""),
            plain("createdon", "DateTime", ""),
            plain("creditlimit", "Money", ""),
            plain("gendercode", "Picklist", ""),
            plain("leadsourcecode", "Picklist", ""),
            plain("new_tags", "MultiSelectPicklist", ""),
            plain("statecode", "State", ""),
            plain("statuscode", "Status", ""),
            plain("donotemail", "Boolean", ""),
            plain("parentcustomerid", "Customer", ""),
            plain("ownerid", "Owner", ""),
            plain("versionnumber", "BigInt", ""),
            plain("entityimage", "Image", ""),
            r#"{"LogicalName":"gendercodename","AttributeType":"Virtual","AttributeTypeName":{"Value":"VirtualType"},"AttributeOf":"gendercode"}"#.to_owned(),
        ]
        .join(",");
        let body = match path.rsplit('.').next().unwrap_or_default() {
            "StringAttributeMetadata" => r#"{"value":[{"LogicalName":"fullname","MaxLength":160}]}"#.to_owned(),
            "MemoAttributeMetadata" => r#"{"value":[{"LogicalName":"description","MaxLength":2000}]}"#.to_owned(),
            "DateTimeAttributeMetadata" => r#"{"value":[{"LogicalName":"birthdate","DateTimeBehavior":{"Value":"DateOnly"}},
                {"LogicalName":"createdon","DateTimeBehavior":{"Value":"UserLocal"}}]}"#
                .to_owned(),
            "MoneyAttributeMetadata" => r#"{"value":[{"LogicalName":"creditlimit","Precision":2}]}"#.to_owned(),
            "LookupAttributeMetadata" => {
                r#"{"value":[{"LogicalName":"parentcustomerid","Targets":["account","contact"]},{"LogicalName":"ownerid","Targets":["systemuser","team"]}]}"#.to_owned()
            }
            "PicklistAttributeMetadata" => format!(
                r#"{{"value":[{{"LogicalName":"gendercode","OptionSet":{{"Name":"contact_gendercode","IsGlobal":false,"Options":[{},{}]}},"GlobalOptionSet":null}},
                {{"LogicalName":"leadsourcecode","OptionSet":{{"Options":[]}},"GlobalOptionSet":{{"Name":"shared_source","Options":[{}]}}}}]}}"#,
                option(1, "Male", "Männlich", ""),
                option(2, "Female", "Weiblich", ""),
                option(7, "Web", "Netz", "")
            ),
            "MultiSelectPicklistAttributeMetadata" => {
                format!(r#"{{"value":[{{"LogicalName":"new_tags","OptionSet":{{"Options":[{}]}}}}]}}"#, option(9, "VIP", "VIP", ""))
            }
            "StateAttributeMetadata" => {
                format!(r#"{{"value":[{{"LogicalName":"statecode","OptionSet":{{"Options":[{}]}}}}]}}"#, option(0, "Active", "Aktiv", r#","DefaultStatus":1"#))
            }
            "StatusAttributeMetadata" => {
                format!(r#"{{"value":[{{"LogicalName":"statuscode","OptionSet":{{"Options":[{}]}}}}]}}"#, option(2, "Inactive", "Inaktiv", r#","State":1"#))
            }
            "BooleanAttributeMetadata" => format!(
                r#"{{"value":[{{"LogicalName":"donotemail","OptionSet":{{"TrueOption":{},"FalseOption":{}}}}}]}}"#,
                option(1, "Do Not Allow", "Nicht zulassen", ""),
                option(0, "Allow", "Zulassen", "")
            ),
            _ if path.ends_with("/Attributes") => format!(r#"{{"value":[{columns}]}}"#),
            _ => TABLE.to_owned(),
        };
        Ok(response(200, &[], body))
    });
}

#[tokio::test]
async fn one_call_tells_all_of_a_table() {
    let (client, script) = client();
    service(&script);
    let table = client.metadata().table("contact").await.unwrap();
    assert_eq!((table.logical_name(), table.entity_set(), table.primary_id()), ("contact", "contacts", "contactid"));
    assert_eq!((table.primary_name(), table.schema_name()), (Some("fullname"), Some("Contact")));
    assert!(table.change_tracking() && table.optimistic_concurrency() && !table.is_activity());
    assert_eq!(table.keys().len(), 2);
    assert_eq!(
        (table.keys()[0].columns.as_slice(), table.keys()[0].active),
        (&["externaluseridentifier".to_owned()][..], true)
    );
    assert!(!table.keys()[1].active);

    let column = |name: &str| table.attribute(name).unwrap();
    assert_eq!(column("fullname").max_length, Some(160));
    assert_eq!(column("description").max_length, Some(2000));
    assert_eq!(column("birthdate").date_time_behavior, Some(DateTimeBehavior::DateOnly));
    assert_eq!(column("createdon").date_time_behavior, Some(DateTimeBehavior::UserLocal));
    assert_eq!((&column("creditlimit").kind, column("creditlimit").precision), (&AttributeType::Money, Some(2)));
    assert_eq!(column("parentcustomerid").targets, ["account", "contact"]);
    assert_eq!(column("ownerid").targets, ["systemuser", "team"]);
    assert_eq!(column("new_tags").kind, AttributeType::MultiSelectChoice, "not Virtual, as AttributeType says");
    assert_eq!(column("entityimage").kind, AttributeType::Image);

    let gender = column("gendercode").choices.as_ref().unwrap();
    assert_eq!((gender.name.as_deref(), gender.global), (Some("contact_gendercode"), false));
    assert_eq!(gender.label(2, None), Some("Female"));
    assert_eq!(gender.label(2, Some(1031)), Some("Weiblich"));
    assert_eq!(gender.label(2, Some(1036)), Some("Female"), "a missing language falls back to the user's");
    assert_eq!((gender.label(3, None), gender.value_of("Weiblich"), gender.value_of("x")), (None, Some(2), None));
    let source = column("leadsourcecode").choices.as_ref().unwrap();
    assert!(source.global);
    assert_eq!(source.label(7, None), Some("Web"));
    assert_eq!(column("statuscode").choices.as_ref().unwrap().options[0].state, Some(1));
    assert_eq!(column("statecode").choices.as_ref().unwrap().label(0, None), Some("Active"));
    let allowed = column("donotemail").boolean_labels.as_ref().unwrap();
    assert_eq!(
        (allowed.when_true.text(None), allowed.when_false.text(Some(1031))),
        (Some("Do Not Allow"), Some("Zulassen"))
    );

    assert_eq!(table.property("_parentcustomerid_value").unwrap().logical_name, "parentcustomerid");
    assert!(table.property("parentcustomerid").is_none(), "lookups are not read by their logical name");
    assert_eq!(column("parentcustomerid").property_name(), "_parentcustomerid_value");
    assert!(!column("gendercodename").is_selectable() && column("gendercode").is_selectable());
}

#[tokio::test]
async fn only_the_needed_requests_are_made() {
    let (client, script) = client();
    script
        .respond(200, TABLE)
        .respond(200, format!(r#"{{"value":[{}]}}"#, plain("fullname", "String", "")))
        .respond(200, r#"{"value":[{"LogicalName":"fullname","MaxLength":160}]}"#);
    client.metadata().table("contact").await.unwrap();
    let lines: Vec<String> = script.requests().iter().map(line).collect();
    assert_eq!(
        lines,
        [
            format!(
                "GET {BASE}/EntityDefinitions(LogicalName='contact')?$select=LogicalName,EntitySetName,SchemaName,\
             PrimaryIdAttribute,PrimaryNameAttribute,IsActivity,ChangeTrackingEnabled,IsOptimisticConcurrencyEnabled\
             &$expand=Keys($select=SchemaName,LogicalName,KeyAttributes,EntityKeyIndexStatus)"
            ),
            format!(
                "GET {BASE}/EntityDefinitions(LogicalName='contact')/Attributes?$select=LogicalName,SchemaName,DisplayName,\
             AttributeType,AttributeTypeName,AttributeOf,IsPrimaryId,IsPrimaryName,IsValidForRead,IsValidForCreate,\
             IsValidForUpdate,RequiredLevel"
            ),
            format!(
                "GET {BASE}/EntityDefinitions(LogicalName='contact')/Attributes/Microsoft.Dynamics.CRM.StringAttributeMetadata\
             ?$select=LogicalName,MaxLength"
            ),
        ]
    );
}

#[tokio::test]
async fn a_table_that_does_not_exist_is_named_as_such() {
    for body in [
        r#"{"error":{"code":"0x80060888","message":"Resource not found for the segment 'x'."}}"#,
        r#"{"error":{"code":"0x80041102","message":"The entity with a name = 'nope' was not found in the MetadataCache."}}"#,
        r#"{"error":{"code":"0x80040217","message":"Could not find an entity with specified key."}}"#,
        "",
    ] {
        let (client, script) = client();
        script.respond(404, body);
        assert_eq!(client.metadata().table("nope").await.unwrap_err().kind(), ErrorKind::UnknownTable);
    }
    let (client, script) = client();
    assert_eq!(client.metadata().table("a')/x").await.unwrap_err().kind(), ErrorKind::Validation);
    assert_eq!(script.count(), 0);
}
