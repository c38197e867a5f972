//! What goes on beside the change feed: sweeps, replays, the search for vanished records, and orders.

use std::time::Duration;

use record::Key;
use sync_core::engine::reader::{
    Context, Order, OrderKind, PassNote, ReaderConfig, ReaderInput as I, ReaderMachine, RunningPass, ScannedPage,
};
use sync_core::traits::{Draft, DraftBody, LetterFilter, PassKind, Phase};
use sync_core::{EndpointErrorKind, Position};

use crate::support::{IDLE, checkpoint, config, drafts, loaded, page, show, trouble};

/// Brings a reader from an expired position to the end of its new snapshot.
fn resnapshot(sweep: bool, backlog: u64) -> (ReaderMachine, Vec<String>) {
    let config = ReaderConfig { deletes: sweep, ..config(true) };
    let (mut machine, _) = loaded(config, Some(checkpoint(4, 1, Phase::Incremental, Some("d1"))), PassNote::default());
    let actions = machine.step(IDLE, I::ReadFailed(trouble(EndpointErrorKind::Expired, None)));
    assert_eq!(show(&actions), ["note last 2 done None due closing running -"], "remembered before the reset");
    assert_eq!(show(&machine.step(IDLE, I::Noted)), ["reset v4 g2"]);
    let actions = machine.step(IDLE, I::Stored(checkpoint(5, 2, Phase::Snapshot, None)));
    assert_eq!(show(&actions), ["resnapshot 2", "read start 10"]);
    let actions = machine.step(IDLE, page(3, "d9", Phase::Snapshot, false));
    assert_eq!(show(&actions), ["append 3 to d9 v5 g2 Incremental seen Some(2)"]);
    let now = Context { backlog, unit: 0.0, ..IDLE };
    let actions = machine.step(now, I::Stored(checkpoint(6, 2, Phase::Incremental, Some("d9"))));
    (machine, show(&actions))
}

fn keys(names: &[&str]) -> I {
    I::Unseen(names.iter().map(|name| Key::text(*name)).collect())
}

#[test]
fn an_expired_position_leads_to_a_snapshot_and_vanished_records_are_confirmed() {
    let (mut machine, actions) = resnapshot(true, 0);
    assert_eq!(actions, ["complete", "note last 2 done None due - running closing 2 at start!"]);
    assert_eq!(show(&machine.step(IDLE, I::Noted)), ["count"]);
    assert_eq!(show(&machine.step(IDLE, I::Bound(10))), ["unseen 2 false 2"]);
    assert_eq!(show(&machine.step(IDLE, keys(&["a", "b"]))), ["unseen 2 true 2"], "all are counted first");
    assert_eq!(show(&machine.step(IDLE, keys(&[]))), ["unseen 2 false 2"]);
    assert_eq!(show(&machine.step(IDLE, keys(&["a", "b"]))), ["fetch 2"]);
    let actions = machine.step(IDLE, I::FetchFailed(trouble(EndpointErrorKind::Unavailable, None)));
    assert_eq!(show(&actions), ["retrying 2000ms", "trouble down", "back off 2000ms"]);
    assert_eq!(show(&machine.step(IDLE, I::Woken)), ["fetch 2"], "an error is never evidence of absence");
    let actions = machine.step(IDLE, I::Fetched(drafts(2)));
    assert_eq!(show(&actions), ["trouble none", "append 2 to d9 v6 g2 Incremental seen Some(2)"]);
    let actions = machine.step(IDLE, I::Stored(checkpoint(7, 2, Phase::Incremental, Some("d9"))));
    assert_eq!(show(&actions), ["unseen 2 true 2"]);
    assert_eq!(show(&machine.step(IDLE, keys(&[]))), ["letters None 2"]);
    let ended = show(&machine.step(IDLE, I::Letters(vec![])));
    assert_eq!(ended, ["passed closing 0/0/2", "note last 2 done Some(0) due - running -"]);
    assert_eq!(show(&machine.step(IDLE, I::Noted)), ["read d9 10"]);
}

