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

/// Who claims how much, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub(super) holder: u64,
    pub(super) max: usize,
    pub(super) now_ms: i64,
}

#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) checkpoint: Option<Checkpoint>,
    /// Rows of bound records only: nothing is worth remembering of the others.
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
    pub(super) fn accept_page(
        &mut self,
        drafts: Vec<Draft>,
        plan: PlanVersion,
        generation: u64,
        mark_seen: Option<u64>,
        now_ms: i64,
        numbers: &mut Numbers,
    ) -> Tally {
        let mut tally = Tally { read: drafts.len() as u64, ..Tally::default() };
        for Draft { key, version, body } in drafts {
            let acceptance = accept(&self.key_state(&key), &body);
            let met = key.clone();
            match body {
                DraftBody::Filtered => tally.filtered += 1,
                DraftBody::Ignored => tally.ignored += 1,
                DraftBody::Rejected(rejection) => {
                    tally.dead += 1;
                    let id = numbers.next();
                    self.dead.insert(key, Dead { id, rejection, attempts: 0, at_ms: now_ms, content: None });
                }
                DraftBody::Upsert { insert, update, digest } => {
                    let body = EntryBody::Upsert { insert, update, digest };
                    let content = Content { body, version, plan, generation };
                    self.place(acceptance, key, content, now_ms, &mut tally, numbers);
                }
                DraftBody::Delete | DraftBody::DeleteFiltered => {
                    if matches!(acceptance, Acceptance::Nothing | Acceptance::Cancel(_)) {
                        match body {
                            DraftBody::DeleteFiltered => tally.filtered += 1,
                            _ => tally.ignored += 1,
                        }
                    }
                    let content = Content { body: EntryBody::Delete, version, plan, generation };
                    self.place(acceptance, key, content, now_ms, &mut tally, numbers);
                }
            }
            if let Some(generation) = mark_seen {
                self.mark_seen(&met, generation);
            }
        }
        tally
    }

    fn key_state(&self, key: &Key) -> KeyState {
        let written = self.index.get(key);
        let mut state = KeyState {
            bound: written.is_some(),
            written: written.and_then(|row| row.digest),
            in_doubt: false,
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
        now_ms: i64,
        tally: &mut Tally,
        numbers: &mut Numbers,
    ) {
        match acceptance {
            Acceptance::Append => {
                let row = Row {
                    key,
                    content,
                    holder: None,
                    unknown: false,
                    verification: false,
                    attempt: 0,
                    due_ms: 0,
                    appended_ms: now_ms,
                };
                self.insert(Seq(numbers.next()), row);
            }
            Acceptance::Replace(seq) => {
                tally.superseded += 1;
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
            } else if row.holder.is_none() && row.due_ms == 0 {
                claimed.push(*seq);
            }
        }
        claimed.truncate(claim.max.saturating_sub(started.len()));
        let mut entries = Vec::with_capacity(claimed.len() + started.len());
        for seq in claimed {
            if let Some(row) = self.entries.get_mut(&seq) {
                row.holder = Some(claim.holder);
                row.attempt += 1;
                entries.push(entry(seq, row, &self.index));
            }
        }
        entries.extend(started);
        entries
    }

    /// Due verifications become entries in flight, unless an entry of their key is on its way; they go before the rest, so
    /// that a deep backlog does not put them off for ever.
    fn start_verifications(&mut self, claim: Claim, numbers: &mut Numbers) {
        let mut due: Vec<(i64, Key)> = self
            .verifications
            .iter()
            .filter(|(key, verification)| verification.due_ms <= claim.now_ms && !self.of_key.contains_key(*key))
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
            Verdict::Dead(rejection) => {
                let row = self.remove(seq)?;
                tally.dead += u64::from(!row.verification);
                let id = numbers.next();
                let dead = Dead { id, rejection, attempts: row.attempt, at_ms: now_ms, content: Some(row.content) };
                self.dead.insert(row.key, dead);
            }
            Verdict::Done { effect, verify_at_ms } => {
                let row = self.remove(seq)?;
                if !row.verification {
                    count(&mut tally, effect);
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
        let unclaimed = || self.entries.values().filter(|row| row.holder.is_none());
        let count = |number: usize| number as u64;
        BacklogStats {
            queued: count(unclaimed().filter(|row| !row.unknown).count()),
            in_flight: count(self.entries.values().filter(|row| row.holder.is_some()).count()),
            unknown: count(unclaimed().filter(|row| row.unknown).count()),
            verifications: count(self.verifications.len()),
            dead: count(self.dead.len()),
            oldest_ms: self.entries.values().next().map(|row| row.appended_ms),
            next_due_ms: unclaimed().map(|row| row.due_ms).min(),
            next_verification_ms: self.verifications.values().map(|waiting| waiting.due_ms).min(),
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
        unknown: row.unknown,
        verification: row.verification,
        plan: row.content.plan,
        bound: written.is_some(),
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
