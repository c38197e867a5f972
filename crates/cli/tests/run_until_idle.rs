//! Two processes and a configuration written by hand: Campaign ends up exactly as the mapping defines, at the promised cost.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

mod support;

use serde_json::json;
use support::{World, engine_calls, total};

#[tokio::test]
async fn the_initial_load_costs_one_call_per_record_and_leaves_both_sides_equal() {
    let world = World::new(1000).await;
    let config = world.config();
    let ended = world.until_idle(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    world.assert_equal().await;

    let profiles = world.records("campaign", "profile").await.len() as u64;
    let table = ended.table("contact");
    assert_eq!(table["read"], 1000);
    assert_eq!(table["inserted"], profiles);
    assert_eq!(table["filtered"], 1000 - profiles);
    let counters = world.counters().await;
    let calls = engine_calls(&counters);
    assert_eq!((calls["insert"], calls["update"], calls["delete"], calls["read"]), (profiles, 0, 0, 0));
    assert_eq!(counters["dataverse"]["rows"], 1000);
    // One page holds all rows; the second request is the poll that finds no change.
    assert_eq!(total(&counters, "dataverse", ""), 2);
    assert_eq!(ended.summary()["requests"], json!({"dataverse": 2, "campaign": profiles}));
}

#[tokio::test]
async fn pages_cost_one_request_each() {
    let world = World::new(1000).await;
    let text =
        format!("{}{}", world.head().replace("poll_seconds", "page_size = 300\npoll_seconds"), support::CONTACT_TABLE);
    let config = world.write("paged.toml", &text);
    assert_eq!(world.until_idle(&config).await.code(), Some(0));
    // Four pages of at most 300 rows, and the poll that finds no change.
    assert_eq!(total(&world.counters().await, "dataverse", ""), 4 + 1);
    world.assert_equal().await;
}

#[tokio::test]
async fn a_run_without_a_change_calls_nothing_and_reads_no_row() {
    let world = World::new(300).await;
    let config = world.config();
    assert_eq!(world.until_idle(&config).await.code(), Some(0));
    world.reset_counters().await;
    let ended = world.until_idle(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    let counters = world.counters().await;
    assert_eq!(total(&counters, "campaign", ""), 0);
    assert_eq!(total(&counters, "dataverse", ""), 1);
    assert_eq!(counters["dataverse"]["rows"], 0);
    assert_eq!(ended.table("contact")["read"], 0);
}

#[tokio::test]
async fn k_changes_cost_k_calls_and_d_deletes_cost_d() {
    let world = World::new(400).await;
    let config = world.config();
    assert_eq!(world.until_idle(&config).await.code(), Some(0));
    let active = world
        .records("dataverse", "contact")
        .await
        .iter()
        .filter(|contact| contact["statecode"] == 0)
        .map(|contact| contact["contactid"].as_str().unwrap().to_owned())
        .collect::<Vec<_>>();
    world.reset_counters().await;
    for (index, id) in active.iter().take(25).enumerate() {
        world.put(&format!("/records/dataverse/contact/{id}"), &json!({"firstname": format!("Changed {index}")})).await;
    }
    let ended = world.until_idle(&config).await;
    assert_eq!(ended.table("contact")["updated"], 25, "{}", ended.summary());
    let counters = world.counters().await;
    let calls = engine_calls(&counters);
    assert_eq!((calls["insert"], calls["update"], calls["delete"], calls["read"]), (0, 25, 0, 0));
    assert_eq!(counters["dataverse"]["rows"], 25);
    world.assert_equal().await;

    world.reset_counters().await;
    let before = world.records("campaign", "profile").await.len();
    let deleted = world.mutate(0, 0, 40, 7).await["deleted"].as_array().unwrap().len();
    let ended = world.until_idle(&config).await;
    assert_eq!(ended.code(), Some(0));
    let gone = before - world.records("campaign", "profile").await.len();
    let calls = engine_calls(&world.counters().await);
    assert_eq!((calls["insert"], calls["update"], calls["delete"], calls["read"]), (0, 0, gone as u64, 0));
    // The others were inactive, so they had never been written.
    assert_eq!(ended.table("contact")["ignored"], (deleted - gone) as u64);
    world.assert_equal().await;
}

#[tokio::test]
async fn live_creates_updates_and_deletes_arrive_while_it_runs() {
    let world = World::new(200).await;
    let config = world.config();
    for seed in 1..=4 {
        world.mutate(30, 60, 20, seed).await;
        let ended = world.until_idle(&config).await;
        assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
        world.assert_equal().await;
        let counts = ended.table("contact");
        let others: u64 = ["inserted", "updated", "deleted", "unchanged", "filtered", "superseded", "ignored", "dead"]
            .iter()
            .map(|name| counts[*name].as_u64().unwrap())
            .sum();
        assert_eq!(counts["read"].as_u64().unwrap(), others, "{counts}");
    }
}
