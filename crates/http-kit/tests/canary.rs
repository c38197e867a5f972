//! Planted secrets and values never show in traces, errors or debug texts, whatever goes wrong.
#![expect(clippy::unwrap_used, reason = "a test without its set-up has failed")]

use std::io;
use std::sync::{Arc, Mutex};

use http_kit::testing::{ScriptedTransport, response};
use http_kit::{
    AccessToken, Client, ClientCredentials, Delivery, Error, HeaderValue, Origin, Request, RetryPolicy, SecretString,
    StaticToken, TokenCache, TransportError, TransportErrorKind, Url, redact,
};
use timing::{FixedEntropy, ManualClock};

/// Planted as secret, token, header, body, query value, path value, and in what servers send back.
const CANARIES: [&str; 8] = [
    "CANARYsecret1",
    "CANARYtoken2",
    "CANARYheader3",
    "CANARYbody4",
    "CANARYquery5",
    "CANARYpath6",
    "CANARYanswer7",
    "CANARYanswerheader8",
];

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn tell(error: &Error) -> String {
    let mut text = format!("{error} {error:?} {error:#?} {}", error.remedy());
    let mut source = std::error::Error::source(error);
    while let Some(next) = source {
        text.push_str(&format!(" {next} {next:?}"));
        source = next.source();
    }
    text
}

fn clean(text: &str) {
    for canary in CANARIES {
        assert!(!text.contains(canary), "{canary} shows in: {text}");
    }
}

fn request(base: &str) -> Request {
    let url = Url::parse(&format!("{base}/CANARYpath6?$filter=CANARYquery5")).unwrap();
    Request::post(url, "POST /things({key})")
        .header("x-value".parse().unwrap(), HeaderValue::from_static("CANARYheader3"))
        .json("CANARYbody4")
}

fn identity(transport: &ScriptedTransport, clock: &ManualClock) -> TokenCache {
    let client = Client::builder(Origin::parse("https://login.example.com").unwrap())
        .transport(Arc::new(transport.clone()))
        .clock(clock.shared())
        .entropy(FixedEntropy::shared(0.5))
        .build()
        .unwrap();
    let url = Url::parse("https://login.example.com/CANARYpath6/token").unwrap();
    let source = ClientCredentials::new(client, url, "CANARYsecret1", "CANARYsecret1".into(), None).unwrap();
    TokenCache::new(Arc::new(source), clock.shared())
}

/// Every kind of end that the scripted transports can bring about.
async fn walk_through_all_ends() -> String {
    let mut told = String::new();
    let base = "https://org.example.com";
    let token = r#"{"token_type":"Bearer","access_token":"CANARYtoken2","expires_in":3600}"#;
    let headers = [("x-answer", "CANARYanswerheader8"), ("set-cookie", "CANARYanswerheader8"), ("retry-after", "1")];
    let cause = "https://u:CANARYsecret1@org.example.com/CANARYpath6?x=CANARYquery5 Bearer CANARYtoken2";
    for (identity_status, identity_body) in [
        (200, token),
        (401, r#"{"error":"invalid_client","error_description":"AADSTS7000215 CANARYsecret1"}"#),
        (400, r#"{"error":"CANARYsecret1","error_description":"CANARYsecret1"}"#),
        (400, "CANARYsecret1"),
        (200, r#"{"access_token":"CANARYtoken2"}"#),
        (500, "CANARYsecret1"),
        (302, "CANARYsecret1"),
    ] {
        for status in [0, 1, 2, 3, 4, 200, 302, 400, 401, 404, 429, 500, 503] {
            let (provider, service, clock) =
                (ScriptedTransport::new(), ScriptedTransport::new(), ManualClock::auto_advancing());
            provider.handle(move |_| Ok(response(identity_status, &headers, identity_body)));
            service.handle(move |_| {
                let failure = |kind, delivery| Err(TransportError::new(kind, delivery, cause));
                match status {
                    0 => failure(TransportErrorKind::Connect, Delivery::NotSent),
                    1 => failure(TransportErrorKind::Timeout, Delivery::MaybeApplied),
                    2 => failure(TransportErrorKind::Broken, Delivery::MaybeApplied),
                    3 => failure(TransportErrorKind::BodyTooLarge, Delivery::MaybeApplied),
                    4 => failure(TransportErrorKind::Request, Delivery::NotSent),
                    _ => Ok(response(status, &headers, "CANARYanswer7")),
                }
            });
            let client = Client::builder(Origin::parse(base).unwrap())
                .transport(Arc::new(service.clone()))
                .clock(clock.shared())
                .authenticator(Arc::new(identity(&provider, &clock)))
                .build()
                .unwrap();
            match client.send(request(base)).await {
                Ok(response) => told.push_str(&format!("{response:?}")),
                Err(error) => told.push_str(&tell(&error)),
            }
            let foreign = client.send(request("https://foreign.example")).await.unwrap_err();
            told.push_str(&tell(&foreign));
            told.push_str(&format!("{client:?} {:?} {:?}", service.requests(), provider.requests()));
        }
    }
    told
}

/// The ends that need a socket: the crates below us log too.
async fn walk_over_the_network() -> String {
    let mut server = mockito::Server::new_async().await;
    let answer = |status| {
        move |mock: mockito::Mock| {
            mock.with_status(status).with_header("x-answer", "CANARYanswerheader8").with_body("CANARYanswer7")
        }
    };
    let _mock = answer(500)(server.mock("POST", mockito::Matcher::Any)).create_async().await;
    let base = server.url();
    let token = StaticToken::new(&SecretString::from("CANARYtoken2")).unwrap();
    let mut told = format!("{token:?}");
    let client = Client::builder(Origin::parse(&base).unwrap())
        .authenticator(Arc::new(token))
        .retry(RetryPolicy::never())
        .build()
        .unwrap();
    let response = client.send(request(&base)).await.unwrap();
    assert_eq!(response.status.as_u16(), 500);
    told.push_str(&format!("{response:?} {:?}", request(&base)));
    drop(server);
    let nobody = "http://127.0.0.1:1";
    let client = Client::builder(Origin::parse(nobody).unwrap()).retry(RetryPolicy::never()).build().unwrap();
    told.push_str(&tell(&client.send(request(nobody)).await.unwrap_err()));
    told
}

#[tokio::test]
async fn nothing_planted_shows_anywhere() {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_writer(move || writer.clone())
        .finish();
    // For the whole thread, so that the tasks of the crates below us are heard too.
    let guard = tracing::subscriber::set_default(subscriber);
    let told = walk_through_all_ends().await + &walk_over_the_network().await;
    drop(guard);
    clean(&told);
    let traced = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    for expected in ["http.request", "POST /things({key})", "http.throttled", "http.send", "[redacted]"] {
        assert!(traced.contains(expected), "{expected} is missing");
    }
    clean(&traced);
}

#[test]
fn tokens_hide_in_debug_texts() {
    let token = AccessToken { secret: "CANARYtoken2".into(), expires_in: None };
    clean(&format!("{token:?} {token:#?}"));
}

#[test]
fn foreign_texts_are_scrubbed_and_cut() {
    let scrubbed = redact::scrub("a\r\nb\u{1b}[31m see https://u:p@h.example/path?q=1 key hunter2", &["hunter2"]);
    assert_eq!(scrubbed, "a b [31m see https://h.example/… key [redacted]");
    assert_eq!(redact::scrub("Bearer abc eyJhbGciOi.x", &[]), "Bearer [redacted] [redacted]");
    assert_eq!(redact::scrub(&"ä ".repeat(10_000), &[]).chars().count(), redact::MAX_TEXT + 1);
}
