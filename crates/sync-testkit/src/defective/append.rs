//! Pages, and what defects make of them.

use record::Key;
use sync_core::traits::{
    Advance, AppendReport, Backlog, Checkpoint, ClaimRequest, Class, DeadLetter, DeadLetterQuery, Draft, DraftBody,
    Effect, EntryBody, Lease, Page, Parent, RecordIndex, Settlement, StateStore, Update, Verdict,
};
use sync_core::{Digest, Payload, StoreError, StoreErrorKind, Tally};

use super::Defect;
use super::machine::{Machine, now};
use super::notes::{Noted, copy_body};

fn copy(page: &Page) -> Page {
    let drafts = page.drafts.iter().map(|draft| Draft {
        key: draft.key.clone(),
        version: draft.version,
        parents: draft.parents.clone(),
        body: copy_body(&draft.body),
    });
    Page { stream: page.stream.clone(), drafts: drafts.collect(), ..*page }
}

fn digest_of(body: &DraftBody) -> Option<Digest> {
    match body {
        DraftBody::Upsert { digest, .. } => Some(*digest),
        _ => None,
    }
}

impl Machine {
    pub(super) fn append(
        &mut self,
        lease: &Lease,
        mut page: Page,
        mut advance: Advance,
    ) -> Result<AppendReport, StoreError> {
        let stored = now(self.inner.load(&page.stream))?;
        self.bend_advance(&mut advance, &page, stored.as_ref());
        self.notes.first_call_ms.get_or_insert(page.now_ms);
        if page.drafts.is_empty() && self.has(Defect::EmptyPageSkipped) {
            self.tick();
            now(self.inner.mark_seen(&self.stands_for(lease), &page.stream, &[], 0))?;
            let Advance { expected_version, generation, phase, position } = advance;
            let totals = stored.map_or_else(Tally::default, |at| at.totals);
            let (position, version, at_ms) = (Some(position), expected_version + 1, page.now_ms);
            let checkpoint = Checkpoint { generation, phase, position, version, totals, at_ms };
            return Ok(AppendReport { checkpoint, tally: Tally::default() });
        }
        let rejected = page.drafts.iter().filter(|draft| matches!(draft.body, DraftBody::Rejected(_))).count() as u64;
        self.note_seal(&page);
        self.bend_page(lease, &mut page)?;
        let ignored = self.skip_ignored(&mut page);
        let before = self.letters()?;
        let answer = self.store_page(lease, &page, &advance, stored.as_ref());
        let mut report = answer?;
        report.tally.read += ignored;
        report.tally.ignored += ignored;
        *self.notes.rejected.entry(page.stream.clone()).or_default() += rejected;
        if self.has(Defect::IgnoredClosesNoLetter) {
            let ignored = |letter: &DeadLetter| {
                page.drafts.iter().any(|draft| draft.key == letter.key && matches!(draft.body, DraftBody::Ignored))
            };
            let after = self.letters()?;
            self.notes.ghosts.extend(before.into_iter().filter(|letter| ignored(letter) && !after.contains(letter)));
        }
        self.note_page(&page);
        Ok(report)
    }

