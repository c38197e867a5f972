//! The network transport against real sockets on loopback: limits, redirects, broken connections.
#![expect(clippy::unwrap_used, reason = "a test without its set-up has failed")]

use std::time::Duration;

use http_kit::{Client, Delivery, ErrorKind, Limits, Origin, Request, RetryPolicy, Url};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A server that answers each connection's first request with these bytes and closes.
async fn server(answer: Vec<u8>) -> (String, JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let mut served = 0;
        while let Ok((mut socket, _)) = listener.accept().await {
            served += 1;
            let mut request = Vec::new();
            let mut buffer = [0; 4_096];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                match socket.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(count) => request.extend_from_slice(&buffer[..count]),
                }
            }
            if request.starts_with(b"GET /stop") {
                return served;
            }
            // The client may hang up in the middle: that is one of the cases.
            if socket.write_all(&answer).await.is_ok() {
                let _closed = socket.shutdown().await;
            }
        }
        served
    });
    (base, task)
}

fn client(base: &str) -> Client {
    let limits = Limits { body: 64 * 1024, error_body: 1_024 };
    Client::builder(Origin::parse(base).unwrap()).limits(limits).retry(RetryPolicy::never()).build().unwrap()
}

fn request(base: &str) -> Request {
    Request::get(Url::parse(base).unwrap(), "GET /")
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {head}\r\nconnection: close\r\n\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Gzip of `count` zero bytes, made of one stored block per 65,535 bytes would be no bomb; this one is
/// a hand-made stream of a fixed Huffman block with long matches: about 1,000 times smaller.
fn bomb(count: usize) -> Vec<u8> {
    let mut bits = Vec::new();
    // Final block, fixed codes.
    bits.extend([true, true, false]);
    // The literal 0: code 0x30, 8 bits.
    let literal = |bits: &mut Vec<bool>| bits.extend((0..8).rev().map(|bit| 0x30 >> bit & 1 == 1));
    literal(&mut bits);
    let mut made = 1;
    while made + 258 <= count {
        // Length 258: symbol 285, code 0b11000101; distance 1: symbol 0, 5 bits.
        bits.extend((0..8).rev().map(|bit| 0b1100_0101 >> bit & 1 == 1));
        bits.extend([false; 5]);
        made += 258;
    }
    // End of block: 7 zero bits.
    bits.extend([false; 7]);
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    for chunk in bits.chunks(8) {
        bytes.push(chunk.iter().enumerate().fold(0, |byte, (at, bit)| byte | u8::from(*bit) << at));
    }
    // The checksum is wrong; whoever gets that far has read the whole bomb.
    bytes.extend([0; 8]);
    bytes
}

#[tokio::test]
async fn a_gzip_bomb_is_cut_off_at_the_limit() {
    let bomb = bomb(20 << 20);
    assert!(bomb.len() < 200_000);
    let (base, _server) = server(answer("200 OK\r\ncontent-encoding: gzip", &bomb)).await;
    let error = client(&base).send(request(&base)).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::BodyTooLarge, Delivery::MaybeApplied));
    assert_eq!(error.status().unwrap().as_u16(), 200);
}

#[tokio::test]
async fn bodies_are_limited_announced_or_not() {
    for (head, size, fits) in [
        ("200 OK", 64 * 1024, true),
        ("200 OK", 64 * 1024 + 1, false),
        ("200 OK\r\ncontent-length: 70000", 70_000, false),
        ("400 Bad Request", 1_024, true),
    ] {
        let (base, _server) = server(answer(head, &vec![b'x'; size])).await;
        let result = client(&base).send(request(&base)).await;
        match result {
            Ok(response) => assert!(fits && response.body.len() == size, "{head} {size}"),
            Err(error) => assert!(!fits && error.kind() == ErrorKind::BodyTooLarge, "{head} {size} {error}"),
        }
    }
}

