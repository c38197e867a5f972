//! Performs the actions of the writer: claims, dispatches, settles, all at the same time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tracing::Instrument;

use super::held::{Answered, Children, Ticket, release};
use super::lane::{Lane, Look, next_claim};
use super::operation::{OperationEnd, Pausing, perform};
use super::policy::{delay, millis};
use super::writer::WritePolicy;
use super::{Holder, Run, RunMode, store_reason};
use crate::telemetry::spans;
use crate::traits::{BacklogStats, ClaimRequest, Entry, Rejection, SettleReport, Settlement, SyncEvent, Verdict};
use crate::{Seq, StatusReason, StoreError};

/// A pause at least this long is remembered in the store, so that a restart obeys it too.
const REMEMBERED_PAUSE: Duration = Duration::from_secs(5);

/// What a store operation of the writer answered.
enum StoreEnd {
    Claimed {
        lane: usize,
        asked: usize,
        entries: Vec<Entry>,
    },
    Settled {
        lane: usize,
        report: SettleReport,
        dead: Vec<Rejection>,
        unknown: Vec<String>,
    },
    Looked {
        lane: usize,
        readers_done: bool,
        stats: BacklogStats,
    },
    /// Deletes came that are held: how far the store has counted.
    Drawn {
        lane: usize,
        stats: BacklogStats,
    },
    Released {
        lane: usize,
        answered: Answered,
    },
    Remembered,
}

struct Writer {
    run: Arc<Run>,
    lanes: Vec<Lane>,
    policies: Vec<Arc<WritePolicy>>,
    operations: FuturesUnordered<BoxFuture<'static, OperationEnd>>,
    stores: FuturesUnordered<BoxFuture<'static, Result<StoreEnd, StoreError>>>,
    /// What is with a destination at present.
    dispatched: BTreeSet<(usize, Seq)>,
    /// How many entries of each stream were said to wait for parents.
    told_waiting: Vec<u64>,
    failure: Option<StatusReason>,
    /// Set when stopping: until when requests in flight are awaited.
    deadline: Option<Duration>,
}

/// The name under which a pause is remembered.
pub fn pause_name(stream: &crate::StreamId) -> String {
    format!("pause/{stream}")
}

/// Writes all streams until nothing is left (when so asked), it is stopped, or it cannot go on.
pub(crate) async fn write_streams(run: Arc<Run>, pauses: Vec<Option<Duration>>) -> Result<(), StatusReason> {
    let options = &run.spec.options;
    let mut lanes = Vec::new();
    let mut policies = Vec::new();
    for (index, stream) in run.spec.streams.iter().enumerate() {
        let caps = stream.destination.capabilities();
        let mut lane = Lane::new(stream.rank, caps.in_flight);
        if run.mode == RunMode::Continuous {
            // A run that ends by itself may be shorter than that, and would never verify what the one before it left.
            lane.verifies_from = run.spec.clock.monotonic() + caps.settle;
        }
        if !caps.unique_key {
            lane.inherited_until = run.spec.clock.monotonic() + caps.settle;
        }
        if let Some(until) = pauses.get(index).copied().flatten() {
            // A pause that an earlier run was ordered to make.
            let now = run.spec.clock.monotonic();
            lane.paused_until = Some(until);
            lane.paused_since = Some(now);
            lane.trouble = 1;
            run.board.set_paused(index, true);
            run.board.emit(&pause_begun(&stream.id, PAUSED.to_owned(), until.saturating_sub(now)));
            run.board.hold(Holder::Writer(index), still_paused());
        }
        lanes.push(lane);
        policies.push(Arc::new(options.write_policy(caps)));
    }
    let writer = Writer {
        run: run.clone(),
        lanes,
        policies,
        operations: FuturesUnordered::new(),
        stores: FuturesUnordered::new(),
        dispatched: BTreeSet::new(),
        told_waiting: vec![0; run.spec.streams.len()],
        failure: None,
        deadline: None,
    };
    writer.work().await
}

