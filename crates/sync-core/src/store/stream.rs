//! One stream of the store in memory: its entries, index, verifications and dead letters.

use std::collections::{BTreeMap, BTreeSet};

use record::Key;

use crate::traits::{
    BacklogStats, Checkpoint, DeadLetter, Draft, DraftBody, Effect, Entry, EntryBody, IndexRow, Rejection, Settlement,
    Verdict,
};
use crate::{Acceptance, Digest, KeyState, PendingEntry, PlanVersion, Seq, StreamId, Tally, accept};

/// Numbers for entries and dead letters, never used twice.
#[derive(Debug, Default)]
pub(super) struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// What was removed of a key.
#[derive(Debug, Default)]
struct Dropped {
    entries: u64,
    /// Until then an attempt may still take effect.
    due_ms: i64,
}

/// Who claims how much, of which plan, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub(super) holder: u64,
    pub(super) max: usize,
    pub(super) plan: PlanVersion,
    pub(super) now_ms: i64,
}

/// What is true of every draft of a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageFacts {
    pub(super) plan: PlanVersion,
    pub(super) generation: u64,
    pub(super) mark_seen: Option<u64>,
    pub(super) refresh: bool,
    pub(super) now_ms: i64,
}

#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) checkpoint: Option<Checkpoint>,
    /// Rows of records that are bound or in doubt: nothing is worth remembering of the others.
    pub(super) index: BTreeMap<Key, IndexRow>,
    /// One per key.
    pub(super) dead: BTreeMap<Key, Dead>,
    entries: BTreeMap<Seq, Row>,
    /// The entries of a key; none where there is none.
    of_key: BTreeMap<Key, BTreeSet<Seq>>,
    verifications: BTreeMap<Key, Verification>,
}

/// What is to be written, and where it comes from.
#[derive(Debug, Clone)]
struct Content {
    body: EntryBody,
    version: Option<i64>,
    plan: PlanVersion,
    /// The newest generation that met this key while it waits.
    generation: u64,
}

impl Content {
    fn digest(&self) -> Option<Digest> {
        match self.body {
            EntryBody::Upsert { digest, .. } => Some(digest),
            EntryBody::Delete => None,
        }
    }

    /// Deletes are the same under every plan.
    fn outdated(&self, plan: PlanVersion) -> bool {
        self.plan != plan && self.digest().is_some()
    }
}

/// An unsettled entry.
#[derive(Debug)]
struct Row {
    key: Key,
    content: Content,
    /// The nonce of the lease that claimed it.
    holder: Option<u64>,
    unknown: bool,
    verification: bool,
    attempt: u32,
    /// 0 for at once. What was due once stays due, even when the calendar jumps back.
    due_ms: i64,
    appended_ms: i64,
}

#[derive(Debug)]
struct Verification {
    content: Content,
    due_ms: i64,
}

#[derive(Debug)]
pub(super) struct Dead {
    id: u64,
    rejection: Rejection,
    attempts: u32,
    at_ms: i64,
    /// The entry of a newer state of the record, whose end closes this letter.
    closed_by: Option<Seq>,
    #[expect(dead_code, reason = "kept so that the record can be queued again")]
    content: Option<Content>,
}

impl Dead {
    pub(super) fn view(&self, stream: &StreamId, key: &Key) -> DeadLetter {
        DeadLetter {
            id: self.id,
            stream: stream.clone(),
            key: key.clone(),
            rejection: self.rejection.clone(),
            attempts: self.attempts,
            at_ms: self.at_ms,
        }
    }
}

