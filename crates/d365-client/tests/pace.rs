//! How the client paces itself by what the service says.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use d365_client::{D365Client, D365Config, DEFAULT_QUOTA, Priority};
use http_kit::testing::ScriptedTransport;
use http_kit::{SecretString, StaticToken};
use support::config;
use timing::{Clock, FixedEntropy, ManualClock};

const WHO: &str = r#"{"@odata.context":"x","BusinessUnitId":"11111111-0000-0000-0000-000000000001",
 "UserId":"22222222-0000-0000-0000-000000000002","OrganizationId":"33333333-0000-0000-0000-000000000003"}"#;

fn client(config: D365Config) -> (D365Client, ScriptedTransport, ManualClock) {
    let (script, clock) = (ScriptedTransport::new(), ManualClock::auto_advancing());
    let client = D365Client::builder(config)
        .transport(Arc::new(script.clone()))
        .clock(clock.shared())
        .entropy(FixedEntropy::shared(0.0))
        .authenticator(Arc::new(StaticToken::new(&SecretString::from("canary-token")).unwrap()))
        .build()
        .unwrap();
    (client, script, clock)
}

fn refusal(code: &str) -> String {
    format!(r#"{{"error":{{"code":"{code}","message":"limit"}}}}"#)
}

#[tokio::test]
async fn the_advised_parallelism_is_where_the_lane_starts_and_its_ceiling() {
    let (client, script, _) = client(config());
    assert_eq!((client.lane().limit(), client.lane().most_in_flight()), (2, 41));
    script.respond_with(200, &[("x-ms-dop-hint", "10")], WHO);
    client.who_am_i().await.unwrap();
    assert_eq!(client.lane().limit(), 10);
    script.respond_with(200, &[("x-ms-dop-hint", "6")], WHO);
    client.who_am_i().await.unwrap();
    assert_eq!(client.lane().limit(), 6);
}

#[tokio::test]
async fn each_limit_has_its_own_answer() {
    for (code, limit, requests, busy) in [
        // Too many at once: half of them, and the windows stay as they are.
        ("0x80072326", 5, 5_820, 1_164),
        // What was used of a window is what it holds; one refusal takes half away at most.
        ("0x80072322", 7, 2_910, 1_164),
        ("0x80072321", 7, 5_820, 582),
    ] {
        let (client, script, clock) = client(config());
        script.respond_with(200, &[("x-ms-dop-hint", "10")], WHO);
        client.who_am_i().await.unwrap();
        script.respond_with(429, &[("Retry-After", "27")], refusal(code)).respond(200, WHO);
        client.who_am_i().await.unwrap();
        let stats = client.lane().stats();
        assert_eq!((stats.limit, stats.throttled), (limit, 1), "{code}");
        let window = stats.window.unwrap();
        assert_eq!((window.request_limit, window.busy_limit.as_secs()), (requests, busy), "{code}");
        assert_eq!(clock.requested_sleeps(), [Duration::from_secs(27)], "{code}");
        assert_eq!(clock.monotonic(), Duration::from_secs(27));
    }
}

#[tokio::test]
async fn the_quota_is_configured_and_shared_by_all_priorities() {
    let mut settings = config();
    settings.quota = Some(DEFAULT_QUOTA.times(4));
    let (client, script, _) = client(settings);
    for priority in Priority::ALL {
        script.respond(200, WHO);
        client.at_priority(priority).who_am_i().await.unwrap();
    }
    let window = client.lane().stats().window.unwrap();
    assert_eq!((window.requests, window.request_limit), (4, 23_280));
    let mut settings = config();
    settings.quota = None;
    let (client, _, _) = self::client(settings);
    assert_eq!(client.lane().stats().window, None);
}