    fn store_page(
        &mut self,
        lease: &Lease,
        page: &Page,
        advance: &Advance,
        stored: Option<&Checkpoint>,
    ) -> Result<AppendReport, StoreError> {
        let (seen_apart, generation) = (self.seen_apart(page), page.mark_seen);
        let kept = Page { mark_seen: page.mark_seen.filter(|_| seen_apart.is_none()), ..copy(page) };
        let store = |page: Page, advance: Advance, seen: Option<Vec<Key>>| {
            move |store: &sync_core::store::MemoryStore, lease: &Lease| {
                let report = now(store.append(lease, copy(&page), advance.clone()))?;
                if let (Some(keys), Some(generation)) = (&seen, generation) {
                    now(store.mark_seen(lease, &page.stream, keys, generation))?;
                }
                Ok(report)
            }
        };
        if let Err(trouble) = self.trouble() {
            let part = match trouble.kind() {
                StoreErrorKind::Full if self.has(Defect::FullStoresHalf) => page.drafts.len() / 2,
                StoreErrorKind::Unavailable if self.has(Defect::PositionFirst) => 0,
                StoreErrorKind::Full if self.has(Defect::FullNotNamed) => {
                    return Err(super::machine::error(StoreErrorKind::Unavailable));
                }
                _ => return Err(trouble),
            };
            let mut half = copy(page);
            half.drafts.truncate(part);
            self.write_anyway("append", lease, store(half, advance.clone(), None))?;
            return Err(trouble);
        }
        let answer = self.write_anyway("append", lease, store(kept, advance.clone(), seen_apart));
        let conflict = answer.as_ref().is_err_and(|error| error.kind() == StoreErrorKind::Conflict);
        if let Some(at) = stored.filter(|_| conflict && self.has(Defect::LettersOfRefusedPage)) {
            let mut letters = copy(page);
            letters.drafts.retain(|draft| matches!(draft.body, DraftBody::Rejected(_)));
            let mut advance = advance.clone();
            advance.expected_version = at.version;
            if !letters.drafts.is_empty() {
                self.write_anyway("append", lease, store(letters, advance, None))?;
            }
        }
        answer
    }

    fn bend_advance(&self, advance: &mut Advance, page: &Page, stored: Option<&Checkpoint>) {
        let version = stored.map_or(0, |at| at.version);
        let ahead = advance.expected_version > version && self.has(Defect::VersionAheadAccepted);
        let same = stored.is_some_and(|at| at.position.as_ref() == Some(&advance.position))
            && advance.expected_version + 1 == version
            && !page.drafts.is_empty();
        if ahead || (same && self.has(Defect::SamePageAgain)) {
            advance.expected_version = version;
        }
    }

    fn bend_page(&mut self, lease: &Lease, page: &mut Page) -> Result<(), StoreError> {
        if self.has(Defect::LargePageCut) {
            page.drafts.truncate(2_048);
        }
        page.replay &= !self.has(Defect::ReplayCompares);
        page.refresh &= !self.has(Defect::RefreshIsAPage);
        page.hold_deletes |= self.has(Defect::AllDeletesHeld);
        page.hold_deletes &= !self.has(Defect::DeletesNotHeld);
        if self.has(Defect::BackfillIsLive) && page.class == Class::Backfill {
            page.class = Class::Live;
        }
        let stream = page.stream.clone();
        let (replay, refresh) = (page.replay, page.refresh);
        for draft in &mut page.drafts {
            self.bend_key(draft);
            let at = (stream.clone(), draft.key.clone());
            let row = now(self.inner.get_many(&stream, std::slice::from_ref(&draft.key)))?.remove(0);
            let known = now(self.inner.known_versions(&stream, std::slice::from_ref(&draft.key)))?.remove(0);
            let digest = digest_of(&draft.body);
            if self.has(Defect::StaleAccepted) && draft.version.is_some() {
                draft.version = draft.version.max(known);
            }
            let letter = self.letters()?.iter().any(|letter| letter.stream == stream && letter.key == draft.key);
            if self.has(Defect::LetterVersionIgnored) && letter {
                draft.version = draft.version.max(known);
            }
            if self.has(Defect::EqualVersionStale) && draft.version == known && digest.is_some() && !replay {
                let differs = self.notes.newest.get(&at).is_some_and(|newest| digest_of(&newest.body) != digest);
                draft.version = draft.version.map(|version| version - i64::from(differs));
            }
            if self.has(Defect::UnchangedKeepsVersion)
                && row.is_some_and(|row| digest.is_some() && row.digest == digest)
            {
                draft.version = None;
            }
            let flying = self.notes.flying.values().any(|(id, entry, _)| *id == stream && entry.key == draft.key);
            let delete = matches!(draft.body, DraftBody::Delete);
            if self.has(Defect::DeleteOfFlyingIgnored) && delete && flying && row.is_none() {
                draft.body = DraftBody::Ignored;
            }
            if self.has(Defect::FilteredCountedAsIgnored) && matches!(draft.body, DraftBody::Filtered) && row.is_none()
            {
                draft.body = DraftBody::Ignored;
            }
            if let Some(newest) = self.notes.newest.get(&at).filter(|_| digest.is_some()) {
                let equal = digest_of(&newest.body) == digest;
                let keep = if equal { Defect::InsertNotRefreshed } else { Defect::OldestStateKept };
                if self.has(keep) && digest_of(&newest.body).is_some() && !replay && !refresh {
                    draft.body = copy_body(&newest.body);
                }
            }
            self.bend_parents(&stream, draft)?;
            self.bend_waits(lease, &stream, draft, (flying, refresh, replay))?;
        }
        Ok(())
    }