impl Stream {
    pub(super) fn accept_page(&mut self, drafts: Vec<Draft>, page: PageFacts, numbers: &mut Numbers) -> Tally {
        let mut tally = Tally { read: drafts.len() as u64, ..Tally::default() };
        for Draft { key, version, body } in drafts {
            let mut due_ms = 0;
            if page.refresh {
                let dropped = self.drop_outdated(&key, page.plan);
                tally.superseded += dropped.entries;
                due_ms = dropped.due_ms;
            }
            let acceptance = accept(&self.key_state(&key), &body);
            let met = key.clone();
            match body {
                DraftBody::Rejected(rejection) => {
                    tally.dead += 1;
                    let id = numbers.next();
                    let at_ms = page.now_ms;
                    let dead = Dead { id, rejection, attempts: 0, at_ms, closed_by: None, content: None };
                    self.dead.insert(key, dead);
                }
                DraftBody::Upsert { insert, update, digest } => {
                    let body = EntryBody::Upsert { insert, update, digest };
                    let content = Content { body, version, plan: page.plan, generation: page.generation };
                    self.place(acceptance, key, content, (page.now_ms, due_ms), &mut tally, numbers);
                }
                DraftBody::Delete | DraftBody::DeleteFiltered | DraftBody::Filtered | DraftBody::Ignored => {
                    let nothing =
                        matches!(acceptance, Acceptance::Nothing | Acceptance::Cancel(_) | Acceptance::AsDrafted);
                    match body {
                        _ if !nothing => {}
                        DraftBody::DeleteFiltered | DraftBody::Filtered => tally.filtered += 1,
                        _ => tally.ignored += 1,
                    }
                    let (plan, generation) = (page.plan, page.generation);
                    let content = Content { body: EntryBody::Delete, version, plan, generation };
                    self.place(acceptance, key, content, (page.now_ms, due_ms), &mut tally, numbers);
                }
            }
            if let Some(generation) = page.mark_seen {
                self.mark_seen(&met, generation);
            }
        }
        tally
    }

    /// Removes what another plan made of a key and nobody has in flight.
    fn drop_outdated(&mut self, key: &Key, plan: PlanVersion) -> Dropped {
        let seqs: Vec<Seq> = self.of_key.get(key).into_iter().flatten().copied().collect();
        let mut dropped = Dropped::default();
        for seq in seqs {
            let outdated = self.entries.get(&seq).is_some_and(|row| row.holder.is_none() && row.content.outdated(plan));
            if let Some(row) = outdated.then(|| self.remove(seq)).flatten() {
                if row.unknown || row.verification {
                    self.doubt(key, row.content.generation);
                }
                if row.unknown {
                    dropped.due_ms = dropped.due_ms.max(row.due_ms);
                }
                dropped.entries += u64::from(!row.verification);
            }
        }
        if let Some(waiting) = self.verifications.get(key).filter(|waiting| waiting.content.outdated(plan)) {
            let generation = waiting.content.generation;
            self.verifications.remove(key);
            self.doubt(key, generation);
        }
        dropped
    }

    /// Remembers that nobody knows what the destination holds of a key.
    fn doubt(&mut self, key: &Key, generation: u64) {
        let known = self.index.get(key).copied();
        let seen = known.map_or(0, |row| row.seen).max(generation);
        let bound = known.is_some_and(|row| row.bound);
        self.index.insert(key.clone(), IndexRow { bound, digest: None, version: None, seen });
    }

    pub(super) fn outdated(&self, plan: PlanVersion, after: Option<&Key>, limit: usize) -> Vec<Key> {
        let entries = self.entries.values().filter(|row| row.content.outdated(plan)).map(|row| &row.key);
        let waiting = self.verifications.iter().filter(|(_, waiting)| waiting.content.outdated(plan));
        let keys: BTreeSet<&Key> = entries.chain(waiting.map(|(key, _)| key)).collect();
        keys.into_iter().filter(|key| after.is_none_or(|after| *key > after)).take(limit).cloned().collect()
    }

    pub(super) fn unsettled_before(&self, generation: u64) -> bool {
        self.entries.values().any(|row| row.content.generation < generation)
    }

    fn key_state(&self, key: &Key) -> KeyState {
        let written = self.index.get(key);
        let mut state = KeyState {
            bound: written.is_some_and(|row| row.bound),
            written: written.and_then(|row| row.digest),
            in_doubt: written.is_some_and(|row| row.digest.is_none()),
            newest: None,
        };
        for seq in self.of_key.get(key).into_iter().flatten() {
            let Some(row) = self.entries.get(seq) else { continue };
            let in_doubt = row.holder.is_some() || row.unknown;
            state.in_doubt |= in_doubt;
            // A verification is not counted, so nothing may be counted as having taken its place.
            let replaceable = !in_doubt && !row.verification;
            state.newest = Some(PendingEntry { seq: *seq, digest: row.content.digest(), replaceable });
        }
        state
    }