impl Writer {
    async fn work(mut self) -> Result<(), StatusReason> {
        let run = self.run.clone();
        let mut timer: Option<(Duration, BoxFuture<'static, ()>)> = None;
        loop {
            let now = run.spec.clock.monotonic();
            if self.deadline.is_none() {
                self.dispatch(now);
                self.claim(now);
                self.look();
                self.let_deletes_go(now);
            } else {
                self.wind_down(now);
            }
            self.flush(now);
            if self.finished() {
                return self.failure.map_or(Ok(()), Err);
            }
            let wake = self.next_wake();
            if timer.as_ref().map(|(at, _)| *at) != wake {
                timer = wake.map(|at| {
                    let clock = run.spec.clock.clone();
                    let wait = at.saturating_sub(now);
                    let sleep: BoxFuture<'static, ()> = Box::pin(async move { clock.sleep(wait).await });
                    (at, sleep)
                });
            }
            let sleep = async {
                match timer.as_mut() {
                    Some((_, sleep)) => sleep.await,
                    None => std::future::pending().await,
                }
            };
            // In a fixed order, so that a run can be repeated; every branch ends by itself, and none starves another.
            tokio::select! {
                biased;
                () = run.stop.cancelled(), if self.deadline.is_none() => self.begin_stop(),
                Some(end) = self.operations.next(), if !self.operations.is_empty() => self.operation_ended(end),
                Some(end) = self.stores.next(), if !self.stores.is_empty() => match end {
                    Ok(end) => self.store_ended(end),
                    // What is in flight now is found again by the next run, as after a crash.
                    Err(error) => return Err(store_reason(&error)),
                },
                () = run.board.wake.notified() => self.woken(),
                // Held deletes may go; nothing else is news.
                () = run.board.feed_told.notified() => {}
                () = sleep => {
                    timer = None;
                    self.timed_out();
                }
            }
        }
    }

    fn begin_stop(&mut self) {
        let wait = self.run.spec.options.stop_deadline;
        if self.deadline.is_none() {
            let deadline_ms = millis(wait).unsigned_abs();
            self.run.board.emit(&SyncEvent::StopBegun { deadline_ms });
            self.deadline = Some(self.run.spec.clock.monotonic() + wait);
        }
    }

    fn dispatch(&mut self, now: Duration) {
        let run = self.run.clone();
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            let Some(policy) = self.policies.get(index) else { continue };
            let outage = lane.unknown_streak >= self.run.spec.options.unknown_streak;
            // An operation that could outlive the lease is not begun: another owner may be at the same record by then.
            while let Some(entry) = run.may_start(now).then(|| lane.dispatchable(now)).flatten() {
                lane.in_flight += 1;
                let history = lane.history(&entry, outage);
                self.dispatched.insert((index, entry.seq));
                self.operations.push(Box::pin(perform(self.run.clone(), index, entry, history, policy.clone())));
            }
        }
    }

    fn claim(&mut self, now: Duration) {
        let most = self.run.spec.options.claim_batch.max(1);
        let board = self.run.board.clone();
        while let Some(index) = next_claim(&self.lanes, now, |lane| board.in_first_snapshot(lane)) {
            let Some(lane) = self.lanes.get_mut(index) else { return };
            let batch = lane.batch.min(most);
            lane.claiming = true;
            lane.stir();
            let run = self.run.clone();
            self.stores.push(Box::pin(async move {
                let Some(stream) = run.spec.streams.get(index) else { return Ok(StoreEnd::Remembered) };
                let plan = stream.transform.version();
                let want = ClaimRequest { stream: stream.id.clone(), max: batch, plan, now_ms: run.wall_ms() };
                let span = spans::claim(&stream.id, batch);
                let entries = run.spec.store.claim(&run.lease, want).instrument(span.clone()).await?;
                span.record("claimed", entries.len());
                Ok(StoreEnd::Claimed { lane: index, asked: batch, entries })
            }));
        }
    }

    /// An idle lane looks at its backlog once, to know when something is due.
    fn look(&mut self) {
        for (index, lane) in self.lanes.iter_mut().enumerate().filter(|(_, lane)| lane.curious()) {
            lane.looked = Look::Asked { stale: false };
            let readers_done = self.run.board.readers() == 0;
            let run = self.run.clone();
            self.stores.push(Box::pin(async move {
                let Some(stream) = run.spec.streams.get(index) else { return Ok(StoreEnd::Remembered) };
                let stats = run.spec.store.stats(&stream.id).await?;
                Ok(StoreEnd::Looked { lane: index, readers_done, stats })
            }));
        }
    }

