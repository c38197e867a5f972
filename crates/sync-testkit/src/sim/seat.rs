//! The hook around a process's store: where it may be held, ended or told an error, and what is checked at every commit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::executor::block_on;
use sync_core::traits::{Class, DraftBody, Store, Verdict};
use sync_core::{StoreError, StoreErrorKind, StreamId};
use timing::Clock;

use crate::faults::{Fault, Faults};
use crate::invariants::{Invariant, Violation};
use crate::parties::{Process, Trace, VirtualClock};
use crate::rare::{Path, Rare};
use crate::wrapped::{Answer, Call, Detail, Hook};

/// What the seats of all processes of a world share.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// The newest fence that was given away.
    newest: Mutex<BTreeMap<Arc<str>, u64>>,
    /// Where each stream read last, as the positions tell.
    positions: Mutex<BTreeMap<StreamId, String>>,
    violations: Mutex<Vec<Violation>>,
}

impl Watch {
    pub(crate) fn broken(&self, violation: Violation) {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).push(violation);
    }

    pub(crate) fn violations(&self) -> Vec<Violation> {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) process: Arc<Process>,
    pub(crate) clock: VirtualClock,
    pub(crate) faults: Faults,
    pub(crate) rare: Rare,
    pub(crate) trace: Trace,
    pub(crate) watch: Arc<Watch>,
    pub(crate) inner: Arc<dyn Store>,
    /// Set when the run was asked to stop.
    pub(crate) stopping: std::sync::atomic::AtomicBool,
}

fn fails() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "The store cannot be reached.", "Make it reachable and start again.")
}

fn changes(name: &str) -> bool {
    matches!(
        name,
        "append"
            | "claim"
            | "settle"
            | "inherit"
            | "reset"
            | "put"
            | "finish_request"
            | "give_up_waiting"
            | "release_deletes"
            | "drop_dead_letters"
            | "mark_seen"
    )
}

/// The named points before and after a call.
fn points(name: &str, detail: &Detail<'_>) -> Option<(&'static str, &'static str)> {
    Some(match (name, detail) {
        ("acquire", _) => ("lease.before_acquire", "lease.after_acquire"),
        ("renew", _) => ("lease.before_renew", "lease.after_renew"),
        ("release", _) => ("shutdown.before_release", "shutdown.after_release"),
        ("inherit", _) => ("lease.before_inherit", "lease.after_inherit"),
        ("append", _) => ("reader.in_append", "reader.after_append"),
        ("reset", _) => ("reader.before_reset", "reader.after_reset"),
        ("put", Detail::Value(name)) if name.starts_with("status/") => ("status.before_put", "status.after_put"),
        ("put", Detail::Value(name)) if name.starts_with("pause/") => ("pause.before_put", "pause.after_put"),
        ("put", _) => ("reader.before_mark", "reader.after_mark"),
        ("claim", _) => ("writer.before_claim", "writer.after_claim"),
        ("settle", _) => ("writer.in_settle", "writer.after_settle"),
        ("unseen", _) => ("sweep.before_candidates", "sweep.after_candidates"),
        ("bound_count" | "unsettled_before", _) => ("sweep.before_count", "sweep.after_count"),
        ("outdated", _) => ("plan.before_list", "plan.after_list"),
        ("requests", _) => ("request.before_list", "request.after_list"),
        ("finish_request", _) => ("request.before_finish", "request.after_finish"),
        ("drop_dead_letters", _) => ("dead.before_drop", "dead.after_drop"),
        ("give_up_waiting", _) => ("dead.before_give_up", "dead.after_give_up"),
        ("release_deletes", _) => ("writer.before_release_deletes", "writer.after_release_deletes"),
        ("mark_seen", _) => ("sweep.before_mark_seen", "sweep.after_mark_seen"),
        _ => return None,
    })
}

impl Seat {
    fn moves_dead(call: &Call<'_>) -> bool {
        match call.detail {
            Detail::Append(page, _) => page.drafts.iter().any(|draft| matches!(draft.body, DraftBody::Rejected(_))),
            Detail::Settle(_, ends) => ends.iter().any(|end| matches!(end.verdict, Verdict::Dead { .. })),
            _ => false,
        }
    }

    /// Whether an append brings a state older than the one known, and whether it ends a snapshot.
    fn before_append(&self, call: &Call<'_>) {
        let Detail::Append(page, advance) = call.detail else { return };
        let keys: Vec<_> = page.drafts.iter().map(|draft| draft.key.clone()).collect();
        if let Ok(known) = block_on(self.inner.known_versions(&page.stream, &keys)) {
            let stale = page
                .drafts
                .iter()
                .zip(known)
                .filter(|(draft, known)| draft.version.is_some() && draft.version < *known);
            let stale = stale.count() as u64;
            self.rare.add(Path::StaleRejected, stale);
        }
        for draft in &page.drafts {
            if page.class == Class::Backfill && matches!(draft.body, DraftBody::Delete) {
                self.rare.took(Path::VanishedDeleted);
            }
            for parent in &draft.parents {
                let row = block_on(self.inner.get_many(&parent.stream, std::slice::from_ref(&parent.key)));
                let bound = row.is_ok_and(|rows| rows.iter().flatten().any(|row| row.bound));
                if !bound {
                    self.rare.took(Path::ChildParked);
                }
            }
        }
        let mut positions = self.watch.positions.lock().unwrap_or_else(PoisonError::into_inner);
        let next = advance.position.as_str().to_owned();
        let before = positions.insert(page.stream.clone(), next.clone());
        if before.is_none_or(|before| before.starts_with('s')) && next.starts_with('d') {
            self.process.reach("reader.in_last_page");
        }
    }

