//! The faces of the store with a defect; what is small is changed here.

use std::time::Duration;

use async_trait::async_trait;
use record::Key;
use sync_core::traits::{
    Advance, AppendReport, Backlog, BacklogStats, Checkpoint, ClaimRequest, DeadLetter, DeadLetterQuery, DeleteRelease,
    Entry, EntryState, IndexRow, Lease, LeaseStore, LetterFilter, OwnerId, Page, PendingRequest, RecordIndex,
    RecordLife, Rejection, Request, SettleReport, Settlement, StateStore, Store, StoreCaps,
};
use sync_core::{PlanVersion, StoreError, StoreErrorKind, StreamId};

use super::Defect;
use super::machine::{DefectiveStore, error, now};

/// Lets others run between a check and what follows from it.
fn dawdle() {
    for _ in 0..200 {
        std::thread::yield_now();
    }
}

impl Store for DefectiveStore {
    fn capabilities(&self) -> StoreCaps {
        StoreCaps::new(true, !self.machine().exclusive)
    }
}

#[async_trait]
impl LeaseStore for DefectiveStore {
    async fn acquire(&self, resource: &str, owner: &OwnerId, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        if self.machine().has(Defect::LookThenTake) {
            let free = {
                let mut machine = self.machine();
                let probe = machine.take(resource, owner, ttl, |fence| fence);
                if let Some(probe) = &probe {
                    let inner = machine.stands_for(probe);
                    now(machine.inner.release(inner))?;
                }
                probe.is_some()
            };
            dawdle();
            let mut machine = self.machine();
            if let Some(held) = machine.newest(resource).filter(|_| free) {
                let inner = machine.stands_for(&held);
                now(machine.inner.release(inner))?;
            }
            return Ok(machine.take(resource, owner, ttl, |fence| fence));
        }
        let mut machine = self.machine();
        if machine.has(Defect::SecondOwnerTakesOver)
            && let Some(held) = machine.newest(resource)
        {
            let inner = machine.stands_for(&held);
            now(machine.inner.release(inner))?;
        }
        let ttl = if machine.has(Defect::EndsAnInstantLate) { ttl + Duration::from_millis(1) } else { ttl };
        let before = machine.notes.fences_before;
        let lease = machine.take(resource, owner, ttl, |fence| fence - before);
        let told = if machine.has(Defect::EndsAnInstantLate) { ttl - Duration::from_millis(1) } else { ttl };
        Ok(lease.map(|lease| Lease { ttl: lease.ttl.map(|_| told), ..lease }))
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease, StoreError> {
        let mut machine = self.machine();
        let (forgotten, never_shorter) =
            (machine.has(Defect::RenewalForgotten), machine.has(Defect::RenewalNeverShortens));
        let answer = machine.write("renew", lease, move |store, lease| {
            let kept = lease.ttl.filter(|kept| never_shorter && ttl < *kept);
            if forgotten {
                now(store.put(lease, "", b""))
            } else {
                now(store.renew(lease, kept.unwrap_or(ttl))).map(drop)
            }
        });
        let exclusive = machine.exclusive;
        let told = |lease: Lease| Lease { ttl: (!exclusive).then_some(ttl), ..lease };
        let newest = machine.newest(&lease.resource).is_some_and(|newest| newest.nonce == lease.nonce);
        if answer.is_err()
            && machine.has(Defect::EndedLeaseRenewed)
            && newest
            && !machine.notes.released.contains(&lease.nonce)
        {
            let revived = machine.take(&lease.resource, &OwnerId("suite".into()), ttl, |fence| fence);
            return revived.map(told).ok_or_else(|| error(StoreErrorKind::Fenced));
        }
        answer.map(|()| told(lease.clone()))
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        let mut machine = self.machine();
        machine.notes.released.insert(lease.nonce);
        if machine.has(Defect::ReleaseDoesNothing) {
            return Ok(());
        }
        let lease = match machine.newest(&lease.resource) {
            Some(newest) if machine.has(Defect::ReleaseTakesFromSuccessor) => newest,
            _ => lease,
        };
        if machine.has(Defect::FenceStartsOver) {
            machine.notes.fences_before = machine.newest(&lease.resource).map_or(0, |newest| newest.fence);
        }
        machine.write("release", &lease, |store, lease| now(store.release(lease.clone())))
    }
}

#[async_trait]
impl StateStore for DefectiveStore {
    async fn load(&self, stream: &StreamId) -> Result<Option<Checkpoint>, StoreError> {
        let mut machine = self.machine();
        machine.notes.loads += 1;
        let at = now(machine.inner.load(stream))?;
        if machine.has(Defect::SecondOpenerLags) {
            let shown = if self.beside { machine.notes.kept.get(stream).cloned() } else { at.clone() };
            if let Some(at) = at.filter(|_| !self.beside) {
                machine.notes.kept.insert(stream.clone(), at);
            }
            return Ok(shown);
        }
        let Some(mut at) = at else { return Ok(None) };
        if machine.has(Defect::RejectedNotRead) {
            at.totals.read -= machine.notes.rejected.get(stream).copied().unwrap_or_default();
        }
        if let Some(kept) = machine.notes.kept.get(stream) {
            if machine.has(Defect::ResetKeepsPosition) && at.position.is_none() {
                at.position.clone_from(&kept.position);
            }
            if machine.has(Defect::ResetForgetsTotals) {
                at.totals.read -= kept.totals.read;
            }
        }
        Ok(Some(at))
    }

