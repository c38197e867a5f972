//! Custom tables, links, key filters: what lies beside contact and profile.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

use end_to_end_tests::Stage;
use serde_json::{Value, json};

const SCENARIO: &str = r#"
[[dataverse.tables]]
name = "new_boat"
rows = 40
columns = [ { name = "new_berths", type = "integer" } ]

[[dataverse.tables]]
name = "new_crew"
rows = 30
columns = [ { name = "new_contact", type = "lookup", schema_name = "new_Contact", targets = ["contact"] } ]

[[campaign.resources]]
name = "cusBoat"
family = "customResources"
unique_keys = [["cusBoatId"]]
fields = [ { name = "cusBoatId", length = 100 }, { name = "cusName" }, { name = "cusBerths", type = "number" } ]
filters = [ { name = "byBoatId", field = "cusBoatId", parameter = "boatId_parameter" } ]

[[campaign.resources]]
name = "cusCrew"
unique_keys = [["cusCrewId"]]
fields = [ { name = "cusCrewId", length = 100 }, { name = "cusName" }, { name = "cusContactId", length = 100 } ]
links = [ { name = "cusContact", field = "cusContactId", target = "profile", target_field = "externalId", cardinality = "one" } ]
"#;

const BOATS: &str = r#"
[[table]]
table = "new_boat"
resource = "cusBoat"
key = "cusBoatId"
apply_deletes = true
fields = [ { from = "new_name", to = "cusName" }, { from = "new_berths", to = "cusBerths" } ]
"#;

const CONTACTS_AND_CREW: &str = r#"
[[table]]
table = "new_crew"
resource = "cusCrew"
key = "cusCrewId"
fields = [ { from = "new_name", to = "cusName" } ]
links = [ { from = "new_contact", to = "cusContactId", parent = "contact" } ]

[[table]]
table = "contact"
resource = "profile"
key = "externalId"
fields = [ { from = "firstname", to = "firstName" } ]
"#;

async fn assert_boats_equal(stage: &Stage) {
    let boats = stage.records("dataverse", "new_boat").await;
    let found = stage.records("campaign", "cusBoat").await;
    assert_eq!(boats.len(), found.len());
    for boat in &boats {
        let row = found.iter().find(|row| row["cusBoatId"] == boat["new_boatid"]).unwrap();
        assert_eq!(row["cusName"].as_str().unwrap_or_default(), boat["new_name"].as_str().unwrap_or_default());
        assert_eq!(row["cusBerths"].as_i64().unwrap_or_default(), boat["new_berths"].as_i64().unwrap_or_default());
    }
}

async fn change_boats(stage: &Stage) {
    let body = json!({
        "side": "dataverse", "table": "new_boat", "create": 4, "update": 12, "delete": 3, "fields": ["new_name", "new_berths"], "seed": 1,
    });
    stage.post("/mutate", &body).await;
}

#[tokio::test]
async fn a_custom_resource_is_written_by_its_key() {
    let stage = Stage::new(0, SCENARIO).await;
    assert_eq!(stage.run("", BOATS).await.total().inserted, 40);
    assert_boats_equal(&stage).await;
    change_boats(&stage).await;
    stage.run("", BOATS).await;
    assert_boats_equal(&stage).await;
    assert_eq!(stage.counters().await["campaign"]["engine_calls"]["read"], 0);
}

#[tokio::test]
async fn a_custom_resource_that_keys_cannot_address_is_found_by_a_filter_at_one_more_read_per_write() {
    let scenario = format!("{SCENARIO}\n[campaign.switches]\ncustom_resource_keys = false\n");
    let stage = Stage::new(0, &scenario).await;
    let tables = BOATS.replace(
        "key = \"cusBoatId\"",
        "key = \"cusBoatId\"\nkey_filter = { name = \"byBoatId\", parameter = \"boatId_parameter\" }",
    );
    assert_eq!(stage.run("", &tables).await.total().inserted, 40);
    assert_boats_equal(&stage).await;
    let calls = &stage.counters().await["campaign"]["engine_calls"];
    assert_eq!((calls["insert"].as_u64(), calls["read"].as_u64()), (Some(40), Some(40)), "{calls}");
    stage.post("/counters/reset", &json!({})).await;
    change_boats(&stage).await;
    let summary = stage.run("", &tables).await;
    assert_boats_equal(&stage).await;
    let total = summary.total();
    let calls = &stage.counters().await["campaign"]["engine_calls"];
    assert_eq!(calls["read"].as_u64(), Some(total.inserted + total.updated + total.deleted), "{calls}");
}

#[tokio::test]
async fn children_are_written_after_their_parents_and_seen() {
    let stage = Stage::new(50, SCENARIO).await;
    let contacts = stage.records("dataverse", "contact").await;
    let crew = stage.records("dataverse", "new_crew").await;
    for (member, contact) in crew.iter().zip(&contacts) {
        let id = member["new_crewid"].as_str().unwrap();
        stage
            .put(&format!("/records/dataverse/new_crew/{id}"), &json!({"_new_contact_value": contact["contactid"]}))
            .await;
    }
    let summary = stage.run("", CONTACTS_AND_CREW).await;
    assert_eq!(summary.workflows[0].status.reason, None);
    assert_eq!(summary.total().dead, 0);
    let found = stage.records("campaign", "cusCrew").await;
    assert_eq!(found.len(), crew.len());
    assert!(found.iter().all(|row| row["_hidden"] != Value::Bool(true)));
    for (member, contact) in crew.iter().zip(&contacts) {
        let row = found.iter().find(|row| row["cusCrewId"] == member["new_crewid"]).unwrap();
        assert_eq!(row["cusContactId"], contact["contactid"]);
    }
}

/// Nobody can tell whether words without a code are about a record or about the service: as long as no other record is written,
/// they are taken for the service's.
#[tokio::test]
async fn an_outage_that_speaks_in_words_costs_no_record() {
    let stage = Stage::new(40, "").await;
    // Ten failures open the lane's breaker; after that one request at a time finds out, a minute apart at last: half an hour.
    let words = json!([{
        "side": "campaign", "method": "POST", "nth": 5, "times": 40, "fault": "status", "status": 500,
        "body": "The service is temporarily unavailable, please try again later.",
    }]);
    stage.post("/faults", &words).await;
    let contacts_alone = CONTACTS_AND_CREW.rsplit("[[table]]").next().unwrap();
    let config = stage.config("", &format!("[[table]]{contacts_alone}"));
    let summary = stage.run_faster(config, 100).await;
    assert_eq!(summary.workflows[0].status.reason, None);
    assert_eq!(summary.total().dead, 0);
    let contacts = stage.records("dataverse", "contact").await.len();
    assert_eq!(stage.records("campaign", "profile").await.len(), contacts);
}
