//! The reader's machine, step by step.

use std::time::Duration;

use record::Key;
use sync_core::engine::policy::Trouble;
use sync_core::engine::reader::{
    Absent, Context, ReadPage, ReaderAction as A, ReaderConfig, ReaderInput as I, ReaderMachine,
};
use sync_core::traits::{Checkpoint, Draft, DraftBody, Phase, SyncEvent};
use sync_core::{DeleteBrake, EndpointErrorKind, PlanVersion, Position, StatusReason, StreamId, Tally};
use timing::Backoff;

const PLAN: PlanVersion = PlanVersion(7);
const IDLE: Context = Context { backlog: 0, unit: 0.5 };

fn config(until_idle: bool) -> ReaderConfig {
    ReaderConfig {
        stream: StreamId::new("s"),
        plan: PLAN,
        page_rows: 10,
        high_water: 100,
        poll_every: Duration::from_secs(30),
        until_idle,
        sweep: true,
        chunk: 2,
        brake: DeleteBrake { rows: 2, share: 0.0 },
        backoff: Backoff::new(Duration::from_secs(4), 2.0, Duration::from_secs(60)),
    }
}

fn position(text: &str) -> Position {
    Position::new(text)
}

fn checkpoint(version: u64, generation: u64, phase: Phase, at: Option<&str>) -> Checkpoint {
    let position = at.map(position);
    Checkpoint { generation, phase, position, version, totals: Tally::default(), at_ms: 0 }
}

fn drafts(count: usize) -> Vec<Draft> {
    (0..count)
        .map(|n| Draft { key: Key::text(n.to_string()), version: None, parents: vec![], body: DraftBody::Ignored })
        .collect()
}

fn page(count: usize, next: &str, phase: Phase, more: bool) -> I {
    I::Page(ReadPage { drafts: drafts(count), next: position(next), phase, more })
}

fn trouble(kind: EndpointErrorKind, retry_after: Option<Duration>) -> Trouble {
    let reason = StatusReason { code: "down".into(), message: "It is down.".into(), remedy: "Wait.".into() };
    Trouble { kind, reason, retry_after }
}

/// Actions in a short form that a test can compare.
fn show(actions: &[A]) -> Vec<String> {
    actions
        .iter()
        .map(|action| match action {
            A::Load => "load".into(),
            A::MarkSweep(generation) => format!("mark {generation:?}"),
            A::Reset { expected_version, generation } => format!("reset v{expected_version} g{generation}"),
            A::Read { after, rows } => format!("read {} {rows}", after.as_ref().map_or("start", |at| at.as_str())),
            A::Append { drafts, mark_seen, advance, refresh, .. } => format!(
                "append {} to {} v{} g{} {:?} seen {mark_seen:?}{}",
                drafts.len(),
                advance.position.as_str(),
                advance.expected_version,
                advance.generation,
                advance.phase,
                if *refresh { " refresh" } else { "" }
            ),
            A::CountBound => "count".into(),
            A::Unseen { generation, after, limit } => format!("unseen g{generation} {} {limit}", after.is_some()),
            A::Fetch { keys, absent: Absent::Deleted } => format!("fetch {}", keys.len()),
            A::Fetch { keys, absent: Absent::AsMapped } => format!("refetch {}", keys.len()),
            A::MarkPlan(plan) => format!("plan {:?}", plan.map(|PlanVersion(plan)| plan)),
            A::Outdated { after, limit } => format!("outdated {} {limit}", after.is_some()),
            A::UnsettledBefore(generation) => format!("unsettled before g{generation}"),
            A::Wait(delay) => format!("wait {}ms", delay.as_millis()),
            A::WaitBacklog(depth) => format!("drain {depth}"),
            A::Emit(SyncEvent::SnapshotComplete { .. }) => "complete".into(),
            A::Emit(SyncEvent::Resnapshot { generation, .. }) => format!("resnapshot {generation}"),
            A::Emit(SyncEvent::DeleteBrake { candidates, allowed, .. }) => format!("brake {candidates}/{allowed}"),
            A::Emit(SyncEvent::Retrying { delay_ms, .. }) => format!("retrying {delay_ms}ms"),
            A::Emit(_) => "event".into(),
            A::Trouble(reason) => format!("trouble {}", reason.as_ref().map_or("none", |reason| &reason.code)),
            A::Brake(reason) => format!("held {}", reason.code),
            A::Finish => "finish".into(),
            A::Fail(reason) => format!("fail {}", reason.code),
        })
        .collect()
}

