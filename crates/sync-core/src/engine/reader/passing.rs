//! How passes over the whole table go on beside the change feed, one page at a time, and what an operator asks for.
//!
//! Everything a stream's reader asks of the source, it asks one after the other: a row that a scan met is appended before the next
//! change is read, and the other way round. So the newer answer is appended later, and acceptance by row version does the rest.

use std::time::Duration;

use record::Key;

use super::pass::{RunningPass, ScanStep, scan_stuck};
use super::vanished::Vanished;
use super::{Absent, Context, Order, OrderKind, ReaderAction, ReaderInput, ReaderMachine, ScannedPage, Storing};
use crate::EndpointErrorKind;
use crate::engine::policy::Trouble;
use crate::traits::{Class, LetterFilter, PassKind, SyncEvent};

/// The records of dead letters, read again and queued.
#[derive(Debug)]
pub(super) struct Requeue {
    id: u64,
    filter: LetterFilter,
    after: Option<u64>,
    letters: Vec<(u64, Key)>,
    complete: bool,
    /// The newest letter there was at the beginning: one that is made by the requeue itself is not tried again.
    newest: Option<u64>,
}

impl Requeue {
    /// Whether no chunk is in hand, so that the feed may be read first.
    pub(super) fn at_border(&self) -> bool {
        self.letters.is_empty()
    }

    /// It is carried out from the beginning once more; a record that was queued by it is found equal.
    pub(super) fn into_order(self) -> Order {
        Order { id: self.id, what: OrderKind::Requeue(self.filter) }
    }
}

impl ReaderMachine {
    /// The number with which records are marked as met at present.
    pub(super) fn pass_number(&self) -> Option<u64> {
        self.note.running.as_ref().map(|running| running.number)
    }

    pub(super) fn replaying(&self) -> bool {
        self.note.replay_waits || self.replay_scans()
    }

    /// Whether a replay still reads.
    pub(super) fn replay_scans(&self) -> bool {
        self.note.running.as_ref().is_some_and(|running| running.kind == PassKind::Replay && !running.scanned)
    }

    /// Once nothing waits, nothing of a replay does. The note is kept with the next one: a later run looks again.
    pub(super) fn look_for_replay(&mut self, now: Context) {
        self.note.replay_waits &= now.backlog > 0 || self.replay_scans();
    }

    /// Whether a pass is to go on before a run may end.
    pub(super) fn pass_open(&self) -> bool {
        !self.braked && !self.parked && (self.note.running.is_some() || self.note.due.is_some())
    }

    /// Whether a closing sweep is to come or under way; a replay after a new snapshot is one, too.
    pub(super) fn closing(&self) -> bool {
        let kinds = self.note.due.into_iter().chain(self.note.running.as_ref().map(|running| running.kind));
        let again = self.generation() > 1;
        kinds.into_iter().any(|kind| kind == PassKind::Closing || (again && kind == PassKind::Replay))
    }

    /// After a snapshot that was not read in one piece, a closing sweep is due. It is noted at the first page, because
    /// nothing else tells a later run that there were several.
    pub(super) fn note_closing(&mut self, out: &mut Vec<ReaderAction>) -> bool {
        if !self.closing_unnoted() {
            return false;
        }
        self.note.due = Some(PassKind::Closing);
        self.busy = true;
        out.push(ReaderAction::NotePass(self.note.clone()));
        true
    }

    pub(super) fn closing_unnoted(&self) -> bool {
        self.config.scan && self.note.due.is_none()
    }

    /// The next step of a pass, if there is one to take now.
    pub(super) fn pass_step(&mut self, now: Context, out: &mut Vec<ReaderAction>) -> bool {
        if self.braked {
            return false;
        }
        let Some(running) = self.note.running.clone() else { return self.begin_pass(now, out) };
        if !running.scanned {
            return self.scan_step(now, out);
        }
        if !self.config.deletes {
            self.end_pass(now, 0, out);
            return true;
        }
        // What an older entry will leave at the destination is not in the index yet, so the search would pass it over.
        if now.backlog == 0 || self.vanish_ready {
            self.vanished = Some(Vanished::new(running.number));
            self.vanished_step(now, out);
            return true;
        }
        if !self.vanish_asked {
            self.busy = true;
            out.push(ReaderAction::UnsettledBefore(running.number));
            return true;
        }
        false
    }

