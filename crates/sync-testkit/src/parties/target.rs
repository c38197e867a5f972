use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use record::Key;

use super::{Trace, VirtualClock};
use crate::rare::{Path, Rare};
use timing::Clock;

/// What a destination is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetShape {
    /// Whether it refuses a second record of a key.
    pub unique_key: bool,
    /// How long after it was sent the engine is told that a write may take effect.
    pub settle: Duration,
    /// How long after it was sent a write takes effect at the latest.
    pub late: Duration,
    /// How old a record is before every lookup sees it.
    pub read_lag: Duration,
    /// The longest time an answer takes.
    pub latency: Duration,
    /// After so long without an answer the caller gives up.
    pub timeout: Duration,
    /// Operations in flight at the same time.
    pub in_flight: usize,
}

impl TargetShape {
    /// What the settle time has to cover of a lookup's lag: nothing rests on lookups where a second record is refused.
    fn lag(&self) -> Duration {
        if self.unique_key { Duration::ZERO } else { self.read_lag }
    }
}

impl Default for TargetShape {
    fn default() -> Self {
        Self {
            unique_key: true,
            settle: Duration::from_secs(60),
            late: Duration::from_secs(55),
            read_lag: Duration::from_secs(5),
            latency: Duration::from_millis(200),
            timeout: Duration::from_secs(10),
            in_flight: 4,
        }
    }
}

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Creates a record.
    Create,
    /// Changes one.
    Update,
    /// Deletes one.
    Delete,
}

/// A request, from the moment at which it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sent {
    /// When.
    pub at: Duration,
    /// By which process.
    pub process: u64,
    /// To which table.
    pub table: usize,
    /// Of which record.
    pub key: Key,
    /// What is to happen.
    pub operation: Operation,
    /// The value's number, for a create or an update.
    pub number: Option<u64>,
    /// Whether the destination refuses the value.
    pub refused: bool,
    /// Whether the engine said that an earlier attempt may have taken effect.
    pub in_doubt: bool,
    /// When the answer is on its way, whether or not somebody is awake to take it.
    pub answered: Option<Duration>,
    /// When the caller had its answer, gave up, or ended.
    pub ended: Option<Duration>,
    /// Whether the caller knows what became of it.
    pub known: bool,
}

/// What a request did.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Effected {
    /// When.
    pub at: Duration,
    /// Which request, by its place among those sent.
    pub request: usize,
    /// What it did or why not.
    pub result: Effect,
    /// Whether the caller had given up by then.
    pub late: bool,
}

/// What became of a request at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It took effect.
    Applied,
    /// The record was there already.
    Exists,
    /// The record was not there.
    Missing,
    /// The value is refused.
    Refused,
}

/// A lookup by key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lookup {
    /// When.
    pub at: Duration,
    /// In which table.
    pub table: usize,
    /// Of which record.
    pub key: Key,
    /// What it answered.
    pub found: bool,
}

/// One record of a key; more than one is a duplicate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Held {
    /// The value's number.
    pub number: u64,
    /// When it was created.
    pub since: Duration,
}

/// A pause that the destination ordered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ordered {
    /// To which process.
    pub process: u64,
    /// For which table.
    pub table: usize,
    /// When the process heard of it.
    pub at: Duration,
    /// Until when.
    pub until: Duration,
}

/// Everything that happened at a destination.
#[derive(Debug, Clone, Default)]
pub struct TargetHistory {
    /// Requests, in the order of sending.
    pub sent: Vec<Sent>,
    /// What they did, in order.
    pub effects: Vec<Effected>,
    /// Lookups.
    pub lookups: Vec<Lookup>,
    /// Pauses.
    pub pauses: Vec<Ordered>,
    /// Creates and updates of children that came before their parent, by their place among those sent.
    pub before_parent: Vec<usize>,
}

