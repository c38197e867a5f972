//! Definitions of tables and columns, the scenario's tables among them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod client;

use client::Client;
use reqwest::Method;
use serde_json::{Value, json};

const SCENARIO: &str = r#"
[[dataverse.tables]]
name = "new_region"
set = "new_regionset"
schema_name = "new_Region"
rows = 3
[[dataverse.tables.columns]]
name = "new_code"
max_length = 10
[[dataverse.tables.keys]]
name = "new_region_code"
columns = ["new_code"]

[[dataverse.tables]]
name = "new_visit"
rows = 20
change_tracking = false
columns = [
  { name = "new_regionid", type = "lookup", schema_name = "new_RegionId", targets = ["new_region"] },
  { name = "new_about", type = "lookup", schema_name = "new_About", targets = ["contact", "account"] },
  { name = "new_score", type = "integer", min = 1, max = 5 },
  { name = "new_kind", type = "picklist", choices = [{ value = 1, label = "Call" }, { value = 2, label = "Tour" }] },
  { name = "new_at", type = "date_time_zoneless" },
]
"#;

#[tokio::test]
async fn a_table_is_defined() {
    let client = Client::start(0).await;
    let select = "LogicalName,EntitySetName,SchemaName,PrimaryIdAttribute,PrimaryNameAttribute,ObjectTypeCode,ChangeTrackingEnabled";
    let table =
        client.get(&format!("EntityDefinitions(LogicalName='contact')?$select={select}")).await.expect(200).json();
    assert_eq!(table["EntitySetName"], "contacts");
    assert_eq!(table["PrimaryIdAttribute"], "contactid");
    assert_eq!(table["PrimaryNameAttribute"], "fullname");
    assert_eq!(table["ObjectTypeCode"], 2);
    assert_eq!(table["ChangeTrackingEnabled"], true);
    assert_eq!(table.as_object().unwrap().len(), 9, "what was selected, the context and MetadataId: {table}");
    let by_id = format!("EntityDefinitions({})?$select=LogicalName", table["MetadataId"].as_str().unwrap());
    assert_eq!(client.get(&by_id).await.expect(200).json()["LogicalName"], "contact");
    client.get("EntityDefinitions(LogicalName='nothing')").await.expect(404);
    let tracked =
        client.get("EntityDefinitions?$select=LogicalName&$filter=ChangeTrackingEnabled%20eq%20true").await.expect(200);
    assert_eq!(tracked.rows().len(), 7, "three tables and four activities");
    let one = client
        .get("EntityDefinitions?$select=LogicalName&$filter=EntitySetName%20eq%20%27accounts%27")
        .await
        .expect(200);
    assert_eq!(one.rows()[0]["LogicalName"], "account");
    client.get("EntityDefinitions?$filter=startswith(LogicalName,%27a%27)").await.expect(501);
    let keys = client.get("EntityDefinitions(LogicalName='account')?$select=LogicalName&$expand=Keys($select=KeyAttributes,EntityKeyIndexStatus)").await.json();
    assert_eq!(keys["Keys"][0]["KeyAttributes"], json!(["accountnumber"]));
    assert_eq!(keys["Keys"][0]["EntityKeyIndexStatus"], "Active");
}

