//! One stream of the store in memory: how entries are claimed and how they end.

use std::collections::BTreeSet;

use record::Key;

use super::row::{Content, Dead, Row, Verification};
use super::stream::{Numbers, Stream};
use crate::traits::{Effect, Entry, IndexRow, Parent, Rejection, Settlement, Verdict};
use crate::{PlanVersion, Seq, Tally};

/// Who claims how much, of which plan, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub(super) holder: u64,
    pub(super) max: usize,
    pub(super) plan: PlanVersion,
    pub(super) now_ms: i64,
}

/// What a settlement did.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) tally: Tally,
    /// The record is at the destination now: whoever waits for it may go on.
    pub(super) bound: Option<Key>,
}

impl Stream {
    pub(super) fn claim(&mut self, claim: Claim, numbers: &mut Numbers) -> Vec<Entry> {
        self.queue.ripen(claim.now_ms);
        let mut seqs = self.start_verifications(claim, numbers);
        let left = claim.max.saturating_sub(seqs.len());
        seqs.extend(self.queue.pick(left, |row| !row.content.outdated(claim.plan)));
        let mut entries = Vec::with_capacity(seqs.len());
        for seq in seqs {
            self.queue.change(seq, |row| {
                row.holder = Some(claim.holder);
                row.attempt += 1;
            });
            entries.extend(self.queue.get(seq).map(|row| self.entry(seq, row)));
        }
        entries
    }

