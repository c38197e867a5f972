//! Workflows and reading by `lastModified`, over a scripted transport.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::sync::Arc;
use std::time::Duration;

use campaign_client::{
    CampaignClient, CampaignConfig, ChangedSince, Delivery, ErrorKind, MAX_SIGNAL, Resource, WorkflowCommand,
};
use chrono::{DateTime, Utc};
use http_kit::testing::ScriptedTransport;
use http_kit::{SecretString, StaticToken};
use serde_json::{Map, Value, json};
use timing::{FixedEntropy, ManualClock};

const BASE: &str = "https://mc.adobe.io/acme/campaign";

fn client(script: &ScriptedTransport) -> CampaignClient {
    let config = CampaignConfig::new("https://mc.adobe.io/acme", "the-key", SecretString::from("the-secret"));
    CampaignClient::builder(config)
        .authenticator(Arc::new(StaticToken::new(&SecretString::from("tok")).unwrap()))
        .transport(Arc::new(script.clone()))
        .clock(ManualClock::auto_advancing().shared())
        .entropy(FixedEntropy::shared(0.5))
        .build()
        .unwrap()
}

fn lines(script: &ScriptedTransport) -> Vec<String> {
    script.requests().iter().map(|request| format!("{} {}", request.method, request.url)).collect()
}

/// The documented answer.
fn workflow(trigger: &str) -> String {
    json!({
        "PKey": "@w", "state": "started", "nextProcessingDate": "2026-02-22 09:00:00.000Z",
        "activities": {"activity": {"signal1": {"trigger": {"href": trigger}}, "query1": {}}},
    })
    .to_string()
}

#[tokio::test]
async fn commands_are_sent_once() {
    let script = ScriptedTransport::new();
    let workflows = client(&script).workflows();
    for (command, word) in [
        (WorkflowCommand::Start, "start"),
        (WorkflowCommand::Pause, "pause"),
        (WorkflowCommand::Resume, "resume"),
        (WorkflowCommand::Stop, "stop"),
    ] {
        script.respond(204, "");
        workflows.command("WKF12", command).await.unwrap();
        let sent = script.requests().pop().unwrap();
        assert_eq!(sent.url.as_str(), format!("{BASE}/workflow/execution/WKF12/commands"));
        assert_eq!(&sent.body[..], format!(r#"{{"method":"{word}"}}"#).as_bytes());
    }
    script.respond(504, "");
    let error = workflows.command("WKF12", WorkflowCommand::Start).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery(), script.count()), (ErrorKind::Gateway, Delivery::MaybeApplied, 5));
    let gone = "RST-360011 An error has occurred\nUnable to find document with path 'workflow' from key 'WKF9:0'";
    script.respond(404, gone).respond(404, gone);
    assert_eq!(workflows.command("WKF9", WorkflowCommand::Stop).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(workflows.get("WKF9").await.unwrap_err().kind(), ErrorKind::NotFound);
    let sent = script.count();
    for id in ["", "..", "a/b", "a b", "@x", &"W".repeat(65)] {
        let error = workflows.command(id, WorkflowCommand::Start).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{id}");
    }
    assert_eq!(script.count(), sent);
}

#[tokio::test]
async fn a_workflow_tells_its_state_and_when_it_runs_next() {
    let script = ScriptedTransport::new();
    let workflows = client(&script).workflows();
    script.respond(200, workflow(&format!("{BASE}/workflow/execution/@w/activities/activity/@a/trigger/")));
    let found = workflows.get("WKF12").await.unwrap();
    assert_eq!(found.state.as_deref(), Some("started"));
    assert_eq!(found.next_processing.unwrap().to_rfc3339(), "2026-02-22T09:00:00+00:00");
    assert_eq!(found.signals.keys().collect::<Vec<_>>(), ["signal1"]);
    script.respond(200, r#"{"PKey":"@w","nextProcessingDate":""}"#);
    let bare = workflows.get("WKF12").await.unwrap();
    assert_eq!((bare.state, bare.next_processing, bare.signals.len()), (None, None, 0));
}

#[tokio::test]
async fn a_signal_goes_where_the_workflow_says_and_nowhere_else() {
    let script = ScriptedTransport::new();
    let workflows = client(&script).workflows();
    let trigger = format!("{BASE}/workflow/execution/@w/activities/activity/@a/trigger/");
    let parameters: Map<String, Value> = [("full".to_owned(), json!(false))].into_iter().collect();
    script.respond(200, workflow(&trigger)).respond(200, "");
    workflows.signal("WKF12", "signal1", &parameters).await.unwrap();
    assert_eq!(lines(&script), [format!("GET {BASE}/workflow/execution/WKF12"), format!("POST {trigger}")]);
    let body: Value = serde_json::from_slice(&script.requests()[1].body).unwrap();
    assert_eq!(body, json!({"source": "API", "parameters": {"full": false}}));
    script.respond(200, workflow("https://attacker.example/trigger/"));
    let error = workflows.signal("WKF12", "signal1", &parameters).await.unwrap_err();
    assert_eq!((error.kind(), script.count()), (ErrorKind::ForeignLink, 3));
    script.respond(200, workflow(&trigger));
    let error = workflows.signal("WKF12", "signal2", &parameters).await.unwrap_err();
    assert_eq!((error.kind(), script.count()), (ErrorKind::Configuration, 4));
    // The limit is that of the whole body, and nothing is asked beyond it.
    let around = json!({"source": "API", "parameters": {"a": ""}}).to_string().len();
    let filled = |bytes: usize| [("a".to_owned(), json!("x".repeat(bytes - around)))].into_iter().collect();
    let error = workflows.signal("WKF12", "signal1", &filled(MAX_SIGNAL + 1)).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery(), script.count()), (ErrorKind::Configuration, Delivery::NotSent, 4));
    script.respond(200, workflow(&trigger)).respond(204, "");
    workflows.signal("WKF12", "signal1", &filled(MAX_SIGNAL)).await.unwrap();
    let undeclared = "RST-360011 An error has occurred - please contact your administrator.\n'x' parameter isn't defined in signal activity.\nXTK-170006 Unable to parse expression";
    script.respond(200, workflow(&trigger)).respond(500, undeclared);
    let error = workflows.signal("WKF12", "signal1", &parameters).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Validation, Some("XTK-170006")));
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn what() -> ChangedSince {
    ChangedSince::new(Resource::profile(), "byLastModified", "lastModified_parameter").unwrap()
}

