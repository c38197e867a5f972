//! What `explain` tells of one record's life, beside a running process and without one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::{Ended, World, program, signal, spawn, total, until};

async fn explain(config: &Path, id: &str) -> Ended {
    let config = config.display().to_string();
    program(&["explain", "--format", "json", "--config", &config, "--table", "contact", "--id", id]).await
}

async fn told(config: &Path, id: &str) -> Value {
    let ended = explain(config, id).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    ended.summary().clone()
}

async fn text(config: &Path, id: &str) -> String {
    let config = config.display().to_string();
    program(&["explain", "--config", &config, "--table", "contact", "--id", id]).await.stdout
}

async fn active(world: &World) -> Vec<String> {
    let rows = world.records("dataverse", "contact").await;
    let active = rows.iter().filter(|row| row["statecode"] == 0);
    active.map(|row| row["contactid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_was_written_and_what_was_refused_is_told_from_the_store_alone() {
    let world = World::new(30).await;
    let config = world.config();
    let ids = active(&world).await;
    let unknown = told(&config, &ids[0]).await;
    assert_eq!((&unknown["state"], &unknown["stream"]["phase"]), (&json!("unknown"), &json!("not started")));
    assert!(!world.store().exists(), "looking made a store");
    let refusal = json!([{"side": "campaign", "method": "POST", "fault": "status", "status": 400, "nth": 5, "times": 1,
        "body": "The rule of the instance does not take this record."}]);
    world.faults(refusal).await;
    assert_eq!(world.until_idle(&config).await.code(), Some(4));
    world.clear_faults().await;
    world.reset_counters().await;
    let listed =
        program(&["dead-letters", "list", "--format", "json", "--config", &config.display().to_string()]).await;
    let dead = listed.lines[0].clone();
    let refused = dead["record"].as_str().unwrap();
    let content = world.store_content();
    let before = world.counters().await;
    let written = told(&config, ids.iter().find(|id| *id != refused).unwrap()).await;
    assert_eq!(
        (&written["state"], &written["entries"], &written["dead_letter"]),
        (&json!("written"), &json!([]), &Value::Null)
    );
    assert!(written["version"].as_i64() > Some(0), "{written}");
    assert_eq!((&written["workflow"], &written["stream"]["phase"]), (&json!("STOPPED"), &json!("live")));
    assert!(written["stream"]["position_age_seconds"].is_u64(), "{written}");

    let letter = told(&config, refused).await;
    assert_eq!((&letter["state"], &letter["dead_letter"]["id"]), (&json!("not-written"), &dead["id"]));
    assert_eq!((&letter["dead_letter"]["reason"], &letter["dead_letter"]["attempts"]), (&dead["reason"], &json!(1)));
    let shown = text(&config, refused).await;
    let requeue = format!("d365-campaign dead-letters requeue --table contact --id {}", dead["id"]);
    assert!(shown.contains(&requeue) && shown.contains(dead["reason"].as_str().unwrap()), "{shown}");
    assert_eq!(world.counters().await, before, "a service was asked");
    assert_eq!(world.store_content(), content);

    // A request for it is left, and then the record is gone.
    program(&["replay", "--table", "contact", "--config", &config.display().to_string()]).await;
    assert_eq!(told(&config, refused).await["requests"][0]["request"], "replay");
    world.delete(&format!("/records/dataverse/contact/{}", ids[0])).await;
    world.until_idle(&config).await;
    assert_eq!(told(&config, &ids[0]).await["state"], "unknown", "nothing is remembered of what was deleted");
}

#[tokio::test]
async fn what_is_on_its_way_is_told_beside_the_process_and_after_its_end() {
    let world = World::new(60).await;
    let config = world.config();
    world.faults(json!([{"side": "campaign", "method": "POST", "fault": "hang", "probability": 1.0, "seed": 1}])).await;
    let mut child = spawn(&["run", "--format", "json", "--config", &config.display().to_string()]);
    let posted = async || total(&world.counters().await, "campaign", "POST");
    until(async || posted().await >= 8, "no write hangs").await;
    let ids = active(&world).await;
    let mut states = Vec::new();
    for id in &ids {
        let told = told(&config, id).await;
        assert_eq!((&told["workflow"], &told["state"]), (&json!("RUNNING"), &json!("not-written")));
        let entry = &told["entries"][0];
        assert_eq!((&entry["action"], &entry["class"]), (&json!("write"), &json!("backfill")), "{told}");
        states.push((entry["state"].as_str().unwrap().to_owned(), entry["attempts"].as_u64().unwrap()));
    }
    let count = |state: &str, attempts| states.iter().filter(|at| **at == (state.to_owned(), attempts)).count();
    assert!(count("in-flight", 1) >= 8, "{states:?}");
    assert_eq!(count("in-flight", 1) + count("queued", 0), ids.len(), "{states:?}");
    signal(&child, "KILL").await;
    child.wait().await.unwrap();
    let left = told(&config, &ids[0]).await;
    assert_eq!((&left["workflow"], &left["entries"][0]["action"]), (&json!("STOPPED"), &json!("write")), "{left}");
    assert!(text(&config, &ids[0]).await.contains("STOPPED"));
}

#[tokio::test]
async fn a_pause_of_the_service_is_told() {
    let world = World::new(20).await;
    let config = world.config();
    world.faults(json!([{"side": "campaign", "method": "POST", "fault": "status", "status": 429, "probability": 1.0, "seed": 1,
        "headers": {"retry-after": "600"}}])).await;
    let child = spawn(&["run", "--format", "json", "--config", &config.display().to_string()]);
    let ids = active(&world).await;
    until(async || total(&world.counters().await, "campaign", "POST") > 0, "nothing was sent").await;
    let paused = async || {
        let pauses = told(&config, &ids[0]).await["pauses"].clone();
        pauses.as_array().unwrap().iter().any(|pause| pause["of"] == "campaign")
    };
    until(paused, "no pause is told").await;
    assert!(text(&config, &ids[0]).await.contains("campaign is paused until"));
    signal(&child, "KILL").await;
}

#[tokio::test]
async fn what_cannot_be_explained_says_why() {
    let world = World::new(3).await;
    let config = world.config();
    let ended = explain(&config, "no-guid").await;
    assert_eq!((ended.code(), &ended.summary()["exit_code"]), (Some(2), &json!(2)), "{}", ended.stderr);
    assert!(ended.stderr.contains("Give the GUID"), "{}", ended.stderr);
    let config = config.display().to_string();
    let id = "8c1f0c52-0000-4000-8000-00000000000a";
    let ended = program(&["explain", "--config", &config, "--table", "account", "--id", id]).await;
    assert_eq!(ended.code(), Some(2));
    assert!(ended.stderr.contains("Name a configured table: contact."), "{}", ended.stderr);
}
