//! Email events of Campaign on the timelines of Dynamics 365.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

use std::collections::BTreeMap;
use std::time::Duration;

use d365_campaign::control::{self, DeadLetterFilter};
use d365_campaign::{Config, RunSummary};
use end_to_end_tests::{Stage, timeline};
use serde_json::{Value, json};

const CONTACTS: &str = "[[table]]\ntable = \"contact\"\nresource = \"profile\"\nkey = \"externalId\"\n\
                        fields = [ { from = \"lastname\", to = \"lastName\" } ]\n";
const ALL: &str = "sends = true\nopens = true\nclicks = true\nbounces = true\n";

fn config(stage: &Stage, events: &str) -> Config {
    let url = stage.info()["journal"]["url"].clone();
    let events = format!("[events]\n{events}source = {{ journal = {{ url = {url} }} }}\n");
    stage.config_with("", "settle_seconds = 0", "", &format!("{CONTACTS}{events}"))
}

fn egress(summary: &RunSummary) -> &d365_campaign::WorkflowSummary {
    summary.workflows.iter().find(|workflow| workflow.workflow == "egress").unwrap()
}

async fn assert_told_once(stage: &Stage, kinds: &[&str]) {
    let contacts = stage.records("dataverse", "contact").await;
    let mut expected = timeline::expected(stage, &contacts).await;
    expected.retain(|line, _| kinds.iter().any(|kind| line.starts_with(kind)));
    let differences = timeline::differences(&expected, &timeline::found(stage).await);
    assert_eq!(differences.first(), None, "{} differences", differences.len());
    assert!(!expected.is_empty());
}

