//! Dataverse under load: limits, delays, locks, faults that hit one of several connections.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod client;

use std::time::Duration;

use client::{Client, send};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use reqwest::Method;
use sandbox::SandboxConfig;
use sandbox::dataverse::Limits;
use serde_json::{Value, json};

#[tokio::test]
async fn the_fifty_third_request_at_once_is_refused() {
    // So long a delay that none of those that are let in ends before the test does.
    let dataverse_latency = Duration::from_secs(600);
    let limits = Some(Limits::REAL);
    let config = SandboxConfig { contacts: 1, limits, dataverse_latency, ..SandboxConfig::default() };
    let sandbox = sandbox::Sandbox::start(config).await.unwrap();
    let (token, _) = sandbox.shared().tokens.issue(sandbox::service::Side::Dataverse);
    let client = Client { http: reqwest::Client::new(), sandbox, token };
    let mut answers: FuturesUnordered<_> = (0..53).map(|_| client.get("contacts")).collect();
    let refused = answers.next().await.unwrap().expect(429);
    assert_eq!(refused.code(), "0x80072326");
    assert_eq!(refused.json()["error"]["message"], "Number of concurrent requests exceeded the limit of 52.");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(answers.len(), 52, "the others are still in");
    client.get("contacts").await.expect(429);
    // Clients that go away make room.
    drop(answers);
    let mut code = String::new();
    for _ in 0..10_000 {
        let next = client.get("contacts");
        match tokio::time::timeout(Duration::from_millis(20), next).await {
            Ok(reply) => code = reply.code(),
            Err(_) => {
                code.clear();
                break;
            }
        }
    }
    assert_eq!(code, "", "a place became free");
}

#[tokio::test]
async fn an_upload_that_trickles_holds_a_place() {
    let limits = Some(Limits { concurrent: 1, ..Limits::REAL });
    let client = Client::with(SandboxConfig { limits, ..SandboxConfig::default() }).await;
    let (sender, receiver) = futures::channel::mpsc::unbounded::<Result<Vec<u8>, std::io::Error>>();
    let upload = client.request(Method::POST, "contacts").header("content-type", "application/json");
    let upload = tokio::spawn(upload.body(reqwest::Body::wrap_stream(receiver)).send());
    sender.unbounded_send(Ok(b"{\"lastname\":".to_vec())).unwrap();
    let mut refused = false;
    for _ in 0..10_000 {
        let reply = client.get("contacts").await;
        if reply.status.as_u16() == 429 {
            refused = true;
            break;
        }
    }
    assert!(refused);
    sender.unbounded_send(Ok(b"\"Slow\"}".to_vec())).unwrap();
    drop(sender);
    assert_eq!(upload.await.unwrap().unwrap().status().as_u16(), 204);
    client.get("contacts").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn changes_and_annotated_reads_of_tables_that_lead_to_one_another_come_to_an_end() {
    let text = "[[dataverse.tables]]\nname = \"account\"\nrows = 50";
    let client = std::sync::Arc::new(Client::scenario(50, text).await);
    let mut work = tokio::task::JoinSet::new();
    for turn in 0..40_u64 {
        for (table, set) in [("contact", "contacts"), ("account", "accounts")] {
            let writer = client.clone();
            work.spawn(async move {
                let plan = json!({"side": "dataverse", "table": table, "create": 5, "update": 5, "seed": turn});
                writer.control(Method::POST, "/mutate", plan).await.expect(200);
            });
            let reader = client.clone();
            work.spawn(async move {
                let by = if set == "contacts" { "_parentcustomerid_value" } else { "_primarycontactid_value" };
                let path = format!("{set}?$orderby={by}");
                reader.prefer("odata.include-annotations=\"*\"", &path).await.expect(200);
            });
        }
    }
    let all = async {
        while let Some(done) = work.join_next().await {
            done.unwrap()
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.unwrap_or_else(|_| panic!("they wait for one another"));
    assert_eq!(client.records("dataverse", "account").await.len(), 250);
}

#[tokio::test]
async fn a_probability_hits_its_share_of_the_requests() {
    let client = Client::start(1).await;
    client
        .faults(json!([{"side": "dataverse", "fault": "status", "status": 503, "probability": 0.25, "seed": 7}]))
        .await;
    let mut hits = 0;
    for _ in 0..200 {
        hits += u32::from(client.get("contacts").await.status.as_u16() == 503);
    }
    assert!((25..80).contains(&hits), "{hits} of 200");
    let listed = client.control(Method::GET, "/faults", json!(null)).await.json();
    assert_eq!((&listed[0]["seen"], &listed[0]["fired"]), (&json!(200), &json!(hits)));
    client.control(Method::DELETE, "/faults", json!({})).await.expect(200);
    client.faults(json!([{"side": "dataverse", "fault": "status", "probability": 1.0, "times": 2}])).await;
    let mut seen: Vec<u16> = Vec::new();
    for _ in 0..3 {
        seen.push(client.get("contacts").await.status.as_u16());
    }
    assert_eq!(seen, [503, 503, 200]);
}

#[tokio::test]
async fn under_tls_a_reset_hits_one_connection() {
    let dir = tempfile::tempdir().unwrap();
    let config = SandboxConfig { contacts: 1, tls: Some(dir.path().to_owned()), ..SandboxConfig::default() };
    let sandbox = sandbox::Sandbox::start(config).await.unwrap();
    let (token, _) = sandbox.shared().tokens.issue(sandbox::service::Side::Dataverse);
    let ca = reqwest::Certificate::from_pem(&std::fs::read(dir.path().join("ca.pem")).unwrap()).unwrap();
    let http = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
    let client = Client { http, sandbox, token };
    client.get("contacts").await.expect(200);
    client
        .faults(json!([
            {"side": "dataverse", "method": "GET", "route": "/contacts", "fault": "hang"},
            {"side": "dataverse", "method": "GET", "route": "/accounts", "fault": "reset_before"},
        ]))
        .await;
    // The neighbour is in flight while the other request's connection is cut.
    let neighbour = client.request(Method::GET, "contacts").send();
    let mut neighbour = Box::pin(neighbour);
    let mut fired = json!(0);
    while fired == 0 {
        tokio::select! {
            answer = &mut neighbour => panic!("it hangs: {answer:?}"),
            list = client.control(Method::GET, "/faults", json!(null)) => fired = list.json()[0]["fired"].clone(),
        }
    }
    assert!(client.request(Method::GET, "accounts").send().await.is_err());
    client.get("accounts").await.expect(200);
    let still = tokio::time::timeout(Duration::from_millis(50), &mut neighbour).await;
    assert!(still.is_err(), "the neighbour was hit too: {still:?}");
}

#[tokio::test]
async fn a_late_execution_has_read_its_body() {
    let client = Client::start(0).await;
    client.faults(json!([{"side": "dataverse", "fault": "late_execution", "delay_ms": 30}])).await;
    // A body too long for what a connection holds ready: it must be read before the answer.
    let long = "x".repeat(4_000_000);
    let request = client.request(Method::POST, "contacts").json(&json!({"lastname": "late", "ignored@x": long}));
    send(request).await.expect(504);
    let mut rows: Vec<Value> = Vec::new();
    for _ in 0..10_000 {
        rows = client.records("dataverse", "contact").await;
        if !rows.is_empty() {
            break;
        }
    }
    assert_eq!(rows[0]["lastname"], "late");
}