#[test]
fn the_brake_holds_back_every_delete_and_the_run_goes_on() {
    let (mut machine, _) = resnapshot(true, 0);
    machine.step(IDLE, I::Noted);
    machine.step(IDLE, I::Bound(10));
    machine.step(IDLE, keys(&["a", "b"]));
    let actions = machine.step(IDLE, keys(&["c"]));
    assert_eq!(show(&actions), ["brake 3/2", "held delete-brake", "wait 0ms"]);
    assert_eq!(show(&machine.step(IDLE, I::Woken)), ["read d9 10"]);
    let actions = machine.step(IDLE, page(0, "d9", Phase::Incremental, false));
    assert_eq!(show(&actions), ["finish"]);
}

#[test]
fn nothing_vanished_means_nothing_to_confirm() {
    let (mut machine, _) = resnapshot(true, 0);
    machine.step(IDLE, I::Noted);
    machine.step(IDLE, I::Bound(10));
    assert_eq!(show(&machine.step(IDLE, keys(&[]))), ["letters None 2"]);
    let ended = show(&machine.step(IDLE, I::Letters(vec![])));
    assert_eq!(ended, ["passed closing 0/0/0", "note last 2 done Some(0) due - running -"]);
}

#[test]
fn records_on_their_way_are_waited_for_before_any_is_missed() {
    let (mut machine, _) = resnapshot(true, 3);
    assert_eq!(show(&machine.step(BUSY, I::Noted)), ["unsettled before 2"]);
    let busy = BUSY;
    let actions = machine.step(busy, I::UnsettledBefore(true));
    assert_eq!(show(&actions), ["read d9 10"], "changes go on meanwhile");
    let actions = machine.step(busy, page(1, "d10", Phase::Incremental, false));
    assert_eq!(show(&actions), ["append 1 to d10 v6 g2 Incremental seen Some(2)"], "and count as met");
    let actions = machine.step(busy, I::Stored(checkpoint(7, 2, Phase::Incremental, Some("d10"))));
    assert_eq!(show(&actions), ["read d10 10"]);
    assert_eq!(show(&machine.step(busy, page(0, "d10", Phase::Incremental, false))), ["drain 0"]);
    assert_eq!(show(&machine.step(IDLE, I::Woken)), ["count"]);
}

#[test]
fn records_that_only_newer_entries_wait_for_do_not_put_the_search_off() {
    let (mut machine, _) = resnapshot(true, 3);
    assert_eq!(show(&machine.step(BUSY, I::Noted)), ["unsettled before 2"]);
    assert_eq!(show(&machine.step(IDLE, I::UnsettledBefore(false))), ["count"]);
}

#[test]
fn without_deletes_nothing_is_searched() {
    let (mut machine, actions) = resnapshot(false, 0);
    assert_eq!(actions, ["complete", "note last 2 done None due - running closing 2 at start!"]);
    let ended = show(&machine.step(IDLE, I::Noted));
    assert_eq!(ended, ["passed closing 0/0/0", "note last 2 done Some(0) due - running -"]);
    assert_eq!(show(&machine.step(IDLE, I::Noted)), ["read d9 10"]);
}

#[test]
fn an_unfinished_search_is_taken_up_by_the_next_run_after_the_changes() {
    let running = |scanned| RunningPass {
        kind: PassKind::Audit,
        number: 4,
        position: Some("s7".into()),
        scanned,
        rows: 9,
        reread: 1,
    };
    let note = |scanned| PassNote { last: 4, running: Some(running(scanned)), ..PassNote::default() };
    let at = || Some(checkpoint(6, 2, Phase::Incremental, Some("d9")));
    let (mut machine, first) = loaded(scanning(), at(), note(true));
    assert_eq!(first, ["read d9 10"]);
    assert_eq!(show(&machine.step(IDLE, page(0, "d9", Phase::Incremental, false))), ["count"]);
    let (mut machine, _) = loaded(scanning(), at(), note(false));
    assert_eq!(show(&machine.step(IDLE, page(0, "d9", Phase::Incremental, false))), ["scan s7 10 versions"]);
}

const BUSY: Context = Context { backlog: 3, ..IDLE };

fn scanning() -> ReaderConfig {
    ReaderConfig { scan: true, ..config(true) }
}

