//! The writer's view of one stream, and the pure rules about who may claim.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use record::Key;

use super::held::Ticket;
use super::writer::History;
use crate::Seq;
use crate::traits::{BacklogStats, Class, Entry, Settlement, Verdict};

/// A claim is to last for about so long.
const CLAIM_LASTS: Duration = Duration::from_millis(100);

/// One stream in the writer.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) rank: u32,
    pub(crate) in_flight_max: usize,
    /// Claimed, not dispatched.
    pub(crate) buffer: VecDeque<Entry>,
    /// Dispatched.
    pub(crate) in_flight: usize,
    /// Ended, not settled.
    pub(crate) ended: Vec<Settlement>,
    /// When the first of them ended, on the monotonic clock.
    pub(crate) ended_since: Option<Duration>,
    pub(crate) claiming: bool,
    pub(crate) settling: usize,
    /// Whether a claim may find something.
    pub(crate) hungry: bool,
    /// Whether the backlog was looked at since the last thing happened.
    pub(crate) looked: Look,
    /// When a claim may find something again, on the monotonic clock.
    pub(crate) due: Option<Duration>,
    pub(crate) paused_until: Option<Duration>,
    /// When the pause began that is under way.
    pub(crate) paused_since: Option<Duration>,
    pub(crate) trouble: u32,
    /// Unknown outcomes since the last success.
    pub(crate) unknown_streak: u32,
    /// Successes of this run.
    pub(crate) successes: u64,
    /// Claims in a row that found nothing although something was due: what is due waits for an older entry of its key, or to
    /// be read again.
    fruitless: u32,
    /// Entries to claim at once at present.
    pub(crate) batch: usize,
    /// When entries were claimed last, on the monotonic clock.
    claimed_at: Option<Duration>,
    /// Entries with a past.
    histories: HashMap<Seq, (History, u64)>,
    /// Entries whose destination answered in this run that something is not there yet, and which were not claimed since.
    not_yet: HashSet<Seq>,
    /// Until when the outcome of an entry is not to be asked for, on the monotonic clock: the calendar of the due time may
    /// jump, and a settle time that is cut short may miss a late effect.
    settling_until: HashMap<Seq, Duration>,
    /// The same for outcomes that earlier runs left open.
    pub(crate) inherited_until: Duration,
    /// What was claimed last was a replay alone: records that are there are written again, and no child waits for that.
    pub(crate) rewrites: bool,
    /// Until when the record of a key is not to be verified: an attempt at it may still take effect.
    verifying_until: HashMap<Key, Duration>,
    /// The same for verifications that earlier runs left.
    pub(crate) verifies_from: Duration,
    /// The deletes that are held.
    pub(crate) ticket: Option<Ticket>,
    /// How often deletes had come when a ticket was drawn last.
    pub(crate) drawn: u64,
    pub(crate) drawing: bool,
}

/// What is known of an idle lane's backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing.
    No,
    /// The question is on its way.
    Asked {
        /// Something happened since it was asked.
        stale: bool,
    },
    /// This.
    Seen {
        /// Nothing is unsettled, and every reader had finished when that was asked.
        idle: bool,
    },
}

/// Entries to claim at least, where that is allowed: enough to keep busy while the next are claimed, and so many that the quarter
/// for lesser classes is one at least.
fn least_batch(in_flight_max: usize) -> usize {
    (in_flight_max * 2).max(4)
}

impl Lane {
    pub(crate) fn new(rank: u32, in_flight_max: usize) -> Self {
        Self {
            rank,
            in_flight_max: in_flight_max.max(1),
            buffer: VecDeque::new(),
            in_flight: 0,
            ended: Vec::new(),
            ended_since: None,
            claiming: false,
            settling: 0,
            hungry: true,
            looked: Look::No,
            due: None,
            paused_until: None,
            paused_since: None,
            trouble: 0,
            unknown_streak: 0,
            successes: 0,
            fruitless: 0,
            batch: least_batch(in_flight_max.max(1)),
            claimed_at: None,
            histories: HashMap::new(),
            not_yet: HashSet::new(),
            settling_until: HashMap::new(),
            inherited_until: Duration::ZERO,
            rewrites: false,
            verifying_until: HashMap::new(),
            verifies_from: Duration::ZERO,
            ticket: None,
            drawn: 0,
            drawing: false,
        }
    }