async fn writes(stage: &Stage) -> u64 {
    let requests = stage.counters().await["dataverse"]["requests"].clone();
    let requests: BTreeMap<String, u64> = serde_json::from_value(requests).unwrap();
    requests.iter().filter(|(route, _)| !route.starts_with("GET")).map(|(_, count)| count).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_is_one_activity_with_every_attribute() {
    let stage = Stage::new(60, "").await;
    stage
        .post(
            "/events",
            &json!({"send": 300, "open": 200, "click": 100, "bounce": 40, "soft_bounce": 30, "no_external_id": 12,
                                 "duplicates": 200, "shuffle": true, "seed": 7}),
        )
        .await;
    let summary = stage.run_config(config(&stage, ALL)).await;
    assert_told_once(&stage, &["send", "open", "click", "bounce"]).await;
    // Nobody is named as the owner, so it is whoever writes: the application user.
    let users = stage.records("dataverse", "systemuser").await;
    let sent = stage.records("dataverse", "adobe_campaignemailsend").await;
    assert!(sent.iter().all(|row| row["_ownerid_value"] == users[0]["systemuserid"]), "{:?}", sent.first());
    let tally = egress(&summary).tables[0].tally;
    assert_eq!((tally.inserted, tally.dead), (640, 0));
    let events = stage.lines("/events").await;
    let deliveries = |of: &dyn Fn(&Value) -> bool| -> u64 {
        events.iter().filter(|event| of(event)).map(|event| event["deliveries"].as_u64().unwrap()).sum()
    };
    let soft = |event: &Value| event["eventType"] == "bounce" && event["bounceType"] != "hard";
    let of_nobody = |event: &Value| event["externalId"] == "" && !soft(event);
    assert_eq!(tally.filtered, deliveries(&soft), "each time that it is told");
    assert_eq!((tally.ignored, deliveries(&of_nobody) > 0), (deliveries(&of_nobody), true), "dropped and counted");
    let bulk = writes(&stage).await;
    assert!(bulk < 64, "many rows go in one request: {bulk} requests");

    // Nothing is told twice: not by a further run, and not by one that knows nothing of the first.
    stage.run_config(config(&stage, ALL)).await;
    assert_eq!(writes(&stage).await, bulk);
    stage.forget();
    stage.run_config(config(&stage, ALL)).await;
    assert_told_once(&stage, &["send", "open", "click", "bounce"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_is_switched_on_by_itself() {
    let stage = Stage::new(20, "").await;
    stage.post("/events", &json!({"send": 30, "open": 20, "click": 10, "bounce": 5, "seed": 3})).await;
    let summary = stage.run_config(config(&stage, "clicks = true\n")).await;
    assert_told_once(&stage, &["click"]).await;
    let tally = egress(&summary).tables[0].tally;
    assert_eq!((tally.inserted, tally.filtered), (10, 55));
}

/// The names of Adobe's solution are not published: an environment may have any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn activities_of_other_names_are_written_where_they_are() {
    let scenario = "[[dataverse.activities]]\ntable = \"adobe_campaignemailopen\"\nname = \"acme_mailopen\"\n\
                    set = \"acme_openedmails\"\nnavigation = \"acme_person\"\n";
    let stage = Stage::new(20, scenario).await;
    stage.post("/events", &json!({"open": 15, "seed": 3})).await;
    let names = "opens = true\n[events.activities.open]\ntable = \"acme_mailopen\"\n";
    let url = stage.info()["journal"]["url"].clone();
    let events = format!("[events]\nsource = {{ journal = {{ url = {url} }} }}\n{names}");
    let summary =
        stage.run_config(stage.config_with("", "settle_seconds = 0", "", &format!("{CONTACTS}{events}"))).await;
    assert_eq!(egress(&summary).tables[0].tally.inserted, 15);
    let rows = stage.records("dataverse", "acme_mailopen").await;
    let contacts = stage.records("dataverse", "contact").await;
    let known = |row: &Value| contacts.iter().any(|contact| contact["contactid"] == row["_regardingobjectid_value"]);
    assert!(rows.len() == 15 && rows.iter().all(known), "{:?}", rows.first());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_waits_for_its_contact_and_becomes_a_dead_letter_in_the_end() {
    let stage = Stage::new(20, "").await;
    stage.post("/events", &json!({"send": 30, "unknown_contact": 4, "seed": 3})).await;
    let waiting = config(&stage, &format!("{ALL}wait_for_contact = \"60s\"\n"));
    let summary = stage.run_config(waiting.clone()).await;
    assert_told_once(&stage, &["send"]).await;
    let tally = egress(&summary).tables[0].tally;
    assert_eq!((tally.inserted, tally.dead), (30, 0));
    let status = serde_json::to_value(d365_campaign::control::status(&waiting).await.unwrap()).unwrap();
    assert_eq!(status["workflows"][1]["backlog"], 4, "{status}");
    let summary = stage.run_later(waiting, Duration::from_secs(120)).await;
    assert_eq!(egress(&summary).tables[0].tally.dead, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contact_that_comes_later_gets_its_event() {
    let stage = Stage::new(20, "").await;
    stage.post("/events", &json!({"send": 10, "unknown_contact": 1, "seed": 5})).await;
    let events = stage.lines("/events").await;
    let contacts = stage.records("dataverse", "contact").await;
    let known = |event: &Value| contacts.iter().any(|contact| contact["contactid"] == event["externalId"]);
    let stranger = events.iter().find(|event| !known(event)).unwrap()["externalId"].as_str().unwrap().to_owned();
    let waiting = config(&stage, &format!("{ALL}wait_for_contact = \"1h\"\n"));
    stage.run_config(waiting.clone()).await;
    stage.put(&format!("/records/dataverse/contact/{stranger}"), &json!({"lastname": "Late"})).await;
    let summary = stage.run_later(waiting, Duration::from_secs(600)).await;
    assert_eq!(egress(&summary).tables[0].tally.inserted, 1);
    assert_told_once(&stage, &["send"]).await;
}

/// Ids of the contacts that have events and are not in Dynamics 365.
async fn strangers(stage: &Stage) -> Vec<String> {
    let contacts = stage.records("dataverse", "contact").await;
    let known = |id: &str| contacts.iter().any(|contact| contact["contactid"] == id);
    let events = stage.lines("/events").await;
    let ids = events.iter().map(|event| event["externalId"].as_str().unwrap().to_owned());
    ids.filter(|id| !id.is_empty() && !known(id)).collect()
}

async fn letters(config: &Config) -> Vec<String> {
    let all = control::dead_letters(config, &DeadLetterFilter::default()).await.unwrap();
    all.into_iter().map(|letter| letter.reason).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_whose_contact_has_come_is_written_when_it_is_queued_again() {
    let stage = Stage::new(20, "").await;
    stage
        .post("/events", &json!({"send": 600, "unknown_contact": 4, "duplicates": 100, "shuffle": true, "seed": 3}))
        .await;
    let config = config(&stage, &format!("{ALL}wait_for_contact = \"60s\"\n"));
    stage.run_config(config.clone()).await;
    stage.run_later(config.clone(), Duration::from_secs(120)).await;
    let strangers = strangers(&stage).await;
    assert_eq!((letters(&config).await.len(), strangers.len()), (4, 4));
    for stranger in strangers.iter().skip(1) {
        stage.put(&format!("/records/dataverse/contact/{stranger}"), &json!({"lastname": "Late"})).await;
    }
    let asked = control::requeue(&config, &DeadLetterFilter::default()).await.unwrap();
    assert_eq!(asked.iter().map(|request| request.dead_letters).collect::<Vec<_>>(), [Some(4)]);
    let summary = stage.run_later(config.clone(), Duration::from_secs(240)).await;
    assert_eq!(egress(&summary).tables[0].tally.inserted, 3);
    assert_told_once(&stage, &["send", "open", "click", "bounce"]).await;
    // The one whose contact is still unknown keeps its letter; it waits anew, and in vain.
    assert_eq!(letters(&config).await, ["contact-unknown"]);
    let summary = stage.run_later(config.clone(), Duration::from_secs(480)).await;
    assert_eq!(egress(&summary).tables[0].tally.dead, 1);
    assert_eq!(letters(&config).await, ["contact-unknown"]);
    // What the journal no longer keeps cannot be written; its letter stays, and says so.
    stage.post("/journal", &json!({"expire": 1000})).await;
    control::requeue(&config, &DeadLetterFilter::default()).await.unwrap();
    stage.run_later(config.clone(), Duration::from_secs(600)).await;
    assert_eq!(letters(&config).await, ["event-gone"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_many_unknown_contacts_cost_few_requests() {
    let stage = Stage::new(50, "").await;
    let plan = json!({"send": 1000, "unknown_contact": 400, "shuffle": true, "seed": 11});
    stage.post("/events", &plan).await;
    let config = config(&stage, &format!("{ALL}wait_for_contact = \"1h\"\n"));
    let summary = stage.run_config(config).await;
    assert_eq!(egress(&summary).tables[0].tally.inserted, 1000);
    assert_told_once(&stage, &["send", "open", "click", "bounce"]).await;
    let requests: BTreeMap<String, u64> =
        serde_json::from_value(stage.counters().await["dataverse"]["requests"].clone()).unwrap();
    let of = |route: &str| requests.iter().filter(|(name, _)| name.starts_with(route)).map(|(_, n)| n).sum::<u64>();
    let (writes, questions) = (of("POST /adobe_"), of("GET /contacts"));
    // 1,400 rows in requests of up to 100: each is refused at most once, asked about once, and sent once without the strangers. By
    // halves, the 400 would cost some 14 requests each.
    assert!(questions > 0 && writes + questions < 150, "{writes} writes, {questions} questions: {requests:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_in_the_journal_is_told_and_what_is_kept_is_written() {
    let stage = Stage::new(20, "").await;
    stage.post("/events", &json!({"send": 40, "seed": 5})).await;
    stage.run_config(config(&stage, ALL)).await;
    stage.post("/events", &json!({"send": 40, "seed": 6})).await;
    // Everything up to the middle of what was not read yet.
    stage.post("/journal", &json!({"expire": 60})).await;
    let config = config(&stage, ALL);
    stage.run_config(config.clone()).await;
    let found: usize = timeline::found(&stage).await.values().sum();
    assert_eq!(found, 60);
    let status = d365_campaign::control::status(&config).await.unwrap();
    let status = serde_json::to_value(&status).unwrap();
    let egress = status["workflows"].as_array().unwrap().iter().find(|one| one["workflow"] == "egress").unwrap();
    assert_eq!(egress["gaps"]["count"], 1, "{egress}");
}