/// A machine with its checkpoint loaded, and the actions after that.
fn loaded(config: ReaderConfig, at: Option<Checkpoint>, sweep: Option<u64>) -> (ReaderMachine, Vec<String>) {
    let mut machine = ReaderMachine::new(config);
    assert_eq!(show(&machine.start()), ["load"]);
    let first = machine.step(IDLE, I::Loaded { checkpoint: at, sweep, plan: Some(PLAN) });
    (machine, show(&first))
}

#[test]
fn a_first_load_reads_ahead_by_one_page_and_finishes_when_a_source_has_no_change() {
    let (mut machine, first) = loaded(config(true), None, None);
    assert_eq!(first, ["read start 10"]);
    let actions = machine.step(IDLE, page(2, "p1", Phase::Snapshot, true));
    assert_eq!(show(&actions), ["read p1 10", "append 2 to p1 v0 g1 Snapshot seen None"]);
    let actions = machine.step(IDLE, page(1, "d0", Phase::Snapshot, false));
    assert_eq!(show(&actions), Vec::<String>::new(), "one append at a time");
    let actions = machine.step(IDLE, I::Stored(checkpoint(1, 1, Phase::Snapshot, Some("p1"))));
    assert_eq!(show(&actions), ["append 1 to d0 v1 g1 Incremental seen None"]);
    let actions = machine.step(IDLE, I::Stored(checkpoint(2, 1, Phase::Incremental, Some("d0"))));
    assert_eq!(show(&actions), ["complete", "read d0 10"]);
    let actions = machine.step(IDLE, page(1, "d1", Phase::Incremental, false));
    assert_eq!(show(&actions), ["append 1 to d1 v2 g1 Incremental seen None"]);
    let actions = machine.step(IDLE, I::Stored(checkpoint(3, 1, Phase::Incremental, Some("d1"))));
    assert_eq!(show(&actions), ["read d1 10"], "a change was there: it is asked again");
    let actions = machine.step(IDLE, page(0, "d1", Phase::Incremental, false));
    assert_eq!(show(&actions), ["finish"], "an unmoved position is not written");
}

#[test]
fn rows_that_are_known_already_do_not_keep_a_run_from_ending() {
    let (mut machine, first) = loaded(config(true), Some(checkpoint(5, 1, Phase::Incremental, Some("d1"))), None);
    assert_eq!(first, ["read d1 10"]);
    let actions = machine.step(IDLE, page(1, "d2", Phase::Incremental, false));
    assert_eq!(show(&actions), ["append 1 to d2 v5 g1 Incremental seen None"]);
    let actions = machine.step(IDLE, I::StoredQuiet(checkpoint(6, 1, Phase::Incremental, Some("d2"))));
    assert_eq!(show(&actions), ["finish"]);
}

#[test]
fn an_empty_answer_with_a_new_position_is_kept() {
    let (mut machine, first) = loaded(config(true), Some(checkpoint(5, 1, Phase::Incremental, Some("d1"))), None);
    assert_eq!(first, ["read d1 10"]);
    let actions = machine.step(IDLE, page(0, "d2", Phase::Incremental, false));
    assert_eq!(show(&actions), ["append 0 to d2 v5 g1 Incremental seen None"]);
    let actions = machine.step(IDLE, I::Stored(checkpoint(6, 1, Phase::Incremental, Some("d2"))));
    assert_eq!(show(&actions), ["finish"]);
}

