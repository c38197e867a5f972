//! The reader of one stream as a pure machine: inputs in, actions out, no clock, no store, no waiting.

mod protocol;
mod recheck;
mod refresh;
mod sweep;

use self::refresh::Refresh;
use self::sweep::Sweep;
use super::policy::{Trouble, delay, millis};
use crate::traits::{Advance, Checkpoint, Phase, SyncEvent};
use crate::{EndpointErrorKind, Position, StatusReason};

pub use protocol::{Absent, Context, ReadPage, ReaderAction, ReaderConfig, ReaderInput};

/// The end of the page that was appended last.
#[derive(Debug, Clone, Copy)]
struct Tail {
    phase: Phase,
    more: bool,
    empty: bool,
}

/// What happens to the page being appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Storing {
    Nothing,
    Page,
    SweepPage,
    RefreshPage,
    Reset,
}

/// The machine. [`ReaderMachine::start`] once, then [`ReaderMachine::step`] for every input; actions may run at the same
/// time, and at most one read and one store action are under way.
#[derive(Debug)]
pub struct ReaderMachine {
    config: ReaderConfig,
    checkpoint: Option<Checkpoint>,
    reading: Option<Option<Position>>,
    storing: Storing,
    ready: Option<ReadPage>,
    failed: Option<Trouble>,
    tail: Option<Tail>,
    /// Waiting, or a step of the search is under way.
    busy: bool,
    stale: bool,
    failures: u32,
    resets: u32,
    sweep_due: bool,
    /// Nothing older than the snapshot was unsettled when the store was asked last.
    sweep_ready: bool,
    /// The store was asked that since the last poll.
    sweep_asked: bool,
    sweep: Option<Sweep>,
    braked: bool,
    /// Something in the backlog may have been made by another plan.
    outdated: bool,
    /// The store has a note of that other plan.
    noted: bool,
    refresh: Option<Refresh>,
    reset_to: Option<u64>,
    throttled: bool,
    ended: bool,
}

impl ReaderMachine {
    /// A reader before its first step.
    pub fn new(config: ReaderConfig) -> Self {
        Self {
            config,
            checkpoint: None,
            reading: None,
            storing: Storing::Nothing,
            ready: None,
            failed: None,
            tail: None,
            busy: false,
            stale: false,
            failures: 0,
            resets: 0,
            sweep_due: false,
            sweep_ready: false,
            sweep_asked: false,
            sweep: None,
            braked: false,
            outdated: false,
            noted: false,
            refresh: None,
            reset_to: None,
            throttled: false,
            ended: false,
        }
    }

    /// The first actions.
    pub fn start(&mut self) -> Vec<ReaderAction> {
        self.busy = true;
        vec![ReaderAction::Load]
    }

    /// One step.
    pub fn step(&mut self, now: Context, input: ReaderInput) -> Vec<ReaderAction> {
        let mut out = Vec::new();
        if self.ended {
            return out;
        }
        self.take(now, input, &mut out);
        if !self.ended && !self.busy {
            self.pump(now, &mut out);
        }
        out
    }

    fn take(&mut self, now: Context, input: ReaderInput, out: &mut Vec<ReaderAction>) {
        match input {
            ReaderInput::Loaded { checkpoint, sweep, plan } => {
                self.busy = false;
                self.outdated = plan != Some(self.config.plan);
                self.noted = plan.is_some();
                // The note may be about a generation that never began; then an earlier search may be unfinished as well.
                self.sweep_due = sweep.is_some() && sweep >= checkpoint.as_ref().map(|found| found.generation);
                self.checkpoint = checkpoint;
                self.tail = None;
            }
            ReaderInput::Page(page) => {
                let asked = self.reading.take().flatten();
                if self.stale {
                    return;
                }
                if page.more && asked.as_ref() == Some(&page.next) {
                    // A page that leads to itself would be read for ever.
                    self.failed = Some(stuck());
                    return;
                }
                if self.failures > 0 {
                    self.failures = 0;
                    out.push(ReaderAction::Trouble(None));
                }
                self.ready = Some(page);
            }
            ReaderInput::ReadFailed(trouble) => {
                self.reading = None;
                self.failed = Some(trouble);
            }
            ReaderInput::Stored(checkpoint) => self.stored(checkpoint, out),
            ReaderInput::StoredQuiet(checkpoint) => {
                if let Some(tail) = self.tail.as_mut().filter(|_| self.storing == Storing::Page) {
                    tail.empty = true;
                }
                self.stored(checkpoint, out);
            }
            ReaderInput::Conflict => {
                self.storing = Storing::Nothing;
                self.stale = true;
            }
            ReaderInput::SweepMarked => {
                self.busy = false;
                if let Some(generation) = self.reset_to.take() {
                    self.storing = Storing::Reset;
                    out.push(ReaderAction::Reset { expected_version: self.version(), generation });
                }
            }
            ReaderInput::PlanMarked => {
                self.busy = false;
                // Two notes are made: first that the old one does not hold any more, at the end the new one.
                self.outdated = std::mem::replace(&mut self.noted, false);
            }
            ReaderInput::UnsettledBefore(unsettled) => {
                self.busy = false;
                self.sweep_ready = !unsettled;
                if unsettled {
                    // Not now; the next poll asks again.
                    self.sweep_asked = true;
                }
            }
            ReaderInput::Outdated(_) => self.refresh_input(input, out),
            ReaderInput::Fetched(_) if self.refresh.is_some() => self.refresh_input(input, out),
            ReaderInput::Bound(_) | ReaderInput::Unseen(_) | ReaderInput::Fetched(_) => self.sweep_input(input, out),
            ReaderInput::FetchFailed(trouble) => {
                self.busy = false;
                self.failed = Some(Trouble {
                    // "No longer served" has no meaning for single records.
                    kind: match trouble.kind {
                        EndpointErrorKind::Refused => EndpointErrorKind::Refused,
                        _ => EndpointErrorKind::Unavailable,
                    },
                    ..trouble
                });
            }
            ReaderInput::Woken => {
                self.busy = false;
                self.sweep_asked = false;
                if self.throttled && now.backlog <= self.config.high_water / 2 {
                    self.throttled = false;
                }
            }
        }
    }

