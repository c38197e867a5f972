//! What a run does, counted in calls.

use std::sync::Arc;
use std::time::Duration;

use sync_core::traits::{Outcome, SyncEvent};
use sync_core::{EndpointErrorKind, RunMode, StreamConfig, StreamId, Tally, WorkflowState};

use crate::parties::{FakeDestination, FakeSource, Fault, key};
use crate::world::{World, end_of, stream, sum, until};

#[tokio::test]
async fn a_first_load_is_one_create_per_record_and_an_unchanged_run_costs_nothing() {
    let world = World::new();
    world.fill(10);
    let report = world.run().await;
    assert_eq!(report.status.state, WorkflowState::Stopped);
    assert_eq!(report.status.reason, None);
    assert_eq!(report.streams[0].tally, Tally { read: 10, inserted: 10, ..Tally::default() });
    assert_eq!(report.dead_added, 0);
    let calls = world.destination.take_calls();
    assert_eq!(calls.len(), 10);
    assert!(calls.iter().all(|call| call.starts_with("create ")), "{calls:?}");
    assert_eq!(world.source.state().reads, 5, "four pages of three rows, and one answer without a change");
    world.assert_equal();

    let report = world.run().await;
    assert_eq!(report.streams[0].tally, Tally::default());
    assert_eq!(world.destination.take_calls(), Vec::<String>::new());
    assert_eq!(world.source.state().reads, 6, "one question");
    assert_eq!(world.source.state().rows_read, 10, "and no row");
}

#[tokio::test]
async fn changes_cost_one_call_each() {
    let world = World::new();
    world.fill(6);
    world.run().await;
    world.destination.take_calls();
    world.source.put("k000", "changed");
    world.source.put("k001", "text 1");
    world.source.delete("k002");
    world.source.put("k003", "skip me now");
    world.source.put("k009", "new");
    let report = world.run().await;
    let expected = Tally { read: 5, inserted: 1, updated: 1, deleted: 2, unchanged: 1, ..Tally::default() };
    assert_eq!(report.streams[0].tally, expected);
    let mut calls = world.destination.take_calls();
    calls.sort();
    assert_eq!(calls, ["create k009", "delete k002", "delete k003", "update k000"]);
    world.assert_equal();
}

#[tokio::test]
async fn what_was_never_written_is_never_deleted() {
    let world = World::new();
    world.source.put("a", "skip from the start");
    world.run().await;
    world.source.delete("a");
    let report = world.run().await;
    assert_eq!(report.streams[0].tally, Tally { read: 1, ignored: 1, ..Tally::default() });
    assert_eq!(world.destination.take_calls(), Vec::<String>::new());
}

#[tokio::test]
async fn states_that_nobody_claimed_collapse_into_the_newest() {
    let world = World::new();
    world.fill(1);
    world.run().await;
    world.destination.take_calls();
    // The service is away while the record changes twice more.
    let wait = Some(Duration::from_secs(600));
    world.destination.fault("k000", Fault::Say(Outcome::Retry { after: wait, code: "throttled".into() }));
    world.source.put("k000", "second");
    let handle = world.workflow().start(RunMode::Continuous);
    until(|| handle.tallies()[0].1.read == 1 && world.destination.state().calls.len() == 1).await;
    for text in ["third", "fourth"] {
        let read = handle.tallies()[0].1.read;
        world.source.put("k000", text);
        until(|| handle.tallies()[0].1.read == read + 1).await;
    }
    until(|| world.destination.state().records[&key("k000")] == ["fourth"]).await;
    handle.stop();
    let report = end_of(handle).await;
    assert_eq!(report.streams[0].tally, Tally { read: 3, updated: 1, superseded: 2, ..Tally::default() });
    assert_eq!(world.destination.take_calls(), ["update k000", "update k000"]);
}

#[tokio::test]
async fn a_record_that_is_there_already_is_adopted() {
    let world = World::new();
    world.fill(1);
    world.destination.state().records.insert(key("k000"), vec!["older".into()]);
    let report = world.run().await;
    assert_eq!(report.streams[0].tally, Tally { read: 1, updated: 1, ..Tally::default() });
    assert_eq!(world.destination.take_calls(), ["create k000", "update k000"]);
    world.assert_equal();
}