#[test]
fn a_continuous_reader_polls() {
    let (mut machine, _) = loaded(config(false), Some(checkpoint(5, 1, Phase::Incremental, Some("d1"))), None);
    let actions = machine.step(IDLE, page(0, "d1", Phase::Incremental, false));
    assert_eq!(show(&actions), ["wait 30000ms"]);
    assert_eq!(show(&machine.step(IDLE, I::Woken)), ["read d1 10"]);
}

#[test]
fn reading_pauses_above_the_high_water_mark_and_resumes_at_half() {
    let full = Context { backlog: 101, unit: 0.0 };
    let (mut machine, _) = loaded(config(true), None, None);
    let actions = machine.step(full, page(1, "p1", Phase::Snapshot, true));
    assert_eq!(show(&actions), ["append 1 to p1 v0 g1 Snapshot seen None"], "nothing is read ahead");
    let actions = machine.step(full, I::Stored(checkpoint(1, 1, Phase::Snapshot, Some("p1"))));
    assert_eq!(show(&actions), ["drain 50"]);
    let above_half = Context { backlog: 51, unit: 0.0 };
    assert_eq!(show(&machine.step(above_half, I::Woken)), ["drain 50"]);
    let half = Context { backlog: 50, unit: 0.0 };
    assert_eq!(show(&machine.step(half, I::Woken)), ["read p1 10"]);
}

#[test]
fn trouble_of_the_service_is_waited_out_and_shown() {
    let (mut machine, _) = loaded(config(true), None, None);
    let actions = machine.step(IDLE, I::ReadFailed(trouble(EndpointErrorKind::Unavailable, None)));
    assert_eq!(show(&actions), ["retrying 2000ms", "trouble down", "wait 2000ms"]);
    assert_eq!(show(&machine.step(IDLE, I::Woken)), ["read start 10"]);
    let wish = Some(Duration::from_secs(7));
    let actions = machine.step(IDLE, I::ReadFailed(trouble(EndpointErrorKind::Unavailable, wish)));
    assert_eq!(show(&actions), ["retrying 7000ms", "trouble down", "wait 7000ms"], "never earlier than asked for");
    assert_eq!(show(&machine.step(IDLE, I::Woken)), ["read start 10"]);
    let actions = machine.step(IDLE, page(1, "d0", Phase::Snapshot, false));
    assert_eq!(show(&actions), ["trouble none", "append 1 to d0 v0 g1 Incremental seen None"]);
}

#[test]
fn a_refusal_fails_the_workflow() {
    let (mut machine, _) = loaded(config(true), None, None);
    let actions = machine.step(IDLE, I::ReadFailed(trouble(EndpointErrorKind::Refused, None)));
    assert_eq!(show(&actions), ["fail down"]);
    assert_eq!(show(&machine.step(IDLE, I::Woken)), Vec::<String>::new(), "nothing comes after that");
}

#[test]
fn a_page_that_leads_to_itself_is_trouble() {
    let (mut machine, _) = loaded(config(true), Some(checkpoint(1, 1, Phase::Snapshot, Some("p1"))), None);
    let actions = machine.step(IDLE, page(3, "p1", Phase::Snapshot, true));
    assert_eq!(show(&actions), ["retrying 2000ms", "trouble position-stuck", "wait 2000ms"]);
}

#[test]
fn a_moved_checkpoint_is_loaded_again_once_the_read_ahead_is_in() {
    let (mut machine, _) = loaded(config(true), None, None);
    machine.step(IDLE, page(2, "p1", Phase::Snapshot, true));
    assert_eq!(show(&machine.step(IDLE, I::Conflict)), Vec::<String>::new());
    assert_eq!(show(&machine.step(IDLE, page(2, "p2", Phase::Snapshot, true))), ["load"]);
    let moved = checkpoint(9, 1, Phase::Snapshot, Some("p7"));
    let actions = machine.step(IDLE, I::Loaded { checkpoint: Some(moved), sweep: None, plan: Some(PLAN) });
    assert_eq!(show(&actions), ["read p7 10"]);
}

