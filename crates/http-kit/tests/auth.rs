//! Tokens: one fetch for all, renewal ahead, one replay, refusals that tell enough and no more.
#![expect(clippy::unwrap_used, reason = "a test without its set-up has failed")]

mod setup;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_kit::testing::{ScriptedTransport, response};
use http_kit::{
    AccessToken, Authenticator, Client, ClientCredentials, Delivery, Error, ErrorKind, Origin, SecretString,
    TokenCache, TokenSource, TransportErrorKind, Url,
};
use setup::{builder, get, post};
use timing::{FixedEntropy, ManualClock};

const TOKEN_URL: &str = "https://login.example.com/tenant/oauth2/v2.0/token";
const SECRET: &str = "s3cret~Value.that-is_never-shown";

fn token(name: &str, expires_in: u64) -> String {
    format!(r#"{{"token_type":"Bearer","access_token":"{name}","expires_in":{expires_in}}}"#)
}

fn cache(identity: &ScriptedTransport, clock: &ManualClock) -> Arc<TokenCache> {
    let client = Client::builder(Origin::parse("https://login.example.com").unwrap())
        .transport(Arc::new(identity.clone()))
        .clock(clock.shared())
        .entropy(FixedEntropy::shared(0.5))
        .build()
        .unwrap();
    let url = Url::parse(TOKEN_URL).unwrap();
    let scopes = ["https://org.example.com/.default".to_owned()];
    let source = ClientCredentials::new(client, url, "client-1", SecretString::from(SECRET), scopes).unwrap();
    Arc::new(TokenCache::new(Arc::new(source), clock.shared()))
}

fn bearer(request: &http_kit::TransportRequest) -> &str {
    request.headers["authorization"].to_str().unwrap()
}

#[tokio::test]
async fn the_grant_sends_its_credentials_in_the_body() {
    let (identity, service, clock) = (ScriptedTransport::new(), ScriptedTransport::new(), ManualClock::new());
    identity.respond(200, token("t1", 3_600));
    service.respond(200, "");
    let client = builder(&service, &clock, 1).authenticator(cache(&identity, &clock)).build().unwrap();
    client.send(get("a")).await.unwrap();
    let request = &identity.requests()[0];
    let form: Vec<(String, String)> = Url::parse(&format!("x:?{}", std::str::from_utf8(&request.body).unwrap()))
        .unwrap()
        .query_pairs()
        .into_owned()
        .collect();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    for expected in [
        pair("grant_type", "client_credentials"),
        pair("client_id", "client-1"),
        pair("client_secret", SECRET),
        pair("scope", "https://org.example.com/.default"),
    ] {
        assert!(form.contains(&expected), "{}", expected.0);
    }
    assert!(!request.headers.contains_key("authorization"));
    assert_eq!(bearer(&service.requests()[0]), "Bearer t1");
}

#[tokio::test]
async fn many_tasks_share_one_token_and_one_replay() {
    let (identity, service, clock) =
        (ScriptedTransport::new(), ScriptedTransport::new(), ManualClock::auto_advancing());
    identity.respond(200, token("old", 3_600)).respond(200, token("new", 3_600));
    service.handle(|request| {
        let good = bearer(request) == "Bearer new";
        Ok(response(if good { 200 } else { 401 }, &[], ""))
    });
    let client = builder(&service, &clock, 4).authenticator(cache(&identity, &clock)).build().unwrap();
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.send(post("things")).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap().status.as_u16(), 200);
    }
    assert_eq!(identity.count(), 2);
}

#[tokio::test]
async fn a_second_401_is_an_answer() {
    let (identity, service, clock) =
        (ScriptedTransport::new(), ScriptedTransport::new(), ManualClock::auto_advancing());
    identity.handle(|_| Ok(response(200, &[], token("t", 3_600))));
    service.handle(|_| Ok(response(401, &[], "")));
    let client = builder(&service, &clock, 1).authenticator(cache(&identity, &clock)).build().unwrap();
    let answer = client.send(post("things")).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.attempts), (401, 2));
    assert_eq!((identity.count(), client.stats().replayed_auth), (2, 1));
}

