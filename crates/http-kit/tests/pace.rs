//! The lane's shell: exact waits, who goes first, what a pause outlives, a server that is down, nobody forgotten.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic, also in what it shares")]

mod setup;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_kit::pace::{BreakerState, Limit, Outcome, Pace, Quota};
use http_kit::testing::{ScriptedTransport, response};
use http_kit::{
    Advice, Answer, Classify, Client, Delivery, Error, ErrorKind, Lane, Priority, Response, RetryPolicy,
    StandardClassifier, TransportErrorKind, Verdict,
};
use setup::{builder, get, post};
use timing::{Clock, FixedEntropy, ManualClock};
use tokio::task::JoinHandle;

const LATE: Duration = Duration::from_secs(36_000);

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn lane(pace: Pace, clock: &ManualClock) -> Lane {
    Lane::paced("l", &pace, clock.shared(), FixedEntropy::shared(0.5))
}

async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Reads what the made-up headers say.
#[derive(Debug)]
struct Talkative;

impl Classify for Talkative {
    fn classify(&self, answer: &Answer<'_>) -> Verdict {
        StandardClassifier.classify(answer)
    }

    fn advice(&self, answer: &Answer<'_>) -> Advice {
        let number = |name: &str| answer.headers.get(name)?.to_str().ok()?.parse().ok();
        Advice { limit: answer.headers.get("x-limit").map(|_| Limit::Concurrency), in_flight: number("x-advice") }
    }
}

fn client(transport: &ScriptedTransport, clock: &ManualClock, lane: &Lane) -> Client {
    builder(transport, clock, 1).lane(lane.clone()).classifier(Arc::new(Talkative)).build().unwrap()
}

#[tokio::test]
async fn a_pause_is_longer_by_its_jitter_is_told_and_holds_a_restarted_lane_too() {
    let (transport, clock) = (ScriptedTransport::new(), ManualClock::auto_advancing());
    let first = lane(Pace::adaptive(8), &clock);
    let mut told = first.watch_pause();
    assert_eq!(*told.borrow_and_update(), None);
    transport.respond_with(429, &[("retry-after", "100")], "");
    let short = post("things").time_limit(seconds(10));
    let error = client(&transport, &clock, &first).send(short).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Throttled, Delivery::Refused));
    let until = clock.now() + chrono::TimeDelta::seconds(105);
    assert!(told.has_changed().unwrap());
    assert_eq!((*told.borrow_and_update(), first.paused_until()), (Some(until), Some(until)));

    // The engine keeps it; another process begins 40 s later.
    clock.advance(seconds(40));
    let restarted = lane(Pace::adaptive(8), &clock);
    restarted.pause(until);
    transport.respond(200, "");
    client(&transport, &clock, &restarted).send(get("a")).await.unwrap();
    assert_eq!(clock.requested_sleeps(), [seconds(65)]);
    assert_eq!((restarted.stats().pauses, restarted.stats().paused_until), (1, None));
}

#[tokio::test]
async fn a_pause_that_is_not_longer_is_no_news() {
    let clock = ManualClock::new();
    let lane = lane(Pace::fixed(1), &clock);
    let mut told = lane.watch_pause();
    lane.pause_for(seconds(10));
    assert!(told.has_changed().unwrap());
    told.mark_unchanged();
    lane.pause_for(seconds(3));
    assert!(!told.has_changed().unwrap());
}

#[tokio::test]
async fn too_many_at_once_means_fewer_at_once_and_no_pause_beyond_the_header() {
    let (transport, clock) = (ScriptedTransport::new(), ManualClock::auto_advancing());
    let lane = lane(Pace { jitter: 0.0, ..Pace::adaptive(41) }, &clock);
    let refusal = [("retry-after", "2"), ("x-limit", "")];
    transport.respond_with(200, &[("x-advice", "16")], "");
    transport.respond_with(429, &refusal, "").respond_with(429, &refusal, "").respond_with(429, &refusal, "");
    transport.respond(200, "");
    let client = client(&transport, &clock, &lane);
    client.send(get("a")).await.unwrap();
    assert_eq!(lane.limit(), 16, "where the server advises to start");
    client.send(post("things")).await.unwrap();
    assert_eq!(clock.requested_sleeps(), [seconds(2); 3]);
    assert_eq!((lane.limit(), lane.stats().throttled, lane.stats().breaker), (2, 3, BreakerState::Closed));
}