fn rows(times: &[&str], next: Option<&str>) -> String {
    let content: Vec<Value> = times.iter().map(|time| json!({"externalId": "k", "lastModified": time})).collect();
    let mut page = json!({"content": content, "serverSidePagination": true});
    if let Some(next) = next {
        page["next"] = json!({"href": next});
    }
    page.to_string()
}

#[tokio::test]
async fn a_pass_begins_before_the_mark_and_follows_the_links() {
    let script = ScriptedTransport::new();
    let client = client(&script);
    let what = what().overlap(Duration::from_secs(30)).line_count(2);
    let next = format!("{BASE}/profileAndServicesExt/profile/byLastModified?_lineStart=@c");
    script.respond(200, rows(&["2026-02-21 09:26:57.584Z", "2026-02-21 09:27:00.000Z"], Some(&next)));
    script.respond(200, rows(&["2026-02-21 09:28:00.001Z"], None));
    let mut pass = client.changes(&what, Some(at("2026-02-21T09:27:10.500Z"))).unwrap();
    let first = pass.next_page().await.unwrap().unwrap();
    // Rows of the overlap do not take the mark back.
    assert_eq!((first.rows.len(), first.mark), (2, Some(at("2026-02-21T09:27:10.500Z"))));
    let last = pass.next_page().await.unwrap().unwrap();
    assert_eq!((last.rows.len(), last.mark), (1, Some(at("2026-02-21T09:28:00.001Z"))));
    assert!(pass.next_page().await.unwrap().is_none());
    let query =
        "lastModified_parameter=2026-02-21%2009%3A26%3A40.500Z&_order=lastModified&_lineCount=2&_forcePagination=true";
    assert_eq!(
        lines(&script),
        [format!("GET {BASE}/profileAndServicesExt/profile/byLastModified?{query}"), format!("GET {next}")]
    );
}

#[tokio::test]
async fn a_quiet_table_moves_the_mark_by_the_clock_of_the_service() {
    let script = ScriptedTransport::new();
    let client = client(&script);
    let next = format!("{BASE}/profileAndServicesExt/profile/byLastModified?_lineStart=@c");
    let time = "2026-02-21 09:26:57.584Z";
    script.respond_with(200, &[("date", "Sat, 21 Feb 2026 10:00:00 GMT")], rows(&[time], Some(&next)));
    script.respond_with(200, &[("date", "Sat, 21 Feb 2026 11:00:00 GMT")], rows(&[], None));
    let mut pass = client.changes(&what(), None).unwrap();
    // While there is more to read, nothing is known beyond the rows.
    assert_eq!(pass.next_page().await.unwrap().unwrap().mark, Some(at("2026-02-21T09:26:57.584Z")));
    // What changed after the first answer may not be in this pass.
    assert_eq!(pass.next_page().await.unwrap().unwrap().mark, Some(at("2026-02-21T10:00:00Z")));
    assert!(lines(&script)[0].contains("lastModified_parameter=1970-01-01%2000%3A00%3A00.000Z"));
    script.respond(200, rows(&[], None));
    let mut pass = client.changes(&what(), None).unwrap();
    assert_eq!(pass.next_page().await.unwrap().unwrap().mark, None);
}

#[tokio::test]
async fn a_pass_ends_where_it_cannot_be_trusted_and_can_go_on_after_trouble() {
    let script = ScriptedTransport::new();
    let client = client(&script);
    script.respond(200, rows(&["CANARY"], None));
    let mut pass = client.changes(&what(), None).unwrap();
    let error = pass.next_page().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(!format!("{error} {error:?}").contains("CANARY"));
    script.respond(200, rows(&[], Some("https://attacker.example/x")));
    assert_eq!(pass.next_page().await.unwrap_err().kind(), ErrorKind::ForeignLink);
    let next = format!("{BASE}/profileAndServicesExt/profile/byLastModified?_lineStart=@c");
    script.respond(200, rows(&[], Some(&next))).respond(404, "").respond(200, rows(&[], Some(&next)));
    assert!(pass.next_page().await.unwrap().is_some());
    assert_eq!(pass.next_page().await.unwrap_err().kind(), ErrorKind::UnknownResource);
    // The same page once more; it leads back to itself.
    assert_eq!(pass.next_page().await.unwrap_err().kind(), ErrorKind::ForeignLink);
    assert!(ChangedSince::new(Resource::profile(), "by/x", "p").is_err());
    assert!(ChangedSince::new(Resource::profile(), "byX", "a=b").is_err());
}
