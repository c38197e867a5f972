//! Each line of bad input: one clear message that names the place and the remedy, the published exit code, and store and
//! target as they were.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

mod support;

use std::path::Path;

use sandbox::SandboxConfig;
use serde_json::json;
use support::{CONTACT_TABLE, Ended, World, command, ended, program, spawn};

/// A world in step, whose store and Campaign are full, and with changes waiting: a run that goes too far would write them.
async fn populated() -> World {
    let world = World::new(40).await;
    let ended = world.until_idle(&world.config()).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    world.mutate(5, 10, 5, 11).await;
    assert!(!world.records("campaign", "profile").await.is_empty());
    world
}

/// Runs, expects the code and the words, and that both the store and Campaign are as they were.
async fn refused(world: &World, config: &Path, code: i32, words: &[&str]) -> Ended {
    let rows = world.records("campaign", "profile").await;
    let existed = world.store().exists();
    let content = existed.then(|| world.store_content());
    let ended = program(&["run", "--until-idle", "--format", "text", "--config", &config.display().to_string()]).await;
    said(&ended, code, words);
    assert!(rows == world.records("campaign", "profile").await, "something was written to Campaign");
    match content {
        Some(content) => assert!(content == world.store_content(), "the store was changed"),
        None => assert!(!world.store().exists(), "a store was left behind"),
    }
    ended
}

fn said(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code(), Some(code), "{}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "{word:?} is not in: {}", ended.stderr);
    }
    assert!(ended.stderr.contains("Remedy:"), "no remedy in: {}", ended.stderr);
}

/// The ordinary configuration with one text replaced by another.
fn changed(world: &World, from: &str, to: &str) -> std::path::PathBuf {
    let text = format!("{}{CONTACT_TABLE}", world.head());
    assert!(text.contains(from), "{from:?} is not in the configuration");
    world.write("connector.toml", &text.replacen(from, to, 1))
}

/// Scheme, host and port of one of the sandbox's addresses.
fn origin(world: &World, side: &str, key: &str) -> String {
    field(world, side, key).trim_matches('"').split('/').take(3).collect::<Vec<_>>().join("/")
}

/// An address on which nobody listens, and cannot while the socket lives: the port is held without listening, so that no
/// other test's server is given it.
fn closed_port() -> (tokio::net::TcpSocket, String) {
    let port = tokio::net::TcpSocket::new_v4().unwrap();
    port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", port.local_addr().unwrap());
    (port, url)
}

fn field(world: &World, side: &str, key: &str) -> String {
    world.info()[side][key].to_string()
}

#[tokio::test]
async fn a_wrong_dataverse_secret() {
    let world = populated().await;
    let secret = field(&world, "dataverse", "client_secret");
    let config = changed(&world, &secret, "\"wrong-secret-canary\"");
    let authority = origin(&world, "dataverse", "authority");
    let ended = refused(&world, &config, 1, &["dataverse.client_secret:", "AADSTS7000215", &authority]).await;
    assert!(!ended.stderr.contains("wrong-secret-canary"));
}

#[tokio::test]
async fn a_wrong_tenant_or_client_id() {
    let world = populated().await;
    let tenant = field(&world, "dataverse", "tenant");
    let config = changed(&world, &tenant, "\"nobody.example\"");
    refused(&world, &config, 1, &["dataverse.tenant:", "AADSTS90002"]).await;
    let id = field(&world, "dataverse", "client_id");
    let config = changed(&world, &id, "\"00000000-0000-0000-0000-0000000000ff\"");
    refused(&world, &config, 1, &["dataverse.client_id:", "AADSTS700016"]).await;
}

#[tokio::test]
async fn a_wrong_campaign_secret_or_client_id() {
    let world = populated().await;
    let secret = field(&world, "campaign", "client_secret");
    let config = changed(&world, &secret, "\"wrong-secret-canary\"");
    let ims = origin(&world, "campaign", "ims_url");
    let words = ["campaign.client_secret:", "invalid_client", &ims, "campaign.client_id"];
    let ended = refused(&world, &config, 1, &words).await;
    assert!(!ended.stderr.contains("wrong-secret-canary"));
    let id = field(&world, "campaign", "client_id");
    refused(&world, &changed(&world, &id, "\"nobody\""), 1, &["campaign.client_secret:", "campaign.client_id"]).await;
}