    async fn reset(
        &self,
        lease: &Lease,
        stream: &StreamId,
        expected_version: u64,
        generation: u64,
    ) -> Result<Checkpoint, StoreError> {
        let mut machine = self.machine();
        let before = now(machine.inner.load(stream))?;
        let id = stream.clone();
        let at = machine
            .write("reset", lease, move |store, lease| now(store.reset(lease, &id, expected_version, generation)));
        if let (Ok(_), Some(before)) = (&at, before) {
            machine.notes.kept.insert(stream.clone(), before);
        }
        at
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let machine = self.machine();
        let name = if machine.has(Defect::NamesFolded) { name.to_lowercase() } else { name.to_owned() };
        let value = now(machine.inner.get(&name))?;
        Ok(value.filter(|value| !value.is_empty() || !machine.has(Defect::EmptyValueAbsent)))
    }

    async fn leave_request(&self, request: &Request, now_ms: i64) -> Result<u64, StoreError> {
        let mut machine = self.machine();
        let same = now(machine.inner.requests())?.into_iter().find(|other| other.request == *request);
        if let Some(same) = same.filter(|_| machine.has(Defect::EqualRequestsMerged)) {
            return Ok(same.id);
        }
        let request = request.clone();
        let anybody = Lease { resource: "".into(), fence: 0, nonce: 0, ttl: None };
        machine.write("leave_request", &anybody, move |store, _| now(store.leave_request(&request, now_ms)))
    }

    async fn requests(&self) -> Result<Vec<PendingRequest>, StoreError> {
        let machine = self.machine();
        let mut requests = now(machine.inner.requests())?;
        if machine.has(Defect::RequestsNewestFirst) {
            requests.reverse();
        }
        Ok(requests)
    }

    async fn finish_request(&self, lease: &Lease, id: u64) -> Result<(), StoreError> {
        let mut machine = self.machine();
        let waiting = now(machine.inner.requests())?;
        let gone = waiting.iter().all(|request| request.id != id);
        let next = waiting.first().filter(|_| gone && machine.has(Defect::FinishTakesTheNext));
        let id = next.map_or(id, |request| request.id);
        machine.write("finish_request", lease, move |store, lease| now(store.finish_request(lease, id)))
    }

