//! The backlog's face of the store.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use sync_core::traits::{
    Advance, AppendReport, Backlog, BacklogStats, ClaimRequest, DeadLetter, DeadLetterQuery, Entry, Lease, Page,
    SettleReport, Settlement,
};
use sync_core::{StoreError, StreamId};

use crate::error::store_error;
use crate::row::unsigned;
use crate::{SqliteStore, append, claim, dead_letters, settle, state};

#[async_trait]
impl Backlog for SqliteStore {
    async fn append(&self, lease: &Lease, page: Page, advance: Advance) -> Result<AppendReport, StoreError> {
        let lease = lease.clone();
        self.write(move |connection| append::append(connection, &lease, page, advance)).await
    }

    async fn claim(&self, lease: &Lease, want: ClaimRequest) -> Result<Vec<Entry>, StoreError> {
        let lease = lease.clone();
        self.write(move |connection| claim::claim(connection, &lease, &want)).await
    }

    async fn settle(
        &self,
        lease: &Lease,
        stream: &StreamId,
        settlements: Vec<Settlement>,
    ) -> Result<SettleReport, StoreError> {
        let (lease, stream) = (lease.clone(), stream.clone());
        self.write(move |connection| settle::settle(connection, &lease, &stream, settlements)).await
    }

    async fn inherit(&self, lease: &Lease, stream: &StreamId, due_ms: i64) -> Result<u64, StoreError> {
        let (lease, stream) = (lease.clone(), stream.clone());
        self.write(move |connection| claim::inherit(connection, &lease, &stream, due_ms)).await
    }

    async fn stats(&self, stream: &StreamId) -> Result<BacklogStats, StoreError> {
        let stream = stream.clone();
        self.read(move |connection| stats(connection, &stream)).await
    }

    async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        let query = query.clone();
        self.read(move |connection| dead_letters::list(connection, &query)).await
    }
}

fn stats(connection: &Connection, stream: &StreamId) -> Result<BacklogStats, StoreError> {
    let Some(stream) = state::find_stream(connection, stream)? else { return Ok(BacklogStats::default()) };
    let mut stats = BacklogStats::default();
    let mut statement = connection
        .prepare_cached("SELECT state, count(*) FROM entry WHERE stream = ?1 AND verification = 0 GROUP BY state")
        .map_err(store_error)?;
    let mut rows = statement.query([stream]).map_err(store_error)?;
    while let Some(row) = rows.next().map_err(store_error)? {
        let count = unsigned(row.get(1).map_err(store_error)?);
        match row.get::<_, i64>(0).map_err(store_error)? {
            0 => stats.queued = count,
            1 => stats.in_flight = count,
            _ => stats.unknown = count,
        }
    }
    let number = |query: &str| -> Result<Option<i64>, StoreError> {
        let mut statement = connection.prepare_cached(query).map_err(store_error)?;
        let found: Option<Option<i64>> =
            statement.query_row(params![stream], |row| row.get(0)).optional().map_err(store_error)?;
        Ok(found.flatten())
    };
    stats.oldest_ms = number("SELECT at_ms FROM entry WHERE stream = ?1 AND verification = 0 ORDER BY seq LIMIT 1")?;
    stats.next_due_ms = number(
        "SELECT due_ms FROM entry WHERE stream = ?1 AND state <> 1 AND verification = 0 ORDER BY due_ms LIMIT 1",
    )?;
    let waiting = number("SELECT count(*) FROM verification WHERE stream = ?1")?.unwrap_or_default();
    let promoted = number("SELECT count(*) FROM entry WHERE stream = ?1 AND verification = 1")?.unwrap_or_default();
    stats.verifications = unsigned(waiting + promoted);
    let first = number("SELECT min(due_ms) FROM verification WHERE stream = ?1")?;
    let again = number("SELECT min(due_ms) FROM entry WHERE stream = ?1 AND state <> 1 AND verification = 1")?;
    stats.next_verification_ms = first.into_iter().chain(again).min();
    stats.dead = unsigned(number("SELECT count(*) FROM dead WHERE stream = ?1")?.unwrap_or_default());
    Ok(stats)
}
