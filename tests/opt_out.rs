//! Privacy preferences kept in step: all directions by polling, and nobody contactable who opted out.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

use std::collections::BTreeMap;

use d365_campaign::{Config, RunSummary};
use end_to_end_tests::Stage;
use serde_json::{Value, json};

const CONTACTS: &str = "[[table]]\ntable = \"contact\"\nresource = \"profile\"\nkey = \"externalId\"\n\
                        fields = [ { from = \"lastname\", to = \"lastName\" } ]\n";
const FILTER: &str = "source = { filter = { name = \"byLastModified\", parameter = \"lastModified_parameter\" } }\n";
const PAIRS: &str = "pairs = [ { d365 = \"donotemail\", campaign = \"denyListEmail\" }, \
                     { d365 = \"donotphone\", campaign = \"denyListPhone\" } ]\n";
const NAMES: [(&str, &str); 2] = [("donotemail", "blackListEmail"), ("donotphone", "blackListPhone")];

fn config(stage: &Stage, direction: &str) -> Config {
    let section = format!("{CONTACTS}[opt_out]\ndirection = \"{direction}\"\n{FILTER}{PAIRS}");
    stage.config_with("", "settle_seconds = 0", "", &section)
}

/// What both sides hold, by contact: one letter a side and pair, upper case for an opt-out.
async fn opt_outs(stage: &Stage) -> BTreeMap<String, [[bool; 2]; 2]> {
    let profiles = stage.records("campaign", "profile").await;
    let contacts = stage.records("dataverse", "contact").await;
    let held = |row: &Value, name: &str| row[name].as_bool().unwrap_or(false);
    let mut all = BTreeMap::new();
    for contact in contacts {
        let id = contact["contactid"].as_str().unwrap().to_owned();
        let profile = profiles.iter().find(|profile| profile["externalId"] == contact["contactid"]).unwrap();
        all.insert(id, NAMES.map(|(column, attribute)| [held(&contact, column), held(profile, attribute)]));
    }
    all
}

async fn assert_equal(stage: &Stage) {
    for (id, pairs) in opt_outs(stage).await {
        for [d365, campaign] in pairs {
            assert_eq!(d365, campaign, "{id}");
        }
    }
}

/// Requests that changed a row, by side.
async fn changes(stage: &Stage) -> (u64, u64) {
    let counters = stage.counters().await;
    let of = |side: &str| -> u64 {
        let requests: BTreeMap<String, u64> = serde_json::from_value(counters[side]["requests"].clone()).unwrap();
        requests.iter().filter(|(route, _)| route.starts_with("PATCH")).map(|(_, count)| count).sum()
    };
    (of("dataverse"), of("campaign"))
}

async fn ids(stage: &Stage) -> Vec<String> {
    let contacts = stage.records("dataverse", "contact").await;
    contacts.iter().map(|contact| contact["contactid"].as_str().unwrap().to_owned()).collect()
}

async fn put(stage: &Stage, side: &str, id: &str, name: &str, value: bool) {
    let table = if side == "dataverse" { "contact" } else { "profile" };
    stage.put(&format!("/records/{side}/{table}/{id}"), &json!({ name: value })).await;
}

fn dead(summary: &RunSummary) -> u64 {
    summary.workflows.iter().flat_map(|workflow| &workflow.tables).map(|table| table.tally.dead).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opt_out_on_either_side_reaches_the_other_with_one_write() {
    let stage = Stage::new(20, "").await;
    let config = config(&stage, "bidirectional");
    stage.run_config(config.clone()).await;
    assert_equal(&stage).await;
    let ids = ids(&stage).await;
    let before = changes(&stage).await;
    let held = opt_outs(&stage).await;
    // Somebody who has not opted out yet, for each change.
    let free: Vec<&String> = ids.iter().filter(|id| held[*id] == [[false; 2]; 2]).collect();
    put(&stage, "dataverse", free[0], "donotemail", true).await;
    put(&stage, "campaign", free[1], "blackListPhone", true).await;
    let summary = stage.run_config(config.clone()).await;
    assert_eq!(dead(&summary), 0);
    assert_equal(&stage).await;
    let after = opt_outs(&stage).await;
    assert_eq!(after[free[0]], [[true; 2], [false; 2]]);
    assert_eq!(after[free[1]], [[false; 2], [true; 2]]);
    let written = changes(&stage).await;
    assert_eq!((written.0 - before.0, written.1 - before.1), (1, 1));

    // The echoes of both writes lead to no third.
    stage.run_config(config.clone()).await;
    assert_eq!(changes(&stage).await, written);
    assert!(d365_campaign::consent::verify(&config).await.unwrap().is_ok());
}
