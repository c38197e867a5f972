//! The commands around a run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

mod support;

use support::{World, program};

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
        let id = child.id().unwrap().to_string();
        let sent = tokio::process::Command::new("kill").args([format!("-{signal}"), id]).status().await.unwrap();
        assert!(sent.success());
        let output = child.wait_with_output().await.unwrap();
        assert_eq!(output.status.code(), Some(code));
        let text = String::from_utf8(output.stdout).unwrap();
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(last["event"], "summary");
        assert_eq!(last["workflows"][0]["status"], "STOPPED");
    }
}

#[tokio::test]
async fn what_is_not_there_yet_says_so() {
    for arguments in [["replay", "--table"], ["preview", "--id"], ["explain", "--id"]] {
        let ended = program(&[arguments[0], arguments[1], "x"]).await;
        assert_eq!(ended.code(), Some(2));
        assert!(ended.stderr.contains("not available yet"), "{}", ended.stderr);
    }
}
