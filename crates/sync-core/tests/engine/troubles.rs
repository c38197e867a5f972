//! What ends a run, and what an operator is told.

use std::time::Duration;

use sync_core::traits::{LeaseStore, Outcome, OwnerId, StateStore, SyncEvent};
use sync_core::{EndpointErrorKind, RunMode, StatusReason, StoreErrorKind, WorkflowState, WorkflowStatus};

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
    let owner = OwnerId(world.owner.into());
    let newer = world.store.acquire("test", &owner, Duration::from_secs(30)).await.unwrap().unwrap();
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
async fn what_a_source_has_to_say_is_shown_while_it_says_it() {
    let world = World::new();
    world.fill(1);
    let says = |code: &str| StatusReason {
        code: code.to_owned(),
        message: "It is late.".to_owned(),
        remedy: "Look.".to_owned(),
    };
    world.source.state().notice = Some(says("late"));
    let handle = world.workflow().start(RunMode::Continuous);
    until(|| handle.status().reason == Some(says("late")) && handle.tallies()[0].1.inserted == 1).await;
    assert_eq!(handle.status().state, WorkflowState::Running, "it reads and writes all the same");
    // Trouble is told before it.
    world.source.state().troubles.push_back((EndpointErrorKind::Unavailable, Some(Duration::from_secs(60))));
    until(|| handle.status().reason.is_some_and(|reason| reason.code == "service-trouble")).await;
    until(|| handle.status().reason == Some(says("late"))).await;
    world.source.state().notice = None;
    until(|| handle.status().reason.is_none()).await;
    world.source.state().notice = Some(says("late"));
    until(|| handle.status().reason.is_some()).await;
    handle.stop();
    assert_eq!(end_of(handle).await.status, WorkflowStatus::new(WorkflowState::Stopped));
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
async fn a_service_that_leaves_every_write_open_is_left_alone_and_costs_no_record() {
    let mut world = World::new();
    world.options.unknown_streak = 8;
    world.fill(60);
    for number in 0..60 {
        for _ in 0..12 {
            world.destination.fault(&format!("k{number:03}"), Fault::RequestLost);
        }
    }
    let report = world.run().await;
    assert_eq!(report.status.reason, None);
    assert!(world.dead().await.is_empty(), "an outage gives no record up");
    let pauses: Vec<_> = world
        .events
        .all()
        .into_iter()
        .filter_map(|event| match event {
            SyncEvent::Retrying { delay_ms, .. } => Some(delay_ms),
            _ => None,
        })
        .collect();
    assert!(pauses.len() > 8 && pauses[..6].is_sorted() && pauses[0] >= 500, "ever longer: {pauses:?}");
    world.assert_equal();
}

#[tokio::test]
async fn a_record_that_always_stays_open_becomes_a_dead_letter_and_ends_no_run_late() {
    for others in [0, 20] {
        let world = World::new();
        world.fill(1 + others);
        for _ in 0..1_000 {
            world.destination.fault("k000", Fault::RequestLost);
        }
        let report = world.run().await;
        assert_eq!(report.streams[0].tally.dead, 1, "{others} others");
        assert_eq!(report.streams[0].tally.inserted, others as u64);
        assert_eq!(world.dead().await[0].rejection.code, "unknown-outcome");

        // Nobody knows whether it is there: a delete asks for it all the same.
        world.destination.state().faults.clear();
        world.destination.take_calls();
        world.source.delete("k000");
        world.run().await;
        assert_eq!(world.destination.take_calls(), ["delete k000"]);
        assert!(world.dead().await.is_empty());
    }
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