/// Brings a reader from an expired position to the end of its new snapshot.
fn resnapshot(sweep: bool, backlog: u64) -> (ReaderMachine, Vec<String>) {
    let config = ReaderConfig { sweep, ..config(true) };
    let (mut machine, _) = loaded(config, Some(checkpoint(4, 1, Phase::Incremental, Some("d1"))), None);
    let actions = machine.step(IDLE, I::ReadFailed(trouble(EndpointErrorKind::Expired, None)));
    assert_eq!(show(&actions), ["mark Some(2)"], "remembered before the reset");
    assert_eq!(show(&machine.step(IDLE, I::SweepMarked)), ["reset v4 g2"]);
    let actions = machine.step(IDLE, I::Stored(checkpoint(5, 2, Phase::Snapshot, None)));
    assert_eq!(show(&actions), ["resnapshot 2", "read start 10"]);
    let actions = machine.step(IDLE, page(3, "d9", Phase::Snapshot, false));
    assert_eq!(show(&actions), ["append 3 to d9 v5 g2 Incremental seen Some(2)"]);
    let now = Context { backlog, unit: 0.0 };
    let actions = machine.step(now, I::Stored(checkpoint(6, 2, Phase::Incremental, Some("d9"))));
    (machine, show(&actions))
}

fn keys(names: &[&str]) -> I {
    I::Unseen(names.iter().map(|name| Key::text(*name)).collect())
}

#[test]
fn an_expired_position_leads_to_a_snapshot_and_vanished_records_are_confirmed() {
    let (mut machine, actions) = resnapshot(true, 0);
    assert_eq!(actions, ["complete", "count"]);
    assert_eq!(show(&machine.step(IDLE, I::Bound(10))), ["unseen g2 false 2"]);
    assert_eq!(show(&machine.step(IDLE, keys(&["a", "b"]))), ["unseen g2 true 2"], "all are counted first");
    assert_eq!(show(&machine.step(IDLE, keys(&[]))), ["unseen g2 false 2"]);
    assert_eq!(show(&machine.step(IDLE, keys(&["a", "b"]))), ["fetch 2"]);
    let actions = machine.step(IDLE, I::FetchFailed(trouble(EndpointErrorKind::Unavailable, None)));
    assert_eq!(show(&actions), ["retrying 2000ms", "trouble down", "wait 2000ms"]);
    assert_eq!(show(&machine.step(IDLE, I::Woken)), ["fetch 2"], "an error is never evidence of absence");
    let actions = machine.step(IDLE, I::Fetched(drafts(2)));
    assert_eq!(show(&actions), ["trouble none", "append 2 to d9 v6 g2 Incremental seen Some(2)"]);
    let actions = machine.step(IDLE, I::Stored(checkpoint(7, 2, Phase::Incremental, Some("d9"))));
    assert_eq!(show(&actions), ["unseen g2 true 2"]);
    assert_eq!(show(&machine.step(IDLE, keys(&[]))), ["mark None"]);
    assert_eq!(show(&machine.step(IDLE, I::SweepMarked)), ["read d9 10"]);
}

#[test]
fn the_brake_holds_back_every_delete_and_the_run_goes_on() {
    let (mut machine, _) = resnapshot(true, 0);
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
    machine.step(IDLE, I::Bound(10));
    assert_eq!(show(&machine.step(IDLE, keys(&[]))), ["mark None"]);
}

#[test]
fn records_on_their_way_are_waited_for_before_any_is_missed() {
    let (mut machine, actions) = resnapshot(true, 3);
    assert_eq!(actions, ["complete", "unsettled before g2"]);
    let busy = Context { backlog: 3, unit: 0.0 };
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
    let (mut machine, actions) = resnapshot(true, 3);
    assert_eq!(actions, ["complete", "unsettled before g2"]);
    assert_eq!(show(&machine.step(IDLE, I::UnsettledBefore(false))), ["count"]);
}

