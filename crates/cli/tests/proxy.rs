//! Proxies of the environment, which is fixed at the start of a process: the program is started behind one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

mod support;

use std::path::Path;
use std::sync::{Arc, Mutex};

use support::{Ended, World, command};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A proxy that refuses everything and writes down what it was asked for.
async fn refusing_proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = lines.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = Vec::new();
            let mut buffer = [0; 1_024];
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                match socket.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(count) => head.extend_from_slice(&buffer[..count]),
                }
            }
            seen.lock().unwrap().push(String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned());
            // The client may have hung up.
            let _ = socket.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    (base, lines)
}

async fn behind(proxy: &str, unproxied: &str, arguments: &[&str], config: &Path) -> Ended {
    let mut command = command(arguments);
    command.arg("--config").arg(config);
    for name in ["ALL_PROXY", "all_proxy", "http_proxy", "https_proxy", "no_proxy", "REQUEST_METHOD"] {
        command.env_remove(name);
    }
    command.env("HTTPS_PROXY", proxy).env("HTTP_PROXY", proxy).env("NO_PROXY", unproxied);
    Ended::of(command.output().await.unwrap())
}

#[tokio::test]
async fn the_services_are_reached_through_the_proxy_but_for_those_that_are_named() {
    let (proxy, asked) = refusing_proxy().await;
    let world = World::new(0).await;
    let text = r#"
[dataverse]
url = "https://org.example.com"
tenant = "contoso.example"
authority = "https://login.example.com"
client_id = "app"
client_secret = { plain = "secret" }
[campaign]
url = "https://campaign.invalid/acme"
ims_url = "https://ims.invalid"
client_id = "app"
client_secret = { plain = "secret" }
org_id = "A@AdobeOrg"
[store]
sqlite = "sync.db"
"#;
    let config = world.write("connector.toml", &format!("{text}{}", support::CONTACT_TABLE));
    let ended = behind(&proxy, "ims.invalid,campaign.invalid", &["run", "--until-idle"], &config).await;
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
    let asked = asked.lock().unwrap().clone();
    assert!(
        !asked.is_empty() && asked.iter().all(|line| line == "CONNECT login.example.com:443 HTTP/1.1"),
        "{asked:?}"
    );
}

#[tokio::test]
async fn what_is_on_this_machine_is_never_reached_through_a_proxy() {
    let (proxy, asked) = refusing_proxy().await;
    let world = World::new(10).await;
    let ended = behind(&proxy, "", &["run", "--until-idle"], &world.config()).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert_eq!(*asked.lock().unwrap(), Vec::<String>::new());
    world.assert_equal().await;
}