#[tokio::test]
async fn opt_outs_pass_everyone_who_waits_and_live_work_passes_backfill() {
    let (transport, clock) = (ScriptedTransport::new(), ManualClock::new());
    transport.handle(|_| Ok(response(200, &[], "")));
    let lane = lane(Pace::fixed(1), &clock);
    let client = client(&transport, &clock, &lane);
    let held = lane.admit(LATE).await.unwrap();
    let mut calls = Vec::new();
    for (priority, path) in
        [(Priority::Backfill, "b"), (Priority::Replay, "r"), (Priority::Live, "l"), (Priority::Backfill, "b")]
    {
        let client = client.at_priority(priority);
        calls.push(tokio::spawn(async move { client.send(get(path)).await }));
        settle().await;
    }
    // The request's own word counts more than the client's.
    let backfill = client.at_priority(Priority::Backfill);
    calls.push(tokio::spawn(async move { backfill.send(get("o").priority(Priority::OptOut)).await }));
    settle().await;
    assert_eq!((lane.stats().waiting, transport.count()), (5, 0));
    held.finish(Outcome::Answered);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let order: String = transport.requests().iter().filter_map(|request| request.url.path().chars().last()).collect();
    assert_eq!(order, "olrbb");
}

#[tokio::test]
async fn a_full_window_is_waited_out_to_the_second() {
    let clock = ManualClock::auto_advancing();
    let lane = lane(Pace::fixed(9).quota(Quota::new(4, seconds(1_200)).share(0.5)), &clock);
    clock.advance(Duration::from_millis(1_500));
    for _ in 0..3 {
        lane.admit_as(Priority::OptOut, false, LATE).await.unwrap().finish(Outcome::Answered);
    }
    assert_eq!(clock.requested_sleeps(), [Duration::from_millis(300_500)]);
    let window = lane.stats().window.unwrap();
    assert_eq!((window.requests, window.request_limit, window.busy_limit), (1, 2, seconds(600)));
    lane.admit_as(Priority::OptOut, false, seconds(303)).await.unwrap().finish(Outcome::Answered);
    let error = lane.admit_as(Priority::OptOut, false, seconds(310)).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Deadline, Delivery::NotSent));
    assert_eq!(clock.monotonic(), seconds(310));
}

type Call = JoinHandle<Result<Response, Error>>;

fn call(client: &Client, request: http_kit::Request) -> Call {
    let client = client.clone();
    tokio::spawn(async move { client.send(request).await })
}

#[tokio::test]
async fn a_server_that_is_down_is_left_alone_until_one_request_finds_it_back() {
    let (transport, clock) = (ScriptedTransport::new(), ManualClock::new());
    let lane = lane(Pace::adaptive(8), &clock);
    let client = builder(&transport, &clock, 1).lane(lane.clone()).retry(RetryPolicy::never()).build().unwrap();
    for at in 0..10 {
        assert_eq!(lane.stats().breaker, BreakerState::Closed);
        match at % 3 {
            0 => transport.fail(TransportErrorKind::Connect, Delivery::NotSent),
            1 => transport.fail(TransportErrorKind::Timeout, Delivery::MaybeApplied),
            _ => transport.respond(503, ""),
        };
        drop(client.send(post("things")).await);
    }
    assert_eq!((lane.stats().breaker, lane.limit()), (BreakerState::Open, 1));
    // Whoever cannot wait for its end is told at once, and nothing was tried.
    let error = client.send(post("things").time_limit(seconds(4))).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery(), error.attempts()), (ErrorKind::Unavailable, Delivery::NotSent, 0));
    assert_eq!(error.retry_after(), Some(seconds(5)));

    let write = call(&client, post("things"));
    let read = call(&client, get("a"));
    clock.wait_for_sleepers(2).await;
    transport.respond(502, "");
    clock.advance(seconds(5));
    assert_eq!(read.await.unwrap().unwrap().status.as_u16(), 502, "the read finds out");
    let error = write.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery(), error.attempts()), (ErrorKind::Unavailable, Delivery::NotSent, 0));
    assert_eq!(transport.count(), 11);

    let waiting: Vec<Call> = (0..4).map(|_| call(&client, post("things"))).collect();
    clock.wait_for_sleepers(4).await;
    clock.advance(Duration::from_millis(9_999));
    settle().await;
    assert_eq!((transport.count(), lane.stats().breaker), (11, BreakerState::Open));
    transport.handle(|_| Ok(response(204, &[], "")));
    clock.advance(Duration::from_millis(1));
    for call in waiting {
        assert_eq!(call.await.unwrap().unwrap().status.as_u16(), 204);
    }
    assert_eq!((transport.count(), lane.stats().breaker), (15, BreakerState::Closed));
}

