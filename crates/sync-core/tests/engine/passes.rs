//! Passes over the whole table beside its changes: closing sweep, audit, brake.

use std::time::Duration;

use sync_core::traits::{Backlog, PassKind, ScanDepth, SyncEvent};
use sync_core::{DeleteBrake, EndpointErrorKind, RunMode, Tally, WorkflowState};

use crate::parties::{Edit, key};
use crate::tripwire::Tripwire;
use crate::world::{World, end_of, replay_now, stream, sum, until};

/// Seven days and a bit.
const AUDIT: Duration = Duration::from_secs(7 * 24 * 3600 + 60);

fn scanning(records: usize) -> World {
    let world = World::new();
    world.source.state().scan = true;
    world.fill(records);
    world
}

/// Passes that ended: why, rows met, rows read again, records missed.
fn passes(world: &World) -> Vec<(PassKind, u64, u64, u64)> {
    let passes = world.events.all().into_iter().filter_map(|event| match event {
        SyncEvent::PassComplete { kind, scanned, reread, missing, .. } => Some((kind, scanned, reread, missing)),
        _ => None,
    });
    passes.collect()
}

async fn assert_all_counted(world: &World) {
    let totals = world.totals().await;
    assert_eq!(totals.read, sum(totals), "{totals:?}");
}

#[tokio::test]
async fn the_closing_sweep_finds_what_neither_page_nor_token_covers() {
    let world = scanning(7);
    world.source.state().late_token = true;
    // Three pages of three, three, one: rows that were read already change, vanish and come.
    let edits = vec![Edit::Put("k000", "changed"), Edit::Delete("k001"), Edit::Put("a", "new")];
    world.source.state().after_read.insert(1, edits);
    let report = world.run().await;
    assert_eq!(report.status.reason, None);
    world.assert_equal();
    assert_eq!(passes(&world), [(PassKind::Closing, 7, 2, 1)]);
    assert_eq!(world.source.state().fetched, 3, "two that are news, and one that is missing");
    assert_eq!(report.streams[0].tally.deleted, 1);
    assert_all_counted(&world).await;
}

#[tokio::test]
async fn a_sweep_reads_nothing_again_that_the_feed_told_of() {
    let world = scanning(7);
    let edits = vec![Edit::Put("k000", "changed"), Edit::Delete("k001"), Edit::Put("a", "new")];
    world.source.state().after_read.insert(1, edits);
    world.run().await;
    world.assert_equal();
    assert_eq!(passes(&world), [(PassKind::Closing, 7, 0, 0)]);
    assert_eq!(world.source.state().fetched, 0);
    assert!(world.source.state().scans.iter().all(|depth| *depth == ScanDepth::Versions));
    assert_all_counted(&world).await;
    let scans = world.source.state().scans.len();
    world.run().await;
    assert_eq!(world.source.state().scans.len(), scans, "one snapshot, one sweep");
}

#[tokio::test]
async fn changes_and_deletes_during_the_sweep_itself_come_by_the_feed() {
    let world = scanning(7);
    world.source.state().late_token = true;
    let edits =
        vec![Edit::Delete("k000"), Edit::Put("k001", "changed"), Edit::Put("k006", "changed"), Edit::Put("a", "n")];
    world.source.state().after_scan.insert(1, edits);
    world.run().await;
    world.assert_equal();
    assert_eq!(passes(&world).len(), 1);
    assert_all_counted(&world).await;
}

#[tokio::test]
async fn a_run_that_ends_in_the_middle_of_a_sweep_is_continued_there() {
    let whole = scanning(9);
    whole.run().await;
    assert_eq!(whole.source.state().scans.len(), 3);

    let mut world = scanning(9);
    world.source.state().late_token = true;
    world.source.state().after_read.insert(1, vec![Edit::Put("k008", "changed"), Edit::Put("k000", "changed")]);
    world.source.state().scan_gate = Some(2);
    let handle = world.workflow().start(RunMode::UntilIdle);
    until(|| world.source.state().scans.len() == 2).await;
    drop(handle);
    world.source.state().scan_gate = None;
    world.rewire(Tripwire::never());
    world.run().await;
    world.assert_equal();
    let scans = world.source.state().scans.len();
    assert!((3..=4).contains(&scans), "at most one page is asked for twice: {scans}");
    assert_eq!(passes(&world).len(), 1);
    assert_all_counted(&world).await;
}

#[tokio::test]
async fn the_end_of_the_process_at_any_point_of_a_load_and_its_sweep_loses_nothing() {
    let mut reached = 0;
    for at in 1..2_000 {
        let mut world = scanning(4);
        world.source.state().late_token = true;
        let edits = vec![Edit::Put("k000", "changed"), Edit::Delete("k001"), Edit::Put("a", "new")];
        world.source.state().after_read.insert(1, edits);
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
        assert_eq!(world.destination.state().records, world.source.expected(), "at {at}");
        assert_all_counted(&world).await;
    }
    assert!((60..1_999).contains(&reached), "{reached} points");
}

