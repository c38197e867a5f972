//! What operators ask for: replay, requeue, drop; and how long dead letters are kept.

use std::time::Duration;

use sync_core::traits::{LetterFilter, Outcome, Rejection, ReplayStart, Request, ScanDepth, StateStore, SyncEvent};
use sync_core::{EndpointErrorKind, RunMode, Tally};

use crate::parties::{Fault, key};
use crate::tripwire::Tripwire;
use crate::world::{World, end_of, replay_now, stream, sum, until};

fn scanning(records: usize) -> World {
    let world = World::new();
    world.source.state().scan = true;
    world.fill(records);
    world
}

fn done(world: &World) -> usize {
    world.events.count(|event| matches!(event, SyncEvent::RequestDone { .. }))
}

fn refusal() -> Fault {
    let rejection = Rejection { code: "too-long".into(), field: None, explanation: "Shorten it.".into() };
    Fault::Say(Outcome::Rejected(rejection))
}

/// What the destination holds after a replay of everything, changed afterwards or not.
fn again(world: &World) -> Vec<String> {
    world.source.expected().into_values().map(|texts| format!("{} again", texts[0])).collect()
}

#[tokio::test]
async fn a_replay_writes_every_record_again_once_with_the_bodies_of_a_replay() {
    let mut world = scanning(7);
    world.again = true;
    world.run().await;
    world.destination.take_calls();
    world.request(&replay_now()).await;
    let report = world.run().await;
    assert_eq!(report.status.reason, None);
    assert_eq!(report.streams[0].tally, Tally { read: 7, updated: 7, ..Tally::default() });
    assert_eq!(world.destination.take_calls().len(), 7, "equal digests too, and once each");
    assert_eq!(
        world.destination.state().records.values().map(|texts| texts[0].clone()).collect::<Vec<_>>(),
        again(&world)
    );
    assert_eq!(done(&world), 1);
    assert!(world.store.requests().await.unwrap().is_empty());
    let report = world.run().await;
    assert_eq!(report.streams[0].tally, Tally::default(), "it was asked for once");
}

#[tokio::test]
async fn changes_during_a_replay_are_written_and_nothing_older_overtakes_them() {
    let world = scanning(12);
    world.run().await;
    let gate = world.source.state().scans.len() + 2;
    world.source.state().scan_gate = Some(gate);
    world.request(&replay_now()).await;
    let handle = world.workflow().start(RunMode::UntilIdle);
    until(|| world.source.state().scans.len() == gate).await;
    for (name, text) in [("k000", "changed behind"), ("k011", "changed ahead"), ("m", "new")] {
        world.source.put(name, text);
    }
    world.source.delete("k001");
    world.source.delete("k010");
    // The feed is asked before the next page.
    world.let_pass(Duration::from_secs(40)).await;
    world.source.state().scan_gate = None;
    let report = end_of(handle).await;
    assert_eq!(report.status.reason, None);
    world.assert_equal();
    let totals = world.totals().await;
    assert_eq!(totals.read, sum(totals));
    assert_eq!(done(&world), 1);
}

#[tokio::test]
async fn a_replay_asked_for_twice_or_in_the_middle_of_another_ends_with_every_record_written() {
    let world = scanning(9);
    world.run().await;
    world.destination.take_calls();
    world.request(&replay_now()).await;
    world.request(&replay_now()).await;
    let gate = world.source.state().scans.len() + 2;
    world.source.state().scan_gate = Some(gate);
    let handle = world.workflow().start(RunMode::UntilIdle);
    until(|| world.source.state().scans.len() == gate).await;
    world.request(&replay_now()).await;
    until(|| {
        world.clock.requested_sleeps().len() > 200
            || done(&world) == 3
            || world.source.state().scan_gate.take().is_some()
    })
    .await;
    let report = end_of(handle).await;
    assert_eq!(report.status.reason, None);
    let calls = world.destination.take_calls();
    for number in 0..9 {
        assert!(calls.contains(&format!("update k{number:03}")), "{calls:?}");
    }
    if !world.store.requests().await.unwrap().is_empty() {
        world.run().await;
    }
    assert_eq!(done(&world), 3);
    world.assert_equal();
}