    fn place(
        &mut self,
        acceptance: Acceptance,
        key: Key,
        content: Content,
        (now_ms, due_ms): (i64, i64),
        tally: &mut Tally,
        numbers: &mut Numbers,
    ) {
        match acceptance {
            Acceptance::Append => {
                let seq = Seq(numbers.next());
                self.close_later(&key, seq);
                let row = Row {
                    key,
                    content,
                    holder: None,
                    unknown: false,
                    verification: false,
                    attempt: 0,
                    due_ms,
                    appended_ms: now_ms,
                };
                self.insert(seq, row);
                return;
            }
            Acceptance::Replace(seq) => {
                tally.superseded += 1;
                if let Some(row) = self.entries.get_mut(&seq) {
                    row.content = content;
                    row.attempt = 0;
                    row.due_ms = 0;
                }
                self.close_later(&key, seq);
                return;
            }
            Acceptance::Refresh(seq) => {
                tally.unchanged += 1;
                if let Some(row) = self.entries.get_mut(&seq) {
                    row.content = content;
                }
            }
            Acceptance::Cancel(seq) => {
                tally.superseded += 1;
                self.remove(seq);
            }
            Acceptance::Unchanged => tally.unchanged += 1,
            Acceptance::Nothing | Acceptance::AsDrafted => {}
        }
        // The newest state of the record needs no entry of its own: what failed before it is of no interest any more.
        self.dead.remove(&key);
    }

    /// The dead letter of a key, where there is one, is closed by the end of this entry.
    fn close_later(&mut self, key: &Key, seq: Seq) {
        if let Some(dead) = self.dead.get_mut(key) {
            dead.closed_by = Some(seq);
        }
    }

    fn insert(&mut self, seq: Seq, row: Row) {
        self.of_key.entry(row.key.clone()).or_default().insert(seq);
        self.entries.insert(seq, row);
    }

    fn remove(&mut self, seq: Seq) -> Option<Row> {
        let row = self.entries.remove(&seq)?;
        if let Some(of_key) = self.of_key.get_mut(&row.key) {
            of_key.remove(&seq);
            if of_key.is_empty() {
                self.of_key.remove(&row.key);
            }
        }
        Some(row)
    }

    pub(super) fn mark_seen(&mut self, key: &Key, generation: u64) {
        if let Some(row) = self.index.get_mut(key) {
            row.seen = row.seen.max(generation);
        }
        for seq in self.of_key.get(key).into_iter().flatten() {
            if let Some(row) = self.entries.get_mut(seq) {
                row.content.generation = row.content.generation.max(generation);
            }
        }
    }

    pub(super) fn claim(&mut self, claim: Claim, numbers: &mut Numbers) -> Vec<Entry> {
        for row in self.entries.values_mut().filter(|row| row.holder.is_none() && row.due_ms <= claim.now_ms) {
            row.due_ms = 0;
        }
        self.start_verifications(claim, numbers);
        let mut claimed = Vec::new();
        let mut met = BTreeSet::new();
        let mut started = Vec::new();
        for (seq, row) in &mut self.entries {
            // The first entry of a key is its oldest; every later one waits for it.
            if !met.insert(row.key.clone()) {
                continue;
            }
            let verification_just_started = row.verification && row.holder == Some(claim.holder) && row.attempt == 0;
            if verification_just_started {
                row.attempt = 1;
                started.push(entry(*seq, row, &self.index));
            } else if row.holder.is_none() && row.due_ms == 0 && !row.content.outdated(claim.plan) {
                claimed.push(*seq);
            }
        }
        claimed.truncate(claim.max.saturating_sub(started.len()));
        let mut entries = started;
        for seq in claimed {
            if let Some(row) = self.entries.get_mut(&seq) {
                row.holder = Some(claim.holder);
                row.attempt += 1;
                entries.push(entry(seq, row, &self.index));
            }
        }
        entries
    }

    /// Due verifications become entries in flight, unless an entry of their key is on its way; they go before the rest, so
    /// that a deep backlog does not put them off for ever.
    fn start_verifications(&mut self, claim: Claim, numbers: &mut Numbers) {
        let mut due: Vec<(i64, Key)> = self
            .verifications
            .iter()
            .filter(|(key, waiting)| {
                waiting.due_ms <= claim.now_ms
                    && !self.of_key.contains_key(*key)
                    && !waiting.content.outdated(claim.plan)
            })
            .map(|(key, verification)| (verification.due_ms, key.clone()))
            .collect();
        due.sort();
        due.truncate(claim.max);
        for (_, key) in due {
            if let Some(Verification { content, .. }) = self.verifications.remove(&key) {
                let row = Row {
                    key,
                    content,
                    holder: Some(claim.holder),
                    unknown: false,
                    verification: true,
                    attempt: 0,
                    due_ms: 0,
                    appended_ms: claim.now_ms,
                };
                self.insert(Seq(numbers.next()), row);
            }
        }
    }