/// The destination's own side: it outlives every process that writes to it.
#[derive(Debug)]
pub struct Target {
    /// What it is like.
    pub shape: TargetShape,
    clock: VirtualClock,
    rare: Rare,
    trace: Trace,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<(usize, Key), Vec<Held>>,
    /// Requests that take effect at a time.
    due: BTreeMap<(Duration, usize), usize>,
    /// The parent that a value names, by its number.
    parents: BTreeMap<u64, Key>,
    /// Records that somebody else deleted, and that were not written since.
    behind: BTreeSet<(usize, Key)>,
    /// Parents that were there at some time.
    arrived: BTreeMap<(usize, Key), ()>,
    history: TargetHistory,
}

impl Target {
    /// An empty destination.
    pub fn new(shape: TargetShape, clock: VirtualClock, rare: Rare, trace: Trace) -> Arc<Self> {
        Arc::new(Self { shape, clock, rare, trace, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line into the trace.
    pub fn note(&self, what: std::fmt::Arguments<'_>) {
        self.trace.note(self.clock.monotonic(), what);
    }

    /// The clock.
    pub fn clock(&self) -> &VirtualClock {
        &self.clock
    }

    /// The value of this number names a parent in the table 0: its writes are checked against that.
    pub fn child_of(&self, number: u64, parent: &Key) {
        self.state().parents.insert(number, parent.clone());
    }

    /// A request arrives on the wire; answers its number.
    pub(super) fn send(&self, sent: Sent) -> usize {
        let mut state = self.state();
        let number = state.history.sent.len();
        if let Some(parent) = sent.number.and_then(|number| state.parents.get(&number).cloned())
            && !state.arrived.contains_key(&(0, parent))
        {
            state.history.before_parent.push(number);
        }
        self.note(format_args!(
            "#{} sends r{number}: {:?} {}/{} {:?}, in doubt {}",
            sent.process,
            sent.operation,
            sent.table,
            sent.key.to_text(),
            sent.number,
            sent.in_doubt
        ));
        state.history.sent.push(sent);
        number
    }

    /// The request takes effect at this time, `times` times in a row.
    pub(super) fn schedule(&self, request: usize, at: Duration, times: usize) {
        let mut state = self.state();
        for _ in 0..times {
            let turn = state.due.len() + state.history.effects.len();
            state.due.insert((at, turn), request);
        }
    }

    /// The request is answered at this time, whether or not somebody is awake to take the answer.
    pub(super) fn answers_at(&self, request: usize, at: Duration) {
        if let Some(sent) = self.state().history.sent.get_mut(request) {
            sent.answered = Some(at);
        }
    }

    /// The request takes no effect any more, if it has not yet.
    pub(super) fn cancel(&self, request: usize) {
        self.run_due();
        self.state().due.retain(|_, due| *due != request);
    }

    /// Nobody waits for the request any more: from here on, the settle time covers all of it, and what a lookup lags behind.
    pub(super) fn hasten(&self, request: usize) {
        self.run_due();
        let latest = self.clock.monotonic() + self.shape.settle.saturating_sub(self.shape.lag());
        let mut state = self.state();
        let later: Vec<(Duration, usize)> =
            state.due.iter().filter(|(at, due)| at.0 > latest && **due == request).map(|(at, _)| *at).collect();
        for at in later {
            state.due.remove(&at);
            state.due.insert((latest, at.1), request);
        }
        drop(state);
        self.run_due();
    }

    /// The caller has its answer, or is gone.
    pub(super) fn ended(&self, request: usize, known: bool) {
        let now = self.clock.monotonic();
        if let Some(sent) = self.state().history.sent.get_mut(request) {
            sent.ended.get_or_insert(now);
            self.note(format_args!("r{request} ended, known {known}"));
            sent.known |= known;
        }
    }

    /// What the request did last.
    pub(super) fn result(&self, request: usize) -> Option<Effect> {
        self.run_due();
        let state = self.state();
        state.history.effects.iter().rev().find(|effect| effect.request == request).map(|effect| effect.result)
    }

    pub(super) fn ordered(&self, pause: Ordered) {
        self.state().history.pauses.push(pause);
    }

    /// Everything due by now takes effect.
    pub fn run_due(&self) {
        let now = self.clock.monotonic();
        let mut state = self.state();
        while let Some(entry) = state.due.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((at, _), request) = entry.remove_entry();
            let Some(sent) = state.history.sent.get(request).cloned() else { continue };
            let late = sent.ended.is_some_and(|ended| ended < at);
            let result = state.perform(&sent, at, self.shape.unique_key);
            if late && result == Effect::Applied {
                self.rare.took(Path::LateEffect);
            }
            self.trace.note(at, format_args!("r{request} does {result:?}, late {late}"));
            state.history.effects.push(Effected { at, request, result, late });
        }
    }

    /// Somebody else deletes a record.
    pub(super) fn delete_behind(&self, table: usize, key: &Key) -> bool {
        self.run_due();
        self.note(format_args!("{table}/{} is deleted behind our back", key.to_text()));
        let mut state = self.state();
        let there = state.records.remove(&(table, key.clone())).is_some();
        if there {
            state.behind.insert((table, key.clone()));
        }
        there
    }

    /// Whether a lookup finds the key; `blind` misses what was created within the read lag.
    pub(super) fn look(&self, table: usize, key: &Key, blind: bool) -> bool {
        self.run_due();
        let at = self.clock.monotonic();
        let mut state = self.state();
        let held = state.records.get(&(table, key.clone()));
        let found = held
            .is_some_and(|held| held.iter().any(|held| !blind || held.since.saturating_add(self.shape.read_lag) <= at));
        self.note(format_args!("lookup of {table}/{}: {found}", key.to_text()));
        state.history.lookups.push(Lookup { at, table, key: key.clone(), found });
        found
    }

    /// Whether something of this key was created within the read lag.
    pub(super) fn is_fresh(&self, table: usize, key: &Key) -> bool {
        self.run_due();
        let now = self.clock.monotonic();
        let state = self.state();
        let held = state.records.get(&(table, key.clone()));
        held.is_some_and(|held| held.iter().all(|held| held.since.saturating_add(self.shape.read_lag) > now))
    }

    /// Whether nothing is still to take effect.
    pub fn is_still(&self) -> bool {
        self.run_due();
        self.state().due.is_empty()
    }

    /// What it holds now.
    pub fn records(&self) -> BTreeMap<(usize, Key), Vec<Held>> {
        self.run_due();
        self.state().records.clone()
    }

    /// Records that somebody else deleted, and that were not written since.
    pub fn deleted_behind(&self) -> BTreeSet<(usize, Key)> {
        self.run_due();
        self.state().behind.clone()
    }

    /// Everything that happened so far.
    pub fn history(&self) -> TargetHistory {
        self.run_due();
        self.state().history.clone()
    }

    /// How many requests were sent so far.
    pub fn requests(&self) -> usize {
        self.state().history.sent.len()
    }
}

impl State {
    fn perform(&mut self, sent: &Sent, at: Duration, unique: bool) -> Effect {
        let place = (sent.table, sent.key.clone());
        match (sent.operation, sent.number) {
            (Operation::Delete, _) => {
                if self.records.remove(&place).is_some() {
                    Effect::Applied
                } else {
                    Effect::Missing
                }
            }
            (Operation::Create, Some(number)) => {
                let held = self.records.entry(place.clone()).or_default();
                if unique && !held.is_empty() {
                    return Effect::Exists;
                }
                if sent.refused {
                    if held.is_empty() {
                        self.records.remove(&place);
                    }
                    return Effect::Refused;
                }
                self.behind.remove(&place);
                held.push(Held { number, since: at });
                self.arrived.insert(place, ());
                Effect::Applied
            }
            (Operation::Update, Some(number)) => match self.records.get_mut(&place) {
                None => Effect::Missing,
                Some(_) if sent.refused => Effect::Refused,
                Some(held) => {
                    held.iter_mut().for_each(|held| held.number = number);
                    Effect::Applied
                }
            },
            (_, None) => Effect::Refused,
        }
    }
}