    fn count(&self, call: &Call<'_>, answer: &Answer<'_>) {
        let rare = &self.rare;
        match (call.name, answer) {
            (_, Answer::Failed(error)) if error.kind() == StoreErrorKind::Fenced => rare.took(Path::ZombieFenced),
            (_, Answer::Appended(report)) => rare.add(Path::Superseded, report.tally.superseded),
            (_, Answer::Claimed(entries)) => {
                rare.add(Path::Verified, entries.iter().filter(|entry| entry.verification).count() as u64);
            }
            (_, Answer::Settled(report)) => rare.add(Path::ChildReleased, report.released.len() as u64),
            ("inherit", Answer::Count(count)) => rare.add(Path::Inherited, *count),
            ("give_up_waiting", Answer::Count(count)) => rare.add(Path::ParentGivenUp, *count),
            ("release_deletes", Answer::Count(count)) => rare.add(Path::DeletesReleased, *count),
            ("release_deletes", Answer::Done) => rare.took(Path::DeletesRefused),
            ("outdated", Answer::Count(count)) => rare.add(Path::OtherPlanFound, *count),
            _ => {}
        }
    }

    /// I6: nothing that an older lease asks for is ever done.
    fn check_fence(&self, call: &Call<'_>, answer: &Answer<'_>) {
        let mut newest = self.watch.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Answer::Acquired(Some(lease)) = answer {
            let fence = newest.entry(lease.resource.clone()).or_default();
            if lease.fence <= *fence {
                let text = format!("fence {} was given away after {fence}", lease.fence);
                self.watch.broken(Violation::new(Invariant::Fence, text));
            }
            *fence = lease.fence.max(*fence);
        }
        let Some(lease) = call.lease.filter(|_| changes(call.name) && !matches!(answer, Answer::Failed(_))) else {
            return;
        };
        let fence = newest.get(&lease.resource).copied().unwrap_or(0);
        if lease.fence < fence {
            let text = format!("{} was done under fence {} after {fence} was given away", call.name, lease.fence);
            self.watch.broken(Violation::new(Invariant::Fence, text));
        }
    }

    fn note(&self, call: &Call<'_>, answer: &Answer<'_>) {
        let said = match answer {
            Answer::Failed(error) => format!("{:?}", error.kind()),
            Answer::Acquired(lease) => format!("{:?}", lease.map(|lease| lease.fence)),
            Answer::Appended(report) => format!("{:?} v{}", report.tally, report.checkpoint.version),
            Answer::Claimed(entries) => {
                let shown = entries.iter().map(|entry| format!("{}:{}", entry.seq.0, entry.key.to_text()));
                shown.collect::<Vec<_>>().join(" ")
            }
            Answer::Settled(report) => format!("{:?}", report.tally),
            Answer::Count(count) => count.to_string(),
            Answer::Done => String::new(),
        };
        let what = match call.detail {
            Detail::Settle(_, ends) => format!("{ends:?}"),
            Detail::Value(name) => name.to_owned(),
            _ => String::new(),
        };
        self.trace
            .note(self.clock.monotonic(), format_args!("#{} {} {what} -> {said}", self.process.number, call.name));
    }
}

#[async_trait]
impl Hook for Seat {
    async fn before(&self, call: &Call<'_>) -> Result<(), StoreError> {
        self.before_append(call);
        if Self::moves_dead(call) {
            self.process.reach("dead.in_move");
        }
        if call.name == "settle" && self.stopping.load(std::sync::atomic::Ordering::Relaxed) {
            self.process.reach("shutdown.in_drain");
        }
        if let Some((point, _)) = points(call.name, &call.detail) {
            self.process.reach(point);
        }
        self.process.pass().await;
        if changes(call.name) && self.faults.fires(Fault::StoreCallFails) {
            self.rare.took(Path::StoreFailed);
            return Err(fails());
        }
        Ok(())
    }

    async fn after(&self, call: &Call<'_>, answer: &Answer<'_>) -> Result<(), StoreError> {
        self.count(call, answer);
        self.check_fence(call, answer);
        self.note(call, answer);
        if let Some((_, point)) = points(call.name, &call.detail) {
            self.process.reach(point);
        }
        self.process.pass().await;
        if changes(call.name) && !matches!(answer, Answer::Failed(_)) && self.faults.fires(Fault::CommitUnknown) {
            self.rare.took(Path::CommitInDoubt);
            return Err(fails());
        }
        Ok(())
    }
}
