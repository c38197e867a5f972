//! TLS with an authority of one's own: what `[tls] ca_file` opens, and that nothing is sent without it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

mod support;

use std::net::SocketAddr;
use std::path::PathBuf;

use http_kit::{Client, Delivery, Error, ErrorKind, Origin, Request, Response, RetryPolicy};
use sandbox::{Sandbox, SandboxConfig};
use support::{CONTACT_TABLE, World, program};

/// A world over https. Its certificate names 127.0.0.1 and not 127.0.0.2, where Campaign answers when asked to.
async fn world(campaign: &str) -> World {
    let dir = tempfile::tempdir().unwrap();
    let campaign: SocketAddr = campaign.parse().unwrap();
    let tls = Some(dir.path().to_owned());
    let config = SandboxConfig { contacts: 20, campaign, tls, ..SandboxConfig::default() };
    let sandbox = Sandbox::start(config).await.unwrap();
    let pem = std::fs::read(dir.path().join("ca.pem")).unwrap();
    let authority = reqwest::Certificate::from_pem(&pem).unwrap();
    let http = reqwest::Client::builder().tls_certs_merge([authority]).no_proxy().build().unwrap();
    World { sandbox, dir, http }
}

fn trusting(world: &World) -> PathBuf {
    world.write("connector.toml", &format!("{}\n[tls]\nca_file = \"ca.pem\"\n{CONTACT_TABLE}", world.head()))
}

#[tokio::test]
async fn a_run_over_https_with_the_authority_of_the_configuration() {
    let world = world("127.0.0.1:0").await;
    assert!(world.head().contains("https://127.0.0.1") && !world.head().contains("http://"));
    let ended = world.until_idle(&trusting(&world)).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    world.assert_equal().await;
    assert!(!world.records("campaign", "profile").await.is_empty());
}

#[tokio::test]
async fn without_the_authority_neither_secret_nor_request_leaves() {
    let world = world("127.0.0.1:0").await;
    let path = world.config().display().to_string();
    let ended = program(&["run", "--until-idle", "--format", "text", "--config", &path]).await;
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
    for word in ["dataverse", "could not be reached", "TLS", "Remedy:"] {
        assert!(ended.stderr.contains(word), "{word:?} is not in: {}", ended.stderr);
    }
    let counters = world.counters().await;
    assert_eq!(support::total(&counters, "dataverse", ""), 0, "{counters}");
    assert!(!world.store().exists());
}

#[tokio::test]
async fn a_certificate_of_another_host_is_refused() {
    let world = world("127.0.0.2:0").await;
    let path = trusting(&world).display().to_string();
    let ended = program(&["run", "--until-idle", "--format", "text", "--config", &path]).await;
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("campaign") && ended.stderr.contains("Remedy:"), "{}", ended.stderr);
    let counters = world.counters().await;
    assert_eq!(support::total(&counters, "campaign", ""), 0, "{counters}");
}

#[tokio::test]
async fn a_ca_file_that_is_missing_is_a_matter_of_configuration() {
    let world = world("127.0.0.1:0").await;
    let text = format!("{}\n[tls]\nca_file = \"no-such.pem\"\n{CONTACT_TABLE}", world.head());
    let path = world.write("connector.toml", &text).display().to_string();
    let ended = program(&["run", "--until-idle", "--format", "text", "--config", &path]).await;
    assert_eq!(ended.code(), Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("tls.ca_file") && ended.stderr.contains("no-such.pem"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_refused_certificate_means_that_nothing_was_sent() {
    let world = world("127.0.0.2:0").await;
    let pem = std::fs::read(world.path("ca.pem")).unwrap();
    let url = |side: &str| world.info()[side]["url"].as_str().unwrap().trim_end_matches("/acme").to_owned();
    let send = async |base: &str, pem: Option<&[u8]>| -> Result<Response, Error> {
        let origin = Origin::parse(base)?;
        let target = origin.join("api/data/v9.2/WhoAmI")?;
        let mut builder = Client::builder(origin).retry(RetryPolicy::never());
        if let Some(pem) = pem {
            builder = builder.extra_roots_pem(pem);
        }
        builder.build()?.send(Request::post(target, "POST /")).await
    };
    let trusted = send(&url("dataverse"), Some(&pem)).await.unwrap();
    assert!(trusted.status.is_client_error(), "{}", trusted.status);
    for (side, pem) in [("dataverse", None), ("campaign", None), ("campaign", Some(&*pem))] {
        let error = send(&url(side), pem).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Connect, Delivery::NotSent), "{side}");
    }
}