#[tokio::test]
async fn a_record_that_vanished_there_is_created_again() {
    let world = World::new();
    world.fill(1);
    world.run().await;
    world.destination.state().records.clear();
    world.destination.take_calls();
    world.source.put("k000", "changed");
    let report = world.run().await;
    assert_eq!(report.streams[0].tally, Tally { read: 1, inserted: 1, ..Tally::default() });
    assert_eq!(world.destination.take_calls(), ["update k000", "create k000"]);
    world.assert_equal();
}

#[tokio::test]
async fn an_unknown_write_is_repeated_at_once_and_verified_by_a_later_run() {
    let world = World::new();
    world.fill(2);
    world.destination.fault("k000", Fault::AnswerLost);
    let report = world.run().await;
    assert_eq!(report.streams[0].tally.inserted, 2);
    let calls = world.destination.take_calls();
    assert_eq!(calls.iter().filter(|call| call.ends_with("k000")).count(), 3, "create, create, update: {calls:?}");
    assert_eq!(world.stats().await.verifications, 1, "and it does not hold the run");
    world.assert_equal();

    world.clock.advance(Duration::from_secs(61));
    let report = world.run().await;
    assert_eq!(report.streams[0].tally, Tally::default(), "a verification is not counted");
    assert_eq!(world.destination.take_calls(), ["update k000"]);
    assert_eq!(world.stats().await.verifications, 0);
    world.assert_equal();
}

#[tokio::test]
async fn what_an_older_plan_left_is_read_again_before_it_is_written() {
    let mut world = World::new();
    world.fill(6);
    let hour = Duration::from_secs(3600);
    world.destination.fault("k000", Fault::Down(EndpointErrorKind::Unavailable, Some(hour)));
    let handle = world.workflow().start(RunMode::Continuous);
    until(|| handle.tallies()[0].1.read == 6).await;
    handle.stop();
    end_of(handle).await;
    let written: Vec<_> = world.destination.state().records.keys().cloned().collect();
    assert!(written.len() < 5, "most are still waiting");
    world.destination.take_calls();
    world.source.delete("k004");
    world.source.put("k005", "skip from now on");
    (world.plan, world.marked) = (2, true);
    let report = world.run().await;
    assert_eq!(report.status.reason, None);
    let records = world.destination.state().records.clone();
    let by_the_new_plan = |texts: &Vec<String>| texts.len() == 1 && texts[0].ends_with("by plan 2");
    let late = records.iter().filter(|(key, _)| !written.contains(key));
    assert!(late.clone().count() >= 1 && late.clone().all(|(_, texts)| by_the_new_plan(texts)), "{records:?}");
    assert!(!records.contains_key(&key("k004")) && !records.contains_key(&key("k005")));
    let totals = world.totals().await;
    assert_eq!(totals.read, crate::world::sum(totals), "{totals:?}");
}

#[tokio::test]
async fn without_a_unique_key_the_destination_is_asked_first() {
    let world = World::new().destination(|destination| destination.caps.unique_key = false);
    world.fill(2);
    world.destination.fault("k000", Fault::AnswerLost);
    world.destination.fault("k001", Fault::RequestLost);
    let report = world.run().await;
    assert_eq!(report.status.state, WorkflowState::Stopped);
    let calls = world.destination.take_calls();
    let of = |name: &str| calls.iter().filter(|call| call.ends_with(name)).cloned().collect::<Vec<_>>();
    assert_eq!(of("k000"), ["look k000", "create k000", "look k000", "update k000"]);
    assert_eq!(of("k001"), ["look k001", "create k001", "look k001", "create k001"]);
    assert!(world.clock.requested_sleeps().iter().any(|wait| *wait > Duration::from_secs(50)), "it settles first");
    world.assert_equal();
}

