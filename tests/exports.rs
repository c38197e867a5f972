//! Log exports of the file exchange as events on the timelines of Dynamics 365.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

use std::time::Duration;

use d365_campaign::control::{self, DeadLetterFilter};
use d365_campaign::{Config, RunSummary, Tally, WorkflowSummary};
use end_to_end_tests::{Stage, timeline};
use serde_json::{Value, json};

const CONTACTS: &str = "[[table]]\ntable = \"contact\"\nresource = \"profile\"\nkey = \"externalId\"\n\
                        fields = [ { from = \"lastname\", to = \"lastName\" } ]\n";
const ALL: &str = "[events]\nsends = true\nopens = true\nclicks = true\nbounces = true\n";
const FOLDER: &str = "folder = \"d365_loads/exports\"";
/// Waits of half a minute take a second.
const FASTER: u32 = 30;

/// The configuration with these lines in `[events]`, and the host's key where it is another than the sandbox's.
fn config(stage: &Stage, events: &str, host_key: Option<&str>) -> Config {
    let sftp = stage.info()["sftp"].clone();
    let host_key = host_key.map_or(sftp["host_key"].clone(), Value::from);
    let sftp = format!(
        "[sftp]\nhost = {}\nport = {}\nuser = {}\nprivate_key = {{ file = {} }}\nhost_key = {host_key}\n",
        sftp["host"], sftp["port"], sftp["user"], sftp["private_key_file"],
    );
    stage.config_with("", "settle_seconds = 0", "", &format!("{CONTACTS}{ALL}{events}\n{sftp}"))
}

fn exports(stage: &Stage, keys: &str) -> Config {
    config(stage, &format!("source = {{ export = {{ {FOLDER}{keys} }} }}"), None)
}

fn with_journal(stage: &Stage) -> Config {
    let url = stage.info()["journal"]["url"].clone();
    let journal = format!("source = {{ journal = {{ url = {url} }} }}");
    config(stage, &format!("{journal}\nfill_gaps_from = {{ export = {{ {FOLDER} }} }}"), None)
}

fn egress(summary: &RunSummary) -> &WorkflowSummary {
    summary.workflows.iter().find(|workflow| workflow.workflow == "egress").unwrap()
}

fn tally(summary: &RunSummary) -> Tally {
    egress(summary).tables.last().unwrap().tally
}

async fn assert_told_once(stage: &Stage) {
    let contacts = stage.records("dataverse", "contact").await;
    let expected = timeline::expected(stage, &contacts).await;
    let differences = timeline::differences(&expected, &timeline::found(stage).await);
    assert_eq!(differences.first(), None, "{} differences", differences.len());
    assert!(!expected.is_empty());
}

