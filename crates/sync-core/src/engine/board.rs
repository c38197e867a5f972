//! What the tasks of one run know of each other: counts, depths and the status.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use timing::SharedClock;
use tokio::sync::{Notify, watch};

use super::reader::Order;
use crate::telemetry::{self, Counts};
use crate::traits::{Observer, SyncEvent};
use crate::{StatusReason, StreamId, Tally, WorkflowState, WorkflowStatus};

/// Who holds the workflow up; one reason each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holder {
    /// The lease is held elsewhere.
    Lease,
    /// The source does not answer.
    Reader(usize),
    /// The destination does not answer.
    Writer(usize),
    /// More records vanished than may be deleted.
    Brake(usize),
    /// The position will soon be served no more.
    Guard(usize),
    /// The source reads, and has something to say.
    Notice(usize),
}

/// How deep a backlog is. Signed, because a settlement may be counted before the append that made its entry.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Depth {
    /// Unsettled entries.
    unsettled: i64,
    /// Those of them that wait for a parent, when the writer looked last.
    waiting: i64,
}

impl Depth {
    /// Entries that can be written.
    pub(crate) fn pressing(self) -> i64 {
        self.unsettled - self.waiting
    }
}

/// Counts of one stream in this run.
#[derive(Debug)]
struct Row {
    id: StreamId,
    tally: Mutex<Tally>,
    depth: watch::Sender<Depth>,
    first_snapshot: AtomicBool,
    /// The destination asked for a pause.
    paused: AtomicBool,
    /// Pages with deletes that are held, as far as they were appended in this run; those that it found count as one.
    deletes: AtomicU64,
    /// A tick after the last of them was read, and before it was appended.
    deletes_read: AtomicU64,
    /// When the change feed was asked that was read to its end last, as a tick; 0 before the first.
    feed_read: AtomicU64,
    orders: Mutex<Vec<Order>>,
    ordered: Notify,
}

/// The shared board of a run.
#[derive(Debug)]
pub(crate) struct Board {
    rows: Vec<Row>,
    status: watch::Sender<WorkflowStatus>,
    holders: Mutex<BTreeMap<Holder, StatusReason>>,
    observer: Arc<dyn Observer>,
    /// Wakes the writer.
    pub(crate) wake: Notify,
    /// Wakes the writer for deletes that are held.
    pub(crate) feed_told: Notify,
    /// When each reader finished, as a tick.
    finished: watch::Sender<BTreeMap<usize, u64>>,
    ticks: AtomicU64,
    counts: Counts,
    clock: SharedClock,
    /// How many streams have not carried out an order yet.
    shared_orders: Mutex<BTreeMap<u64, usize>>,
}

impl Board {
    pub(crate) fn new(streams: Vec<StreamId>, observer: Arc<dyn Observer>, clock: SharedClock) -> Self {
        let counts = Counts::new(&streams, clock.monotonic());
        let rows = streams
            .into_iter()
            .map(|id| Row {
                id,
                tally: Mutex::default(),
                depth: watch::Sender::new(Depth::default()),
                first_snapshot: AtomicBool::new(true),
                paused: AtomicBool::new(false),
                deletes: AtomicU64::new(0),
                deletes_read: AtomicU64::new(0),
                feed_read: AtomicU64::new(0),
                orders: Mutex::default(),
                ordered: Notify::new(),
            })
            .collect();
        Self {
            rows,
            status: watch::Sender::new(WorkflowStatus::new(WorkflowState::Stopped)),
            holders: Mutex::default(),
            observer,
            wake: Notify::new(),
            feed_told: Notify::new(),
            finished: watch::Sender::default(),
            ticks: AtomicU64::new(0),
            counts,
            clock,
            shared_orders: Mutex::default(),
        }
    }

    /// What is counted beside the tallies.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Tells everybody who wants to know: the counts, the log, the observer.
    pub(crate) fn emit(&self, event: &SyncEvent) {
        self.counts.note(event, self.clock.monotonic());
        telemetry::log(event);
        self.observer.on_event(event);
    }

    pub(crate) fn watch(&self) -> watch::Receiver<WorkflowStatus> {
        self.status.subscribe()
    }

    pub(crate) fn status(&self) -> WorkflowStatus {
        self.status.borrow().clone()
    }

    /// Moves to a state; running and stopped show what holds the workflow up, failed shows its own reason.
    pub(crate) fn enter(&self, state: WorkflowState, reason: Option<StatusReason>) {
        let reason = reason.or_else(|| self.first_reason(state));
        self.publish(WorkflowStatus { state, reason });
    }

