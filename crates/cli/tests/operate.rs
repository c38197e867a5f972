//! What an operator asks for while it runs, or before the next start: replays, dead letters tried again or forgotten; and what a
//! pass over the whole table finds that no change told of.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

mod support;

use std::path::Path;
use std::time::Duration;

use sandbox::SandboxConfig;
use sandbox::scenario::Scenario;
use serde_json::{Value, json};
use support::{Ended, World, engine_calls, program, signal, spawn};
use tokio::process::Child;

/// The ordinary mapping, but for the city, which a change does not update.
fn written_once(world: &World) -> String {
    let table =
        support::CONTACT_TABLE.replace("to = \"location.city\" }", "to = \"location.city\", apply_updates = false }");
    world.write("once.toml", &format!("{}{table}", world.head())).display().to_string()
}

/// A command that answers in JSON.
async fn ask(arguments: &[&str], config: &str) -> Ended {
    let mut all = arguments.to_vec();
    all.extend(["--format", "json", "--config", config]);
    program(&all).await
}

async fn workflow(config: &str) -> Value {
    let status = ask(&["status"], config).await;
    assert_eq!(status.code(), Some(0), "{}", status.stderr);
    status.summary()["workflows"][0].clone()
}

/// Waits until the store says so.
async fn until(config: &str, what: &str, holds: impl Fn(&Value) -> bool) {
    let started = tokio::time::Instant::now();
    loop {
        let status = workflow(config).await;
        if holds(&status) {
            return;
        }
        assert!(started.elapsed().as_secs() < 40, "not within 40 s: {what}; {status}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn nothing_asked(status: &Value) -> bool {
    status["requests"] == json!([]) && status["tables"][0]["pass"] == Value::Null
}

async fn stopped(child: Child) -> Ended {
    signal(&child, "TERM").await;
    let ended = Ended::of(child.wait_with_output().await.unwrap());
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    ended
}

/// Moves every contact that is in Campaign to another city.
async fn move_all(world: &World) -> u64 {
    let mut moved = 0;
    for contact in world.records("dataverse", "contact").await {
        if contact["statecode"] == 0 {
            let mut row = contact.clone();
            row["address1_city"] = json!(format!("Town {moved}"));
            world.put(&format!("/records/dataverse/contact/{}", contact["contactid"].as_str().unwrap()), &row).await;
            moved += 1;
        }
    }
    moved
}

async fn mutate(world: &World, seed: u64) {
    let body = json!({"side": "dataverse", "table": "contact", "create": 15, "update": 30, "delete": 10, "seed": seed,
        "fields": ["firstname", "emailaddress1"]});
    world.post("/mutate", &body).await;
}

#[tokio::test]
async fn a_replay_beside_live_changes_writes_every_record_with_all_its_columns() {
    let world = World::new(200).await;
    let config = written_once(&world);
    let child = spawn(&["run", "--format", "json", "--config", &config]);
    world.until_equal().await;
    let moved = move_all(&world).await;
    world.reset_counters().await;
    mutate(&world, 1).await;
    let asked = ask(&["replay", "--table", "contact", "--now"], &config).await;
    assert_eq!(asked.code(), Some(0), "{}", asked.stderr);
    let left = &asked.summary()["requests"][0];
    let told = (&left["request"], &left["table"], &left["carried_out_by"]);
    assert_eq!(told, (&json!("replay"), &json!("contact"), &json!("running-process")));
    for seed in 2..5 {
        mutate(&world, seed).await;
    }
    world.until_equal().await;
    until(&config, "the replay is done", nothing_asked).await;
    let ended = stopped(child).await;
    world.assert_equal().await;
    let pass = ended.lines.iter().find(|line| line["event"] == "pass" && line["kind"] == "replay");
    assert!(pass.is_some_and(|pass| pass["reread"].as_u64() >= Some(moved)), "{pass:?}");
    // All that were there and not deleted meanwhile, whatever was known of them.
    let calls = engine_calls(&world.counters().await);
    assert!(calls["update"] >= moved - 40, "{calls:?}, {moved} moved");
}

#[tokio::test]
async fn a_replay_waits_for_the_next_start_and_is_asked_for_once() {
    let world = World::new(60).await;
    let config = written_once(&world);
    let path = Path::new(&config);
    let early = ask(&["replay", "--table", "contact"], &config).await;
    assert_eq!(early.code(), Some(2));
    assert!(early.stderr.contains("There is no store"), "{}", early.stderr);
    assert_eq!(world.until_idle(path).await.code(), Some(0));
    let unknown = ask(&["replay", "--table", "account"], &config).await;
    assert_eq!(unknown.code(), Some(2));
    assert!(unknown.stderr.contains("not configured"), "{}", unknown.stderr);

    let moved = move_all(&world).await;
    let child = spawn(&["run", "--format", "json", "--config", &config]);
    until(&config, "it runs", |status| status["status"] == "RUNNING").await;
    let first = ask(&["replay", "--table", "contact"], &config).await.summary()["requests"][0].clone();
    assert_eq!((&first["carried_out_by"], &first["pending_already"]), (&json!("next-start"), &json!(false)));
    let second = ask(&["replay", "--table", "contact"], &config).await.summary()["requests"][0].clone();
    assert_eq!((&second["id"], &second["pending_already"]), (&first["id"], &json!(true)));
    stopped(child).await;
    let armed = workflow(&config).await["requests"].clone();
    assert_eq!((armed.as_array().unwrap().len(), &armed[0]["at_next_start"]), (1, &json!(true)), "{armed}");
    let text = program(&["status", "--config", &config]).await.stdout;
    assert!(text.contains("contact: replay asked at") && text.contains("waits for the next start"), "{text}");

    world.reset_counters().await;
    let ended = world.until_idle(path).await;
    assert_eq!((ended.code(), &ended.table("contact")["updated"]), (Some(0), &json!(moved)), "{}", ended.summary());
    world.assert_equal().await;
    assert!(nothing_asked(&workflow(&config).await));
    world.reset_counters().await;
    assert_eq!(world.until_idle(path).await.code(), Some(0));
    assert_eq!(engine_calls(&world.counters().await).values().sum::<u64>(), 0);
}

/// A load of which Campaign refuses three records for a reason of its own.
async fn refused_three(world: &World, config: &str) {
    let refusal = json!([{"side": "campaign", "method": "POST", "fault": "status", "status": 400, "nth": 5, "times": 3,
        "body": "The rule of the instance does not take this record."}]);
    world.faults(refusal).await;
    let ended = world.until_idle(Path::new(config)).await;
    assert_eq!((ended.code(), &ended.table("contact")["dead"]), (Some(4), &json!(3)), "{}", ended.summary());
    world.clear_faults().await;
}

async fn letters(config: &str) -> Vec<Value> {
    let listed = ask(&["dead-letters", "list"], config).await;
    listed.lines[..listed.lines.len() - 1].to_vec()
}

#[tokio::test]
async fn dead_letters_are_tried_again_once_the_cause_is_mended() {
    let world = World::new(80).await;
    let config = world.config().display().to_string();
    refused_three(&world, &config).await;
    let dead = letters(&config).await;
    assert_eq!(dead.len(), 3);
    // Nobody runs: one by its number, which the next start carries out; then the others, in the running process.
    let id = dead[1]["id"].to_string();
    let asked = ask(&["dead-letters", "requeue", "--id", &id], &config).await;
    let left = &asked.summary()["requests"][0];
    let told = (&left["request"], &left["dead_letters"], &left["carried_out_by"]);
    assert_eq!(told, (&json!("requeue"), &json!(1), &json!("next-start")), "{}", asked.stderr);
    let ended = world.until_idle(Path::new(&config)).await;
    assert_eq!((ended.code(), &ended.table("contact")["inserted"]), (Some(0), &json!(1)), "{}", ended.summary());
    assert_eq!(letters(&config).await.len(), 2);

    let child = spawn(&["run", "--format", "json", "--config", &config]);
    until(&config, "it runs", |status| status["status"] == "RUNNING").await;
    let asked = ask(&["dead-letters", "requeue"], &config).await;
    let left = &asked.summary()["requests"][0];
    let told = (&left["dead_letters"], &left["carried_out_by"]);
    assert_eq!(told, (&json!(2), &json!("running-process")), "{}", asked.stderr);
    world.until_equal().await;
    until(&config, "it is carried out", |status| {
        nothing_asked(status) && status["backlog"] == 0 && status["tables"][0]["dead_letters"] == 0
    })
    .await;
    stopped(child).await;
    assert!(letters(&config).await.is_empty());
    let none = program(&["dead-letters", "requeue", "--config", &config]).await;
    assert_eq!((none.code(), none.stdout.trim()), (Some(0), "no dead letters; nothing was asked"));
}

#[tokio::test]
async fn dead_letters_are_forgotten_when_they_are_dropped() {
    let world = World::new(80).await;
    let config = world.config().display().to_string();
    refused_three(&world, &config).await;
    let dead = letters(&config).await;
    let profiles = world.records("campaign", "profile").await.len();
    let other = ask(&["dead-letters", "drop", "--reason", "another-reason"], &config).await;
    assert_eq!((other.code(), &other.summary()["requests"]), (Some(0), &json!([])));
    let child = spawn(&["run", "--format", "json", "--config", &config]);
    until(&config, "it runs", |status| status["status"] == "RUNNING").await;
    let id = dead[0]["id"].to_string();
    let asked = ask(&["dead-letters", "drop", "--table", "contact", "--id", &id], &config).await;
    assert_eq!(asked.summary()["requests"][0]["carried_out_by"], "running-process", "{}", asked.stderr);
    until(&config, "it is carried out", |status| status["tables"][0]["dead_letters"] == 2).await;
    let reason = dead[0]["reason"].as_str().unwrap();
    ask(&["dead-letters", "drop", "--reason", reason], &config).await;
    until(&config, "it is carried out", |status| status["tables"][0]["dead_letters"] == 0).await;
    stopped(child).await;
    assert_eq!(world.records("campaign", "profile").await.len(), profiles, "nothing was written");
}

/// The token at the end of a walk may cover only what changed after its last page. What changed and was deleted behind the walk
/// is then told by no poll.
#[tokio::test]
async fn what_changes_behind_the_first_load_is_found_by_the_closing_pass() {
    let scenario = Scenario::parse("[dataverse.switches]\ntoken_covers_paging = false\n").unwrap();
    let world = World::with(SandboxConfig { contacts: 200, scenario, ..SandboxConfig::default() }).await;
    let head = world.head().replace("poll_seconds", "page_size = 50\npoll_seconds");
    let config = world.write("paged.toml", &format!("{head}{}", support::CONTACT_TABLE));
    let slow = json!([{"side": "dataverse", "route": "/contacts", "fault": "delay", "delay_ms": 2000, "nth": 4}]);
    world.faults(slow).await;
    let rows = world.records("dataverse", "contact").await;
    // They are in the order of their keys: these are on the first page.
    let first: Vec<&Value> = rows.iter().take(50).filter(|row| row["statecode"] == 0).collect();
    let child = spawn(&["run", "--until-idle", "--format", "json", "--config", &config.display().to_string()]);
    let started = tokio::time::Instant::now();
    while world.fired().await[0]["fired"] != 1 {
        assert!(started.elapsed().as_secs() < 20, "the fourth page was not asked for");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let at = |row: &Value| format!("/records/dataverse/contact/{}", row["contactid"].as_str().unwrap());
    let mut changed = first[0].clone();
    changed["firstname"] = json!("Behind");
    world.put(&at(first[0]), &changed).await;
    world.delete(&at(first[1])).await;
    let ended = Ended::of(child.wait_with_output().await.unwrap());
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    world.assert_equal().await;
    let pass = ended.lines.iter().find(|line| line["event"] == "pass").unwrap();
    let told = (&pass["kind"], &pass["scanned"], &pass["missing"]);
    assert_eq!(told, (&json!("closing"), &json!(199), &json!(1)), "{pass}");
}

#[tokio::test]
async fn an_encrypted_store_tells_nothing_without_its_key() {
    let world = World::new(60).await;
    let rows = world.records("dataverse", "contact").await;
    let active = rows.iter().find(|row| row["statecode"] == 0).unwrap();
    let mut row = active.clone();
    row["firstname"] = json!("Canarybird");
    world.put(&format!("/records/dataverse/contact/{}", active["contactid"].as_str().unwrap()), &row).await;
    let keyed = |name: &str, line: &str| {
        let head = world.head().replace("[store]", &format!("[store]\n{line}"));
        world.write(name, &format!("{head}{}", support::CONTACT_TABLE)).display().to_string()
    };
    let key = |digit: &str| format!("encryption_key = {{ plain = \"{}\" }}", digit.repeat(64));
    let (right, wrong, none) = (keyed("right.toml", &key("7")), keyed("wrong.toml", &key("8")), keyed("none.toml", ""));
    refused_three(&world, &right).await;
    // Everything else is written; the letters keep their bodies.
    let held = world.store_content().concat();
    assert!(!held.contains("Canarybird") && !held.contains("firstName"), "in clear");
    for other in [&wrong, &none] {
        for command in [vec!["status"], vec!["dead-letters", "list"], vec!["run", "--until-idle"]] {
            let ended = ask(&command, other).await;
            assert_eq!(ended.code(), Some(2), "{command:?}: {}", ended.stderr);
            assert!(ended.stderr.contains("store.sqlite"), "{}", ended.stderr);
        }
    }
    assert_eq!(letters(&right).await.len(), 3);
    ask(&["dead-letters", "requeue"], &right).await;
    assert_eq!(world.until_idle(Path::new(&right)).await.code(), Some(0));
    world.assert_equal().await;
}

#[tokio::test]
async fn status_tells_of_a_file_that_does_not_come() {
    let world = World::new(5).await;
    let sftp = &world.info()["sftp"];
    let text = format!(
        "{}{}\n[sftp]\nhost = {}\nport = {}\nuser = {}\nprivate_key = {{ file = {} }}\nhost_key = {}\n\
         [opt_out]\ndirection = \"campaign_to_d365\"\npoll_seconds = 1\nexpect_file_within = \"1s\"\n\
         source = {{ export = {{ folder = \"d365_loads/exports\" }} }}\n\
         pairs = [ {{ d365 = \"donotemail\", campaign = \"denyListEmail\" }} ]\n",
        world.head(),
        support::CONTACT_TABLE,
        sftp["host"],
        sftp["port"],
        sftp["user"],
        sftp["private_key_file"],
        sftp["host_key"],
    );
    let config = world.write("files.toml", &text).display().to_string();
    let opt_outs = async || ask(&["status"], &config).await.summary()["workflows"][1].clone();
    assert_eq!(opt_outs().await.get("files"), None, "there is no store yet");
    let child = spawn(&["run", "--format", "json", "--config", &config]);
    support::until(async || opt_outs().await["last_error"]["code"] == "opt-out-file-overdue", "the notice").await;
    let said = opt_outs().await;
    assert_eq!((&said["status"], &said["files"]["overdue"]), (&json!("RUNNING"), &said["last_error"]));
    assert_eq!(said["files"]["last"], Value::Null);
    let shown = program(&["status", "--config", &config]).await.stdout;
    let overdue = &said["files"]["overdue"];
    for part in [&overdue["code"], &overdue["message"], &overdue["remedy"]] {
        assert!(shown.contains(part.as_str().unwrap()), "{part} is not in: {shown}");
    }
    stopped(child).await;
    let said = opt_outs().await;
    assert_eq!((&said["status"], &said["last_error"]), (&json!("STOPPED"), &Value::Null));
    assert_eq!(said["files"]["overdue"]["code"], "opt-out-file-overdue", "it is missed whether anybody runs or not");
}
