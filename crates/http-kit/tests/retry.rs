//! What is sent again, when exactly, and what the errors say about delivery.

mod setup;

use std::time::Duration;

use http_kit::testing::{ScriptedTransport, response};
use http_kit::{Answer, Classify, Delivery, ErrorKind, RetryPolicy, TransportErrorKind, Verdict};
use setup::{builder, get, post};
use timing::{Clock, ManualClock};

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[tokio::test]
async fn retry_after_seconds_are_waited_exactly() {
    let (transport, clock) = (ScriptedTransport::new(), ManualClock::auto_advancing());
    transport.respond_with(429, &[("retry-after", "7")], "").respond(200, "ok");
    let client = builder(&transport, &clock, 1).build().unwrap();
    let response = client.send(post("things")).await.unwrap();
    assert_eq!((response.status.as_u16(), response.attempts), (200, 2));
    assert_eq!(clock.requested_sleeps(), [seconds(7)]);
    assert_eq!(clock.monotonic(), seconds(7));
    assert_eq!(client.stats().throttled, 1);
}

#[tokio::test]
async fn retry_after_as_a_date_counts_from_the_servers_own_clock() {
    let (transport, clock) = (ScriptedTransport::new(), ManualClock::auto_advancing());
    let headers = [("retry-after", "Wed, 21 Oct 2015 07:28:12 GMT"), ("date", "Wed, 21 Oct 2015 07:28:00 GMT")];
    transport.respond_with(503, &headers, "").respond(204, "");
    let client = builder(&transport, &clock, 1).build().unwrap();
    let response = client.send(get("a")).await.unwrap();
    assert_eq!((response.status.as_u16(), response.attempts), (204, 2));
    assert!(response.maybe_applied_before);
    assert_eq!(clock.requested_sleeps(), [seconds(12)]);
}

#[tokio::test]
async fn a_post_answered_with_503_and_a_pause_may_be_applied_and_is_not_sent_again() {
    let (transport, clock) = (ScriptedTransport::new(), ManualClock::auto_advancing());
    transport.respond_with(503, &[("retry-after", "12")], "why").respond(204, "");
    let client = builder(&transport, &clock, 1).build().unwrap();
    let response = client.send(post("things")).await.unwrap();
    assert_eq!((response.status.as_u16(), response.attempts, &*response.body), (503, 1, &b"why"[..]));
    assert_eq!(client.lane().pause_left(), Some(seconds(12)), "the others keep still all the same");
    assert_eq!(transport.count(), 1);
    assert_eq!(client.send(get("a")).await.unwrap().status.as_u16(), 204);
    assert_eq!(clock.requested_sleeps(), [seconds(12)]);
}

#[tokio::test]
async fn a_pause_of_503_that_passes_the_deadline_ends_the_call_with_the_answer() {
    let (transport, clock) = (ScriptedTransport::new(), ManualClock::auto_advancing());
    transport.respond_with(503, &[("retry-after", "86400")], "");
    let client = builder(&transport, &clock, 1).build().unwrap();
    let response = client.send(get("a")).await.unwrap();
    assert_eq!((response.status.as_u16(), response.attempts), (503, 1));
    assert_eq!(client.lane().pause_left(), Some(seconds(86_400)));
    assert!(clock.requested_sleeps().is_empty());
}

#[tokio::test]
async fn unreadable_pauses_are_thirty_seconds_and_missing_ones_grow() {
    for bad in ["-3", "soon", "", "1.5", "Wed, 21 Oct 2015 07:28:12 GMT"] {
        let (transport, clock) = (ScriptedTransport::new(), ManualClock::auto_advancing());
        transport.respond_with(429, &[("retry-after", bad)], "").respond(200, "");
        builder(&transport, &clock, 1).build().unwrap().send(get("a")).await.unwrap();
        assert_eq!(clock.requested_sleeps(), [seconds(30)], "{bad:?}");
    }
    let (transport, clock) = (ScriptedTransport::new(), ManualClock::auto_advancing());
    transport.respond(429, "").respond(429, "").respond(429, "").respond(200, "");
    builder(&transport, &clock, 1).build().unwrap().send(get("a")).await.unwrap();
    assert_eq!(clock.requested_sleeps(), [seconds(1), seconds(2), seconds(4)]);
}