    pub(crate) fn paused(&self, now: Duration) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    /// Ends a pause whose time is over; answers how long it was.
    pub(crate) fn end_pause(&mut self, now: Duration) -> Option<Duration> {
        self.paused_until.take_if(|until| now >= *until)?;
        Some(now.saturating_sub(self.paused_since.take().unwrap_or(now)))
    }

    /// Entries that the store counts as in flight.
    pub(crate) fn held(&self) -> usize {
        self.buffer.len() + self.in_flight + self.ended.len() + self.settling
    }

    /// Whether nothing is under way.
    pub(crate) fn quiet(&self) -> bool {
        self.held() == 0 && !self.claiming
    }

    /// Something happened: what was known of the backlog is old.
    pub(crate) fn stir(&mut self) {
        self.looked = match self.looked {
            Look::Asked { .. } => Look::Asked { stale: true },
            _ => Look::No,
        };
        self.due = None;
    }

    /// Whether the backlog is to be looked at: nothing is under way, and nothing is known.
    pub(crate) fn curious(&self) -> bool {
        self.looked == Look::No && !self.hungry && self.quiet()
    }

    /// The next entry to dispatch.
    pub(crate) fn dispatchable(&mut self, now: Duration) -> Option<Entry> {
        if self.in_flight >= self.in_flight_max || self.paused(now) {
            return None;
        }
        self.buffer.pop_front()
    }

    pub(crate) fn wants(&self, now: Duration) -> bool {
        let low = (self.batch / 2).max(1);
        self.hungry && !self.claiming && self.buffer.len() < low && !self.paused(now)
    }

    /// Whether the ended entries are to be written now.
    pub(crate) fn flush(&self, batch: usize, linger: Duration, now: Duration) -> bool {
        if self.ended.is_empty() || self.settling > 0 {
            return false;
        }
        let waited = self.ended_since.is_some_and(|since| now.saturating_sub(since) >= linger);
        self.ended.len() >= batch || waited || (self.buffer.is_empty() && self.in_flight == 0)
    }

    pub(crate) fn end(&mut self, seq: Seq, verdict: Verdict, now: Duration) {
        self.ended.push(Settlement { seq, verdict });
        self.ended_since.get_or_insert(now);
    }

    /// Remembers what the next claim of an entry is to know.
    pub(crate) fn remember(&mut self, seq: Seq, history: History, verdict: Option<&Verdict>) {
        self.histories.remove(&seq);
        match verdict {
            Some(Verdict::Done { .. }) => {
                self.unknown_streak = 0;
                self.successes += 1;
                return;
            }
            Some(Verdict::Dead { .. }) => return,
            Some(Verdict::Unknown { .. }) => self.unknown_streak = self.unknown_streak.saturating_add(1),
            _ => {}
        }
        if matches!(verdict, Some(Verdict::NotYet { .. })) {
            self.not_yet.insert(seq);
        }
        if (history.refusals, history.not_yet, history.open) != (0, 0, 0) {
            self.histories.insert(seq, (history, self.successes));
        }
    }

    /// Entries for which something is not there yet, as far as this run has tried them.
    pub(crate) fn not_yet(&self) -> u64 {
        self.not_yet.len() as u64
    }

    /// The outcome of an entry is open, and may still change until `until`.
    pub(crate) fn settles_until(&mut self, seq: Seq, until: Duration) {
        self.settling_until.insert(seq, until);
    }

    /// The record of a key is to be verified once nothing can take effect any more.
    pub(crate) fn verifies_after(&mut self, key: Key, until: Duration) {
        self.verifying_until.insert(key, until);
    }

    /// How much longer a claimed entry is to be left alone, whatever its due time says; its time has come when this answers
    /// `None`.
    pub(crate) fn still_settling(&mut self, entry: &Entry, now: Duration) -> Option<Duration> {
        if entry.verification && !entry.unknown {
            let until = self.verifying_until.get(&entry.key).copied().unwrap_or_default().max(self.verifies_from);
            let left = until.checked_sub(now).filter(|left| !left.is_zero());
            if left.is_none() {
                self.verifying_until.remove(&entry.key);
            }
            return left;
        }
        if !entry.unknown {
            return None;
        }
        let seq = entry.seq;
        let until = self.settling_until.get(&seq).copied().unwrap_or_default().max(self.inherited_until);
        let left = until.checked_sub(now).filter(|left| !left.is_zero());
        if left.is_none() {
            self.settling_until.remove(&seq);
        }
        left
    }