#[tokio::test]
async fn a_token_is_renewed_ahead_and_used_to_its_end_if_that_fails() {
    let (identity, service, clock) = (ScriptedTransport::new(), ScriptedTransport::new(), ManualClock::new());
    service.handle(|_| Ok(response(200, &[], "")));
    identity.respond(200, token("t1", 3_600));
    let client = builder(&service, &clock, 1).authenticator(cache(&identity, &clock)).build().unwrap();
    client.send(get("a")).await.unwrap();
    clock.advance(Duration::from_secs(3_299));
    client.send(get("a")).await.unwrap();
    assert_eq!(identity.count(), 1);

    clock.advance(Duration::from_secs(1));
    identity.respond(400, r#"{"error":"temporarily_odd"}"#);
    client.send(get("a")).await.unwrap();
    settle().await;
    client.send(get("a")).await.unwrap();
    settle().await;
    assert_eq!(identity.count(), 2, "no second try within the pause");

    clock.advance(Duration::from_secs(30));
    identity.respond(200, token("t2", 3_600));
    client.send(get("a")).await.unwrap();
    settle().await;
    client.send(get("a")).await.unwrap();
    let used: Vec<String> = service.requests().iter().map(|request| bearer(request).to_owned()).collect();
    assert_eq!(used, ["Bearer t1", "Bearer t1", "Bearer t1", "Bearer t1", "Bearer t1", "Bearer t2"]);
}

#[tokio::test]
async fn refused_credentials_are_told_with_their_code_and_without_the_secret() {
    let (identity, service, clock) =
        (ScriptedTransport::new(), ScriptedTransport::new(), ManualClock::auto_advancing());
    let body = format!(
        r#"{{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided: {SECRET} for app 'client-1'. Trace ID: 1"}}"#
    );
    identity.handle(move |_| Ok(response(401, &[("x-ms-request-id", "7f0c-12")], body.clone())));
    let client = builder(&service, &clock, 4).authenticator(cache(&identity, &clock)).build().unwrap();
    let results = futures::future::join_all((0..20).map(|_| client.send(get("a")))).await;
    for result in results {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Auth, Delivery::NotSent));
        let text = format!("{error} {error:?}");
        assert!(text.contains("invalid_client") && text.contains("AADSTS7000215"), "{text}");
        assert_eq!((error.status().unwrap().as_u16(), error.request_id()), (401, Some("7f0c-12")));
        assert!(error.message().ends_with("refused the credentials: invalid_client (AADSTS7000215)"), "{text}");
        assert!(!text.contains(SECRET) && !text.contains("client-1"), "{text}");
    }
    assert_eq!((identity.count(), service.count()), (1, 0), "those who waited share the refusal");
}

#[tokio::test]
async fn an_identity_provider_in_trouble_is_asked_again() {
    let (identity, service, clock) =
        (ScriptedTransport::new(), ScriptedTransport::new(), ManualClock::auto_advancing());
    identity
        .respond(503, "")
        .respond_with(429, &[("retry-after", "5")], "")
        .fail(TransportErrorKind::Broken, Delivery::MaybeApplied)
        .respond(200, token("t", 3_600));
    service.respond(200, "");
    let client = builder(&service, &clock, 1).authenticator(cache(&identity, &clock)).build().unwrap();
    assert_eq!(client.send(get("a")).await.unwrap().attempts, 1);
    assert!(clock.requested_sleeps().contains(&Duration::from_secs(5)));

    let (identity, clock) = (ScriptedTransport::new(), ManualClock::auto_advancing());
    identity.handle(|_| Ok(response(500, &[], "")));
    let client = builder(&service, &clock, 1).authenticator(cache(&identity, &clock)).build().unwrap();
    let error = client.send(get("a")).await.unwrap_err();
    assert_eq!((error.kind(), error.status().unwrap().as_u16()), (ErrorKind::Unavailable, 500));
    assert_eq!(error.delivery(), Delivery::NotSent);
}

#[tokio::test]
async fn unreadable_and_ended_tokens_are_refused() {
    for body in ["<html>", r#"{"access_token":"t","token_type":"Bearer","expires_in":0}"#, "{}"] {
        let (identity, service, clock) =
            (ScriptedTransport::new(), ScriptedTransport::new(), ManualClock::auto_advancing());
        identity.respond(200, body);
        let client = builder(&service, &clock, 1).authenticator(cache(&identity, &clock)).build().unwrap();
        let error = client.send(get("a")).await.unwrap_err();
        assert_eq!((error.kind(), service.count()), (ErrorKind::Auth, 0), "{body}");
    }
}

/// Whatever the other tasks can do now, they have done.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// A source whose answers a test hands out one by one.
#[derive(Debug)]
struct Gated {
    answers: tokio::sync::Mutex<tokio::sync::mpsc::UnboundedReceiver<Result<AccessToken, Error>>>,
    asked: AtomicUsize,
}

