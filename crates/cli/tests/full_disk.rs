//! The store runs out of room in the middle of a run: the run ends with the remedy, and the next one, with room, goes on there.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

mod support;

use std::process::Stdio;

use serde_json::json;
use support::{CONTACT_TABLE, Ended, World, program};
use tokio::process::Command;

/// Small pages, so that a run stores many and the room ends between two of them.
fn text(world: &World, room: &str) -> String {
    let head = world.head().replace("poll_seconds = 1", "poll_seconds = 1\npage_size = 50");
    format!("{head}{room}\n{CONTACT_TABLE}")
}

/// With room again: everything is there, once, and was read once.
async fn goes_on(world: &World) {
    let config = world.write("roomy.toml", &text(world, ""));
    let ended = world.until_idle(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    world.assert_equal().await;
    let profiles = world.records("campaign", "profile").await.len() as u64;
    world.assert_accounted(&config, profiles).await;
}

/// Runs with more and more room until a run ends in the middle: some records are written, others are not. How much room that
/// takes is the store's affair.
async fn in_the_middle(world: &World, run: impl AsyncFn(usize) -> Ended, words: &[&str]) {
    let active = world.records("dataverse", "contact").await.iter().filter(|row| row["statecode"] == 0).count();
    for step in 0..40 {
        assert_said(&run(step).await, words);
        let written = world.records("campaign", "profile").await.len();
        assert!(written < active, "everything is written");
        if written > 0 {
            return;
        }
    }
    panic!("no run wrote anything");
}

fn assert_said(ended: &Ended, words: &[&str]) {
    // 2 when there is no room for an empty store.
    assert!(matches!(ended.code(), Some(1 | 2)), "{:?}: {}", ended.code(), ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "{word:?} is not in: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_full_disk_in_the_middle_of_a_run() {
    let world = World::new(2000).await;
    let run = async |step: usize| {
        let config = world.write("small.toml", &text(&world, &format!("max_pages = {}", 40 + 4 * step)));
        world.until_idle(&config).await
    };
    in_the_middle(&world, run, &["full", "store.sqlite", "sync.db", "store.max_pages", "Remedy:"]).await;
    let path = world.path("small.toml").display().to_string();
    let status = program(&["status", "--format", "json", "--config", &path]).await;
    assert_eq!(status.summary()["workflows"][0]["status"], "FAILED", "{}", status.stdout);
    goes_on(&world).await;
}

/// The room ends again and again, a little later each time, while records change.
#[tokio::test]
async fn a_disk_that_fills_up_again_and_again() {
    let world = World::new(600).await;
    let mut failed = 0;
    for pages in (24..64).step_by(5) {
        let config = world.write("small.toml", &text(&world, &format!("max_pages = {pages}")));
        let ended = program(&["run", "--until-idle", "--config", &config.display().to_string()]).await;
        if ended.code() != Some(0) {
            assert_said(&ended, &["full", "Remedy:"]);
            failed += 1;
        }
        let changes = json!({"side": "dataverse", "table": "contact", "create": 5, "update": 30, "delete": 0, "fields": ["lastname"], "seed": pages});
        world.post("/mutate", &changes).await;
    }
    assert!(failed >= 2, "only {failed} runs ran out of room");
    goes_on(&world).await;
}

/// The system refuses to let the store's files grow, which reaches the program as an error of writing, not as a full disk.
#[tokio::test]
async fn a_file_that_may_not_grow() {
    let world = World::new(2000).await;
    let config = world.write("connector.toml", &text(&world, ""));
    let run = async |step: usize| {
        // Blocks of 512 bytes; without the trap the signal would end the process.
        let blocks = 1000 + 250 * step;
        let script = format!(r#"trap "" XFSZ; ulimit -f {blocks}; exec "$0" run --until-idle --config "$1""#);
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_d365-campaign"), &config.display().to_string()]);
        command.env_remove("RUST_LOG").stdin(Stdio::null()).kill_on_drop(true);
        Ended::of(command.output().await.unwrap())
    };
    in_the_middle(&world, run, &["store.sqlite", "sync.db", "Remedy:"]).await;
    goes_on(&world).await;
}
