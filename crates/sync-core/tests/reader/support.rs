//! A machine under test, and its actions in a form that reads like a story.

use std::time::Duration;

use record::Key;
use sync_core::engine::policy::Trouble;
use sync_core::engine::reader::{
    Absent, Context, Parents, PassNote, ReadPage, ReaderAction as A, ReaderConfig, ReaderInput as I, ReaderMachine,
    RunningPass,
};
use sync_core::traits::{Checkpoint, Class, Draft, DraftBody, PassKind, Phase, ScanDepth, SyncEvent};
use sync_core::{DeleteBrake, EndpointErrorKind, PlanVersion, Position, StatusReason, StreamId, Tally};
use timing::Backoff;

pub(crate) const PLAN: PlanVersion = PlanVersion(7);
pub(crate) const IDLE: Context = Context {
    backlog: 0,
    waiting: 0,
    unit: 0.5,
    now: Duration::ZERO,
    now_ms: 0,
    orders: false,
    parents: Parents::Done,
};

pub(crate) fn config(until_idle: bool) -> ReaderConfig {
    ReaderConfig {
        stream: StreamId::new("s"),
        plan: PLAN,
        page_rows: 10,
        high_water: 100,
        poll_every: Duration::from_secs(30),
        until_idle,
        class: Class::Live,
        scan: false,
        audit_every: None,
        retention: None,
        deletes: true,
        chunk: 2,
        brake: DeleteBrake { rows: 2, share: 0.0 },
        backoff: Backoff::new(Duration::from_secs(4), 2.0, Duration::from_secs(60)),
    }
}

pub(crate) fn position(text: &str) -> Position {
    Position::new(text)
}

pub(crate) fn checkpoint(version: u64, generation: u64, phase: Phase, at: Option<&str>) -> Checkpoint {
    let position = at.map(position);
    Checkpoint { generation, phase, position, version, totals: Tally::default(), at_ms: 0 }
}

pub(crate) fn drafts(count: usize) -> Vec<Draft> {
    (0..count)
        .map(|n| Draft { key: Key::text(n.to_string()), version: None, parents: vec![], body: DraftBody::Ignored })
        .collect()
}

pub(crate) fn page(count: usize, next: &str, phase: Phase, more: bool) -> I {
    I::Page(ReadPage { drafts: drafts(count), next: position(next), phase, more })
}

pub(crate) fn trouble(kind: EndpointErrorKind, retry_after: Option<Duration>) -> Trouble {
    let reason = StatusReason { code: "down".into(), message: "It is down.".into(), remedy: "Wait.".into() };
    Trouble { kind, reason, retry_after }
}

/// Whether the end of the change feed is told of.
pub(crate) fn tells_feed_read(actions: &[A]) -> bool {
    actions.iter().any(|action| matches!(action, A::FeedRead))
}

