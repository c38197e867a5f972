//! What `consent` tells of the ledger, and what it notes there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

mod support;

use std::path::Path;

use serde_json::json;
use support::{Ended, World, program};

const ID: &str = "8c1f0c52-0000-4000-8000-0000000000a1";

async fn consent(config: &Path, arguments: &[&str]) -> Ended {
    let config = config.display().to_string();
    let mut all = vec!["consent", arguments[0], "--format", "json", "--config", &config];
    all.extend(&arguments[1..]);
    program(&all).await
}

#[tokio::test]
async fn the_ledger_is_asked_verified_and_told_of_erased_persons() {
    let world = World::new(0).await;
    let text = format!(
        "{}[opt_out]\ndirection = \"bidirectional\"\n\
         source = {{ filter = {{ name = \"byLastModified\", parameter = \"lastModified_parameter\" }} }}\n\
         pairs = [ {{ d365 = \"donotphone\", campaign = \"denyListPhone\" }} ]\n\
         [[table]]\ntable = \"contact\"\nresource = \"profile\"\nkey = \"externalId\"\n\
         fields = [ {{ from = \"lastname\", to = \"lastName\" }} ]\n",
        world.head()
    );
    let config = world.write("consent.toml", &text);
    let none = consent(&config, &["verify"]).await;
    assert_ne!(none.code(), Some(0), "there is no ledger yet: {}", none.stdout);
    world.put(&format!("/records/dataverse/contact/{ID}"), &json!({"lastname": "King", "donotphone": true})).await;
    for _ in 0..2 {
        assert_eq!(world.until_idle(&config).await.code(), Some(0));
    }

    let verified = consent(&config, &["verify"]).await;
    assert_eq!(verified.code(), Some(0), "{}", verified.stderr);
    assert!(verified.summary()["entries"].as_u64() > Some(0));
    let may = async |channel: &str| {
        let ended = consent(&config, &["may-contact", "--id", ID, "--channel", channel]).await;
        assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
        ended.summary().clone()
    };
    assert_eq!(may("email").await["allowed"], true);
    let phone = may("phone").await;
    assert_eq!(phone["allowed"], false);
    assert!(phone["ground"].as_str().unwrap().contains("opted out (blackListPhone)"), "{phone}");

    assert_eq!(consent(&config, &["erase", "--id", ID]).await.summary()["erased"], true);
    let erased = may("email").await;
    assert_eq!((&erased["allowed"], &erased["ground"]), (&json!(false), &json!("closed: the person was erased")));
    assert_eq!(consent(&config, &["unerase", "--id", ID]).await.summary()["erased"], false);
    let unknown = may("email").await;
    assert!(unknown["ground"].as_str().unwrap().contains("never read"), "{unknown}");
    assert_ne!(consent(&config, &["erase", "--id", "King"]).await.code(), Some(0), "no id");
    assert_eq!(consent(&config, &["verify"]).await.code(), Some(0));
}

/// Somebody changed a row of the file by hand.
#[tokio::test]
async fn a_ledger_that_is_not_what_was_written_is_told_with_a_code() {
    let world = World::new(3).await;
    let text = format!(
        "{}[opt_out]\ndirection = \"d365_to_campaign\"\n\
         pairs = [ {{ d365 = \"donotphone\", campaign = \"denyListPhone\" }} ]\n\
         [[table]]\ntable = \"contact\"\nresource = \"profile\"\nkey = \"externalId\"\n\
         fields = [ {{ from = \"lastname\", to = \"lastName\" }} ]\n",
        world.head()
    );
    let config = world.write("consent.toml", &text);
    assert_eq!(world.until_idle(&config).await.code(), Some(0));
    assert_eq!(consent(&config, &["verify"]).await.code(), Some(0));
    let mut ledger = world.store().into_os_string();
    ledger.push(".consent");
    let file = rusqlite::Connection::open(&ledger).unwrap();
    assert_eq!(file.execute("DELETE FROM entry WHERE seq = (SELECT min(seq) FROM entry)", []).unwrap(), 1);
    drop(file);
    let broken = consent(&config, &["verify"]).await;
    assert_eq!(broken.code(), Some(1), "{}", broken.stdout);
    assert!(broken.stderr.contains("is not what was written"), "{}", broken.stderr);
}
