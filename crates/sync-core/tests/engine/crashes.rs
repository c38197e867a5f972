//! The end of the process before and after every single call: whatever the point, the next run ends in the right state.

use std::time::Duration;

use sync_core::{EndpointErrorKind, RunMode};

use crate::tripwire::Tripwire;
use crate::world::{World, end_of, sum, until};

#[derive(Debug, Clone, Copy)]
struct Scenario {
    unique_key: bool,
    expired: bool,
    answer_lost: bool,
    /// The run after the end of the process has another plan.
    replanned: bool,
    /// The run that ends has another plan than the one before it, and than the one after it.
    reverted: bool,
}

const QUIET: Scenario =
    Scenario { unique_key: true, expired: false, answer_lost: false, replanned: false, reverted: false };

/// A first run that ends well, and the changes of which the second run sees the end of the process.
async fn prepared(scenario: Scenario) -> World {
    let world = World::new().destination(|destination| destination.caps.unique_key = scenario.unique_key);
    world.fill(4);
    world.run().await;
    world.source.put("k000", "changed");
    world.source.delete("k001");
    world.source.put("k002", "skip from now on");
    world.source.put("n000", "new");
    world.source.put("n001", "new, too");
    world.source.put("n002", "skip and never written");
    if scenario.expired {
        world.source.expire();
    }
    if scenario.answer_lost {
        world.destination.fault("n000", crate::parties::Fault::AnswerLost);
        world.destination.fault("k000", crate::parties::Fault::RequestLost);
    }
    world
}

/// Runs until point `at`, ends there, changes more, and runs to the end. Answers whether the point was reached.
async fn crash_at(scenario: Scenario, at: usize) -> bool {
    let mut world = prepared(scenario).await;
    if scenario.reverted {
        // A backlog of the first plan, which the run to be ended does not find done.
        let minute = Duration::from_secs(60);
        world.destination.fault("k000", crate::parties::Fault::Down(EndpointErrorKind::Unavailable, Some(minute)));
        let handle = world.workflow().start(RunMode::Continuous);
        until(|| handle.tallies()[0].1.read > 5).await;
        handle.stop();
        end_of(handle).await;
        world.plan = 2;
    }
    let wire = Tripwire::new(at);
    world.rewire(wire.clone());
    let handle = world.workflow().start(RunMode::UntilIdle);
    let mut end = Box::pin(handle.join());
    let tripped = tokio::select! {
        () = wire.tripped() => true,
        _ = &mut end => false,
    };
    drop(end);
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
    world.source.put("k000", "changed again");
    world.source.delete("n000");
    world.source.put("n003", "after the crash");
    world.rewire(Tripwire::never());
    if scenario.reverted {
        world.plan = 1;
    }
    if scenario.replanned {
        // The same texts: what is already written stays as good.
        world.plan = 2;
    }
    let report = world.run().await;
    let shown = format!("{scenario:?} at {at}: {:?}", report.status);
    assert_eq!(report.status.reason, None, "{shown}");
    assert_eq!(world.destination.state().records, world.source.expected(), "{shown}");
    assert!(!world.destination.state().overlapped, "{shown}");
    let totals = world.totals().await;
    assert_eq!(totals.read, sum(totals), "{shown}: {totals:?}");
    assert_eq!(world.stats().await.depth(), 0, "{shown}");
    assert!(world.dead().await.is_empty(), "{shown}");

    world.clock.advance(Duration::from_secs(120));
    world.run().await;
    assert_eq!(world.destination.state().records, world.source.expected(), "{shown}, verified");
    assert_eq!(world.stats().await.verifications, 0, "{shown}");
    tripped
}

async fn every_point(scenario: Scenario, at_least: usize) {
    let mut points = 0;
    for at in 1..5_000 {
        if !crash_at(scenario, at).await {
            break;
        }
        points = at;
    }
    assert!((at_least..4_999).contains(&points), "{scenario:?}: {points} points");
}

#[tokio::test]
async fn changes_with_a_unique_key() {
    every_point(QUIET, 40).await;
}

#[tokio::test]
async fn changes_without_a_unique_key() {
    every_point(Scenario { unique_key: false, ..QUIET }, 40).await;
}

#[tokio::test]
async fn changes_with_lost_answers() {
    every_point(Scenario { answer_lost: true, ..QUIET }, 40).await;
    every_point(Scenario { unique_key: false, answer_lost: true, ..QUIET }, 40).await;
}

#[tokio::test]
async fn a_new_snapshot_and_the_search_for_vanished_records() {
    every_point(Scenario { expired: true, ..QUIET }, 50).await;
    every_point(Scenario { unique_key: false, expired: true, ..QUIET }, 50).await;
}

#[tokio::test]
async fn another_plan_after_the_end() {
    every_point(Scenario { replanned: true, ..QUIET }, 40).await;
    every_point(Scenario { replanned: true, unique_key: false, answer_lost: true, ..QUIET }, 40).await;
    every_point(Scenario { replanned: true, expired: true, answer_lost: true, ..QUIET }, 50).await;
}

#[tokio::test]
async fn another_plan_that_is_taken_back() {
    every_point(Scenario { reverted: true, ..QUIET }, 40).await;
    every_point(Scenario { reverted: true, unique_key: false, answer_lost: true, ..QUIET }, 40).await;
}

#[tokio::test]
async fn the_wire_itself_counts() {
    let mut world = prepared(QUIET).await;
    let wire = Tripwire::never();
    world.rewire(wire.clone());
    world.run().await;
    assert!(wire.passed() > 40, "{}", wire.passed());
    world.assert_equal();
}
