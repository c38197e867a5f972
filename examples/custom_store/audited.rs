//! A store of one's own: whatever store there is, with a log of who wrote what and when. It logs numbers and names, and
//! nothing that records say.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use record::Key;
use sync_core::traits::{
    Advance, AppendReport, Backlog, BacklogStats, Checkpoint, ClaimRequest, DeadLetter, DeadLetterQuery, DeleteRelease,
    Entry, IndexRow, Lease, LeaseStore, LetterFilter, OwnerId, Page, PendingRequest, RecordIndex, RecordLife,
    Rejection, Request, SettleReport, Settlement, StateStore, Store, StoreCaps,
};
use sync_core::{PlanVersion, StoreError, StreamId};

/// A store with an audit log.
#[derive(Debug)]
pub(crate) struct AuditedStore<S> {
    inner: S,
    log: Mutex<Vec<String>>,
}

impl<S: Store> AuditedStore<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, log: Mutex::default() }
    }

    /// The log so far, oldest line first.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Logs a write that was made; one that was refused changed nothing.
    fn made<T>(&self, line: String, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        if answer.is_ok() {
            self.log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
        answer
    }
}

impl<S: Store> Store for AuditedStore<S> {
    fn capabilities(&self) -> StoreCaps {
        self.inner.capabilities()
    }
}

#[async_trait]
impl<S: Store> LeaseStore for AuditedStore<S> {
    async fn acquire(&self, resource: &str, owner: &OwnerId, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        let lease = self.inner.acquire(resource, owner, ttl).await;
        self.made(format!("{} asks for {resource}", owner.0), lease)
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease, StoreError> {
        self.inner.renew(lease, ttl).await
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        let line = format!("{} is given back, fence {}", lease.resource, lease.fence);
        let answer = self.inner.release(lease).await;
        self.made(line, answer)
    }
}

#[async_trait]
impl<S: Store> StateStore for AuditedStore<S> {
    async fn load(&self, stream: &StreamId) -> Result<Option<Checkpoint>, StoreError> {
        self.inner.load(stream).await
    }

    async fn reset(
        &self,
        lease: &Lease,
        stream: &StreamId,
        expected_version: u64,
        generation: u64,
    ) -> Result<Checkpoint, StoreError> {
        let answer = self.inner.reset(lease, stream, expected_version, generation).await;
        self.made(format!("{stream} begins generation {generation}, fence {}", lease.fence), answer)
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(name).await
    }

    async fn leave_request(&self, request: &Request, now_ms: i64) -> Result<u64, StoreError> {
        let answer = self.inner.leave_request(request, now_ms).await;
        self.made("an operator asks for something".to_owned(), answer)
    }

    async fn requests(&self) -> Result<Vec<PendingRequest>, StoreError> {
        self.inner.requests().await
    }

    async fn finish_request(&self, lease: &Lease, id: u64) -> Result<(), StoreError> {
        let answer = self.inner.finish_request(lease, id).await;
        self.made(format!("request {id} is carried out, fence {}", lease.fence), answer)
    }

    async fn put(&self, lease: &Lease, name: &str, value: &[u8]) -> Result<(), StoreError> {
        let answer = self.inner.put(lease, name, value).await;
        self.made(format!("{name} is put, {} bytes, fence {}", value.len(), lease.fence), answer)
    }
}

#[async_trait]
impl<S: Store> Backlog for AuditedStore<S> {
    async fn append(&self, lease: &Lease, page: Page, advance: Advance) -> Result<AppendReport, StoreError> {
        let line = format!("{} takes {} changes, fence {}", page.stream, page.drafts.len(), lease.fence);
        let answer = self.inner.append(lease, page, advance).await;
        self.made(line, answer)
    }

    async fn claim(&self, lease: &Lease, want: ClaimRequest) -> Result<Vec<Entry>, StoreError> {
        let stream = want.stream.clone();
        let answer = self.inner.claim(lease, want).await;
        let claimed = answer.as_ref().map_or(0, Vec::len);
        self.made(format!("{stream} claims {claimed} entries, fence {}", lease.fence), answer)
    }

    async fn settle(
        &self,
        lease: &Lease,
        stream: &StreamId,
        settlements: Vec<Settlement>,
        now_ms: i64,
    ) -> Result<SettleReport, StoreError> {
        let line = format!("{stream} settles {} entries, fence {}", settlements.len(), lease.fence);
        let answer = self.inner.settle(lease, stream, settlements, now_ms).await;
        self.made(line, answer)
    }

    async fn inherit(&self, lease: &Lease, stream: &StreamId, due_ms: i64) -> Result<u64, StoreError> {
        let answer = self.inner.inherit(lease, stream, due_ms).await;
        self.made(format!("{stream} is inherited, fence {}", lease.fence), answer)
    }

    async fn give_up_waiting(
        &self,
        lease: &Lease,
        stream: &StreamId,
        before_ms: i64,
        rejection: &Rejection,
        now_ms: i64,
    ) -> Result<u64, StoreError> {
        let answer = self.inner.give_up_waiting(lease, stream, before_ms, rejection, now_ms).await;
        self.made(format!("{stream} gives up waiting, fence {}", lease.fence), answer)
    }

    async fn outdated(
        &self,
        stream: &StreamId,
        plan: PlanVersion,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        self.inner.outdated(stream, plan, after, limit).await
    }

    async fn release_deletes(&self, lease: &Lease, want: &DeleteRelease) -> Result<Option<u64>, StoreError> {
        self.inner.release_deletes(lease, want).await
    }

    async fn unsettled_before(&self, stream: &StreamId, generation: u64) -> Result<bool, StoreError> {
        self.inner.unsettled_before(stream, generation).await
    }

    async fn stats(&self, stream: &StreamId) -> Result<BacklogStats, StoreError> {
        self.inner.stats(stream).await
    }

    async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        self.inner.dead_letters(query).await
    }

    async fn drop_dead_letters(&self, lease: &Lease, filter: &LetterFilter) -> Result<u64, StoreError> {
        let answer = self.inner.drop_dead_letters(lease, filter).await;
        let dropped = answer.as_ref().copied().unwrap_or_default();
        self.made(format!("{dropped} dead letters are dropped, fence {}", lease.fence), answer)
    }
}

#[async_trait]
impl<S: Store> RecordIndex for AuditedStore<S> {
    async fn get_many(&self, stream: &StreamId, keys: &[Key]) -> Result<Vec<Option<IndexRow>>, StoreError> {
        self.inner.get_many(stream, keys).await
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
        self.inner.unseen(stream, generation, after, limit).await
    }

    async fn mark_seen(
        &self,
        lease: &Lease,
        stream: &StreamId,
        keys: &[Key],
        generation: u64,
    ) -> Result<(), StoreError> {
        let answer = self.inner.mark_seen(lease, stream, keys, generation).await;
        self.made(format!("{stream} marks {} keys, fence {}", keys.len(), lease.fence), answer)
    }
}
