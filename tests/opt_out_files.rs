//! Campaign's opt-outs by its export file: each lands in Dynamics 365 once, whatever happens to the files and to us.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use d365_campaign::{Config, Connector, RunMode, RunSummary, Running, Tally};
use end_to_end_tests::Stage;
use end_to_end_tests::steps::Steps;
use serde_json::{Value, json};
use timing::{Clock as _, SystemClock};

const CONTACTS: &str = "[[table]]\ntable = \"contact\"\nresource = \"profile\"\nkey = \"externalId\"\n\
                        fields = [ { from = \"lastname\", to = \"lastName\" } ]\n";
const PAIRS: &str = "pairs = [ { d365 = \"donotemail\", campaign = \"denyListEmail\" }, \
                     { d365 = \"donotphone\", campaign = \"denyListPhone\" } ]\n";
const NAMES: [(&str, &str); 2] = [("donotemail", "blackListEmail"), ("donotphone", "blackListPhone")];
/// Waits of half a minute take a second.
const FASTER: u32 = 30;
const HOUR: Duration = Duration::from_secs(3600);

/// The configuration with these keys in `export`, and these lines in `[opt_out]`.
fn config(stage: &Stage, direction: &str, keys: &str, lines: &str) -> Config {
    let sftp = stage.info()["sftp"].clone();
    let sftp = format!(
        "[sftp]\nhost = {}\nport = {}\nuser = {}\nprivate_key = {{ file = {} }}\nhost_key = {}\n",
        sftp["host"], sftp["port"], sftp["user"], sftp["private_key_file"], sftp["host_key"],
    );
    let source = format!("source = {{ export = {{ folder = \"d365_loads/exports\"{keys} }} }}");
    let section = format!("{CONTACTS}[opt_out]\ndirection = \"{direction}\"\n{source}\n{PAIRS}{lines}\n{sftp}");
    stage.config_with("", "settle_seconds = 60", "", &section)
}

/// Changes one opt-out as somebody would on that side.
async fn put(stage: &Stage, side: &str, id: &str, name: &str, value: bool) {
    put_later(stage, side, id, name, value, 0).await;
}