#[tokio::test]
async fn a_refusal_keeps_its_status_also_without_its_body() {
    for (head, body) in [
        ("401 Unauthorized", vec![b'x'; 1_025]),
        ("429 Too Many Requests\r\nretry-after: 7\r\ncontent-length: 100", b"half".to_vec()),
        ("404 Not Found\r\ncontent-encoding: gzip", b"no gzip".to_vec()),
    ] {
        let (base, _server) = server(answer(head, &body)).await;
        match client(&base).send(request(&base)).await {
            Ok(response) => {
                assert!(head.starts_with(response.status.as_str()), "{head}");
                assert!(response.body.is_empty(), "{head}");
            }
            Err(error) => {
                assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Throttled, Some(Duration::from_secs(7))));
                assert!(head.starts_with("429"), "{head}");
            }
        }
    }
}

#[tokio::test]
async fn redirects_are_answers_and_nobody_follows_them() {
    let (target, served) = server(answer("200 OK", b"")).await;
    for status in [301, 302, 303, 307, 308] {
        let (base, _server) = server(answer(&format!("{status} Moved\r\nlocation: {target}/here"), b"")).await;
        let response = client(&base).send(request(&base)).await.unwrap();
        assert_eq!(response.status.as_u16(), status);
    }
    let stopped = client(&target).send(request(&format!("{target}/stop"))).await.unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::Transport);
    assert_eq!(served.await.unwrap(), 1, "only the request that stops the server came");
}

#[tokio::test]
async fn a_connection_that_breaks_may_have_applied_the_request() {
    for bytes in [Vec::new(), answer("200 OK\r\ncontent-length: 100", b"half")] {
        let (base, _server) = server(bytes).await;
        let error = client(&base).send(request(&base)).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Transport, Delivery::MaybeApplied));
    }
}

#[tokio::test]
async fn nobody_at_the_door_means_not_sent() {
    // Held without listening: nobody else is given the port while the test runs.
    let port = tokio::net::TcpSocket::new_v4().unwrap();
    port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let base = format!("http://{}", port.local_addr().unwrap());
    let error = client(&base).send(request(&base)).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Connect, Delivery::NotSent));
}

#[tokio::test]
async fn silence_ends_with_a_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let _server = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        std::future::pending::<()>().await;
        drop(socket);
    });
    let error = client(&base).send(request(&base).time_limit(Duration::from_millis(50))).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::MaybeApplied));
}

#[tokio::test]
async fn one_connection_serves_many_requests_and_headers_arrive() {
    let mut server = mockito::Server::new_async().await;
    let mock = server
        .mock("POST", "/api/things")
        .match_header("x-test", "yes")
        .match_header("content-type", "application/json")
        .match_header("accept-encoding", "gzip")
        .match_body("{\"a\":1}")
        .with_status(201)
        .with_header("x-ms-service-request-id", "11111111-2222-3333-4444-555555555555")
        .with_body("made")
        .expect(3)
        .create_async()
        .await;
    let origin = Origin::parse(&format!("{}/api", server.url())).unwrap();
    let url = origin.join("things").unwrap();
    let client = Client::builder(origin).header("x-test".parse().unwrap(), "yes".parse().unwrap()).build().unwrap();
    for _ in 0..3 {
        let response = client.send(Request::post(url.clone(), "POST /things").json("{\"a\":1}")).await.unwrap();
        assert_eq!((response.status.as_u16(), &*response.body), (201, &b"made"[..]));
        assert_eq!(response.request_id(), Some("11111111-2222-3333-4444-555555555555"));
    }
    mock.assert_async().await;
    assert_eq!(client.stats().sent, 3);
}

#[test]
fn certificates_that_are_none_are_a_configuration_error() {
    let origin = Origin::parse("https://org.example.com").unwrap();
    for pem in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let error = Client::builder(origin.clone()).extra_roots_pem(pem).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{pem}");
    }
}
