//! The reader of one stream as a pure machine: inputs in, actions out, no clock, no store, no waiting.

use std::time::Duration;

use record::Key;
use timing::Backoff;

use super::policy::{Trouble, delay, millis};
use super::sweep::Sweep;
use crate::traits::{Advance, Checkpoint, Draft, Phase, SyncEvent};
use crate::{EndpointErrorKind, Position, StatusReason, StreamId};

/// Settings of a reader.
#[derive(Debug, Clone)]
pub struct ReaderConfig {
    /// The stream.
    pub stream: StreamId,
    /// Rows per page.
    pub page_rows: u32,
    /// Unsettled entries above which reading pauses; it resumes at half of that.
    pub high_water: u64,
    /// The wait before a source that had nothing more is asked again.
    pub poll_every: Duration,
    /// Whether to finish when a source has no change.
    pub until_idle: bool,
    /// Whether vanished records are looked for after a repeated snapshot.
    pub sweep: bool,
    /// Keys per step of that search.
    pub sweep_chunk: usize,
    /// How many vanished records may be deleted.
    pub brake: super::DeleteBrake,
    /// Waits between attempts at the source.
    pub backoff: Backoff,
}

/// What a machine may know of the world at a step.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// Unsettled entries of the stream.
    pub backlog: u64,
    /// A random number in `[0, 1)`.
    pub unit: f64,
}

/// A page that was read and decided.
#[derive(Debug)]
pub struct ReadPage {
    /// The drafts, one per change.
    pub drafts: Vec<Draft>,
    /// Where to go on.
    pub next: Position,
    /// What the page belongs to.
    pub phase: Phase,
    /// Whether more is ready at once.
    pub more: bool,
}

/// What happened.
#[derive(Debug)]
pub enum ReaderInput {
    /// The answer to [`ReaderAction::Load`].
    Loaded {
        /// The checkpoint; `None` before anything was read.
        checkpoint: Option<Checkpoint>,
        /// The generation whose search for vanished records is not finished.
        sweep: Option<u64>,
    },
    /// The answer to [`ReaderAction::Read`].
    Page(ReadPage),
    /// The source has trouble.
    ReadFailed(Trouble),
    /// The answer to [`ReaderAction::Append`] and [`ReaderAction::Reset`].
    Stored(Checkpoint),
    /// The answer to [`ReaderAction::Append`] when the page put nothing into the backlog. Sources send rows again at times, and a
    /// row that is known already must not keep a run that waits for quiet from ending.
    StoredQuiet(Checkpoint),
    /// The checkpoint moved meanwhile.
    Conflict,
    /// The answer to [`ReaderAction::MarkSweep`].
    SweepMarked,
    /// The answer to [`ReaderAction::CountBound`].
    Bound(u64),
    /// The answer to [`ReaderAction::Unseen`].
    Unseen(Vec<Key>),
    /// The answer to [`ReaderAction::Fetch`].
    Fetched(Vec<Draft>),
    /// The source has trouble to tell about single records.
    FetchFailed(Trouble),
    /// A wait, of either kind, is over.
    Woken,
}