    fn begin_pass(&mut self, now: Context, out: &mut Vec<ReaderAction>) -> bool {
        let audit_every = self.config.audit_every.filter(|_| self.config.scan);
        if let (Some(_), None, None) = (audit_every, self.note.due, self.note.done_ms) {
            // A snapshot in one piece needs no sweep: from here on the time to the first audit is counted.
            self.note.done_ms = Some(now.now_ms);
            self.busy = true;
            out.push(ReaderAction::NotePass(self.note.clone()));
            return true;
        }
        let since = self
            .note
            .done_ms
            .map(|done_ms| Duration::from_millis(now.now_ms.saturating_sub(done_ms).max(0).unsigned_abs()));
        let audit = audit_every.zip(since).is_some_and(|(every, since)| since >= every).then_some(PassKind::Audit);
        let Some(kind) = self.note.due.or(audit) else { return false };
        let generation = self.generation();
        // Without a scan, the snapshot itself is the look at the whole table: what it did not meet is missing.
        let number = if self.config.scan { self.note.last.max(generation) + 1 } else { generation };
        self.note.last = self.note.last.max(number);
        self.note.due = None;
        self.note.replay_waits |= kind == PassKind::Replay;
        self.note.running = Some(RunningPass::new(kind, number, !self.config.scan));
        self.vanish_ready = false;
        self.vanish_asked = false;
        self.busy = true;
        out.push(ReaderAction::NotePass(self.note.clone()));
        true
    }

    pub(super) fn end_pass(&mut self, now: Context, missing: u64, out: &mut Vec<ReaderAction>) {
        if let Some(RunningPass { kind, rows, reread, .. }) = self.note.running.take() {
            let stream = self.config.stream.clone();
            out.push(ReaderAction::Emit(SyncEvent::PassComplete { stream, kind, scanned: rows, reread, missing }));
        }
        self.note.done_ms = Some(now.now_ms);
        // The two sides are in step once the changes are read that came after the end of the pass.
        self.tail = None;
        self.busy = true;
        out.push(ReaderAction::NotePass(self.note.clone()));
    }

    /// Goes on with the page in hand, or asks for the next.
    pub(super) fn scan_step(&mut self, now: Context, out: &mut Vec<ReaderAction>) -> bool {
        let Some(running) = self.note.running.as_ref() else { return false };
        let step = self.scan.get_or_insert_with(|| ScanStep::Ask { depth: running.depth() });
        if running.kind == PassKind::Replay && !step.under_way() && now.pressing() > self.config.high_water / 2 {
            // Changes go before what is written again, and have to find room.
            return false;
        }
        self.busy = true;
        out.push(step.action(running, self.config.page_rows));
        true
    }

    pub(super) fn scan_input(&mut self, input: ReaderInput, out: &mut Vec<ReaderAction>) {
        self.busy = false;
        let (Some(step), Some(running)) = (self.scan.take(), self.note.running.as_mut()) else { return };
        if std::mem::take(&mut self.failures) > 0 {
            out.push(ReaderAction::Trouble(None));
        }
        match (step, input) {
            (ScanStep::Ask { .. }, ReaderInput::Scanned(page)) => {
                let here = running.position.as_deref();
                if page.next.as_ref().is_some_and(|next| Some(next.as_str()) == here) {
                    self.failed =
                        Some(Trouble { kind: EndpointErrorKind::Unavailable, reason: scan_stuck(), retry_after: None });
                    return;
                }
                self.scanned(page, out);
            }
            (ScanStep::Compare { page }, ReaderInput::Known(known)) => {
                self.scan = Some(ScanStep::compared(page, &known, self.config.chunk));
            }
            (ScanStep::Fetch { page, .. }, ReaderInput::Fetched(drafts)) => {
                running.reread += drafts.len() as u64;
                self.scan = Some(ScanStep::Mark { page });
                self.append_beside(drafts, Storing::ScanPage { replay: false }, Class::Backfill, out);
            }
            (ScanStep::Mark { page }, ReaderInput::Marked) => self.page_done(page, out),
            (step, _) => self.scan = Some(step),
        }
    }

    fn scanned(&mut self, mut page: ScannedPage, out: &mut Vec<ReaderAction>) {
        let Some(running) = self.note.running.as_mut() else { return };
        match page.drafts.take() {
            Some(drafts) => {
                let replay = running.kind == PassKind::Replay;
                running.reread += drafts.len() as u64;
                let class = if replay { Class::Replay } else { Class::Backfill };
                self.in_hand = Some(page);
                self.append_beside(drafts, Storing::ScanPage { replay }, class, out);
            }
            None if page.rows.is_empty() => self.page_done(page, out),
            None => self.scan = Some(ScanStep::Compare { page }),
        }
    }

    /// A page of the scan is dealt with: how far it is, is noted.
    pub(super) fn page_done(&mut self, page: ScannedPage, out: &mut Vec<ReaderAction>) {
        let Some(running) = self.note.running.as_mut() else { return };
        running.rows += page.rows.len() as u64;
        running.scanned = page.next.is_none();
        running.position = page.next.map(|next| next.as_str().to_owned());
        self.scan = None;
        self.busy = true;
        out.push(ReaderAction::NotePass(self.note.clone()));
    }

