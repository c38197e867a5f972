//! Faults of deliveries and answers: each does what the table in `docs/sandbox.md` says.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod client;

use client::{Client, Reply, send};
use futures::StreamExt as _;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

async fn fired(client: &Client) -> u64 {
    client.control(Method::GET, "/faults", json!(null)).await.json()[0]["fired"].as_u64().unwrap()
}

const PROFILE: &str = "profileAndServicesExt/profile";

fn campaign(client: &Client, method: Method, path: &str) -> RequestBuilder {
    let info = client.sandbox.info().campaign.clone();
    let (token, _) = client.sandbox.shared().tokens.issue(sandbox::service::Side::Campaign);
    let url = format!("{}/campaign/{path}", info.url);
    client.http.request(method, url).bearer_auth(&token).header("x-api-key", &info.client_id)
}

#[tokio::test]
async fn a_duplicate_is_carried_out_twice_and_answered_once() {
    let client = Client::start(0).await;
    client.control(Method::POST, "/counters/reset", json!({})).await.expect(200);
    client.faults(json!([{"fault": "duplicate", "method": "POST", "times": 2}])).await;
    // Without a key of its own a row comes to be twice.
    let answer = client.write(Method::POST, "contacts", &[], json!({"lastname": "Twin"})).await.expect(204);
    assert!(!answer.header("odata-entityid").is_empty());
    let rows = client.records("dataverse", "contact").await;
    assert_eq!(rows.iter().filter(|row| row["lastname"] == "Twin").count(), 2);
    // With one the second delivery is refused, and nobody hears of it.
    let body = json!({"contactid": "00000000-0000-4000-8000-00000000000a", "lastname": "Single"});
    client.write(Method::POST, "contacts", &[], body).await.expect(204);
    assert_eq!(client.records("dataverse", "contact").await.len(), 3);
    let counters = client.counters().await["dataverse"].clone();
    assert_eq!(counters["requests"], json!({"POST /contacts": 4}), "the service saw four requests");
    assert_eq!(counters["status"], json!({"204": 3, "412": 1}));
    assert_eq!((&counters["in_flight"], fired(&client).await), (&json!(0), 2));
}

#[tokio::test]
async fn a_duplicate_of_campaign_is_two_calls_of_the_engine() {
    let client = Client::start(0).await;
    client.faults(json!([{"side": "campaign", "fault": "duplicate"}])).await;
    let body = json!({"externalId": "1", "lastName": "x"});
    send(campaign(&client, Method::POST, PROFILE).json(&body)).await.expect(201);
    assert_eq!(client.records("campaign", "profile").await.len(), 1, "the unique key keeps it single");
    let counters = client.counters().await["campaign"].clone();
    assert_eq!((&counters["engine_calls"]["insert"], &counters["status"]), (&json!(2), &json!({"201": 1, "500": 1})));
}

#[tokio::test]
async fn the_forms_of_retry_after() {
    let client = Client::start(1).await;
    let forms = ["Wed, 21 Oct 2026 07:28:00 GMT", "-5", "99999999999999999999", "soon", ""];
    let rules: Vec<_> = forms
        .iter()
        .map(|form| json!({"side": "dataverse", "fault": "throttle", "headers": {"Retry-After": form}}))
        .collect();
    client.faults(json!(rules)).await;
    for form in forms {
        let refused = client.get("contacts").await.expect(429);
        assert_eq!(refused.code(), "0x80072322");
        assert_eq!(
            refused.headers.get("retry-after").map(|v| v.to_str().unwrap()),
            Some(form).filter(|f| !f.is_empty())
        );
    }
    client.get("contacts").await.expect(200);
    let list = client.control(Method::GET, "/faults", json!(null)).await.json();
    assert!(list.as_array().unwrap().iter().all(|rule| rule["fired"] == 1));
}

