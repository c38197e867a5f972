//! Two processes and a configuration written by hand: Campaign ends up exactly as the mapping defines, at the promised cost.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

mod support;

use sandbox::SandboxConfig;
use serde_json::json;
use support::{Ended, World, engine_calls, signal, spawn, total};

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
    // Four pages of at most 300 rows; the closing pass, which is one page of keys and versions and one list of the rows that the
    // filter keeps out, since nothing is known of them; and the polls before and after it that find no change.
    let kept_out = world.records("dataverse", "contact").await.iter().filter(|row| row["statecode"] != 0).count();
    assert!((1..=100).contains(&kept_out), "{kept_out}");
    assert_eq!(total(&world.counters().await, "dataverse", ""), 4 + (1 + 1) + 2);
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
    let config = world.config().display().to_string();
    let child = spawn(&["run", "--format", "json", "--config", &config]);
    world.until_equal().await;
    for seed in 1..=3 {
        world.mutate(30, 60, 20, seed).await;
        // It polls once a second; nothing is started again.
        world.until_equal().await;
    }
    signal(&child, "TERM").await;
    let ended = Ended::of(child.wait_with_output().await.unwrap());
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    world.assert_equal().await;
    let counts = ended.table("contact");
    let others: u64 = ["inserted", "updated", "deleted", "unchanged", "filtered", "superseded", "ignored", "dead"]
        .iter()
        .map(|name| counts[*name].as_u64().unwrap())
        .sum();
    assert_eq!(counts["read"].as_u64().unwrap(), others, "{counts}");
    assert!(counts["updated"].as_u64() > Some(0) && counts["deleted"].as_u64() > Some(0), "{counts}");
}

#[tokio::test]
async fn a_quiet_run_over_several_tables_costs_one_request_each() {
    let scenario = r#"
[[campaign.resources]]
name = "cusAccount"
unique_keys = [["cusAccountId"]]
fields = [ { name = "cusAccountId", length = 100 }, { name = "cusName" } ]
"#;
    let scenario = sandbox::scenario::Scenario::parse(scenario).unwrap();
    let world = World::with(SandboxConfig { contacts: 60, scenario, ..SandboxConfig::default() }).await;
    let more = r#"
[[table]]
table = "account"
resource = "cusAccount"
key = "cusAccountId"
fields = [ { from = "name", to = "cusName" } ]
[[table]]
table = "new_vehicle"
resource = "cusVehicle"
key = "cusVehicleId"
fields = [ { from = "new_name", to = "cusName" } ]
"#;
    let config = world.write("tables.toml", &format!("{}{}{more}", world.head(), support::CONTACT_TABLE));
    let ended = world.until_idle(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    world.reset_counters().await;
    let ended = world.until_idle(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    let counters = world.counters().await;
    assert_eq!(total(&counters, "campaign", ""), 0);
    assert_eq!((total(&counters, "dataverse", ""), &counters["dataverse"]["rows"]), (3, &json!(0)));
    assert_eq!(ended.summary()["requests"], json!({"dataverse": 3, "campaign": 0}));
}

#[tokio::test]
async fn a_change_of_what_is_written_once_only_costs_no_call() {
    let world = World::new(100).await;
    let table =
        support::CONTACT_TABLE.replace("to = \"location.city\" }", "to = \"location.city\", apply_updates = false }");
    let config = world.write("once.toml", &format!("{}{table}", world.head()));
    assert_eq!(world.until_idle(&config).await.code(), Some(0));
    world.reset_counters().await;
    let contacts = world.records("dataverse", "contact").await;
    let active = contacts.iter().filter(|contact| contact["statecode"] == 0).take(12);
    for contact in active {
        let id = contact["contactid"].as_str().unwrap();
        // A row is put as a whole.
        let mut row = contact.clone();
        row["address1_city"] = json!("Elsewhere");
        world.put(&format!("/records/dataverse/contact/{id}"), &row).await;
    }
    let ended = world.until_idle(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    let counts = ended.table("contact");
    assert_eq!((&counts["read"], &counts["unchanged"]), (&json!(12), &json!(12)), "{counts}");
    let counters = world.counters().await;
    assert_eq!(total(&counters, "campaign", ""), 0);
    assert_eq!(counters["dataverse"]["rows"], 12);
}

#[tokio::test]
async fn set_up_does_not_grow_with_the_records() {
    let mut told = Vec::new();
    for contacts in [20, 1500] {
        let world = World::new(contacts).await;
        let ended = world.until_idle(&world.config()).await;
        assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
        let counters = world.counters().await;
        for side in ["dataverse", "campaign"] {
            let counted: u64 =
                counters[side]["setup_requests"].as_object().unwrap().values().filter_map(|count| count.as_u64()).sum();
            assert_eq!(ended.summary()["setup_requests"][side], counted, "{side}: {counters}");
        }
        told.push(ended.summary()["setup_requests"].clone());
    }
    assert_eq!(told[0], told[1]);
}
