//! Privacy preferences kept in step: all directions by polling, and nobody contactable who opted out.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

use std::collections::BTreeMap;

use chrono::TimeDelta;
use d365_campaign::consent::{Policy, Rule};
use d365_campaign::{Config, Connector, RunMode, RunSummary};
use end_to_end_tests::Stage;
use serde_json::{Value, json};
use timing::{Clock as _, SystemClock};

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

/// Changes one opt-out as somebody would on that side, so many seconds ahead of the machine's clock.
async fn put(stage: &Stage, side: &str, id: &str, name: &str, value: bool, ahead: i64) {
    let (table, key) = if side == "dataverse" { ("contact", "contactid") } else { ("profile", "externalId") };
    let rows = stage.records(side, table).await;
    let mut row = rows.into_iter().find(|row| row[key] == id).unwrap();
    let fields = row.as_object_mut().unwrap();
    fields.retain(|name, _| !["modifiedon", "lastModified", "href", "PKey"].contains(&name.as_str()));
    fields.insert(name.to_owned(), value.into());
    if side == "campaign" {
        let time = SystemClock::new().now() + TimeDelta::seconds(ahead);
        fields.insert(format!("{name}LastModified"), time.to_rfc3339().into());
    }
    stage.put(&format!("/records/{side}/{table}/{id}"), &row).await;
}

/// Contacts whose preferences are all off on both sides, which hold them already.
async fn settled(contacts: u64, direction: &str) -> (Stage, Config, Vec<String>) {
    let stage = Stage::new(contacts, "[campaign.switches]\nopt_out_dates_writable = true\n").await;
    let config = config(&stage, direction);
    let ids = ids(&stage).await;
    for id in &ids {
        put(&stage, "dataverse", id, "donotemail", false, 0).await;
        put(&stage, "dataverse", id, "donotphone", false, 0).await;
    }
    stage.run_config(config.clone()).await;
    // Ingress made the rows after the first look.
    stage.run_config(config.clone()).await;
    (stage, config, ids)
}