#[tokio::test]
async fn one_throttled_worker_pauses_the_whole_lane_and_none_starts_early() {
    let (transport, clock) = (ScriptedTransport::new(), ManualClock::new());
    transport.respond_with(429, &[("retry-after", "7")], "");
    transport.handle(|_| Ok(response(200, &[], "")));
    let client = builder(&transport, &clock, 2).build().unwrap();
    client.lane().pause_for(seconds(1));
    let workers: Vec<_> = (0..10)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.send(post("things")).await })
        })
        .collect();
    clock.wait_for_sleepers(10).await;
    assert_eq!(transport.count(), 0);
    clock.advance(seconds(1));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    // Two were under way when the first answer came; all others wait for the pause, without a permit.
    clock.wait_for_sleepers(9).await;
    let sent = transport.count();
    assert!(sent <= 2, "{sent}");
    assert_eq!(client.stats().in_flight, 0);
    assert_eq!(client.stats().paused_until, Some(clock.now() + chrono::TimeDelta::seconds(7)));
    clock.advance(Duration::from_millis(6_999));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(transport.count(), sent);
    clock.advance(Duration::from_millis(1));
    for worker in workers {
        assert_eq!(worker.await.unwrap().unwrap().status.as_u16(), 200);
    }
    assert_eq!(transport.count(), 11);
    assert_eq!(transport.most_in_flight(), 2);
}

#[tokio::test]
async fn a_pause_beyond_the_deadline_is_an_error_and_stays_on_the_lane() {
    let (transport, clock) = (ScriptedTransport::new(), ManualClock::auto_advancing());
    transport.respond_with(429, &[("retry-after", "86400")], "");
    let client = builder(&transport, &clock, 1).build().unwrap();
    let error = client.send(post("things")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Throttled, Delivery::Refused));
    assert_eq!((error.retry_after(), error.status().unwrap().as_u16()), (Some(seconds(86_400)), 429));
    assert_eq!(client.lane().pause_left(), Some(seconds(86_400)));
    let error = client.send(get("a")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery(), error.attempts()), (ErrorKind::Throttled, Delivery::NotSent, 0));
    assert_eq!(transport.count(), 1);
    assert!(clock.requested_sleeps().is_empty());
}

#[tokio::test]
async fn throttling_without_end_gives_up() {
    let (transport, clock) = (ScriptedTransport::new(), ManualClock::auto_advancing());
    transport.handle(|_| Ok(response(429, &[("retry-after", "1")], "CANARY why")));
    let client = builder(&transport, &clock, 1).build().unwrap();
    let error = client.send(post("things").time_limit(seconds(3_600))).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Throttled, 11));
    assert_eq!(error.answer().map(|body| &body[..]), Some(&b"CANARY why"[..]));
    assert!(!format!("{error} {error:?}").contains("CANARY"));
}

#[tokio::test]
async fn a_pause_that_did_not_help_or_is_none_grows_by_itself() {
    for (named, waits) in [("0", [1, 2, 4, 8]), ("1", [1, 2, 4, 8]), ("3", [3, 3, 4, 8]), ("30", [30, 30, 30, 30])] {
        let (transport, clock) = (ScriptedTransport::new(), ManualClock::auto_advancing());
        for _ in 0..4 {
            transport.respond_with(429, &[("retry-after", named)], "");
        }
        transport.respond(200, "");
        builder(&transport, &clock, 1).build().unwrap().send(post("things")).await.unwrap();
        assert_eq!(clock.requested_sleeps(), waits.map(seconds), "{named}");
    }
}

