//! A store in memory that writes down how everything shows itself that goes in and out, and fails when it is told to.

use std::fmt::Debug;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use record::Key;
use sync_core::store::MemoryStore;
use sync_core::traits::*;
use sync_core::{PlanVersion, StoreError, StoreErrorKind, StreamId};
use timing::{Clock, ManualClock};

use crate::parties::{CANARY, Shown};

#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) inner: MemoryStore,
    pub(crate) shown: Shown,
    pub(crate) clock: ManualClock,
    /// The next look for requests takes so long.
    pub(crate) slow: Mutex<Option<Duration>>,
    /// The store cannot be written.
    pub(crate) broken: Mutex<bool>,
}

impl Told {
    fn check(&self) -> Result<(), StoreError> {
        if !*self.broken.lock().unwrap() {
            return Ok(());
        }
        let error = StoreError::new(StoreErrorKind::Unavailable, "The store is away.", "Bring it back.")
            .with_source(format!("Key (email)=(ada.{CANARY}@example.com) already exists"));
        self.shown.show(&error);
        self.shown.add(&format!("{error}"));
        Err(error)
    }

    fn told<T: Debug>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        self.shown.show(&answer);
        answer
    }
}

impl Store for Told {
    fn capabilities(&self) -> StoreCaps {
        self.inner.capabilities()
    }
}

#[async_trait]
impl LeaseStore for Told {
    async fn acquire(&self, resource: &str, owner: &OwnerId, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        self.told(self.inner.acquire(resource, owner, ttl).await)
    }
    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease, StoreError> {
        self.told(self.inner.renew(lease, ttl).await)
    }
    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        self.check()?;
        self.inner.release(lease).await
    }
}

#[async_trait]
impl StateStore for Told {
    async fn load(&self, stream: &StreamId) -> Result<Option<Checkpoint>, StoreError> {
        self.told(self.inner.load(stream).await)
    }
    async fn reset(&self, lease: &Lease, stream: &StreamId, version: u64, next: u64) -> Result<Checkpoint, StoreError> {
        self.told(self.inner.reset(lease, stream, version, next).await)
    }
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(name).await
    }
    async fn put(&self, lease: &Lease, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.check()?;
        if name.starts_with("status/") {
            self.shown.add(std::str::from_utf8(value).unwrap());
        }
        self.inner.put(lease, name, value).await
    }
    async fn leave_request(&self, request: &Request, now_ms: i64) -> Result<u64, StoreError> {
        self.shown.show(request);
        self.inner.leave_request(request, now_ms).await
    }
    async fn requests(&self) -> Result<Vec<PendingRequest>, StoreError> {
        let slow = self.slow.lock().unwrap().take();
        if let Some(slow) = slow {
            self.clock.sleep(slow).await;
        }
        self.told(self.inner.requests().await)
    }
    async fn finish_request(&self, lease: &Lease, id: u64) -> Result<(), StoreError> {
        self.inner.finish_request(lease, id).await
    }
}

#[async_trait]
impl Backlog for Told {
    async fn append(&self, lease: &Lease, page: Page, advance: Advance) -> Result<AppendReport, StoreError> {
        self.check()?;
        self.shown.show(&(lease, &page, &advance));
        self.told(self.inner.append(lease, page, advance).await)
    }
    async fn claim(&self, lease: &Lease, want: ClaimRequest) -> Result<Vec<Entry>, StoreError> {
        self.shown.show(&want);
        self.told(self.inner.claim(lease, want).await)
    }
    async fn settle(
        &self,
        lease: &Lease,
        stream: &StreamId,
        settlements: Vec<Settlement>,
        now_ms: i64,
    ) -> Result<SettleReport, StoreError> {
        self.shown.show(&settlements);
        self.told(self.inner.settle(lease, stream, settlements, now_ms).await)
    }
    async fn outdated(
        &self,
        stream: &StreamId,
        plan: PlanVersion,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        self.told(self.inner.outdated(stream, plan, after, limit).await)
    }
    async fn unsettled_before(&self, stream: &StreamId, generation: u64) -> Result<bool, StoreError> {
        self.inner.unsettled_before(stream, generation).await
    }
    async fn release_deletes(&self, lease: &Lease, want: &DeleteRelease) -> Result<Option<u64>, StoreError> {
        self.inner.release_deletes(lease, want).await
    }
    async fn inherit(&self, lease: &Lease, stream: &StreamId, due_ms: i64) -> Result<u64, StoreError> {
        self.inner.inherit(lease, stream, due_ms).await
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
        self.check()?;
        self.told(self.inner.stats(stream).await)
    }
    async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        self.shown.show(query);
        self.told(self.inner.dead_letters(query).await)
    }
    async fn drop_dead_letters(&self, lease: &Lease, filter: &LetterFilter) -> Result<u64, StoreError> {
        self.inner.drop_dead_letters(lease, filter).await
    }
}

#[async_trait]
impl RecordIndex for Told {
    async fn get_many(&self, stream: &StreamId, keys: &[Key]) -> Result<Vec<Option<IndexRow>>, StoreError> {
        self.told(self.inner.get_many(stream, keys).await)
    }
    async fn known_versions(&self, stream: &StreamId, keys: &[Key]) -> Result<Vec<Option<i64>>, StoreError> {
        self.inner.known_versions(stream, keys).await
    }
    async fn record_life(&self, stream: &StreamId, key: &Key) -> Result<RecordLife, StoreError> {
        self.inner.record_life(stream, key).await
    }
    async fn bound_count(&self, stream: &StreamId) -> Result<u64, StoreError> {
        self.inner.bound_count(stream).await
    }
    async fn unseen(
        &self,
        stream: &StreamId,
        generation: u64,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        self.told(self.inner.unseen(stream, generation, after, limit).await)
    }
    async fn mark_seen(&self, lease: &Lease, id: &StreamId, keys: &[Key], generation: u64) -> Result<(), StoreError> {
        self.inner.mark_seen(lease, id, keys, generation).await
    }
}