fn scanned(names: &[(&str, i64)], next: Option<&str>) -> I {
    let rows = names.iter().map(|(name, version)| (Key::text(*name), Some(*version))).collect();
    I::Scanned(ScannedPage { rows, drafts: None, next: next.map(Position::new) })
}

fn in_full(count: usize, next: Option<&str>) -> I {
    let drafts = drafts(count);
    let rows = drafts.iter().map(|draft| (draft.key.clone(), Some(1))).collect();
    I::Scanned(ScannedPage { rows, drafts: Some(drafts), next: next.map(Position::new) })
}

/// A reader at the end of a first snapshot of two pages, about to sweep.
fn loaded_in_two_pages() -> ReaderMachine {
    let (mut machine, _) = loaded(scanning(), None, PassNote::default());
    let actions = machine.step(IDLE, page(2, "p1", Phase::Snapshot, true));
    assert_eq!(show(&actions), ["append 2 to p1 v0 g1 Snapshot seen None"], "nothing is read ahead of the note");
    let actions = machine.step(IDLE, I::Stored(checkpoint(1, 1, Phase::Snapshot, Some("p1"))));
    assert_eq!(show(&actions), ["note last 0 done None due closing running -"]);
    assert_eq!(show(&machine.step(IDLE, I::Noted)), ["read p1 10"]);
    let actions = machine.step(IDLE, page(1, "d0", Phase::Snapshot, false));
    assert_eq!(show(&actions), ["append 1 to d0 v1 g1 Incremental seen None"]);
    let actions = machine.step(IDLE, I::Stored(checkpoint(2, 1, Phase::Incremental, Some("d0"))));
    assert_eq!(show(&actions), ["complete", "read d0 10"], "what the feed tells of need not be found by a scan");
    let actions = machine.step(IDLE, page(0, "d0", Phase::Incremental, false));
    assert_eq!(show(&actions), ["note last 2 done None due - running closing 2 at start"]);
    machine
}

#[test]
fn a_snapshot_of_several_pages_is_closed_by_a_sweep() {
    let mut machine = loaded_in_two_pages();
    assert_eq!(show(&machine.step(IDLE, I::Noted)), ["scan start 10 versions"]);
    let actions = machine.step(IDLE, scanned(&[("a", 5), ("b", 5), ("c", 5)], Some("s1")));
    assert_eq!(show(&actions), ["known 3"]);
    let actions = machine.step(IDLE, I::Known(vec![Some(5), Some(4), Some(6)]));
    assert_eq!(show(&actions), ["refetch 1"], "only what is newer than what is known");
    let actions = machine.step(IDLE, I::Fetched(drafts(1)));
    assert_eq!(show(&actions), ["append 1 to d0 v2 g1 Incremental seen Some(2)"]);
    let actions = machine.step(IDLE, I::Stored(checkpoint(3, 1, Phase::Incremental, Some("d0"))));
    assert_eq!(show(&actions), ["met 3 by 2"]);
    let actions = machine.step(IDLE, I::Marked);
    assert_eq!(show(&actions), ["note last 2 done None due - running closing 2 at s1"]);
    assert_eq!(show(&machine.step(IDLE, I::Noted)), ["scan s1 10 versions"]);
    let actions = machine.step(IDLE, scanned(&[("d", 5)], None));
    assert_eq!(show(&actions), ["known 1"]);
    assert_eq!(show(&machine.step(IDLE, I::Known(vec![Some(5)]))), ["met 1 by 2"]);
    let actions = machine.step(IDLE, I::Marked);
    assert_eq!(show(&actions), ["note last 2 done None due - running closing 2 at start!"]);
    assert_eq!(show(&machine.step(IDLE, I::Noted)), ["count"]);
    assert_eq!(show(&machine.step(IDLE, I::Bound(10))), ["unseen 2 false 2"]);
    assert_eq!(show(&machine.step(IDLE, keys(&[]))), ["letters None 2"]);
    let ended = show(&machine.step(IDLE, I::Letters(vec![])));
    assert_eq!(ended, ["passed closing 4/1/0", "note last 2 done Some(0) due - running -"]);
    let actions = machine.step(IDLE, I::Noted);
    assert_eq!(show(&actions), ["read d0 10"], "in step once the changes after it are read");
    assert_eq!(show(&machine.step(IDLE, page(0, "d0", Phase::Incremental, false))), ["finish"]);
}