#[tokio::test]
async fn columns_are_defined_by_kind() {
    let client = Client::start(0).await;
    let base = "EntityDefinitions(LogicalName='new_vehicle')/Attributes";
    let all = client
        .get(&format!("{base}?$select=LogicalName,AttributeType,AttributeTypeName,IsValidForCreate"))
        .await
        .expect(200)
        .rows();
    let of = |name: &str| all.iter().find(|c| c["LogicalName"] == name).cloned().unwrap_or(Value::Null);
    let kinds = [
        ("new_vehicleid", "UniqueidentifierType"),
        ("new_name", "StringType"),
        ("new_owner", "LookupType"),
        ("ownerid", "OwnerType"),
        ("new_seats", "IntegerType"),
        ("new_consumption", "DecimalType"),
        ("new_weight", "DoubleType"),
        ("new_electric", "BooleanType"),
        ("new_lastservice", "DateTimeType"),
        ("new_registeredon", "DateTimeType"),
        ("new_fuel", "PicklistType"),
        ("new_notes", "MemoType"),
        ("new_extras", "MultiSelectPicklistType"),
        ("new_price", "MoneyType"),
        ("statecode", "StateType"),
        ("statuscode", "StatusType"),
        ("versionnumber", "BigIntType"),
    ];
    for (name, kind) in kinds {
        assert_eq!(of(name)["AttributeTypeName"]["Value"], kind, "{name}");
        assert!(of(name)["@odata.type"].as_str().unwrap().ends_with("AttributeMetadata"));
    }
    assert_eq!(of("new_extras")["AttributeType"], "Virtual");
    assert_eq!(
        (&of("statecode")["IsValidForCreate"], &of("new_name")["IsValidForCreate"]),
        (&json!(false), &json!(true))
    );
    let cast = |kind: &str, rest: &str| format!("{base}/Microsoft.Dynamics.CRM.{kind}AttributeMetadata?{rest}");
    let sets = "$select=LogicalName&$expand=OptionSet($select=Options),GlobalOptionSet($select=Options)";
    let fuel = &client.get(&cast("Picklist", sets)).await.expect(200).rows()[0];
    assert_eq!(fuel["OptionSet"]["Options"][1]["Label"]["UserLocalizedLabel"]["Label"], "Diesel");
    assert_eq!(fuel["GlobalOptionSet"], json!(null));
    let extras = &client.get(&cast("MultiSelectPicklist", sets)).await.expect(200).rows()[0];
    assert_eq!(extras["OptionSet"], json!(null));
    assert_eq!(extras["GlobalOptionSet"]["Options"].as_array().unwrap().len(), 3);
    let status = &client.get(&cast("Status", sets)).await.expect(200).rows()[0];
    assert_eq!(status["OptionSet"]["Options"][1]["State"], 1);
    let truth = &client.get(&cast("Boolean", "$select=LogicalName&$expand=OptionSet")).await.expect(200).rows()[0];
    assert_eq!(truth["OptionSet"]["TrueOption"]["Label"]["UserLocalizedLabel"]["Label"], "Yes");
    let dates = client.get(&cast("DateTime", "$select=LogicalName,DateTimeBehavior,Format")).await.expect(200).rows();
    let registered = dates.iter().find(|d| d["LogicalName"] == "new_registeredon").unwrap();
    assert_eq!(registered["DateTimeBehavior"]["Value"], "DateOnly");
    client.get(&cast("Enum", "")).await.expect(404);
    let one = format!("{base}(LogicalName='new_fuel')/Microsoft.Dynamics.CRM.PicklistAttributeMetadata?{sets}");
    assert_eq!(client.get(&one).await.expect(200).json()["OptionSet"]["Options"].as_array().unwrap().len(), 3);
    let lookups = client
        .get(&cast("Lookup", "$select=LogicalName,Targets&$filter=LogicalName%20eq%20%27new_owner%27"))
        .await
        .rows();
    assert_eq!(lookups[0]["Targets"], json!(["contact"]));
}