#[tokio::test]
async fn success_of_another_shape_and_a_redirect_to_another_host() {
    let client = Client::start(1).await;
    client
        .faults(json!([
            {"side": "dataverse", "fault": "status", "status": 200, "body": {"rows": [1, 2]}},
            {"side": "dataverse", "fault": "status", "status": 200, "body": "[]"},
            {"side": "dataverse", "fault": "status", "status": 302, "headers": {"Location": "https://elsewhere.invalid/x"}},
        ]))
        .await;
    let shaped = client.get("contacts").await.expect(200);
    assert_eq!((shaped.header("content-type"), shaped.text.as_str()), ("application/json", r#"{"rows":[1,2]}"#));
    assert_eq!(client.get("contacts").await.expect(200).text, "[]");
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let url = format!("{}/api/data/v9.2/contacts", client.sandbox.info().dataverse.url);
    let redirect = send(http.get(url).bearer_auth(&client.token)).await.expect(302);
    assert_eq!(redirect.header("location"), "https://elsewhere.invalid/x");
}

#[tokio::test]
async fn a_gzip_bomb_is_small_on_the_wire() {
    let client = Client::start(1).await;
    client.faults(json!([{"side": "dataverse", "fault": "gzip_bomb"}])).await;
    let http = reqwest::Client::builder().gzip(false).build().unwrap();
    let url = format!("{}/api/data/v9.2/contacts", client.sandbox.info().dataverse.url);
    let response = http.get(url).bearer_auth(&client.token).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let body = response.bytes().await.unwrap();
    assert!((100_000..2_000_000).contains(&body.len()), "{}", body.len());
    let (_, length) = body.split_at(body.len() - 4);
    assert_eq!(u32::from_le_bytes(length.try_into().unwrap()), 1 << 30);
    // A client that decompresses meets white space, more of it than the wire carried.
    client.control(Method::DELETE, "/faults", json!({})).await.expect(200);
    client.faults(json!([{"side": "dataverse", "fault": "gzip_bomb"}])).await;
    let mut stream = client.request(Method::GET, "contacts").send().await.unwrap().bytes_stream();
    let mut seen = 0;
    while seen < 8 * 1024 * 1024 {
        let piece = stream.next().await.unwrap().unwrap();
        assert!(piece.iter().all(|byte| *byte == b' '));
        seen += piece.len();
    }
}

#[tokio::test]
async fn an_endless_answer_goes_on_until_the_client_leaves() {
    let client = Client::start(1).await;
    client.faults(json!([{"side": "dataverse", "fault": "endless"}])).await;
    let response = client.request(Method::GET, "contacts").send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.content_length()), (200, None));
    let mut stream = response.bytes_stream();
    let mut seen = 0;
    while seen < 4 * 1024 * 1024 {
        seen += stream.next().await.unwrap().unwrap().len();
    }
    drop(stream);
    client.get("contacts").await.expect(200);
    client.sandbox.shutdown().await;
}

#[tokio::test]
async fn a_dripping_answer_comes_byte_by_byte() {
    let client = Client::start(0).await;
    client.faults(json!([{"side": "dataverse", "fault": "drip", "delay_ms": 1}])).await;
    let mut stream = client.request(Method::GET, "contacts?$select=lastname").send().await.unwrap().bytes_stream();
    let (mut pieces, mut text) = (0, Vec::new());
    while let Some(piece) = stream.next().await {
        pieces += 1;
        text.extend_from_slice(&piece.unwrap());
    }
    assert!(pieces > 10, "{pieces} pieces of {} bytes", text.len());
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&text).unwrap()["value"], json!([]));
}

async fn lookups(client: &Client) -> (Reply, Reply) {
    let item = send(campaign(client, Method::GET, &format!("{PROFILE}/1"))).await;
    let list = send(campaign(client, Method::GET, &format!("{PROFILE}/byEmail?email=a@example.org"))).await;
    (item, list)
}

