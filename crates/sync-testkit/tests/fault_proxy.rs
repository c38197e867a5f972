//! What each fault of the proxy looks like from both ends.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sync_testkit::fault_proxy::{Fault, FaultProxy, Rule};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Answers each line with the same line, and counts them.
struct Echo {
    proxy: FaultProxy,
    lines: Arc<AtomicU64>,
}

impl Echo {
    async fn behind(rules: impl IntoIterator<Item = Rule>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = FaultProxy::start().await.unwrap();
        proxy.forward_to(listener.local_addr().unwrap());
        proxy.script(rules);
        let lines: Arc<AtomicU64> = Arc::default();
        let counted = lines.clone();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let counted = counted.clone();
                tokio::spawn(async move {
                    let (mut buffer, mut line) = ([0; 64], Vec::new());
                    while let Ok(read @ 1..) = socket.read(&mut buffer).await {
                        line.extend_from_slice(&buffer[..read]);
                        if line.ends_with(b"\n") {
                            counted.fetch_add(1, Ordering::SeqCst);
                            socket.write_all(&line).await.unwrap();
                            line.clear();
                        }
                    }
                });
            }
        });
        Self { proxy, lines }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.proxy.address()).await.unwrap()
    }

    fn served(&self) -> u64 {
        self.lines.load(Ordering::SeqCst)
    }
}

async fn say(stream: &mut TcpStream, line: &str) {
    stream.write_all(line.as_bytes()).await.unwrap();
}

/// What arrives until the end of the stream, and how it ended.
async fn rest(stream: &mut TcpStream) -> (String, Option<ErrorKind>) {
    let (mut all, mut buffer) = (Vec::new(), [0; 64]);
    let end = loop {
        match stream.read(&mut buffer).await {
            Ok(0) => break None,
            Ok(read) => all.extend_from_slice(&buffer[..read]),
            Err(error) => break Some(error.kind()),
        }
    };
    (String::from_utf8(all).unwrap(), end)
}

async fn echoes(stream: &mut TcpStream, line: &str) {
    say(stream, line).await;
    let mut answer = vec![0; line.len()];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, line.as_bytes());
}

#[tokio::test]
async fn without_a_rule_everything_passes() {
    let echo = Echo::behind([]).await;
    let mut stream = echo.connect().await;
    for _ in 0..3 {
        echoes(&mut stream, "hello\n").await;
    }
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await, (String::new(), None));
    assert_eq!((echo.proxy.exchanges(), echo.served()), (3, 3));
}

#[tokio::test]
async fn a_rule_picks_by_the_beginning_and_spares_and_stops() {
    let echo = Echo::behind([Rule::new("b", Fault::ResetOnAnswer).after(1).times(1)]).await;
    for (line, breaks) in [("a\n", false), ("b\n", false), ("a\n", false), ("b\n", true), ("b\n", false)] {
        let mut stream = echo.connect().await;
        if breaks {
            say(&mut stream, line).await;
            assert_eq!(rest(&mut stream).await, (String::new(), Some(ErrorKind::ConnectionReset)));
        } else {
            echoes(&mut stream, line).await;
        }
    }
    assert_eq!((echo.proxy.fired(), echo.served()), (vec![1], 5));
}

#[tokio::test]
async fn an_answer_is_cut_where_the_script_says() {
    let echo = Echo::behind([Rule::new("1", Fault::ResetWithin(3)), Rule::new("2", Fault::Truncate(4))]).await;
    let mut stream = echo.connect().await;
    say(&mut stream, "1 hello\n").await;
    assert_eq!(rest(&mut stream).await, ("1 h".to_owned(), Some(ErrorKind::ConnectionReset)));
    let mut stream = echo.connect().await;
    say(&mut stream, "2 hello\n").await;
    assert_eq!(rest(&mut stream).await, ("2 he".to_owned(), None));
    assert_eq!((echo.proxy.fired(), echo.served()), (vec![1, 1], 2));
}

