//! The protocol of opt-outs where it is hard: a change between read and write, a reply that is lost, a run that is cut off in the middle,
//! profiles that a filter finds, and a backlog of other work.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

use std::time::Duration;

use d365_campaign::consent::{Channel, may_contact, verify};
use d365_campaign::{Config, Connector, RunMode, RunSummary};
use end_to_end_tests::Stage;
use sandbox::SandboxConfig;
use serde_json::{Value, json};

const ID: &str = "ffffffff-0000-4000-8000-0000000000a1";
const CONTACT: &str = "/records/dataverse/contact/ffffffff-0000-4000-8000-0000000000a1";
const PROFILE: &str = "/records/campaign/profile/ffffffff-0000-4000-8000-0000000000a1";

fn config(stage: &Stage, key_filter: &str) -> Config {
    let section = format!(
        "[[table]]\ntable = \"contact\"\nresource = \"profile\"\nkey = \"externalId\"\n{key_filter}\
         fields = [ {{ from = \"lastname\", to = \"lastName\" }} ]\n[opt_out]\ndirection = \"bidirectional\"\n\
         source = {{ filter = {{ name = \"byLastModified\", parameter = \"lastModified_parameter\" }} }}\n\
         pairs = [ {{ d365 = \"donotemail\", campaign = \"denyListEmail\" }} ]\n"
    );
    stage.config_with("", "settle_seconds = 0\naccept_duplicate_risk = true", "", &section)
}

/// A contact with its profile, both contactable and looked at.
async fn settled(key_filter: &str) -> (Stage, Config) {
    let stage = Stage::new(0, "").await;
    stage.put(CONTACT, &json!({"lastname": "King", "donotemail": false})).await;
    let config = config(&stage, key_filter);
    for _ in 0..2 {
        let summary = stage.run_config(config.clone()).await;
        let well = summary.workflows.iter().all(|workflow| workflow.status.reason.is_none());
        assert!(well && summary.total().dead == 0, "{summary:?}");
    }
    stage.post("/counters/reset", &json!({})).await;
    (stage, config)
}

async fn opt_outs(stage: &Stage) -> (bool, bool) {
    let contacts = stage.records("dataverse", "contact").await;
    let profiles = stage.records("campaign", "profile").await;
    let of = |rows: &[Value], key: &str, name: &str| {
        let row = rows.iter().find(|row| row[key] == ID).unwrap();
        row[name].as_bool().unwrap()
    };
    (of(&contacts, "contactid", "donotemail"), of(&profiles, "externalId", "blackListEmail"))
}

/// Requests that were to change a row.
async fn patches(stage: &Stage, side: &str) -> u64 {
    let counters = stage.counters().await;
    let requests = counters[side]["requests"].as_object().unwrap().clone();
    requests.iter().filter(|(route, _)| route.starts_with("PATCH")).filter_map(|(_, count)| count.as_u64()).sum()
}