#[tokio::test]
async fn what_is_idempotent_is_sent_again_after_unclear_ends() {
    let (transport, clock) = (ScriptedTransport::new(), ManualClock::auto_advancing());
    transport.respond(502, "").fail(TransportErrorKind::Broken, Delivery::MaybeApplied).respond(200, "");
    let client = builder(&transport, &clock, 1).build().unwrap();
    let response = client.send(get("a")).await.unwrap();
    assert_eq!(response.attempts, 3);
    assert!(response.maybe_applied_before);
    // Full jitter at one half of 0.5 s and of 1 s.
    assert_eq!(clock.requested_sleeps(), [Duration::from_millis(250), Duration::from_millis(500)]);
    assert_eq!(client.stats().retries, 2);
}

#[tokio::test]
async fn a_post_is_not_sent_again_after_an_unclear_end() {
    let (transport, clock) = (ScriptedTransport::new(), ManualClock::auto_advancing());
    let client = builder(&transport, &clock, 1).build().unwrap();
    transport.respond(500, "text");
    let response = client.send(post("things")).await.unwrap();
    assert_eq!((response.status.as_u16(), response.attempts), (500, 1));
    assert!(!response.maybe_applied_before);
    for kind in [TransportErrorKind::Broken, TransportErrorKind::Timeout] {
        transport.fail(kind, Delivery::MaybeApplied);
        let error = client.send(post("things")).await.unwrap_err();
        assert_eq!((error.delivery(), error.attempts()), (Delivery::MaybeApplied, 1));
    }
    assert_eq!(transport.count(), 3);
}

#[tokio::test]
async fn a_post_that_was_not_sent_is_sent_again() {
    let (transport, clock) = (ScriptedTransport::new(), ManualClock::auto_advancing());
    transport.fail(TransportErrorKind::Connect, Delivery::NotSent).respond(201, "");
    let client = builder(&transport, &clock, 1).build().unwrap();
    assert_eq!(client.send(post("things")).await.unwrap().attempts, 2);

    for _ in 0..3 {
        transport.fail(TransportErrorKind::Connect, Delivery::NotSent);
    }
    let error = client.send(post("things")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery(), error.attempts()), (ErrorKind::Connect, Delivery::NotSent, 3));
    assert_eq!(error.operation(), Some("POST /things"));
}

#[tokio::test]
async fn no_later_failure_takes_back_that_something_may_be_applied() {
    let (transport, clock) = (ScriptedTransport::new(), ManualClock::auto_advancing());
    transport.fail(TransportErrorKind::Broken, Delivery::MaybeApplied);
    for _ in 0..2 {
        transport.fail(TransportErrorKind::Connect, Delivery::NotSent);
    }
    let client = builder(&transport, &clock, 1).build().unwrap();
    let error = client.send(get("a")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Connect, Delivery::MaybeApplied));
}

#[tokio::test]
async fn refusals_and_redirects_are_answers() {
    let (transport, clock) = (ScriptedTransport::new(), ManualClock::auto_advancing());
    let client = builder(&transport, &clock, 1).build().unwrap();
    for status in [301, 302, 307, 308, 400, 401, 403, 404, 409, 412, 413, 422, 501, 505] {
        transport.respond(status, "why");
        let response = client.send(get("a")).await.unwrap();
        assert_eq!((response.status.as_u16(), response.attempts), (status, 1));
    }
}

#[tokio::test]
async fn every_other_server_error_is_unclear_also_those_of_gateways() {
    for status in [408, 500, 502, 503, 504, 507, 520, 521, 522, 523, 524, 525, 526, 527, 530, 599] {
        let (transport, clock) = (ScriptedTransport::new(), ManualClock::auto_advancing());
        let client = builder(&transport, &clock, 1).build().unwrap();
        transport.respond(status, "").respond(200, "").respond(status, "");
        assert_eq!(client.send(get("a")).await.unwrap().attempts, 2, "{status}");
        assert_eq!(client.send(post("things")).await.unwrap().attempts, 1, "{status}");
    }
}