#[test]
fn a_snapshot_in_one_piece_needs_no_sweep() {
    let (mut machine, _) = loaded(scanning(), None, PassNote::default());
    machine.step(IDLE, page(2, "d0", Phase::Snapshot, false));
    let actions = machine.step(IDLE, I::Stored(checkpoint(1, 1, Phase::Incremental, Some("d0"))));
    assert_eq!(show(&actions), ["complete", "read d0 10"]);
}

#[test]
fn a_run_that_finds_itself_in_a_snapshot_notes_the_sweep() {
    let at = Some(checkpoint(1, 1, Phase::Snapshot, Some("p1")));
    let (mut machine, first) = loaded(scanning(), at, PassNote::default());
    assert_eq!(first, ["note last 0 done None due closing running -"]);
    assert_eq!(show(&machine.step(IDLE, I::Noted)), ["read p1 10"]);
}

#[test]
fn a_page_with_much_news_is_read_again_in_full() {
    let mut machine = loaded_in_two_pages();
    machine.step(IDLE, I::Noted);
    machine.step(IDLE, scanned(&[("a", 5), ("b", 5), ("c", 5)], Some("s1")));
    let actions = machine.step(IDLE, I::Known(vec![None, None, None]));
    assert_eq!(show(&actions), ["scan start 10 rows"], "one question instead of many");
    let actions = machine.step(IDLE, in_full(3, Some("s1")));
    assert_eq!(show(&actions), ["append 3 to d0 v2 g1 Incremental seen Some(2)"]);
    let actions = machine.step(IDLE, I::Stored(checkpoint(3, 1, Phase::Incremental, Some("d0"))));
    assert_eq!(show(&actions), ["note last 2 done None due - running closing 2 at s1"]);
    assert_eq!(show(&machine.step(IDLE, I::Noted)), ["scan s1 10 versions"]);
}

#[test]
fn changes_are_read_between_the_pages_of_a_sweep() {
    let mut machine = loaded_in_two_pages();
    machine.step(IDLE, I::Noted);
    machine.step(IDLE, scanned(&[("a", 5)], Some("s1")));
    machine.step(IDLE, I::Known(vec![Some(5)]));
    machine.step(IDLE, I::Marked);
    let later = Context { now: Duration::from_secs(31), ..IDLE };
    assert_eq!(show(&machine.step(later, I::Noted)), ["read d0 10"], "a poll is due");
    let actions = machine.step(later, page(1, "d1", Phase::Incremental, false));
    assert_eq!(show(&actions), ["append 1 to d1 v2 g1 Incremental seen Some(2)"], "what changed was met");
    let actions = machine.step(later, I::Stored(checkpoint(3, 1, Phase::Incremental, Some("d1"))));
    assert_eq!(show(&actions), ["scan s1 10 versions"]);
}

#[test]
fn a_scan_in_trouble_waits_and_one_that_expired_begins_anew() {
    let mut machine = loaded_in_two_pages();
    machine.step(IDLE, I::Noted);
    let down = I::ScanFailed(trouble(EndpointErrorKind::Unavailable, None));
    assert_eq!(show(&machine.step(IDLE, down)), ["retrying 2000ms", "trouble down", "back off 2000ms"]);
    assert_eq!(show(&machine.step(IDLE, I::Woken)), ["scan start 10 versions"]);
    let actions = show(&machine.step(IDLE, scanned(&[], Some("s1"))));
    assert_eq!(actions, ["trouble none", "note last 2 done None due - running closing 2 at s1"]);
    assert_eq!(show(&machine.step(IDLE, I::Noted)), ["scan s1 10 versions"]);
    let expired = || I::ScanFailed(trouble(EndpointErrorKind::Expired, None));
    assert_eq!(show(&machine.step(IDLE, expired())), ["scan start 10 versions"]);
    let actions = show(&machine.step(IDLE, expired()));
    assert_eq!(
        actions,
        ["retrying 2000ms", "trouble down", "back off 2000ms"],
        "the table itself is not served: trouble"
    );
    machine.step(IDLE, I::Woken);
    machine.step(IDLE, scanned(&[], Some("s1")));
    machine.step(IDLE, I::Noted);
    let actions = show(&machine.step(IDLE, scanned(&[("a", 1)], Some("s1"))));
    assert_eq!(actions, ["retrying 2000ms", "trouble scan-stuck", "back off 2000ms"]);
}