/// The same so many seconds ahead of the machine's clock.
async fn put_later(stage: &Stage, side: &str, id: &str, name: &str, value: bool, ahead: i64) {
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

/// Contacts whose preferences are all off on both sides.
async fn settled(contacts: u64, direction: &str, keys: &str) -> (Stage, Config, Vec<String>) {
    let stage = Stage::new(contacts, "[campaign.switches]\nopt_out_dates_writable = true\n").await;
    let config = config(&stage, direction, keys, "");
    let contacts = stage.records("dataverse", "contact").await;
    let ids: Vec<String> = contacts.iter().map(|row| row["contactid"].as_str().unwrap().to_owned()).collect();
    for id in &ids {
        for (column, _) in NAMES {
            put(&stage, "dataverse", id, column, false).await;
        }
    }
    stage.run_faster(config.clone(), FASTER).await;
    (stage, config, ids)
}

/// What both sides hold of both preferences, by contact.
async fn opt_outs(stage: &Stage) -> BTreeMap<String, [[bool; 2]; 2]> {
    let profiles = stage.records("campaign", "profile").await;
    let contacts = stage.records("dataverse", "contact").await;
    let held = |row: &Value, name: &str| row[name].as_bool().unwrap_or(false);
    let both = |contact: &Value| {
        let profile = profiles.iter().find(|profile| profile["externalId"] == contact["contactid"]).unwrap();
        NAMES.map(|(column, attribute)| [held(contact, column), held(profile, attribute)])
    };
    contacts.iter().map(|contact| (contact["contactid"].as_str().unwrap().to_owned(), both(contact))).collect()
}

/// Requests of one method to a side.
async fn requests(stage: &Stage, side: &str, method: &str) -> u64 {
    let counters = stage.counters().await;
    let requests: BTreeMap<String, u64> = serde_json::from_value(counters[side]["requests"].clone()).unwrap();
    requests.iter().filter(|(route, _)| route.starts_with(method)).map(|(_, count)| count).sum()
}

/// Changes that we made on each side.
async fn changes(stage: &Stage) -> (u64, u64) {
    (requests(stage, "dataverse", "PATCH").await, requests(stage, "campaign", "PATCH").await)
}

/// What was done with the rows of files.
fn tally(summary: &RunSummary) -> Tally {
    let workflow = summary.workflows.iter().find(|workflow| workflow.workflow == "opt-in-out").unwrap();
    workflow.tables.iter().find(|table| table.resource == "profile, by export").unwrap().tally
}

/// Names of the files below a folder.
async fn files(stage: &Stage, folder: &str) -> Vec<String> {
    let prefix = format!("/d365_loads/{folder}/");
    let lines = stage.lines("/files").await;
    let all = lines.iter().flat_map(|line| line.as_array().cloned().unwrap_or_else(|| vec![line.clone()]));
    let name = |line: Value| Some(line["path"].as_str()?.strip_prefix(&prefix)?.to_owned());
    all.filter_map(name).filter(|name| !name.contains('/')).collect()
}

/// Starts the opt-out workflow alone.
async fn start(config: &Config, clock: &Steps) -> Running {
    let connector = Connector::builder(config.clone()).clock(Arc::new(clock.clone())).connect().await.unwrap();
    connector.start_only(&["opt-in-out".to_owned()], RunMode::Continuous).unwrap()
}

/// Ends a run in good order: the store is free afterwards.
async fn end(running: Running) {
    running.stopper().stop();
    running.join().await;
}

/// Waits until the store is free again: tasks of a run that was broken off end a moment later.
async fn freed(config: &Config) {
    until("the end of the run", async || Connector::builder(config.clone()).connect().await.is_ok()).await;
}

/// Asks until something holds; a minute is more than it takes.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..1200 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what} did not come");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opt_out_in_a_file_lands_in_dynamics_once() {
    for direction in ["campaign_to_d365", "bidirectional"] {
        let (stage, config, ids) = settled(10, direction, "").await;
        let before = changes(&stage).await;
        put(&stage, "campaign", &ids[0], "blackListEmail", true).await;
        put(&stage, "campaign", &ids[1], "blackListPhone", true).await;
        stage.post("/exports/opt-out", &json!({"gzip": true})).await;
        let told = tally(&stage.run_faster(config.clone(), FASTER).await);
        assert_eq!((told.read, told.dead, told.filtered), (2, 0, 0), "{direction}: {told:?}");
        let after = opt_outs(&stage).await;
        assert_eq!(after[&ids[0]], [[true; 2], [false; 2]], "{direction}");
        assert_eq!(after[&ids[1]], [[false; 2], [true; 2]], "{direction}");
        assert_eq!(changes(&stage).await, (before.0 + 2, before.1), "{direction}");
        assert_eq!(files(&stage, "exports/processed").await.len(), 1);

        // Neither the same rows in another file nor our own echo lead to a write.
        stage.post("/exports/opt-out", &json!({"full": true, "dates": "iso", "separator": "tab"})).await;
        let told = tally(&stage.run_faster(config.clone(), FASTER).await);
        assert_eq!(told.dead, 0, "{direction}: {told:?}");
        assert_eq!(changes(&stage).await, (before.0 + 2, before.1), "{direction}");
        assert_eq!(files(&stage, "exports").await, [] as [&str; 0]);

        // What was taken back in Campaign, later than we wrote, comes with the next file.
        put_later(&stage, "campaign", &ids[0], "blackListEmail", false, 10).await;
        stage.post("/exports/opt-out", &json!({})).await;
        stage.run_faster(config.clone(), FASTER).await;
        assert_eq!(opt_outs(&stage).await[&ids[0]][0], [false; 2], "{direction}");
        assert!(d365_campaign::consent::verify(&config).await.unwrap().is_ok());
    }
}

