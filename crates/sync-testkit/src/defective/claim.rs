//! Claims, and what defects make of them.

use sync_core::traits::{
    Backlog, ClaimRequest, Class, DeleteRelease, DraftBody, Effect, Entry, EntryBody, Lease, RecordIndex, Settlement,
    Update, Verdict,
};
use sync_core::{StoreError, StreamId};

use super::Defect;
use super::machine::{Machine, error, now};

impl Machine {
    pub(super) fn claim(&mut self, lease: &Lease, want: &ClaimRequest) -> Result<Vec<Entry>, StoreError> {
        self.check_calendar(want.now_ms)?;
        let max = want.max;
        let mut entries = match self.poisoned(want) {
            true => self.raw_claim(lease, &ClaimRequest { max: 0, ..want.clone() })?,
            false => self.bent_claim(lease, want)?,
        };
        if entries.is_empty() && self.has(Defect::ClaimsFromOthers) && max > 0 {
            for stream in self.notes.streams.clone() {
                if entries.is_empty() {
                    entries = self.raw_claim(lease, &ClaimRequest { stream, ..want.clone() })?;
                }
            }
        }
        if self.has(Defect::OtherPlansClaimed) && entries.len() < max {
            for plan in self.notes.plans.clone().into_iter().filter(|plan| *plan != want.plan) {
                let max = max - entries.len();
                entries.extend(self.raw_claim(lease, &ClaimRequest { plan, max, ..want.clone() })?);
            }
        }
        if self.has(Defect::CoalescesAcrossDelete) {
            entries = self.swallow_deletes(lease, want, entries)?;
        }
        for entry in &mut entries {
            self.bend_entry(&want.stream, entry)?;
            if self.has(Defect::AgeForgotten) {
                entry.appended_ms = want.now_ms;
            }
        }
        Ok(entries)
    }

    /// A lease that ends by what callers say the time is.
    fn check_calendar(&mut self, now_ms: i64) -> Result<(), StoreError> {
        let first = *self.notes.first_call_ms.get_or_insert(now_ms);
        let hour = 3_600_000;
        if self.has(Defect::EndsByTheCalendar) && now_ms.saturating_sub(first) > hour {
            return Err(error(sync_core::StoreErrorKind::Fenced));
        }
        Ok(())
    }

    pub(super) fn release_deletes(&mut self, lease: &Lease, want: &DeleteRelease) -> Result<Option<u64>, StoreError> {
        let (mut want, last) = (want.clone(), sync_core::Seq(u64::MAX >> 1));
        let stats = want.children.iter().map(|child| now(self.inner.stats(child))).collect::<Result<Vec<_>, _>>()?;
        if self.has(Defect::WaitingChildrenCount) && stats.iter().any(|stats| stats.waiting > 0) {
            return Ok(None);
        }
        let all_wait = stats.iter().all(|stats| stats.depth() == stats.waiting && stats.held == 0);
        if self.has(Defect::ChildrenNotAsked) || (self.has(Defect::WaitingChildrenForgotten) && all_wait) {
            want.children.clear();
        }
        if self.has(Defect::LaterChildrenCount) {
            want.children_to = last;
        }
        if self.has(Defect::AllDeletesReleased) {
            want.held_to = last;
        }
        self.write("release_deletes", lease, move |store, lease| now(store.release_deletes(lease, &want)))
    }

    fn poisoned(&self, want: &ClaimRequest) -> bool {
        let mut waits = self.notes.waits.iter().filter(|((stream, _), _)| *stream == want.stream);
        self.has(Defect::PoisonHoldsUpAll) && waits.any(|(_, wait)| wait.attempt >= 3 && wait.due_ms > want.now_ms)
    }

