//! Faults: each does what the table in `docs/sandbox.md` says.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod client;

use client::{Client, send};
use reqwest::Method;
use serde_json::{Value, json};

async fn fired(client: &Client) -> Value {
    let list = client.control(Method::GET, "/faults", json!(null)).await.expect(200).json();
    list[0]["fired"].clone()
}

#[tokio::test]
async fn a_reset_before_leaves_nothing_and_a_reset_after_leaves_the_row() {
    for (fault, rows) in [("reset_before", 0), ("reset_after_commit", 1)] {
        let client = Client::start(0).await;
        client.faults(json!([{"side": "dataverse", "method": "POST", "route": "/contacts", "fault": fault}])).await;
        let request = client.request(Method::POST, "contacts").json(&json!({"lastname": "x"}));
        let error = request.send().await.unwrap_err();
        assert!(error.status().is_none(), "no answer came: {error}");
        assert_eq!(client.records("dataverse", "contact").await.len(), rows, "{fault}");
        assert_eq!(fired(&client).await, 1);
        client.write(Method::POST, "contacts", &[], json!({"lastname": "y"})).await.expect(204);
    }
}

#[tokio::test]
async fn answers_can_be_replaced() {
    let client = Client::start(1).await;
    client
        .faults(json!([
            {"side": "dataverse", "fault": "status", "status": 503, "headers": {"Retry-After": "2"}, "body": {"error": {"code": "", "message": "busy"}}},
            {"side": "dataverse", "fault": "throttle"},
            {"side": "dataverse", "fault": "html"},
        ]))
        .await;
    let status = client.get("contacts").await.expect(503);
    assert_eq!((status.header("retry-after"), status.code().as_str()), ("2", ""));
    let throttled = client.get("contacts").await.expect(429);
    assert_eq!((throttled.header("retry-after"), throttled.code().as_str()), ("1", "0x80072322"));
    assert!(client.get("contacts").await.expect(502).text.starts_with("<html>"));
    client.get("contacts").await.expect(200);
    assert_eq!(client.counters().await["dataverse"]["throttled"], 1);
}

#[tokio::test]
async fn a_truncated_answer_is_an_error_in_the_body() {
    let client = Client::start(50).await;
    client.faults(json!([{"side": "dataverse", "fault": "truncate"}])).await;
    let response = client.request(Method::GET, "contacts").send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    assert!(response.text().await.is_err());
    assert_eq!(client.get("contacts").await.expect(200).rows().len(), 50);
}

#[tokio::test]
async fn a_token_expires_and_a_new_one_is_good() {
    let client = Client::start(1).await;
    client.faults(json!([{"side": "dataverse", "fault": "expire_token"}])).await;
    client.get("contacts").await.expect(401);
    client.get("contacts").await.expect(401);
    let client = Client { token: client.new_token().await, ..client };
    client.get("contacts").await.expect(200);
}

#[tokio::test]
async fn a_delta_token_expires_only_where_there_is_one() {
    let client = Client::start(1).await;
    client.faults(json!([{"side": "dataverse", "fault": "expire_delta"}])).await;
    let link = client.prefer("odata.track-changes", "contacts").await.expect(200).delta_link().unwrap();
    assert_eq!(client.get(&link).await.expect(400).code(), "0x80044352");
    client.get(&link).await.expect(200);
}

#[tokio::test]
async fn a_foreign_link_waits_for_an_answer_that_has_one() {
    let client = Client::start(3).await;
    client.faults(json!([{"side": "dataverse", "fault": "foreign_next_link"}])).await;
    assert!(client.get("contacts").await.expect(200).next_link().is_none());
    assert_eq!(fired(&client).await, 0);
    let page = client.prefer("odata.maxpagesize=2", "contacts").await.expect(200);
    assert!(page.next_link().unwrap().starts_with("https://elsewhere.invalid/api/data/v9.2/contacts?"));
    assert_eq!(fired(&client).await, 1);
}

#[tokio::test]
async fn a_hanging_request_ends_when_it_was_told_to() {
    let client = Client::start(1).await;
    client.faults(json!([{"side": "dataverse", "fault": "hang", "delay_ms": 20}])).await;
    assert!(client.request(Method::GET, "contacts").send().await.is_err());
    client.get("contacts").await.expect(200);
    // Without a time it hangs until the client gives up, and does not hold up the sandbox's end.
    client.faults(json!([{"side": "dataverse", "fault": "hang"}])).await;
    let patience = std::time::Duration::from_millis(50);
    let gave_up = client.request(Method::GET, "contacts").timeout(patience).send().await.unwrap_err();
    assert!(gave_up.is_timeout());
    client.sandbox.shutdown().await;
}