#[tokio::test]
async fn throttling_is_no_failure() {
    let (transport, clock) = (ScriptedTransport::new(), ManualClock::auto_advancing());
    let lane = lane(Pace::adaptive(8), &clock);
    transport.handle(|_| Ok(response(429, &[("retry-after", "0")], "")));
    let client = client(&transport, &clock, &lane);
    for _ in 0..3 {
        let error = client.send(get("a").time_limit(LATE)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Throttled);
    }
    assert_eq!((lane.stats().throttled, lane.stats().breaker), (33, BreakerState::Closed));
}

#[tokio::test]
async fn whoever_gives_up_passes_the_turn_on() {
    let clock = ManualClock::new();
    let lane = lane(Pace::fixed(1), &clock);
    let order = Arc::new(Mutex::new(Vec::new()));
    let wait = |name: usize| {
        let (lane, order) = (lane.clone(), Arc::clone(&order));
        tokio::spawn(async move {
            let permit = lane.admit(LATE).await;
            order.lock().unwrap().push(name);
            permit.map(drop)
        })
    };
    let held = lane.admit(LATE).await.unwrap();
    let waiting: Vec<_> = (0..300).map(wait).collect();
    clock.wait_for_sleepers(300).await;
    // The next one is told that it is its turn, and ends before it hears it.
    drop(held);
    waiting[0].abort();
    for (at, waiter) in waiting.into_iter().enumerate() {
        assert_eq!(waiter.await.is_ok(), at > 0);
    }
    let expected: Vec<_> = (1..300).collect();
    assert_eq!((&*order.lock().unwrap(), lane.stats().waiting, lane.stats().in_flight), (&expected, 0, 0));
}

#[tokio::test]
async fn all_who_wait_start_when_a_pause_ends_as_far_as_slots_allow() {
    let clock = ManualClock::new();
    let lane = lane(Pace::fixed(3), &clock);
    lane.pause_for(seconds(60));
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            let lane = lane.clone();
            tokio::spawn(async move { lane.admit(LATE).await })
        })
        .collect();
    clock.wait_for_sleepers(5).await;
    clock.advance(seconds(60));
    settle().await;
    assert_eq!((lane.stats().in_flight, lane.stats().waiting), (3, 2));
    let mut started = 0;
    for waiter in waiting {
        waiter.await.unwrap().unwrap().finish(Outcome::Answered);
        started += 1;
    }
    assert_eq!((started, lane.stats().in_flight), (5, 0));
}

#[test]
fn impossible_numbers_are_refused() {
    let quota = Quota::new(6_000, seconds(1_200));
    assert!(Pace::adaptive(41).quota(quota).check().is_ok());
    let bad = [
        Pace::fixed(1).quota(quota.share(0.0)),
        Pace::fixed(1).quota(quota.share(f64::NAN)),
        Pace::fixed(1).quota(Quota::new(0, seconds(1))),
        Pace::fixed(1).quota(Quota::new(1, Duration::ZERO)),
        Pace { jitter: -0.1, ..Pace::fixed(1) },
    ];
    for pace in bad {
        assert_eq!(pace.check().unwrap_err().kind(), ErrorKind::Configuration, "{pace:?}");
    }
}
