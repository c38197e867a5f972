//! Two owners of one workflow over one store, and leases that end.

use std::time::Duration;

use sync_core::traits::{LeaseStore, OwnerId};
use sync_core::{RunMode, StoreErrorKind, WorkflowState};

use crate::tripwire::Tripwire;
use crate::world::{World, end_of, until};

const TTL: Duration = Duration::from_secs(30);

fn slow(latency: Duration) -> World {
    World::new().destination(|destination| destination.latency = latency)
}

#[tokio::test]
async fn renewal_keeps_a_lease_for_as_long_as_the_run_lasts() {
    let world = World::new();
    world.fill(3);
    let handle = world.workflow().start(RunMode::Continuous);
    until(|| world.destination.state().records.len() == 3).await;
    let from = timing::Clock::monotonic(&world.clock);
    until(|| timing::Clock::monotonic(&world.clock) > from + TTL * 4).await;
    let other = world.store.acquire("test", &OwnerId("second".into()), TTL).await.unwrap();
    assert_eq!(other, None, "it is held");
    world.source.put("k9", "later");
    until(|| world.destination.state().records.len() == 4).await;
    handle.stop();
    assert_eq!(end_of(handle).await.status.state, WorkflowState::Stopped);
    let other = world.store.acquire("test", &OwnerId("second".into()), TTL).await.unwrap();
    assert!(other.is_some(), "it was given back");
}

#[tokio::test]
async fn a_second_owner_waits_for_the_first_and_takes_over_at_its_end() {
    let mut world = World::new();
    world.fill(3);
    let first = world.workflow().start(RunMode::Continuous);
    until(|| world.destination.state().records.len() == 3).await;
    world.owner = "second";
    let second = world.workflow().start(RunMode::Continuous);
    until(|| second.status().reason.is_some_and(|reason| reason.code == "lease-held")).await;
    assert_eq!(second.status().state, WorkflowState::Starting);
    let until_idle = end_of(world.workflow().start(RunMode::UntilIdle)).await;
    assert_eq!(until_idle.status.reason.unwrap().code, "lease-held", "a run that is to end does not wait");
    first.stop();
    end_of(first).await;
    world.source.put("k9", "later");
    until(|| world.destination.state().records.len() == 4).await;
    assert_eq!(second.status().reason, None);
    second.stop();
    end_of(second).await;
    world.assert_equal();
}

#[tokio::test]
async fn an_owner_stopped_for_longer_than_its_lease_begins_nothing_more_and_is_refused() {
    for unique_key in [true, false] {
        let mut world = slow(Duration::from_millis(100)).destination(|to| to.caps.unique_key = unique_key);
        world.fill(40);
        let first = world.workflow().start(RunMode::Continuous);
        until(|| world.destination.state().in_flight == 4 && !world.destination.state().records.is_empty()).await;
        let old = world.lease.lock().unwrap().clone().unwrap();
        // The whole process stands still: its clock goes on, and it gets no turn.
        world.clock.advance(TTL + Duration::from_secs(1));
        world.owner = "second";
        let taken = world.store.acquire("test", &OwnerId("second".into()), TTL).await.unwrap();
        assert!(taken.is_some(), "the lease has ended by itself");
        let begun = world.destination.state().calls.len();
        let report = end_of(first).await;
        assert_eq!(report.status.state, WorkflowState::Failed);
        assert_eq!(report.status.reason.unwrap().code, "store-fenced");
        let calls = world.destination.take_calls();
        let fresh = calls[begun..].iter().filter(|call| call.starts_with("create")).count();
        assert_eq!(fresh, 0, "unique: {unique_key}: {calls:?}");
        let refused = world.store.renew(&old, TTL).await.unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::Fenced);
        world.store.release(taken.unwrap()).await.unwrap();
        world.rewire(Tripwire::never());
        let report = world.run().await;
        assert_eq!(report.status.reason, None);
        world.assert_equal();
        assert!(world.dead().await.is_empty());
    }
}

#[tokio::test]
async fn a_takeover_asks_before_it_creates_what_the_old_owner_had_in_flight() {
    let mut world = slow(Duration::from_secs(5)).destination(|to| to.caps.unique_key = false);
    world.fill(4);
    let first = world.workflow().start(RunMode::Continuous);
    until(|| world.destination.state().calls.iter().filter(|call| call.starts_with("create")).count() == 4).await;
    drop(first);
    world.rewire(Tripwire::never());
    world.destination.take_calls();
    world.clock.advance(TTL);
    world.owner = "second";
    let from = timing::Clock::monotonic(&world.clock);
    let report = world.run().await;
    assert_eq!(report.status.reason, None);
    let calls = world.destination.take_calls();
    for number in 0..4 {
        let name = format!("k{number:03}");
        let first = calls.iter().find(|call| call.ends_with(&name));
        assert_eq!(first, Some(&format!("look {name}")), "{calls:?}");
    }
    assert!(timing::Clock::monotonic(&world.clock) - from >= Duration::from_secs(60), "after the settle time");
    world.assert_equal();
}
