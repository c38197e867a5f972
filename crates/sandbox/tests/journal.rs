//! The events journal and the events behind it, over HTTP.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::collections::{BTreeMap, BTreeSet};

use client::{Client, Reply, send};
use reqwest::Method;
use serde_json::{Value, json};

mod client;

struct Reader {
    client: Client,
    bearer: String,
}

impl Reader {
    async fn start(contacts: u64, scenario: &str) -> Self {
        let client = Client::scenario(contacts, scenario).await;
        let info = client.sandbox.info().campaign.clone();
        let url = format!("{}/ims/token/v3", info.ims_url);
        let fields = [
            ("client_id", info.client_id.as_str()),
            ("client_secret", &info.client_secret),
            ("scope", "openid,AdobeID,event_receiver_api"),
        ];
        let bearer =
            client.post_form(&url, &fields).await.expect(200).json()["access_token"].as_str().unwrap().to_owned();
        Self { client, bearer }
    }

    fn url(&self) -> &str {
        &self.client.sandbox.info().journal.url
    }

    /// What follows the registration's address, or a link as it came.
    async fn get(&self, rest: &str) -> Reply {
        let origin = url::Url::parse(self.url()).unwrap().origin().ascii_serialization();
        let url = match rest {
            rest if rest.starts_with("http") => rest.to_owned(),
            rest if rest.starts_with('/') => format!("{origin}{rest}"),
            rest => format!("{}{rest}", self.url()),
        };
        let info = &self.client.sandbox.info().campaign;
        let request = self.client.http.get(url).bearer_auth(&self.bearer);
        send(request.header("x-api-key", &info.client_id).header("x-ims-org-id", &info.org_id)).await
    }

    async fn make(&self, plan: Value) -> Value {
        self.client.control(Method::POST, "/events", plan).await.expect(200).json()
    }

