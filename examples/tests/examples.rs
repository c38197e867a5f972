//! The built examples do what they say, at a size that takes seconds.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

use std::path::PathBuf;
use std::process::{Command, Output};

use sandbox::{Sandbox, SandboxConfig};

/// Cargo puts examples beside the folder of the test programs.
fn example(name: &str) -> Command {
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    Command::new(path.join("examples").join(name))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_quickstart_ends_with_both_sides_equal() {
    let output = example("quickstart").args(["--contacts", "400"]).output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("both sides are equal"), "{said}");
    for word in
        ["inserted", "superseded", "POST /profileAndServicesExt/profile", "engine calls", "records/s", "peak memory"]
    {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

#[test]
fn the_quickstart_finds_a_planted_difference() {
    let output = example("quickstart").args(["--contacts", "200", "--plant-difference"]).output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("NOT equal: 1 differences") && said.contains("firstName differs"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shortest_host_runs_from_a_file() {
    let sandbox = Sandbox::start(SandboxConfig { contacts: 20, ..SandboxConfig::default() }).await.unwrap();
    let info = sandbox.info().to_json();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("connector.toml");
    let text = d365_campaign::template::from_sandbox(info["control"].as_str().unwrap()).await.unwrap();
    std::fs::write(&file, text).unwrap();
    let output =
        tokio::task::spawn_blocking(move || example("embed_minimal").arg(file).output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["workflows"][0]["tables"][0]["read"], 20);
    assert_eq!(summary["workflows"][0]["status"], "STOPPED");
}