#[tokio::test]
async fn a_replay_asked_for_during_a_load_comes_after_it() {
    let world = scanning(9);
    world.request(&replay_now()).await;
    let report = world.run().await;
    assert_eq!(report.status.reason, None);
    // What nobody had claimed yet was replaced; what was written already was written again.
    assert!(world.source.state().scans.iter().all(|depth| *depth == ScanDepth::Rows));
    assert_eq!(world.source.state().scans.len(), 3, "one pass, which is the closing sweep, too");
    let tally = report.streams[0].tally;
    assert_eq!((tally.read, tally.inserted, tally.updated + tally.superseded), (18, 9, 9));
    world.assert_equal();
    assert_eq!(done(&world), 1);
}

#[tokio::test]
async fn a_replay_whose_position_expires_is_done_after_the_new_snapshot() {
    let mut world = scanning(9);
    world.again = true;
    world.run().await;
    let gate = world.source.state().scans.len() + 1;
    world.source.state().scan_gate = Some(gate);
    world.request(&replay_now()).await;
    let handle = world.workflow().start(RunMode::UntilIdle);
    until(|| world.source.state().scans.len() == gate).await;
    world.source.expire();
    world.let_pass(Duration::from_secs(40)).await;
    world.source.state().scan_gate = None;
    let report = end_of(handle).await;
    assert_eq!(report.status.reason, None);
    assert_eq!(
        world.destination.state().records.values().map(|texts| texts[0].clone()).collect::<Vec<_>>(),
        again(&world)
    );
}

#[tokio::test]
async fn the_end_of_the_process_at_any_point_of_a_replay_leaves_no_record_out() {
    let mut reached = 0;
    for at in 1..2_000 {
        let mut world = scanning(4);
        world.again = true;
        world.run().await;
        world.request(&replay_now()).await;
        world.source.put("k000", "changed");
        let wire = Tripwire::new(at);
        world.rewire(wire.clone());
        let handle = world.workflow().start(RunMode::UntilIdle);
        let mut end = Box::pin(handle.join());
        let tripped = tokio::select! {
            () = wire.tripped() => true,
            _ = &mut end => false,
        };
        drop(end);
        world.rewire(Tripwire::never());
        if !tripped {
            break;
        }
        reached = at;
        let report = world.run().await;
        assert_eq!(report.status.reason, None, "at {at}");
        let held: Vec<String> = world.destination.state().records.values().map(|texts| texts[0].clone()).collect();
        assert_eq!(held, again(&world), "at {at}");
        assert!(world.store.requests().await.unwrap().is_empty(), "at {at}");
    }
    assert!((40..1_999).contains(&reached), "{reached} points");
}

#[tokio::test]
async fn a_replay_for_the_next_start_waits_for_it() {
    let world = scanning(3);
    let handle = world.workflow().start(RunMode::Continuous);
    until(|| world.destination.state().records.len() == 3).await;
    world.request(&Request::Replay { stream: stream(), when: ReplayStart::NextStart }).await;
    let waits = world.clock.requested_sleeps().len();
    until(|| world.clock.requested_sleeps().len() > waits + 20).await;
    assert_eq!(world.destination.take_calls().len(), 3);
    handle.stop();
    end_of(handle).await;
    world.run().await;
    assert_eq!(world.destination.take_calls().len(), 3, "all again");
    assert_eq!(done(&world), 1);
}

#[tokio::test]
async fn a_source_that_cannot_be_scanned_refuses_a_replay_and_goes_on() {
    let world = World::new();
    world.fill(3);
    world.request(&replay_now()).await;
    let report = world.run().await;
    assert_eq!(report.status.reason, None);
    let refused = |event: &SyncEvent| matches!(event, SyncEvent::RequestRefused { code, .. } if code == "no-scan");
    assert_eq!(world.events.count(refused), 1);
    assert!(world.store.requests().await.unwrap().is_empty());
    world.assert_equal();
}