/// What is to be done: each is one primitive.
#[derive(Debug)]
pub enum ReaderAction {
    /// Load the checkpoint, and what is known of an unfinished search.
    Load,
    /// Remember that the search for vanished records of this generation is due (or, with `None`, done).
    MarkSweep(Option<u64>),
    /// Start a new generation.
    Reset {
        /// The version that the checkpoint is to have.
        expected_version: u64,
        /// The new generation.
        generation: u64,
    },
    /// Read a page and decide its changes.
    Read {
        /// The position.
        after: Option<Position>,
        /// Rows wanted.
        rows: u32,
    },
    /// Append a page with its position.
    Append {
        /// The drafts.
        drafts: Vec<Draft>,
        /// The generation that met these keys.
        mark_seen: Option<u64>,
        /// The new position.
        advance: Advance,
        /// Whether the page belongs to a snapshot.
        snapshot: bool,
    },
    /// Count the records at the destination.
    CountBound,
    /// List records that a generation did not meet.
    Unseen {
        /// The generation.
        generation: u64,
        /// After this key.
        after: Option<Key>,
        /// At most so many.
        limit: usize,
    },
    /// Ask the source for single records, and decide them.
    Fetch(Vec<Key>),
    /// Wait.
    Wait(Duration),
    /// Wait until the stream has at most so many unsettled entries.
    WaitBacklog(u64),
    /// Tell the observer.
    Emit(SyncEvent),
    /// Show why the stream is held up; `None` when it goes on.
    Trouble(Option<StatusReason>),
    /// Show that more records vanished than may be deleted.
    Brake(StatusReason),
    /// Nothing more to read.
    Finish,
    /// The workflow cannot go on.
    Fail(StatusReason),
}

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
    sweep: Option<Sweep>,
    braked: bool,
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
            sweep: None,
            braked: false,
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
            ReaderInput::Loaded { checkpoint, sweep } => {
                self.busy = false;
                self.sweep_due = sweep.is_some() && sweep == checkpoint.as_ref().map(|found| found.generation);
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
                self.braked = false;
                self.sweep_due = true;
                out.push(ReaderAction::Emit(SyncEvent::Resnapshot {
                    stream: self.config.stream.clone(),
                    generation: checkpoint.generation,
                }));
            }
            Storing::SweepPage => self.sweep = self.sweep.take().map(Sweep::appended),
            Storing::Page => {
                if self.tail.is_some_and(|tail| tail.phase == Phase::Snapshot && !tail.more) {
                    out.push(ReaderAction::Emit(SyncEvent::SnapshotComplete { stream: self.config.stream.clone() }));
                }
                if checkpoint.phase == Phase::Incremental {
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
        if page.more && now.backlog <= self.config.high_water {
            // One page ahead: it is read while this one is appended.
            self.read(Some(page.next.clone()), out);
        }
        self.storing = Storing::Page;
        out.push(ReaderAction::Append {
            drafts: page.drafts,
            mark_seen: (generation > 1 && (snapshot || self.sweep_due)).then_some(generation),
            advance: Advance { expected_version: self.version(), generation, phase, position: page.next },
            snapshot,
        });
    }

    fn next_read(&mut self, now: Context, out: &mut Vec<ReaderAction>) {
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
            // A record that is still on its way is not known to be at the destination yet, so it could not be missed.
            if now.backlog == 0 {
                self.sweep = Some(Sweep::new(self.generation()));
                self.sweep_step(out);
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

    fn sweep_input(&mut self, input: ReaderInput, out: &mut Vec<ReaderAction>) {
        self.busy = false;
        let Some(sweep) = self.sweep.take() else { return };
        if self.failures > 0 {
            self.failures = 0;
            out.push(ReaderAction::Trouble(None));
        }
        match input {
            ReaderInput::Bound(bound) => self.sweep = Some(sweep.bound(self.config.brake.allowed(bound))),
            ReaderInput::Unseen(keys) => self.sweep = Some(sweep.unseen(keys, self.config.sweep_chunk)),
            ReaderInput::Fetched(drafts) => match self.checkpoint.as_ref() {
                Some(Checkpoint { version, generation, phase, position: Some(position), .. }) => {
                    let advance = Advance {
                        expected_version: *version,
                        generation: *generation,
                        phase: *phase,
                        position: position.clone(),
                    };
                    self.sweep = Some(sweep);
                    self.storing = Storing::SweepPage;
                    let mark_seen = Some(advance.generation);
                    out.push(ReaderAction::Append { drafts, mark_seen, advance, snapshot: true });
                }
                _ => self.stale = true,
            },
            _ => self.sweep = Some(sweep),
        }
    }

    fn sweep_step(&mut self, out: &mut Vec<ReaderAction>) {
        let Some(sweep) = self.sweep.as_ref() else { return };
        self.busy = true;
        match sweep.next(self.config.sweep_chunk) {
            super::sweep::Next::Do(action) => out.push(action),
            super::sweep::Next::Done => {
                self.sweep = None;
                self.sweep_due = false;
                out.push(ReaderAction::MarkSweep(None));
            }
            super::sweep::Next::Brake { candidates, allowed } => {
                self.sweep = None;
                self.braked = true;
                out.push(ReaderAction::Emit(SyncEvent::DeleteBrake {
                    stream: self.config.stream.clone(),
                    candidates,
                    allowed,
                }));
                out.push(ReaderAction::Brake(super::sweep::brake_reason(&self.config.stream, candidates, allowed)));
                // Nothing is to be waited for: the run goes on at once.
                out.push(ReaderAction::Wait(Duration::ZERO));
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