async fn fired(stage: &Stage) {
    while stage.faults_fired().await == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Starts a run, and the rule once it is connected.
async fn run_with(stage: &Stage, config: &Config, rule: Value) -> tokio::task::JoinHandle<RunSummary> {
    let connector = Connector::builder(config.clone()).connect().await.unwrap();
    stage.post("/faults", &json!([rule])).await;
    tokio::spawn(connector.start(RunMode::UntilIdle).join())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_changes_between_read_and_write_is_decided_about_anew() {
    let (stage, config) = settled("").await;
    stage.post("/clock", &json!({"advance_seconds": 10})).await;
    stage.patch(PROFILE, &json!({"blackListEmail": true})).await;
    // The contact has been read when the profile is; the answer takes long enough to change the contact meanwhile.
    let slow = json!({"side": "campaign", "method": "GET", "route": format!("profile/{ID}"), "fault": "delay", "delay_ms": 1500});
    let running = run_with(&stage, &config, slow).await;
    fired(&stage).await;
    stage.patch(CONTACT, &json!({"lastname": "Queen"})).await;
    let summary = running.await.unwrap();
    assert_eq!(summary.total().dead, 0);
    assert_eq!(opt_outs(&stage).await, (true, true));
    let counters = stage.counters().await;
    assert_eq!((patches(&stage, "dataverse").await, &counters["dataverse"]["status"]["412"]), (2, &json!(1)));
    let contact = &stage.records("dataverse", "contact").await[0];
    assert_eq!(contact["lastname"], "Queen", "what was written meanwhile stays");
    assert!(verify(&config).await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_reply_is_lost_is_found_and_not_repeated() {
    for (side, path, name) in [("campaign", CONTACT, "donotemail"), ("dataverse", PROFILE, "blackListEmail")] {
        let (stage, config) = settled("").await;
        stage.patch(path, &json!({name: true})).await;
        let lost = json!({"side": side, "method": "PATCH", "fault": "reset_after_commit"});
        let summary = run_with(&stage, &config, lost).await.await.unwrap();
        assert_eq!((stage.faults_fired().await, summary.total().dead), (1, 0), "{side}");
        assert_eq!(opt_outs(&stage).await, (true, true), "{side}");
        stage.run_config(config.clone()).await;
        // A write that Dynamics 365 executed is refused by its condition when the client sends it once more; Campaign knows no condition.
        let refused = stage.counters().await[side]["status"]["412"].as_u64().unwrap_or(0);
        assert_eq!((patches(&stage, side).await - refused, refused), (1, u64::from(side == "dataverse")), "{side}");
        assert!(verify(&config).await.unwrap().is_ok());
    }
}

/// The decision is recorded, and its write is on its way when the run ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_whose_end_nobody_saw_keeps_the_gate_closed_and_is_looked_at_again() {
    for arrives in [false, true] {
        let (stage, config) = settled("").await;
        assert!(may_contact(&config, ID, Channel::Email).unwrap().allowed);
        stage.patch(CONTACT, &json!({"donotemail": true})).await;
        let fault = if arrives { "reset_after_commit" } else { "hang" };
        let running = run_with(&stage, &config, json!({"side": "campaign", "method": "PATCH", "fault": fault})).await;
        fired(&stage).await;
        running.abort();
        assert!(running.await.is_err() || arrives, "it was cut off");
        assert!(!may_contact(&config, ID, Channel::Email).unwrap().allowed);
        stage.clear_faults().await;
        // What was taken back meanwhile stays taken back: nothing that was decided before is written now.
        stage.post("/clock", &json!({"advance_seconds": 10})).await;
        if arrives {
            stage.patch(PROFILE, &json!({"blackListEmail": false})).await;
        }
        let before = patches(&stage, "campaign").await;
        stage.run_config(config.clone()).await;
        assert_eq!(opt_outs(&stage).await, (!arrives, !arrives));
        assert_eq!(patches(&stage, "campaign").await - before, u64::from(!arrives));
        assert!(!arrives || may_contact(&config, ID, Channel::Email).unwrap().allowed);
        assert!(verify(&config).await.unwrap().is_ok());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn profiles_that_a_filter_finds_are_kept_in_step() {
    let filter = "key_filter = { name = \"byCrmId\", parameter = \"crmId_parameter\" }\n";
    let (stage, config) = settled(filter).await;
    stage.patch(CONTACT, &json!({"donotemail": true})).await;
    stage.run_config(config.clone()).await;
    assert_eq!(opt_outs(&stage).await, (true, true));
    stage.post("/clock", &json!({"advance_seconds": 10})).await;
    stage.patch(PROFILE, &json!({"blackListEmail": false})).await;
    let summary = stage.run_config(config.clone()).await;
    assert_eq!((opt_outs(&stage).await, summary.total().dead), ((false, false), 0));
    let counters = stage.counters().await;
    let requests = counters["campaign"]["requests"].as_object().unwrap();
    assert!(requests.keys().any(|route| route.contains("byCrmId")), "{requests:?}");
    assert_eq!((patches(&stage, "dataverse").await, patches(&stage, "campaign").await), (1, 1));
}

/// The first run has thousands of contacts to create, and to look at. Of an opt-out in the middle of it, what counts is how much
/// was written before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opt_out_overtakes_a_backlog() {
    const CONTACTS: u64 = 4000;
    let latency = Duration::from_millis(30);
    let stage =
        Stage::with(SandboxConfig { contacts: CONTACTS, campaign_latency: latency, ..SandboxConfig::default() }).await;
    // The last one by its id: its turn in the backlog comes last.
    stage.put(CONTACT, &json!({"lastname": "King", "donotemail": false})).await;
    stage.put(PROFILE, &json!({"lastName": "King"})).await;
    stage.post("/history", &json!({"keep": true})).await;
    let connector = Connector::builder(config(&stage, "")).connect().await.unwrap();
    let running = connector.start(RunMode::Continuous);
    let wait_for = async |what: &dyn Fn(&Value) -> bool| loop {
        let history = stage.history().await;
        if let Some(at) = history.iter().position(what) {
            return (at, history);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    wait_for(&|change| change["side"] == "campaign").await;
    stage.patch(CONTACT, &json!({"donotemail": true})).await;
    let (at, history) = wait_for(&|change| {
        change["id"] == ID && change["side"] == "campaign" && change["row"]["blackListEmail"] == true
    })
    .await;
    running.stopper().stop();
    running.join().await;
    let by_hand = history.iter().position(|change| change["id"] == ID && change["by"] == "control").unwrap();
    let before = (at - by_hand) as u64;
    assert!(before < CONTACTS / 2, "{before} rows were written between the change and its opt-out");
}