#[tokio::test]
async fn a_scenario_brings_its_own_tables() {
    let client = Client::scenario(10, SCENARIO).await;
    let visits =
        client.get("new_visits?$select=_new_regionid_value,_new_about_value,new_score").await.expect(200).rows();
    let regions = client.get("new_regionset?$select=new_regionid").await.expect(200).rows();
    assert_eq!((visits.len(), regions.len()), (20, 3));
    let known = |id: &Value| id.is_null() || regions.iter().any(|r| r["new_regionid"] == *id);
    assert!(visits.iter().all(|v| known(&v["_new_regionid_value"])));
    assert!(visits.iter().any(|v| !v["_new_regionid_value"].is_null()));
    assert!(visits.iter().filter_map(|v| v["new_score"].as_i64()).all(|score| (1..=5).contains(&score)));
    let relations = client.get("EntityDefinitions(LogicalName='new_visit')/ManyToOneRelationships?$filter=ReferencingAttribute%20eq%20%27new_about%27").await.expect(200).rows();
    let names: Vec<&str> =
        relations.iter().map(|r| r["ReferencingEntityNavigationPropertyName"].as_str().unwrap()).collect();
    assert_eq!(names, ["new_About_contact", "new_About_account"]);
    client.write(Method::PATCH, "new_regionset(new_code='N')", &[], json!({"new_name": "North"})).await.expect(204);
    let bind = json!({"new_name": "v", "new_RegionId@odata.bind": "/new_regionset(new_code='N')"});
    client.write(Method::POST, "new_visits", &[], bind).await.expect(204);
    assert_eq!(client.prefer("odata.track-changes", "new_visits").await.expect(400).code(), "0x80072491");
}

#[tokio::test]
async fn a_scenario_that_does_not_fit_together_does_not_start() {
    let cases = [
        (
            "[[dataverse.tables]]\nname = \"new_a\"\ncolumns = [{ name = \"x\", type = \"lookup\", targets = [\"new_b\"] }]",
            "there is no table new_b",
        ),
        (
            "[[dataverse.tables]]\nname = \"new_a\"\nkeys = [{ name = \"k\", columns = [\"x\"] }]",
            "names a column that does not exist",
        ),
        ("[[dataverse.tables]]\nname = \"new_a\"\ncolumns = [{ name = \"x\", type = \"picklist\" }]", "needs choices"),
        ("[[dataverse.tables]]\nname = \"contact\"\nset = \"people\"", "its set cannot be changed"),
        ("[[dataverse.tables]]\nname = \"contact\"\nschema_name = \"People\"", "its schema_name cannot be changed"),
        ("[[dataverse.tables]]\nname = \"account\"\nprimary_name = \"x\"", "its primary_name cannot be changed"),
        ("[[dataverse.tables]]\nname = \"new_a\"\nset = \"contacts\"", "is that of contact already"),
        ("[[dataverse.tables]]\nname = \"new_a\"\nset = \"WhoAmI\"", "cannot be called WhoAmI"),
        ("[[dataverse.tables]]\nname = \"new a\"", "is no name"),
    ];
    let columns = [
        ("type = \"integer\", min = 5, max = 1", "min is greater than max"),
        ("type = \"integer\", min = 0.2, max = 0.8", "no whole number"),
        ("type = \"integer\", max = 3000000000", "32 bits"),
        ("type = \"decimal\", max = 1e300", "up to 1e15"),
        ("max_length = 0", "max_length is from 1 to 4000"),
        ("max_length = 70000", "max_length is from 1 to 4000"),
        ("type = \"memo\", max_length = 2000000", "max_length is from 1 to 1048576"),
        ("type = \"integer\", max_length = 5", "max_length means nothing"),
        ("min = 5", "min means nothing"),
        ("targets = [\"contact\"]", "targets means nothing"),
        (
            "type = \"picklist\", choices = [{ value = 1, label = \"a\" }, { value = 1, label = \"b\" }]",
            "the choice 1 is there twice",
        ),
    ];
    let columns = columns.map(|(rest, problem)| {
        (format!("[[dataverse.tables]]\nname = \"new_a\"\ncolumns = [{{ name = \"x\", {rest} }}]"), problem)
    });
    let cases: Vec<(String, &str)> =
        cases.into_iter().map(|(text, problem)| (text.to_owned(), problem)).chain(columns).collect();
    for (text, message) in cases {
        let scenario = sandbox::scenario::Scenario::parse(&text).unwrap();
        let started = sandbox::Sandbox::start(sandbox::SandboxConfig { scenario, ..Default::default() }).await;
        let problem = started.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(problem.contains(message), "{text}: {problem}");
    }
    assert!(sandbox::scenario::Scenario::parse("[dataverse]\nunknown = 1").is_err());
}

