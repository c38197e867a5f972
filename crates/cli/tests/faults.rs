//! Every fault of the sandbox during a run ends in the right state without an operator; only a link to a foreign origin and a
//! permanent refusal end in FAILED, with the remedy.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

mod support;

use serde_json::{Value, json};
use support::{Ended, World};

async fn run_with(world: &World, faults: Value) -> Ended {
    let config = world.config();
    world.faults(faults).await;
    let ended = world.until_idle(&config).await;
    let fired = world.fired().await;
    let all_fired = fired.as_array().unwrap().iter().all(|fault| fault["fired"].as_u64() > Some(0));
    assert!(all_fired, "a fault that never fired proves nothing: {fired}");
    world.clear_faults().await;
    ended
}

/// Runs the load with faults, then live changes with the same faults again, and expects both sides equal.
async fn survives(faults: Value) {
    let world = World::new(300).await;
    let ended = run_with(&world, faults.clone()).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    world.assert_equal().await;
    world.mutate(20, 60, 20, 5).await;
    let ended = run_with(&world, faults).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    world.assert_equal().await;
}

#[tokio::test]
async fn connections_reset_before_the_request_took_effect() {
    survives(json!([
        {"side": "campaign", "fault": "reset_before", "nth": 3, "times": 5},
        {"side": "dataverse", "fault": "reset_before", "route": "/contacts", "nth": 1, "times": 1},
    ]))
    .await;
}

#[tokio::test]
async fn connections_reset_after_the_write_took_effect() {
    survives(json!([{"side": "campaign", "fault": "reset_after_commit", "nth": 2, "times": 6}])).await;
}

#[tokio::test]
async fn gateway_errors() {
    survives(json!([
        {"side": "campaign", "fault": "status", "status": 502, "nth": 4, "times": 4},
        {"side": "dataverse", "fault": "status", "status": 503, "route": "/contacts", "nth": 1, "times": 2},
    ]))
    .await;
}

#[tokio::test]
async fn throttling_on_both_sides() {
    survives(json!([
        {"side": "campaign", "fault": "throttle", "nth": 5, "times": 2, "headers": {"Retry-After": "1"}},
        {"side": "dataverse", "fault": "throttle", "route": "/contacts", "nth": 1, "times": 1, "headers": {"Retry-After": "1"}},
    ]))
    .await;
}

#[tokio::test]
async fn tokens_that_expire_in_the_middle() {
    survives(json!([
        {"side": "campaign", "fault": "expire_token", "nth": 10, "times": 1},
        {"side": "dataverse", "fault": "expire_token", "route": "/contacts", "nth": 1, "times": 1},
    ]))
    .await;
}

#[tokio::test]
async fn answers_that_never_come() {
    let world = World::new(100).await;
    let text =
        format!("{}{}", world.head(), support::CONTACT_TABLE).replace("org_id =", "timeout_seconds = 1\norg_id =");
    let text = text.replace("poll_seconds = 1", "poll_seconds = 1\ntimeout_seconds = 1");
    let config = world.write("impatient.toml", &text);
    world
        .faults(json!([
            {"side": "campaign", "fault": "hang", "nth": 7, "times": 2},
            {"side": "dataverse", "fault": "hang", "route": "/contacts", "nth": 1, "times": 1},
        ]))
        .await;
    let ended = world.until_idle(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert!(world.fired().await.as_array().unwrap().iter().all(|fault| fault["fired"].as_u64() > Some(0)));
    world.assert_equal().await;
}

#[tokio::test]
async fn a_change_token_that_expired_leads_to_a_full_read_that_finds_the_deletions() {
    let world = World::new(300).await;
    let config = world.config();
    assert_eq!(world.until_idle(&config).await.code(), Some(0));
    world.mutate(10, 40, 30, 9).await;
    let ended = run_with(&world, json!([{"side": "dataverse", "fault": "expire_delta", "nth": 1, "times": 1}])).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    world.assert_equal().await;
}

#[tokio::test]
async fn a_link_to_a_foreign_origin_ends_in_failed_and_is_never_followed() {
    let world = World::new(300).await;
    let text =
        format!("{}{}", world.head().replace("poll_seconds", "page_size = 100\npoll_seconds"), support::CONTACT_TABLE);
    let config = world.write("paged.toml", &text);
    world.faults(json!([{"side": "dataverse", "fault": "foreign_next_link", "nth": 1, "times": 1}])).await;
    let ended = world.until_idle(&config).await;
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
    let workflow = &ended.summary()["workflows"][0];
    assert_eq!(workflow["status"], "FAILED");
    let remedy = workflow["reason"]["remedy"].as_str().unwrap_or_default();
    assert!(!remedy.is_empty() && ended.stderr.contains(remedy), "{workflow}: {}", ended.stderr);
    world.clear_faults().await;
    assert_eq!(world.until_idle(&config).await.code(), Some(0));
    world.assert_equal().await;
}

#[tokio::test]
async fn a_permanent_refusal_ends_in_failed_with_the_remedy() {
    let world = World::new(50).await;
    let config = world.config();
    let refusal = json!([{
        "side": "dataverse", "fault": "status", "status": 403, "route": "/contacts", "nth": 1, "times": 100,
        "body": {"error": {"code": "0x80072560", "message": "The user is not a member of the organization."}},
    }]);
    let ended = {
        world.faults(refusal).await;
        world.until_idle(&config).await
    };
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
    let workflow = &ended.summary()["workflows"][0];
    assert_eq!(workflow["status"], "FAILED");
    let remedy = workflow["reason"]["remedy"].as_str().unwrap_or_default();
    assert!(remedy.contains("application user"), "{workflow}");
    assert!(ended.stderr.contains("Remedy:") && ended.stderr.contains(remedy), "{}", ended.stderr);
    assert!(world.records("campaign", "profile").await.is_empty());
    world.clear_faults().await;
    assert_eq!(world.until_idle(&config).await.code(), Some(0));
    world.assert_equal().await;
}
