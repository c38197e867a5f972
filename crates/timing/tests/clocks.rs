//! The manual clock moves only when told, and the real one never goes backwards.
#![cfg(feature = "test-util")]

use std::time::Duration;

use timing::{Clock, Entropy, FixedEntropy, ManualClock, SystemClock, SystemEntropy};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_sleeper_wakes_exactly_when_due() {
    let clock = ManualClock::new();
    let sleeping = tokio::spawn({
        let clock = clock.clone();
        async move {
            clock.sleep(7 * SECOND).await;
            clock.monotonic()
        }
    });
    clock.wait_for_sleepers(1).await;
    clock.advance(Duration::from_millis(6_999));
    tokio::task::yield_now().await;
    assert!(!sleeping.is_finished());
    clock.advance(Duration::from_millis(1));
    assert_eq!(sleeping.await.unwrap(), 7 * SECOND);
    assert_eq!(clock.requested_sleeps(), [7 * SECOND]);
    assert_eq!(clock.sleepers(), 0);
}

#[tokio::test]
async fn a_dropped_sleep_leaves_no_trace_but_its_request() {
    let clock = ManualClock::new();
    {
        let sleep = clock.sleep(SECOND);
        tokio::pin!(sleep);
        let poll = futures_poll(sleep.as_mut()).await;
        assert!(poll.is_pending());
        assert_eq!(clock.sleepers(), 1);
    }
    assert_eq!(clock.sleepers(), 0);
    assert_eq!(clock.advance_to_next(), None);
}

async fn futures_poll<F: Future + Unpin>(mut future: F) -> std::task::Poll<F::Output> {
    std::future::poll_fn(|context| std::task::Poll::Ready(std::pin::Pin::new(&mut future).poll(context))).await
}

#[tokio::test]
async fn an_auto_advancing_clock_jumps_in_order() {
    let clock = ManualClock::auto_advancing();
    let order = std::sync::Mutex::new(Vec::new());
    tokio::join!(
        async {
            clock.sleep(3 * SECOND).await;
            order.lock().unwrap().push(3);
        },
        async {
            clock.sleep(SECOND).await;
            order.lock().unwrap().push(1);
            clock.sleep(SECOND).await;
            order.lock().unwrap().push(2);
        }
    );
    assert_eq!(*order.lock().unwrap(), [1, 2, 3]);
    assert_eq!(clock.monotonic(), 3 * SECOND);
}

#[tokio::test]
async fn an_auto_advancing_clock_does_not_jump_over_somebody_between_two_sleeps() {
    for turns in 0..40 {
        let clock = ManualClock::auto_advancing();
        let late = clock.sleep(600 * SECOND);
        let busy = async {
            for _ in 0..5 {
                clock.sleep(SECOND).await;
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
            }
            clock.monotonic()
        };
        let ((), reached) = tokio::join!(late, busy);
        assert_eq!(reached, 5 * SECOND, "{turns}");
    }
}

#[test]
fn setting_the_calendar_does_not_move_the_monotonic_time() {
    let clock = ManualClock::new();
    let past = clock.now() - chrono::TimeDelta::hours(1);
    clock.set_now(past);
    assert_eq!(clock.now(), past);
    assert_eq!(clock.monotonic(), Duration::ZERO);
    clock.advance(SECOND);
    assert_eq!(clock.now(), past + chrono::TimeDelta::seconds(1));
}

#[tokio::test]
async fn the_system_clock_moves_forward() {
    let clock = SystemClock::new();
    let before = clock.monotonic();
    clock.sleep(Duration::ZERO).await;
    assert!(clock.monotonic() >= before);
    assert!(clock.now().timestamp() > 1_700_000_000);
}

#[test]
fn entropy_stays_in_its_range() {
    let draws: Vec<f64> = (0..1_000).map(|_| SystemEntropy.unit()).collect();
    assert!(draws.iter().all(|unit| (0.0..1.0).contains(unit)));
    assert!(draws.iter().any(|unit| *unit < 0.25) && draws.iter().any(|unit| *unit > 0.75));
    assert_eq!(FixedEntropy::new(0.25).unit(), 0.25);
    assert!(FixedEntropy::new(7.0).unit() < 1.0);
    assert_eq!(FixedEntropy::new(f64::NAN).unit(), 0.0);
}
