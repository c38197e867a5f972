//! Each line of bad input: one clear message that names the place and the remedy, the published exit code, and store and
//! target as they were.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

mod support;

use std::path::Path;

use serde_json::json;
use support::{CONTACT_TABLE, Ended, World, command, ended, program, spawn};

/// Runs, expects the code and the words, and that nothing was written on either side.
async fn refused(world: &World, config: &Path, code: i32, words: &[&str]) -> Ended {
    let existed = world.store().exists();
    let before = std::fs::read(world.store()).ok();
    let ended = program(&["run", "--until-idle", "--format", "text", "--config", &config.display().to_string()]).await;
    assert_eq!(ended.code(), Some(code), "{}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "{word:?} is not in: {}", ended.stderr);
    }
    assert!(ended.stderr.contains("Remedy:"), "no remedy in: {}", ended.stderr);
    assert!(world.records("campaign", "profile").await.is_empty(), "something was written to Campaign");
    if existed {
        assert_eq!(before, std::fs::read(world.store()).ok(), "the store was changed");
    } else {
        assert!(!world.store().exists(), "a store was left behind");
    }
    ended
}

/// The ordinary configuration with one text replaced by another.
fn changed(world: &World, from: &str, to: &str) -> std::path::PathBuf {
    let text = format!("{}{CONTACT_TABLE}", world.head());
    assert!(text.contains(from), "{from:?} is not in the configuration");
    world.write("connector.toml", &text.replacen(from, to, 1))
}

fn field(world: &World, side: &str, key: &str) -> String {
    world.info()[side][key].to_string()
}

#[tokio::test]
async fn a_wrong_dataverse_secret() {
    let world = World::new(5).await;
    let secret = field(&world, "dataverse", "client_secret");
    let config = changed(&world, &secret, "\"wrong-secret-canary\"");
    let words = ["dataverse", "AADSTS7000215", "invalid_client", "status 401"];
    let ended = refused(&world, &config, 1, &words).await;
    assert!(!ended.stderr.contains("wrong-secret-canary"));
}

#[tokio::test]
async fn a_wrong_campaign_secret() {
    let world = World::new(5).await;
    let secret = field(&world, "campaign", "client_secret");
    let config = changed(&world, &secret, "\"wrong-secret-canary\"");
    let ended = refused(&world, &config, 1, &["campaign", "invalid_client", "status 40"]).await;
    assert!(!ended.stderr.contains("wrong-secret-canary"));
}

#[tokio::test]
async fn a_wrong_tenant() {
    let world = World::new(5).await;
    let tenant = field(&world, "dataverse", "tenant");
    refused(&world, &changed(&world, &tenant, "\"nobody.example\""), 1, &["dataverse", "AADSTS90002"]).await;
}

#[tokio::test]
async fn a_wrong_url() {
    let world = World::new(5).await;
    let url = field(&world, "dataverse", "url");
    refused(&world, &changed(&world, &url, "\"http://127.0.0.1:9\""), 1, &["dataverse"]).await;
    refused(&world, &changed(&world, &url, "\"http://contoso.example\""), 2, &["dataverse.url", "loopback"]).await;
}

#[tokio::test]
async fn a_wrong_campaign_organisation() {
    let world = World::new(5).await;
    let url = field(&world, "campaign", "url");
    let wrong = url.replace("/acme\"", "/nobody\"");
    assert_ne!(url, wrong);
    refused(&world, &changed(&world, &url, &wrong), 1, &["campaign"]).await;
}

#[tokio::test]
async fn a_table_that_does_not_exist() {
    let world = World::new(5).await;
    let config = changed(&world, "table = \"contact\"", "table = \"contakt\"");
    refused(&world, &config, 1, &["table[0].table", "contakt"]).await;
}

#[tokio::test]
async fn a_column_that_does_not_exist() {
    let world = World::new(5).await;
    let config = changed(&world, "from = \"firstname\"", "from = \"fristname\"");
    refused(&world, &config, 1, &["table[0].fields[0].from", "fristname", "firstname"]).await;
}

#[tokio::test]
async fn a_resource_that_does_not_exist() {
    let world = World::new(5).await;
    let config = changed(&world, "resource = \"profile\"", "resource = \"cusNothing\"");
    refused(&world, &config, 1, &["table[0].resource", "cusNothing"]).await;
}

