//! Queries of definitions: filters, expansions, segments behind a cast, keys, option sets, relationships.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod client;

use client::Client;
use serde_json::{Value, json};

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn names(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["LogicalName"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn definitions_are_filtered_by_a_grammar() {
    let client = Client::start(0).await;
    let cases: [(&str, &[&str]); 10] = [
        ("LogicalName eq 'account' or LogicalName eq 'contact'", &["account", "contact"]),
        ("(LogicalName eq 'account' or LogicalName eq 'contact') and ObjectTypeCode eq 2", &["contact"]),
        (
            "not (LogicalName eq 'account') and ChangeTrackingEnabled eq true and IsActivity eq false",
            &["contact", "new_vehicle"],
        ),
        ("LogicalName eq 'a and b' or LogicalName eq 'contact'", &["contact"]),
        ("'contact' eq LogicalName", &["contact"]),
        ("CanChangeTrackingBeEnabled/Value eq false", &[]),
        ("ObjectTypeCode lt 3", &["account", "contact"]),
        ("LogicalName ne 'new_vehicle' and IsActivity eq false", &["account", "contact", "systemuser"]),
        ("IsCustomEntity eq true and IsActivity eq false", &["new_vehicle"]),
        ("LogicalName eq @p", &["contact"]),
    ];
    for (filter, expected) in cases {
        let path = format!("EntityDefinitions?$select=LogicalName&$filter={}&@p='contact'", encoded(filter));
        assert_eq!(names(&client.get(&path).await.expect(200).rows()), expected, "{filter}");
    }
    let base = "EntityDefinitions(LogicalName='contact')/Attributes?$select=LogicalName&$filter=";
    let types = [
        ("AttributeType eq Microsoft.Dynamics.CRM.AttributeTypeCode'Customer'", "parentcustomerid"),
        ("AttributeTypeName/Value eq 'CustomerType'", "parentcustomerid"),
        ("IsPrimaryName eq true", "fullname"),
        ("MaxLength eq 160", "fullname"),
    ];
    for (filter, expected) in types {
        let rows = client.get(&format!("{base}{}", encoded(filter))).await.expect(200).rows();
        assert_eq!(names(&rows), [expected], "{filter}");
    }
    let wrong = [
        "Nonsense eq 'x'",
        "LogicalName eq",
        "(LogicalName eq 'x'",
        "LogicalName eq 'x",
        "LogicalName is 'x'",
        "LogicalName eq Nonsense",
        "CanChangeTrackingBeEnabled/Nonsense eq true",
    ];
    for filter in wrong {
        assert_eq!(
            client.get(&format!("EntityDefinitions?$filter={}", encoded(filter))).await.expect(400).code(),
            "0x80060888",
            "{filter}"
        );
    }
}

#[tokio::test]
async fn expansions_have_options_of_their_own() {
    let client = Client::start(0).await;
    let inner = encoded("MaxLength eq 160 or LogicalName eq 'gendercode'");
    let path = format!(
        "EntityDefinitions(LogicalName='contact')?$select=LogicalName&$expand=Attributes($select=LogicalName,MaxLength;$filter={inner}),ManyToManyRelationships"
    );
    let table = client.get(&path).await.expect(200).json();
    let columns = table["Attributes"].as_array().unwrap();
    assert_eq!(names(columns), ["fullname", "gendercode"]);
    assert_eq!((&columns[0]["MaxLength"], columns[1].get("MaxLength")), (&json!(160), None));
    assert_eq!(table["ManyToManyRelationships"], json!([]));
    let all = client.get("EntityDefinitions(LogicalName='new_vehicle')?$expand=Attributes").await.expect(200).json();
    let of =
        |name: &str| all["Attributes"].as_array().unwrap().iter().find(|c| c["LogicalName"] == name).cloned().unwrap();
    assert_eq!(of("new_seats")["MaxValue"], 100);
    assert_eq!(of("new_registeredon")["DateTimeBehavior"]["Value"], "DateOnly");
    assert_eq!(of("new_owner")["Targets"], json!(["contact"]));
    assert!(of("new_fuel").get("OptionSet").is_none(), "only a cast leads there");
    for wrong in [
        "EntityDefinitions?$expand=Nothing",
        "EntityDefinitions(LogicalName='contact')?$expand=LogicalName",
        "EntityDefinitions(LogicalName='contact')?$expand=Attributes($select=Nothing)",
        "EntityDefinitions(LogicalName='contact')?$expand=Attributes($wrong=1)",
        "EntityDefinitions(LogicalName='contact')/Attributes?$expand=OptionSet",
        "EntityDefinitions?$select=Nothing",
    ] {
        client.get(wrong).await.expect(400);
    }
}

#[tokio::test]
async fn properties_that_clients_select_are_there() {
    let client = Client::start(0).await;
    let table = "EntityDefinitions(LogicalName='contact')?$select=DisplayCollectionName,HasNotes,Description";
    assert_eq!(client.get(table).await.expect(200).json()["HasNotes"], false);
    let columns =
        "EntityDefinitions(LogicalName='contact')/Attributes?$select=LogicalName,SourceType,IsSecured,ColumnNumber";
    let rows = client.get(columns).await.expect(200).rows();
    assert_eq!(
        (&rows[0]["ColumnNumber"], &rows[0]["IsSecured"], &rows[0]["SourceType"]),
        (&json!(1), &json!(false), &json!(0))
    );
}

#[tokio::test]
async fn segments_go_on_behind_a_cast() {
    let client = Client::start(0).await;
    let picklist = |column: &str| {
        format!(
            "EntityDefinitions(LogicalName='new_vehicle')/Attributes(LogicalName='{column}')/Microsoft.Dynamics.CRM.PicklistAttributeMetadata"
        )
    };
    let set = client.get(&format!("{}/OptionSet?$select=Options", picklist("new_fuel"))).await.expect(200).json();
    assert_eq!(set["Options"].as_array().unwrap().len(), 3);
    assert!(set.get("Name").is_none());
    client.get(&format!("{}/GlobalOptionSet", picklist("new_fuel"))).await.expect(204);
    client.get(&format!("{}/Nothing", picklist("new_fuel"))).await.expect(404);
    client.get(&picklist("new_seats")).await.expect(404);
    let extras = picklist("new_extras").replace("CRM.Picklist", "CRM.MultiSelectPicklist");
    assert_eq!(client.get(&format!("{extras}/GlobalOptionSet")).await.expect(200).json()["Name"], "new_vehicleextras");
    assert_eq!(
        client.get("EntityDefinitions(LogicalName='contact')/EntitySetName").await.expect(200).json()["value"],
        "contacts"
    );
    // An end that is empty is none.
    client.get("EntityDefinitions(LogicalName='contact')/").await.expect(200);
    client.get("EntityDefinitions(LogicalName='contact')/Attributes/").await.expect(200);
    client.get("EntityDefinitions/").await.expect(200);
    assert_eq!(
        client.get("EntityDefinitions(LogicalName='contact')/ManyToManyRelationships").await.expect(200).rows().len(),
        0
    );
}

#[tokio::test]
async fn ids_have_no_letter_case() {
    let client = Client::start(0).await;
    let table = client.get("EntityDefinitions(LogicalName='contact')?$select=LogicalName").await.json();
    let id = table["MetadataId"].as_str().unwrap().to_uppercase();
    assert_eq!(client.get(&format!("EntityDefinitions({id})")).await.expect(200).json()["LogicalName"], "contact");
    let column = client
        .get("EntityDefinitions(LogicalName='contact')/Attributes(LogicalName='firstname')")
        .await
        .expect(200)
        .json();
    let own = column["MetadataId"].as_str().unwrap().to_uppercase();
    let found = client.get(&format!("EntityDefinitions({id})/Attributes({own})")).await.expect(200).json();
    assert_eq!(found["LogicalName"], "firstname");
}

#[tokio::test]
async fn option_sets_and_relationships_are_listed_and_named() {
    let client = Client::start(0).await;
    let sets = client.get("GlobalOptionSetDefinitions").await.expect(200).rows();
    assert_eq!((sets.len(), &sets[0]["Name"]), (1, &json!("new_vehicleextras")));
    let one = client.get("GlobalOptionSetDefinitions(Name='new_vehicleextras')").await.expect(200).json();
    assert_eq!(one["Options"].as_array().unwrap().len(), 3);
    client.get(&format!("GlobalOptionSetDefinitions({})", one["MetadataId"].as_str().unwrap())).await.expect(200);
    client.get("GlobalOptionSetDefinitions(Name='nothing')").await.expect(404);
    let filter = encoded("ReferencingEntity eq 'new_vehicle' and ReferencedEntity eq 'contact'");
    let found = client
        .get(&format!("RelationshipDefinitions/Microsoft.Dynamics.CRM.OneToManyRelationshipMetadata?$filter={filter}"))
        .await
        .expect(200)
        .rows();
    assert_eq!(found[0]["ReferencingEntityNavigationPropertyName"], "new_Owner");
    let name = found[0]["SchemaName"].as_str().unwrap();
    client.get(&format!("RelationshipDefinitions(SchemaName='{name}')")).await.expect(200);
    let many =
        client.get("RelationshipDefinitions/Microsoft.Dynamics.CRM.ManyToManyRelationshipMetadata").await.expect(200);
    assert_eq!(many.rows().len(), 0);
    let counters = client.counters().await;
    assert_eq!(counters["dataverse"]["requests"], json!({}), "all of these are set-up requests");
}
