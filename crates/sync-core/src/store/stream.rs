//! One stream of the store in memory: how drafts become entries.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use record::Key;

use super::queue::Queue;
use super::row::{Content, Dead, Row, Verification};
use crate::traits::{BacklogStats, Checkpoint, Class, Draft, DraftBody, EntryBody, IndexRow, Parent};
use crate::{Acceptance, KeyState, PendingEntry, PlanVersion, Seq, Tally, accept};

/// Numbers for entries, dead letters and requests, never used twice.
#[derive(Debug, Default)]
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }

    pub(super) fn last(&self) -> Seq {
        Seq(self.0)
    }
}

/// What was removed of a key.
#[derive(Debug, Default)]
struct Dropped {
    entries: u64,
    /// Until then an attempt may still take effect.
    due_ms: i64,
}

/// What is true of every draft of a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageFacts {
    pub(super) plan: PlanVersion,
    pub(super) class: Class,
    pub(super) replay: bool,
    pub(super) generation: u64,
    pub(super) mark_seen: Option<u64>,
    pub(super) refresh: bool,
    pub(super) hold_deletes: bool,
    pub(super) now_ms: i64,
}

/// A draft on its way into the backlog.
struct Placing {
    key: Key,
    content: Content,
    waiting: BTreeSet<Parent>,
    /// Whether a delete is held.
    hold: bool,
    now_ms: i64,
    due_ms: i64,
    /// A write of the key may still take effect.
    in_doubt: bool,
}

#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) checkpoint: Option<Checkpoint>,
    /// Rows of records that are bound or in doubt: nothing is worth remembering of the others.
    pub(super) index: BTreeMap<Key, IndexRow>,
    /// One per key.
    pub(super) dead: HashMap<Key, Dead>,
    pub(super) queue: Queue,
    pub(super) verifications: HashMap<Key, Verification>,
    pub(super) verifications_due: BTreeSet<(i64, Key)>,
}

impl Stream {
    /// Takes a draft, which has to wait for these parents.
    pub(super) fn accept(
        &mut self,
        draft: Draft,
        waiting: BTreeSet<Parent>,
        page: PageFacts,
        numbers: &mut Numbers,
    ) -> Tally {
        let mut tally = Tally { read: 1, ..Tally::default() };
        let Draft { key, version, body, parents: _ } = draft;
        let mut due_ms = 0;
        if page.refresh {
            let dropped = self.drop_outdated(&key, page.plan);
            tally.superseded += dropped.entries;
            due_ms = dropped.due_ms;
        }
        let known = self.key_state(&key);
        let acceptance = accept(&known, &body, version, page.replay);
        let in_doubt = known.in_doubt;
        let met = key.clone();
        let PageFacts { plan, class, replay, generation, now_ms, .. } = page;
        let content = |body| Content { body, version, plan, class, replay, generation };
        match body {
            _ if acceptance == Acceptance::Stale => tally.superseded += 1,
            DraftBody::Rejected(rejection) => {
                tally.dead += 1;
                let id = numbers.next();
                let dead = Dead { id, rejection, version, attempts: 0, at_ms: now_ms, closed_by: None, orphan: None };
                self.dead.insert(key, dead);
            }
            DraftBody::Upsert { insert, update, digest } => {
                let content = content(EntryBody::Upsert { insert, update, digest });
                let placing = Placing { key, content, waiting, hold: false, now_ms, due_ms, in_doubt };
                self.place(acceptance, placing, &mut tally, numbers);
            }
            DraftBody::Delete | DraftBody::DeleteFiltered | DraftBody::Filtered | DraftBody::Ignored => {
                let nothing = matches!(acceptance, Acceptance::Nothing | Acceptance::Cancel(_) | Acceptance::AsDrafted);
                match body {
                    _ if !nothing => {}
                    DraftBody::DeleteFiltered | DraftBody::Filtered => tally.filtered += 1,
                    _ => tally.ignored += 1,
                }
                let content = content(EntryBody::Delete);
                let hold = page.hold_deletes;
                let placing = Placing { key, content, waiting: BTreeSet::new(), hold, now_ms, due_ms, in_doubt };
                self.place(acceptance, placing, &mut tally, numbers);
            }
        }
        if let Some(generation) = page.mark_seen {
            self.mark_seen(&met, generation);
        }
        tally
    }