#[tokio::test]
async fn a_late_execution_happens_after_its_answer() {
    let client = Client::start(0).await;
    client.faults(json!([{"side": "dataverse", "fault": "late_execution", "delay_ms": 10}])).await;
    client.write(Method::POST, "contacts", &[], json!({"lastname": "late"})).await.expect(504);
    let mut rows = 0;
    // Each look is a round trip; the row must be there well before the last of them.
    for _ in 0..10_000 {
        rows = client.records("dataverse", "contact").await.len();
        if rows == 1 {
            break;
        }
    }
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn faults_hit_the_requests_they_name() {
    let client = Client::start(1).await;
    client
        .faults(json!([
            {"side": "dataverse", "route": "GET /WhoAmI", "fault": "status", "status": 500},
            {"side": "dataverse", "route": "/contacts", "nth": 2, "times": 2, "fault": "status", "status": 503},
            {"side": "campaign", "fault": "status"},
        ]))
        .await;
    client.get("WhoAmI").await.expect(500);
    client.get("WhoAmI").await.expect(200);
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(client.get("contacts").await.status.as_u16());
    }
    assert_eq!(seen, [200, 503, 503, 200]);
    let list = client.control(Method::GET, "/faults", json!(null)).await.json();
    let counts: Vec<(&Value, &Value)> = list.as_array().unwrap().iter().map(|f| (&f["seen"], &f["fired"])).collect();
    assert_eq!(counts[1], (&json!(4), &json!(2)));
    assert_eq!(counts[2], (&json!(0), &json!(0)));
    client.control(Method::DELETE, "/faults", json!({})).await.expect(200);
    assert_eq!(client.control(Method::GET, "/faults", json!(null)).await.json(), json!([]));
    for wrong in [
        json!([{"fault": "no_such_fault"}]),
        json!([{"fault": "hang", "nth": 1, "probability": 0.5}]),
        json!([{"fault": "hang", "nth": 0}]),
    ] {
        let refused = client.control(Method::POST, "/faults", wrong.clone()).await;
        assert!(refused.status.is_client_error(), "{wrong}");
    }
}

#[tokio::test]
async fn campaign_is_hit_as_dataverse_is() {
    let client = Client::start(0).await;
    let info = client.sandbox.info().campaign.clone();
    let (token, _) = client.sandbox.shared().tokens.issue(sandbox::service::Side::Campaign);
    let ask = |method: Method, path: &str| {
        let url = format!("{}/campaign/{path}", info.url);
        client.http.request(method, url).bearer_auth(&token).header("x-api-key", &info.client_id)
    };
    let profile = "profileAndServicesExt/profile";
    client.faults(json!([
        {"side": "campaign", "fault": "throttle"},
        {"side": "campaign", "method": "POST", "route": "POST /profileAndServicesExt/profile", "fault": "reset_after_commit"},
        {"side": "campaign", "fault": "foreign_next_link"},
    ])).await;
    let throttled = send(ask(Method::GET, profile)).await.expect(429);
    assert!(throttled.text.contains("429050") && throttled.header("retry-after") == "1");
    assert!(ask(Method::POST, profile).json(&json!({"externalId": "1", "lastName": "x"})).send().await.is_err());
    assert_eq!(client.records("campaign", "profile").await.len(), 1);
    send(ask(Method::POST, profile).json(&json!({"externalId": "2", "lastName": "y"}))).await.expect(201);
    let page = send(ask(Method::GET, &format!("{profile}?_lineCount=1"))).await.expect(200);
    assert!(page.json()["next"]["href"].as_str().unwrap().starts_with("https://elsewhere.invalid"), "{}", page.text);
    client.faults(json!([{"side": "campaign", "fault": "expire_token"}])).await;
    assert!(send(ask(Method::GET, profile)).await.expect(401).text.contains("401013"));
    let engine = client.counters().await["campaign"]["engine_calls"].clone();
    // A request counts whatever its answer, one of the gateway's or none at all.
    assert_eq!((&engine["insert"], &engine["read"]), (&json!(2), &json!(3)));
}

#[tokio::test]
async fn what_nobody_got_is_no_status() {
    let client = Client::start(1).await;
    client.control(Method::POST, "/counters/reset", json!({})).await.expect(200);
    client
        .faults(json!([
            {"side": "dataverse", "fault": "reset_before"},
            {"side": "dataverse", "fault": "reset_after_commit"},
            {"side": "dataverse", "fault": "hang", "delay_ms": 1},
        ]))
        .await;
    for _ in 0..3 {
        assert!(client.request(Method::GET, "contacts").send().await.is_err());
    }
    client.get("contacts").await.expect(200);
    let side = client.counters().await["dataverse"].clone();
    assert_eq!((&side["requests"]["GET /contacts"], &side["status"]), (&json!(4), &json!({"200": 1})));
    assert_eq!(side["unanswered"], 3);
}

#[tokio::test]
async fn a_throttle_may_name_its_time_or_none() {
    let client = Client::start(1).await;
    client
        .faults(json!([
            {"side": "dataverse", "fault": "throttle", "headers": {"retry-after": "7"}},
            {"side": "dataverse", "fault": "throttle", "headers": {"Retry-After": ""}},
        ]))
        .await;
    assert_eq!(client.get("contacts").await.expect(429).header("retry-after"), "7");
    assert!(!client.get("contacts").await.expect(429).headers.contains_key("retry-after"));
}

#[tokio::test(start_paused = true)]
async fn a_delayed_request_goes_its_way_in_its_time() {
    let client = Client::start(0).await;
    client.faults(json!([{"side": "dataverse", "method": "POST", "fault": "delay", "delay_ms": 3_600_000}])).await;
    let before = tokio::time::Instant::now();
    client.write(Method::POST, "contacts", &[], json!({"lastname": "x"})).await.expect(204);
    assert!(before.elapsed() >= std::time::Duration::from_secs(3600));
    assert_eq!(client.records("dataverse", "contact").await.len(), 1);
}