    async fn oracle(&self) -> Vec<Value> {
        let reply = self.client.control(Method::GET, "/events", json!(null)).await.expect(200);
        reply.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Everything from a place to the end.
    async fn all(&self, mut at: String) -> Vec<Value> {
        let mut events = Vec::new();
        for _ in 0..1000 {
            let reply = self.get(&at).await;
            at = next(&reply).unwrap();
            if reply.status == 204 {
                assert_eq!((reply.header("retry-after"), reply.text.as_str()), ("10", ""));
                return events;
            }
            let page = reply.expect(200).json();
            let entries = page["events"].as_array().unwrap();
            assert_eq!(page["_page"]["count"].as_u64().unwrap(), entries.len() as u64);
            assert_eq!(page["_page"]["last"], entries.last().unwrap()["position"]);
            events.extend(entries.iter().cloned());
        }
        panic!("the journal has no end")
    }
}

/// The target of the next link.
fn next(reply: &Reply) -> Option<String> {
    let links = reply.headers.get_all("link").iter().map(|value| value.to_str().unwrap().to_owned());
    let next = links.filter(|link| link.ends_with("; rel=\"next\"")).collect::<Vec<_>>();
    let link = next.first()?;
    Some(link[1..link.find('>').unwrap()].to_owned())
}

fn id(entry: &Value) -> String {
    entry["event"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_event_is_delivered_as_often_as_it_was_said() {
    let reader = Reader::start(30, "[journal]\npage_size = 7").await;
    assert_eq!(reader.get("").await.status, 204);
    let plan = json!({"send": 40, "open": 20, "click": 10, "bounce": 3, "soft_bounce": 2, "unknown_contact": 4,
        "duplicates": 30, "lost": 5, "shuffle": true, "seed": 9});
    let made = reader.make(plan).await;
    assert_eq!((made["events"].as_u64(), made["deliveries"].as_u64()), (Some(79), Some(104)));
    let oracle = reader.oracle().await;
    assert_eq!(oracle.len(), 79);
    let mut seen = BTreeMap::new();
    for entry in reader.all(String::new()).await {
        let event = &entry["event"];
        assert_eq!(event["specversion"], "1.0");
        let known = oracle.iter().find(|line| line["id"] == event["id"]).unwrap();
        for (name, value) in event["data"].as_object().unwrap() {
            assert_eq!(value, &known[name], "{name}");
        }
        *seen.entry(id(&entry)).or_insert(0) += 1;
    }
    for line in &oracle {
        let delivered = seen.get(line["id"].as_str().unwrap()).copied().unwrap_or(0);
        assert_eq!(line["deliveries"], delivered);
    }
    // Whom an event concerns is a contact, or one that was named as unknown.
    let rows = reader.client.records("dataverse", "contact").await;
    let contacts: BTreeSet<&str> = rows.iter().map(|row| row["contactid"].as_str().unwrap()).collect();
    let unknown = made["unknown_contacts"].as_array().unwrap();
    assert_eq!(unknown.len(), 4);
    for line in &oracle {
        let whom = line["externalId"].as_str().unwrap();
        assert_ne!(contacts.contains(whom), unknown.iter().any(|id| id == whom));
    }
    let counters = reader.client.counters().await["journal"].clone();
    assert_eq!(counters["rows"], 104);
    assert_eq!(counters["requests"].as_object().unwrap().len(), 1, "{counters}");
}

#[tokio::test]
async fn the_parameters_say_where_a_reader_begins() {
    let reader = Reader::start(5, "").await;
    let end = next(&reader.get("?latest=true").await).unwrap();
    reader.make(json!({"send": 10, "seed": 1})).await;
    assert_eq!(reader.all(end).await.len(), 10);
    let all = reader.all(String::new()).await;
    let third = all[2]["position"].as_str().unwrap();
    assert_eq!(reader.all(format!("?since={third}")).await, all[3..]);
    let page = reader.get("?limit=4").await;
    assert_eq!(page.json()["_page"]["count"], 4);
    assert!(next(&page).unwrap().contains("limit=4"));
    reader.client.control(Method::POST, "/clock", json!({"advance_seconds": 7200})).await.expect(200);
    reader.make(json!({"send": 3, "seed": 2})).await;
    assert_eq!(reader.all("?seek=-PT1H".to_owned()).await, reader.all(String::new()).await[10..]);
    for wrong in ["?seek=-PT1H&since=x", "?seek=PT1H", "?limit=0", "?limit=x", "?since=made-up"] {
        reader.get(wrong).await.expect(400);
    }
    // Older addresses lack the beginning.
    let short = url::Url::parse(reader.url()).unwrap().path().strip_prefix("/events").unwrap().to_owned();
    reader.get(&short).await.expect(200);
    reader.get("/events/organizations/1/integrations/2/other").await.expect(404);
}

#[tokio::test]
async fn what_is_older_than_a_week_is_gone_and_its_positions_are_refused() {
    let reader = Reader::start(5, "").await;
    reader.make(json!({"send": 4, "seed": 1})).await;
    let old = reader.all(String::new()).await;
    reader.client.control(Method::POST, "/clock", json!({"advance_seconds": 6 * 86_400})).await.expect(200);
    let reader = Reader { bearer: renewed(&reader).await, ..reader };
    reader.make(json!({"send": 2, "seed": 2})).await;
    assert_eq!(reader.all(String::new()).await.len(), 6);
    reader.client.control(Method::POST, "/clock", json!({"advance_seconds": 2 * 86_400})).await.expect(200);
    let reader = Reader { bearer: renewed(&reader).await, ..reader };
    assert_eq!(reader.all(String::new()).await.len(), 2);
    for entry in &old {
        let position = entry["position"].as_str().unwrap();
        let reply = reader.get(&format!("?since={position}")).await.expect(410);
        assert_eq!(reply.text, format!("Events at position {position} have expired."));
    }
    // The same without waiting.
    let reply = reader.client.control(Method::POST, "/journal", json!({"expire": 1})).await.expect(200);
    assert_eq!(reply.json()["expired"], 1);
    assert_eq!(reader.all(String::new()).await.len(), 1);
    assert_eq!(reader.oracle().await.len(), 6, "what happened stays known");
}

async fn renewed(reader: &Reader) -> String {
    let info = reader.client.sandbox.info().campaign.clone();
    let fields = [
        ("client_id", info.client_id.as_str()),
        ("client_secret", &info.client_secret),
        ("scope", "event_receiver_api"),
    ];
    let url = format!("{}/ims/token/v3", info.ims_url);
    reader.client.post_form(&url, &fields).await.expect(200).json()["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn links_and_envelopes_have_the_form_that_was_asked_for() {
    for (form, start) in [("relative", "/events/"), ("absolute", "http://127.0.0.1"), ("foreign", "https://events-")] {
        let reader = Reader::start(1, "").await;
        reader.make(json!({"send": 1})).await;
        reader.client.control(Method::POST, "/journal", json!({"links": form})).await.expect(200);
        let link = next(&reader.get("").await).unwrap();
        assert!(link.starts_with(start), "{link}");
    }
    for (form, id) in [("old_spelling", "event_id"), ("before_cloud_events", "event_id"), ("cloud_events", "eventid")] {
        let reader = Reader::start(1, &format!("[journal]\nenvelope = \"{form}\"")).await;
        reader.make(json!({"send": 1})).await;
        let event = reader.get("").await.json()["events"][0]["event"].clone();
        assert!(event[id].is_string(), "{event}");
        let data = if form == "before_cloud_events" { &event["event"] } else { &event["data"] };
        assert_eq!(data["eventType"], "send");
    }
}

#[tokio::test]
async fn whoever_may_not_read_is_told_so() {
    let reader = Reader::start(1, "").await;
    let info = reader.client.sandbox.info().campaign.clone();
    let ask = async |bearer: &str, key: &str, organization: &str| {
        let request = reader.client.http.get(reader.url()).bearer_auth(bearer).header("x-api-key", key);
        let reply = send(request.header("x-ims-org-id", organization)).await;
        (reply.status.as_u16(), reply.json()["error_code"].as_str().unwrap().to_owned())
    };
    let (key, organization) = (info.client_id.as_str(), info.org_id.as_str());
    assert_eq!(ask("made-up", key, organization).await, (401, "401013".to_owned()));
    assert_eq!(ask(&reader.bearer, "other", organization).await, (403, "403000".to_owned()));
    assert_eq!(ask(&reader.bearer, key, "other@AdobeOrg").await, (403, "403025".to_owned()));
    // A token of Dataverse is none of Adobe's.
    assert_eq!(ask(&reader.client.token, key, organization).await.0, 401);
}

#[tokio::test]
async fn faults_hit_the_journal_too() {
    let reader = Reader::start(3, "").await;
    reader.make(json!({"send": 3})).await;
    reader
        .client
        .faults(json!([
            {"side": "journal", "fault": "status", "status": 503},
            {"side": "journal", "fault": "throttle"},
            {"side": "journal", "fault": "foreign_next_link"},
            {"side": "journal", "fault": "repeat_page"},
            {"side": "campaign", "fault": "html"},
        ]))
        .await;
    reader.get("").await.expect(503);
    assert_eq!(reader.get("").await.expect(429).header("retry-after"), "1");
    assert!(next(&reader.get("").await.expect(200)).unwrap().starts_with("https://elsewhere.invalid/"));
    assert_eq!(next(&reader.get("").await.expect(200)).unwrap(), url::Url::parse(reader.url()).unwrap().path());
    assert_eq!(reader.all(String::new()).await.len(), 3);
    let fired = reader.client.control(Method::GET, "/faults", json!(null)).await.json();
    let fired: Vec<u64> = fired.as_array().unwrap().iter().map(|rule| rule["fired"].as_u64().unwrap()).collect();
    assert_eq!(fired, [1, 1, 1, 1, 0]);
}

#[tokio::test]
async fn what_cannot_be_made_is_refused() {
    let reader = Reader::start(0, "").await;
    for wrong in [json!({"send": 1}), json!({"unknown_contact": 1, "duplicates": 3}), json!({"sends": 1})] {
        reader.client.control(Method::POST, "/events", wrong).await.expect(400);
    }
    let made = reader.make(json!({"unknown_contact": 2, "no_external_id": 2})).await;
    assert_eq!(made["unknown_contacts"].as_array().unwrap().len(), 2);
    assert_eq!(reader.oracle().await.iter().filter(|line| line["externalId"] == "").count(), 2);
}