#[tokio::test]
async fn a_look_up_lags_behind_the_write() {
    let client = Client::start(0).await;
    let body = json!({"externalId": "1", "lastName": "x", "email": "a@example.org"});
    client
        .faults(
            json!([{"side": "campaign", "method": "GET", "fault": "lookup_lag", "delay_ms": 600_000, "times": 1000}]),
        )
        .await;
    send(campaign(&client, Method::GET, &format!("{PROFILE}/1"))).await.expect(404);
    assert_eq!(fired(&client).await, 0, "what is not there is missed by nobody");
    send(campaign(&client, Method::POST, PROFILE).json(&body)).await.expect(201);
    let (item, list) = lookups(&client).await;
    assert!(item.expect(404).text.contains('1'));
    assert_eq!(list.expect(200).json()["content"], json!([]));
    assert_eq!(fired(&client).await, 2);
    // It is there: a second create is refused, and a list without a filter shows it.
    let twice = send(campaign(&client, Method::POST, PROFILE).json(&body)).await.expect(500);
    assert!(twice.text.contains("duplicate key"), "{}", twice.text);
    assert_eq!(send(campaign(&client, Method::GET, PROFILE)).await.json()["content"].as_array().unwrap().len(), 1);
    client.control(Method::POST, "/clock", json!({"advance_seconds": 600})).await.expect(200);
    let (item, list) = lookups(&client).await;
    item.expect(200);
    assert_eq!(list.json()["content"].as_array().unwrap().len(), 1);
    assert_eq!(fired(&client).await, 2);
}

#[tokio::test]
async fn one_row_is_deleted_behind_the_back_of_its_client() {
    let client = Client::start(1).await;
    let id = client.records("dataverse", "contact").await[0]["contactid"].as_str().unwrap().to_owned();
    let path = format!("/records/dataverse/contact/{id}");
    client.control(Method::DELETE, &path, json!({})).await.expect(200);
    client.get(&format!("contacts({id})")).await.expect(404);
    client.control(Method::DELETE, &path, json!({})).await.expect(404);
    let body = json!({"externalId": "1", "lastName": "x"});
    send(campaign(&client, Method::POST, PROFILE).json(&body)).await.expect(201);
    client.control(Method::DELETE, "/records/campaign/profile/1", json!({})).await.expect(200);
    send(campaign(&client, Method::GET, &format!("{PROFILE}/1"))).await.expect(404);
    assert!(client.records("campaign", "profile").await.is_empty());
}

#[tokio::test]
async fn a_connection_is_found_closed_when_it_is_used_again() {
    let client = Client::start(0).await;
    // The answers before make the connection one of the pool.
    client.get("contacts").await.expect(200);
    client.control(Method::POST, "/counters/reset", json!({})).await.expect(200);
    client.faults(json!([{"side": "dataverse", "fault": "close_on_reuse"}])).await;
    client.get("contacts").await.expect(200);
    let request = client.request(Method::POST, "contacts").json(&json!({"lastname": "x"}));
    let lost = request.send().await.unwrap_err();
    assert!(lost.status().is_none() && !lost.is_timeout(), "{lost:?}");
    let counters = client.counters().await["dataverse"].clone();
    assert_eq!(counters["requests"], json!({"GET /contacts": 1}), "of the other nothing was heard");
    assert!(client.records("dataverse", "contact").await.is_empty());
    // The next connection is good.
    client.write(Method::POST, "contacts", &[], json!({"lastname": "x"})).await.expect(204);
}

#[tokio::test]
async fn an_alternate_key_lags_and_the_primary_key_does_not() {
    let client = Client::start(0).await;
    client
        .faults(
            json!([{"side": "dataverse", "method": "GET", "fault": "lookup_lag", "delay_ms": 600_000, "times": 1000}]),
        )
        .await;
    let id = client.create("accounts", "accountid", json!({"name": "x", "accountnumber": "A1"})).await;
    let by_key = "accounts(accountnumber='A1')";
    assert_eq!(client.get(by_key).await.expect(404).code(), "0x80060891");
    assert_eq!(fired(&client).await, 1);
    client.get(&format!("accounts({id})")).await.expect(200);
    client.get("accounts").await.expect(200);
    // The upsert sees the row.
    let prefer = [("prefer", "return=representation")];
    client.write(Method::PATCH, by_key, &prefer, json!({"name": "y"})).await.expect(200);
    assert_eq!(fired(&client).await, 1);
    client.control(Method::POST, "/clock", json!({"advance_seconds": 601})).await.expect(200);
    client.get(by_key).await.expect(200);
}
