//! The commands around a run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

mod support;

use sandbox::SandboxConfig;
use serde_json::json;
use support::{Ended, World, program};

#[tokio::test]
async fn init_from_a_sandbox_writes_a_configuration_that_runs() {
    let world = World::new(50).await;
    let control = world.info()["control"].as_str().unwrap().to_owned();
    let file = world.path("from-sandbox.toml").display().to_string();
    let written = program(&["init", "--from-sandbox", &control, "--output", &file]).await;
    assert_eq!(written.code(), Some(0), "{}", written.stderr);
    let again = program(&["init", "--from-sandbox", &control, "--output", &file]).await;
    assert_eq!(again.code(), Some(2));
    assert!(again.stderr.contains("exists already"));
    let preflight = program(&["preflight", "--config", &file]).await;
    assert_eq!(preflight.code(), Some(0), "{}", preflight.stderr);
    let ended = program(&["run", "--until-idle", "--format", "json", "--config", &file]).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert!(!world.records("campaign", "profile").await.is_empty());
    let status = program(&["status", "--format", "json", "--config", &file]).await;
    let workflow = &status.summary()["workflows"][0];
    assert_eq!(workflow["status"], "STOPPED");
    assert_eq!(workflow["backlog"], 0);
    assert_eq!(workflow["tables"][0]["phase"], "live");
    assert_eq!(workflow["tables"][0]["totals"]["read"], 50);
}

#[tokio::test]
async fn init_without_a_sandbox_prints_a_configuration_that_parses_once_its_secrets_exist() {
    let printed = program(&["init"]).await;
    assert_eq!(printed.code(), Some(0));
    let config = d365_campaign::Config::parse(&printed.stdout, std::path::Path::new(".")).unwrap();
    assert_eq!(config.tables.len(), 1);
}

#[tokio::test]
async fn preflight_ends_with_three_on_a_fault() {
    let world = World::new(5).await;
    let text =
        format!("{}{}", world.head(), support::CONTACT_TABLE).replace("from = \"firstname\"", "from = \"nothing\"");
    let config = world.write("connector.toml", &text).display().to_string();
    let ended = program(&["preflight", "--config", &config]).await;
    assert_eq!(ended.code(), Some(3), "{}", ended.stderr);
    assert!(ended.stderr.contains("table[0].fields[0].from"));
}

#[tokio::test]
async fn signals_stop_in_good_order() {
    for (signal, code) in [("TERM", 0), ("INT", 130)] {
        let world = World::new(100).await;
        let config = world.config().display().to_string();
        let child = support::spawn(&["run", "--format", "json", "--config", &config]);
        let started = tokio::time::Instant::now();
        while world.records("campaign", "profile").await.is_empty() {
            assert!(started.elapsed().as_secs() < 20, "nothing was written");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        support::signal(&child, signal).await;
        let output = child.wait_with_output().await.unwrap();
        assert_eq!(output.status.code(), Some(code));
        let text = String::from_utf8(output.stdout).unwrap();
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(last["event"], "summary");
        assert_eq!(last["workflows"][0]["status"], "STOPPED");
    }
}

#[tokio::test]
async fn a_signal_during_the_start_stops_it() {
    let latency = std::time::Duration::from_millis(300);
    let world = World::with(SandboxConfig { contacts: 5, campaign_latency: latency, ..SandboxConfig::default() }).await;
    let config = world.config().display().to_string();
    let child = support::spawn(&["run", "--format", "json", "--config", &config]);
    let started = tokio::time::Instant::now();
    while world.counters().await["dataverse"]["setup_requests"].as_object().is_none_or(|requests| requests.is_empty()) {
        assert!(started.elapsed().as_secs() < 20, "nothing was asked");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    support::signal(&child, "INT").await;
    let ended = Ended::of(child.wait_with_output().await.unwrap());
    assert_eq!(ended.code(), Some(130), "{}", ended.stderr);
    assert_eq!(ended.summary()["event"], "summary");
}

/// Every line of standard output is an object, and the last one the summary.
fn assert_objects(ended: &Ended) {
    assert_eq!(ended.lines.len(), ended.stdout.lines().count(), "{}", ended.stdout);
    let summaries = ended.lines.iter().filter(|line| line["event"] == "summary").count();
    assert_eq!((summaries, &ended.summary()["event"]), (1, &json!("summary")), "{}", ended.stdout);
}

/// A summary of a command that did not do what it was asked for.
fn assert_summary(ended: &Ended, code: i32) {
    assert_objects(ended);
    assert_eq!(ended.code(), Some(code), "{}", ended.stderr);
    assert_eq!(ended.summary()["exit_code"], code);
    assert!(!ended.summary()["problems"].as_array().unwrap().is_empty(), "{}", ended.summary());
}

#[tokio::test]
async fn every_command_answers_programs_with_objects_and_a_summary() {
    let world = World::new(20).await;
    let config = world.config().display().to_string();
    let json = |arguments: &[&str]| {
        let mut all: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        all.extend(["--format".to_owned(), "json".to_owned()]);
        async move { program(&all.iter().map(String::as_str).collect::<Vec<_>>()).await }
    };
    let printed = json(&["init"]).await;
    assert_objects(&printed);
    assert!(printed.summary()["configuration"].as_str().unwrap().contains("[dataverse]"));
    let file = world.path("written.toml").display().to_string();
    let written = json(&["init", "--output", &file]).await;
    assert_objects(&written);
    assert_eq!(written.summary()["written"], file);
    assert_summary(&json(&["init", "--output", &file]).await, 2);

    // Before the first run there is no store: nothing runs, and nothing is put aside.
    let status = json(&["status", "--config", &config]).await;
    assert_objects(&status);
    assert_eq!(status.summary()["workflows"][0]["status"], "STOPPED");
    let letters = json(&["dead-letters", "list", "--config", &config]).await;
    assert_objects(&letters);
    assert_eq!((letters.code(), &letters.summary()["dead_letters"]), (Some(0), &serde_json::json!(0)));
    let letters = program(&["dead-letters", "list", "--config", &config]).await;
    assert_eq!((letters.code(), letters.stdout.trim()), (Some(0), "no dead letters"));
    assert!(!world.store().exists(), "looking made a store");

    let preflight = json(&["preflight", "--config", &config]).await;
    assert_objects(&preflight);
    assert_eq!((preflight.code(), &preflight.summary()["passed"]), (Some(0), &serde_json::json!(true)));
    let run = json(&["run", "--until-idle", "--config", &config]).await;
    assert_objects(&run);
    assert_eq!(run.summary()["workflows"][0]["tables"][0]["read"], 20);

    let text = format!("{}{}", world.head(), support::CONTACT_TABLE);
    let broken = world.write("broken.toml", &text.replace("firstName", "fristName")).display().to_string();
    let preflight = json(&["preflight", "--config", &broken]).await;
    assert_objects(&preflight);
    assert_eq!((preflight.code(), &preflight.summary()["passed"]), (Some(3), &serde_json::json!(false)));
    assert_eq!(preflight.summary()["problems"][0]["place"], "table[0].fields[0].to");
    assert_summary(&json(&["run", "--config", &broken]).await, 1);
    let wrong = world.write("wrong.toml", &text.replace("key =", "kee =")).display().to_string();
    let run = json(&["run", "--config", &wrong]).await;
    assert_summary(&run, 2);
    assert!(run.summary()["problems"][0]["line"].as_u64() > Some(0), "{}", run.summary());
    assert_summary(&json(&["status", "--config", &wrong]).await, 2);
    assert_summary(&json(&["run", "--no-such-option"]).await, 2);
}