#[tokio::test]
async fn scopes_that_the_credential_does_not_have() {
    let world = populated().await;
    let config = changed(&world, "org_id =", "scopes = [\"nonsense\"]\norg_id =");
    refused(&world, &config, 1, &["campaign.scopes:", "invalid_scope"]).await;
}

#[tokio::test]
async fn a_wrong_dataverse_url() {
    let world = populated().await;
    let url = format!("url = {}", field(&world, "dataverse", "url"));
    let (_port, nobody) = closed_port();
    // Entra ID is asked for a token of the organisation first, and knows no such organisation.
    refused(&world, &changed(&world, &url, &format!("url = \"{nobody}\"")), 1, &["dataverse.url:", "AADSTS70011"])
        .await;
    let config = changed(&world, &url, "url = \"http://contoso.example\"");
    refused(&world, &config, 2, &["dataverse.url (line", "loopback"]).await;
    let authority = format!("authority = {}", field(&world, "dataverse", "authority"));
    let config = changed(&world, &authority, &format!("authority = \"{nobody}\""));
    refused(&world, &config, 1, &["dataverse.authority:", &nobody]).await;
}

#[tokio::test]
async fn a_wrong_campaign_url_or_identity_service() {
    let world = populated().await;
    let (_port, nobody) = closed_port();
    let url = field(&world, "campaign", "url");
    let config = changed(&world, &url, &format!("\"{nobody}/acme\""));
    refused(&world, &config, 1, &["campaign.url:", &nobody]).await;
    let ims = format!("ims_url = {}", field(&world, "campaign", "ims_url"));
    let config = changed(&world, &ims, &format!("ims_url = \"{nobody}\""));
    refused(&world, &config, 1, &["campaign.ims_url:", &nobody]).await;
}

#[tokio::test]
async fn a_wrong_campaign_organisation() {
    let world = populated().await;
    let url = field(&world, "campaign", "url");
    let wrong = url.replace("/acme\"", "/nobody\"");
    assert_ne!(url, wrong);
    refused(&world, &changed(&world, &url, &wrong), 1, &["campaign.url:", "organisation"]).await;
}

#[tokio::test]
async fn both_services_say_at_once_what_is_wrong() {
    let world = populated().await;
    let text = format!("{}{CONTACT_TABLE}", world.head())
        .replace(&field(&world, "dataverse", "client_secret"), "\"wrong\"")
        .replace("/acme\"", "/nobody\"");
    let config = world.write("both.toml", &text);
    refused(&world, &config, 1, &["dataverse.client_secret:", "campaign.url:"]).await;
}