#[tokio::test]
async fn seeded_numbers_keep_to_their_bounds() {
    let bounds = [
        (-90.0, -10.0),
        (-5.0, 5.0),
        (0.25, 0.75),
        (-0.5, 0.5),
        (2_000_000.0, 2_000_001.0),
        (-9_000_000.0, -8_000_000.0),
    ];
    let mut columns = String::new();
    for (nth, (min, max)) in bounds.iter().enumerate() {
        for kind in ["decimal", "money", "double"] {
            columns.push_str(&format!("{{ name = \"{kind}{nth}\", type = \"{kind}\", min = {min}, max = {max} }},"));
        }
        if nth != 2 {
            columns.push_str(&format!("{{ name = \"integer{nth}\", type = \"integer\", min = {min}, max = {max} }},"));
        }
    }
    let client =
        Client::scenario(0, &format!("[[dataverse.tables]]\nname = \"new_a\"\nrows = 60\ncolumns = [{columns}]")).await;
    let plan =
        json!({"side": "dataverse", "table": "new_a", "update": 30, "fields": ["decimal0", "integer0"], "seed": 1});
    client.control(Method::POST, "/mutate", plan).await.expect(200);
    let rows = client.records("dataverse", "new_a").await;
    for (nth, (min, max)) in bounds.iter().enumerate() {
        for kind in ["decimal", "money", "double", "integer"] {
            let name = format!("{kind}{nth}");
            let values: Vec<f64> = rows.iter().filter_map(|row| row[name.as_str()].as_f64()).collect();
            assert!(values.len() > 20 || (kind == "integer" && nth == 2), "{name}");
            assert!(values.iter().all(|value| (*min..=*max).contains(value)), "{name}: {values:?}");
        }
    }
}

#[tokio::test]
async fn a_long_memo_comes_back_whole() {
    let text = "[[dataverse.tables]]\nname = \"new_a\"\ncolumns = [{ name = \"new_text\", type = \"memo\", max_length = 200000 }]";
    let client = Client::scenario(0, text).await;
    let long = "ж".repeat(150_000);
    let id = client.create("new_as", "new_aid", json!({"new_name": "x", "new_text": long})).await;
    assert_eq!(client.get(&format!("new_as({id})")).await.expect(200).json()["new_text"], long);
    assert_eq!(client.records("dataverse", "new_a").await[0]["new_text"], long);
}

#[tokio::test]
async fn the_service_introduces_itself() {
    let client = Client::start(0).await;
    let document = client.get("").await.expect(200).json();
    assert!(
        document["value"].as_array().unwrap().iter().any(|set| set["name"] == "contacts" && set["kind"] == "EntitySet")
    );
    for path in ["WhoAmI", "WhoAmI()"] {
        let me = client.get(path).await.expect(200);
        assert!(me.json()["UserId"].is_string() && me.json()["OrganizationId"].is_string());
        assert_eq!(me.header("x-ms-ratelimit-time-remaining-xrm-requests"), "1,200.00");
        assert_eq!(me.header("x-ms-dop-hint"), "4");
    }
    let other = client.get(&format!("{}/api/data/v8/contacts", client.sandbox.info().dataverse.url)).await.expect(400);
    assert!(other.json()["error"]["message"].as_str().unwrap().starts_with("Requested API Version"));
    let counters = client.counters().await;
    assert_eq!(counters["dataverse"]["setup_requests"]["GET /WhoAmI"], 1);
    assert_eq!(
        counters["dataverse"]["requests"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, _)| name.contains("WhoAmI"))
            .count(),
        0
    );
}