    fn bend_key(&self, draft: &mut Draft) {
        let text = draft.key.to_text();
        if self.has(Defect::GuidsAsText) {
            draft.key = Key::text(text);
        } else if let (true, Some((start, _))) = (self.has(Defect::KeysEndAtZero), text.split_once('\0')) {
            draft.key = Key::text(start);
        } else if self.has(Defect::LongKeysCut) && text.len() > 1_023 {
            draft.key = Key::text(&text[..1_023]);
        }
    }

    fn bend_parents(&self, stream: &sync_core::StreamId, draft: &mut Draft) -> Result<(), StoreError> {
        let own = Parent { stream: stream.clone(), key: draft.key.clone() };
        if self.has(Defect::WaitsForItself) && draft.parents.contains(&own) {
            draft.parents.push(Parent { stream: sync_core::StreamId::new("nowhere"), ..own });
        }
        if self.has(Defect::FirstParentOnly) {
            draft.parents.truncate(1);
        }
        if self.has(Defect::ForeignParentsForgotten) {
            draft.parents.retain(|parent| parent.stream == *stream);
        }
        if self.has(Defect::DoubtfulParentEnough) {
            let mut parents = Vec::new();
            for parent in std::mem::take(&mut draft.parents) {
                let row = now(self.inner.get_many(&parent.stream, std::slice::from_ref(&parent.key)))?.remove(0);
                if row.is_none() {
                    parents.push(parent);
                }
            }
            draft.parents = parents;
        }
        if self.has(Defect::OldParentsKept)
            && let Some(newest) = self.notes.newest.get(&(stream.clone(), draft.key.clone()))
        {
            draft.parents.extend(newest.parents.iter().cloned());
        }
        Ok(())
    }

    /// Defects about what waits: how it meets a newer state.
    fn bend_waits(
        &mut self,
        lease: &Lease,
        stream: &sync_core::StreamId,
        draft: &mut Draft,
        (flying, refresh, replay): (bool, bool, bool),
    ) -> Result<(), StoreError> {
        let at = (stream.clone(), draft.key.clone());
        let wait = self.notes.waits.get(&at).copied();
        let digest = digest_of(&draft.body);
        let equal = self.notes.newest.get(&at).is_some_and(|newest| digest_of(&newest.body) == digest);
        if let Some(wait) = wait {
            let ends = equal && digest.is_some() && !refresh && self.has(Defect::EqualStateEndsTheWait);
            if ends || (refresh && self.has(Defect::RefreshForgetsTheWait)) {
                self.notes.hurried.insert(at.clone(), wait.due_ms);
            }
        }
        if refresh {
            self.notes.refreshed.insert(at.clone());
        }
        let unknown = wait.is_some_and(|wait| wait.unknown) && self.has(Defect::UnknownFreesItsKey);
        let beside = flying && digest.is_some() && self.has(Defect::ClaimsBesideFlying);
        let twice = replay && self.notes.newest.contains_key(&at) && self.has(Defect::RequeuedTwice);
        if unknown || beside || twice {
            let alias = Key::text(format!("{} (beside)", draft.key.to_text()));
            let real = self.notes.aliases.get(&draft.key).unwrap_or(&draft.key).clone();
            self.notes.aliases.insert(alias.clone(), real);
            draft.key = alias;
        }
        if self.has(Defect::VerificationReplaced) && wait.is_some() && self.notes.verified.contains_key(&at) {
            let want = ClaimRequest {
                stream: stream.clone(),
                max: usize::MAX,
                plan: sync_core::PlanVersion(1),
                now_ms: i64::MAX,
            };
            for entry in self.claim(lease, &want)? {
                let gone = entry.verification && entry.key == draft.key;
                let verdict = Verdict::Done { effect: Effect::Updated, verify_at_ms: None };
                let verdict = if gone { verdict } else { Verdict::Released };
                self.settle(lease, stream, vec![Settlement { seq: entry.seq, verdict }], 0)?;
            }
        }
        Ok(())
    }