#[tokio::test]
async fn an_attribute_or_key_that_does_not_exist() {
    let world = World::new(5).await;
    let config = changed(&world, "to = \"firstName\"", "to = \"firsName\"");
    refused(&world, &config, 1, &["table[0].fields[0].to", "firsName"]).await;
    let config = changed(&world, "key = \"externalId\"", "key = \"crmId\"");
    refused(&world, &config, 1, &["table[0].key", "crmId"]).await;
}

#[tokio::test]
async fn a_column_of_a_type_that_cannot_be_converted() {
    let world = World::new(5).await;
    let config = changed(&world, "from = \"firstname\"", "from = \"entityimage\"");
    refused(&world, &config, 1, &["table[0].fields[0].from", "entityimage"]).await;
}

#[tokio::test]
async fn two_sources_for_one_target() {
    let world = World::new(5).await;
    let config = changed(&world, "to = \"lastName\"", "to = \"firstName\"");
    refused(&world, &config, 2, &["table[0].fields[1].to", "firstName", "line"]).await;
}

#[tokio::test]
async fn a_missing_and_an_unreadable_secret() {
    let world = World::new(5).await;
    let literal = format!("{{ plain = {} }}", field(&world, "dataverse", "client_secret"));
    let config = changed(&world, &literal, "{ env = \"NO_SUCH_VARIABLE_ANYWHERE\" }");
    refused(&world, &config, 2, &["dataverse.client_secret", "NO_SUCH_VARIABLE_ANYWHERE"]).await;
    let config = changed(&world, &literal, "{ file = \"no-such-file\" }");
    refused(&world, &config, 2, &["dataverse.client_secret", "no-such-file"]).await;
    let open = world.write("open-secret", "s3cr3t");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
        let config = changed(&world, &literal, "{ file = \"open-secret\" }");
        refused(&world, &config, 2, &["dataverse.client_secret", "chmod 600"]).await;
    }
    let config = changed(&world, &literal, "\"a-literal-canary\"");
    let ended = refused(&world, &config, 2, &["dataverse.client_secret"]).await;
    assert!(!ended.stderr.contains("a-literal-canary"));
}

#[tokio::test]
async fn unknown_keys_are_all_reported_with_path_and_line() {
    let world = World::new(5).await;
    let text = format!("{}{CONTACT_TABLE}", world.head())
        .replace("poll_seconds = 1", "pol_seconds = 1")
        .replace("sqlite =", "sqlight =");
    let config = world.write("connector.toml", &text);
    refused(&world, &config, 2, &["dataverse.pol_seconds", "store.sqlight", "(line "]).await;
}

#[tokio::test]
async fn a_section_of_a_later_version() {
    let world = World::new(5).await;
    let text = format!("{}{CONTACT_TABLE}\n[events]\nsends = true\n", world.head());
    refused(&world, &world.write("connector.toml", &text), 2, &["events", "not available yet"]).await;
    let off =
        format!("{}{CONTACT_TABLE}\n[events]\nsends = false\n[opt_out]\ndirection = \"disabled\"\n", world.head());
    assert_eq!(world.until_idle(&world.write("connector.toml", &off)).await.code(), Some(0));
}

#[tokio::test]
async fn a_store_of_a_newer_version() {
    let world = World::new(5).await;
    let connection = rusqlite::Connection::open(world.store()).unwrap();
    connection
        .execute_batch("PRAGMA application_id = 0x53594E43; PRAGMA user_version = 9999; CREATE TABLE t(x);")
        .unwrap();
    drop(connection);
    refused(&world, &world.config(), 2, &["store.sqlite", "newer"]).await;
}

#[tokio::test]
async fn a_file_that_is_no_store() {
    let world = World::new(5).await;
    world.write("sync.db", &"this is not a database. ".repeat(1000));
    refused(&world, &world.config(), 2, &["store.sqlite"]).await;
}