    fn bent_claim(&mut self, lease: &Lease, want: &ClaimRequest) -> Result<Vec<Entry>, StoreError> {
        let (max, now_ms) = (want.max, want.now_ms);
        if self.has(Defect::DueInSeconds) && now_ms > 1_000 {
            let now_ms = now_ms.saturating_add(999) / 1_000 * 1_000;
            return self.raw_claim(lease, &ClaimRequest { now_ms, ..want.clone() });
        }
        if self.has(Defect::NoQuarter) {
            let mut entries = Vec::new();
            while entries.len() < max {
                let one = self.raw_claim(lease, &ClaimRequest { max: 1, ..want.clone() })?;
                if one.is_empty() {
                    break;
                }
                entries.extend(one);
            }
            return Ok(entries);
        }
        let hurried = self.notes.hurried.iter().filter(|((stream, _), _)| *stream == want.stream);
        if let Some(due_ms) = hurried.map(|(_, due_ms)| *due_ms).max() {
            return self.raw_claim(lease, &ClaimRequest { now_ms: now_ms.max(due_ms), ..want.clone() });
        }
        let waits = self.notes.waits.keys().any(|(stream, _)| *stream == want.stream);
        let of_class = |class| self.notes.newest.values().filter(|newest| newest.class == class).count();
        let (opt_outs, verified) = (of_class(Class::OptOut), !self.notes.verified.is_empty());
        let order: fn(&mut Vec<Entry>, usize) = if self.has(Defect::RetriedGoLast) && waits {
            |entries, _| entries.sort_by_key(|entry| (entry.class, entry.attempt > 1, entry.seq))
        } else if self.has(Defect::VerificationsGoLast) && verified {
            |entries, _| entries.sort_by_key(|entry| entry.verification)
        } else if self.has(Defect::OptOutsGiveWay) && opt_outs >= max {
            |entries, max| give_way(entries, max, |entry| entry.class == Class::OptOut, max / 4)
        } else if self.has(Defect::HalfNotQuarter) && opt_outs == 0 {
            |entries, max| give_way(entries, max, |entry| entry.class == Class::Live, max / 2)
        } else if waits && (self.has(Defect::DueFollowsTheCalendar) || self.has(Defect::ReplacedStillWaits)) {
            return self.claim_what_waits_no_more(lease, want);
        } else {
            return self.raw_claim(lease, want);
        };
        self.choose(lease, want, |entries| order(entries, max))
    }

    /// Leaves what a note says is not due yet.
    fn claim_what_waits_no_more(&mut self, lease: &Lease, want: &ClaimRequest) -> Result<Vec<Entry>, StoreError> {
        if self.has(Defect::ReplacedStillWaits) {
            let ripe = |at: &mut super::notes::Wait| at.due_ms = if at.due_ms <= want.now_ms { 0 } else { at.due_ms };
            self.notes.waits.values_mut().for_each(ripe);
        }
        let late: Vec<_> = self.notes.waits.iter().filter(|(_, wait)| wait.due_ms > want.now_ms).collect();
        let late: Vec<_> = late.into_iter().map(|(at, _)| at.clone()).collect();
        let waits = |entry: &Entry| late.contains(&(want.stream.clone(), entry.key.clone())) && !entry.verification;
        self.choose(lease, want, |entries| entries.retain(|entry| !waits(entry)))
    }

    /// Claims everything, puts it into another order, and releases what is too much.
    fn choose(
        &mut self,
        lease: &Lease,
        want: &ClaimRequest,
        order: impl FnOnce(&mut Vec<Entry>),
    ) -> Result<Vec<Entry>, StoreError> {
        let all = self.raw_claim(lease, &ClaimRequest { max: usize::MAX, ..want.clone() })?;
        let mut chosen = all.clone();
        order(&mut chosen);
        chosen.truncate(want.max);
        let left = all.iter().filter(|entry| chosen.iter().all(|other| other.seq != entry.seq));
        let left: Vec<Settlement> =
            left.map(|entry| Settlement { seq: entry.seq, verdict: Verdict::Released }).collect();
        for Settlement { seq, .. } in &left {
            self.notes.flying.remove(seq);
        }
        self.raw_settle(lease, &want.stream, left, 0)?;
        Ok(chosen)
    }