#[test]
fn an_audit_comes_when_its_time_has_come() {
    let config = ReaderConfig { audit_every: Some(Duration::from_millis(500)), ..scanning() };
    let at = Some(checkpoint(5, 1, Phase::Incremental, Some("d1")));
    let (mut machine, _) = loaded(config.clone(), at.clone(), PassNote::default());
    let actions = machine.step(IDLE, page(0, "d1", Phase::Incremental, false));
    assert_eq!(show(&actions), ["note last 0 done Some(0) due - running -"], "its time is counted from here");
    assert_eq!(show(&machine.step(IDLE, I::Noted)), ["finish"]);
    let note = PassNote { done_ms: Some(0), ..PassNote::default() };
    let (mut machine, _) = loaded(config, at, note);
    let later = Context { now_ms: 500, ..IDLE };
    let actions = machine.step(later, page(0, "d1", Phase::Incremental, false));
    assert_eq!(show(&actions), ["note last 2 done Some(0) due - running audit 2 at start"]);
}

/// A reader that is told of an order after its first poll.
fn ordered(what: OrderKind) -> ReaderMachine {
    let (mut machine, _) =
        loaded(scanning(), Some(checkpoint(5, 1, Phase::Incremental, Some("d1"))), PassNote::default());
    let asked = Context { orders: true, ..IDLE };
    assert_eq!(show(&machine.step(asked, page(0, "d1", Phase::Incremental, false))), ["orders"]);
    let actions = machine.step(IDLE, I::Orders(vec![Order { id: 9, what }]));
    assert_eq!(actions.len(), 1, "{:?}", show(&actions));
    machine
}

#[test]
fn a_replay_writes_every_record_again_beside_the_changes() {
    let mut machine = ordered(OrderKind::Replay);
    assert_eq!(show(&machine.step(IDLE, I::Noted)), ["finish order 9"], "it is durable, and needs no order any more");
    let actions = machine.step(IDLE, I::OrderFinished);
    assert_eq!(show(&actions), ["note last 2 done None due - running replay 2 at start"]);
    assert_eq!(show(&machine.step(IDLE, I::Noted)), ["scan start 10 rows replay"]);
    let actions = machine.step(IDLE, in_full(3, Some("s1")));
    assert_eq!(show(&actions), ["append 3 to d1 v5 g1 Incremental seen Some(2) replay"]);
    let actions = machine.step(IDLE, I::Stored(checkpoint(6, 1, Phase::Incremental, Some("d1"))));
    assert_eq!(show(&actions), ["note last 2 done None due - running replay 2 at s1"]);
    let full = Context { backlog: 51, ..IDLE };
    assert_eq!(show(&machine.step(full, I::Noted)), ["drain 25"], "changes go first, and need room");
    let later = Context { now: Duration::from_secs(30), ..full };
    assert_eq!(show(&machine.step(later, I::Woken)), ["read d1 10 replay"]);
    machine.step(later, page(0, "d1", Phase::Incremental, false));
    let room = Context { backlog: 25, ..later };
    assert_eq!(show(&machine.step(room, I::Woken)), ["scan s1 10 rows replay"]);
    // All is read, not all is written: what changes now may take the place of what the replay wrote down.
    machine.step(room, in_full(2, None));
    machine.step(room, I::Stored(checkpoint(7, 1, Phase::Incremental, Some("d1"))));
    machine.step(room, I::Noted);
    machine.step(room, I::UnsettledBefore(true));
    let poll = Context { now: Duration::from_secs(60), ..room };
    assert_eq!(show(&machine.step(poll, I::Woken)), ["read d1 10 replay"]);
}