fn gated() -> (Arc<Gated>, tokio::sync::mpsc::UnboundedSender<Result<AccessToken, Error>>) {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    (Arc::new(Gated { answers: receiver.into(), asked: AtomicUsize::new(0) }), sender)
}

#[async_trait::async_trait]
impl TokenSource for Gated {
    async fn fetch(&self) -> Result<AccessToken, Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.answers.lock().await.recv().await.unwrap()
    }
}

fn access(name: &str, seconds: u64) -> Result<AccessToken, Error> {
    Ok(AccessToken { secret: SecretString::from(name), expires_in: Some(Duration::from_secs(seconds)) })
}

#[tokio::test]
async fn a_token_that_does_not_come_ends_the_call_at_its_deadline() {
    let (service, clock) = (ScriptedTransport::new(), ManualClock::new());
    let (source, answers) = gated();
    let cache = Arc::new(TokenCache::new(source, clock.shared()));
    let client = builder(&service, &clock, 4).authenticator(cache).build().unwrap();
    // The first asks for the token, the second waits for what the first gets.
    let calls: Vec<_> = (0..2)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.send(get("a").time_limit(Duration::from_secs(9))).await })
        })
        .collect();
    clock.wait_for_sleepers(2).await;
    clock.advance(Duration::from_secs(9));
    for call in calls {
        let error = call.await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Deadline, Delivery::NotSent));
    }
    assert_eq!(service.count(), 0);
    // Nothing is left locked behind them.
    answers.send(access("late", 3_600)).unwrap();
    service.respond(200, "");
    assert_eq!(client.send(get("a")).await.unwrap().status.as_u16(), 200);
}

#[tokio::test]
async fn nobody_waits_for_a_renewal_while_the_old_token_is_valid() {
    let (service, clock) = (ScriptedTransport::new(), ManualClock::new());
    let (source, answers) = gated();
    let cache = Arc::new(TokenCache::new(source.clone(), clock.shared()));
    let client = builder(&service, &clock, 4).authenticator(cache).build().unwrap();
    service.handle(|_| Ok(response(200, &[], "")));
    answers.send(access("old", 3_600)).unwrap();
    client.send(get("a")).await.unwrap();
    clock.advance(Duration::from_secs(3_400));
    for _ in 0..3 {
        client.send(get("a")).await.unwrap();
    }
    settle().await;
    assert_eq!(source.asked.load(Ordering::Relaxed), 2, "one renewal is under way");
    answers.send(access("new", 3_600)).unwrap();
    settle().await;
    client.send(get("a")).await.unwrap();
    let used: Vec<String> = service.requests().iter().map(|request| bearer(request).to_owned()).collect();
    assert_eq!(used, ["Bearer old", "Bearer old", "Bearer old", "Bearer old", "Bearer new"]);
}

#[tokio::test]
async fn a_renewal_ends_with_its_cache() {
    let clock = ManualClock::new();
    let (source, answers) = gated();
    let cache = TokenCache::new(source.clone(), clock.shared());
    answers.send(access("old", 100)).unwrap();
    cache.refresh().await.unwrap();
    clock.advance(Duration::from_secs(95));
    cache.refresh().await.unwrap();
    settle().await;
    assert_eq!((source.asked.load(Ordering::Relaxed), Arc::strong_count(&source)), (2, 2));
    drop(cache);
    settle().await;
    assert_eq!(Arc::strong_count(&source), 1);
}

#[tokio::test]
async fn when_the_one_who_asks_is_dropped_another_asks() {
    let clock = ManualClock::new();
    let (source, answers) = gated();
    let cache = Arc::new(TokenCache::new(source.clone(), clock.shared()));
    let asking = |cache: Arc<TokenCache>| tokio::spawn(async move { cache.refresh().await });
    let leader = asking(cache.clone());
    settle().await;
    let follower = asking(cache.clone());
    settle().await;
    assert_eq!(source.asked.load(Ordering::Relaxed), 1);
    leader.abort();
    settle().await;
    assert_eq!(source.asked.load(Ordering::Relaxed), 2);
    answers.send(access("t", 3_600)).unwrap();
    follower.await.unwrap().unwrap();
    assert_eq!((source.asked.load(Ordering::Relaxed), cache.is_due()), (2, false));
}