    async fn put(&self, lease: &Lease, name: &str, value: &[u8]) -> Result<(), StoreError> {
        let mut machine = self.machine();
        let name = if machine.has(Defect::NamesFolded) { name.to_lowercase() } else { name.to_owned() };
        let length = if machine.has(Defect::ValuesCut) { value.len().min(65_536) } else { value.len() };
        let value = value[..length].to_vec();
        machine.write("put", lease, move |store, lease| now(store.put(lease, &name, &value)))
    }
}

#[async_trait]
impl Backlog for DefectiveStore {
    async fn append(&self, lease: &Lease, page: Page, advance: Advance) -> Result<AppendReport, StoreError> {
        let early = page.drafts.is_empty() && advance.expected_version <= 3;
        if self.machine().has(Defect::CheckThenWrite) && early {
            // Whoever was let in once is let in once more, at whatever time that is written.
            if self.machine().notes.let_in.replace(lease.nonce) != Some(lease.nonce) {
                let mut machine = self.machine();
                let answer = machine.append(lease, page, advance);
                machine.notes.let_in = machine.notes.let_in.filter(|_| answer.is_ok());
                return answer;
            }
            let wait_for = |what: &dyn Fn() -> bool| {
                let turn = |_| {
                    std::thread::yield_now();
                    what()
                };
                (0..2_000_000).any(turn)
            };
            let taken_over =
                || self.machine().newest(&lease.resource).is_some_and(|newest| newest.nonce != lease.nonce);
            if wait_for(&taken_over) {
                // The new holder looks at what there is before this is written.
                let loads = self.machine().notes.loads;
                wait_for(&|| self.machine().notes.loads > loads);
            }
            let mut machine = self.machine();
            let newest = machine.newest(&lease.resource).unwrap_or_else(|| lease.clone());
            return machine.append(&newest, page, advance);
        }
        self.machine().append(lease, page, advance)
    }

    async fn claim(&self, lease: &Lease, want: ClaimRequest) -> Result<Vec<Entry>, StoreError> {
        self.machine().claim(lease, &want)
    }

    async fn settle(
        &self,
        lease: &Lease,
        stream: &StreamId,
        settlements: Vec<Settlement>,
        now_ms: i64,
    ) -> Result<SettleReport, StoreError> {
        self.machine().settle(lease, stream, settlements, now_ms)
    }

    async fn inherit(&self, lease: &Lease, stream: &StreamId, due_ms: i64) -> Result<u64, StoreError> {
        self.machine().inherit(lease, stream, due_ms)
    }

    async fn give_up_waiting(
        &self,
        lease: &Lease,
        stream: &StreamId,
        before_ms: i64,
        rejection: &Rejection,
        now_ms: i64,
    ) -> Result<u64, StoreError> {
        let mut machine = self.machine();
        let before_ms = if machine.has(Defect::GivesUpTooEarly) { before_ms.saturating_add(1) } else { before_ms };
        let (id, reason) = (stream.clone(), rejection.clone());
        let many = machine.write("give_up_waiting", lease, move |store, lease| {
            now(store.give_up_waiting(lease, &id, before_ms, &reason, now_ms))
        })?;
        if machine.has(Defect::GivingUpReleases) {
            let last = sync_core::Seq(u64::MAX >> 1);
            let all = DeleteRelease { stream: stream.clone(), held_to: last, children: Vec::new(), children_to: last };
            machine.release_deletes(lease, &all)?;
        }
        let query = DeadLetterQuery { limit: usize::MAX, ..DeadLetterQuery::default() };
        for letter in now(machine.inner.dead_letters(&query))? {
            if letter.rejection == *rejection {
                machine.notes.orphans.insert((letter.stream, letter.key), rejection.clone());
            }
        }
        Ok(if machine.has(Defect::GivenUpNotCounted) { 0 } else { many })
    }

    async fn outdated(
        &self,
        stream: &StreamId,
        plan: PlanVersion,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        let machine = self.machine();
        let mut keys = now(machine.inner.outdated(stream, plan, after, limit))?;
        if machine.has(Defect::OldVerificationsUnlisted) {
            keys.retain(|key| !machine.notes.verified.contains_key(&(stream.clone(), key.clone())));
        }
        if machine.has(Defect::OldOrphansUnlisted) {
            keys.retain(|key| !machine.notes.orphans.contains_key(&(stream.clone(), key.clone())));
        }
        Ok(keys)
    }