/// Names of the files below a folder.
async fn files(stage: &Stage, folder: &str) -> Vec<String> {
    let prefix = format!("/d365_loads/{folder}/");
    let lines = stage.lines("/files").await;
    let all = lines.iter().flat_map(|line| line.as_array().cloned().unwrap_or_else(|| vec![line.clone()]));
    let name = |line: Value| Some(line["path"].as_str()?.strip_prefix(&prefix)?.to_owned());
    all.filter_map(name).filter(|name| !name.contains('/')).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_of_an_export_is_one_activity_with_every_attribute() {
    let stage = Stage::new(40, "").await;
    stage
        .post("/events", &json!({"send": 150, "open": 80, "click": 40, "bounce": 20, "soft_bounce": 10, "seed": 7}))
        .await;
    stage.post("/exports/logs", &json!({"quotes": "double", "gzip": true})).await;
    stage.post("/events", &json!({"send": 50, "no_external_id": 5, "seed": 8})).await;
    stage.post("/exports/logs", &json!({"quotes": "double"})).await;
    let summary = stage.run_faster(exports(&stage, ""), FASTER).await;
    assert_told_once(&stage).await;
    let told = tally(&summary);
    assert_eq!((told.inserted, told.filtered, told.dead), (340, 10, 0), "{told:?}");
    // Files are moved once their rows are durable, and a whole export later tells nothing new.
    assert_eq!((files(&stage, "exports").await.len(), files(&stage, "exports/processed").await.len()), (0, 2));
    stage.post("/exports/logs", &json!({"quotes": "double", "full": true})).await;
    let told = tally(&stage.run_faster(exports(&stage, ""), FASTER).await);
    assert_eq!((told.inserted, told.updated), (0, 0), "{told:?}");
    assert_told_once(&stage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_fills_the_gap_of_the_journal() {
    let stage = Stage::new(40, "").await;
    stage
        .post("/events", &json!({"send": 100, "open": 50, "click": 30, "lost": 60, "duplicates": 40, "seed": 7}))
        .await;
    stage.run_faster(with_journal(&stage), FASTER).await;
    let found: usize = timeline::found(&stage).await.values().sum();
    assert_eq!(found, 120);
    stage.post("/exports/logs", &json!({"quotes": "double"})).await;
    let summary = stage.run_faster(with_journal(&stage), FASTER).await;
    assert_told_once(&stage).await;
    assert_eq!(egress(&summary).tables.len(), 2);
    let told = tally(&summary);
    assert_eq!((told.inserted, told.updated), (60, 0), "what the journal told is not written once more: {told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_of_the_extract_activity_is_read() {
    let stage = Stage::new(20, "").await;
    let forms = [
        json!({"separator": "tab"}),
        json!({"separator": "semicolon", "quotes": "double", "crlf": true, "bom": true}),
        json!({"separator": "pipe", "quotes": "single", "dates": "iso", "gzip": true}),
        json!({"quotes": "double", "dates": "wire"}),
    ];
    for (seed, form) in forms.iter().enumerate() {
        stage.post("/events", &json!({"send": 20, "open": 10, "click": 10, "bounce": 5, "seed": seed})).await;
        stage.post("/exports/logs", form).await;
    }
    let told = tally(&stage.run_faster(exports(&stage, ""), FASTER).await);
    assert_eq!((told.inserted, told.dead), (180, 0), "{told:?}");
    assert_told_once(&stage).await;

    // Without a header line, the configuration names the columns, and may call them as it likes.
    stage.post("/events", &json!({"send": 20, "click": 10, "seed": 9})).await;
    stage.post("/exports/logs", &json!({"separator": "tab", "headless": true})).await;
    let keys = ", separator = \"tab\", header = [\"kind\", \"at\", \"id\", \"b\", \"c\", \"d\", \"delivery\", \"e\", \"f\", \
                \"g\", \"h\", \"i\", \"j\", \"k\"], columns = { kind = \"kind\", instant = \"at\", recipient = \"id\", \
                campaign = \"d\", delivery = \"delivery\", broad_log_id = \"f\", tracking_log_id = \"g\", url = \"h\", \
                mirror_page = \"i\", bounce_type = \"j\" }";
    let told = tally(&stage.run_faster(exports(&stage, keys), FASTER).await);
    assert_eq!((told.inserted, told.dead), (30, 0), "{told:?}");
    assert_told_once(&stage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_cannot_be_read_is_a_dead_letter_with_its_place() {
    let stage = Stage::new(20, "").await;
    let contact = stage.records("dataverse", "contact").await[0]["contactid"].as_str().unwrap().to_owned();
    let lines = format!(
        "eventType,timestamp,externalId,deliveryName,broadLogId,bounceType\n\
         send,2026/02/21 09:26:57,{contact},DM190,1,\n\
         send,some time,{contact},DM190,2,\n\
         send,2026/02/21 09:26:57,{contact}\n\
         send,2026/02/21 09:26:57,{contact},,4,\n\
         survey,2026/02/21 09:26:57,{contact},DM190,5,\n\
         send,2026/02/21 09:26:57,{contact},DM190,6,\n"
    );
    stage.put_file("d365_loads/exports/logs_1.csv", lines.into_bytes()).await;
    stage.put_file("d365_loads/exports/logs_2.csv.gz", vec![0x1f, 0x8b, 8, 0, 1]).await;
    stage.put_file("d365_loads/exports/logs_3.csv.part", b"half".to_vec()).await;
    let config = exports(&stage, "");
    let told = tally(&stage.run_faster(config.clone(), FASTER).await);
    assert_eq!((told.inserted, told.dead), (2, 4), "{told:?}");
    assert_eq!(files(&stage, "exports").await, ["logs_3.csv.part"]);
    assert_eq!(files(&stage, "exports/processed").await, ["logs_1.csv"]);
    assert_eq!(files(&stage, "exports/refused").await, ["logs_2.csv.gz"]);
    // The same name with new content is a new file.
    let row =
        format!("eventType,timestamp,externalId,deliveryName,broadLogId\nsend,2026/02/22 09:26:57,{contact},DM190,7\n");
    stage.put_file("d365_loads/exports/logs_1.csv", row.into_bytes()).await;
    assert_eq!(tally(&stage.run_faster(config, FASTER).await).inserted, 1);
    assert_eq!(files(&stage, "exports/processed").await, ["logs_1.csv", "logs_1.csv.1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_written_from_the_file_that_told_of_it_when_it_is_queued_again() {
    let stage = Stage::new(20, "").await;
    stage.post("/events", &json!({"send": 50, "unknown_contact": 4, "seed": 3})).await;
    stage.post("/exports/logs", &json!({"quotes": "double", "gzip": true})).await;
    stage.post("/events", &json!({"send": 50, "unknown_contact": 4, "seed": 4})).await;
    stage.post("/exports/logs", &json!({"quotes": "double"})).await;
    let source = format!("wait_for_contact = \"60s\"\nsource = {{ export = {{ {FOLDER}, stable_for = \"1s\" }} }}");
    let config = config(&stage, &source, None);
    stage.run_config(config.clone()).await;
    assert_eq!(tally(&stage.run_later(config.clone(), Duration::from_secs(120)).await).dead, 8);
    let contacts = stage.records("dataverse", "contact").await;
    let known = |event: &Value| contacts.iter().any(|contact| contact["contactid"] == event["externalId"]);
    for event in stage.lines("/events").await.iter().filter(|event| !known(event)) {
        let path = format!("/records/dataverse/contact/{}", event["externalId"].as_str().unwrap());
        stage.put(&path, &json!({"lastname": "Late"})).await;
    }
    let filter = DeadLetterFilter::default();
    control::requeue(&config, &filter).await.unwrap();
    assert_eq!(tally(&stage.run_later(config.clone(), Duration::from_secs(240)).await).inserted, 8);
    assert_told_once(&stage).await;
    assert_eq!(control::dead_letters(&config, &filter).await.unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_host_key_fails_the_workflow_and_says_what_to_do() {
    let stage = Stage::new(5, "").await;
    stage.post("/events", &json!({"send": 5, "seed": 1})).await;
    stage.post("/exports/logs", &json!({})).await;
    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    let source = format!("source = {{ export = {{ {FOLDER} }} }}");
    let summary = stage.run_faster(config(&stage, &source, Some(other)), FASTER).await;
    let status = serde_json::to_value(egress(&summary)).unwrap().to_string();
    assert!(status.contains("exchange-host-key") && status.contains("ssh-keyscan"), "{status}");
    assert!(timeline::found(&stage).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_is_cut_off_leaves_nothing_half_read() {
    let stage = Stage::new(40, "").await;
    stage.post("/events", &json!({"send": 3000, "seed": 7})).await;
    stage.post("/exports/logs", &json!({"quotes": "double"})).await;
    // The hash takes some twenty reads, then the rows do: one cut in each.
    let cut = |nth: u64, fault: &str| json!({"side": "sftp", "method": "READ", "nth": nth, "fault": fault});
    stage.post("/faults", &json!([cut(10, "reset_before"), cut(40, "truncate")])).await;
    stage.run_faster(exports(&stage, ""), FASTER).await;
    assert_eq!(stage.faults_fired().await, 2);
    assert_told_once(&stage).await;
    assert_eq!(files(&stage, "exports/processed").await.len(), 1);
}