#[tokio::test]
async fn a_store_in_use_by_another_process() {
    let world = World::new(50).await;
    let config = world.config();
    let mut first = spawn(&["run", "--config", &config.display().to_string()]);
    let started = tokio::time::Instant::now();
    while world.records("campaign", "profile").await.is_empty() {
        assert!(started.elapsed().as_secs() < 20, "the first process wrote nothing");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let second = program(&["run", "--until-idle", "--config", &config.display().to_string()]).await;
    assert_eq!(second.code(), Some(2), "{}", second.stderr);
    assert!(second.stderr.contains("store.sqlite") && second.stderr.contains("Remedy:"), "{}", second.stderr);
    // Reading beside it works.
    let status = program(&["status", "--format", "json", "--config", &config.display().to_string()]).await;
    assert_eq!(status.code(), Some(0), "{}", status.stderr);
    assert_eq!(status.summary()["workflows"][0]["status"], "RUNNING");
    let letters = program(&["dead-letters", "list", "--config", &config.display().to_string()]).await;
    assert_eq!(letters.code(), Some(0), "{}", letters.stderr);
    first.kill().await.unwrap();
    assert_eq!(world.until_idle(&config).await.code(), Some(0));
    world.assert_equal().await;
}

#[tokio::test]
async fn a_full_disk() {
    let world = World::new(2000).await;
    let text = format!("{}max_pages = 40\n{CONTACT_TABLE}", world.head());
    let config = world.write("small.toml", &text);
    let ended = program(&["run", "--until-idle", "--config", &config.display().to_string()]).await;
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("full") && ended.stderr.contains("Remedy:"), "{}", ended.stderr);
    // The page that did not fit was not taken: nothing of it was written.
    assert!(world.records("campaign", "profile").await.is_empty());
    // With room again the same store goes on.
    assert_eq!(world.until_idle(&world.config()).await.code(), Some(0));
    world.assert_equal().await;
}

#[tokio::test]
async fn records_that_cannot_be_mapped_or_are_refused_become_dead_letters_and_hold_up_nothing() {
    let world = World::new(100).await;
    let active: Vec<String> = world
        .records("dataverse", "contact")
        .await
        .iter()
        .filter(|contact| contact["statecode"] == 0)
        .map(|contact| contact["contactid"].as_str().unwrap().to_owned())
        .collect();
    // Longer than the profile's 30 characters, though Dataverse allows 50; and an address that Campaign's policy refuses.
    world.put(&format!("/records/dataverse/contact/{}", active[0]), &json!({"firstname": "x".repeat(45)})).await;
    world
        .put(&format!("/records/dataverse/contact/{}", active[1]), &json!({"emailaddress1": "canary-not-an-address"}))
        .await;
    let config = world.config();
    let ended = world.until_idle(&config).await;
    assert_eq!(ended.code(), Some(4), "{}", ended.stderr);
    assert_eq!(ended.table("contact")["dead"], 2, "{}", ended.summary());
    assert_eq!(world.records("campaign", "profile").await.len(), active.len() - 2);
    let path = config.display().to_string();
    let listed = program(&["dead-letters", "list", "--format", "json", "--config", &path]).await;
    assert_eq!(listed.code(), Some(0), "{}", listed.stderr);
    assert_eq!(listed.summary()["dead_letters"], 2);
    assert!(!listed.stdout.contains("canary") && !listed.stdout.contains(&"x".repeat(45)), "{}", listed.stdout);
    assert!(!ended.stderr.contains("canary") && !ended.stdout.contains("canary"));
    // Mended at the source, they leave the list.
    world.put(&format!("/records/dataverse/contact/{}", active[0]), &json!({"firstname": "Short"})).await;
    world.put(&format!("/records/dataverse/contact/{}", active[1]), &json!({"emailaddress1": "a@example.org"})).await;
    assert_eq!(world.until_idle(&config).await.code(), Some(0));
    let listed = program(&["dead-letters", "list", "--format", "json", "--config", &path]).await;
    assert_eq!(listed.summary()["dead_letters"], 0);
    world.assert_equal().await;
}

#[tokio::test]
async fn nothing_of_a_record_and_no_secret_is_logged() {
    let world = World::new(60).await;
    let config = world.config();
    let mut run = command(&["run", "--until-idle", "--format", "json", "--config", &config.display().to_string()]);
    run.env("RUST_LOG", "trace");
    let ended = ended(run).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(said.contains("http"), "the log is empty");
    for contact in world.records("dataverse", "contact").await {
        for column in ["emailaddress1", "telephone1"] {
            if let Some(value) = contact[column].as_str() {
                assert!(!said.contains(value), "a value of {column} was logged");
            }
        }
    }
    for side in ["dataverse", "campaign"] {
        let secret = world.info()[side]["client_secret"].as_str().unwrap().to_owned();
        assert!(!said.contains(&secret), "the secret of {side} was logged");
    }
}
