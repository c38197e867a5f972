//! The pages of the guide do what they say: their commands are run as they stand, their configurations are read.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use d365_campaign::Config;
use serde_json::{Value, json};
use support::{World, program, signal, spawn, until};

const PAGES: [&str; 5] = ["README", "events", "opt-out", "privacy", "operating"];

fn page(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide");
    let path = folder.join(format!("{name}.md"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// Runs the commands of a page in one shell that ends at the first failure, and answers what they printed.
async fn run_page(world: &World, name: &str) -> String {
    let commands = blocks(&page(name), "sh").concat();
    assert!(commands.contains("d365-campaign "), "{name} has no command");
    let program = PathBuf::from(env!("CARGO_BIN_EXE_d365-campaign"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let contact = &world.records("dataverse", "contact").await[0]["contactid"];
    // What a page starts behind the shell ends with it, also when a command fails.
    let script = format!("set -eu\ntrap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n{commands}");
    let mut shell = tokio::process::Command::new("sh");
    shell.args(["-c", &script]).current_dir(world.dir.path()).kill_on_drop(true).env_remove("RUST_LOG");
    shell.env("PATH", path).env("CONTROL_URL", world.info()["control"].as_str().unwrap());
    shell.env("CONTACT", contact.as_str().unwrap());
    let output = shell.stdin(std::process::Stdio::null()).output().await.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{name}: {said}");
    said
}

/// A world with a configuration as `init` writes it, and contacts in both services.
async fn in_step() -> World {
    let world = World::new(30).await;
    let file = world.path("connector.toml").display().to_string();
    let control = world.info()["control"].as_str().unwrap().to_owned();
    let written = program(&["init", "--from-sandbox", &control, "--output", &file]).await;
    assert_eq!(written.code(), Some(0), "{}", written.stderr);
    assert_eq!(world.until_idle(Path::new(&file)).await.code(), Some(0));
    world
}

async fn activities(world: &World) -> usize {
    let mut found = 0;
    for kind in ["send", "open", "urlclick", "bounce"] {
        found += world.records("dataverse", &format!("adobe_campaignemail{kind}")).await.len();
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_steps_lead_from_credentials_to_running_workflows() {
    let text = page("README");
    for step in 1..=10 {
        assert!(text.contains(&format!("**{step}. ")), "step {step} is missing");
    }
    let world = World::new(30).await;
    world.post("/events", &json!({"send": 20, "open": 10, "click": 5, "bounce": 2, "seed": 4})).await;
    let contacts = world.records("dataverse", "contact").await;
    let said = run_page(&world, "README").await;
    let active = contacts.iter().filter(|contact| contact["statecode"] == 0).count();
    assert_eq!(world.records("campaign", "profile").await.len(), active);
    assert_eq!(activities(&world).await, 37);
    // Events change no contact.
    assert_eq!(world.records("dataverse", "contact").await, contacts);
    for workflow in ["ingress", "egress", "opt-in-out"] {
        assert!(said.contains(&format!("{workflow}: RUNNING")), "{workflow}: {said}");
    }
    let profiles = world.records("campaign", "profile").await;
    for profile in &profiles {
        let contact = contacts.iter().find(|contact| contact["contactid"] == profile["externalId"]).unwrap();
        let opted_out = |row: &Value, name: &str| row[name].as_bool().unwrap_or(false);
        assert_eq!(opted_out(profile, "blackListEmail"), opted_out(contact, "donotemail"), "{contact}");
    }
    Config::parse(&std::fs::read_to_string(world.path("tenant.toml")).unwrap(), world.dir.path()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_every_page_run() {
    for name in PAGES.into_iter().filter(|name| *name != "README" && !blocks(&page(name), "sh").is_empty()) {
        let world = in_step().await;
        world.post("/events", &json!({"send": 3, "click": 2, "seed": 4})).await;
        run_page(&world, name).await;
        if name == "events" {
            assert_eq!(activities(&world).await, 5);
        }
    }
}

/// A section that this version refuses is said to be refused on its page.
#[test]
fn every_toml_block_of_the_pages_is_a_configuration() {
    let mut read = 0;
    for name in PAGES {
        for block in blocks(&page(name), "toml") {
            let mut whole = d365_campaign::template::commented();
            if block.contains("[store]") {
                whole = whole.replacen("[store]\nsqlite = ", "# ", 1);
            }
            if block.contains("[[table]]") {
                whole = whole.split("[[table]]").next().unwrap().to_owned();
            }
            read += 1;
            match Config::parse(&format!("{whole}\n{block}"), Path::new(".")) {
                Ok(config) if block.contains("[events]") => assert!(config.events.is_on(), "{block}"),
                Ok(config) if block.contains("[store]") => assert!(config.store.encryption_key.is_some()),
                Ok(config) if block.contains("[opt_out]") => assert!(!config.opt_out.pairs.is_empty(), "{block}"),
                Ok(_) => {}
                Err(error) => panic!("{name}: {error}"),
            }
        }
    }
    assert!(read >= 7, "{read} blocks");
}

/// The pages name no command that does not exist, and the program has none that they and their reference do not know: none for
/// privacy requests, mails or subscriptions.
#[tokio::test]
async fn the_commands_are_those_of_the_pages() {
    let help = program(&["--help"]).await;
    assert_eq!(help.code(), Some(0));
    let list = help.stdout.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    let commands: BTreeSet<&str> = list
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    let known = ["dead-letters", "explain", "init", "preflight", "preview", "replay", "run", "status"];
    for command in known {
        assert!(commands.contains(command), "{command} is gone");
    }
    let operating =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operating.md")).unwrap();
    for command in &commands {
        assert!(operating.contains(&format!("d365-campaign {command}")), "{command} is not explained");
        for forbidden in ["erase", "privacy", "mail", "send", "subscri"] {
            assert!(!command.contains(forbidden), "{command}");
        }
    }
    for name in PAGES {
        for line in blocks(&page(name), "sh").concat().lines() {
            for call in line.split("d365-campaign ").skip(1) {
                let command = call.split_whitespace().next().unwrap();
                assert!(commands.contains(command) || command.starts_with("--"), "{name}: {command}");
            }
        }
    }
}

/// A configuration with both workflows.
fn both(world: &World) -> String {
    let url = &world.info()["journal"]["url"];
    let table = "[[table]]\ntable = \"contact\"\nresource = \"profile\"\nkey = \"externalId\"\n\
                 fields = [ { from = \"lastname\", to = \"lastName\" } ]\n";
    format!(
        "{}{table}[events]\nsends = true\nsource = {{ journal = {{ url = {url} }} }}\npoll_seconds = 1\n",
        world.head()
    )
}

async fn status(config: &str) -> Vec<Value> {
    let ended = program(&["status", "--format", "json", "--config", config]).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    ended.summary()["workflows"].as_array().unwrap().clone()
}

fn of(workflows: &[Value], key: &str) -> Vec<Value> {
    workflows.iter().map(|workflow| workflow[key].clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_tells_of_each_workflow_and_of_gaps() {
    let world = World::new(10).await;
    let config = world.write("connector.toml", &both(&world)).display().to_string();
    let before = status(&config).await;
    assert_eq!(of(&before, "workflow"), [json!("ingress"), json!("egress")]);
    assert_eq!(of(&before, "status"), [json!("STOPPED"), json!("STOPPED")]);
    assert_eq!(of(&before, "backlog"), [json!(0), json!(0)]);

    world.post("/events", &json!({"send": 20, "seed": 5})).await;
    assert_eq!(world.until_idle(Path::new(&config)).await.code(), Some(0));
    world.post("/events", &json!({"send": 20, "seed": 6})).await;
    world.post("/journal", &json!({"expire": 30})).await;
    assert_eq!(world.until_idle(Path::new(&config)).await.code(), Some(0));
    let text = program(&["status", "--config", &config]).await.stdout;
    for line in [
        "ingress: STOPPED, backlog 0",
        "egress: STOPPED, backlog 0",
        "contact -> profile",
        "activitypointer -> journal",
    ] {
        assert!(text.contains(line), "{line:?} is not in: {text}");
    }
    assert!(text.contains("  events are missing: once, last at 20"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_workflow_is_started_and_stopped_by_itself() {
    let world = World::new(10).await;
    world.post("/events", &json!({"send": 5, "seed": 5})).await;
    let config = world.write("connector.toml", &both(&world)).display().to_string();
    let run = ["run", "--until-idle", "--format", "json", "--config", &config, "--workflow"];
    let one = program(&[&run[..], &["egress"]].concat()).await;
    assert_eq!(one.code(), Some(0), "{}", one.stderr);
    assert_eq!(activities(&world).await, 5);
    assert!(world.records("campaign", "profile").await.is_empty(), "ingress did not run");
    let other = program(&[&run[..], &["ingress"]].concat()).await;
    assert_eq!(other.code(), Some(0), "{}", other.stderr);
    assert_eq!(world.records("campaign", "profile").await.len(), 10);
    // What is not configured is refused, and nothing is started.
    let alone = world.write("alone.toml", &both(&world).replace("sends = true", "sends = false")).display().to_string();
    let refused = program(&["run", "--until-idle", "--config", &alone, "--workflow", "egress"]).await;
    assert_eq!(refused.code(), Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("not configured"), "{}", refused.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edited_settings_are_pending_until_the_restart() {
    let world = World::new(10).await;
    let text = both(&world);
    let path = world.write("connector.toml", &text);
    let config = path.display().to_string();
    assert_eq!(world.until_idle(&path).await.code(), Some(0));
    let running =
        |config: String| async move { of(&status(&config).await, "status").iter().all(|state| state == "RUNNING") };
    let child = spawn(&["run", "--config", &config]);
    until(|| running(config.clone()), "both workflows run").await;
    let pending = |expected: [bool; 2], what: &'static str| {
        let config = config.clone();
        async move { assert_eq!(of(&status(&config).await, "pending_changes"), expected.map(Value::Bool), "{what}") }
    };
    pending([false, false], "nothing was edited").await;
    std::fs::write(&path, format!("# A remark changes nothing.\n{text}")).unwrap();
    pending([false, false], "a remark").await;
    std::fs::write(&path, text.replace("sends = true", "sends = true\nclicks = true")).unwrap();
    pending([false, true], "another kind of event").await;
    std::fs::write(&path, text.replace("to = \"lastName\"", "to = \"firstName\"")).unwrap();
    pending([true, false], "another field").await;
    std::fs::write(&path, text.replace("poll_seconds = 1\n\n[campaign]", "poll_seconds = 2\n\n[campaign]")).unwrap();
    pending([true, true], "what both use").await;
    let said = program(&["status", "--config", &config]).await.stdout;
    assert_eq!(said.matches("  settings were edited").count(), 2, "{said}");
    std::fs::write(&path, &text).unwrap();
    pending([false, false], "taken back").await;

    let edited = text.replace("sends = true", "sends = true\nclicks = true");
    std::fs::write(&path, &edited).unwrap();
    signal(&child, "TERM").await;
    assert_eq!(child.wait_with_output().await.unwrap().status.code(), Some(0));
    pending([false, false], "nobody runs: the next start takes them").await;
    let child = spawn(&["run", "--config", &config]);
    until(|| running(config.clone()), "both workflows run again").await;
    pending([false, false], "started anew").await;
    signal(&child, "TERM").await;
    assert_eq!(child.wait_with_output().await.unwrap().status.code(), Some(0));
}

/// What somebody edits in Campaign is written over by the next change; what somebody made there is left alone.
#[tokio::test]
async fn edits_in_campaign_are_written_over_and_foreign_profiles_left_alone() {
    let world = World::new(5).await;
    let config = world.config();
    let foreign = "/records/campaign/profile/of-somebody-else";
    world.put(foreign, &json!({"lastName": "Somebody", "email": "somebody@example.com"})).await;
    let rows = |rows: Vec<Value>| rows.into_iter().find(|row| row["externalId"] == "of-somebody-else").unwrap();
    let before = rows(world.records("campaign", "profile").await);
    assert_eq!(world.until_idle(&config).await.code(), Some(0));
    let contact = world.records("dataverse", "contact").await.into_iter().find(|row| row["statecode"] == 0).unwrap();
    let id = contact["contactid"].as_str().unwrap();
    world.put(&format!("/records/campaign/profile/{id}"), &json!({"lastName": "Edited"})).await;
    world.mutate(0, 5, 0, 9).await;
    assert_eq!(world.until_idle(&config).await.code(), Some(0));
    let after = world.records("campaign", "profile").await;
    assert!(after.iter().all(|row| row["lastName"] != "Edited"));
    assert_eq!(rows(after), before);
}
