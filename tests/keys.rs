//! A key that does not identify is found out before it doubles a row or loses a deletion.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

use d365_campaign::{RunSummary, WorkflowState};
use end_to_end_tests::Stage;
use serde_json::{Value, json};

const EXTENDED_PROFILE: &str = r#"
[[campaign.resources]]
name = "profile"
fields = [ { name = "cusCrm", length = 100 } ]
"#;

const BY_CUS_CRM: &str = r#"
[[table]]
table = "contact"
resource = "profile"
key = "cusCrm"
apply_deletes = true
fields = [ { from = "firstname", to = "firstName" } ]
"#;

const BOAT: &str = r#"
[[dataverse.tables]]
name = "new_boat"
rows = 30

[[campaign.resources]]
name = "cusBoat"
family = "customResources"
unique_keys = [["cusBoatId"]]
fields = [ { name = "cusBoatId", length = 100 }, { name = "cusName" } ]
filters = [ { name = "byBoatId", field = "cusBoatId" }, { name = "byName", field = "cusName" } ]
"#;

const BOATS: &str = r#"
[[table]]
table = "new_boat"
resource = "cusBoat"
key = "cusBoatId"
apply_deletes = true
fields = [ { from = "new_name", to = "cusName" } ]
"#;

async fn change(stage: &Stage, table: &str, field: &str, counts: [u64; 3]) {
    let [create, update, delete] = counts;
    let body = json!({"side": "dataverse", "table": table, "create": create, "update": update, "delete": delete,
        "fields": [field], "seed": 7});
    stage.post("/mutate", &body).await;
}

/// The run failed, names the setting and the remedy.
fn assert_refused(summary: &RunSummary, place: &str, remedy: &[&str]) {
    let status = &summary.workflows[0].status;
    assert_eq!(status.status, WorkflowState::Failed);
    let reason = status.reason.as_ref().unwrap();
    assert_eq!(reason.code, "campaign-key-does-not-identify");
    assert!(reason.message.contains(place), "{place:?} is not in: {}", reason.message);
    for word in remedy {
        assert!(reason.remedy.contains(word), "{word:?} is not in: {}", reason.remedy);
    }
}

async fn keys(stage: &Stage, resource: &str, key: &str) -> Vec<String> {
    let rows = stage.records("campaign", resource).await;
    let mut keys: Vec<String> = rows.iter().map(|row| row[key].as_str().unwrap().to_owned()).collect();
    keys.sort();
    keys
}

#[tokio::test]
async fn an_attribute_that_does_not_identify_fails_the_run_and_doubles_no_row() {
    let stage = Stage::new(30, EXTENDED_PROFILE).await;
    assert_eq!(stage.run("", BY_CUS_CRM).await.total().inserted, 30);
    let before = keys(&stage, "profile", "cusCrm").await;
    for _ in 0..2 {
        change(&stage, "contact", "firstname", [0, 10, 0]).await;
        let summary = stage.run("", BY_CUS_CRM).await;
        assert_refused(&summary, "table[0].key", &["table[0].key", "identification key", "table[0].key_filter"]);
        assert_eq!(keys(&stage, "profile", "cusCrm").await, before, "rows were doubled");
    }
    // A look beforehand finds it too.
    let report = d365_campaign::preflight::preflight(&stage.config("", BY_CUS_CRM)).await.unwrap();
    let places: Vec<&str> = report.problems().map(|problem| problem.place.as_str()).collect();
    assert_eq!(places, ["table[0].key"]);
}

#[tokio::test]
async fn an_unknown_create_is_not_repeated_under_a_key_that_does_not_identify() {
    let stage = Stage::new(30, EXTENDED_PROFILE).await;
    let fault = json!([{"side": "campaign", "method": "POST", "fault": "reset_after_commit", "nth": 20, "times": 1}]);
    stage.post("/faults", &fault).await;
    let summary = stage.run("", BY_CUS_CRM).await;
    assert_refused(&summary, "table[0].key", &["identification key"]);
    let mut found = keys(&stage, "profile", "cusCrm").await;
    let rows = found.len();
    found.dedup();
    assert_eq!(found.len(), rows, "rows were doubled");
}

#[tokio::test]
async fn a_deletion_is_not_lost_where_rows_cannot_be_addressed_by_their_key() {
    let stage = Stage::new(0, &format!("{BOAT}\n[campaign.switches]\ncustom_resource_keys = false\n")).await;
    assert_eq!(stage.run("", BOATS).await.total().inserted, 30);
    change(&stage, "new_boat", "new_name", [0, 0, 5]).await;
    let summary = stage.run("", BOATS).await;
    assert_refused(&summary, "table[0].key", &["table[0].key_filter"]);
    assert_eq!(summary.total().ignored, 0, "a deletion was taken for done");
    assert_eq!(stage.records("campaign", "cusBoat").await.len(), 30);
    // With the remedy the deletions that were held back are carried out.
    let mended = BOATS.replace(
        "key = \"cusBoatId\"",
        "key = \"cusBoatId\"\nkey_filter = { name = \"byBoatId\", parameter = \"boatId_parameter\" }",
    );
    let summary = stage.run("", &mended).await;
    assert_eq!(summary.workflows[0].status.reason, None);
    assert_eq!(stage.records("campaign", "cusBoat").await.len(), 25);
}

#[tokio::test]
async fn a_filter_that_does_not_compare_the_key_is_found_out_too() {
    let stage = Stage::new(0, BOAT).await;
    let wrong = BOATS.replace(
        "key = \"cusBoatId\"",
        "key = \"cusBoatId\"\nkey_filter = { name = \"byName\", parameter = \"name_parameter\" }",
    );
    assert_eq!(stage.run("", &wrong).await.total().inserted, 30);
    change(&stage, "new_boat", "new_name", [0, 4, 4]).await;
    let summary = stage.run("", &wrong).await;
    assert_refused(&summary, "table[0].key_filter", &["table[0].key_filter", "unique key"]);
    assert_eq!(stage.records("campaign", "cusBoat").await.len(), 30);
}

#[tokio::test]
async fn a_row_that_somebody_deleted_in_campaign_is_created_again_at_one_proof() {
    let stage = Stage::new(0, BOAT).await;
    stage.run("", BOATS).await;
    let body = json!({"side": "campaign", "table": "cusBoat", "create": 0, "update": 0, "delete": 6, "seed": 3});
    stage.post("/mutate", &body).await;
    stage.post("/counters/reset", &json!({})).await;
    change(&stage, "new_boat", "new_name", [0, 30, 0]).await;
    let summary = stage.run("", BOATS).await;
    assert_eq!(summary.workflows[0].status.reason, None);
    assert_eq!(stage.records("campaign", "cusBoat").await.len(), 30);
    let calls: Value = stage.counters().await["campaign"]["engine_calls"].clone();
    assert_eq!((calls["insert"].as_u64(), calls["update"].as_u64()), (Some(6), Some(30)), "{calls}");
    // At most the list and the read of one proof, and none at all when a row was reached before.
    assert!(calls["read"].as_u64() <= Some(2), "{calls}");
}