#[tokio::test]
async fn a_bad_record_holds_up_nothing_else() {
    let world = World::new();
    world.fill(3);
    world.source.put("x1", "bad text");
    world.source.put("x2", "panic text");
    let rejection =
        sync_core::traits::Rejection { code: "too-long".into(), field: None, explanation: "Shorten it.".into() };
    world.destination.fault("k001", Fault::Say(Outcome::Rejected(rejection)));
    let report = world.run().await;
    assert_eq!(report.status.state, WorkflowState::Stopped);
    assert_eq!(report.dead_added, 3);
    assert_eq!(report.streams[0].tally, Tally { read: 5, inserted: 2, dead: 3, ..Tally::default() });
    let mut codes: Vec<String> = world.dead().await.into_iter().map(|letter| letter.rejection.code).collect();
    codes.sort();
    assert_eq!(codes, ["bad-text", "mapping-panicked", "too-long"]);
    assert_eq!(world.events.count(|event| matches!(event, SyncEvent::DeadLettered { .. })), 3);
}

#[tokio::test]
async fn a_record_refused_again_and_again_becomes_a_dead_letter_and_a_service_never_does() {
    let world = World::new();
    world.fill(2);
    for _ in 0..8 {
        world.destination.fault("k000", Fault::Say(Outcome::Retry { after: None, code: "conflict".into() }));
    }
    for _ in 0..20 {
        world.destination.fault("k001", Fault::Say(Outcome::Retry { after: None, code: "throttled".into() }));
    }
    let report = world.run().await;
    assert_eq!(report.streams[0].tally, Tally { read: 2, inserted: 1, dead: 1, ..Tally::default() });
    assert_eq!(world.dead().await[0].rejection.code, "conflict");
    assert_eq!(world.dead().await[0].attempts, 8);
}

#[tokio::test]
async fn keys_keep_their_order_while_many_are_in_flight() {
    let world = World::new().destination(|destination| {
        destination.latency = Duration::from_millis(7);
        destination.caps.in_flight = 5;
    });
    world.fill(20);
    let handle = world.workflow().start(RunMode::Continuous);
    for round in 0..6 {
        until(|| world.destination.state().calls.len() > round * 5).await;
        for number in 0..20 {
            world.source.put(&format!("k{number:03}"), &format!("round {round} of {number}"));
        }
        let read = handle.tallies()[0].1.read;
        until(|| handle.tallies()[0].1.read >= read + 20).await;
    }
    until(|| handle.backlog()[0].1 == 0).await;
    handle.stop();
    let report = end_of(handle).await;
    let tally = report.streams[0].tally;
    assert_eq!(tally.read, sum(tally));
    assert_eq!(world.destination.state().in_flight_max, 5);
    world.assert_equal();
}

fn second(world: &World, rank: u32, source: &Arc<FakeSource>) -> StreamConfig {
    StreamConfig { id: StreamId::new("test/children"), rank, source: source.clone(), ..world.stream_config() }
}

#[tokio::test]
async fn parents_are_written_before_children_and_read_to_their_end_first() {
    let world = World::new();
    let parents = Arc::new(FakeSource::new());
    for number in 0..10 {
        parents.put(&format!("parent{number}"), "p");
        world.source.put(&format!("child{number}"), "c");
    }
    parents.state().gate = true;
    let (child, parent) =
        (second(&world, 1, &world.source), StreamConfig { source: parents.clone(), ..world.stream_config() });
    let handle = world.workflow_of(vec![child, parent]).start(RunMode::UntilIdle);
    until(|| handle.backlog()[0].1 == 10).await;
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.destination.take_calls(), Vec::<String>::new(), "children wait for the parents' first snapshot");
    parents.state().gate = false;
    let report = end_of(handle).await;
    assert_eq!(report.streams.iter().map(|stream| stream.tally.inserted).sum::<u64>(), 20);
    let calls = world.destination.take_calls();
    let last_parent = calls.iter().rposition(|call| call.contains("parent")).unwrap();
    let first_child = calls.iter().position(|call| call.contains("child")).unwrap();
    assert!(last_parent < first_child, "{calls:?}");
}