#[derive(Debug)]
struct ExistsIsFinal;

impl Classify for ExistsIsFinal {
    fn classify(&self, answer: &Answer<'_>) -> Verdict {
        if answer.body.starts_with(b"PGS-220000") {
            return Verdict::Refused;
        }
        http_kit::StandardClassifier.classify(answer)
    }
}

#[tokio::test]
async fn a_classifier_can_make_a_server_error_final() {
    let (transport, clock) = (ScriptedTransport::new(), ManualClock::auto_advancing());
    let client = builder(&transport, &clock, 1).classifier(std::sync::Arc::new(ExistsIsFinal)).build().unwrap();
    transport.respond(500, "PGS-220000 exists");
    assert_eq!(client.send(get("a")).await.unwrap().attempts, 1);
    transport.respond(500, "other").respond(200, "");
    assert_eq!(client.send(get("a")).await.unwrap().attempts, 2);
}

#[tokio::test]
async fn the_deadline_ends_the_call_before_a_wait_that_would_pass_it() {
    let (transport, clock) = (ScriptedTransport::new(), ManualClock::auto_advancing());
    transport.handle(|_| Ok(response(503, &[], "")));
    let client = builder(&transport, &clock, 1).build().unwrap();
    let response = client.send(get("a").time_limit(Duration::from_millis(300))).await.unwrap();
    assert_eq!((response.status.as_u16(), response.attempts), (503, 2));
    assert_eq!(clock.requested_sleeps(), [Duration::from_millis(250)]);
}

#[tokio::test]
async fn a_closed_lane_ends_the_wait_before_a_repetition() {
    let (transport, clock) = (ScriptedTransport::new(), ManualClock::new());
    transport.respond(502, "");
    let client = builder(&transport, &clock, 1).build().unwrap();
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.send(get("a")).await }
    });
    clock.wait_for_sleepers(1).await;
    client.lane().close();
    let error = call.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Cancelled, Delivery::MaybeApplied));
}

#[tokio::test]
async fn the_allowance_for_repetitions_runs_dry() {
    let (transport, clock) = (ScriptedTransport::new(), ManualClock::auto_advancing());
    transport.handle(|_| Ok(response(503, &[], "")));
    let budget = std::sync::Arc::new(http_kit::pace::RetryBudget::new(30, 14));
    let client = builder(&transport, &clock, 1).retry_budget(budget.clone()).build().unwrap();
    assert_eq!(client.send(get("a")).await.unwrap().attempts, 3);
    assert_eq!(client.send(get("a")).await.unwrap().attempts, 1);
    assert_eq!(budget.tokens(), 2);
}

#[tokio::test]
async fn a_policy_without_retries_sends_once() {
    let (transport, clock) = (ScriptedTransport::new(), ManualClock::auto_advancing());
    transport.handle(|_| Ok(response(503, &[], "")));
    let client = builder(&transport, &clock, 1).retry(RetryPolicy::never()).build().unwrap();
    assert_eq!(client.send(get("a")).await.unwrap().attempts, 1);
}

#[tokio::test]
async fn a_dropped_call_gives_its_permit_back() {
    let (transport, clock) = (ScriptedTransport::new(), ManualClock::new());
    transport.handle(|_| Ok(response(200, &[], "")));
    let client = builder(&transport, &clock, 1).build().unwrap();
    {
        let mut call = Box::pin(client.send(post("things")));
        assert!(futures::poll!(call.as_mut()).is_pending());
        assert_eq!((client.stats().in_flight, transport.count()), (1, 1));
    }
    assert_eq!(client.stats().in_flight, 0);
    assert_eq!(client.send(get("a")).await.unwrap().attempts, 1);
}
