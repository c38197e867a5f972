//! Ends of entries and dead letters, and what defects make of them.

use record::Key;
use sync_core::traits::{
    Backlog, ClaimRequest, DeadLetter, DeadLetterQuery, EntryBody, Lease, LetterFilter, RecordIndex, SettleReport,
    Settlement, StateStore, Verdict,
};
use sync_core::{Seq, StoreError, StoreErrorKind, StreamId, Tally};

use super::Defect;
use super::machine::{Machine, now};
use super::notes::Wait;

impl Machine {
    pub(super) fn settle(
        &mut self,
        lease: &Lease,
        stream: &StreamId,
        mut settlements: Vec<Settlement>,
        now_ms: i64,
    ) -> Result<SettleReport, StoreError> {
        for Settlement { seq, verdict } in &mut settlements {
            match verdict {
                Verdict::Dead { in_doubt, .. } if self.has(Defect::DoubtForgotten) => *in_doubt = false,
                Verdict::Released if self.has(Defect::ReleaseCounts) => {
                    let unknown = self.notes.flying.get(seq).is_some_and(|(_, entry, _)| entry.unknown);
                    let (due_ms, code) = (0, String::new());
                    *verdict =
                        if unknown { Verdict::Unknown { due_ms, code } } else { Verdict::Retry { due_ms, code } };
                }
                Verdict::NotYet { due_ms, code, in_doubt } if self.has(Defect::NotYetCounts) => {
                    let (due_ms, code) = (*due_ms, std::mem::take(code));
                    *verdict =
                        if *in_doubt { Verdict::Unknown { due_ms, code } } else { Verdict::Retry { due_ms, code } };
                }
                Verdict::NotYet { in_doubt, .. } if self.has(Defect::NotYetForgetsDoubt) => *in_doubt = false,
                _ => {}
            }
        }
        if self.has(Defect::SettlesAnyClaim) {
            self.make_ours(lease, stream, &settlements)?;
        }
        let mut stream = stream.clone();
        let elsewhere = settlements.first().and_then(|end| self.notes.flying.get(&end.seq)).map(|(id, ..)| id.clone());
        if let Some(elsewhere) = elsewhere.filter(|_| self.has(Defect::SettlesAnyStream)) {
            stream = elsewhere;
        }
        let now_ms = if self.has(Defect::LettersDatedByPage) { self.notes.last_append_ms } else { now_ms };
        if let Err(trouble) = self.trouble() {
            if trouble.kind() == StoreErrorKind::Unavailable && self.has(Defect::EndsOneByOne) {
                settlements.truncate(1);
                self.raw_settle(lease, &stream, settlements, now_ms)?;
            }
            return Err(trouble);
        }
        let letters = self.letters()?;
        let ended: Vec<(Settlement, Option<super::notes::Record>, bool, bool)> = settlements
            .iter()
            .map(|end| {
                let flying =
                    self.notes.flying.get(&end.seq).filter(|(id, _, nonce)| *id == stream && *nonce == lease.nonce);
                let at = flying.map(|(id, entry, _)| (id.clone(), entry.key.clone()));
                let verification = flying.is_some_and(|(_, entry, _)| entry.verification);
                let delete = flying.is_some_and(|(_, entry, _)| matches!(entry.body, EntryBody::Delete));
                (end.clone(), at, verification, delete)
            })
            .collect();
        let mut report = self.raw_settle(lease, &stream, settlements, now_ms)?;
        for (end, at, verification, delete) in ended {
            match at {
                Some(at) => self.after_end(lease, &end, at, (verification, delete), (&letters, &mut report))?,
                None if self.has(Defect::EndCountedAgain) && self.notes.done.contains(&end.seq) => {
                    report.tally.inserted += u64::from(matches!(end.verdict, Verdict::Done { .. }));
                }
                None => {}
            }
        }
        if self.has(Defect::ReleasedNotTold) {
            report.released.clear();
        }
        if self.has(Defect::OrphansForgotten) {
            self.bury_orphans(lease, &mut report, now_ms)?;
        }
        Ok(report)
    }