    /// Draws tickets for deletes that are held, and asks the store to release those whose time has come.
    fn let_deletes_go(&mut self, now: Duration) {
        for index in 0..self.lanes.len() {
            let came = self.run.board.deletes(index);
            // Almost always there is nothing to do, and this is asked at every turn.
            if self.lanes.get(index).is_none_or(|lane| lane.ticket.is_none() && came <= lane.drawn) {
                continue;
            }
            let children = self.run.children_of(index);
            let state = Children {
                feeds_read: children.iter().map(|child| self.run.board.feed_read(*child)).min(),
                calm: children
                    .iter()
                    .filter_map(|child| self.lanes.get(*child))
                    .all(|lane| lane.quiet() && !lane.hungry),
            };
            let (Some(lane), Some(stream)) = (self.lanes.get_mut(index), self.run.stream_at(index).cloned()) else {
                continue;
            };
            let run = self.run.clone();
            if lane.ticket.is_none() && !lane.drawing && came > lane.drawn {
                (lane.drawing, lane.drawn) = (true, came);
                self.stores.push(Box::pin(async move {
                    Ok(StoreEnd::Drawn { lane: index, stats: run.spec.store.stats(&stream).await? })
                }));
            } else if let Some((ticket, overdue)) =
                lane.ticket.as_mut().and_then(|ticket| Some((ticket.clone(), ticket.ask(state, now)?)))
            {
                let names = children.iter().filter(|_| !overdue).filter_map(|child| run.stream_at(*child).cloned());
                let work = release(run.clone(), stream, names.collect(), ticket);
                self.stores
                    .push(Box::pin(async move { Ok(StoreEnd::Released { lane: index, answered: work.await? }) }));
            }
        }
    }

    /// Something of a stream ended: deletes of its parents may have waited for that.
    fn stir_parents(&mut self, index: usize) {
        if self.lanes.iter().all(|lane| lane.ticket.is_none()) {
            return;
        }
        for parent in self.run.parents_of(index) {
            if let Some(ticket) = self.lanes.get_mut(parent).and_then(|lane| lane.ticket.as_mut()) {
                ticket.stir();
            }
        }
    }

