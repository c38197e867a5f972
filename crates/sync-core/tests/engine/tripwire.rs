//! A store whose calls can be cut off before and after any of them, as by the end of the process.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use record::Key;
use sync_core::store::MemoryStore;
use sync_core::traits::{
    Advance, AppendReport, Backlog, BacklogStats, Checkpoint, ClaimRequest, DeadLetter, DeadLetterQuery, DeleteRelease,
    Entry, IndexRow, Lease, LeaseStore, LetterFilter, OwnerId, Page, PendingRequest, RecordIndex, RecordLife,
    Rejection, Request, SettleReport, Settlement, StateStore, Store, StoreCaps,
};
use sync_core::{PlanVersion, StoreError, StoreErrorKind, StreamId};
use tokio::sync::Notify;

/// Counts the points passed, and lets nobody beyond point `at`.
#[derive(Debug)]
pub(crate) struct Tripwire {
    at: usize,
    passed: AtomicUsize,
    tripped: Notify,
}

impl Tripwire {
    pub(crate) fn new(at: usize) -> Arc<Self> {
        Arc::new(Self { at, passed: AtomicUsize::new(0), tripped: Notify::new() })
    }

    pub(crate) fn never() -> Arc<Self> {
        Self::new(usize::MAX)
    }

    pub(crate) async fn pass(&self) {
        if self.passed.fetch_add(1, Ordering::SeqCst) + 1 >= self.at {
            self.tripped.notify_one();
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn passed(&self) -> usize {
        self.passed.load(Ordering::SeqCst)
    }

    pub(crate) async fn tripped(&self) {
        self.tripped.notified().await;
    }
}

#[derive(Debug)]
pub(crate) struct WiredStore {
    pub(crate) inner: MemoryStore,
    pub(crate) wire: Arc<Tripwire>,
    /// Appends fail with this, as on a full disk.
    pub(crate) broken: Option<StoreErrorKind>,
    /// Shows the lease that was given last.
    pub(crate) lease: Arc<Mutex<Option<Lease>>>,
}

impl WiredStore {
    async fn around<T>(&self, call: impl Future<Output = T>) -> T {
        self.wire.pass().await;
        let answer = call.await;
        self.wire.pass().await;
        answer
    }

    fn check(&self) -> Result<(), StoreError> {
        match self.broken {
            Some(kind) => Err(StoreError::new(kind, "No space is left for the store.", "Make room and start again.")),
            None => Ok(()),
        }
    }
}

impl Store for WiredStore {
    fn capabilities(&self) -> StoreCaps {
        self.inner.capabilities()
    }
}

#[async_trait]
impl LeaseStore for WiredStore {
    async fn acquire(&self, resource: &str, owner: &OwnerId, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        let lease = self.around(self.inner.acquire(resource, owner, ttl)).await?;
        if lease.is_some() {
            self.lease.lock().unwrap().clone_from(&lease);
        }
        Ok(lease)
    }
    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease, StoreError> {
        // What comes by the clock alone is not counted: a long wait would make a point of every second.
        self.inner.renew(lease, ttl).await
    }
    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        self.around(self.inner.release(lease)).await
    }
}

#[async_trait]
impl StateStore for WiredStore {
    async fn load(&self, stream: &StreamId) -> Result<Option<Checkpoint>, StoreError> {
        self.around(self.inner.load(stream)).await
    }
    async fn reset(&self, lease: &Lease, stream: &StreamId, version: u64, next: u64) -> Result<Checkpoint, StoreError> {
        self.around(self.inner.reset(lease, stream, version, next)).await
    }
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.around(self.inner.get(name)).await
    }
    async fn put(&self, lease: &Lease, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.around(self.inner.put(lease, name, value)).await
    }
    async fn leave_request(&self, request: &Request, now_ms: i64) -> Result<u64, StoreError> {
        self.inner.leave_request(request, now_ms).await
    }
    async fn requests(&self) -> Result<Vec<PendingRequest>, StoreError> {
        self.inner.requests().await
    }
    async fn finish_request(&self, lease: &Lease, id: u64) -> Result<(), StoreError> {
        self.around(self.inner.finish_request(lease, id)).await
    }
}

#[async_trait]
impl Backlog for WiredStore {
    async fn append(&self, lease: &Lease, page: Page, advance: Advance) -> Result<AppendReport, StoreError> {
        self.check()?;
        self.around(self.inner.append(lease, page, advance)).await
    }
    async fn claim(&self, lease: &Lease, want: ClaimRequest) -> Result<Vec<Entry>, StoreError> {
        self.around(self.inner.claim(lease, want)).await
    }
    async fn settle(
        &self,
        lease: &Lease,
        stream: &StreamId,
        settlements: Vec<Settlement>,
        now_ms: i64,
    ) -> Result<SettleReport, StoreError> {
        self.around(self.inner.settle(lease, stream, settlements, now_ms)).await
    }
    async fn outdated(
        &self,
        stream: &StreamId,
        plan: PlanVersion,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        self.around(self.inner.outdated(stream, plan, after, limit)).await
    }
    async fn unsettled_before(&self, stream: &StreamId, generation: u64) -> Result<bool, StoreError> {
        self.around(self.inner.unsettled_before(stream, generation)).await
    }
    async fn release_deletes(&self, lease: &Lease, want: &DeleteRelease) -> Result<Option<u64>, StoreError> {
        self.around(self.inner.release_deletes(lease, want)).await
    }
    async fn inherit(&self, lease: &Lease, stream: &StreamId, due_ms: i64) -> Result<u64, StoreError> {
        self.around(self.inner.inherit(lease, stream, due_ms)).await
    }
    async fn give_up_waiting(
        &self,
        lease: &Lease,
        stream: &StreamId,
        before_ms: i64,
        rejection: &Rejection,
        now_ms: i64,
    ) -> Result<u64, StoreError> {
        self.inner.give_up_waiting(lease, stream, before_ms, rejection, now_ms).await
    }
    async fn stats(&self, stream: &StreamId) -> Result<BacklogStats, StoreError> {
        self.around(self.inner.stats(stream)).await
    }
    async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        self.inner.dead_letters(query).await
    }
    async fn drop_dead_letters(&self, lease: &Lease, filter: &LetterFilter) -> Result<u64, StoreError> {
        self.inner.drop_dead_letters(lease, filter).await
    }
}

#[async_trait]
impl RecordIndex for WiredStore {
    async fn get_many(&self, stream: &StreamId, keys: &[Key]) -> Result<Vec<Option<IndexRow>>, StoreError> {
        self.inner.get_many(stream, keys).await
    }
    async fn known_versions(&self, stream: &StreamId, keys: &[Key]) -> Result<Vec<Option<i64>>, StoreError> {
        self.around(self.inner.known_versions(stream, keys)).await
    }
    async fn record_life(&self, stream: &StreamId, key: &Key) -> Result<RecordLife, StoreError> {
        self.around(self.inner.record_life(stream, key)).await
    }
    async fn bound_count(&self, stream: &StreamId) -> Result<u64, StoreError> {
        self.around(self.inner.bound_count(stream)).await
    }
    async fn unseen(
        &self,
        stream: &StreamId,
        generation: u64,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        self.around(self.inner.unseen(stream, generation, after, limit)).await
    }
    async fn mark_seen(&self, lease: &Lease, id: &StreamId, keys: &[Key], generation: u64) -> Result<(), StoreError> {
        self.inner.mark_seen(lease, id, keys, generation).await
    }
}