    pub(crate) fn hold(&self, holder: Holder, reason: StatusReason) {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner).insert(holder, reason);
        self.refresh();
    }

    pub(crate) fn clear(&self, holder: Holder) {
        let removed = self.holders.lock().unwrap_or_else(PoisonError::into_inner).remove(&holder);
        if removed.is_some() {
            self.refresh();
        }
    }

    fn first_reason(&self, state: WorkflowState) -> Option<StatusReason> {
        let holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        match state {
            WorkflowState::Starting | WorkflowState::Running => holders.values().next().cloned(),
            // What passes by itself says nothing any more once the workflow has ended; a brake stays on.
            _ => {
                holders.iter().find(|(holder, _)| matches!(holder, Holder::Brake(_))).map(|(_, reason)| reason.clone())
            }
        }
    }

    fn refresh(&self) {
        let state = self.status.borrow().state;
        if matches!(state, WorkflowState::Starting | WorkflowState::Running) {
            self.publish(WorkflowStatus { state, reason: self.first_reason(state) });
        }
    }

    fn publish(&self, status: WorkflowStatus) {
        let changed = self.status.send_if_modified(|current| {
            let changed = *current != status;
            if changed {
                current.clone_from(&status);
            }
            changed
        });
        if changed {
            self.emit(&SyncEvent::Status(status));
        }
    }

    pub(crate) fn set_depth(&self, stream: usize, depth: u64) {
        if let Some(row) = self.rows.get(stream) {
            let unsettled = i64::try_from(depth).unwrap_or(i64::MAX);
            row.depth.send_replace(Depth { unsettled, waiting: 0 });
        }
    }

    /// Unsettled entries of a stream.
    pub(crate) fn depth(&self, stream: usize) -> u64 {
        self.rows.get(stream).map_or(0, |row| u64::try_from(row.depth.borrow().unsettled).unwrap_or(0))
    }

    /// Remembers how many unsettled entries of a stream wait for a parent.
    pub(crate) fn set_waiting(&self, stream: usize, waiting: u64) {
        let Some(row) = self.rows.get(stream) else { return };
        let waiting = i64::try_from(waiting).unwrap_or(i64::MAX);
        row.depth.send_if_modified(|depth| std::mem::replace(&mut depth.waiting, waiting) != waiting);
    }

    /// Unsettled entries of a stream that wait for a parent, as far as that is known.
    pub(crate) fn waiting(&self, stream: usize) -> u64 {
        self.rows.get(stream).map_or(0, |row| u64::try_from(row.depth.borrow().waiting).unwrap_or(0))
    }

    pub(crate) fn watch_depth(&self, stream: usize) -> Option<watch::Receiver<Depth>> {
        self.rows.get(stream).map(|row| row.depth.subscribe())
    }

    /// Adds what was counted. Every count but `read` settles an entry or a change that never became one, so the depth
    /// follows from the counts alone.
    pub(crate) fn count(&self, stream: usize, tally: Tally) {
        let Some(row) = self.rows.get(stream) else { return };
        *row.tally.lock().unwrap_or_else(PoisonError::into_inner) += tally;
        let settled = tally.inserted
            + tally.updated
            + tally.deleted
            + tally.unchanged
            + tally.filtered
            + tally.superseded
            + tally.ignored
            + tally.dead;
        let delta = i64::try_from(tally.read).unwrap_or(i64::MAX) - i64::try_from(settled).unwrap_or(i64::MAX);
        row.depth.send_if_modified(|depth| {
            depth.unsettled = depth.unsettled.saturating_add(delta);
            delta != 0
        });
    }

    pub(crate) fn tallies(&self) -> Vec<(StreamId, Tally)> {
        self.rows
            .iter()
            .map(|row| (row.id.clone(), *row.tally.lock().unwrap_or_else(PoisonError::into_inner)))
            .collect()
    }

    /// Whether a stream has not been read to its end even once.
    pub(crate) fn in_first_snapshot(&self, stream: usize) -> bool {
        self.rows.get(stream).is_some_and(|row| row.first_snapshot.load(Ordering::Acquire))
    }

    pub(crate) fn set_first_snapshot(&self, stream: usize, first: bool) {
        if let Some(row) = self.rows.get(stream) {
            row.first_snapshot.store(first, Ordering::Release);
        }
        if !first {
            self.wake.notify_one();
        }
    }

    /// Says to how many streams an order is given.
    pub(crate) fn share_order(&self, id: u64, streams: usize) {
        self.shared_orders.lock().unwrap_or_else(PoisonError::into_inner).insert(id, streams);
    }

    /// A stream carried out its part; answers whether it was the last.
    pub(crate) fn order_done(&self, id: u64) -> bool {
        let mut shared = self.shared_orders.lock().unwrap_or_else(PoisonError::into_inner);
        let left = shared.entry(id).or_insert(1);
        *left = left.saturating_sub(1);
        *left == 0
    }

    pub(crate) fn order(&self, stream: usize, order: Order) {
        if let Some(row) = self.rows.get(stream) {
            row.orders.lock().unwrap_or_else(PoisonError::into_inner).push(order);
            row.ordered.notify_one();
        }
    }

    pub(crate) fn has_orders(&self, stream: usize) -> bool {
        self.rows.get(stream).is_some_and(|row| !row.orders.lock().unwrap_or_else(PoisonError::into_inner).is_empty())
    }

    pub(crate) fn take_orders(&self, stream: usize) -> Vec<Order> {
        let orders = self.rows.get(stream).map(|row| row.orders.lock().unwrap_or_else(PoisonError::into_inner));
        orders.map(|mut orders| std::mem::take(&mut *orders)).unwrap_or_default()
    }

    /// Waits until a stream is given an order.
    pub(crate) async fn ordered(&self, stream: usize) {
        match self.rows.get(stream) {
            Some(row) => row.ordered.notified().await,
            None => std::future::pending().await,
        }
    }

    /// The place of a stream on the board.
    pub(crate) fn place(&self, stream: &StreamId) -> Option<usize> {
        self.rows.iter().position(|row| row.id == *stream)
    }

    pub(crate) fn set_paused(&self, stream: usize, paused: bool) {
        if let Some(row) = self.rows.get(stream) {
            row.paused.store(paused, Ordering::Release);
        }
    }

    /// Whether nothing may be asked of a stream's destination now.
    pub(crate) fn paused(&self, stream: usize) -> bool {
        self.rows.get(stream).is_some_and(|row| row.paused.load(Ordering::Acquire))
    }

    /// A number later than all before: tells what began before what, which a clock that stands still does not.
    pub(crate) fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Deletes were read that are to be held. Said before they are appended, so that whoever finds them in the store knows when they
    /// were read.
    pub(crate) fn deletes_come(&self, stream: usize) {
        if let Some(row) = self.rows.get(stream) {
            row.deletes_read.fetch_max(self.tick(), Ordering::AcqRel);
        }
    }

    /// A tick after all deletes were read that are in the store.
    pub(crate) fn deletes_read(&self, stream: usize) -> u64 {
        self.rows.get(stream).map_or(0, |row| row.deletes_read.load(Ordering::Acquire))
    }

    /// Deletes are held in a stream. Said once they are in the store.
    pub(crate) fn add_deletes(&self, stream: usize) {
        if let Some(row) = self.rows.get(stream) {
            row.deletes.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// How often deletes came that are held.
    pub(crate) fn deletes(&self, stream: usize) -> u64 {
        self.rows.get(stream).map_or(0, |row| row.deletes.load(Ordering::Acquire))
    }

    /// A change feed that was asked at a tick was read to its end, and what it told is in the backlog.
    pub(crate) fn set_feed_read(&self, stream: usize, asked: u64) {
        if let Some(row) = self.rows.get(stream) {
            row.feed_read.fetch_max(asked, Ordering::AcqRel);
        }
        self.feed_told.notify_one();
    }

    /// When the change feed was asked that was read to its end last; 0 before the first.
    pub(crate) fn feed_read(&self, stream: usize) -> u64 {
        self.rows.get(stream).map_or(0, |row| row.feed_read.load(Ordering::Acquire))
    }

    pub(crate) fn reader_finished(&self, stream: usize) {
        let tick = self.tick();
        self.finished.send_modify(|finished| {
            finished.insert(stream, tick);
        });
        self.wake.notify_one();
    }

    /// When the last of these readers finished; `None` while one still reads.
    pub(crate) fn all_finished(&self, streams: &[usize]) -> Option<u64> {
        finished(&self.finished.borrow(), streams)
    }

    /// Waits until these readers have finished.
    pub(crate) async fn until_finished(&self, streams: &[usize]) {
        // The board outlives whoever waits, so the wait cannot fail.
        let _ = self.finished.subscribe().wait_for(|all| finished(all, streams).is_some()).await;
    }

    /// Readers that have not finished.
    pub(crate) fn readers(&self) -> usize {
        self.rows.len() - self.finished.borrow().len()
    }
}

fn finished(all: &BTreeMap<usize, u64>, streams: &[usize]) -> Option<u64> {
    let ticks: Option<Vec<u64>> = streams.iter().map(|stream| all.get(stream).copied()).collect();
    ticks.map(|ticks| ticks.into_iter().max().unwrap_or(0))
}