#[tokio::test]
async fn certificates_that_are_none() {
    let world = populated().await;
    world.write("junk.pem", "-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n");
    world.write("empty.pem", "");
    for file in ["junk.pem", "empty.pem", "no-such.pem"] {
        let text = format!("{}[tls]\nca_file = \"{file}\"\n{CONTACT_TABLE}", world.head());
        let config = world.write("tls.toml", &text);
        refused(&world, &config, 2, &["tls.ca_file (line", file]).await;
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts() {
    let authority = tempfile::tempdir().unwrap();
    let tls = Some(authority.path().to_owned());
    let world = World::with(SandboxConfig { contacts: 5, tls, ..SandboxConfig::default() }).await;
    let config = world.config();
    refused(&world, &config, 1, &["tls.ca_file:", "dataverse.authority", "campaign.ims_url"]).await;
    let ca = authority.path().join("ca.pem");
    let text = format!("{}[tls]\nca_file = \"{}\"\n{CONTACT_TABLE}", world.head(), ca.display());
    assert_eq!(world.until_idle(&world.write("trusted.toml", &text)).await.code(), Some(0));
    world.assert_equal().await;
}

#[tokio::test]
async fn a_table_that_does_not_exist() {
    let world = populated().await;
    let config = changed(&world, "table = \"contact\"", "table = \"contakt\"");
    refused(&world, &config, 1, &["table[0].table", "contakt"]).await;
}

#[tokio::test]
async fn a_column_that_does_not_exist() {
    let world = populated().await;
    let config = changed(&world, "from = \"firstname\"", "from = \"fristname\"");
    refused(&world, &config, 1, &["table[0].fields[0].from", "fristname", "firstname"]).await;
}

#[tokio::test]
async fn a_resource_that_does_not_exist() {
    let world = populated().await;
    let config = changed(&world, "resource = \"profile\"", "resource = \"cusNothing\"");
    refused(&world, &config, 1, &["table[0].resource", "cusNothing"]).await;
}

#[tokio::test]
async fn an_attribute_or_key_that_does_not_exist() {
    let world = populated().await;
    let config = changed(&world, "to = \"firstName\"", "to = \"firsName\"");
    refused(&world, &config, 1, &["table[0].fields[0].to", "firsName"]).await;
    let config = changed(&world, "key = \"externalId\"", "key = \"crmId\"");
    refused(&world, &config, 1, &["table[0].key", "crmId"]).await;
}

#[tokio::test]
async fn a_column_of_a_type_that_cannot_be_converted() {
    let world = populated().await;
    let config = changed(&world, "from = \"firstname\"", "from = \"entityimage\"");
    refused(&world, &config, 1, &["table[0].fields[0].from", "entityimage"]).await;
}

#[tokio::test]
async fn two_sources_for_one_target() {
    let world = populated().await;
    let config = changed(&world, "to = \"lastName\"", "to = \"firstName\"");
    refused(&world, &config, 2, &["table[0].fields[1].to", "firstName", "line"]).await;
}

#[tokio::test]
async fn a_missing_and_an_unreadable_secret() {
    let world = populated().await;
    let literal = format!("{{ plain = {} }}", field(&world, "dataverse", "client_secret"));
    let config = changed(&world, &literal, "{ env = \"NO_SUCH_VARIABLE_ANYWHERE\" }");
    refused(&world, &config, 2, &["dataverse.client_secret (line 6)", "NO_SUCH_VARIABLE_ANYWHERE"]).await;
    let config = changed(&world, &literal, "{ file = \"no-such-file\" }");
    refused(&world, &config, 2, &["dataverse.client_secret (line 6)", "no-such-file"]).await;
    let config = changed(&world, &literal, "\"a-literal-canary\"");
    let ended = refused(&world, &config, 2, &["dataverse.client_secret (line 6)"]).await;
    assert!(!ended.stderr.contains("a-literal-canary"));
    // Together with what is wrong elsewhere.
    let text = std::fs::read_to_string(changed(&world, &literal, "{ env = \"NO_SUCH_VARIABLE_ANYWHERE\" }")).unwrap();
    let config = world.write("several.toml", &text.replace("apply_deletes", "aply_deletes"));
    refused(&world, &config, 2, &["NO_SUCH_VARIABLE_ANYWHERE", "table[0].aply_deletes (line"]).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_secret_that_others_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new(5).await;
    let literal = format!("{{ plain = {} }}", field(&world, "dataverse", "client_secret"));
    let open = world.write("open-secret", field(&world, "dataverse", "client_secret").trim_matches('"'));
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
    let config = changed(&world, &literal, "{ file = \"open-secret\" }");
    let ended = world.until_idle(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    let warnings = ended.stderr.matches("chmod 600").count();
    assert!(warnings == 1 && ended.stderr.contains("dataverse.client_secret"), "{}", ended.stderr);
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(!world.until_idle(&config).await.stderr.contains("chmod 600"));
}

#[tokio::test]
async fn unknown_keys_are_all_reported_with_path_and_line() {
    let world = populated().await;
    let text = format!("{}{CONTACT_TABLE}", world.head())
        .replace("poll_seconds = 1", "pol_seconds = 1")
        .replace("sqlite =", "sqlight =");
    let config = world.write("connector.toml", &text);
    refused(&world, &config, 2, &["dataverse.pol_seconds", "store.sqlight", "(line "]).await;
}

#[tokio::test]
async fn a_section_of_a_later_version() {
    let world = populated().await;
    let text = format!("{}{CONTACT_TABLE}\n[events]\nsends = true\n", world.head());
    refused(&world, &world.write("connector.toml", &text), 2, &["events.source", "journal"]).await;
    let off =
        format!("{}{CONTACT_TABLE}\n[events]\nsends = false\n[opt_out]\ndirection = \"disabled\"\n", world.head());
    assert_eq!(world.until_idle(&world.write("connector.toml", &off)).await.code(), Some(0));
}

/// A store that cannot be used is left byte by byte as it is.
async fn unusable_store(world: &World, words: &[&str]) {
    let before = std::fs::read(world.store()).unwrap();
    let config = world.config().display().to_string();
    let ended = program(&["run", "--until-idle", "--config", &config]).await;
    said(&ended, 2, words);
    assert!(before == std::fs::read(world.store()).unwrap(), "the store was changed");
    assert!(world.records("campaign", "profile").await.is_empty(), "something was written to Campaign");
}

#[tokio::test]
async fn a_store_of_a_newer_version() {
    let world = World::new(5).await;
    let connection = rusqlite::Connection::open(world.store()).unwrap();
    connection
        .execute_batch("PRAGMA application_id = 0x53594E43; PRAGMA user_version = 9999; CREATE TABLE t(x);")
        .unwrap();
    drop(connection);
    unusable_store(&world, &["store.sqlite", "sync.db", "newer"]).await;
}

#[tokio::test]
async fn a_file_that_is_no_store() {
    let world = World::new(5).await;
    world.write("sync.db", &"this is not a database. ".repeat(1000));
    unusable_store(&world, &["store.sqlite", "sync.db"]).await;
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
    said(&ended, 1, &["full", "store.sqlite", "sync.db", "store.max_pages"]);
    // The page that did not fit was not taken: nothing of it was written.
    assert!(world.records("campaign", "profile").await.is_empty());
    // With room again the same store goes on.
    assert_eq!(world.until_idle(&world.config()).await.code(), Some(0));
    world.assert_equal().await;
}

#[tokio::test]
async fn a_disk_that_fills_up_under_a_store_in_use() {
    let world = World::new(300).await;
    assert_eq!(world.until_idle(&world.config()).await.code(), Some(0));
    let pages: u32 = {
        let connection = rusqlite::Connection::open(world.store()).unwrap();
        connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap()
    };
    world.mutate(2000, 100, 50, 3).await;
    let rows = world.records("campaign", "profile").await;
    let held = |world: &World| {
        let kept = ["entry:", "idx:", "checkpoint:", "dead:", "verification:"];
        let content = world.store_content();
        content.into_iter().filter(|row| kept.iter().any(|table| row.starts_with(table))).collect::<Vec<_>>()
    };
    let before = held(&world);
    let text = format!("{}max_pages = {}\n{CONTACT_TABLE}", world.head(), pages.max(16));
    let config = world.write("full.toml", &text).display().to_string();
    let ended = program(&["run", "--until-idle", "--config", &config]).await;
    said(&ended, 1, &["full", "store.sqlite", "sync.db", "store.max_pages"]);
    assert!(rows == world.records("campaign", "profile").await, "something was written without being noted");
    assert!(before == held(&world), "the store holds something else");
    assert_eq!(world.until_idle(&world.config()).await.code(), Some(0));
    world.assert_equal().await;
}

#[tokio::test]
async fn an_attribute_that_is_no_identification_key() {
    let scenario = "[[campaign.resources]]\nname = \"profile\"\nfields = [ { name = \"cusCrm\", length = 100 } ]\n";
    let scenario = sandbox::scenario::Scenario::parse(scenario).unwrap();
    let world = World::with(SandboxConfig { contacts: 40, scenario, ..SandboxConfig::default() }).await;
    let config = changed(&world, "key = \"externalId\"", "key = \"cusCrm\"");
    assert_eq!(world.until_idle(&config).await.code(), Some(0));
    let rows = world.records("campaign", "profile").await;
    world.mutate(0, 20, 0, 5).await;
    let ended = program(&["run", "--until-idle", "--config", &config.display().to_string()]).await;
    said(&ended, 1, &["table[0].key", "identification key", "table[0].key_filter"]);
    assert!(rows == world.records("campaign", "profile").await, "rows were doubled");
}

#[tokio::test]
async fn a_permanent_refusal_by_campaign() {
    let world = populated().await;
    let rows = world.records("campaign", "profile").await;
    world
        .faults(json!([{
            "side": "campaign", "fault": "status", "status": 403, "nth": 1, "times": 10_000, "body": {"error_code": "403025", "message": "Profile is not valid"},
        }]))
        .await;
    let config = world.config().display().to_string();
    let ended = program(&["run", "--until-idle", "--config", &config]).await;
    said(&ended, 1, &["Campaign", "product profile"]);
    assert!(rows == world.records("campaign", "profile").await, "something was written");
    world.clear_faults().await;
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

/// At the most talkative level, on the good path and on every bad one: values that cannot be mapped, refusals that quote them,
/// writes of unknown outcome, throttling, a token that is refused.
#[tokio::test]
async fn nothing_of_a_record_and_no_secret_is_logged() {
    let world = World::new(60).await;
    let contacts = world.records("dataverse", "contact").await;
    let columns = ["firstname", "lastname", "emailaddress1", "telephone1", "address1_city"];
    for (number, contact) in contacts.iter().enumerate() {
        let id = contact["contactid"].as_str().unwrap();
        let mut planted = serde_json::Map::new();
        for column in columns {
            planted.insert(column.to_owned(), json!(format!("canary-{column}-{number}")));
        }
        planted["emailaddress1"] = json!(format!("canary.{number}@example.org"));
        planted.insert("statecode".to_owned(), json!(0));
        match number {
            0 => planted["firstname"] = json!(format!("canary-{}", "x".repeat(40))),
            1 => planted["emailaddress1"] = json!("canary-not-an-address"),
            _ => {}
        }
        world.put(&format!("/records/dataverse/contact/{id}"), &json!(planted)).await;
    }
    let echo = json!({"error": "canary-echoed@example.org", "message": "canary-echoed is not valid"});
    world
        .faults(json!([
            {"side": "campaign", "method": "POST", "fault": "reset_after_commit", "nth": 4, "times": 1},
            {"side": "campaign", "method": "POST", "fault": "reset_before", "nth": 8, "times": 1},
            {"side": "campaign", "method": "POST", "fault": "throttle", "nth": 12, "times": 1, "headers": {"retry-after": "1"}},
            {"side": "campaign", "method": "POST", "fault": "status", "status": 400, "body": echo, "nth": 16, "times": 1},
            {"side": "campaign", "method": "POST", "fault": "status", "status": 500, "body": "canary-echoed", "nth": 20, "times": 1},
            {"side": "campaign", "fault": "expire_token", "nth": 24, "times": 1},
        ]))
        .await;
    let config = world.config();
    let mut run = command(&["run", "--until-idle", "--format", "json", "--config", &config.display().to_string()]);
    run.env("RUST_LOG", "trace");
    let ended = ended(run).await;
    assert_eq!(ended.code(), Some(4), "{}", ended.stderr);
    assert_eq!(ended.table("contact")["dead"], 3, "{}", ended.summary());
    let fired = world.fired().await;
    assert!(fired.as_array().unwrap().iter().all(|fault| fault["fired"].as_u64() > Some(0)), "{fired}");
    let listed = program(&["dead-letters", "list", "--config", &config.display().to_string()]).await;
    let said = format!("{}{}{}{}", ended.stdout, ended.stderr, listed.stdout, listed.stderr);
    assert!(said.contains("http") && said.contains("too-long"), "the log is empty");
    if let Some(at) = said.find("canary") {
        let from = said[..at].rfind('\n').map_or(0, |line| line + 1);
        panic!("a value was said: {}", &said[from..(at + 80).min(said.len())]);
    }
    for side in ["dataverse", "campaign"] {
        let secret = world.info()[side]["client_secret"].as_str().unwrap().to_owned();
        assert!(!said.contains(&secret), "the secret of {side} was logged");
    }
}