#[tokio::test]
async fn an_audit_finds_after_its_time_what_the_feed_never_told() {
    let world = scanning(4);
    world.run().await;
    let sweeps = passes(&world).len();
    // A change and a delete that no feed tells of.
    world.source.edit(Edit::Put("k000", "silently"));
    world.source.edit(Edit::Delete("k001"));
    world.source.forget_changes();
    world.clock.advance(AUDIT / 2);
    world.run().await;
    assert_eq!(passes(&world).len(), sweeps, "not before its time");
    assert_ne!(world.destination.state().records, world.source.expected());
    world.clock.advance(AUDIT / 2);
    world.run().await;
    assert_eq!(passes(&world)[sweeps..], [(PassKind::Audit, 3, 1, 1)]);
    world.assert_equal();
    world.clock.advance(AUDIT / 2);
    world.run().await;
    assert_eq!(passes(&world).len(), sweeps + 1, "its time begins anew");
}

#[tokio::test]
async fn the_brake_holds_in_an_audit_and_in_a_replay_until_it_is_raised() {
    for replay in [false, true] {
        let mut world = scanning(6);
        world.options.brake = DeleteBrake { rows: 2, share: 0.0 };
        world.run().await;
        for name in ["k000", "k001", "k002"] {
            world.source.delete(name);
        }
        world.source.forget_changes();
        world.source.put("k005", "changed");
        world.destination.take_calls();
        if replay {
            world.request(&replay_now()).await;
        } else {
            world.clock.advance(AUDIT);
        }
        for _ in 0..2 {
            let report = world.run().await;
            assert_eq!(report.status.state, WorkflowState::Stopped);
            assert_eq!(report.status.reason.unwrap().code, "delete-brake", "replay: {replay}");
        }
        assert_eq!(world.destination.state().records.len(), 6, "none was deleted");
        assert_eq!(world.destination.state().records[&key("k005")], ["changed"], "and the rest went on");
        world.options.brake = DeleteBrake { rows: 3, share: 0.0 };
        let report = world.run().await;
        assert_eq!(report.status.reason, None);
        assert_eq!(report.streams[0].tally, Tally { read: 3, deleted: 3, ..Tally::default() });
        world.assert_equal();
    }
}

#[tokio::test]
async fn a_brake_is_shown_no_more_once_the_table_is_looked_at_anew() {
    let mut world = scanning(6);
    world.options.brake = DeleteBrake { rows: 2, share: 0.0 };
    world.run().await;
    for name in ["k000", "k001", "k002"] {
        world.source.delete(name);
    }
    world.source.forget_changes();
    world.clock.advance(AUDIT);
    let handle = world.workflow().start(RunMode::Continuous);
    until(|| handle.status().reason.is_some_and(|reason| reason.code == "delete-brake")).await;
    for name in ["k000", "k001", "k002"] {
        world.source.put(name, "back");
    }
    world.request(&replay_now()).await;
    until(|| passes(&world).iter().any(|(kind, ..)| *kind == PassKind::Replay)).await;
    assert_eq!(handle.status().reason, None);
    handle.stop();
    end_of(handle).await;
    world.assert_equal();
}

#[tokio::test]
async fn a_position_that_expires_while_a_sweep_runs_leads_to_a_snapshot_and_a_new_sweep() {
    let world = scanning(7);
    world.source.state().late_token = true;
    world.source.state().scan_gate = Some(1);
    let handle = world.workflow().start(RunMode::UntilIdle);
    until(|| world.source.state().scans.len() == 1).await;
    world.source.edit(Edit::Put("k000", "changed"));
    world.source.delete("k006");
    world.source.expire();
    world.source.state().scan_gate = None;
    let report = end_of(handle).await;
    assert_eq!(report.status.reason, None);
    world.assert_equal();
    assert_eq!(world.events.count(|event| matches!(event, SyncEvent::Resnapshot { .. })), 1);
    assert_all_counted(&world).await;
}

#[tokio::test]
async fn a_source_that_cannot_be_scanned_is_never_scanned_and_its_snapshot_finds_what_vanished() {
    let world = World::new();
    world.fill(7);
    world.run().await;
    world.source.delete("k003");
    world.source.expire();
    world.clock.advance(AUDIT);
    world.run().await;
    world.assert_equal();
    assert_eq!(world.source.state().scans.len(), 0);
    assert_eq!(passes(&world), [(PassKind::Closing, 0, 0, 1)]);
}