    /// What earlier claims of an entry brought, and how the others fare. An entry that is claimed for the first time has no
    /// past: a newer state took the place of the one that had.
    pub(crate) fn history(&self, entry: &Entry, outage: bool) -> History {
        let known = self.histories.get(&entry.seq).copied();
        // Attempts that found something missing are not counted, and a newer state most likely misses the same.
        let not_yet = known.map_or(0, |(history, _)| history.not_yet);
        let past = known.filter(|_| entry.attempt > 1);
        let (history, successes) = past.unwrap_or((History::default(), self.successes));
        History { others_written: self.successes > successes, outage, not_yet, ..history }
    }

    /// What a claim found.
    pub(crate) fn claimed(&mut self, asked: usize, found: usize, entries: Vec<Entry>, most: usize, now: Duration) {
        self.claiming = false;
        self.hungry = found >= asked;
        if self.hungry {
            let lasted = self.claimed_at.map(|before| now.saturating_sub(before));
            self.claimed_at = Some(now);
            let least = least_batch(self.in_flight_max);
            self.batch = match lasted {
                Some(lasted) if lasted < CLAIM_LASTS / 2 => self.batch * 2,
                Some(lasted) if lasted > CLAIM_LASTS * 2 => self.batch / 2,
                _ => self.batch,
            }
            .clamp(least.min(most), most);
        }
        for entry in &entries {
            self.not_yet.remove(&entry.seq);
        }
        self.fruitless = if found == 0 { self.fruitless.saturating_add(1) } else { 0 };
        if !entries.is_empty() {
            self.rewrites = entries.iter().all(|entry| entry.class == Class::Replay);
        }
        self.buffer.extend(entries);
    }

    /// What a look at the backlog told.
    pub(crate) fn look(&mut self, stats: &BacklogStats, readers_done: bool, wall_ms: i64, now: Duration) {
        if self.looked == (Look::Asked { stale: true }) {
            self.looked = Look::No;
            return;
        }
        // What waits for something that is not there yet holds no run, once it was tried.
        let left = stats.depth().saturating_sub(stats.waiting);
        let due_now = stats.next_due_ms.is_some_and(|at_ms| at_ms <= wall_ms);
        let idle = left == 0 || (left <= self.not_yet() && !due_now);
        self.looked = Look::Seen { idle: readers_done && idle };
        let next = [stats.next_due_ms, stats.next_verification_ms].into_iter().flatten().min();
        // An entry without a due time is one that somebody else still holds: look again now and then.
        let next = next.or_else(|| (stats.depth() > stats.waiting).then(|| wall_ms.saturating_add(1_000)));
        self.due = next.map(|at_ms| {
            let wait = Duration::from_millis(u64::try_from(at_ms.saturating_sub(wall_ms)).unwrap_or(0));
            // What is due and was not claimed is looked for ever more rarely; and the calendar may jump.
            let shortest = Duration::from_millis(20 << self.fruitless.min(6));
            now + wait.clamp(shortest, Duration::from_secs(60))
        });
    }
}

/// The lane that claims next: hungry, not paused, and with no parent that still has something to do.
pub(crate) fn next_claim(lanes: &[Lane], now: Duration, in_first_snapshot: impl Fn(usize) -> bool) -> Option<usize> {
    let parent_busy = |rank: u32| {
        lanes.iter().enumerate().any(|(index, lane)| {
            let busy = lane.hungry || lane.claiming || !lane.buffer.is_empty() || lane.in_flight > 0;
            lane.rank < rank && ((busy && !lane.rewrites) || in_first_snapshot(index))
        })
    };
    lanes
        .iter()
        .enumerate()
        .filter(|(_, lane)| lane.wants(now))
        .find(|(_, lane)| !parent_busy(lane.rank))
        .map(|(index, _)| index)
}

#[cfg(test)]
mod tests;
