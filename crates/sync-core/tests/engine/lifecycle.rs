//! Start, stop, drop, and what a builder refuses.

use std::sync::Arc;
use std::time::Duration;

use sync_core::store::MemoryStore;
use sync_core::{BuildError, RunMode, Workflow, WorkflowState};

use crate::world::{World, end_of, stream, sum, until};

#[tokio::test]
async fn a_stop_awaits_what_is_in_flight_and_gives_back_the_rest() {
    let world = World::new().destination(|destination| destination.latency = Duration::from_millis(50));
    world.fill(40);
    let handle = world.workflow().start(RunMode::Continuous);
    let mut watch = handle.watch();
    until(|| world.destination.state().in_flight == 4).await;
    assert_eq!(watch.borrow_and_update().state, WorkflowState::Running);
    handle.stop();
    let report = end_of(handle).await;
    assert_eq!(report.status.state, WorkflowState::Stopped);
    assert_eq!(watch.borrow_and_update().state, WorkflowState::Stopped);
    let stats = world.stats().await;
    assert_eq!((stats.in_flight, stats.unknown), (0, 0));
    let written = world.destination.state().records.len() as u64;
    assert_eq!(report.streams[0].tally.inserted, written);
    assert!(written < 40, "it stopped early");
    let report = world.run().await;
    assert_eq!(report.streams[0].tally.inserted, 40 - written, "nothing is written twice");
    world.assert_equal();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let mut world = World::new().destination(|destination| destination.latency = Duration::from_secs(3600));
    world.options.stop_deadline = Duration::from_secs(10);
    world.fill(2);
    let handle = world.workflow().start(RunMode::Continuous);
    until(|| world.destination.state().in_flight == 2).await;
    let from = timing::Clock::monotonic(&world.clock);
    handle.stop();
    let report = end_of(handle).await;
    assert_eq!(report.status.state, WorkflowState::Stopped);
    assert!(timing::Clock::monotonic(&world.clock) - from < Duration::from_secs(60));
    let stats = world.stats().await;
    assert_eq!((stats.in_flight, stats.unknown), (0, 2), "what was sent may have taken effect");
}

#[tokio::test]
async fn dropping_the_handle_ends_the_run_and_the_next_one_takes_over() {
    let world = World::new().destination(|destination| destination.latency = Duration::from_millis(50));
    world.fill(20);
    let handle = world.workflow().start(RunMode::Continuous);
    until(|| world.destination.state().records.len() >= 4).await;
    drop(handle);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let calls = world.destination.state().calls.len();
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.destination.state().calls.len(), calls, "nothing is written any more");
    let mut world = world;
    world.rewire(crate::tripwire::Tripwire::never());
    let report = world.run().await;
    assert_eq!(report.status.state, WorkflowState::Stopped);
    world.assert_equal();
    let totals = world.totals().await;
    assert_eq!(totals.read, sum(totals));
}

#[tokio::test]
async fn a_stopped_workflow_starts_again() {
    let world = World::new();
    world.fill(3);
    let workflow = world.workflow();
    for _ in 0..3 {
        let handle = workflow.start(RunMode::Continuous);
        until(|| handle.status().state == WorkflowState::Running).await;
        handle.stopper().cancel();
        assert_eq!(end_of(handle).await.status.state, WorkflowState::Stopped);
    }
    end_of(workflow.start(RunMode::UntilIdle)).await;
    world.assert_equal();
}

#[tokio::test]
async fn a_continuous_run_picks_up_what_changes() {
    let world = World::new();
    world.fill(2);
    let handle = world.workflow().start(RunMode::Continuous);
    until(|| handle.tallies()[0].1.inserted == 2).await;
    world.source.put("k000", "changed");
    world.source.delete("k001");
    until(|| handle.tallies()[0].1.deleted == 1 && handle.tallies()[0].1.updated == 1).await;
    handle.stop();
    end_of(handle).await;
    world.assert_equal();
}

#[test]
fn a_builder_names_what_is_missing() {
    let store = || Arc::new(MemoryStore::new());
    let world = World::new();
    assert_eq!(Workflow::builder("w").stream(world.stream_config()).build().unwrap_err(), BuildError::NoStore);
    assert_eq!(Workflow::builder("w").store(store()).build().unwrap_err(), BuildError::NoStream);
    let twice = Workflow::builder("w").store(store()).stream(world.stream_config()).stream(world.stream_config());
    assert_eq!(twice.build().unwrap_err(), BuildError::DuplicateStream(stream()));
}