fn dead(summary: &RunSummary) -> u64 {
    summary.workflows.iter().flat_map(|workflow| &workflow.tables).map(|table| table.tally.dead).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opt_out_on_either_side_reaches_the_other_with_one_write() {
    let (stage, config, ids) = settled(20, "bidirectional").await;
    assert_equal(&stage).await;
    let before = changes(&stage).await;
    put(&stage, "dataverse", &ids[0], "donotemail", true, 0).await;
    put(&stage, "campaign", &ids[1], "blackListPhone", true, 0).await;
    let summary = stage.run_config(config.clone()).await;
    assert_eq!(dead(&summary), 0);
    assert_equal(&stage).await;
    let after = opt_outs(&stage).await;
    assert_eq!(after[&ids[0]], [[true; 2], [false; 2]]);
    assert_eq!(after[&ids[1]], [[false; 2], [true; 2]]);
    let written = changes(&stage).await;
    assert_eq!((written.0 - before.0, written.1 - before.1), (1, 1));

    // The echoes of both writes lead to no third.
    stage.run_config(config.clone()).await;
    assert_eq!(changes(&stage).await, written);
    assert!(d365_campaign::consent::verify(&config).await.unwrap().is_ok());
}

/// Moves the calendar of both services.
async fn later(stage: &Stage) {
    stage.post("/clock", &json!({"advance_seconds": 10})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn false_beats_true_only_where_campaign_changed_later() {
    let (stage, config, ids) = settled(3, "bidirectional").await;
    let id = &ids[0];
    later(&stage).await;
    put(&stage, "campaign", id, "blackListEmail", true, 10).await;
    later(&stage).await;
    put(&stage, "dataverse", id, "donotemail", false, 20).await;
    stage.run_config(config.clone()).await;
    assert_eq!(opt_outs(&stage).await[id][0], [true; 2], "a later FALSE in Dynamics 365");
    later(&stage).await;
    put(&stage, "campaign", id, "blackListEmail", false, 30).await;
    stage.run_config(config.clone()).await;
    assert_eq!(opt_outs(&stage).await[id][0], [false; 2], "a later FALSE in Campaign");
    assert_equal(&stage).await;
}

/// A host may choose the rule by attribute: a later FALSE in Dynamics 365 takes an opt-out back that stands under Adobe's rule.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_may_choose_the_last_writers_rule() {
    for (rule, stands) in [(Rule::default(), true), (Rule::LastWriter, false)] {
        let (stage, config, ids) = settled(2, "bidirectional").await;
        put(&stage, "dataverse", &ids[0], "donotemail", true, 0).await;
        // The second run looks at what the first one wrote, and knows Campaign's time of it then.
        for _ in 0..2 {
            stage.run_config(config.clone()).await;
        }
        later(&stage).await;
        put(&stage, "dataverse", &ids[0], "donotemail", false, 10).await;
        let policy = Policy { rule, ..Policy::default() };
        let connector = Connector::builder(config).opt_out_policy(policy).connect().await.unwrap();
        connector.start(RunMode::UntilIdle).join().await;
        assert_eq!(opt_outs(&stage).await[&ids[0]][0], [stands; 2], "{rule:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_one_direction_the_side_that_leads_is_followed_and_not_written() {
    for (direction, leads, follows, name) in [
        ("d365_to_campaign", "dataverse", "campaign", "donotemail"),
        ("campaign_to_d365", "campaign", "dataverse", "blackListEmail"),
    ] {
        let (stage, config, ids) = settled(3, direction).await;
        for value in [true, false] {
            put(&stage, leads, &ids[0], name, value, 0).await;
            stage.run_config(config.clone()).await;
            assert_eq!(opt_outs(&stage).await[&ids[0]][0], [value; 2], "{direction}");
        }
        let (dataverse, campaign) = changes(&stage).await;
        let led = if follows == "campaign" { dataverse } else { campaign };
        assert_eq!(led, 0, "{direction}");
    }
    let (stage, config, ids) = settled(3, "disabled").await;
    put(&stage, "dataverse", &ids[0], "donotemail", true, 0).await;
    let summary = stage.run_config(config).await;
    assert!(summary.workflows.iter().all(|workflow| workflow.workflow != "opt-in-out"));
    assert_eq!(opt_outs(&stage).await[&ids[0]][0], [true, false]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_is_created_with_its_opt_outs() {
    let stage = Stage::new(10, "[campaign.switches]\nopt_out_dates_writable = true\n").await;
    let config = config(&stage, "bidirectional");
    let ids = ids(&stage).await;
    for id in &ids[..5] {
        put(&stage, "dataverse", id, "donotphone", true, 0).await;
    }
    stage.run_config(config.clone()).await;
    assert_equal(&stage).await;
    assert_eq!(changes(&stage).await, (0, 0), "the POST said it all");

    // What Campaign alone said is known to the ledger when the row is gone.
    put(&stage, "campaign", &ids[6], "blackListFax", true, 0).await;
    stage.run_config(config.clone()).await;
    stage.delete(&format!("/records/campaign/profile/{}", ids[6])).await;
    stage.put(&format!("/records/dataverse/contact/{}", ids[6]), &json!({"lastname": "Again"})).await;
    stage.run_config(config).await;
    let profiles = stage.records("campaign", "profile").await;
    let again = profiles.iter().find(|profile| profile["externalId"] == ids[6].as_str()).unwrap();
    assert_eq!((&again["lastName"], &again["blackListFax"]), (&json!("Again"), &json!(true)));
    assert_eq!(changes(&stage).await.1, 1, "the update that found no row");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_person_stays_away_and_the_gate_is_closed() {
    use d365_campaign::consent::{Channel, erase, may_contact, unerase};
    let (stage, config, ids) = settled(5, "bidirectional").await;
    put(&stage, "dataverse", &ids[0], "donotphone", true, 0).await;
    stage.run_config(config.clone()).await;
    let allowed = |id: &str, channel| may_contact(&config, id, channel).unwrap().allowed;
    assert!(allowed(&ids[0], Channel::Email) && !allowed(&ids[0], Channel::Phone));
    assert!(!allowed("8c1f0c52-0000-4000-8000-00000000dead", Channel::Email), "nobody knows");

    erase(&config, &ids[1]).await.unwrap();
    assert!(!allowed(&ids[1], Channel::Email));
    stage.delete(&format!("/records/campaign/profile/{}", ids[1])).await;
    let back = json!({"lastname": "Back", "donotemail": true});
    stage.put(&format!("/records/dataverse/contact/{}", ids[1]), &back).await;
    let summary = stage.run_config(config.clone()).await;
    assert_eq!(dead(&summary), 1);
    let there = |profiles: Vec<Value>| profiles.iter().any(|profile| profile["externalId"] == ids[1].as_str());
    assert!(!there(stage.records("campaign", "profile").await));
    unerase(&config, &ids[1]).await.unwrap();
    assert!(!allowed(&ids[1], Channel::Email), "unknown until both sides are read");
    assert!(d365_campaign::consent::verify(&config).await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pair_that_cannot_be_kept_has_its_place_and_remedy() {
    let stage = Stage::new(1, "").await;
    let filter = FILTER.replace("byLastModified", "byNothing");
    let pairs = "pairs = [ { d365 = \"lastname\", campaign = \"denyListEmail\" } ]\n";
    let section = format!("{CONTACTS}[opt_out]\ndirection = \"bidirectional\"\n{filter}{pairs}");
    let config = stage.config_with("", "", "", &section);
    let error = d365_campaign::Connector::builder(config).connect().await.map(drop).unwrap_err();
    let places: Vec<&str> = error.problems().iter().map(|problem| problem.place.as_str()).collect();
    assert_eq!(places, ["opt_out.pairs[0].d365", "opt_out.source.filter"], "{error}");
    assert!(error.problems().iter().all(|problem| !problem.remedy.is_empty()));
}

/// The look that follows the change finds no profile, and nothing changes after it: the profile itself has to lead to a look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_created_profile_leads_to_a_look_where_nobody_reads_campaign() {
    let stage = Stage::new(3, "").await;
    let config = config(&stage, "d365_to_campaign");
    let ids = ids(&stage).await;
    for id in &ids {
        put(&stage, "dataverse", id, "donotemail", true, 0).await;
    }
    // Ingress has read the opt-outs and cannot write; meanwhile one is taken back, and looked at.
    stage.post("/faults", &json!([{"side": "campaign", "method": "POST", "fault": "status", "times": 1000}])).await;
    let connect = || d365_campaign::Connector::builder(config.clone()).connect();
    let running = connect().await.unwrap().start(d365_campaign::RunMode::Continuous);
    while stage.faults_fired().await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    running.stopper().stop();
    running.join().await;
    put(&stage, "dataverse", &ids[0], "donotemail", false, 0).await;
    let only = |name: &str| [name.to_owned()];
    let looks = connect().await.unwrap().start_only(&only("opt-in-out"), d365_campaign::RunMode::UntilIdle).unwrap();
    looks.join().await;
    assert!(stage.records("campaign", "profile").await.is_empty());

    // The older state is written, with the opt-out that is in it: ingress hears of the newer one later.
    stage.clear_faults().await;
    stage
        .post(
            "/faults",
            &json!([{"side": "dataverse", "method": "GET", "route": "/contacts", "fault": "status", "times": 3}]),
        )
        .await;
    connect().await.unwrap().start_only(&only("ingress"), d365_campaign::RunMode::UntilIdle).unwrap().join().await;
    assert_equal(&stage).await;
    let after = opt_outs(&stage).await;
    assert_eq!((after[&ids[0]][0], after[&ids[1]][0]), ([false; 2], [true; 2]));
    assert!(d365_campaign::consent::verify(&config).await.unwrap().is_ok());
}