#[test]
fn what_another_plan_made_is_asked_for_again_before_anything_is_read() {
    let mut machine = ReaderMachine::new(config(true));
    machine.start();
    let at = || Some(checkpoint(5, 1, Phase::Incremental, Some("d1")));
    let loaded = I::Loaded { checkpoint: at(), sweep: None, plan: Some(PlanVersion(6)) };
    assert_eq!(show(&machine.step(IDLE, loaded)), ["plan None"], "the note of the other plan holds no more");
    assert_eq!(show(&machine.step(IDLE, I::PlanMarked)), ["outdated false 2"]);
    let keys = |names: &[&str]| I::Outdated(names.iter().map(|name| Key::text(*name)).collect());
    assert_eq!(show(&machine.step(IDLE, keys(&["a", "b"]))), ["refetch 2"]);
    let failed = machine.step(IDLE, I::FetchFailed(trouble(EndpointErrorKind::Unavailable, None)));
    assert_eq!(show(&failed), ["retrying 2000ms", "trouble down", "wait 2000ms"]);
    assert_eq!(show(&machine.step(IDLE, I::Woken)), ["refetch 2"]);
    let fetched = machine.step(IDLE, I::Fetched(drafts(2)));
    assert_eq!(show(&fetched), ["trouble none", "append 2 to d1 v5 g1 Incremental seen None refresh"]);
    let stored = machine.step(IDLE, I::Stored(checkpoint(6, 1, Phase::Incremental, Some("d1"))));
    assert_eq!(show(&stored), ["outdated true 2"]);
    assert_eq!(show(&machine.step(IDLE, keys(&[]))), ["plan Some(7)"]);
    assert_eq!(show(&machine.step(IDLE, I::PlanMarked)), ["read d1 10"]);
}

#[test]
fn a_new_store_only_notes_its_plan_and_an_expired_one_reads_a_page_first() {
    let start = |at| {
        let mut machine = ReaderMachine::new(config(true));
        machine.start();
        let actions = machine.step(IDLE, I::Loaded { checkpoint: at, sweep: None, plan: None });
        (machine, show(&actions))
    };
    assert_eq!(start(None).1, ["plan Some(7)"]);
    let (mut machine, actions) = start(Some(checkpoint(9, 2, Phase::Snapshot, None)));
    assert_eq!(actions, ["read start 10"]);
    let actions = machine.step(IDLE, page(2, "p1", Phase::Snapshot, true));
    assert_eq!(show(&actions), ["append 2 to p1 v9 g2 Snapshot seen Some(2) refresh"], "and no page is read ahead");
    let actions = machine.step(IDLE, I::Stored(checkpoint(10, 2, Phase::Snapshot, Some("p1"))));
    assert_eq!(show(&actions), ["outdated false 2"]);
}

#[test]
fn without_deletes_nothing_is_searched() {
    let (mut machine, actions) = resnapshot(false, 0);
    assert_eq!(actions, ["complete", "mark None"]);
    assert_eq!(show(&machine.step(IDLE, I::SweepMarked)), ["read d9 10"]);
}

#[test]
fn an_unfinished_search_is_taken_up_by_the_next_run() {
    let at = || Some(checkpoint(6, 2, Phase::Incremental, Some("d9")));
    assert_eq!(loaded(config(true), at(), Some(2)).1, ["count"]);
    assert_eq!(
        loaded(config(true), at(), Some(3)).1,
        ["count"],
        "a reset that never happened may have hidden a search"
    );
    assert_eq!(loaded(config(true), at(), Some(1)).1, ["read d9 10"], "an older one is over");
    assert_eq!(loaded(config(true), at(), None).1, ["read d9 10"]);
}

#[test]
fn a_source_that_always_expires_is_asked_with_waits_in_between() {
    let (mut machine, _) = loaded(config(true), None, None);
    let actions = machine.step(IDLE, I::ReadFailed(trouble(EndpointErrorKind::Expired, None)));
    assert_eq!(show(&actions), ["retrying 2000ms", "trouble down", "wait 2000ms"], "no position was given");
}
