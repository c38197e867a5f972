//! A proxy breaks connections between the program and either service in every way that TCP knows: afterwards each record is at the
//! target once and in its newest state.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

mod support;

use std::path::PathBuf;
use std::time::Duration;

use sandbox::SandboxConfig;
use sandbox::scenario::Scenario;
use serde_json::Value;
use support::{BOAT_TABLE, BOATS, CONTACT_TABLE, Ended, Proxies, World, program, signal, spawn, until};
use sync_testkit::fault_proxy::{Fault, FaultProxy, Rule};
use tokio::time::{sleep, timeout};

/// What [`impatient`] says of a write's late effect.
const SETTLE: Duration = Duration::from_secs(1);
const READ: &str = "GET /api/data/v9.2/contacts";
const WRITES: [&str; 3] = ["POST ", "PATCH ", "DELETE "];
/// A dripping byte each 20 ms stands for one a second: 60 of them take longer than is usual and less than the time-out of 2 s.
const SLOW: Fault = Fault::Drip(60, Duration::from_millis(20));
/// So many of them take longer than the time-out.
const TOO_SLOW: Fault = Fault::Drip(1000, Duration::from_millis(20));

/// Short patience, small pages, a short settle time: what takes minutes in life takes seconds here.
fn impatient(world: &World, tables: &str) -> PathBuf {
    let head = world
        .head()
        .replace("poll_seconds = 1", "poll_seconds = 1\npage_size = 60\ntimeout_seconds = 2")
        .replace("org_id =", "timeout_seconds = 2\nsettle_seconds = 1\norg_id =");
    world.write("impatient.toml", &format!("{head}{tables}"))
}

async fn in_step(world: &World, config: &std::path::Path) -> Ended {
    let ended = timeout(Duration::from_secs(50), world.until_idle(config)).await;
    let ended = ended.unwrap_or_else(|_| panic!("the run does not come to rest"));
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    world.assert_equal().await;
    ended
}

fn assert_fired(proxy: &FaultProxy) {
    let fired = proxy.fired();
    assert!(!fired.is_empty() && !fired.contains(&0), "a fault that never fired proves nothing: {fired:?}");
}

async fn count(world: &World, table: &str) -> u64 {
    world.records("campaign", table).await.len() as u64
}

/// Loads and then follows changes under the rules, then runs once more without any: what a late or repeated write might have
/// spoiled would show by then.
async fn survives(side: fn(&Proxies) -> &FaultProxy, load: Vec<Rule>, live: Vec<Rule>) {
    let (world, config, created) = comes_right(side, load, live).await;
    world.assert_accounted(&config, created).await;
}

/// The same without the accounts; answers how many rows Campaign needed to create.
async fn comes_right(side: fn(&Proxies) -> &FaultProxy, load: Vec<Rule>, live: Vec<Rule>) -> (World, PathBuf, u64) {
    let (world, proxies) = World::behind_proxies(SandboxConfig { contacts: 200, ..SandboxConfig::default() }).await;
    let config = impatient(&world, CONTACT_TABLE);
    let proxy = side(&proxies);
    proxy.script(load);
    in_step(&world, &config).await;
    assert_fired(proxy);

    let loaded = world.records("campaign", "profile").await;
    world.mutate(20, 60, 20, 5).await;
    proxy.script(live);
    in_step(&world, &config).await;
    assert_fired(proxy);

    proxy.script([]);
    sleep(SETTLE).await;
    in_step(&world, &config).await;
    let rows = world.records("campaign", "profile").await;
    let known: Vec<&Value> = loaded.iter().map(|row| &row["externalId"]).collect();
    let new = rows.iter().filter(|row| !known.contains(&&row["externalId"])).count();
    (world, config, (loaded.len() + new) as u64)
}

/// Breaks three reads of records of the load, and the first two after it.
async fn reads_survive(fault: Fault) {
    let live = vec![Rule::new(READ, fault).times(2)];
    survives(|proxies| &proxies.dataverse, vec![Rule::new(READ, fault).after(1).times(3)], live).await;
}

/// Breaks creates of the load, and creates, changes and deletes after it.
async fn writes_survive(fault: Fault) {
    let live = WRITES.map(|method| Rule::new(method, fault).after(1).times(3)).to_vec();
    survives(|proxies| &proxies.campaign, vec![Rule::new("POST ", fault).after(2).times(5)], live).await;
}

macro_rules! faults {
    ($($fault:expr => $read:ident, $write:ident;)+) => {
        $(
            #[tokio::test]
            async fn $read() {
                reads_survive($fault).await;
            }

            #[tokio::test]
            async fn $write() {
                writes_survive($fault).await;
            }
        )+
    };
}

