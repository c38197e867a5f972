//! A store around another one, with a hook before and after every call: to count calls, to fail the n-th, to end the process
//! at a point, or to check something at each commit.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use record::Key;
use sync_core::traits::{
    Advance, AppendReport, Backlog, BacklogStats, Checkpoint, ClaimRequest, DeadLetter, DeadLetterQuery, DeleteRelease,
    Entry, IndexRow, Lease, LeaseStore, LetterFilter, OwnerId, Page, PendingRequest, RecordIndex, RecordLife,
    Rejection, Request, SettleReport, Settlement, StateStore, Store, StoreCaps,
};
use sync_core::{PlanVersion, StoreError, StreamId};

/// A call of a store, with what a hook may want to know of it.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The method's name.
    pub name: &'static str,
    /// The lease it carries, where it carries one.
    pub lease: Option<&'a Lease>,
    /// What is particular to it.
    pub detail: Detail<'a>,
}

/// What is particular to a call.
#[derive(Debug, Clone, Copy)]
pub enum Detail<'a> {
    /// Nothing.
    None,
    /// A page and its position.
    Append(&'a Page, &'a Advance),
    /// Settlements of a stream.
    Settle(&'a StreamId, &'a [Settlement]),
    /// A small value's name.
    Value(&'a str),
    /// A stream.
    Stream(&'a StreamId),
}

/// What a call answered, as far as a hook may want to know.
#[derive(Debug, Clone, Copy)]
pub enum Answer<'a> {
    /// It failed.
    Failed(&'a StoreError),
    /// It succeeded.
    Done,
    /// A lease was taken, or not.
    Acquired(Option<&'a Lease>),
    /// A page was appended.
    Appended(&'a AppendReport),
    /// Entries were claimed.
    Claimed(&'a [Entry]),
    /// Entries were settled.
    Settled(&'a SettleReport),
    /// So many were counted, listed or changed.
    Count(u64),
}

/// What happens around every call.
#[async_trait]
pub trait Hook: Debug + Send + Sync {
    /// Before the call. An error is answered in its place: it had no effect.
    ///
    /// # Errors
    /// What the caller is to be told.
    async fn before(&self, _call: &Call<'_>) -> Result<(), StoreError> {
        Ok(())
    }

    /// After the call. An error is answered in the place of the answer: the call had its effect all the same.
    ///
    /// # Errors
    /// What the caller is to be told.
    async fn after(&self, _call: &Call<'_>, _answer: &Answer<'_>) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The store with its hook. A call is over before anything else of its thread goes on, whatever threads the store has of its
/// own: a run over it goes the same way each time.
#[derive(Debug, Clone)]
pub struct WrappedStore {
    inner: Arc<dyn Store>,
    hook: Arc<dyn Hook>,
}

impl WrappedStore {
    /// The store, with a hook around every call.
    pub fn new(inner: Arc<dyn Store>, hook: Arc<dyn Hook>) -> Self {
        Self { inner, hook }
    }

    async fn around<T: Send>(
        &self,
        call: Call<'_>,
        work: impl Future<Output = Result<T, StoreError>> + Send,
        shown: impl for<'b> Fn(&'b T) -> Answer<'b> + Send,
    ) -> Result<T, StoreError> {
        self.hook.before(&call).await?;
        let answer = futures::executor::block_on(work);
        let seen = answer.as_ref().map_or_else(Answer::Failed, shown);
        self.hook.after(&call, &seen).await?;
        answer
    }
}

fn call<'a>(name: &'static str, lease: Option<&'a Lease>, detail: Detail<'a>) -> Call<'a> {
    Call { name, lease, detail }
}

fn size(count: usize) -> Answer<'static> {
    Answer::Count(u64::try_from(count).unwrap_or(u64::MAX))
}

impl Store for WrappedStore {
    fn capabilities(&self) -> StoreCaps {
        self.inner.capabilities()
    }
}

#[async_trait]
impl LeaseStore for WrappedStore {
    async fn acquire(&self, resource: &str, owner: &OwnerId, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        let call = call("acquire", None, Detail::Value(resource));
        self.around(call, self.inner.acquire(resource, owner, ttl), |lease| Answer::Acquired(lease.as_ref())).await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease, StoreError> {
        let call = call("renew", Some(lease), Detail::None);
        self.around(call, self.inner.renew(lease, ttl), |_| Answer::Done).await
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        let call = call("release", Some(&lease), Detail::None);
        self.around(call, self.inner.release(lease.clone()), |()| Answer::Done).await
    }
}

#[async_trait]
impl StateStore for WrappedStore {
    async fn load(&self, stream: &StreamId) -> Result<Option<Checkpoint>, StoreError> {
        self.around(call("load", None, Detail::Stream(stream)), self.inner.load(stream), |_| Answer::Done).await
    }

    async fn reset(
        &self,
        lease: &Lease,
        stream: &StreamId,
        expected_version: u64,
        generation: u64,
    ) -> Result<Checkpoint, StoreError> {
        let call = call("reset", Some(lease), Detail::Stream(stream));
        self.around(call, self.inner.reset(lease, stream, expected_version, generation), |_| Answer::Done).await
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.around(call("get", None, Detail::Value(name)), self.inner.get(name), |_| Answer::Done).await
    }

    async fn leave_request(&self, request: &Request, now_ms: i64) -> Result<u64, StoreError> {
        let call = call("leave_request", None, Detail::None);
        self.around(call, self.inner.leave_request(request, now_ms), |_| Answer::Done).await
    }

    async fn requests(&self) -> Result<Vec<PendingRequest>, StoreError> {
        self.around(call("requests", None, Detail::None), self.inner.requests(), |found| size(found.len())).await
    }

    async fn finish_request(&self, lease: &Lease, id: u64) -> Result<(), StoreError> {
        let call = call("finish_request", Some(lease), Detail::None);
        self.around(call, self.inner.finish_request(lease, id), |()| Answer::Done).await
    }

    async fn put(&self, lease: &Lease, name: &str, value: &[u8]) -> Result<(), StoreError> {
        let call = call("put", Some(lease), Detail::Value(name));
        self.around(call, self.inner.put(lease, name, value), |()| Answer::Done).await
    }
}

#[async_trait]
impl Backlog for WrappedStore {
    async fn append(&self, lease: &Lease, page: Page, advance: Advance) -> Result<AppendReport, StoreError> {
        // The page is given away, so the hooks stand around it by hand.
        self.hook.before(&call("append", Some(lease), Detail::Append(&page, &advance))).await?;
        let stream = page.stream.clone();
        let answer = futures::executor::block_on(self.inner.append(lease, page, advance));
        let seen = answer.as_ref().map_or_else(Answer::Failed, Answer::Appended);
        self.hook.after(&call("append", Some(lease), Detail::Stream(&stream)), &seen).await?;
        answer
    }

    async fn claim(&self, lease: &Lease, want: ClaimRequest) -> Result<Vec<Entry>, StoreError> {
        let stream = want.stream.clone();
        let call = call("claim", Some(lease), Detail::Stream(&stream));
        self.around(call, self.inner.claim(lease, want), |entries| Answer::Claimed(entries)).await
    }

    async fn settle(
        &self,
        lease: &Lease,
        stream: &StreamId,
        settlements: Vec<Settlement>,
        now_ms: i64,
    ) -> Result<SettleReport, StoreError> {
        let shown = settlements.clone();
        let call = call("settle", Some(lease), Detail::Settle(stream, &shown));
        self.around(call, self.inner.settle(lease, stream, settlements, now_ms), |report| Answer::Settled(report)).await
    }

    async fn inherit(&self, lease: &Lease, stream: &StreamId, due_ms: i64) -> Result<u64, StoreError> {
        let call = call("inherit", Some(lease), Detail::Stream(stream));
        self.around(call, self.inner.inherit(lease, stream, due_ms), |count| Answer::Count(*count)).await
    }

    async fn give_up_waiting(
        &self,
        lease: &Lease,
        stream: &StreamId,
        before_ms: i64,
        rejection: &Rejection,
        now_ms: i64,
    ) -> Result<u64, StoreError> {
        let call = call("give_up_waiting", Some(lease), Detail::Stream(stream));
        let work = self.inner.give_up_waiting(lease, stream, before_ms, rejection, now_ms);
        self.around(call, work, |count| Answer::Count(*count)).await
    }

    async fn outdated(
        &self,
        stream: &StreamId,
        plan: PlanVersion,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        let call = call("outdated", None, Detail::Stream(stream));
        self.around(call, self.inner.outdated(stream, plan, after, limit), |keys| size(keys.len())).await
    }

    async fn unsettled_before(&self, stream: &StreamId, generation: u64) -> Result<bool, StoreError> {
        let call = call("unsettled_before", None, Detail::Stream(stream));
        self.around(call, self.inner.unsettled_before(stream, generation), |_| Answer::Done).await
    }

    async fn release_deletes(&self, lease: &Lease, want: &DeleteRelease) -> Result<Option<u64>, StoreError> {
        let call = call("release_deletes", Some(lease), Detail::Stream(&want.stream));
        let work = self.inner.release_deletes(lease, want);
        self.around(call, work, |released| released.map_or(Answer::Done, Answer::Count)).await
    }

    async fn stats(&self, stream: &StreamId) -> Result<BacklogStats, StoreError> {
        self.around(call("stats", None, Detail::Stream(stream)), self.inner.stats(stream), |_| Answer::Done).await
    }

    async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        let call = call("dead_letters", None, Detail::None);
        self.around(call, self.inner.dead_letters(query), |letters| size(letters.len())).await
    }

    async fn drop_dead_letters(&self, lease: &Lease, filter: &LetterFilter) -> Result<u64, StoreError> {
        let call = call("drop_dead_letters", Some(lease), Detail::None);
        self.around(call, self.inner.drop_dead_letters(lease, filter), |count| Answer::Count(*count)).await
    }
}

#[async_trait]
impl RecordIndex for WrappedStore {
    async fn get_many(&self, stream: &StreamId, keys: &[Key]) -> Result<Vec<Option<IndexRow>>, StoreError> {
        let call = call("get_many", None, Detail::Stream(stream));
        self.around(call, self.inner.get_many(stream, keys), |_| Answer::Done).await
    }

    async fn known_versions(&self, stream: &StreamId, keys: &[Key]) -> Result<Vec<Option<i64>>, StoreError> {
        let call = call("known_versions", None, Detail::Stream(stream));
        self.around(call, self.inner.known_versions(stream, keys), |_| Answer::Done).await
    }

    async fn record_life(&self, stream: &StreamId, key: &Key) -> Result<RecordLife, StoreError> {
        let call = call("record_life", None, Detail::Stream(stream));
        self.around(call, self.inner.record_life(stream, key), |_| Answer::Done).await
    }

    async fn bound_count(&self, stream: &StreamId) -> Result<u64, StoreError> {
        let call = call("bound_count", None, Detail::Stream(stream));
        self.around(call, self.inner.bound_count(stream), |_| Answer::Done).await
    }

    async fn unseen(
        &self,
        stream: &StreamId,
        generation: u64,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        let call = call("unseen", None, Detail::Stream(stream));
        self.around(call, self.inner.unseen(stream, generation, after, limit), |keys| size(keys.len())).await
    }

    async fn mark_seen(
        &self,
        lease: &Lease,
        stream: &StreamId,
        keys: &[Key],
        generation: u64,
    ) -> Result<(), StoreError> {
        let call = call("mark_seen", Some(lease), Detail::Stream(stream));
        self.around(call, self.inner.mark_seen(lease, stream, keys, generation), |()| Answer::Done).await
    }
}