#[tokio::test]
async fn a_scan_in_trouble_is_waited_out_and_one_no_longer_served_begins_anew() {
    let world = scanning(9);
    world.source.state().late_token = true;
    world.source.state().after_read.insert(1, vec![Edit::Put("k000", "changed")]);
    let second = Some(Duration::from_secs(9));
    world.source.state().scan_troubles.push_back((EndpointErrorKind::Unavailable, second));
    world.source.state().scan_gate = Some(2);
    let handle = world.workflow().start(RunMode::UntilIdle);
    until(|| world.source.state().scans.len() == 2).await;
    world.source.state().scan_troubles.push_back((EndpointErrorKind::Expired, None));
    world.source.state().scan_gate = None;
    let report = end_of(handle).await;
    assert_eq!(report.status.reason, None);
    assert!(world.clock.requested_sleeps().contains(&Duration::from_secs(9)));
    world.assert_equal();
    assert_eq!(passes(&world).len(), 1);
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_pass_leaves_it_to_the_next_run() {
    let world = scanning(9);
    world.source.state().late_token = true;
    world.source.state().after_read.insert(2, vec![Edit::Delete("k001")]);
    world.source.state().scan_gate = Some(2);
    let handle = world.workflow().start(RunMode::Continuous);
    until(|| world.source.state().scans.len() == 2).await;
    handle.stop();
    let report = end_of(handle).await;
    world.source.state().scan_gate = None;
    assert_eq!(report.status.state, WorkflowState::Stopped);
    assert!(passes(&world).is_empty());
    world.run().await;
    world.assert_equal();
    assert_eq!(passes(&world).len(), 1);
}

#[tokio::test]
async fn a_feed_that_is_due_again_at_once_does_not_keep_a_pass_from_its_turn() {
    let mut world = scanning(9);
    world.poll_every = Duration::ZERO;
    world.source.state().late_token = true;
    world.source.state().after_read.insert(1, vec![Edit::Put("k000", "changed")]);
    world.run().await;
    world.assert_equal();
    assert_eq!(passes(&world).len(), 1);
}

#[tokio::test]
async fn changes_are_polled_for_between_the_pages_of_a_long_pass() {
    let mut world = scanning(30);
    world.poll_every = Duration::ZERO;
    world.run().await;
    let state = world.source.state();
    let twice = state.asked.windows(2).filter(|pair| *pair == ["scan", "scan"]).count();
    assert_eq!(twice, 0, "{:?}", state.asked);
    assert_eq!(state.scans.len(), 10);
}

#[tokio::test]
async fn rows_that_are_sent_again_in_an_older_state_are_ignored() {
    let world = scanning(3);
    world.run().await;
    world.destination.take_calls();
    let old = world.source.state().version_of("k000");
    world.source.put("k000", "newer");
    world.run().await;
    world.source.edit(Edit::Resend("k000", old, "text 0"));
    world.source.put("k001", "changed");
    let report = world.run().await;
    assert_eq!(report.streams[0].tally, Tally { read: 2, updated: 1, superseded: 1, ..Tally::default() });
    assert_eq!(world.destination.take_calls(), ["update k000", "update k001"]);
    world.assert_equal();
}

#[tokio::test]
async fn a_checkpoint_that_moves_in_the_middle_of_a_pass_is_loaded_again() {
    let world = scanning(9);
    world.source.state().late_token = true;
    world.source.state().after_read.insert(1, vec![Edit::Put("k000", "changed")]);
    world.source.state().scan_gate = Some(2);
    let handle = world.workflow().start(RunMode::UntilIdle);
    until(|| world.source.state().scans.len() == 2).await;
    world.disturb().await;
    world.source.state().scan_gate = None;
    let report = end_of(handle).await;
    assert_eq!(report.status.reason, None);
    world.assert_equal();
    assert_eq!(passes(&world).len(), 1);
}

#[tokio::test]
async fn a_search_that_waits_for_children_is_left_to_the_next_run() {
    let world = scanning(4);
    world.source.put("k9", "child < test/others#p");
    let handle = world.workflow().start(RunMode::UntilIdle);
    end_of(handle).await;
    assert_eq!(world.stats().await.waiting, 1);
    // It is gone, and nothing tells of it but a look at the whole table.
    world.source.delete("k9");
    world.source.expire();
    let from = timing::Clock::monotonic(&world.clock);
    let report = world.run().await;
    assert_eq!(report.status.state, WorkflowState::Stopped);
    let took = timing::Clock::monotonic(&world.clock) - from;
    assert!(took < Duration::from_secs(600), "the run ends, though the entry waits on: {took:?}");
    assert!(world.store.unsettled_before(&stream(), 4).await.unwrap());
}
