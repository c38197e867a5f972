use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use record::Key;
use timing::{SharedClock, SystemClock};

use super::ledger::Ledger;
use crate::traits::{
    Advance, AppendReport, Backlog, BacklogStats, Checkpoint, ClaimRequest, DeadLetter, DeadLetterQuery, DeleteRelease,
    Entry, IndexRow, Lease, LeaseStore, LetterFilter, OwnerId, Page, PendingRequest, RecordIndex, RecordLife,
    Rejection, Request, SettleReport, Settlement, StateStore, Store, StoreCaps,
};
use crate::{PlanVersion, StoreError, StreamId};

/// A store that forgets everything with its last clone. Clones share one ledger, so that a test can end one run and start
/// the next on the same store. It is the model that durable stores are compared with.
#[derive(Clone)]
pub struct MemoryStore {
    ledger: Arc<Mutex<Ledger>>,
    clock: SharedClock,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::with_clock(SystemClock::shared())
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store whose leases end by this clock.
    pub fn with_clock(clock: SharedClock) -> Self {
        Self { ledger: Arc::default(), clock }
    }

    /// The ledger, for a change: only whoever holds the lease makes one.
    fn owned(&self, lease: &Lease) -> Result<MutexGuard<'_, Ledger>, StoreError> {
        let ledger = self.ledger();
        ledger.check(lease, self.clock.monotonic())?;
        Ok(ledger)
    }

    /// Every change of the ledger is made within one call, and checks before it changes: a panic elsewhere leaves it whole.
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

impl Store for MemoryStore {
    fn capabilities(&self) -> StoreCaps {
        StoreCaps::new(false, true)
    }
}

#[async_trait]
impl LeaseStore for MemoryStore {
    async fn acquire(&self, resource: &str, owner: &OwnerId, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        Ok(self.ledger().acquire(resource, owner, ttl, self.clock.monotonic()))
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease, StoreError> {
        self.ledger().renew(lease, ttl, self.clock.monotonic())
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        self.ledger().release(&lease);
        Ok(())
    }
}

#[async_trait]
impl StateStore for MemoryStore {
    async fn load(&self, stream: &StreamId) -> Result<Option<Checkpoint>, StoreError> {
        Ok(self.ledger().stream(stream).and_then(|stream| stream.checkpoint.clone()))
    }

    async fn reset(
        &self,
        lease: &Lease,
        stream: &StreamId,
        expected_version: u64,
        generation: u64,
    ) -> Result<Checkpoint, StoreError> {
        self.owned(lease)?.reset(stream, expected_version, generation)
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.ledger().get(name))
    }

    async fn put(&self, lease: &Lease, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.owned(lease)?.put(name, value);
        Ok(())
    }

    async fn leave_request(&self, request: &Request, now_ms: i64) -> Result<u64, StoreError> {
        Ok(self.ledger().leave_request(request, now_ms))
    }

    async fn requests(&self) -> Result<Vec<PendingRequest>, StoreError> {
        Ok(self.ledger().requests())
    }

    async fn finish_request(&self, lease: &Lease, id: u64) -> Result<(), StoreError> {
        self.owned(lease)?.finish_request(id);
        Ok(())
    }
}

#[async_trait]
impl Backlog for MemoryStore {
    async fn append(&self, lease: &Lease, page: Page, advance: Advance) -> Result<AppendReport, StoreError> {
        self.owned(lease)?.append(page, advance)
    }

    async fn claim(&self, lease: &Lease, want: ClaimRequest) -> Result<Vec<Entry>, StoreError> {
        Ok(self.owned(lease)?.claim(lease, &want))
    }

    async fn settle(
        &self,
        lease: &Lease,
        stream: &StreamId,
        settlements: Vec<Settlement>,
        now_ms: i64,
    ) -> Result<SettleReport, StoreError> {
        Ok(self.owned(lease)?.settle(lease, stream, settlements, now_ms))
    }

    async fn inherit(&self, lease: &Lease, stream: &StreamId, due_ms: i64) -> Result<u64, StoreError> {
        let mut ledger = self.owned(lease)?;
        Ok(ledger.stream_mut(stream).map_or(0, |stream| stream.inherit(lease.nonce, due_ms)))
    }

    async fn give_up_waiting(
        &self,
        lease: &Lease,
        stream: &StreamId,
        before_ms: i64,
        rejection: &Rejection,
        now_ms: i64,
    ) -> Result<u64, StoreError> {
        Ok(self.owned(lease)?.give_up_waiting(stream, before_ms, rejection, now_ms))
    }

    async fn outdated(
        &self,
        stream: &StreamId,
        plan: PlanVersion,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        Ok(self.ledger().stream(stream).map(|stream| stream.outdated(plan, after, limit)).unwrap_or_default())
    }

    async fn unsettled_before(&self, stream: &StreamId, generation: u64) -> Result<bool, StoreError> {
        Ok(self.ledger().stream(stream).is_some_and(|stream| stream.unsettled_before(generation)))
    }

    async fn release_deletes(&self, lease: &Lease, want: &DeleteRelease) -> Result<Option<u64>, StoreError> {
        Ok(self.owned(lease)?.release_deletes(want))
    }

    async fn stats(&self, stream: &StreamId) -> Result<BacklogStats, StoreError> {
        Ok(self.ledger().stats(stream))
    }

    async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        Ok(self.ledger().dead_letters(query))
    }

    async fn drop_dead_letters(&self, lease: &Lease, filter: &LetterFilter) -> Result<u64, StoreError> {
        Ok(self.owned(lease)?.drop_letters(filter))
    }
}

#[async_trait]
impl RecordIndex for MemoryStore {
    async fn get_many(&self, stream: &StreamId, keys: &[Key]) -> Result<Vec<Option<IndexRow>>, StoreError> {
        let ledger = self.ledger();
        let stream = ledger.stream(stream);
        Ok(keys.iter().map(|key| stream.and_then(|stream| stream.index.get(key).copied())).collect())
    }

    async fn known_versions(&self, stream: &StreamId, keys: &[Key]) -> Result<Vec<Option<i64>>, StoreError> {
        let ledger = self.ledger();
        let stream = ledger.stream(stream);
        Ok(keys.iter().map(|key| stream.and_then(|stream| stream.known_version(key))).collect())
    }

    async fn record_life(&self, stream: &StreamId, key: &Key) -> Result<RecordLife, StoreError> {
        Ok(self.ledger().record_life(stream, key))
    }

    async fn bound_count(&self, stream: &StreamId) -> Result<u64, StoreError> {
        Ok(self.ledger().stream(stream).map_or(0, |stream| stream.index.len() as u64))
    }

    async fn unseen(
        &self,
        stream: &StreamId,
        generation: u64,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        let ledger = self.ledger();
        let rows = ledger.stream(stream).into_iter().flat_map(|stream| &stream.index);
        Ok(rows
            .filter(|(key, row)| row.seen < generation && after.is_none_or(|after| *key > after))
            .map(|(key, _)| key.clone())
            .take(limit)
            .collect())
    }

    async fn mark_seen(
        &self,
        lease: &Lease,
        stream: &StreamId,
        keys: &[Key],
        generation: u64,
    ) -> Result<(), StoreError> {
        let mut ledger = self.owned(lease)?;
        if let Some(stream) = ledger.stream_mut(stream) {
            keys.iter().for_each(|key| stream.mark_seen(key, generation));
        }
        Ok(())
    }
}