    fn after_end(
        &mut self,
        lease: &Lease,
        end: &Settlement,
        at: super::notes::Record,
        (verification, delete): (bool, bool),
        (before, report): (&[DeadLetter], &mut SettleReport),
    ) -> Result<(), StoreError> {
        let entry = self.notes.flying.remove(&end.seq).map(|(_, entry, _)| entry);
        let attempt = entry.as_ref().map_or(0, |entry| entry.attempt);
        match &end.verdict {
            Verdict::Retry { due_ms, .. } | Verdict::Unknown { due_ms, .. } | Verdict::NotYet { due_ms, .. } => {
                let unknown = matches!(end.verdict, Verdict::Unknown { .. } | Verdict::NotYet { in_doubt: true, .. });
                self.notes.waits.insert(at.clone(), Wait { due_ms: *due_ms, unknown, attempt });
                if let Some(entry) = entry.filter(|_| !verification) {
                    let noted = super::notes::Noted {
                        body: Self::body_of(&entry.body),
                        class: entry.class,
                        replay: entry.replay,
                        parents: Vec::new(),
                    };
                    self.notes.newest.entry(at).or_insert(noted);
                }
            }
            Verdict::Released => {
                if entry.is_some_and(|entry| entry.unknown) {
                    self.notes.waits.insert(at, Wait { due_ms: 0, unknown: true, attempt });
                }
            }
            Verdict::Dead { rejection, .. } => {
                self.notes.reasons.insert(at, rejection.clone());
            }
            Verdict::Done { verify_at_ms, .. } => {
                self.notes.done.insert(end.seq);
                self.notes.deleted += u64::from(delete);
                if let Some(entry) = entry.filter(|_| verify_at_ms.is_some()) {
                    self.notes.verified.insert(at.clone(), Self::body_of(&entry.body));
                }
                if verification && self.has(Defect::VerificationCounted) {
                    report.tally.updated += 1;
                }
                self.after_done(lease, at, verification, before)?;
            }
        }
        Ok(())
    }

    fn after_done(
        &mut self,
        lease: &Lease,
        at: super::notes::Record,
        verification: bool,
        before: &[DeadLetter],
    ) -> Result<(), StoreError> {
        let of_key = |letter: &DeadLetter| (&letter.stream, &letter.key) == (&at.0, &at.1);
        let after: Vec<DeadLetter> = self.letters()?.into_iter().filter(of_key).collect();
        let closes = if verification { Defect::VerificationClosesLetter } else { Defect::AnyEndClosesLetters };
        if self.has(closes)
            && let Some(letter) = after.first()
        {
            let filter = LetterFilter { ids: vec![letter.id], ..LetterFilter::default() };
            self.write_anyway("drop_dead_letters", lease, move |store, lease| {
                now(store.drop_dead_letters(lease, &filter))
            })?;
        }
        if self.has(Defect::ReplacedClosesNoLetter) && self.notes.replaced.contains(&at) && after.is_empty() {
            self.notes.ghosts.extend(before.iter().filter(|letter| of_key(letter)).cloned());
        }
        if self.has(Defect::WrittenIsSeen) {
            let generation = now(self.inner.load(&at.0))?.map_or(0, |at| at.generation);
            let (stream, keys) = (at.0, vec![at.1]);
            self.write_anyway("mark_seen", lease, move |store, lease| {
                now(store.mark_seen(lease, &stream, &keys, generation))
            })?;
        }
        Ok(())
    }

    /// What another lease has in flight is claimed again, so that it can be settled.
    fn make_ours(&mut self, lease: &Lease, stream: &StreamId, ends: &[Settlement]) -> Result<(), StoreError> {
        let foreign =
            |end: &Settlement| self.notes.flying.get(&end.seq).is_some_and(|(.., nonce)| *nonce != lease.nonce);
        if !ends.iter().any(foreign) {
            return Ok(());
        }
        self.inherit(lease, stream, 0)?;
        let want =
            ClaimRequest { stream: stream.clone(), max: usize::MAX, plan: sync_core::PlanVersion(1), now_ms: i64::MAX };
        self.raw_claim(lease, &want).map(drop)
    }

    /// What was given up and came again is given up again.
    fn bury_orphans(&mut self, lease: &Lease, report: &mut SettleReport, now_ms: i64) -> Result<(), StoreError> {
        let streams: Vec<StreamId> =
            report.released.iter().filter(|(_, tally)| tally.read > 0).map(|(id, _)| id.clone()).collect();
        for stream in streams {
            let want =
                ClaimRequest { stream: stream.clone(), max: usize::MAX, plan: sync_core::PlanVersion(1), now_ms };
            for entry in self.raw_claim(lease, &want)? {
                let orphan = self.notes.orphans.remove(&(stream.clone(), entry.key));
                let verdict =
                    orphan.map_or(Verdict::Released, |rejection| Verdict::Dead { rejection, in_doubt: false });
                self.raw_settle(lease, &stream, vec![Settlement { seq: entry.seq, verdict }], now_ms)?;
            }
            report.released.insert(stream, Tally::default());
        }
        Ok(())
    }