    /// `None` when the entry is not in flight under this lease.
    pub(super) fn settle(
        &mut self,
        Settlement { seq, verdict }: Settlement,
        holder: u64,
        now_ms: i64,
        numbers: &mut Numbers,
    ) -> Option<Tally> {
        let row = self.entries.get_mut(&seq).filter(|row| row.holder == Some(holder))?;
        let mut tally = Tally::default();
        match verdict {
            Verdict::Retry { due_ms, .. } => {
                row.holder = None;
                row.unknown = false;
                row.due_ms = due_ms;
            }
            Verdict::Unknown { due_ms, .. } => {
                row.holder = None;
                row.unknown = true;
                row.due_ms = due_ms;
            }
            Verdict::Released => {
                row.holder = None;
                row.attempt = row.attempt.saturating_sub(1);
            }
            Verdict::Dead { rejection, in_doubt } => {
                let row = self.remove(seq)?;
                if in_doubt {
                    self.doubt(&row.key, row.content.generation);
                }
                tally.dead += u64::from(!row.verification);
                // A letter about a newer state, made while this entry was in flight, is the one to keep.
                let newer = self.dead.get(&row.key).is_some_and(|dead| dead.closed_by != Some(seq));
                if !newer {
                    let (id, attempts) = (numbers.next(), row.attempt);
                    let content = Some(row.content);
                    let dead = Dead { id, rejection, attempts, at_ms: now_ms, closed_by: None, content };
                    self.dead.insert(row.key, dead);
                }
            }
            Verdict::Done { effect, verify_at_ms } => {
                let row = self.remove(seq)?;
                if !row.verification {
                    count(&mut tally, effect);
                }
                if self.dead.get(&row.key).is_some_and(|dead| dead.closed_by == Some(seq)) {
                    self.dead.remove(&row.key);
                }
                self.write_index(&row.key, &row.content);
                let due_ms = verify_at_ms.or_else(|| self.verifications.get(&row.key).map(|waiting| waiting.due_ms));
                if let Some(due_ms) = due_ms {
                    self.verifications.insert(row.key, Verification { content: row.content, due_ms });
                }
            }
        }
        Some(tally)
    }

    fn write_index(&mut self, key: &Key, content: &Content) {
        match content.digest() {
            Some(digest) => {
                let seen = self.index.get(key).map_or(0, |row| row.seen).max(content.generation);
                let row = IndexRow { bound: true, digest: Some(digest), version: content.version, seen };
                self.index.insert(key.clone(), row);
            }
            None => {
                self.index.remove(key);
            }
        }
    }

    pub(super) fn inherit(&mut self, holder: u64, due_ms: i64) -> u64 {
        let mut inherited = 0;
        for row in self.entries.values_mut().filter(|row| row.holder.is_some_and(|by| by != holder)) {
            row.holder = None;
            row.unknown = true;
            row.due_ms = due_ms;
            inherited += 1;
        }
        inherited
    }

    pub(super) fn stats(&self) -> BacklogStats {
        let counted = || self.entries.values().filter(|row| !row.verification);
        let looks = || self.entries.values().filter(|row| row.verification);
        let unclaimed = || counted().filter(|row| row.holder.is_none());
        let count = |number: usize| number as u64;
        let waiting = self.verifications.values().map(|waiting| waiting.due_ms);
        let again = looks().filter(|row| row.holder.is_none()).map(|row| row.due_ms);
        BacklogStats {
            queued: count(unclaimed().filter(|row| !row.unknown).count()),
            in_flight: count(counted().filter(|row| row.holder.is_some()).count()),
            unknown: count(unclaimed().filter(|row| row.unknown).count()),
            verifications: count(self.verifications.len() + looks().count()),
            dead: count(self.dead.len()),
            oldest_ms: counted().next().map(|row| row.appended_ms),
            next_due_ms: unclaimed().map(|row| row.due_ms).min(),
            next_verification_ms: waiting.chain(again).min(),
        }
    }
}

fn entry(seq: Seq, row: &Row, index: &BTreeMap<Key, IndexRow>) -> Entry {
    let written = index.get(&row.key);
    Entry {
        seq,
        key: row.key.clone(),
        body: row.content.body.clone(),
        version: row.content.version,
        attempt: row.attempt,
        unknown: row.unknown || written.is_some_and(|row| row.digest.is_none()),
        verification: row.verification,
        plan: row.content.plan,
        bound: written.is_some_and(|row| row.bound),
        written: written.and_then(|row| row.digest),
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
