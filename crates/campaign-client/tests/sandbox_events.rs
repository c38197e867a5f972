//! Journal, workflows and changes against the sandbox.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeMap;
use std::time::Duration;

use campaign_client::{
    CampaignClient, CampaignConfig, ChangedSince, DecodeEvents, ErrorKind, EventPointers, Journal, JournalConfig,
    JournalEvent, JournalRead, JournalStart, MailKind, Resource, WorkflowCommand,
};
use http_kit::SecretString;
use sandbox::scenario::Scenario;
use sandbox::{Sandbox, SandboxConfig};
use serde_json::{Map, Value, json};

struct Stage {
    sandbox: Sandbox,
    client: CampaignClient,
    journal: Journal,
    http: reqwest::Client,
}

impl Stage {
    async fn with(scenario: &str) -> Self {
        let scenario = Scenario::parse(scenario).unwrap();
        let config = SandboxConfig { contacts: 20, scenario, ..SandboxConfig::default() };
        let sandbox = Sandbox::start(config).await.unwrap();
        let info = sandbox.info().clone();
        let secret = SecretString::from(info.campaign.client_secret.clone());
        let mut campaign = CampaignConfig::new(info.campaign.url.clone(), info.campaign.client_id.clone(), secret);
        campaign.ims_url.clone_from(&info.campaign.ims_url);
        let client = CampaignClient::new(campaign.clone()).unwrap();
        let config = JournalConfig::new(info.journal.url, info.campaign.org_id);
        let journal = Journal::builder(config, campaign).authenticator(client.authenticator()).build().unwrap();
        Self { sandbox, client, journal, http: reqwest::Client::new() }
    }

