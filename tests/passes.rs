//! Passes over the whole table find what no change told of, and delete nothing that they should not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

use std::time::Duration;

use d365_campaign::RunSummary;
use end_to_end_tests::Stage;
use serde_json::{Value, json};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn tables(sync: &str) -> String {
    format!(
        r#"[sync]
{sync}
[[table]]
table = "contact"
resource = "profile"
key = "externalId"
apply_deletes = true
fields = [ {{ from = "firstname", to = "firstName" }} ]
"#
    )
}

async fn run(stage: &Stage, sync: &str, ahead: Duration) -> RunSummary {
    let summary = stage.run_later(stage.config("", &tables(sync)), ahead).await;
    assert_eq!(summary.total().dead, 0);
    summary
}

fn at(row: &Value) -> String {
    format!("/records/dataverse/contact/{}", row["contactid"].as_str().unwrap())
}

/// The contacts whose profile is missing or has another name, and the profiles of none.
async fn differences(stage: &Stage) -> Vec<String> {
    let names = |rows: Vec<Value>, id: &str, name: &str| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        rows.iter().map(|row| (text(&row[id]), text(&row[name]))).collect()
    };
    let contacts = names(stage.records("dataverse", "contact").await, "contactid", "firstname");
    let profiles = names(stage.records("campaign", "profile").await, "externalId", "firstName");
    let one_way = |from: &[(String, String)], to: &[(String, String)]| -> Vec<String> {
        from.iter().filter(|row| !to.contains(row)).map(|(id, _)| id.clone()).collect()
    };
    let mut different = one_way(&contacts, &profiles);
    different.extend(one_way(&profiles, &contacts));
    different.sort();
    different.dedup();
    different
}

/// A stage in step, and versions that every poll has passed.
async fn in_step_with_versions_left(stage: &Stage, versions: usize) -> Vec<i64> {
    run(stage, "", Duration::ZERO).await;
    let mut left = Vec::new();
    for _ in 0..versions {
        left.push(stage.reserve_version().await);
    }
    stage.post("/mutate", &json!({"side": "dataverse", "table": "contact", "update": 5, "seed": 1})).await;
    run(stage, "", Duration::ZERO).await;
    assert!(differences(stage).await.is_empty());
    left
}

#[tokio::test]
async fn an_audit_finds_a_change_and_a_deletion_that_no_poll_told_of() {
    let stage = Stage::new(60, "").await;
    let versions = in_step_with_versions_left(&stage, 2).await;
    let rows = stage.records("dataverse", "contact").await;
    let mut changed = rows[7].clone();
    changed["firstname"] = json!("Late");
    stage.put(&format!("{}?version={}", at(&rows[7]), versions[0]), &changed).await;
    stage.delete(&format!("{}?version={}", at(&rows[9]), versions[1])).await;
    // Polls do not find it, and no audit is due before its day, nor ever where none is wanted.
    for (sync, ahead) in [("", Duration::ZERO), ("", DAY * 6), ("sweep = \"never\"", DAY * 8)] {
        run(&stage, sync, ahead).await;
        assert_eq!(differences(&stage).await.len(), 2, "{sync} {ahead:?}");
    }
    let summary = run(&stage, "sweep = \"weekly\"", DAY * 8).await;
    assert!(differences(&stage).await.is_empty(), "{:?}", differences(&stage).await);
    let total = summary.total();
    assert_eq!((total.updated, total.deleted, total.inserted), (1, 1, 0), "{total:?}");
    // The poll, a page of keys and versions, the changed row, the list of those that are missing and one's own 404.
    let quiet = run(&stage, "sweep = \"weekly\"", DAY * 9).await;
    assert_eq!(quiet.requests.dataverse, 1, "the next audit is due in a week");
}

#[tokio::test]
async fn an_audit_deletes_nothing_when_more_rows_are_missing_than_may_be_deleted() {
    let stage = Stage::new(60, "").await;
    let versions = in_step_with_versions_left(&stage, 3).await;
    let rows = stage.records("dataverse", "contact").await;
    for (row, version) in rows.iter().zip(&versions) {
        stage.delete(&format!("{}?version={version}", at(row))).await;
    }
    let brake = |rows: u32| format!("delete_brake = {{ rows = {rows}, share = 0.0 }}");
    let held = run(&stage, &brake(2), DAY * 8).await;
    assert_eq!(held.total().deleted, 0);
    assert_eq!(stage.records("campaign", "profile").await.len(), rows.len());
    // An operator who knows that they are gone raises the bound.
    let released = run(&stage, &brake(3), DAY * 8).await;
    assert_eq!(released.total().deleted, 3);
    assert!(differences(&stage).await.is_empty());
}