    /// Due verifications become entries in flight, unless an entry of their key is on its way; they go before the rest, so
    /// that a deep backlog does not put them off for ever.
    fn start_verifications(&mut self, claim: Claim, numbers: &mut Numbers) -> Vec<Seq> {
        let due = self.verifications_due.iter().take_while(|(due_ms, _)| *due_ms <= claim.now_ms);
        let free = due.filter(|(_, key)| {
            let waiting = self.verifications.get(key);
            !self.queue.has(key) && waiting.is_some_and(|waiting| !waiting.content.outdated(claim.plan))
        });
        let keys: Vec<Key> = free.take(claim.max).map(|(_, key)| key.clone()).collect();
        let mut started = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(Verification { content, .. }) = self.forget_verification(&key) {
                let seq = Seq(numbers.next());
                let row =
                    Row { holder: Some(claim.holder), verification: true, ..Row::fresh(key, content, claim.now_ms) };
                self.queue.insert(seq, row);
                started.push(seq);
            }
        }
        started
    }

    fn entry(&self, seq: Seq, row: &Row) -> Entry {
        let written = self.index.get(&row.key);
        Entry {
            seq,
            key: row.key.clone(),
            body: row.content.body.clone(),
            version: row.content.version,
            class: row.content.class,
            replay: row.content.replay,
            attempt: row.attempt,
            appended_ms: row.appended_ms,
            unknown: row.unknown || written.is_some_and(|row| row.digest.is_none()),
            verification: row.verification,
            plan: row.content.plan,
            bound: written.is_some_and(|row| row.bound),
            written: written.and_then(|row| row.digest),
        }
    }

    /// `None` when the entry is not in flight under this lease.
    pub(super) fn settle(
        &mut self,
        Settlement { seq, verdict }: Settlement,
        holder: u64,
        now_ms: i64,
        numbers: &mut Numbers,
    ) -> Option<Settled> {
        self.queue.get(seq).filter(|row| row.holder == Some(holder))?;
        let mut settled = Settled::default();
        match verdict {
            Verdict::Retry { due_ms, .. } => {
                self.queue.change(seq, |row| (row.holder, row.unknown, row.due_ms) = (None, false, due_ms));
            }
            Verdict::Unknown { due_ms, .. } => {
                self.queue.change(seq, |row| (row.holder, row.unknown, row.due_ms) = (None, true, due_ms));
            }
            Verdict::NotYet { due_ms, in_doubt, .. } => {
                self.queue.change(seq, |row| {
                    (row.holder, row.unknown, row.due_ms) = (None, in_doubt, due_ms);
                    row.attempt = row.attempt.saturating_sub(1);
                });
            }
            Verdict::Released => {
                self.queue.change(seq, |row| (row.holder, row.attempt) = (None, row.attempt.saturating_sub(1)));
            }
            Verdict::Dead { rejection, in_doubt } => {
                let row = self.queue.remove(seq)?;
                if in_doubt {
                    self.doubt(&row.key, row.content.generation);
                    // What waits to be written once more is older than what may be there now.
                    self.forget_verification(&row.key);
                }
                settled.tally.dead += u64::from(!row.verification);
                self.bury(seq, row, rejection, now_ms, numbers);
            }
            Verdict::Done { effect, verify_at_ms } => {
                let row = self.queue.remove(seq)?;
                if !row.verification {
                    count(&mut settled.tally, effect);
                }
                if self.dead.get(&row.key).is_some_and(|dead| dead.closed_by == Some(seq)) {
                    self.dead.remove(&row.key);
                }
                settled.bound = self.write_index(&row.key, &row.content);
                let due_ms = verify_at_ms.or_else(|| self.verifications.get(&row.key).map(|waiting| waiting.due_ms));
                if let Some(due_ms) = due_ms {
                    self.remember_verification(row.key, Verification { content: row.content, due_ms });
                }
            }
        }
        Some(settled)
    }

    /// A letter about a newer state, made while this entry was in flight, is the one to keep.
    fn bury(&mut self, seq: Seq, row: Row, rejection: Rejection, at_ms: i64, numbers: &mut Numbers) {
        if self.dead.get(&row.key).is_some_and(|dead| dead.closed_by != Some(seq)) {
            return;
        }
        let orphan = (!row.waiting.is_empty()).then_some((row.content.clone(), row.waiting));
        let dead = Dead {
            id: numbers.next(),
            rejection,
            version: row.content.version,
            attempts: row.attempt,
            at_ms,
            // The end of a newer entry is the end of this letter. An older one may be in flight still when a newer one has
            // waited in vain for its parents.
            closed_by: self.queue.seqs_of(&row.key).last().copied().filter(|last| *last > seq),
            orphan,
        };
        self.dead.insert(row.key, dead);
    }

    /// Answers the key when the record was not at the destination before and is now.
    fn write_index(&mut self, key: &Key, content: &Content) -> Option<Key> {
        let known = self.index.get(key).copied();
        match content.digest() {
            Some(digest) => {
                let seen = known.map_or(0, |row| row.seen).max(content.generation);
                let row = IndexRow { bound: true, digest: Some(digest), version: content.version, seen };
                self.index.insert(key.clone(), row);
                (!known.is_some_and(|row| row.bound)).then(|| key.clone())
            }
            None => {
                self.index.remove(key);
                None
            }
        }
    }

    /// A parent arrived: what waited for nothing else is ready, and what was given up for it is queued again. Answers what
    /// that counts, if anybody had waited.
    pub(super) fn parent_arrived(&mut self, parent: &Parent, now_ms: i64, numbers: &mut Numbers) -> Option<Tally> {
        let waiting = self.queue.waiting_for(parent);
        let mut released = !waiting.is_empty();
        for seq in waiting {
            self.queue.change(seq, |row| row.waiting.remove(parent));
        }
        let mut ripe = Vec::new();
        for (key, dead) in &mut self.dead {
            if let Some((_, parents)) = &mut dead.orphan {
                parents.remove(parent);
                if parents.is_empty() {
                    ripe.push((dead.id, key.clone()));
                }
            }
        }
        ripe.sort_unstable();
        let mut tally = Tally::default();
        for (_, key) in ripe {
            let content = self.dead.get_mut(&key).and_then(|dead| dead.orphan.take()).map(|(content, _)| content);
            if let Some(content) = content {
                let seq = Seq(numbers.next());
                self.close_later(&key, seq);
                self.queue.insert(seq, Row::fresh(key, content, now_ms));
                tally.read += 1;
                released = true;
            }
        }
        released.then_some(tally)
    }

    /// Whether something is unsettled with this number or an older one. What waits for a parent and is not at the destination is passed
    /// over.
    pub(super) fn unsettled_to(&self, last: Seq) -> bool {
        let bound = |key: &Key| self.index.get(key).is_some_and(|row| row.bound);
        let counts = |row: &Row| !row.verification && (row.waiting.is_empty() || bound(&row.key));
        self.queue.rows().take_while(|(seq, _)| *seq <= last).any(|(_, row)| counts(row))
    }

    /// Lets deletes go that are held with this number or an older one.
    pub(super) fn release_deletes(&mut self, held_to: Seq) -> u64 {
        let held = |row: &Row| row.held.is_some_and(|held| held <= held_to);
        let seqs: Vec<Seq> = self.queue.rows().filter(|(_, row)| held(row)).map(|(seq, _)| seq).collect();
        for seq in &seqs {
            self.queue.change(*seq, |row| row.held = None);
        }
        seqs.len() as u64
    }

    /// Entries that have waited for a parent since before `before_ms` become dead letters.
    pub(super) fn give_up_waiting(
        &mut self,
        before_ms: i64,
        rejection: &Rejection,
        now_ms: i64,
        numbers: &mut Numbers,
    ) -> u64 {
        let late = |row: &Row| row.holder.is_none() && !row.waiting.is_empty() && row.appended_ms < before_ms;
        let seqs: Vec<Seq> = self.queue.rows().filter(|(_, row)| late(row)).map(|(seq, _)| seq).collect();
        let mut count = 0;
        for seq in seqs {
            if let Some(row) = self.queue.remove(seq) {
                if row.unknown {
                    self.doubt(&row.key, row.content.generation);
                }
                self.bury(seq, row, rejection.clone(), now_ms, numbers);
                count += 1;
            }
        }
        count
    }

    pub(super) fn inherit(&mut self, holder: u64, due_ms: i64) -> u64 {
        let left = |row: &Row| row.holder.is_some_and(|by| by != holder);
        let seqs: BTreeSet<Seq> = self.queue.rows().filter(|(_, row)| left(row)).map(|(seq, _)| seq).collect();
        // What was unknown before waits anew: the settle time was counted by a clock that nobody remembers.
        let open = |row: &Row| row.holder.is_none() && row.unknown && row.due_ms < due_ms;
        let waiting: Vec<Seq> = self.queue.rows().filter(|(_, row)| open(row)).map(|(seq, _)| seq).collect();
        for seq in waiting {
            self.queue.change(seq, |row| row.due_ms = due_ms);
        }
        for seq in &seqs {
            self.queue.change(*seq, |row| (row.holder, row.unknown, row.due_ms) = (None, true, due_ms));
        }
        seqs.len() as u64
    }
}

fn count(tally: &mut Tally, effect: Effect) {
    match effect {
        Effect::Inserted => tally.inserted += 1,
        Effect::Updated => tally.updated += 1,
        Effect::Deleted => tally.deleted += 1,
        Effect::Unchanged => tally.unchanged += 1,
        Effect::Ignored => tally.ignored += 1,
    }
}