/// Actions in a short form that a test can compare. What comes of the end of a feed is left out: it has tests of its own.
pub(crate) fn show(actions: &[A]) -> Vec<String> {
    actions
        .iter()
        .filter(|action| !matches!(action, A::FeedRead))
        .map(|action| match action {
            A::Load => "load".into(),
            A::NotePass(note) => format!("note {}", show_note(note)),
            A::Scan { after, rows, depth, replay } => {
                let depth = if *depth == ScanDepth::Rows { "rows" } else { "versions" };
                let replay = if *replay { " replay" } else { "" };
                format!("scan {} {rows} {depth}{replay}", after.as_ref().map_or("start", |at| at.as_str()))
            }
            A::KnownVersions(keys) => format!("known {}", keys.len()),
            A::MarkSeen { keys, pass } => format!("met {} by {pass}", keys.len()),
            A::TakeOrders => "orders".into(),
            A::Letters { after, limit, .. } => format!("letters {after:?} {limit}"),
            A::FinishOrder(id) => format!("finish order {id}"),
            A::Guard(reason) => format!("guard {}", reason.as_ref().map_or("none", |reason| &reason.code)),
            A::Reset { expected_version, generation } => format!("reset v{expected_version} g{generation}"),
            A::Read { after, rows, replay, .. } => format!(
                "read {} {rows}{}",
                after.as_ref().map_or("start", |at| at.as_str()),
                if *replay { " replay" } else { "" }
            ),
            A::Append { drafts, mark_seen, advance, refresh, replay, .. } => format!(
                "append {} to {} v{} g{} {:?} seen {mark_seen:?}{}{}",
                drafts.len(),
                advance.position.as_str(),
                advance.expected_version,
                advance.generation,
                advance.phase,
                if *refresh { " refresh" } else { "" },
                if *replay { " replay" } else { "" }
            ),
            A::CountBound => "count".into(),
            A::Unseen { pass, after, limit } => format!("unseen {pass} {} {limit}", after.is_some()),
            A::Fetch { keys, absent: Absent::Deleted } => format!("fetch {}", keys.len()),
            A::Fetch { keys, absent: Absent::AsMapped } => format!("refetch {}", keys.len()),
            A::MarkPlan(plan) => format!("plan {:?}", plan.map(|PlanVersion(plan)| plan)),
            A::Outdated { after, limit } => format!("outdated {} {limit}", after.is_some()),
            A::UnsettledBefore(generation) => format!("unsettled before {generation}"),
            A::WaitParents => "wait for parents".into(),
            A::FeedRead => "feed read".into(),
            A::Wait(delay) => format!("wait {}ms", delay.as_millis()),
            A::BackOff(delay) => format!("back off {}ms", delay.as_millis()),
            A::WaitBacklog(depth, _) => format!("drain {depth}"),
            A::Emit(SyncEvent::SnapshotComplete { .. }) => "complete".into(),
            A::Emit(SyncEvent::Resnapshot { generation, .. }) => format!("resnapshot {generation}"),
            A::Emit(SyncEvent::DeleteBrake { candidates, allowed, .. }) => format!("brake {candidates}/{allowed}"),
            A::Emit(SyncEvent::Retrying { delay_ms, .. }) => format!("retrying {delay_ms}ms"),
            A::Emit(SyncEvent::PassComplete { kind, scanned, reread, missing, .. }) => {
                format!("passed {} {scanned}/{reread}/{missing}", kind.as_str())
            }
            A::Emit(SyncEvent::PositionAge { state, .. }) => state.as_str().into(),
            A::Emit(_) => "event".into(),
            A::Trouble(reason) => format!("trouble {}", reason.as_ref().map_or("none", |reason| &reason.code)),
            A::Brake(reason) => format!("held {}", reason.as_ref().map_or("no more", |reason| &reason.code)),
            A::Finish => "finish".into(),
            A::Fail(reason) => format!("fail {}", reason.code),
        })
        .collect()
}

pub(crate) fn show_note(PassNote { last, done_ms, due, running, .. }: &PassNote) -> String {
    let due = due.map_or("-", PassKind::as_str);
    let running = running.as_ref().map_or("-".into(), |RunningPass { kind, number, position, scanned, .. }| {
        format!(
            "{} {number} at {}{}",
            kind.as_str(),
            position.as_deref().unwrap_or("start"),
            if *scanned { "!" } else { "" }
        )
    });
    format!("last {last} done {done_ms:?} due {due} running {running}")
}

/// A machine with its checkpoint loaded, and the actions after that.
pub(crate) fn loaded(config: ReaderConfig, at: Option<Checkpoint>, note: PassNote) -> (ReaderMachine, Vec<String>) {
    let mut machine = ReaderMachine::new(config);
    assert_eq!(show(&machine.start()), ["load"]);
    let first = machine.step(IDLE, I::Loaded { checkpoint: at, note, plan: Some(PLAN) });
    (machine, show(&first))
}
