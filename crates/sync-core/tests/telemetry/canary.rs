//! Planted secrets and values show nowhere, whatever goes wrong.

use std::panic::catch_unwind;
use std::process::Command;

use record::Key;
use sync_core::telemetry::KeyHash;
use tracing::Level;
use tracing_subscriber::layer::SubscriberExt;

use crate::capture::{Capture, panics_heard};
use crate::parties::{CANARY, key};
use crate::walk::{World, walk};

fn assert_clean(what: &str, text: &str) {
    assert!(!text.is_empty(), "nothing was looked at: {what}");
    if let Some(at) = text.find(CANARY) {
        let from = text[..at].char_indices().rev().nth(200).map_or(0, |(from, _)| from);
        let end = text[at..].char_indices().nth(100).map_or(text.len(), |(end, _)| at + end);
        panic!("{what} shows a canary: {}", &text[from..end]);
    }
}

/// The whole walk, looked at from every side. What goes to standard output and error is looked at by the test below.
#[tokio::test]
async fn nothing_that_can_be_seen_of_a_workflow_shows_a_canary() {
    let capture = Capture::default();
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(std::io::stdout);
    let subscriber = tracing_subscriber::registry().with(capture.clone()).with(lines);
    let _guard = tracing::subscriber::set_default(subscriber);
    tracing::event!(Level::TRACE, "the lowest level is heard");

    let mut world = World::new();
    let aside = walk(&mut world).await;

    let log = capture.take();
    assert!(log.text.contains("the lowest level is heard") && log.text.contains("action=\"create\""));
    assert!(log.text.contains(&format!("key={}", KeyHash::of(&key("p1")))), "records are told from each other");
    assert_clean("a span or log line", &log.text);
    assert_clean("an event", &hide_codes(&world.events.text()));
    assert_clean("a report, a status or the debug text of metrics", &hide_codes(&aside.text));
    assert_clean("the metrics", &aside.prometheus);
    assert_clean("the debug text of what the parties are given", &hide_codes(&world.shown.take()));

    let outside = catch_unwind(|| panic!("of the host's own"));
    assert!(outside.is_err());
    let panics = panics_heard().clone();
    assert!(panics.iter().any(|line| line.contains("of the host's own")), "other panics are the host's matter");
    assert_clean("a panic", &panics.join("\n"));
}

/// A code is a code, and a destination that makes one of a value breaks its promise: who is given the outcome sees it. Log
/// lines and metrics do not take it for a code.
fn hide_codes(text: &str) -> String {
    text.replace(&format!("{CANARY} is no code"), "no code")
}

/// The same as a process of its own, of which everything is read that it says.
#[test]
fn nothing_that_a_process_says_shows_a_canary() {
    let program = std::env::current_exe().unwrap();
    let name = "canary::nothing_that_can_be_seen_of_a_workflow_shows_a_canary";
    let output =
        Command::new(program).args([name, "--exact", "--nocapture"]).env("RUST_BACKTRACE", "1").output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{complained}");
    assert!(said.contains("writing pauses") && said.contains("1 passed"), "{said}");
    assert!(complained.matches("The message is not shown").count() >= 2, "mapping and client break: {complained}");
    assert_clean("standard output", &said);
    assert_clean("standard error", &complained);
}

#[test]
fn a_key_is_the_same_all_along_a_process_and_no_other_key() {
    let ada = Key::text("ada@example.com");
    assert_eq!(KeyHash::of(&ada), KeyHash::of(&ada.clone()));
    assert_ne!(KeyHash::of(&ada), KeyHash::of(&Key::text("grace@example.com")));
    assert_eq!(KeyHash::of(&ada).to_string().len(), 16);
}
