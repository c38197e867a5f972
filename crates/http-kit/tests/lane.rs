//! The lane: slots, pause, pace, end.

use std::time::Duration;

use http_kit::{Delivery, ErrorKind, Lane};
use timing::{Clock, ManualClock};

const LATE: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn slots_are_limited_and_come_back() {
    let clock = ManualClock::new();
    let lane = Lane::new("l", 2, clock.shared());
    let first = lane.admit(LATE).await.unwrap();
    let _second = lane.admit(LATE).await.unwrap();
    assert_eq!(lane.stats().in_flight, 2);
    let third = tokio::spawn({
        let lane = lane.clone();
        async move { lane.admit(LATE).await.map(drop) }
    });
    tokio::task::yield_now().await;
    assert!(!third.is_finished());
    drop(first);
    third.await.unwrap().unwrap();
    assert_eq!(lane.stats().in_flight, 1);
}

#[tokio::test]
async fn the_longest_pause_wins_whatever_the_calendar_says() {
    let clock = ManualClock::new();
    let lane = Lane::new("l", 1, clock.shared());
    lane.pause_for(Duration::from_secs(10));
    lane.pause_for(Duration::from_secs(3));
    assert_eq!(lane.pause_left(), Some(Duration::from_secs(10)));
    clock.set_now(clock.now() + chrono::TimeDelta::hours(1));
    assert_eq!(lane.pause_left(), Some(Duration::from_secs(10)));
    assert_eq!(lane.paused_until(), Some(clock.now() + chrono::TimeDelta::seconds(10)));
    lane.pause(clock.now() + chrono::TimeDelta::seconds(20));
    assert_eq!(lane.pause_left(), Some(Duration::from_secs(20)));
    lane.pause(clock.now() - chrono::TimeDelta::seconds(20));
    clock.advance(Duration::from_secs(20));
    assert_eq!((lane.pause_left(), lane.paused_until()), (None, None));
}

#[tokio::test]
async fn a_pause_that_grows_during_the_wait_is_waited_out() {
    let clock = ManualClock::new();
    let lane = Lane::new("l", 1, clock.shared());
    lane.pause_for(Duration::from_secs(5));
    let waiter = tokio::spawn({
        let lane = lane.clone();
        async move { lane.admit(LATE).await.map(drop) }
    });
    clock.wait_for_sleepers(1).await;
    lane.pause_for(Duration::from_secs(9));
    clock.advance(Duration::from_secs(5));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!waiter.is_finished());
    clock.advance(Duration::from_secs(4));
    waiter.await.unwrap().unwrap();
    assert_eq!(clock.requested_sleeps(), [Duration::from_secs(5), Duration::from_secs(4)]);
}

#[tokio::test]
async fn a_pace_spreads_the_starts() {
    let clock = ManualClock::auto_advancing();
    let lane = Lane::with_pace("l", 8, 4.0, clock.shared());
    let mut starts = Vec::new();
    for _ in 0..4 {
        lane.admit(LATE).await.unwrap();
        starts.push(clock.monotonic().as_millis());
    }
    assert_eq!(starts, [0, 250, 500, 750]);
    assert_eq!(lane.admit(Duration::from_millis(900)).await.unwrap_err().kind(), ErrorKind::Deadline);
}

#[tokio::test]
async fn a_closed_lane_refuses_those_who_wait_and_those_who_come() {
    let clock = ManualClock::new();
    let lane = Lane::new("l", 1, clock.shared());
    let held = lane.admit(LATE).await.unwrap();
    let waiter = tokio::spawn({
        let lane = lane.clone();
        async move { lane.admit(LATE).await.map(drop) }
    });
    tokio::task::yield_now().await;
    lane.close();
    assert_eq!(waiter.await.unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
    drop(held);
    assert_eq!(lane.admit(LATE).await.unwrap_err().kind(), ErrorKind::Cancelled);
}

#[tokio::test]
async fn a_slot_is_waited_for_no_longer_than_to_the_deadline() {
    let clock = ManualClock::new();
    let lane = Lane::new("l", 1, clock.shared());
    let _held = lane.admit(LATE).await.unwrap();
    let waiter = tokio::spawn({
        let lane = lane.clone();
        async move { lane.admit(Duration::from_secs(7)).await.map(drop) }
    });
    clock.wait_for_sleepers(1).await;
    clock.advance(Duration::from_secs(7));
    let error = waiter.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Deadline, Delivery::NotSent));
    assert_eq!((lane.stats().in_flight, clock.sleepers()), (1, 0));
}

#[tokio::test]
async fn a_lane_that_is_closed_wakes_those_who_sleep_in_a_pause_or_a_pace() {
    let clock = ManualClock::new();
    let paused = Lane::new("l", 1, clock.shared());
    paused.pause_for(Duration::from_secs(600));
    let paced = Lane::with_pace("l", 1, 0.01, clock.shared());
    drop(paced.admit(LATE).await.unwrap());
    for lane in [paused, paced] {
        let waiter = tokio::spawn({
            let lane = lane.clone();
            async move { lane.admit(LATE).await.map(drop) }
        });
        clock.wait_for_sleepers(1).await;
        lane.close();
        assert_eq!(waiter.await.unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!(clock.sleepers(), 0);
    }
}