    fn stored(&mut self, checkpoint: Checkpoint, out: &mut Vec<ReaderAction>) {
        match std::mem::replace(&mut self.storing, Storing::Nothing) {
            Storing::Reset => {
                self.tail = None;
                self.ready = None;
                self.sweep = None;
                self.refresh = None;
                self.braked = false;
                self.sweep_due = true;
                self.sweep_ready = false;
                out.push(ReaderAction::Emit(SyncEvent::Resnapshot {
                    stream: self.config.stream.clone(),
                    generation: checkpoint.generation,
                }));
            }
            Storing::SweepPage => self.sweep = self.sweep.take().map(Sweep::appended),
            Storing::RefreshPage => self.refresh = self.refresh.take().map(Refresh::appended),
            Storing::Page => {
                if self.tail.is_some_and(|tail| tail.phase == Phase::Snapshot && !tail.more) {
                    out.push(ReaderAction::Emit(SyncEvent::SnapshotComplete { stream: self.config.stream.clone() }));
                }
                // Only an answer to a position shows that positions are served; the end of a snapshot does not.
                if self.tail.is_some_and(|tail| tail.phase == Phase::Incremental) {
                    self.resets = 0;
                }
            }
            Storing::Nothing => {}
        }
        self.checkpoint = Some(checkpoint);
    }

    /// Decides what comes next when something ended.
    fn pump(&mut self, now: Context, out: &mut Vec<ReaderAction>) {
        if self.storing != Storing::Nothing {
            return;
        }
        if self.stale {
            if self.reading.is_none() {
                self.stale = false;
                self.ready = None;
                self.failed = None;
                self.sweep = None;
                self.refresh = None;
                self.busy = true;
                out.push(ReaderAction::Load);
            }
            return;
        }
        if let Some(page) = self.ready.take() {
            self.append(now, page, out);
            return;
        }
        if self.reading.is_some() {
            return;
        }
        if let Some(trouble) = self.failed.take() {
            self.trouble(now, trouble, out);
            return;
        }
        if self.refresh.is_some() {
            self.refresh_step(out);
            return;
        }
        if self.sweep.is_some() {
            self.sweep_step(out);
            return;
        }
        self.next_read(now, out);
    }

    fn append(&mut self, now: Context, page: ReadPage, out: &mut Vec<ReaderAction>) {
        let snapshot = page.phase == Phase::Snapshot;
        let ends_snapshot = snapshot && !page.more;
        self.tail = Some(Tail { phase: page.phase, more: page.more, empty: page.drafts.is_empty() });
        let generation = self.generation();
        let phase = if snapshot && !ends_snapshot { Phase::Snapshot } else { Phase::Incremental };
        let moved = self.checkpoint.as_ref().is_none_or(|at| at.position.as_ref() != Some(&page.next));
        if !moved && page.drafts.is_empty() && !snapshot {
            // Nothing changed, not even the position: nothing to write.
            self.next_read(now, out);
            return;
        }
        if page.more && now.backlog <= self.config.high_water && !self.outdated {
            // One page ahead: it is read while this one is appended.
            self.read(Some(page.next.clone()), out);
        }
        self.storing = Storing::Page;
        out.push(ReaderAction::Append {
            drafts: page.drafts,
            mark_seen: (generation > 1 && (snapshot || self.sweep_due)).then_some(generation),
            advance: Advance { expected_version: self.version(), generation, phase, position: page.next },
            snapshot,
            refresh: self.outdated,
        });
    }