    async fn control(&self, path: &str, body: Value) -> Value {
        let request = self.http.post(format!("{}{path}", self.sandbox.info().control)).body(body.to_string());
        let answer = request.send().await.unwrap().error_for_status().unwrap().text().await.unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    async fn oracle(&self) -> Vec<Value> {
        let text = self.http.get(format!("{}/events", self.sandbox.info().control)).send().await.unwrap().text().await;
        text.unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Everything from a place to the end, page by page through stored links.
    async fn all(&self, mut start: JournalStart) -> Vec<JournalEvent> {
        let mut events = Vec::new();
        loop {
            match self.journal.read(&start).await.unwrap() {
                JournalRead::Page(page) => {
                    events.extend(page.events);
                    start = JournalStart::Link(page.next.as_str().to_owned());
                }
                JournalRead::End { retry_after, .. } => {
                    assert_eq!(retry_after, Duration::from_secs(10));
                    return events;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn every_event_arrives_decoded_whatever_the_form_of_links_and_envelopes() {
    for scenario in [
        "page_size = 9",
        "page_size = 9\nlinks = \"absolute\"\nenvelope = \"old_spelling\"",
        "links = \"as_asked\"\nenvelope = \"before_cloud_events\"",
    ] {
        let stage = Stage::with(&format!("[journal]\n{scenario}")).await;
        let plan = json!({"send": 20, "open": 9, "click": 8, "bounce": 4, "soft_bounce": 3, "unknown_contact": 2,
            "no_external_id": 1, "duplicates": 15, "shuffle": true, "seed": 5});
        stage.control("/events", plan).await;
        let oracle: BTreeMap<String, Value> =
            stage.oracle().await.into_iter().map(|line| (line["id"].as_str().unwrap().to_owned(), line)).collect();
        let events = stage.all(JournalStart::Oldest).await;
        assert_eq!((events.len(), oracle.len()), (62, 47));
        for event in &events {
            let mail = EventPointers::default().decode(event).unwrap().unwrap();
            let line = &oracle[mail.event_id.as_deref().unwrap()];
            let text = |name: &str| line[name].as_str().filter(|text| !text.is_empty());
            assert_eq!(Some(mail.kind.to_string().as_str()), text("eventType"));
            assert_eq!(mail.hard, text("bounceType") == Some("hard"));
            assert_eq!(
                (Some(mail.delivery.as_str()), mail.campaign.as_deref()),
                (text("deliveryName"), text("campaignName"))
            );
            assert_eq!(
                (mail.recipient.as_deref(), mail.mirror_page.as_deref()),
                (text("externalId"), text("mirrorPageUrl"))
            );
            assert_eq!(mail.url.as_deref(), text("url").filter(|_| mail.kind == MailKind::Click));
            assert_eq!(mail.instant, text("timestamp").unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap());
        }
    }
}

#[tokio::test]
async fn a_reader_goes_on_where_it_was_and_is_told_of_a_gap() {
    let stage = Stage::with("").await;
    let JournalRead::End { next, .. } = stage.journal.read(&JournalStart::Latest).await.unwrap() else {
        panic!("events")
    };
    let here = JournalStart::Link(next.as_str().to_owned());
    stage.control("/events", json!({"send": 5})).await;
    let events = stage.all(here).await;
    assert_eq!(events.len(), 5);
    let since = |at: usize| JournalStart::Since(events[at].position.clone());
    assert_eq!(stage.all(since(1)).await, events[2..]);
    assert_eq!(stage.all(JournalStart::Seek(Duration::from_secs(3600))).await.len(), 5);
    stage.control("/journal", json!({"expire": 3})).await;
    assert!(matches!(stage.journal.read(&since(1)).await.unwrap(), JournalRead::Expired));
    assert_eq!(stage.all(JournalStart::Oldest).await, events[3..]);
}

#[tokio::test]
async fn faults_of_the_journal_are_ridden_out_or_told() {
    let stage = Stage::with("").await;
    stage.control("/events", json!({"send": 5})).await;
    let rules = json!([
        {"side": "journal", "fault": "expire_token"},
        {"side": "journal", "fault": "truncate"},
        {"side": "journal", "fault": "foreign_next_link"},
        {"side": "journal", "fault": "gzip_bomb"},
    ]);
    stage.control("/faults", rules).await;
    let kind = async || stage.journal.read(&JournalStart::Oldest).await.map(drop).map_err(|error| error.kind());
    assert_eq!(kind().await, Err(ErrorKind::ForeignLink));
    assert_eq!(kind().await, Err(ErrorKind::Decode));
    assert_eq!(kind().await, Ok(()));
}

#[tokio::test]
async fn a_workflow_is_steered_and_signalled() {
    let stage = Stage::with("").await;
    let workflows = stage.client.workflows();
    assert_eq!(workflows.get("WKF12").await.unwrap().state.as_deref(), Some("started"));
    let parameters: Map<String, Value> = [("full".to_owned(), json!(true))].into_iter().collect();
    workflows.signal("WKF12", "signal1", &parameters).await.unwrap();
    let error = workflows.signal("WKF12", "signal1", &parameters).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Validation, "within ten minutes");
    stage.control("/workflows", json!({"id": "WKF12", "state": "erroneous"})).await;
    let stopped = workflows.get("WKF12").await.unwrap();
    assert_eq!((stopped.state.as_deref(), stopped.next_processing), (Some("erroneous"), None));
    workflows.command("WKF12", WorkflowCommand::Start).await.unwrap();
    let started = workflows.get("WKF12").await.unwrap();
    assert!(started.state.as_deref() == Some("started") && started.next_processing.is_some());
    assert_eq!(workflows.command("WKF9", WorkflowCommand::Start).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn what_changed_is_found_by_the_published_filter() {
    let stage = Stage::with("").await;
    let made = stage.control("/mutate", json!({"side": "campaign", "table": "profile", "create": 12, "seed": 1})).await;
    assert_eq!(made["created"].as_array().unwrap().len(), 12);
    let what =
        ChangedSince::new(Resource::profile(), "byLastModified", "lastModified_parameter").unwrap().line_count(5);
    let read = async |mark| {
        let (mut pass, mut keys, mut last) = (stage.client.changes(&what, mark).unwrap(), Vec::new(), mark);
        while let Some(page) = pass.next_page().await.unwrap() {
            keys.extend(page.rows.iter().map(|row| row.text("externalId").unwrap()));
            last = page.mark;
        }
        (keys, last)
    };
    let (keys, mark) = read(None).await;
    assert_eq!(keys.len(), 12);
    // Nothing changes for an hour: the mark moves with the clock of the service, and the rows do not come for ever.
    stage.control("/clock", json!({"advance_seconds": 3600})).await;
    let (_, mark) = read(mark).await;
    assert_eq!(read(mark).await.0, Vec::<String>::new());
    let changed =
        stage.control("/mutate", json!({"side": "campaign", "table": "profile", "update": 3, "seed": 2})).await;
    let mut expected: Vec<String> = serde_json::from_value(changed["updated"].clone()).unwrap();
    let (mut keys, _) = read(mark).await;
    expected.sort();
    keys.sort();
    assert_eq!(keys, expected);
}