    /// A delete in front of a state that waits is dropped.
    fn swallow_deletes(
        &mut self,
        lease: &Lease,
        want: &ClaimRequest,
        entries: Vec<Entry>,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut kept = Vec::new();
        for entry in entries {
            let at = (want.stream.clone(), entry.key.clone());
            if matches!(entry.body, EntryBody::Delete) && self.notes.newest.contains_key(&at) {
                let verdict = Verdict::Done { effect: Effect::Ignored, verify_at_ms: None };
                self.raw_settle(lease, &want.stream, vec![Settlement { seq: entry.seq, verdict }], 0)?;
                kept.extend(self.raw_claim(lease, &ClaimRequest { max: 1, ..want.clone() })?);
            } else {
                kept.push(entry);
            }
        }
        Ok(kept)
    }

    pub(super) fn raw_claim(&mut self, lease: &Lease, want: &ClaimRequest) -> Result<Vec<Entry>, StoreError> {
        let request = want.clone();
        let entries = self.write("claim", lease, move |store, lease| now(store.claim(lease, request.clone())))?;
        for entry in &entries {
            let at = (want.stream.clone(), entry.key.clone());
            self.notes.flying.insert(entry.seq, (want.stream.clone(), entry.clone(), lease.nonce));
            self.notes.hurried.remove(&at);
        }
        Ok(entries)
    }

    /// Changes what is told of an entry.
    fn bend_entry(&mut self, stream: &StreamId, entry: &mut Entry) -> Result<(), StoreError> {
        let at = (stream.clone(), entry.key.clone());
        let newest = self.notes.newest.get(&at);
        if let Some(newest) = newest.filter(|_| !entry.verification && matches!(entry.body, EntryBody::Upsert { .. })) {
            if self.has(Defect::ClassOfTheNewest) {
                entry.class = newest.class;
            }
            if self.has(Defect::ReplayForgotten) {
                entry.replay = newest.replay;
            }
        }
        if !entry.verification && !matches!(entry.body, EntryBody::Delete) {
            self.notes.newest.remove(&at);
        }
        let wait = self.notes.waits.remove(&at);
        let row = now(self.inner.get_many(stream, std::slice::from_ref(&entry.key)))?.remove(0);
        let by_row = row.is_some_and(|row| row.digest.is_none()) && !wait.is_some_and(|wait| wait.unknown);
        let by_refresh = self.notes.refreshed.contains(&at) && self.has(Defect::RefreshForgetsDoubt);
        let inherited = self.notes.inherited.remove(&at);
        if (by_row && self.has(Defect::DoubtNotTold))
            || by_refresh
            || (inherited && self.has(Defect::InheritedNotInDoubt))
        {
            entry.unknown = false;
        }
        if let EntryBody::Upsert { update, .. } = &mut entry.body {
            if let (Update::Impossible(reason), true) = (&mut *update, self.has(Defect::FieldOfReasonLost)) {
                reason.field = None;
            }
            if let (Some(DraftBody::Upsert { update: old, .. }), true, true) =
                (self.notes.verified.get(&at), entry.verification, self.has(Defect::VerifiesOldState))
            {
                *update = old.clone();
            }
        }
        if let Some(real) = self.notes.aliases.get(&entry.key) {
            entry.key = real.clone();
        }
        Ok(())
    }
}

/// When all that is taken is of one kind, and more than enough of it, the last `places` go to others.
fn give_way(entries: &mut Vec<Entry>, max: usize, of_kind: fn(&Entry) -> bool, places: usize) {
    if entries.len() <= max || !entries.iter().take(max).all(of_kind) {
        return;
    }
    let others: Vec<Entry> = entries.iter().filter(|entry| !of_kind(entry)).take(places).cloned().collect();
    entries.truncate(max - others.len());
    entries.extend(others);
}