    fn next_read(&mut self, now: Context, out: &mut Vec<ReaderAction>) {
        if self.outdated && self.refresh_outdated(out) {
            return;
        }
        let incremental = self.checkpoint.as_ref().is_some_and(|at| at.phase == Phase::Incremental);
        let tail = self.tail;
        let at_end = tail.is_some_and(|tail| !tail.more);
        if incremental && self.sweep_due && !self.braked && tail.is_none_or(|tail| !tail.more) {
            if !self.config.sweep {
                self.sweep_due = false;
                self.busy = true;
                out.push(ReaderAction::MarkSweep(None));
                return;
            }
            // What an older entry will leave at the destination is not in the index yet, so the search would pass it over.
            if now.backlog == 0 || self.sweep_ready {
                self.sweep = Some(Sweep::new(self.generation()));
                self.sweep_step(out);
                return;
            }
            if !self.sweep_asked {
                self.busy = true;
                out.push(ReaderAction::UnsettledBefore(self.generation()));
                return;
            }
        }
        let caught_up = at_end && tail.is_some_and(|tail| tail.phase == Phase::Incremental);
        if caught_up && self.config.until_idle && tail.is_some_and(|tail| tail.empty) {
            if self.sweep_due && !self.braked {
                self.busy = true;
                out.push(ReaderAction::WaitBacklog(0));
                return;
            }
            self.ended = true;
            out.push(ReaderAction::Finish);
            return;
        }
        if caught_up && !self.config.until_idle {
            self.tail = None;
            self.busy = true;
            out.push(ReaderAction::Wait(self.config.poll_every));
            return;
        }
        if self.throttled || now.backlog > self.config.high_water {
            self.throttled = true;
            self.busy = true;
            out.push(ReaderAction::WaitBacklog(self.config.high_water / 2));
            return;
        }
        let after = self.checkpoint.as_ref().and_then(|at| at.position.clone());
        self.read(after, out);
    }

    fn read(&mut self, after: Option<Position>, out: &mut Vec<ReaderAction>) {
        self.reading = Some(after.clone());
        out.push(ReaderAction::Read { after, rows: self.config.page_rows });
    }

    fn trouble(&mut self, now: Context, trouble: Trouble, out: &mut Vec<ReaderAction>) {
        let has_position = self.checkpoint.as_ref().is_some_and(|at| at.position.is_some());
        match trouble.kind {
            EndpointErrorKind::Refused => {
                self.ended = true;
                out.push(ReaderAction::Fail(trouble.reason));
            }
            EndpointErrorKind::Expired if has_position && self.resets < 3 => {
                self.resets += 1;
                let generation = self.generation() + 1;
                self.reset_to = Some(generation);
                self.busy = true;
                // Remembered before the reset: a crash in between leaves a note about a generation that never began.
                out.push(ReaderAction::MarkSweep(Some(generation)));
            }
            // A position that expires again and again, or that was never given, is trouble of the service.
            EndpointErrorKind::Unavailable | EndpointErrorKind::Expired => {
                self.failures = self.failures.saturating_add(1);
                if trouble.kind == EndpointErrorKind::Expired {
                    self.resets = 0;
                }
                let wait = delay(&self.config.backoff, self.failures, trouble.retry_after, now.unit);
                out.push(ReaderAction::Emit(SyncEvent::Retrying {
                    stream: self.config.stream.clone(),
                    code: trouble.reason.code.clone(),
                    reason: trouble.reason.message.clone(),
                    delay_ms: u64::try_from(millis(wait)).unwrap_or(0),
                }));
                out.push(ReaderAction::Trouble(Some(trouble.reason)));
                self.busy = true;
                out.push(ReaderAction::Wait(wait));
            }
        }
    }

    fn version(&self) -> u64 {
        self.checkpoint.as_ref().map_or(0, |at| at.version)
    }

    fn generation(&self) -> u64 {
        self.checkpoint.as_ref().map_or(1, |at| at.generation)
    }
}

fn stuck() -> Trouble {
    Trouble {
        kind: EndpointErrorKind::Unavailable,
        reason: StatusReason {
            code: "position-stuck".to_owned(),
            message: "The source answered a page that leads to itself.".to_owned(),
            remedy:
                "Nothing is to be done if it passes; otherwise look at what stands between the source and this program."
                    .to_owned(),
        },
        retry_after: None,
    }
}