/// The file says what was, and the look finds what is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_decides_nothing() {
    let (stage, config, ids) = settled(3, "bidirectional", "").await;
    put(&stage, "campaign", &ids[0], "blackListEmail", true).await;
    stage.post("/exports/opt-out", &json!({})).await;
    put(&stage, "campaign", &ids[0], "blackListEmail", false).await;
    let before = changes(&stage).await;
    stage.run_faster(config, FASTER).await;
    assert_eq!(opt_outs(&stage).await[&ids[0]][0], [false; 2]);
    assert_eq!(changes(&stage).await, before);
}

/// Campaign's file of tomorrow would say that it has our opt-out: the look right after the write has seen it, and when it changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_to_campaign_is_looked_at_at_once() {
    let (stage, config, ids) = settled(3, "bidirectional", "").await;
    put(&stage, "dataverse", &ids[0], "donotemail", true).await;
    let (reads, before) = (requests(&stage, "campaign", "GET").await, changes(&stage).await);
    stage.run_faster(config.clone(), FASTER).await;
    assert_eq!(opt_outs(&stage).await[&ids[0]][0], [true; 2]);
    let start = requests(&stage, "campaign", "GET").await - reads;
    assert_eq!(changes(&stage).await, (before.0, before.1 + 1));
    // A run in which nothing happens tells what the start alone reads.
    let reads = requests(&stage, "campaign", "GET").await;
    stage.run_faster(config, FASTER).await;
    let idle = requests(&stage, "campaign", "GET").await - reads;
    assert_eq!(start - idle, 2, "one look before the write and one after it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_counted_and_rows_of_nobody_knows_whom_are_dead_letters() {
    let (stage, config, ids) = settled(5, "campaign_to_d365", "").await;
    for id in &ids[..3] {
        put(&stage, "campaign", id, "blackListEmail", true).await;
    }
    let [first, second, third] = [&ids[0], &ids[1], &ids[2]];
    let lines = format!(
        "externalId,blackListEmail,blackListEmailLastModified\n\
         {first},1,2026/02/21 09:26:57\n\
         loyalty-7,1,2026/02/21 09:26:57\n\
         ,1,2026/02/21 09:26:57\n\
         {second},perhaps,some time\n\
         {third}\n"
    );
    stage.put_file("d365_loads/exports/optout_1.csv", lines.clone().into_bytes()).await;
    stage.put_file("d365_loads/exports/logs_1.csv", b"externalId\n7\n".to_vec()).await;
    let told = tally(&stage.run_faster(config.clone(), FASTER).await);
    assert_eq!((told.read, told.filtered, told.dead), (5, 2, 1), "{told:?}");
    let after = opt_outs(&stage).await;
    // A value that cannot be read keeps nobody from looking; a row of another length may be anybody's.
    assert_eq!([first, second, third].map(|id| after[id][0][0]), [true, true, false]);
    assert_eq!(files(&stage, "exports").await, ["logs_1.csv"]);

    // The very same file once more is known by name and content, and moved unread.
    stage.put_file("d365_loads/exports/optout_1.csv", lines.into_bytes()).await;
    let written = changes(&stage).await;
    assert_eq!(tally(&stage.run_faster(config, FASTER).await).read, 0);
    assert_eq!((files(&stage, "exports").await, changes(&stage).await), (vec!["logs_1.csv".to_owned()], written));
    assert_eq!(files(&stage, "exports/processed").await, ["optout_1.csv", "optout_1.csv.1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_layout_is_read_by_its_columns() {
    let keys = ", pattern = \"*.txt\", separator = \"pipe\", header = [\"who\", \"mail\", \"mailed\"], utc_offset = \"+01:00\", \
                columns = { external_id = \"who\", denyListEmail = \"mail\", denyListEmailLastModified = \"mailed\" }";
    let (stage, config, ids) = settled(2, "campaign_to_d365", keys).await;
    put(&stage, "campaign", &ids[0], "blackListEmail", true).await;
    let row = format!("{}|1|2026/02/21 09:26:57\n", ids[0]);
    stage.put_file("d365_loads/exports/preferences.txt", row.into_bytes()).await;
    let told = tally(&stage.run_faster(config, FASTER).await);
    assert_eq!((told.read, told.dead), (1, 0), "{told:?}");
    assert_eq!(opt_outs(&stage).await[&ids[0]][0], [true; 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_still_written_is_not_read() {
    let (stage, config, ids) = settled(3, "bidirectional", ", stable_for = \"1h\"").await;
    put(&stage, "campaign", &ids[0], "blackListEmail", true).await;
    let listings = requests(&stage, "sftp", "LIST").await;
    stage.post("/exports/opt-out", &json!({"hold": true})).await;
    let clock = Steps::default();
    let running = start(&config, &clock).await;
    let listed = async |times: u64| requests(&stage, "sftp", "LIST").await >= listings + times;
    until("the first look", async || listed(1).await).await;
    stage.post("/exports/finish", &json!({})).await;
    clock.pass(HOUR);
    // By the first file alone it would be complete now; it was written since.
    until("the second look", async || listed(3).await).await;
    assert_eq!(requests(&stage, "sftp", "READ").await, 0, "neither half nor whole");
    clock.pass(HOUR);
    until("the opt-out", async || {
        clock.pass(Duration::from_secs(30));
        opt_outs(&stage).await[&ids[0]][0] == [true; 2]
    })
    .await;
    end(running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_in_the_middle_of_a_file_loses_and_repeats_nothing() {
    let (stage, config, ids) = settled(40, "campaign_to_d365", "").await;
    for id in &ids {
        put(&stage, "campaign", id, "blackListEmail", true).await;
    }
    stage.post("/exports/opt-out", &json!({})).await;
    // From the sixth on no write is answered, nor carried out.
    let hang = json!([{"side": "dataverse", "method": "PATCH", "nth": 6, "times": 1000, "fault": "hang"}]);
    stage.post("/faults", &hang).await;
    let clock = Steps::default();
    let running = start(&config, &clock).await;
    until("a write that hangs", async || {
        clock.pass(Duration::from_secs(30));
        stage.faults_fired().await > 0
    })
    .await;
    drop(running);
    stage.clear_faults().await;
    freed(&config).await;
    let written = |held: &BTreeMap<String, [[bool; 2]; 2]>| held.values().filter(|both| both[0] == [true; 2]).count();
    let middle = written(&opt_outs(&stage).await);
    assert!(middle < ids.len(), "{middle}");
    stage.post("/counters/reset", &json!({})).await;
    stage.run_faster(config, FASTER).await;
    assert_eq!(written(&opt_outs(&stage).await), ids.len());
    let (dataverse, campaign) = changes(&stage).await;
    assert_eq!((usize::try_from(dataverse).unwrap(), campaign), (ids.len() - middle, 0));
}

/// Commands that were sent to workflows of Campaign.
async fn commands(stage: &Stage) -> u64 {
    let counters = stage.counters().await;
    let of = |name: &str| -> BTreeMap<String, u64> {
        serde_json::from_value(counters["campaign"][name].clone()).unwrap_or_default()
    };
    let all = [of("requests"), of("setup_requests")];
    all.iter().flatten().filter(|(route, _)| route.contains("/commands")).map(|(_, count)| count).sum()
}

/// What the status says of the workflow, to the host and to whoever reads the store.
async fn told(running: &Running, config: &Config) -> Option<(String, String)> {
    let reason = running.status("opt-in-out")?.reason?;
    let report = d365_campaign::control::status(config).await.unwrap();
    let report = report.workflows.into_iter().find(|workflow| workflow.workflow == "opt-in-out").unwrap();
    // It is written a moment later.
    let kept = report.last_error.filter(|kept| *kept == reason)?;
    assert!(!kept.remedy.is_empty());
    Some((kept.code, kept.message))
}

const DAILY: &str = "workflow = \"WKF12\"\nexpect_file_within = \"26h\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workflow_that_stopped_is_noticed_and_started_again() {
    let (stage, _, ids) = settled(3, "bidirectional", "").await;
    let config = config(&stage, "bidirectional", "", DAILY);
    stage.post("/workflows", &json!({"id": "WKF12", "state": "stopped"})).await;
    put(&stage, "campaign", &ids[0], "blackListEmail", true).await;
    let clock = Steps::default();
    let running = start(&config, &clock).await;
    let listings = async || requests(&stage, "sftp", "LIST").await;
    let looks = listings().await;
    until("a look", async || listings().await > looks).await;
    clock.pass(25 * HOUR);
    let looks = listings().await;
    until("two looks", async || listings().await > looks + 1).await;
    assert_eq!((told(&running, &config).await, commands(&stage).await), (None, 0));

    clock.pass(2 * HOUR);
    until("the notice", async || told(&running, &config).await.is_some()).await;
    let (code, message) = told(&running, &config).await.unwrap();
    assert_eq!(code, "opt-out-file-overdue");
    assert!(message.contains("WKF12 was stopped and was started again"), "{message}");
    assert_eq!(commands(&stage).await, 1);
    // The workflow has written at once; the file is read when it stood still.
    until("the opt-out", async || {
        clock.pass(Duration::from_secs(30));
        opt_outs(&stage).await[&ids[0]][0] == [true; 2]
    })
    .await;
    until("the end of the notice", async || running.status("opt-in-out").unwrap().reason.is_none()).await;
    end(running).await;
    let report = d365_campaign::control::status(&config).await.unwrap();
    let files = report.workflows[1].files.clone().unwrap();
    assert!(files.last.is_some() && files.expected_until > files.last && files.overdue.is_none(), "{files:?}");
    assert_eq!(commands(&stage).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workflow_is_started_once_for_each_file_that_did_not_come() {
    let (stage, without, _) = settled(3, "campaign_to_d365", "").await;
    let config = config(&stage, "campaign_to_d365", "", DAILY);
    stage.post("/workflows", &json!({"id": "WKF12", "state": "erroneous"})).await;
    // It takes the command, and stays as it is.
    let deaf = json!([{"side": "campaign", "method": "POST", "route": "commands", "times": 1000, "fault": "status", "status": 200}]);
    stage.post("/faults", &deaf).await;
    let clock = Steps::default();
    for day in 1..=3 {
        // Each day by another process; the first look was taken by the one that settled both sides.
        let running = start(&config, &clock).await;
        clock.pass(27 * HOUR);
        until("the notice", async || told(&running, &config).await.is_some() && commands(&stage).await == day).await;
        let looks = requests(&stage, "sftp", "LIST").await;
        until("more looks", async || requests(&stage, "sftp", "LIST").await > looks + 2).await;
        assert_eq!(commands(&stage).await, day);
        end(running).await;
    }

    // One that is started is left alone, and one that is not named is nobody's business.
    stage.clear_faults().await;
    stage.post("/workflows", &json!({"id": "WKF12", "state": "started"})).await;
    let unknown = self::config(&stage, "campaign_to_d365", "", &DAILY.replace("WKF12", "WKF99"));
    let all = [
        (&config, "WKF12 was started when it was asked"),
        (&unknown, "WKF99 could not be started"),
        (&without, "is expected within 26h."),
    ];
    for (config, says) in all {
        clock.pass(27 * HOUR);
        let running = start(config, &clock).await;
        until(says, async || told(&running, config).await.is_some_and(|(_, message)| message.contains(says))).await;
        end(running).await;
    }
    assert_eq!(commands(&stage).await, 3);
}
