//! The backlog's face of the store.

use async_trait::async_trait;
use record::Key;
use rusqlite::params;
use sync_core::traits::{
    Advance, AppendReport, Backlog, BacklogStats, ClaimRequest, DeadLetter, DeadLetterQuery, DeleteRelease, Entry,
    Lease, LetterFilter, Page, Rejection, SettleReport, Settlement,
};
use sync_core::{PlanVersion, StoreError, StreamId};

use crate::row::signed;
use crate::{SqliteStore, append, claim, dead_letters, held, outdated, settle, state, stats, waits};

#[async_trait]
impl Backlog for SqliteStore {
    async fn append(&self, lease: &Lease, page: Page, advance: Advance) -> Result<AppendReport, StoreError> {
        let lease = lease.clone();
        self.write(move |db| append::append(db, &lease, page, advance)).await
    }

    async fn claim(&self, lease: &Lease, want: ClaimRequest) -> Result<Vec<Entry>, StoreError> {
        let lease = lease.clone();
        self.write(move |db| claim::claim(db, &lease, &want)).await
    }

    async fn settle(
        &self,
        lease: &Lease,
        stream: &StreamId,
        settlements: Vec<Settlement>,
        now_ms: i64,
    ) -> Result<SettleReport, StoreError> {
        let (lease, stream) = (lease.clone(), stream.clone());
        self.write(move |db| settle::settle(db, &lease, &stream, settlements, now_ms)).await
    }

    async fn inherit(&self, lease: &Lease, stream: &StreamId, due_ms: i64) -> Result<u64, StoreError> {
        let (lease, stream) = (lease.clone(), stream.clone());
        self.write(move |db| claim::inherit(db, &lease, &stream, due_ms)).await
    }

    async fn give_up_waiting(
        &self,
        lease: &Lease,
        stream: &StreamId,
        before_ms: i64,
        rejection: &Rejection,
        now_ms: i64,
    ) -> Result<u64, StoreError> {
        let (lease, stream, rejection) = (lease.clone(), stream.clone(), rejection.clone());
        self.write(move |db| waits::give_up(db, &lease, &stream, before_ms, &rejection, now_ms)).await
    }

    async fn outdated(
        &self,
        stream: &StreamId,
        plan: PlanVersion,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        let (stream, after) = (stream.clone(), after.map(Key::to_bytes).unwrap_or_default());
        self.read(move |db| match state::find_stream(db, &stream)? {
            Some(stream) => outdated::keys(db, stream, signed(plan.0), &after, limit),
            None => Ok(Vec::new()),
        })
        .await
    }

    async fn unsettled_before(&self, stream: &StreamId, generation: u64) -> Result<bool, StoreError> {
        let stream = stream.clone();
        self.read(move |db| {
            let Some(stream) = state::find_stream(db, &stream)? else { return Ok(false) };
            let sql = "SELECT 1 FROM entry WHERE stream = ?1 AND generation < ?2 LIMIT 1";
            db.exists(sql, params![stream, signed(generation)])
        })
        .await
    }

    async fn release_deletes(&self, lease: &Lease, want: &DeleteRelease) -> Result<Option<u64>, StoreError> {
        let (lease, want) = (lease.clone(), want.clone());
        let (of, what) = (lease.clone(), want.clone());
        if self.read(move |db| held::must_wait(db, &of, &what)).await? {
            return Ok(None);
        }
        self.write(move |db| held::release(db, &lease, &want)).await.map(Some)
    }

    async fn stats(&self, stream: &StreamId) -> Result<BacklogStats, StoreError> {
        let stream = stream.clone();
        self.read(move |db| stats::stats(db, &stream)).await
    }

    async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        let query = query.clone();
        self.read(move |db| dead_letters::list(db, &query)).await
    }

    async fn drop_dead_letters(&self, lease: &Lease, filter: &LetterFilter) -> Result<u64, StoreError> {
        let (lease, filter) = (lease.clone(), filter.clone());
        self.write(move |db| dead_letters::drop_letters(db, &lease, &filter)).await
    }
}
