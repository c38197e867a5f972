//! What the program writes to standard error.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

mod support;

use support::{World, command, ended};

#[tokio::test]
async fn a_log_that_is_no_terminal_has_no_colours() {
    let world = World::new(3).await;
    let text = format!("{}{}", world.head(), support::CONTACT_TABLE);
    let config = world.write("connector.toml", &text).display().to_string();
    let mut command = command(&["run", "--until-idle", "--config", &config]);
    command.env("RUST_LOG", "sync_core=debug");
    let ended = ended(command).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("sync.workflow{") && ended.stderr.contains("a page was read"), "{}", ended.stderr);
    assert!(!ended.stderr.contains('\u{1b}'), "{}", ended.stderr);
}