#[tokio::test]
async fn an_expired_position_is_read_anew_and_vanished_records_are_deleted() {
    let world = World::new();
    world.fill(5);
    world.run().await;
    world.destination.take_calls();
    world.source.delete("k001");
    world.source.delete("k003");
    world.source.put("k004", "changed");
    world.source.expire();
    let report = world.run().await;
    assert_eq!(report.status.reason, None);
    let expected = Tally { read: 5, updated: 1, deleted: 2, unchanged: 2, ..Tally::default() };
    assert_eq!(report.streams[0].tally, expected);
    let mut calls = world.destination.take_calls();
    calls.sort();
    assert_eq!(calls, ["delete k001", "delete k003", "update k004"]);
    assert_eq!(world.source.state().fetched, 2, "only what was missed is asked for");
    assert_eq!(world.events.count(|event| matches!(event, SyncEvent::Resnapshot { generation: 2, .. })), 1);
    world.assert_equal();
    assert_eq!(world.run().await.streams[0].tally, Tally::default(), "and that is all");
}

#[tokio::test]
async fn without_deletes_a_vanished_record_stays() {
    let mut world = World::new();
    world.apply_deletes = false;
    world.fill(3);
    world.run().await;
    world.source.delete("k001");
    world.source.expire();
    let report = world.run().await;
    assert_eq!(report.streams[0].tally, Tally { read: 2, unchanged: 2, ..Tally::default() });
    assert_eq!(world.destination.state().records.len(), 3);
}

#[tokio::test]
async fn the_brake_deletes_nothing_and_says_so() {
    let mut world = World::new();
    world.options.brake.rows = 2;
    world.fill(8);
    world.run().await;
    world.destination.take_calls();
    for name in ["k000", "k001", "k002"] {
        world.source.delete(name);
    }
    world.source.expire();
    let report = world.run().await;
    assert_eq!(report.status.state, WorkflowState::Stopped);
    assert_eq!(report.status.reason.map(|reason| reason.code).as_deref(), Some("delete-brake"));
    assert_eq!(world.destination.take_calls(), Vec::<String>::new());
    let brake = SyncEvent::DeleteBrake { stream: stream(), candidates: 3, allowed: 2 };
    assert_eq!(world.events.count(|event| *event == brake), 1);

    world.options.brake.rows = 3;
    let report = world.run().await;
    assert_eq!(report.streams[0].tally.deleted, 3, "the search is taken up by the next run");
    assert_eq!(report.status.reason, None);
    world.assert_equal();
}

#[tokio::test]
async fn the_reader_never_runs_further_ahead_than_the_high_water_mark() {
    let mut world = World::new().destination(|destination| destination.latency = Duration::from_millis(20));
    world.options.high_water = 6;
    world.fill(60);
    let report = world.run().await;
    assert_eq!(report.streams[0].tally.inserted, 60);
    let highest = world.events.all().into_iter().filter_map(|event| match event {
        SyncEvent::PageRead { backlog, .. } => Some(backlog),
        _ => None,
    });
    // The page that crosses the mark, and the one that was read ahead.
    assert!(highest.max().unwrap() <= 6 + 3 + 3);
    world.assert_equal();
}

#[tokio::test]
async fn a_destination_that_is_away_is_waited_for_without_counting_attempts() {
    let world = World::new();
    world.fill(1);
    for _ in 0..30 {
        world.destination.fault("k000", Fault::Down(EndpointErrorKind::Unavailable, None));
    }
    world.destination.fault("k000", Fault::Down(EndpointErrorKind::Unavailable, Some(Duration::from_secs(77))));
    let report = world.run().await;
    assert_eq!(report.streams[0].tally.inserted, 1);
    assert_eq!(report.status.reason, None);
    let waits = world.clock.requested_sleeps();
    assert!(waits.iter().any(|wait| *wait == Duration::from_secs(77)), "{waits:?}");
    assert_eq!(world.events.count(|event| matches!(event, SyncEvent::Retrying { .. })), 31);
}

#[tokio::test]
async fn one_destination_may_serve_a_stream_that_has_nothing() {
    let world = World::new();
    let report = world.run().await;
    assert_eq!(report.streams[0].tally, Tally::default());
    let other: &FakeDestination = &world.destination;
    assert_eq!(other.state().in_flight_max, 0);
}