#[test]
fn a_requeue_reads_each_record_again_once() {
    let mut machine = ordered(OrderKind::Requeue(LetterFilter::default()));
    let letters = |ids: &[u64]| I::Letters(ids.iter().map(|id| (*id, Key::text(id.to_string()))).collect());
    assert_eq!(show(&machine.step(IDLE, letters(&[3, 5]))), ["letters Some(5) 2"], "first all are listed");
    assert_eq!(show(&machine.step(IDLE, letters(&[7]))), ["letters None 2"]);
    assert_eq!(show(&machine.step(IDLE, letters(&[3, 5]))), ["refetch 2"]);
    let actions = machine.step(IDLE, I::Fetched(drafts(2)));
    assert_eq!(show(&actions), ["append 2 to d1 v5 g1 Incremental seen None"]);
    let actions = machine.step(IDLE, I::Stored(checkpoint(6, 1, Phase::Incremental, Some("d1"))));
    assert_eq!(show(&actions), ["event", "letters Some(5) 2"]);
    assert_eq!(show(&machine.step(IDLE, letters(&[7, 8]))), ["refetch 1"], "a letter that the requeue made is left");
    machine.step(IDLE, I::Fetched(drafts(1)));
    let actions = machine.step(IDLE, I::Stored(checkpoint(7, 1, Phase::Incremental, Some("d1"))));
    assert_eq!(show(&actions), ["event", "finish order 9"]);
}

#[test]
fn a_pass_closes_the_letters_of_records_that_are_gone() {
    let (mut machine, _) = resnapshot(true, 0);
    machine.step(IDLE, I::Noted);
    machine.step(IDLE, I::Bound(10));
    assert_eq!(show(&machine.step(IDLE, keys(&[]))), ["letters None 2"]);
    let letters = |ids: &[u64]| I::Letters(ids.iter().map(|id| (*id, Key::text(id.to_string()))).collect());
    assert_eq!(show(&machine.step(IDLE, letters(&[3, 5]))), ["fetch 2"]);
    let gone = Draft { body: DraftBody::Delete, ..drafts(1).remove(0) };
    let actions = machine.step(IDLE, I::Fetched(vec![gone, drafts(1).remove(0)]));
    assert_eq!(show(&actions), ["append 1 to d9 v6 g2 Incremental seen None"], "the other one is known to be refused");
    let actions = machine.step(IDLE, I::Stored(checkpoint(7, 2, Phase::Incremental, Some("d9"))));
    assert_eq!(show(&actions), ["letters Some(5) 2"]);
    assert_eq!(show(&machine.step(IDLE, letters(&[7]))), ["fetch 1"]);
    let ended = show(&machine.step(IDLE, I::Fetched(drafts(1))));
    assert_eq!(ended, ["passed closing 0/0/0", "note last 2 done Some(0) due - running -"]);
}

#[test]
fn changes_are_read_between_the_chunks_of_a_search_and_while_single_records_make_trouble() {
    let (mut machine, _) = resnapshot(true, 0);
    machine.step(IDLE, I::Noted);
    machine.step(IDLE, I::Bound(10));
    let due = Context { now: Duration::from_secs(30), ..IDLE };
    assert_eq!(show(&machine.step(due, keys(&["a", "b"]))), ["read d9 10"], "a poll is due");
    let actions = machine.step(due, page(0, "d9", Phase::Incremental, false));
    assert_eq!(show(&actions), ["unseen 2 true 2"], "and the search goes on where it was");
    machine.step(due, keys(&[]));
    assert_eq!(show(&machine.step(due, keys(&["a", "b"]))), ["fetch 2"]);
    machine.step(due, I::FetchFailed(trouble(EndpointErrorKind::Unavailable, None)));
    let later = Context { now: Duration::from_secs(60), ..IDLE };
    assert_eq!(show(&machine.step(later, I::Woken)), ["read d9 10"], "no single record keeps all others waiting");
    let actions = show(&machine.step(later, page(0, "d9", Phase::Incremental, false)));
    assert_eq!(actions, ["trouble none", "fetch 2"]);
}
