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
    let equal = said.lines().find(|line| line.starts_with("both sides are equal")).unwrap_or_else(|| panic!("{said}"));
    let counts: Vec<u64> = equal.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
    let [profiles, boats, activities, preferences] = counts.try_into().unwrap_or_else(|_| panic!("{equal}"));
    // Sends, opens, clicks and hard bounces; each profile has two preferences.
    assert!(profiles > 200 && boats > 200 && preferences == 2 * profiles, "{equal}");
    assert_eq!(activities, 400 + 200 + 80 + 20, "{equal}");
    for word in ["POST /profileAndServicesExt/profile", "engine calls", "records/s", "peak memory"] {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    let line = |start: &str| -> Vec<String> {
        let found = said.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}: {said}"));
        found.strip_prefix(start).unwrap().split_whitespace().map(str::to_owned).collect()
    };
    let columns = ["read", "inserted", "updated", "deleted", "unchanged", "filtered", "superseded", "ignored", "dead"];
    assert_eq!(line("table "), columns);
    for (table, read) in [("contact -> profile", 400), ("new_boat -> cusBoat", 500)] {
        let counts: Vec<u64> = line(table).iter().map(|count| count.parse().unwrap()).collect();
        assert_eq!(counts.len(), columns.len());
        assert_eq!(counts[0], counts[1..].iter().sum::<u64>(), "what was read is not what became of it: {said}");
        assert!(counts[0] > read && counts[1] > 0 && counts[2] > 0 && counts[3] > 0 && counts[5] > 0, "{said}");
        assert_eq!(counts[8], 0, "dead letters: {said}");
    }
    let events: Vec<u64> = line("activitypointer -> journal").iter().map(|count| count.parse().unwrap()).collect();
    assert_eq!((events[1], events[8]), (700, 0), "each event once, although some are told twice: {said}");
    assert!(events[4] > 0, "{said}");
    for kind in ["insert", "update", "delete", "read"] {
        assert!(
            said.lines().any(|line| line.trim_start().starts_with(kind) && line.starts_with(' ')),
            "{kind}: {said}"
        );
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

#[test]
fn a_preview_shows_each_step_and_writes_nothing() {
    let output = example("preview_mapping").output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let (before, after) = said.split_once("After a run:").unwrap_or_else(|| panic!("{said}"));
    for words in
        ["fields[0]  ", "inserted: ", "POST /", "GET /contacts", "\"insert\":0", "\"update\":0", "\"delete\":0"]
    {
        assert!(before.contains(words), "{words:?} is not in: {said}");
    }
    assert!(!before.contains("\"POST") && !before.contains("\"PATCH"), "{said}");
    assert!(after.contains("unchanged: ") && !after.contains("POST /"), "{said}");
}

/// The numbers of a certificate: passed, skipped, failed.
fn numbers(said: &str) -> Vec<usize> {
    let line = said.lines().find(|line| line.contains(" cases passed")).unwrap_or_else(|| panic!("{said}"));
    line.split(|other: char| !other.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

#[test]
fn a_store_of_ones_own_is_certified() {
    let output = example("custom_store").output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("audit: pause is put, 10 bytes, fence 1"), "{said}");
    assert!(said.contains("skipped: life::no_crash_loses_or_repeats: the store promises nothing beyond"), "{said}");
    let numbers = numbers(&said);
    assert!(numbers[0] >= 80 && numbers[2] == 0, "{said}");
    assert_eq!(said.matches("skipped: ").count(), numbers[1], "{said}");
}

#[test]
fn a_destination_of_ones_own_is_certified() {
    let output = example("custom_destination").output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("skipped: destination::a_lost_answer_is_unknown: the ground loses no answer"), "{said}");
    assert_eq!(numbers(&said), [17, 1, 0], "{said}");
}
