//! What the program writes to standard error.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

mod support;

use std::io::Read;

use serde_json::{Value, json};
use support::{World, command, ended};

/// The files of the exported log, by name, as text.
async fn exported(world: &World) -> Vec<(String, String)> {
    let control = world.info()["control"].as_str().unwrap().trim_end_matches('/').to_owned();
    let get = async |path: String| {
        let answer = world.http.get(format!("{control}{path}")).send().await.unwrap().error_for_status().unwrap();
        answer.bytes().await.unwrap()
    };
    let list: Value = serde_json::from_slice(&get("/files".to_owned()).await).unwrap();
    let mut files = Vec::new();
    for path in list.as_array().unwrap().iter().filter_map(|file| file["path"].as_str()) {
        if let Some(name) = path.strip_prefix("/d365_loads/logs/") {
            let content = get(format!("/files{path}")).await;
            let mut text = String::new();
            flate2::read::GzDecoder::new(&content[..]).read_to_string(&mut text).unwrap();
            files.push((name.to_owned(), text));
        }
    }
    files
}

async fn run_with_sftp(world: &World, lines: &str, log: Option<&str>) -> support::Ended {
    let sftp = world.info()["sftp"].clone();
    let text = format!(
        "{}{}[sftp]\nhost = {}\nport = {}\nuser = {}\nprivate_key = {{ file = {} }}\nhost_key = {}\n{lines}\n",
        world.head(),
        support::CONTACT_TABLE,
        sftp["host"],
        sftp["port"],
        sftp["user"],
        sftp["private_key_file"],
        sftp["host_key"],
    );
    let config = world.write("connector.toml", &text).display().to_string();
    let mut command = command(&["run", "--until-idle", "--config", &config]);
    match log {
        Some(filter) => command.env("RUST_LOG", filter),
        None => command.env_remove("RUST_LOG"),
    };
    ended(command).await
}

#[tokio::test]
async fn the_log_is_put_on_the_file_exchange_where_that_is_switched_on_alone() {
    let world = World::new(30).await;
    let ended = run_with_sftp(&world, "export_logs = false", None).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert_eq!(exported(&world).await, Vec::new());

    let ended = run_with_sftp(&world, "export_logs = true", None).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    let files = exported(&world).await;
    let [(name, text)] = files.as_slice() else { panic!("{files:?}") };
    assert!(name.starts_with("d365-campaign_20") && name.ends_with("_000.log.gz"), "{name}");
    assert!(text.contains("the status changed") && text.lines().count() > 1, "{text}");
    assert!(!ended.stderr.contains("the status changed"), "standard error has warnings alone, as ever");
}

#[tokio::test]
async fn the_exported_log_holds_no_secret_and_no_value_however_much_is_logged() {
    let world = World::new(30).await;
    let ended = run_with_sftp(&world, "export_logs = true", Some("debug")).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    let all: String = exported(&world).await.into_iter().map(|(_, text)| text).collect();
    assert!(all.contains("a page was read"), "{} letters", all.len());
    let info = world.info();
    for secret in [&info["dataverse"]["client_secret"], &info["campaign"]["client_secret"]] {
        assert!(!all.contains(secret.as_str().unwrap()));
    }
    assert!(!all.contains("eyJ0eXAi"), "the beginning of every token of the sandbox");
    for contact in world.records("dataverse", "contact").await {
        for column in ["emailaddress1", "telephone1"] {
            let value = contact[column].as_str().filter(|value| value.len() > 5);
            assert!(value.is_none_or(|value| !all.contains(value)), "{column}");
        }
    }
}

#[tokio::test]
async fn a_file_exchange_in_trouble_holds_up_no_run_and_costs_no_line() {
    let world = World::new(30).await;
    // The connection breaks when the file is renamed, and then it does not.
    world.faults(json!([{"side": "sftp", "method": "RENAME", "fault": "reset_before"}])).await;
    let ended = run_with_sftp(&world, "export_logs = true", None).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("the log could not be put on the file exchange"), "{}", ended.stderr);
    let files = exported_names(&world).await;
    let complete = files.iter().filter(|name| name.ends_with(".log.gz") && !name.starts_with('.'));
    assert_eq!(complete.count(), 1, "{files:?}");

    // A server that refuses the user ends no workflow either.
    world.faults(json!([{"side": "sftp", "method": "CONNECT", "fault": "host_key", "probability": 1.0}])).await;
    let ended = run_with_sftp(&world, "export_logs = true", None).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert_eq!(exported_names(&world).await, files);
}

async fn exported_names(world: &World) -> Vec<String> {
    let control = world.info()["control"].as_str().unwrap().trim_end_matches('/').to_owned();
    let list: Value = world.http.get(format!("{control}/files")).send().await.unwrap().json().await.unwrap();
    let names = list.as_array().unwrap().iter().filter_map(|file| file["path"].as_str());
    names.filter_map(|path| path.strip_prefix("/d365_loads/logs/")).map(str::to_owned).collect()
}

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