    fn flush(&mut self, now: Duration) {
        let options = &self.run.spec.options;
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            if !lane.flush(options.settle_batch.max(1), options.settle_linger, now) {
                continue;
            }
            let settlements = std::mem::take(&mut lane.ended);
            lane.ended_since = None;
            lane.settling = settlements.len();
            self.stores.push(Box::pin(settle(self.run.clone(), index, settlements)));
        }
    }

    /// Stopping: what was not sent is given back; what was sent is awaited until the deadline.
    fn wind_down(&mut self, now: Duration) {
        for lane in &mut self.lanes {
            while let Some(entry) = lane.buffer.pop_front() {
                lane.end(entry.seq, Verdict::Released, now);
            }
        }
        if self.deadline.is_some_and(|deadline| now >= deadline) && !self.dispatched.is_empty() {
            self.operations = FuturesUnordered::new();
            for (index, seq) in std::mem::take(&mut self.dispatched) {
                let (Some(lane), Some(policy)) = (self.lanes.get_mut(index), self.policies.get(index)) else {
                    continue;
                };
                let wait = if policy.unique_key { Duration::ZERO } else { policy.settle };
                let due_ms = self.run.wall_ms().saturating_add(millis(wait));
                lane.in_flight = lane.in_flight.saturating_sub(1);
                lane.end(seq, Verdict::Unknown { due_ms, code: "stopped".to_owned() }, now);
            }
        }
    }

    fn finished(&self) -> bool {
        let quiet = self.lanes.iter().all(Lane::quiet);
        if self.deadline.is_some() {
            return quiet;
        }
        quiet
            && self.run.mode == RunMode::UntilIdle
            && self.run.board.readers() == 0
            && self.lanes.iter().all(|lane| lane.looked == Look::Seen { idle: true })
            && self.lanes.iter().enumerate().all(|(index, lane)| self.holds_no_run(index, lane))
    }

    /// Whether no deletes are held, or none that what is left of the run could release.
    fn holds_no_run(&self, index: usize, lane: &Lane) -> bool {
        let drawn = !lane.drawing && self.run.board.deletes(index) <= lane.drawn;
        lane.ticket.as_ref().map_or(drawn, Ticket::parked)
    }

    fn next_wake(&self) -> Option<Duration> {
        let linger = self.run.spec.options.settle_linger;
        let lanes = self.lanes.iter().flat_map(|lane| {
            let flush = lane.ended_since.filter(|_| lane.settling == 0).map(|since| since + linger);
            let active = self.deadline.is_none();
            let due = lane.due.filter(|_| active && !lane.hungry);
            let held = lane.ticket.as_ref().and_then(Ticket::wake).filter(|_| active);
            [flush, due, lane.paused_until.filter(|_| active), held]
        });
        lanes.chain([self.deadline.filter(|_| !self.dispatched.is_empty())]).flatten().min()
    }

    fn timed_out(&mut self) {
        let now = self.run.spec.clock.monotonic();
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            if let Some(lasted) = lane.end_pause(now) {
                self.run.board.set_paused(index, false);
                if let Some(stream) = self.run.stream_at(index).cloned() {
                    let lasted_ms = millis(lasted).unsigned_abs();
                    self.run.board.emit(&SyncEvent::PauseEnded { stream, lasted_ms });
                }
            }
            if lane.due.is_some_and(|due| now >= due) {
                lane.hungry = true;
                lane.stir();
            }
        }
    }

    /// A reader appended something, finished, or read a snapshot to its end.
    fn woken(&mut self) {
        for index in 0..self.lanes.len() {
            self.feed(index);
            self.stir_parents(index);
        }
    }

    fn feed(&mut self, index: usize) {
        let depth = self.run.board.depth(index);
        let Some(lane) = self.lanes.get_mut(index) else { return };
        lane.hungry |= depth > u64::try_from(lane.held()).unwrap_or(u64::MAX);
        lane.stir();
    }

    fn operation_ended(&mut self, end: OperationEnd) {
        let now = self.run.spec.clock.monotonic();
        let Some(lane) = self.lanes.get_mut(end.lane) else { return };
        lane.in_flight = lane.in_flight.saturating_sub(1);
        let seq = end.entry.seq;
        self.dispatched.remove(&(end.lane, seq));
        lane.remember(seq, end.history, end.verdict.as_ref());
        let code = match &end.verdict {
            Some(Verdict::Unknown { code, .. }) => Some(code.clone()),
            _ => None,
        };
        if let (true, Some(policy)) = (code.is_some(), self.policies.get(end.lane).filter(|policy| !policy.unique_key))
        {
            lane.settles_until(seq, now + policy.settle);
        }
        if let (Some(Verdict::Done { verify_at_ms: Some(_), .. }), Some(policy)) =
            (&end.verdict, self.policies.get(end.lane))
        {
            lane.verifies_after(end.entry.key.clone(), now + policy.settle);
        }
        let worked = matches!(end.verdict, Some(Verdict::Done { .. }));
        match end.verdict {
            Some(verdict) => lane.end(seq, verdict, now),
            None => lane.buffer.push_front(end.entry),
        }
        let silent = code.filter(|_| lane.unknown_streak >= self.run.spec.options.unknown_streak);
        match (end.pausing, silent) {
            (Pausing::Fatal(reason), _) => {
                self.failure.get_or_insert(reason);
                self.begin_stop();
            }
            (Pausing::For { after, reason }, _) => self.pause(end.lane, after, reason, now),
            (Pausing::No, Some(code)) => self.pause(end.lane, None, no_answer(code), now),
            // A success that was under way when the pause began says nothing about what comes after it.
            (Pausing::No, None) if worked && lane.trouble > 0 && !lane.paused(now) => {
                lane.trouble = 0;
                self.run.board.clear(Holder::Writer(end.lane));
            }
            (Pausing::No, None) => {}
        }
    }

    fn pause(&mut self, index: usize, after: Option<Duration>, reason: StatusReason, now: Duration) {
        let run = self.run.clone();
        let (Some(lane), Some(stream)) = (self.lanes.get_mut(index), run.spec.streams.get(index)) else { return };
        // Requests that were under way together report the same trouble: it counts once.
        if !lane.paused(now) {
            lane.trouble = lane.trouble.saturating_add(1);
        } else if after.is_none_or(|after| lane.paused_until.is_some_and(|until| now + after <= until)) {
            return;
        }
        let wait = delay(&run.spec.options.service_backoff, lane.trouble, after, run.spec.entropy.unit());
        let begins = lane.paused_since.is_none();
        lane.paused_until = Some(now + wait);
        lane.paused_since.get_or_insert(now);
        run.board.set_paused(index, true);
        run.board.emit(&SyncEvent::Retrying {
            stream: stream.id.clone(),
            code: reason.code.clone(),
            reason: reason.message.clone(),
            delay_ms: u64::try_from(millis(wait)).unwrap_or(0),
        });
        if begins {
            run.board.emit(&pause_begun(&stream.id, reason.code.clone(), wait));
        }
        run.board.hold(Holder::Writer(index), reason);
        if wait >= REMEMBERED_PAUSE {
            let until_ms = run.wall_ms().saturating_add(millis(wait));
            let name = pause_name(&stream.id);
            let run = run.clone();
            self.stores.push(Box::pin(async move {
                run.spec.store.put(&run.lease, &name, until_ms.to_string().as_bytes()).await?;
                Ok(StoreEnd::Remembered)
            }));
        }
    }

    fn store_ended(&mut self, end: StoreEnd) {
        match end {
            StoreEnd::Remembered => {}
            StoreEnd::Claimed { lane: index, asked, entries } => {
                let (now, now_ms) = (self.run.spec.clock.monotonic(), self.run.wall_ms());
                let Some(lane) = self.lanes.get_mut(index) else { return };
                let mut ready = Vec::with_capacity(entries.len());
                let found = entries.len();
                for entry in entries {
                    match lane.still_settling(&entry, now) {
                        Some(left) => {
                            let due_ms = now_ms.saturating_add(millis(left)).saturating_add(1);
                            let code = "settling".to_owned();
                            let verdict = match entry.unknown {
                                true => Verdict::Unknown { due_ms, code },
                                false => Verdict::Retry { due_ms, code },
                            };
                            lane.end(entry.seq, verdict, now);
                        }
                        None => ready.push(entry),
                    }
                }
                lane.claimed(asked, found, ready, self.run.spec.options.claim_batch.max(1), now);
                self.stir_parents(index);
            }
            StoreEnd::Drawn { lane: index, stats } => {
                let (tick, now) = (self.run.board.deletes_read(index), self.run.spec.clock.monotonic());
                let wait = self.run.spec.options.parent_wait;
                let Some(lane) = self.lanes.get_mut(index) else { return };
                lane.drawing = false;
                if stats.held > 0 {
                    lane.ticket = Some(Ticket::new(stats.last, tick, now, wait));
                    if let Some(stream) = self.run.stream_at(index).cloned() {
                        self.run.board.emit(&SyncEvent::DeletesHeld { stream, count: stats.held });
                    }
                }
            }
            StoreEnd::Released { lane: index, answered } => {
                let now = self.run.spec.clock.monotonic();
                let Some(lane) = self.lanes.get_mut(index) else { return };
                match (answered.released, lane.ticket.as_mut()) {
                    (None, Some(ticket)) => ticket.refused(answered.children_to, now),
                    _ => {
                        lane.ticket = None;
                        let waiting = self.run.board.waiting(index);
                        self.run.board.set_waiting(index, waiting.saturating_sub(answered.released.unwrap_or(0)));
                        self.feed(index);
                    }
                }
            }
            StoreEnd::Settled { lane: index, report, dead, unknown } => {
                if let Some(lane) = self.lanes.get_mut(index) {
                    lane.settling = 0;
                }
                self.settled(index, report, dead, unknown);
                self.feed(index);
                self.stir_parents(index);
            }
            StoreEnd::Looked { lane: index, readers_done, stats } => {
                let (wall_ms, now) = (self.run.wall_ms(), self.run.spec.clock.monotonic());
                if let Some(lane) = self.lanes.get_mut(index) {
                    lane.look(&stats, readers_done, wall_ms, now);
                    if lane.looked != Look::No {
                        let waiting = stats.waiting.saturating_add(lane.not_yet());
                        self.run.board.set_waiting(index, waiting);
                    }
                }
                self.tell_of_waiting(index, &stats);
            }
        }
    }

    /// When all that is left of a stream waits for parents, somebody may want to know.
    fn tell_of_waiting(&mut self, index: usize, stats: &BacklogStats) {
        let count = if stats.waiting == stats.depth() { stats.waiting.saturating_sub(stats.held) } else { 0 };
        let Some(told) = self.told_waiting.get_mut(index) else { return };
        if std::mem::replace(told, count) == count || count == 0 {
            return;
        }
        if let Some(stream) = self.run.stream_at(index).cloned() {
            self.run.board.emit(&SyncEvent::WaitingForParents { stream, count });
        }
    }

    fn settled(&mut self, index: usize, report: SettleReport, dead: Vec<Rejection>, unknown: Vec<String>) {
        let run = self.run.clone();
        let Some(stream) = run.spec.streams.get(index).map(|stream| &stream.id) else { return };
        let board = &run.board;
        board.count(index, report.tally);
        for (id, tally) in report.released {
            if let Some(place) = board.place(&id) {
                board.count(place, tally);
                // Some wait no longer; how many is known at the next look.
                board.set_waiting(place, 0);
                board.emit(&SyncEvent::Released { stream: id });
                // At once: what was known of that lane no longer holds, and a run must not end for it.
                self.feed(place);
            }
        }
        board.emit(&SyncEvent::Settled { stream: stream.clone(), tally: report.tally, backlog: board.depth(index) });
        for rejection in dead {
            board.emit(&SyncEvent::DeadLettered { stream: stream.clone(), rejection });
        }
        for code in unknown {
            board.emit(&SyncEvent::UnknownOutcome { stream: stream.clone(), count: 1, code });
        }
    }
}