faults! {
    Fault::CutRequest(120) => a_read_cut_in_its_request, a_write_cut_in_its_request;
    Fault::ResetOnAnswer => a_read_reset_in_place_of_its_answer, a_write_reset_after_it_took_effect;
    Fault::ResetWithin(60) => a_read_reset_within_its_answer, a_write_reset_within_its_answer;
    Fault::Truncate(20) => a_read_whose_answer_ends_in_its_head, a_write_whose_answer_ends_in_its_head;
    Fault::HalfClose => a_read_half_closed_in_place_of_its_answer, a_write_half_closed_after_it_took_effect;
    SLOW => a_read_answered_byte_by_byte, a_write_answered_byte_by_byte;
    TOO_SLOW => a_read_answered_too_slowly, a_write_answered_too_slowly;
    Fault::Silence => a_read_whose_answer_is_lost, a_write_whose_answer_is_lost;
    Fault::ResetAtReuse => a_read_on_a_connection_that_is_gone, a_write_on_a_connection_that_is_gone;
}

#[tokio::test]
async fn a_read_whose_answer_ends_in_its_body() {
    reads_survive(Fault::Truncate(400)).await;
}

/// Creates alone: the answers to changes and deletes have next to no body.
#[tokio::test]
async fn a_create_whose_answer_ends_in_its_body() {
    let rules = |spared| vec![Rule::new("POST ", Fault::Truncate(400)).after(spared).times(4)];
    survives(|proxies| &proxies.campaign, rules(2), rules(1)).await;
}

#[tokio::test]
async fn everything_at_once() {
    let (world, proxies) = World::behind_proxies(SandboxConfig { contacts: 200, ..SandboxConfig::default() }).await;
    let config = impatient(&world, CONTACT_TABLE);
    let faults = [Fault::ResetOnAnswer, Fault::Truncate(250), Fault::HalfClose, Fault::ResetAtReuse, SLOW];
    let rules = |prefix: &'static str, spared: u64| {
        faults.into_iter().enumerate().map(move |(at, fault)| Rule::new(prefix, fault).after(at as u64 * spared))
    };
    proxies.dataverse.script(rules(READ, 0));
    proxies.campaign.script(rules("POST ", 5));
    in_step(&world, &config).await;
    assert_fired(&proxies.dataverse);
    assert_fired(&proxies.campaign);
    let loaded = count(&world, "profile").await;
    world.assert_accounted(&config, loaded).await;
}

/// The door of a service shuts: connections are reset and new ones refused, until the operator is told why. The same process
/// goes on by itself once the door is open.
async fn a_shut_door(side: fn(&Proxies) -> &FaultProxy) {
    let latency = Duration::from_millis(20);
    let sandbox = SandboxConfig { contacts: 400, campaign_latency: latency, ..SandboxConfig::default() };
    let (world, proxies) = World::behind_proxies(sandbox).await;
    let config = impatient(&world, CONTACT_TABLE);
    let path = config.display().to_string();
    let child = spawn(&["run", "--format", "json", "--config", &path]);
    until(|| async { count(&world, "profile").await > 20 }, "nothing was written").await;
    side(&proxies).shut().await;
    world.mutate(10, 20, 10, 3).await;
    let told = || async {
        let status = program(&["status", "--format", "json", "--config", &path]).await;
        let workflow = &status.summary()["workflows"][0];
        workflow["status"] == "RUNNING" && workflow["last_error"]["message"].is_string()
    };
    until(told, "a service that is away is not shown").await;
    side(&proxies).open().unwrap();
    world.until_equal().await;
    signal(&child, "TERM").await;
    let ended = Ended::of(child.wait_with_output().await.unwrap());
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    sleep(SETTLE).await;
    in_step(&world, &config).await;
}

#[tokio::test]
async fn dataverse_refuses_connections_for_a_while() {
    a_shut_door(|proxies| &proxies.dataverse).await;
}

#[tokio::test]
async fn campaign_refuses_connections_for_a_while() {
    a_shut_door(|proxies| &proxies.campaign).await;
}

/// Creates, changes and deletes reach Campaign after the program has learnt that their connection broke, and perhaps after it has
/// tried again: within the settle time that the configuration promises. A create that arrives after the record's deletion makes a
/// row for a while, so creates are not counted.
#[tokio::test]
async fn writes_that_arrive_late() {
    let late = Fault::Late(SETTLE / 3);
    let live = WRITES.map(|method| Rule::new(method, late).after(1).times(3)).to_vec();
    comes_right(|proxies| &proxies.campaign, vec![Rule::new("POST ", late).after(2).times(5)], live).await;
}

/// No key is unique here, so Campaign takes every create that arrives: nothing but the protocol keeps a row from being there twice.
#[tokio::test]
async fn where_campaign_would_take_a_second_row_none_is_created() {
    let scenario = Scenario::parse(BOATS).unwrap();
    let sandbox = SandboxConfig { contacts: 0, scenario, ..SandboxConfig::default() };
    let (world, proxies) = World::behind_proxies(sandbox).await;
    let config = impatient(&world, BOAT_TABLE);
    let late = Fault::Late(SETTLE / 3);
    let faults = [Fault::ResetOnAnswer, late, Fault::Truncate(30), Fault::HalfClose, Fault::Silence];
    let rules =
        faults.into_iter().enumerate().map(|(at, fault)| Rule::new("POST ", fault).after(4 * at as u64).times(2));
    proxies.campaign.script(rules);
    let ended = timeout(Duration::from_secs(50), world.until_idle(&config)).await.unwrap();
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert_fired(&proxies.campaign);
    world.assert_boats(60).await;
}
