//! Service protection limits that change while the sandbox runs, and web servers that count apart.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod client;

use client::{Client, Reply, send};
use reqwest::Method;
use serde_json::json;

async fn set(client: &Client, limits: serde_json::Value) {
    client.control(Method::PUT, "/limits", limits).await.expect(200);
}

async fn passed(client: &Client, tries: usize) -> usize {
    let mut passed = 0;
    for _ in 0..tries {
        passed += usize::from(client.get("WhoAmI").await.status.as_u16() == 200);
    }
    passed
}

#[tokio::test]
async fn limits_are_halved_doubled_and_taken_away_at_run_time() {
    let client = Client::start(1).await;
    assert_eq!(passed(&client, 20).await, 20, "no limits by default");
    set(&client, json!({"requests": 8, "window_seconds": 100})).await;
    assert_eq!(passed(&client, 20).await, 8);
    let shown = client.control(Method::GET, "/limits", json!(null)).await.expect(200).json();
    assert_eq!(shown["limits"], json!({"requests": 8, "window_seconds": 100}));
    assert_eq!(
        shown["servers"],
        json!([{"requests": 8, "execution_millis": shown["servers"][0]["execution_millis"], "concurrent": 0}])
    );
    set(&client, json!({"requests": 16, "window_seconds": 100})).await;
    assert_eq!(passed(&client, 20).await, 8, "what was let in counts against the new figure");
    client.control(Method::POST, "/clock", json!({"advance_seconds": 100})).await.expect(200);
    set(&client, json!({"requests": 4, "window_seconds": 100})).await;
    assert_eq!(passed(&client, 20).await, 4);
    set(&client, json!("off")).await;
    assert_eq!(passed(&client, 20).await, 20);
    assert_eq!(client.control(Method::GET, "/limits", json!(null)).await.json()["limits"], json!(null));
    set(&client, json!("real")).await;
    let real = client.control(Method::GET, "/limits", json!(null)).await.json();
    assert_eq!(real["limits"]["requests"], 6000);
    for wrong in [json!("some"), json!({"requests": 1, "window_seconds": 0}), json!({"rows": 1}), json!(7)] {
        client.control(Method::PUT, "/limits", wrong).await.expect(400);
    }
    assert_eq!(client.control(Method::GET, "/limits", json!(null)).await.json()["limits"], real["limits"]);
}

#[tokio::test]
async fn pressing_on_lengthens_the_wait() {
    let client = Client::scenario(1, "[dataverse.switches]\nrefusals_per_second_more = 1").await;
    set(&client, json!({"requests": 1, "window_seconds": 600})).await;
    client.get("contacts").await.expect(200);
    client.control(Method::POST, "/clock", json!({"advance_seconds": 30})).await.expect(200);
    let mut waits = Vec::new();
    for _ in 0..60 {
        waits.push(client.get("contacts").await.expect(429).header("retry-after").parse::<u64>().unwrap());
    }
    // The seconds that pass meanwhile shorten the wait; a second more for each refusal is faster than that.
    assert!(waits[59] > waits[0] && waits.iter().all(|wait| *wait <= 600), "{waits:?}");
}

async fn by(client: &Client, cookie: &str) -> Reply {
    send(client.request(Method::GET, "WhoAmI").header("cookie", cookie)).await
}

#[tokio::test]
async fn web_servers_count_apart_and_a_cookie_leads_back() {
    let client = Client::scenario(1, "[dataverse.switches]\nweb_servers = 3").await;
    set(&client, json!({"requests": 5, "window_seconds": 100})).await;
    let cookie = |reply: &Reply| reply.header("set-cookie").split(';').next().unwrap().to_owned();
    let first = client.get("WhoAmI").await.expect(200);
    let own = cookie(&first);
    assert!(own.starts_with("ARRAffinity=sandbox-"), "{own}");
    assert_eq!(first.header("x-ms-ratelimit-burst-remaining-xrm-requests"), "4");
    for left in ["3", "2", "1", "0"] {
        let reply = by(&client, &own).await.expect(200);
        assert_eq!(cookie(&reply), own);
        assert_eq!(reply.header("x-ms-ratelimit-burst-remaining-xrm-requests"), left);
    }
    assert_eq!(by(&client, &own).await.expect(429).code(), "0x80072322");
    // Without the cookie requests go round, and have three times as much.
    assert_eq!(passed(&client, 60).await, 10);
    let servers = client.control(Method::GET, "/limits", json!(null)).await.json()["servers"].clone();
    assert!(servers.as_array().unwrap().iter().all(|server| server["requests"] == 5), "{servers}");
    let single = Client::start(1).await;
    assert_eq!(cookie(&single.get("WhoAmI").await.expect(200)), "ARRAffinity=sandbox");
}

#[tokio::test]
async fn the_advised_parallelism() {
    for (line, advised) in [("", "4"), ("dop_hint = 12", "12")] {
        let client = Client::scenario(0, &format!("[dataverse.switches]\n{line}")).await;
        assert_eq!(client.get("WhoAmI").await.expect(200).header("x-ms-dop-hint"), advised);
    }
}
