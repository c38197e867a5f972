//! Proxies of the environment. The environment of a process is fixed at its start, so that the client runs in a second one.
#![expect(clippy::unwrap_used, reason = "a test without its set-up has failed")]

use std::sync::{Arc, Mutex};

use http_kit::{Client, Delivery, ErrorKind, Origin, Request, RetryPolicy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;

/// Tells the second process where the server on this machine is.
const LOOPBACK: &str = "HTTP_KIT_TEST_LOOPBACK";

/// Answers every request with `answer`, and writes down the first line of each.
async fn listener(answer: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
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
            let first = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
            seen.lock().unwrap().push(first);
            // The client may have hung up.
            let _sent = socket.write_all(answer.as_bytes()).await;
        }
    });
    (base, lines)
}

#[tokio::test]
async fn proxies_come_from_the_environment_and_never_for_this_machine() {
    let (proxy, connects) = listener("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").await;
    let (local, direct) = listener("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    let mut client = Command::new(std::env::current_exe().unwrap());
    client.args(["--exact", "the_client_behind_the_proxy", "--ignored", "--nocapture"]);
    for name in ["ALL_PROXY", "all_proxy", "http_proxy", "https_proxy", "no_proxy", "REQUEST_METHOD"] {
        client.env_remove(name);
    }
    client.env("HTTPS_PROXY", &proxy).env("HTTP_PROXY", &proxy).env("NO_PROXY", "direct.invalid").env(LOOPBACK, &local);
    let ended = client.kill_on_drop(true).output().await.unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
    assert_eq!(*connects.lock().unwrap(), ["CONNECT org.example.com:443 HTTP/1.1"]);
    assert_eq!(*direct.lock().unwrap(), ["GET / HTTP/1.1"]);
}

#[tokio::test]
#[ignore = "runs in the process that the other test starts"]
async fn the_client_behind_the_proxy() {
    let send = async |base: &str| {
        let origin = Origin::parse(base).unwrap();
        let url = origin.join("").unwrap();
        let client = Client::builder(origin).retry(RetryPolicy::never()).build().unwrap();
        client.send(Request::get(url, "GET /")).await
    };
    // The proxy refuses; the other host is asked directly, and no such name exists.
    for base in ["https://org.example.com", "https://direct.invalid"] {
        let error = send(base).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Connect, Delivery::NotSent), "{base}");
    }
    assert_eq!(send(&std::env::var(LOOPBACK).unwrap()).await.unwrap().status.as_u16(), 200);
}
