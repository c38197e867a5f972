//! What ends a run, and what an operator is told.

use std::time::Duration;

use sync_core::traits::{LeaseStore, Outcome, OwnerId, StateStore, SyncEvent};
use sync_core::{EndpointErrorKind, RunMode, StoreErrorKind, WorkflowState, WorkflowStatus};

use crate::parties::Fault;
use crate::world::{World, end_of, until};

#[tokio::test]
async fn a_refusing_source_fails_the_workflow_with_its_remedy() {
    let world = World::new();
    world.fill(2);
    world.source.state().troubles.push_back((EndpointErrorKind::Refused, None));
    let report = world.run().await;
    assert_eq!(report.status.state, WorkflowState::Failed);
    let reason = report.status.reason.unwrap();
    assert_eq!((reason.code.as_str(), reason.remedy.as_str()), ("service-trouble", "Mend the service."));
    let kept = world.store.get("status/test").await.unwrap().unwrap();
    let kept: WorkflowStatus = serde_json::from_slice(&kept).unwrap();
    assert_eq!(kept.state, WorkflowState::Failed);
    assert_eq!(kept.reason.unwrap().remedy, "Mend the service.");

    let report = world.run().await;
    assert_eq!(report.status.state, WorkflowState::Stopped, "the next run goes on");
    world.assert_equal();
}

#[tokio::test]
async fn a_refusing_destination_fails_the_workflow_and_leaves_nothing_in_flight() {
    let world = World::new().destination(|destination| destination.latency = Duration::from_millis(10));
    world.fill(12);
    world.destination.fault("k004", Fault::Down(EndpointErrorKind::Refused, None));
    let report = world.run().await;
    assert_eq!(report.status.state, WorkflowState::Failed);
    assert_eq!(report.status.reason.unwrap().code, "service-trouble");
    let stats = world.stats().await;
    assert_eq!((stats.in_flight, stats.unknown), (0, 0));
    world.run().await;
    world.assert_equal();
}

#[tokio::test]
async fn a_full_store_fails_the_workflow_with_its_remedy() {
    let mut world = World::new();
    world.fill(2);
    world.broken = Some(StoreErrorKind::Full);
    let report = world.run().await;
    assert_eq!(report.status.state, WorkflowState::Failed);
    let reason = report.status.reason.unwrap();
    assert_eq!((reason.code.as_str(), reason.remedy.as_str()), ("store-full", "Make room and start again."));
    assert!(world.destination.state().records.is_empty());
    world.broken = None;
    world.run().await;
    world.assert_equal();
}

#[tokio::test]
async fn a_run_that_lost_its_lease_steps_down() {
    let world = World::new();
    world.fill(2);
    let handle = world.workflow().start(RunMode::Continuous);
    until(|| handle.tallies()[0].1.inserted == 2).await;
    let owner = OwnerId("another".into());
    let newer = world.store.acquire("test", &owner).await.unwrap().unwrap();
    world.source.put("k009", "later");
    let report = end_of(handle).await;
    assert_eq!(report.status.state, WorkflowState::Failed);
    assert_eq!(report.status.reason.unwrap().code, "store-fenced");
    assert_eq!(world.destination.state().records.len(), 2, "nothing is written without a lease");
    world.store.release(newer).await.unwrap();
    world.run().await;
    world.assert_equal();
}

#[tokio::test]
async fn trouble_that_passes_is_shown_while_it_lasts() {
    let world = World::new();
    world.fill(1);
    for _ in 0..3 {
        world.source.state().troubles.push_back((EndpointErrorKind::Unavailable, Some(Duration::from_secs(5))));
    }
    let report = world.run().await;
    assert_eq!(report.status, WorkflowStatus::new(WorkflowState::Stopped));
    let shown: Vec<WorkflowStatus> = world
        .events
        .all()
        .into_iter()
        .filter_map(|event| match event {
            SyncEvent::Status(status) => Some(status),
            _ => None,
        })
        .collect();
    let states: Vec<_> = shown.iter().map(|status| (status.state, status.reason.is_some())).collect();
    use WorkflowState::{Running, Starting, Stopped};
    assert_eq!(states, [(Starting, false), (Running, false), (Running, true), (Running, false), (Stopped, false)]);
    let waits = world.clock.requested_sleeps();
    assert_eq!(waits.iter().filter(|wait| **wait == Duration::from_secs(5)).count(), 3, "{waits:?}");
}

#[tokio::test]
async fn a_pause_that_a_service_ordered_is_obeyed_by_the_next_run() {
    let world = World::new();
    world.fill(1);
    let hour = Duration::from_secs(1800);
    world.destination.fault("k000", Fault::Say(Outcome::Retry { after: Some(hour), code: "throttled".into() }));
    let handle = world.workflow().start(RunMode::Continuous);
    until(|| world.events.count(|event| matches!(event, SyncEvent::Retrying { .. })) == 1).await;
    handle.stop();
    end_of(handle).await;
    world.source.put("k001", "other");
    let from = timing::Clock::monotonic(&world.clock);
    world.run().await;
    let waited = timing::Clock::monotonic(&world.clock) - from;
    assert!(waited > hour - Duration::from_secs(60), "{waited:?}");
    world.assert_equal();
}