    /// The records that entries of a key wait for, and those that its dead letter waited for in vain.
    pub(super) fn awaited_by(&self, key: &Key) -> impl Iterator<Item = &Parent> {
        let orphan = self.dead.get(key).and_then(|dead| dead.orphan.as_ref());
        self.queue.of(key).flat_map(|(_, row)| &row.waiting).chain(orphan.into_iter().flat_map(|(_, parents)| parents))
    }

    /// Removes what another plan made of a key and nobody has in flight.
    fn drop_outdated(&mut self, key: &Key, plan: PlanVersion) -> Dropped {
        let mut dropped = Dropped::default();
        for seq in self.queue.seqs_of(key) {
            let outdated = self.queue.get(seq).is_some_and(|row| row.holder.is_none() && row.content.outdated(plan));
            if let Some(row) = outdated.then(|| self.queue.remove(seq)).flatten() {
                if row.unknown || row.verification {
                    self.doubt(key, row.content.generation);
                }
                if row.unknown {
                    dropped.due_ms = dropped.due_ms.max(row.due_ms);
                }
                dropped.entries += u64::from(!row.verification);
            }
        }
        if let Some(dead) = self.dead.get_mut(key) {
            dead.orphan = dead.orphan.take().filter(|(content, _)| !content.outdated(plan));
        }
        let waiting = self.verifications.get(key).filter(|waiting| waiting.content.outdated(plan));
        if let Some(generation) = waiting.map(|waiting| waiting.content.generation) {
            self.forget_verification(key);
            self.doubt(key, generation);
        }
        dropped
    }

    /// Remembers that nobody knows what the destination holds of a key.
    pub(super) fn doubt(&mut self, key: &Key, generation: u64) {
        let known = self.index.get(key).copied();
        let seen = known.map_or(0, |row| row.seen).max(generation);
        let bound = known.is_some_and(|row| row.bound);
        self.index.insert(key.clone(), IndexRow { bound, digest: None, version: None, seen });
    }

    pub(super) fn remember_verification(&mut self, key: Key, verification: Verification) {
        self.forget_verification(&key);
        self.verifications_due.insert((verification.due_ms, key.clone()));
        self.verifications.insert(key, verification);
    }

    pub(super) fn forget_verification(&mut self, key: &Key) -> Option<Verification> {
        let verification = self.verifications.remove(key)?;
        self.verifications_due.remove(&(verification.due_ms, key.clone()));
        Some(verification)
    }

    pub(super) fn outdated(&self, plan: PlanVersion, after: Option<&Key>, limit: usize) -> Vec<Key> {
        let entries = self.queue.rows().filter(|(_, row)| row.content.outdated(plan)).map(|(_, row)| &row.key);
        let waiting = self.verifications.iter().filter(|(_, waiting)| waiting.content.outdated(plan));
        let orphan = |dead: &Dead| dead.orphan.as_ref().is_some_and(|(content, _)| content.outdated(plan));
        let orphans = self.dead.iter().filter(|(_, dead)| orphan(dead)).map(|(key, _)| key);
        let keys: BTreeSet<&Key> = entries.chain(waiting.map(|(key, _)| key)).chain(orphans).collect();
        keys.into_iter().filter(|key| after.is_none_or(|after| *key > after)).take(limit).cloned().collect()
    }

    pub(super) fn unsettled_before(&self, generation: u64) -> bool {
        self.queue.rows().any(|(_, row)| row.content.generation < generation)
    }

    pub(super) fn known_version(&self, key: &Key) -> Option<i64> {
        let written = self.index.get(key).and_then(|row| row.version);
        let dead = self.dead.get(key).and_then(|dead| dead.version);
        let waiting = self.queue.of(key).filter_map(|(_, row)| row.content.version).max();
        written.max(dead).max(waiting)
    }

    fn key_state(&self, key: &Key) -> KeyState {
        let written = self.index.get(key);
        let mut state = KeyState {
            bound: written.is_some_and(|row| row.bound),
            written: written.and_then(|row| row.digest),
            // A state that could not be written is known all the same: an older one does not take its place.
            version: written.and_then(|row| row.version).max(self.dead.get(key).and_then(|dead| dead.version)),
            in_doubt: written.is_some_and(|row| row.digest.is_none()),
            newest: None,
        };
        for (seq, row) in self.queue.of(key) {
            let in_doubt = row.holder.is_some() || row.unknown;
            state.in_doubt |= in_doubt;
            state.version = state.version.max(row.content.version);
            // A verification is not counted, so nothing may be counted as having taken its place.
            let replaceable = !in_doubt && !row.verification;
            state.newest = Some(PendingEntry { seq, digest: row.content.digest(), replaceable });
        }
        state
    }