    async fn unsettled_before(&self, stream: &StreamId, generation: u64) -> Result<bool, StoreError> {
        let machine = self.machine();
        let generation = generation + u64::from(machine.has(Defect::UnsettledCountsMet));
        now(machine.inner.unsettled_before(stream, generation))
    }

    async fn release_deletes(&self, lease: &Lease, want: &DeleteRelease) -> Result<Option<u64>, StoreError> {
        self.machine().release_deletes(lease, want)
    }

    async fn stats(&self, stream: &StreamId) -> Result<BacklogStats, StoreError> {
        let machine = self.machine();
        let mut stats = now(machine.inner.stats(stream))?;
        if machine.has(Defect::HeldNotCounted) {
            stats.held = 0;
        }
        if machine.has(Defect::WaitingNotCounted) {
            stats.waiting = 0;
        }
        if machine.has(Defect::WaitingIsDue) && stats.waiting > 0 {
            stats.next_due_ms = Some(0);
        }
        if machine.has(Defect::VerificationsAreBacklog) {
            stats.queued += stats.verifications;
        }
        Ok(stats)
    }

    async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        self.machine().dead_letters(query)
    }

    async fn drop_dead_letters(&self, lease: &Lease, filter: &LetterFilter) -> Result<u64, StoreError> {
        self.machine().drop_dead_letters(lease, filter)
    }
}

#[async_trait]
impl RecordIndex for DefectiveStore {
    async fn get_many(&self, stream: &StreamId, keys: &[Key]) -> Result<Vec<Option<IndexRow>>, StoreError> {
        let machine = self.machine();
        let rows = now(machine.inner.get_many(stream, keys))?;
        if !machine.has(Defect::DropForgetsDoubt) {
            return Ok(rows);
        }
        let dropped = |key: &Key| machine.notes.dropped.contains(&(stream.clone(), key.clone()));
        let shown = keys.iter().zip(rows).map(|(key, row)| row.filter(|row| row.digest.is_some() || !dropped(key)));
        Ok(shown.collect())
    }

    async fn known_versions(&self, stream: &StreamId, keys: &[Key]) -> Result<Vec<Option<i64>>, StoreError> {
        self.machine().known_versions(stream, keys)
    }

    async fn record_life(&self, stream: &StreamId, key: &Key) -> Result<RecordLife, StoreError> {
        let machine = self.machine();
        let mut life = now(machine.inner.record_life(stream, key))?;
        if machine.has(Defect::LifeForgetsFlying) {
            life.entries.retain(|entry| entry.state != EntryState::InFlight);
        }
        if machine.has(Defect::LifeHidesLetters) {
            life.dead_letter = None;
        }
        if machine.has(Defect::LifeStaysInItsStream) {
            life.children.retain(|child| child.stream == *stream);
            life.children_count = life.children.len() as u64;
        }
        if machine.has(Defect::LifeNamesFirstParent) {
            life.entries.iter_mut().for_each(|entry| entry.waiting_for.truncate(1));
        }
        Ok(life)
    }

    async fn bound_count(&self, stream: &StreamId) -> Result<u64, StoreError> {
        let machine = self.machine();
        let deleted = if machine.has(Defect::DeletedStillBound) { machine.notes.deleted } else { 0 };
        Ok(now(machine.inner.bound_count(stream))? + deleted)
    }

    async fn unseen(
        &self,
        stream: &StreamId,
        generation: u64,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        let machine = self.machine();
        let mut keys = now(machine.inner.unseen(stream, generation, after, limit))?;
        if machine.has(Defect::UnseenSkipsOne) && after.is_some() && !keys.is_empty() {
            keys.remove(0);
        }
        Ok(keys)
    }

    async fn mark_seen(
        &self,
        lease: &Lease,
        stream: &StreamId,
        keys: &[Key],
        generation: u64,
    ) -> Result<(), StoreError> {
        let (stream, keys) = (stream.clone(), keys.to_vec());
        self.machine()
            .write("mark_seen", lease, move |store, lease| now(store.mark_seen(lease, &stream, &keys, generation)))
    }
}