/// The code of a pause that an earlier run was ordered to make.
const PAUSED: &str = "paused";

fn pause_begun(stream: &crate::StreamId, code: String, wait: Duration) -> SyncEvent {
    SyncEvent::PauseBegun { stream: stream.clone(), code, pause_ms: millis(wait).unsigned_abs() }
}

fn still_paused() -> StatusReason {
    StatusReason {
        code: PAUSED.to_owned(),
        message: "The destination asked an earlier run to wait, and the time is not over.".to_owned(),
        remedy: "Nothing is to be done: it goes on by itself.".to_owned(),
    }
}

/// The service takes requests, and nobody knows what becomes of them.
fn no_answer(code: String) -> StatusReason {
    StatusReason {
        code,
        message: "The destination leaves open what becomes of the writes, one after the other.".to_owned(),
        remedy: "Nothing is to be done if it passes: each write is repeated by its key. Otherwise look at what stands between \
                 this program and the service."
            .to_owned(),
    }
}

async fn settle(run: Arc<Run>, index: usize, settlements: Vec<Settlement>) -> Result<StoreEnd, StoreError> {
    let (mut dead, mut unknown) = (Vec::new(), Vec::new());
    for settlement in &settlements {
        match &settlement.verdict {
            Verdict::Dead { rejection, .. } => dead.push(rejection.clone()),
            Verdict::Unknown { code, .. } => unknown.push(code.clone()),
            _ => {}
        }
    }
    let Some(stream) = run.spec.streams.get(index) else { return Ok(StoreEnd::Remembered) };
    let span = spans::settle(&stream.id, settlements.len());
    let report = run.spec.store.settle(&run.lease, &stream.id, settlements, run.wall_ms()).instrument(span).await?;
    Ok(StoreEnd::Settled { lane: index, report, dead, unknown })
}
