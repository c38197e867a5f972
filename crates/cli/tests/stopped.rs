//! The program is stopped with SIGSTOP while it writes, for longer than its time-outs, and goes on or is killed there.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sandbox::SandboxConfig;
use sandbox::scenario::Scenario;
use serde_json::json;
use support::{BOAT_TABLE, BOATS, CONTACT_TABLE, Ended, World, program, signal, spawn, total, until};
use tokio::process::Child;
use tokio::time::sleep;

/// Longer than a request's time-out and the settle time, which are a second each.
const STOPPED: Duration = Duration::from_millis(2500);
/// Requests are in flight most of the time.
const LATENCY: Duration = Duration::from_millis(100);

fn config(world: &World, tables: &str) -> PathBuf {
    let head = world
        .head()
        .replace("poll_seconds = 1", "poll_seconds = 1\ntimeout_seconds = 1")
        .replace("org_id =", "timeout_seconds = 1\nsettle_seconds = 1\norg_id =");
    world.write("connector.toml", &format!("{head}{tables}"))
}

fn start(config: &Path) -> Child {
    spawn(&["run", "--format", "json", "--config", &config.display().to_string()])
}

async fn posted(world: &World) -> u64 {
    total(&world.counters().await, "campaign", "POST")
}

/// Waits for more creates, stops the process, and answers whether some were in flight then.
async fn stop_while_it_writes(world: &World, child: &Child) -> bool {
    let before = posted(world).await;
    until(|| async { posted(world).await > before + 10 }, "it writes nothing").await;
    signal(child, "STOP").await;
    world.counters().await["campaign"]["in_flight"].as_u64() > Some(0)
}

/// Another process is told to keep off, and may look.
async fn assert_kept_off(config: &Path) {
    let path = config.display().to_string();
    let second = program(&["run", "--until-idle", "--config", &path]).await;
    assert_eq!(second.code(), Some(2), "{}", second.stderr);
    for word in ["store.sqlite", "sync.db", "another process", "Remedy: Stop the other process"] {
        assert!(second.stderr.contains(word), "{word:?} is not in: {}", second.stderr);
    }
    let status = program(&["status", "--format", "json", "--config", &path]).await;
    assert_eq!(status.code(), Some(0), "{}", status.stderr);
    assert_eq!(status.summary()["workflows"][0]["status"], "RUNNING");
}

/// New contacts and changed ones; none that leaves, so that every row in Campaign was created once and is still there.
async fn change(world: &World, seed: u64) {
    let fields = ["firstname", "lastname", "emailaddress1", "address1_city"];
    let changes = json!({"side": "dataverse", "table": "contact", "create": 15, "update": 60, "delete": 0, "fields": fields, "seed": seed});
    world.post("/mutate", &changes).await;
}

async fn assert_right(world: &World, config: &Path) {
    sleep(Duration::from_secs(1)).await; // the settle time
    let ended = world.until_idle(config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    world.assert_equal().await;
    let created = world.records("campaign", "profile").await.len();
    world.assert_accounted(config, created as u64).await;
}

async fn slow_world(contacts: u64) -> World {
    World::with(SandboxConfig { contacts, campaign_latency: LATENCY, ..SandboxConfig::default() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_three_times_it_goes_on() {
    let world = slow_world(400).await;
    let config = config(&world, CONTACT_TABLE);
    let child = start(&config);
    let mut in_flight = 0;
    for round in 0..3 {
        in_flight += usize::from(stop_while_it_writes(&world, &child).await);
        change(&world, round).await;
        if round == 0 {
            assert_kept_off(&config).await;
        }
        sleep(STOPPED).await;
        let before = posted(&world).await;
        sleep(2 * LATENCY).await;
        assert_eq!(before, posted(&world).await, "it was not stopped");
        signal(&child, "CONT").await;
    }
    assert!(in_flight > 0, "no stop hit while a write was in flight");
    world.until_equal().await;
    signal(&child, "TERM").await;
    let ended = Ended::of(child.wait_with_output().await.unwrap());
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert_right(&world, &config).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_is_stopped_another_goes_on() {
    let world = slow_world(250).await;
    let config = config(&world, CONTACT_TABLE);
    let mut in_flight = 0;
    for round in 0..3 {
        let mut child = start(&config);
        in_flight += usize::from(stop_while_it_writes(&world, &child).await);
        change(&world, round).await;
        assert_kept_off(&config).await;
        child.kill().await.unwrap();
    }
    assert!(in_flight > 0, "no stop hit while a write was in flight");
    assert_right(&world, &config).await;
}

/// Campaign would take a second row here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_key_is_unique_a_stop_doubles_nothing() {
    let scenario = Scenario::parse(BOATS).unwrap();
    let sandbox = SandboxConfig { contacts: 0, scenario, campaign_latency: LATENCY, ..SandboxConfig::default() };
    let world = World::with(sandbox).await;
    let config = config(&world, BOAT_TABLE);
    let mut child = start(&config);
    let first = stop_while_it_writes(&world, &child).await;
    sleep(STOPPED).await;
    signal(&child, "CONT").await;
    let second = stop_while_it_writes(&world, &child).await;
    child.kill().await.unwrap();
    assert!(first || second, "no stop hit while a write was in flight");
    let ended = world.until_idle(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    world.assert_boats(60).await;
}