#[tokio::test]
async fn a_cut_that_lies_behind_the_answer_is_none() {
    let echo = Echo::behind([Rule::new("", Fault::Truncate(100))]).await;
    let mut stream = echo.connect().await;
    echoes(&mut stream, "hello\n").await;
    assert_eq!(echo.proxy.fired(), [0]);
}

#[tokio::test]
async fn the_server_never_sees_a_request_that_is_cut() {
    let echo = Echo::behind([Rule::new("", Fault::CutRequest(3))]).await;
    let mut stream = echo.connect().await;
    say(&mut stream, "hello\n").await;
    assert_eq!(rest(&mut stream).await, (String::new(), Some(ErrorKind::ConnectionReset)));
    assert_eq!((echo.proxy.fired(), echo.served()), (vec![1], 0));
}

#[tokio::test]
async fn a_late_request_arrives_after_its_client_gave_up() {
    let echo = Echo::behind([Rule::new("", Fault::Late(Duration::from_millis(100)))]).await;
    let mut stream = echo.connect().await;
    say(&mut stream, "hel").await;
    say(&mut stream, "lo\n").await;
    assert_eq!(rest(&mut stream).await, (String::new(), Some(ErrorKind::ConnectionReset)));
    assert_eq!((echo.proxy.fired(), echo.served()), (vec![1], 0));
    let mut stream = echo.connect().await;
    echoes(&mut stream, "hello\n").await;
    while echo.served() < 2 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn half_closed_the_client_gets_an_end_and_can_still_send() {
    let echo = Echo::behind([Rule::new("", Fault::HalfClose)]).await;
    let mut stream = echo.connect().await;
    say(&mut stream, "hello\n").await;
    assert_eq!(rest(&mut stream).await, (String::new(), None));
    say(&mut stream, "more\n").await;
    assert_eq!((echo.proxy.fired(), echo.served()), (vec![1], 1));
}

#[tokio::test]
async fn a_dripping_answer_arrives_byte_by_byte() {
    let echo = Echo::behind([Rule::new("", Fault::Drip(4, Duration::from_millis(20)))]).await;
    let mut stream = echo.connect().await;
    say(&mut stream, "hello\n").await;
    let (mut pieces, mut buffer) = (Vec::new(), [0; 64]);
    while pieces.iter().sum::<usize>() < 6 {
        pieces.push(stream.read(&mut buffer).await.unwrap());
    }
    assert!(pieces.len() > 1 && pieces[0] == 1, "{pieces:?}");
    assert_eq!(echo.proxy.fired(), [1]);
    echoes(&mut stream, "again\n").await;
}

#[tokio::test]
async fn silence_keeps_the_connection_open_and_says_nothing() {
    let echo = Echo::behind([Rule::new("", Fault::Silence)]).await;
    let mut stream = echo.connect().await;
    say(&mut stream, "hello\n").await;
    while echo.proxy.fired() != [1] {
        tokio::task::yield_now().await;
    }
    assert_eq!(stream.try_read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(echo.served(), 1);
}

#[tokio::test]
async fn a_connection_is_reset_only_when_it_is_used_again() {
    let echo = Echo::behind([Rule::new("", Fault::ResetAtReuse)]).await;
    let mut stream = echo.connect().await;
    echoes(&mut stream, "hello\n").await;
    say(&mut stream, "again\n").await;
    assert_eq!(rest(&mut stream).await, (String::new(), Some(ErrorKind::ConnectionReset)));
    assert_eq!((echo.proxy.fired(), echo.served()), (vec![1], 1));
}

#[tokio::test]
async fn shut_it_resets_and_refuses_and_keeps_its_port() {
    let echo = Echo::behind([]).await;
    let mut stream = echo.connect().await;
    echoes(&mut stream, "hello\n").await;
    echo.proxy.shut().await;
    assert_eq!(rest(&mut stream).await, (String::new(), Some(ErrorKind::ConnectionReset)));
    let address = echo.proxy.address();
    assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(TcpListener::bind(address).await.unwrap_err().kind(), ErrorKind::AddrInUse);
    echo.proxy.open().unwrap();
    echoes(&mut echo.connect().await, "hello\n").await;
}
