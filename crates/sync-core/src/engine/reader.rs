//! The reader of one stream as a pure machine: inputs in, actions out, no clock, no store, no waiting.

pub(crate) mod guardian;
mod letters;
mod pass;
mod passing;
mod protocol;
mod recheck;
mod refresh;
mod vanished;

use std::collections::VecDeque;
use std::time::Duration;

use self::letters::LetterCheck;
use self::pass::ScanStep;
use self::passing::Requeue;
use self::refresh::Refresh;
use self::vanished::Vanished;
use super::policy::{Trouble, delay, millis};
use crate::traits::{Advance, Checkpoint, Class, PassKind, Phase, PositionState, SyncEvent};
use crate::{EndpointErrorKind, Position, StatusReason};

pub use pass::{PassNote, RunningPass};
pub use protocol::{
    Absent, Context, Order, OrderKind, Parents, ReadPage, ReaderAction, ReaderConfig, ReaderInput, ScannedPage,
};

/// How long a pass that waits for room in the backlog waits before it looks again.
const ROOM_POLL: Duration = Duration::from_secs(5);

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
    VanishedPage,
    LetterPage,
    RefreshPage,
    RequeuePage,
    ScanPage { replay: bool },
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
    /// When the change feed last answered that there was no more.
    polled_at: Option<Duration>,
    /// When the change feed last answered, by the calendar; what the age of the position is counted from.
    answered_ms: Option<i64>,
    position_state: PositionState,
    /// Waiting, or a step of something beside reading is under way.
    busy: bool,
    stale: bool,
    failures: u32,
    resets: u32,
    note: PassNote,
    scan: Option<ScanStep>,
    /// A page of a scan whose rows are being appended.
    in_hand: Option<ScannedPage>,
    vanished: Option<Vanished>,
    letter_check: Option<LetterCheck>,
    /// Nothing older than the pass was unsettled when the store was asked last.
    vanish_ready: bool,
    /// The store was asked that since the last poll.
    vanish_asked: bool,
    braked: bool,
    orders: VecDeque<Order>,
    requeue: Option<Requeue>,
    /// An order whose consequences are noted just now.
    finishing: Option<u64>,
    /// Something in the backlog may have been made by another plan.
    outdated: bool,
    /// The store has a note of that other plan.
    noted: bool,
    refresh: Option<Refresh>,
    reset_to: Option<u64>,
    throttled: bool,
    /// Since the change feed last answered, no pass has had a turn.
    turn: bool,
    /// All that is unsettled waits for parents, and a search for vanished records waits for it: that is left to the next run.
    parked: bool,
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
            polled_at: None,
            answered_ms: None,
            position_state: PositionState::Fresh,
            busy: false,
            stale: false,
            failures: 0,
            resets: 0,
            note: PassNote::default(),
            scan: None,
            in_hand: None,
            vanished: None,
            letter_check: None,
            vanish_ready: false,
            vanish_asked: false,
            braked: false,
            orders: VecDeque::new(),
            requeue: None,
            finishing: None,
            outdated: false,
            noted: false,
            refresh: None,
            reset_to: None,
            throttled: false,
            turn: false,
            parked: false,
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
        self.guard(now, &mut out);
        if !self.ended && !self.busy {
            self.pump(now, &mut out);
        }
        out
    }

    fn take(&mut self, now: Context, input: ReaderInput, out: &mut Vec<ReaderAction>) {
        match input {
            ReaderInput::Loaded { checkpoint, note, plan } => {
                self.busy = false;
                self.outdated = plan != Some(self.config.plan);
                self.noted = plan.is_some();
                self.note = note;
                self.answered_ms = checkpoint.as_ref().filter(|at| at.position.is_some()).map(|at| at.at_ms);
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
                self.over(out);
                self.answered_ms = Some(now.now_ms);
                if !page.more {
                    self.polled_at = Some(now.now);
                    self.turn = true;
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
            ReaderInput::Noted => {
                self.busy = false;
                if let Some(generation) = self.reset_to.take() {
                    self.storing = Storing::Reset;
                    out.push(ReaderAction::Reset { expected_version: self.version(), generation });
                }
                if let Some(id) = self.finishing.take() {
                    self.busy = true;
                    out.push(ReaderAction::FinishOrder(id));
                }
            }
            ReaderInput::PlanMarked => {
                self.busy = false;
                // Two notes are made: first that the old one does not hold any more, at the end the new one.
                self.outdated = std::mem::replace(&mut self.noted, false);
            }
            ReaderInput::UnsettledBefore(unsettled) => {
                self.busy = false;
                self.vanish_ready = !unsettled;
                // If so, not now; the next poll asks again.
                self.vanish_asked = unsettled;
                self.parked = unsettled && self.config.until_idle && now.backlog > 0 && now.pressing() == 0;
            }
            ReaderInput::Outdated(_) => self.refresh_input(input, out),
            ReaderInput::Letters(_) if self.requeue.is_some() => self.requeue_input(input, out),
            ReaderInput::Letters(_) => self.letter_input(input, out),
            ReaderInput::Scanned(_) | ReaderInput::Known(_) | ReaderInput::Marked => self.scan_input(input, out),
            ReaderInput::ScanFailed(trouble) => self.scan_failed(trouble),
            ReaderInput::Fetched(_) if self.refresh.is_some() => self.refresh_input(input, out),
            ReaderInput::Fetched(_) if self.requeue.is_some() => self.requeue_input(input, out),
            ReaderInput::Fetched(_) if self.fetching_for_scan() => self.scan_input(input, out),
            ReaderInput::Fetched(_) if self.letter_check.is_some() => self.letter_input(input, out),
            ReaderInput::Bound(_) | ReaderInput::Unseen(_) | ReaderInput::Fetched(_) => self.vanished_input(input, out),
            ReaderInput::Orders(orders) => {
                self.busy = false;
                self.orders.extend(orders);
            }
            ReaderInput::OrderFinished => self.busy = false,
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
                self.vanish_asked = false;
                if self.throttled && now.pressing() <= self.config.high_water / 2 {
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
                self.forget_steps();
                self.release_brake(out);
                out.push(ReaderAction::Emit(SyncEvent::Resnapshot {
                    stream: self.config.stream.clone(),
                    generation: checkpoint.generation,
                }));
            }
            Storing::LetterPage => {
                if let Some(check) = self.letter_check.as_mut() {
                    check.appended();
                }
            }
            Storing::VanishedPage => self.vanished = self.vanished.take().map(Vanished::appended),
            Storing::RequeuePage => self.requeued(out),
            Storing::ScanPage { .. } => {
                if let Some(page) = self.in_hand.take() {
                    self.page_done(page, out);
                }
            }
            Storing::RefreshPage => self.refresh = self.refresh.take().map(Refresh::appended),
            Storing::Page => {
                if self.tail.is_some_and(|tail| tail.phase == Phase::Snapshot && !tail.more) {
                    out.push(ReaderAction::Emit(SyncEvent::SnapshotComplete { stream: self.config.stream.clone() }));
                }
                // Only an answer to a position shows that positions are served; the end of a snapshot does not.
                if self.tail.is_some_and(|tail| tail.phase == Phase::Incremental) {
                    self.resets = 0;
                }
                if let Some(Tail { phase, more, .. }) = self.tail {
                    self.feed_read(phase, more, out);
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
        self.look_for_replay(now);
        if self.stale {
            if self.reading.is_none() {
                self.stale = false;
                self.ready = None;
                self.failed = None;
                self.forget_steps();
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
        if self.feed_first(now) {
            let after = self.checkpoint.as_ref().and_then(|at| at.position.clone());
            self.read(after, out);
            return;
        }
        if self.requeue.is_some() {
            self.turn = false;
            self.requeue_step(out);
            return;
        }
        if self.letter_check.is_some() {
            self.turn = false;
            self.letter_step(now, out);
            return;
        }
        if self.vanished.is_some() {
            self.turn = false;
            self.vanished_step(now, out);
            return;
        }
        if self.scan_under_way() {
            self.scan_step(now, out);
            return;
        }
        self.next_read(now, out);
    }

    /// Whether changes are read before what goes on beside them: at the end of a chunk, or when the source has trouble to tell about
    /// single records, so that no such trouble keeps the changes of all others waiting. Every second turn at most: a feed that is due
    /// again at once would never come to an end.
    fn feed_first(&self, now: Context) -> bool {
        let border = match (&self.requeue, &self.letter_check, &self.vanished) {
            (Some(requeue), _, _) => requeue.at_border(),
            (None, Some(check), _) => check.at_border(),
            (None, None, Some(search)) => search.at_border(),
            (None, None, None) => return false,
        };
        let live = self.checkpoint.as_ref().is_some_and(|at| at.phase == Phase::Incremental);
        live && !self.turn
            && (border || self.failures > 0)
            && self.poll_due(now)
            && now.pressing() <= self.config.high_water
    }

    fn poll_due(&self, now: Context) -> bool {
        self.polled_at.is_none_or(|at| now.now.saturating_sub(at) >= self.config.poll_every)
    }

    /// What was going on beside reading begins anew, from what is noted of it.
    fn forget_steps(&mut self) {
        self.scan = None;
        self.in_hand = None;
        self.vanished = None;
        self.letter_check = None;
        self.refresh = None;
        if let Some(requeue) = self.requeue.take() {
            self.orders.push_front(requeue.into_order());
        }
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
            self.feed_read(page.phase, page.more, out);
            self.pump(now, out);
            return;
        }
        let note_first = snapshot && page.more && self.closing_unnoted();
        if page.more && now.pressing() <= self.config.high_water && !self.outdated && !note_first {
            // One page ahead: it is read while this one is appended.
            self.read(Some(page.next.clone()), out);
        }
        self.storing = Storing::Page;
        out.push(ReaderAction::Append {
            drafts: page.drafts,
            mark_seen: self.pass_number().or((generation > 1 && (snapshot || self.pass_open())).then_some(generation)),
            advance: Advance { expected_version: self.version(), generation, phase, position: page.next },
            class: if snapshot { Class::Backfill } else { self.config.class },
            replay: false,
            snapshot,
            refresh: self.outdated,
        });
    }

    fn next_read(&mut self, now: Context, out: &mut Vec<ReaderAction>) {
        if self.outdated && self.refresh_outdated(out) {
            return;
        }
        let phase = self.checkpoint.as_ref().map(|at| at.phase);
        let mid_snapshot =
            phase == Some(Phase::Snapshot) && self.checkpoint.as_ref().is_some_and(|at| at.position.is_some());
        if mid_snapshot && self.note_closing(out) {
            return;
        }
        if self.order_step(now, out) {
            return;
        }
        let tail = self.tail;
        let at_end = tail.is_some_and(|tail| !tail.more);
        let poll_due = self.poll_due(now);
        // Changes go first, but a feed that is due again at once leaves a pass every second turn.
        let turn = !poll_due || self.turn;
        // What changed while a snapshot was read is most likely what the feed tells of next: a scan need not find it first.
        let ready =
            !self.config.scan || self.pass_number().is_some() || tail.is_some_and(|at| at.phase == Phase::Incremental);
        if phase == Some(Phase::Incremental) && at_end && ready && turn && self.pass_step(now, out) {
            self.turn = false;
            return;
        }
        let caught_up = at_end && tail.is_some_and(|tail| tail.phase == Phase::Incremental);
        let quiet = caught_up && self.config.until_idle && tail.is_some_and(|tail| tail.empty);
        if quiet && !self.pass_open() {
            match now.parents {
                Parents::Done => {
                    self.ended = true;
                    out.push(ReaderAction::Finish);
                }
                Parents::Reading => {
                    self.busy = true;
                    out.push(ReaderAction::WaitParents);
                }
                Parents::Deleted => {
                    let after = self.checkpoint.as_ref().and_then(|at| at.position.clone());
                    self.read(after, out);
                }
            }
            return;
        }
        if caught_up && !poll_due && (quiet || !self.config.until_idle) {
            self.busy = true;
            let at = self.polled_at.unwrap_or(now.now);
            let left = (at + self.config.poll_every).saturating_sub(now.now);
            out.push(match self.note.running.as_ref().filter(|_| !self.braked) {
                // A pass waits: for what is older than it, or for room.
                Some(running) if running.scanned && self.config.until_idle && now.pressing() > 0 => {
                    ReaderAction::WaitBacklog(0, Some(left))
                }
                Some(running) if !running.scanned => {
                    ReaderAction::WaitBacklog(self.config.high_water / 4, Some(left.min(ROOM_POLL)))
                }
                _ => ReaderAction::Wait(left),
            });
            return;
        }
        // What another plan made is not written: it is read again, and for that a page has to be read first.
        if !self.outdated && (self.throttled || now.pressing() > self.config.high_water) {
            self.throttled = true;
            self.busy = true;
            out.push(ReaderAction::WaitBacklog(self.config.high_water / 2, None));
            return;
        }
        let after = self.checkpoint.as_ref().and_then(|at| at.position.clone());
        self.read(after, out);
    }

    fn read(&mut self, after: Option<Position>, out: &mut Vec<ReaderAction>) {
        self.reading = Some(after.clone());
        let live = self.checkpoint.as_ref().is_some_and(|at| at.phase == Phase::Incremental);
        let class = if live { self.config.class } else { Class::Backfill };
        out.push(ReaderAction::Read { after, rows: self.config.page_rows, class, replay: self.replaying() });
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
                let generation = self.note.last.max(self.generation()) + 1;
                self.reset_to = Some(generation);
                self.note.last = generation;
                // What an operator asked for and was not read yet is done after the snapshot; it is a closing sweep, too.
                let after = if self.replay_scans() { PassKind::Replay } else { PassKind::Closing };
                self.note.due = self.note.due.max(Some(after));
                self.note.running = None;
                self.busy = true;
                // Remembered before the reset: a crash in between leads to a sweep that was not needed.
                out.push(ReaderAction::NotePass(self.note.clone()));
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
                out.push(ReaderAction::BackOff(wait));
            }
        }
    }

    /// Says that the change feed was read to its end. It does not tell of everything while a closing sweep is to come: deletes that it
    /// missed are found by that.
    fn feed_read(&self, phase: Phase, more: bool, out: &mut Vec<ReaderAction>) {
        if phase == Phase::Incremental && !more && !self.closing() {
            out.push(ReaderAction::FeedRead);
        }
    }

    /// Watches how near the position is to be served no more.
    fn guard(&mut self, now: Context, out: &mut Vec<ReaderAction>) {
        let (Some(retention), Some(answered_ms)) = (self.config.retention, self.answered_ms) else { return };
        let age = Duration::from_millis(u64::try_from(now.now_ms.saturating_sub(answered_ms)).unwrap_or(0));
        let state = PositionState::of(age, retention);
        if state != self.position_state {
            self.position_state = state;
            let stream = self.config.stream.clone();
            out.push(ReaderAction::Guard(guardian::reason(&stream, state, age)));
            out.push(ReaderAction::Emit(SyncEvent::PositionAge { stream, state }));
        }
    }

    fn release_brake(&mut self, out: &mut Vec<ReaderAction>) {
        if std::mem::take(&mut self.braked) {
            out.push(ReaderAction::Brake(None));
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