    fn place(&mut self, acceptance: Acceptance, placing: Placing, tally: &mut Tally, numbers: &mut Numbers) {
        let Placing { key, content, waiting, hold, now_ms, due_ms, in_doubt } = placing;
        match acceptance {
            Acceptance::Append => {
                let seq = Seq(numbers.next());
                self.close_later(&key, seq);
                let held = hold.then(|| Seq(numbers.next()));
                let row = Row { due_ms, waiting, held, ..Row::fresh(key, content, now_ms) };
                self.queue.insert(seq, row);
                return;
            }
            Acceptance::Replace(seq) => {
                tally.superseded += 1;
                let held = hold.then(|| Seq(numbers.next()));
                self.queue.change(seq, |row| {
                    // What a more urgent state asked for is not put off, and what an operator asked for is done.
                    let class = content.class.min(row.content.class);
                    let replay = content.replay || (row.content.replay && content.digest().is_some());
                    row.content = Content { class, replay, ..content };
                    row.waiting = waiting;
                    row.held = held;
                    row.attempt = 0;
                    // A settle time is not cut short: where an attempt may still take effect, the newer state waits as long.
                    row.due_ms = if in_doubt { row.due_ms } else { 0 };
                });
                self.close_later(&key, seq);
                return;
            }
            Acceptance::Refresh(seq) => {
                tally.unchanged += 1;
                self.queue.change(seq, |row| {
                    let class = content.class.min(row.content.class);
                    let replay = content.replay || row.content.replay;
                    row.content = Content { class, replay, ..content };
                });
            }
            Acceptance::Cancel(seq) => {
                tally.superseded += 1;
                self.queue.remove(seq);
            }
            Acceptance::Unchanged => {
                tally.unchanged += 1;
                self.met_unchanged(&key, content.version);
            }
            Acceptance::Nothing | Acceptance::AsDrafted => self.met_unchanged(&key, content.version),
            Acceptance::Stale => return,
        }
        // The newest state of the record needs no entry of its own: what failed before it is of no interest any more.
        self.dead.remove(&key);
    }

    /// A newer version of the row needs no write while nothing is on its way: it need not be looked at again.
    fn met_unchanged(&mut self, key: &Key, version: Option<i64>) {
        if self.queue.has(key) {
            return;
        }
        if let Some(row) = self.index.get_mut(key).filter(|row| row.digest.is_some()) {
            row.version = row.version.max(version);
        }
    }

    /// The dead letter of a key, where there is one, is closed by the end of this entry.
    pub(super) fn close_later(&mut self, key: &Key, seq: Seq) {
        if let Some(dead) = self.dead.get_mut(key) {
            dead.closed_by = Some(seq);
            dead.orphan = None;
        }
    }

    pub(super) fn mark_seen(&mut self, key: &Key, generation: u64) {
        if let Some(row) = self.index.get_mut(key) {
            row.seen = row.seen.max(generation);
        }
        for seq in self.queue.seqs_of(key) {
            self.queue.change(seq, |row| row.content.generation = row.content.generation.max(generation));
        }
    }

    pub(super) fn stats(&self) -> BacklogStats {
        let mut stats = BacklogStats {
            verifications: self.verifications.len() as u64,
            dead: self.dead.len() as u64,
            next_due_ms: self.queue.next_due_ms(),
            next_verification_ms: self.verifications_due.first().map(|(due_ms, _)| *due_ms),
            ..BacklogStats::default()
        };
        for (seq, row) in self.queue.rows() {
            if row.verification {
                stats.verifications += 1;
                if row.holder.is_none() {
                    let due_ms = row.due_ms;
                    stats.next_verification_ms = Some(stats.next_verification_ms.map_or(due_ms, |at| at.min(due_ms)));
                }
                continue;
            }
            stats.oldest_ms = stats.oldest_ms.or(Some(row.appended_ms));
            match (row.holder, row.unknown) {
                (Some(_), _) => stats.in_flight += 1,
                (None, true) => stats.unknown += 1,
                (None, false) => stats.queued += 1,
            }
            stats.held += u64::from(row.held.is_some());
            let waits = !row.waiting.is_empty() || self.queue.is_held_back(&row.key, seq);
            stats.waiting += u64::from(row.holder.is_none() && waits);
        }
        stats
    }
}