    pub(super) fn raw_settle(
        &mut self,
        lease: &Lease,
        stream: &StreamId,
        ends: Vec<Settlement>,
        now_ms: i64,
    ) -> Result<SettleReport, StoreError> {
        let stream = stream.clone();
        self.write_anyway("settle", lease, move |store, lease| now(store.settle(lease, &stream, ends.clone(), now_ms)))
    }

    pub(super) fn inherit(&mut self, lease: &Lease, stream: &StreamId, due_ms: i64) -> Result<u64, StoreError> {
        let due_ms = if self.has(Defect::InheritedAtOnce) { 0 } else { due_ms };
        let id = stream.clone();
        let mut many = self.write("inherit", lease, move |store, lease| now(store.inherit(lease, &id, due_ms)))?;
        if self.has(Defect::UnknownKeepsItsTime) && many == 0 {
            let waits = self.notes.waits.iter().filter(|((id, _), wait)| id == stream && wait.unknown);
            let early: Vec<_> = waits.map(|(at, wait)| (at.clone(), wait.due_ms)).collect();
            self.notes
                .hurried
                .extend(early.into_iter().filter(|(_, early_ms)| *early_ms < due_ms).map(|(at, _)| (at, due_ms)));
        }
        let own = self.has(Defect::InheritsItsOwn);
        let ours = self.notes.flying.iter().filter(|(_, (id, _, nonce))| own && id == stream && *nonce == lease.nonce);
        let ours: Vec<Seq> = ours.map(|(seq, _)| *seq).collect();
        many += ours.len() as u64;
        let unknown = |seq| Settlement { seq, verdict: Verdict::Unknown { due_ms, code: String::new() } };
        self.raw_settle(lease, stream, ours.into_iter().map(unknown).collect(), 0)?;
        for (id, entry, nonce) in self.notes.flying.values() {
            if id == stream && *nonce != lease.nonce {
                self.notes.inherited.insert((id.clone(), entry.key.clone()));
            }
        }
        self.notes.flying.retain(|_, (id, ..)| id != stream);
        Ok(many)
    }

    pub(super) fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        let mut query = query.clone();
        if self.has(Defect::LettersRepeated) {
            query.after = query.after.map(|after| after.saturating_sub(1));
        }
        let mut letters = now(self.inner.dead_letters(&query))?;
        letters.extend(self.notes.ghosts.iter().cloned());
        if self.has(Defect::LettersNewestFirst) {
            letters.reverse();
        }
        if self.has(Defect::LateReasonShown) {
            for letter in &mut letters {
                let reason = self.notes.reasons.get(&(letter.stream.clone(), letter.key.clone()));
                letter.rejection = reason.unwrap_or(&letter.rejection).clone();
            }
        }
        Ok(letters)
    }

    pub(super) fn drop_dead_letters(&mut self, lease: &Lease, filter: &LetterFilter) -> Result<u64, StoreError> {
        let mut filter = filter.clone();
        if self.has(Defect::DropsTooYoung) {
            filter.before_ms = filter.before_ms.map(|before_ms| before_ms + 1);
        }
        if self.has(Defect::DropsEveryStream) {
            filter.stream = None;
        }
        let letters = self.letters()?;
        if let Some(code) = filter.code.take_if(|_| self.has(Defect::DropsByPrefix)) {
            let begin_so = letters.iter().filter(|letter| letter.rejection.code.starts_with(&code));
            filter.ids = begin_so.map(|letter| letter.id).chain([0]).collect();
        }
        for letter in letters {
            self.notes.dropped.insert((letter.stream, letter.key));
        }
        self.write("drop_dead_letters", lease, move |store, lease| now(store.drop_dead_letters(lease, &filter)))
    }

    pub(super) fn known_versions(&self, stream: &StreamId, keys: &[Key]) -> Result<Vec<Option<i64>>, StoreError> {
        let mut known = now(self.inner.known_versions(stream, keys))?;
        let rows = now(self.inner.get_many(stream, keys))?;
        let letters = self.letters()?;
        for ((key, known), row) in keys.iter().zip(&mut known).zip(rows) {
            let at = (stream.clone(), key.clone());
            let letter = letters.iter().any(|letter| (&letter.stream, &letter.key) == (stream, key));
            if (self.has(Defect::VersionOfWaitingUnknown) && self.notes.newest.contains_key(&at))
                || (self.has(Defect::VersionOfLetterUnknown) && letter)
            {
                *known = row.and_then(|row| row.version);
            }
        }
        Ok(known)
    }
}
