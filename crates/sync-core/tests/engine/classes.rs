//! What is urgent goes first, and nothing starves; no key holds up another.

use std::time::Duration;

use sync_core::traits::{Class, Outcome};
use sync_core::{RunMode, Tally};

use crate::parties::{Fault, key};
use crate::world::{World, end_of, until};

/// A world whose destination is slow enough for a backlog to build up.
fn narrow(records: usize, class: Class) -> World {
    let mut world = World::new().destination(|destination| {
        destination.caps.in_flight = 1;
        destination.latency = Duration::from_secs(1);
    });
    world.class = class;
    world.poll_every = Duration::from_secs(2);
    world.fill(records);
    world
}

/// The place of a call among all.
fn place(world: &World, call: &str) -> usize {
    let calls = world.destination.state().calls.clone();
    calls.iter().position(|other| other == call).unwrap_or_else(|| panic!("{call} is not there: {calls:?}"))
}

#[tokio::test]
async fn a_live_change_overtakes_a_deep_backlog() {
    for class in [Class::Live, Class::OptOut] {
        let world = narrow(200, class);
        let handle = world.workflow().start(RunMode::Continuous);
        until(|| handle.tallies()[0].1.read == 200).await;
        let before = world.destination.state().calls.len();
        assert!(before < 100, "the backlog is deep: {before}");
        world.source.put("z", "live");
        until(|| handle.tallies()[0].1.read == 201).await;
        let read = world.destination.state().calls.len();
        until(|| world.destination.state().records.len() == 201).await;
        handle.stop();
        end_of(handle).await;
        let at = place(&world, "create z");
        assert!(
            at <= read + 8,
            "{class:?}: read at {read}, written at {at} of {}",
            world.destination.state().calls.len()
        );
        world.assert_equal();
    }
}

#[tokio::test]
async fn a_backlog_is_written_beside_changes_that_never_end() {
    let world = narrow(40, Class::Live);
    let handle = world.workflow().start(RunMode::Continuous);
    until(|| handle.tallies()[0].1.read == 40).await;
    let mut number = 0;
    let mut begun = None;
    until(|| {
        // Always more changes than are written meanwhile.
        if handle.tallies()[0].1.read == 40 + number {
            number += 1;
            world.source.put(&format!("z{number:04}"), "live");
            world.clock.advance(Duration::from_millis(500));
        }
        if begun.is_none() && handle.backlog()[0].1 > 30 {
            begun = Some(world.destination.state().calls.len());
        }
        world.destination.state().records.contains_key(&key("k039"))
    })
    .await;
    let calls = world.destination.state().calls.len();
    let backfill = world.destination.state().calls.iter().filter(|call| call.starts_with("create k")).count();
    assert_eq!(backfill, 40, "within {calls} writes");
    handle.stop();
    end_of(handle).await;
}

#[tokio::test]
async fn keys_that_are_blocked_or_refused_never_hold_up_their_neighbours() {
    let mut world = World::new();
    world.options.poison_threshold = 3;
    world.fill(30);
    for number in 0..10 {
        let name = format!("k{number:03}");
        for _ in 0..1_000 {
            let fault = match number {
                0 => Fault::RequestLost,
                _ => Fault::Say(Outcome::Retry { after: None, code: "record-locked".into() }),
            };
            world.destination.fault(&name, fault);
        }
    }
    let handle = world.workflow().start(RunMode::UntilIdle);
    until(|| world.destination.state().records.len() == 20).await;
    assert!(timing::Clock::monotonic(&world.clock) < Duration::from_secs(60), "the others are not waited with");
    let report = end_of(handle).await;
    assert_eq!(report.streams[0].tally, Tally { read: 30, inserted: 20, dead: 10, ..Tally::default() });
    let letters = world.dead().await;
    let of = |code: &str| letters.iter().filter(|letter| letter.rejection.code == code).count();
    assert_eq!((of("record-locked"), of("unknown-outcome")), (9, 1));
    assert!(
        letters.iter().filter(|letter| letter.rejection.code == "record-locked").all(|letter| letter.attempts == 3)
    );
}