#[tokio::test]
async fn a_requeue_tries_the_wanted_dead_letters_again_and_each_once() {
    let world = World::new();
    world.fill(5);
    for name in ["k000", "k001", "k002", "k003"] {
        world.destination.fault(name, refusal());
    }
    world.destination.fault("k001", refusal());
    world.source.put("x", "bad text");
    world.run().await;
    assert_eq!(world.dead().await.len(), 5);
    world.source.put("k004", "changed");
    world.request(&Request::Requeue(LetterFilter { code: Some("too-long".into()), ..LetterFilter::default() })).await;
    let report = world.run().await;
    assert_eq!(report.status.reason, None);
    let left: Vec<_> = world.dead().await.into_iter().map(|letter| letter.key).collect();
    assert_eq!(left, [key("x"), key("k001")], "one was not meant, one was refused once more");
    assert_eq!(report.streams[0].tally, Tally { read: 5, inserted: 3, updated: 1, dead: 1, ..Tally::default() });
    assert_eq!(done(&world), 1);
    // A record that is gone by now needs no write: its letter is closed.
    world.source.delete("k001");
    world.source.forget_changes();
    world.request(&Request::Requeue(LetterFilter::default())).await;
    world.run().await;
    let left: Vec<_> = world.dead().await.into_iter().map(|letter| letter.key).collect();
    assert_eq!(left, [key("x")]);
}

#[tokio::test]
async fn a_drop_forgets_letters_and_touches_no_record() {
    let world = World::new();
    world.fill(3);
    for name in ["k000", "k001"] {
        world.destination.fault(name, refusal());
    }
    world.run().await;
    let first = world.dead().await[0].id;
    world.destination.take_calls();
    world.request(&Request::Drop(LetterFilter { ids: vec![first], ..LetterFilter::default() })).await;
    world.run().await;
    assert_eq!(world.dead().await.len(), 1);
    assert_ne!(world.dead().await[0].id, first);
    assert_eq!(world.destination.take_calls(), Vec::<String>::new());
    assert_eq!(done(&world), 1);
}

#[tokio::test]
async fn dead_letters_are_forgotten_after_their_time_and_not_before() {
    let mut world = World::new();
    world.options.dead_letter_retention = Some(Duration::from_secs(1000));
    world.fill(1);
    world.destination.fault("k000", refusal());
    world.run().await;
    world.clock.advance(Duration::from_secs(990));
    world.run().await;
    assert_eq!(world.dead().await.len(), 1);
    world.clock.advance(Duration::from_secs(20));
    world.run().await;
    assert!(world.dead().await.is_empty());
}

#[tokio::test]
async fn a_request_that_another_holder_of_the_store_leaves_is_carried_out_while_the_workflow_runs() {
    let world = scanning(3);
    world.destination.fault("k000", refusal());
    let handle = world.workflow().start(RunMode::Continuous);
    until(|| world.destination.state().records.len() == 2).await;
    until(|| handle.tallies()[0].1.dead == 1).await;
    let elsewhere = world.store.clone();
    elsewhere.leave_request(&Request::Requeue(LetterFilter::default()), 0).await.unwrap();
    until(|| done(&world) == 1 && world.destination.state().records.len() == 3).await;
    elsewhere.leave_request(&replay_now(), 0).await.unwrap();
    world.destination.take_calls();
    until(|| done(&world) == 2 && world.destination.state().calls.len() == 3).await;
    handle.stop();
    end_of(handle).await;
    world.assert_equal();
    assert!(world.dead().await.is_empty());
}

#[tokio::test]
async fn a_request_does_not_cut_short_the_wait_that_a_source_asked_for() {
    let world = scanning(3);
    world.run().await;
    let wait = Duration::from_secs(120);
    world.source.state().troubles.push_back((EndpointErrorKind::Unavailable, Some(wait)));
    let reads = world.source.state().reads;
    let handle = world.workflow().start(RunMode::UntilIdle);
    until(|| world.source.state().reads == reads + 1).await;
    let from = timing::Clock::monotonic(&world.clock);
    world.request(&replay_now()).await;
    until(|| world.source.state().reads > reads + 1).await;
    let waited = timing::Clock::monotonic(&world.clock) - from;
    assert!(waited >= wait, "{waited:?}");
    end_of(handle).await;
    assert_eq!(done(&world), 1);
    world.assert_equal();
}