    /// Drafts that a defect leaves out: how many.
    fn skip_ignored(&self, page: &mut Page) -> u64 {
        let before = page.drafts.len();
        if self.has(Defect::IgnoredStillCreated) {
            let waits = |draft: &Draft| self.notes.newest.contains_key(&(page.stream.clone(), draft.key.clone()));
            page.drafts.retain(|draft| !matches!(draft.body, DraftBody::Ignored) || !waits(draft));
        }
        (before - page.drafts.len()) as u64
    }

    /// The keys that a defect marks as met, where it does not mark all.
    fn seen_apart(&self, page: &Page) -> Option<Vec<Key>> {
        let keys = page.drafts.iter();
        if self.has(Defect::FilteredNotSeen) {
            let met = keys.filter(|draft| digest_of(&draft.body).is_some());
            return Some(met.map(|draft| draft.key.clone()).collect());
        }
        if self.has(Defect::WaitingNotSeen) {
            let known =
                |key: &Key| self.notes.flying.values().any(|(id, entry, _)| *id == page.stream && entry.key == *key);
            return Some(keys.filter(|draft| !known(&draft.key)).map(|draft| draft.key.clone()).collect());
        }
        None
    }

    fn note_page(&mut self, page: &Page) {
        self.notes.last_append_ms = page.now_ms;
        self.notes.streams.insert(page.stream.clone());
        if !self.notes.plans.contains(&page.plan) {
            self.notes.plans.push(page.plan);
        }
        for draft in &page.drafts {
            let at = (page.stream.clone(), draft.key.clone());
            match &draft.body {
                DraftBody::Upsert { .. } => {}
                DraftBody::Rejected(_) => continue,
                _ => {
                    self.notes.newest.remove(&at);
                    continue;
                }
            }
            let noted = Noted {
                body: copy_body(&draft.body),
                class: page.class,
                replay: page.replay,
                parents: draft.parents.clone(),
            };
            let before = self.notes.newest.insert(at.clone(), noted);
            let differs = before.is_some_and(|before| digest_of(&before.body) != digest_of(&draft.body));
            if differs {
                self.notes.replaced.insert(at.clone());
                if !self.has(Defect::ReplacedStillWaits) {
                    self.notes.waits.remove(&at);
                }
            }
        }
    }

    /// What the disk holds of payloads: nothing legible.
    fn note_seal(&mut self, page: &Page) {
        for draft in &page.drafts {
            let DraftBody::Upsert { insert, update, .. } = &draft.body else { continue };
            let legible = self.has(Defect::OrphansLegible) && !draft.parents.is_empty();
            let bodies = [Some(insert), if let Update::Body(body) = update { Some(body) } else { None }];
            for Payload(bytes) in bodies.into_iter().flatten().filter(|Payload(bytes)| bytes.len() < 100) {
                self.notes.sealed.extend(bytes.iter().map(|byte| if legible { *byte } else { byte ^ 0xa5 }));
            }
        }
    }

    pub(super) fn letters(&self) -> Result<Vec<DeadLetter>, StoreError> {
        now(self.inner.dead_letters(&DeadLetterQuery { limit: usize::MAX, ..DeadLetterQuery::default() }))
    }

    pub(super) fn body_of(body: &EntryBody) -> DraftBody {
        match body {
            EntryBody::Upsert { insert, update, digest } => {
                DraftBody::Upsert { insert: insert.clone(), update: update.clone(), digest: *digest }
            }
            EntryBody::Delete => DraftBody::Delete,
        }
    }
}