    /// A scan whose position is served no more begins anew; it has met nobody for the last time.
    pub(super) fn scan_failed(&mut self, trouble: Trouble) {
        self.busy = false;
        let expired = trouble.kind == EndpointErrorKind::Expired;
        self.scan = None;
        if let Some(running) = self.note.running.as_mut().filter(|running| expired && running.position.is_some()) {
            running.position = None;
            return;
        }
        let kind = if expired { EndpointErrorKind::Unavailable } else { trouble.kind };
        self.failed = Some(Trouble { kind, ..trouble });
    }

    /// Carries out what operators asked for; `false` when there is nothing that can be done now.
    pub(super) fn order_step(&mut self, now: Context, out: &mut Vec<ReaderAction>) -> bool {
        if now.orders {
            self.busy = true;
            out.push(ReaderAction::TakeOrders);
            return true;
        }
        if self.checkpoint.as_ref().is_none_or(|at| at.position.is_none()) {
            return false;
        }
        let Some(order) = self.orders.pop_front() else { return false };
        match order.what {
            OrderKind::Replay => {
                if self.config.scan {
                    // It looks at everything a sweep would look at, and more.
                    self.note.due = Some(PassKind::Replay);
                    self.note.running = None;
                    self.scan = None;
                    self.release_brake(out);
                    self.finishing = Some(order.id);
                    self.busy = true;
                    out.push(ReaderAction::NotePass(self.note.clone()));
                } else {
                    self.busy = true;
                    out.push(ReaderAction::Emit(SyncEvent::RequestRefused {
                        id: order.id,
                        code: "no-scan".to_owned(),
                    }));
                    out.push(ReaderAction::FinishOrder(order.id));
                }
            }
            OrderKind::Requeue(filter) => {
                let letters = Vec::new();
                self.requeue =
                    Some(Requeue { id: order.id, filter, after: None, letters, complete: false, newest: None });
                self.requeue_step(out);
            }
        }
        true
    }

    pub(super) fn requeue_step(&mut self, out: &mut Vec<ReaderAction>) {
        let Some(requeue) = self.requeue.as_ref() else { return };
        self.busy = true;
        if !requeue.letters.is_empty() {
            let keys = requeue.letters.iter().map(|(_, key)| key.clone()).collect();
            out.push(ReaderAction::Fetch { keys, absent: Absent::AsMapped });
        } else if requeue.complete {
            out.push(ReaderAction::FinishOrder(requeue.id));
            self.requeue = None;
        } else {
            let (filter, after) = (requeue.filter.clone(), requeue.after);
            out.push(ReaderAction::Letters { filter, after, limit: self.config.chunk });
        }
    }

    pub(super) fn requeue_input(&mut self, input: ReaderInput, out: &mut Vec<ReaderAction>) {
        self.busy = false;
        self.over(out);
        let chunk = self.config.chunk;
        match (self.requeue.as_mut(), input) {
            (Some(requeue), ReaderInput::Letters(letters)) => {
                let (complete, last) = (letters.len() < chunk, letters.last().map(|(id, _)| *id));
                match requeue.newest {
                    // First all are listed, to know where to end.
                    None if complete => {
                        requeue.newest = Some(last.or(requeue.after).unwrap_or(0));
                        requeue.after = None;
                    }
                    None => requeue.after = last,
                    Some(newest) => {
                        requeue.letters = letters.into_iter().filter(|(id, _)| *id <= newest).collect();
                        requeue.complete = complete || last.is_some_and(|last| last >= newest);
                    }
                }
            }
            (Some(_), ReaderInput::Fetched(drafts)) => {
                self.append_beside(drafts, Storing::RequeuePage, Class::Replay, out);
            }
            _ => {}
        }
    }

    pub(super) fn requeued(&mut self, out: &mut Vec<ReaderAction>) {
        if let Some(requeue) = self.requeue.as_mut() {
            let (stream, count) = (self.config.stream.clone(), requeue.letters.len() as u64);
            out.push(ReaderAction::Emit(SyncEvent::DeadLettersRequeued { stream, count }));
            requeue.after = requeue.letters.last().map(|(id, _)| *id);
            requeue.letters.clear();
        }
    }

    /// Whether single rows that were asked for belong to a scan's page.
    pub(super) fn fetching_for_scan(&self) -> bool {
        matches!(self.scan, Some(ScanStep::Fetch { .. }))
    }

    pub(super) fn scan_under_way(&self) -> bool {
        self.scan.as_ref().is_some_and(ScanStep::under_way)
    }
}