#[tokio::test]
async fn a_service_that_refuses_every_token_causes_no_storm_of_token_requests() {
    let (identity, service, clock) = (ScriptedTransport::new(), ScriptedTransport::new(), ManualClock::new());
    identity.handle(|_| Ok(response(200, &[], token("t", 3_600))));
    service.handle(|_| Ok(response(401, &[], "")));
    let client = builder(&service, &clock, 1).authenticator(cache(&identity, &clock)).build().unwrap();
    for _ in 0..10 {
        assert_eq!(client.send(post("things")).await.unwrap().status.as_u16(), 401);
    }
    assert_eq!((identity.count(), service.count()), (2, 11), "one fresh token, then no more replays");
    clock.advance(Duration::from_secs(30));
    client.send(post("things")).await.unwrap();
    client.send(post("things")).await.unwrap();
    assert_eq!(identity.count(), 4, "an older token is replaced again, and its young successor once");
    client.send(post("things")).await.unwrap();
    assert_eq!(identity.count(), 4);
}

#[tokio::test]
async fn a_token_that_worked_and_then_ended_is_replaced_however_young_it_is() {
    let (identity, service, clock) = (ScriptedTransport::new(), ScriptedTransport::new(), ManualClock::new());
    let issued = AtomicUsize::new(0);
    identity.handle(move |_| {
        let number = issued.fetch_add(1, Ordering::Relaxed);
        Ok(response(200, &[], token(&format!("t{number}"), 3_600)))
    });
    // Every token is good for two requests.
    let used = std::sync::Mutex::new(std::collections::HashMap::<String, u32>::new());
    service.handle(move |request| {
        let mut used = used.lock().unwrap();
        let count = used.entry(bearer(request).to_owned()).or_default();
        *count += 1;
        Ok(response(if *count <= 2 { 200 } else { 401 }, &[], ""))
    });
    let client = builder(&service, &clock, 1).authenticator(cache(&identity, &clock)).build().unwrap();
    for _ in 0..20 {
        assert_eq!(client.send(post("things")).await.unwrap().status.as_u16(), 200);
    }
    assert_eq!((identity.count(), client.stats().replayed_auth), (10, 9));
}

#[tokio::test]
async fn a_call_that_is_refused_whatever_its_token_gives_up() {
    let (identity, service, clock) = (ScriptedTransport::new(), ScriptedTransport::new(), ManualClock::new());
    identity.handle(|_| Ok(response(200, &[], token("t", 3_600))));
    // Other calls succeed with every token; this one never does.
    service.handle(|request| Ok(response(if request.url.path().ends_with("things") { 401 } else { 200 }, &[], "")));
    let client = builder(&service, &clock, 1).authenticator(cache(&identity, &clock)).build().unwrap();
    for round in 1..=5 {
        client.send(get("others")).await.unwrap();
        let answer = client.send(post("things")).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.attempts), (401, 3));
        assert_eq!(identity.count(), 1 + 2 * round);
    }
}

#[tokio::test]
async fn a_failed_fetch_is_remembered_for_a_while() {
    let (identity, service, clock) = (ScriptedTransport::new(), ScriptedTransport::new(), ManualClock::new());
    identity.handle(|_| Ok(response(401, &[], r#"{"error":"invalid_client"}"#)));
    let client = builder(&service, &clock, 1).authenticator(cache(&identity, &clock)).build().unwrap();
    for _ in 0..10 {
        assert_eq!(client.send(get("a")).await.unwrap_err().kind(), ErrorKind::Auth);
    }
    assert_eq!(identity.count(), 1);
    clock.advance(Duration::from_secs(5));
    client.send(get("a")).await.unwrap_err();
    assert_eq!(identity.count(), 2);
}

#[tokio::test]
async fn a_renewal_that_gives_an_ended_token_leaves_the_valid_one() {
    let clock = ManualClock::new();
    let (source, answers) = gated();
    let cache = TokenCache::new(source, clock.shared());
    answers.send(access("old", 3_600)).unwrap();
    cache.refresh().await.unwrap();
    clock.advance(Duration::from_secs(3_400));
    assert!(cache.is_due());
    answers.send(access("ended", 0)).unwrap();
    cache.refresh().await.unwrap();
    settle().await;
    let mut headers = http_kit::HeaderMap::new();
    assert!(!cache.is_due() && cache.authorize(&mut headers).is_some(), "the next try is put off");
    assert_eq!(headers["authorization"], "Bearer old");
}

#[tokio::test]
async fn a_token_that_never_changes_is_not_tried_twice() {
    let (service, clock) = (ScriptedTransport::new(), ManualClock::new());
    service.handle(|_| Ok(response(401, &[], "")));
    let token = http_kit::StaticToken::new(&SecretString::from("t")).unwrap();
    let client = builder(&service, &clock, 1).authenticator(Arc::new(token)).build().unwrap();
    let answer = client.send(post("things")).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.attempts, client.stats().replayed_auth), (401, 1, 0));
}
