//! The backlog's face of the store.

use async_trait::async_trait;
use record::Key;
use rusqlite::{Connection, OptionalExtension, params};
use sync_core::traits::{
    Advance, AppendReport, Backlog, BacklogStats, ClaimRequest, DeadLetter, DeadLetterQuery, Entry, Lease, Page,
    SettleReport, Settlement,
};
use sync_core::{PlanVersion, StoreError, StreamId};

use crate::error::store_error;
use crate::row::{signed, unsigned};
use crate::{SqliteStore, append, claim, dead_letters, outdated, settle, state};

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
        now_ms: i64,
    ) -> Result<SettleReport, StoreError> {
        let (lease, stream) = (lease.clone(), stream.clone());
        self.write(move |connection| settle::settle(connection, &lease, &stream, settlements, now_ms)).await
    }

    async fn inherit(&self, lease: &Lease, stream: &StreamId, due_ms: i64) -> Result<u64, StoreError> {
        let (lease, stream) = (lease.clone(), stream.clone());
        self.write(move |connection| claim::inherit(connection, &lease, &stream, due_ms)).await
    }

    async fn outdated(
        &self,
        stream: &StreamId,
        plan: PlanVersion,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        let (stream, after) = (stream.clone(), after.map(Key::to_bytes).unwrap_or_default());
        self.read(move |connection| match state::find_stream(connection, &stream)? {
            Some(stream) => outdated::keys(connection, stream, signed(plan.0), &after, limit),
            None => Ok(Vec::new()),
        })
        .await
    }

    async fn unsettled_before(&self, stream: &StreamId, generation: u64) -> Result<bool, StoreError> {
        let stream = stream.clone();
        self.read(move |connection| {
            let Some(stream) = state::find_stream(connection, &stream)? else { return Ok(false) };
            let mut statement = connection
                .prepare_cached("SELECT 1 FROM entry WHERE stream = ?1 AND generation < ?2 LIMIT 1")
                .map_err(store_error)?;
            statement.exists(params![stream, signed(generation)]).map_err(store_error)
        })
        .await
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

pub(crate) const IN_FLIGHT: &str = "SELECT count(*) FROM entry WHERE stream = ?1 AND state = 1 AND verification = 0";
pub(crate) const UNKNOWN: &str = "SELECT count(*) FROM entry WHERE stream = ?1 AND state = 2 AND verification = 0";
pub(crate) const VERIFICATIONS: &str = "SELECT count(*) FROM entry WHERE stream = ?1 AND verification = 1";
pub(crate) const NEXT_DUE: &str =
    "SELECT due_ms FROM entry WHERE stream = ?1 AND state <> 1 AND verification = 0 ORDER BY due_ms LIMIT 1";

/// Depth and age. The depth follows from the counters, so that a deep backlog is not counted row by row.
fn stats(connection: &Connection, stream: &StreamId) -> Result<BacklogStats, StoreError> {
    let Some(stream) = state::find_stream(connection, stream)? else { return Ok(BacklogStats::default()) };
    let number = |query: &str| -> Result<Option<i64>, StoreError> {
        let mut statement = connection.prepare_cached(query).map_err(store_error)?;
        let found: Option<Option<i64>> =
            statement.query_row(params![stream], |row| row.get(0)).optional().map_err(store_error)?;
        Ok(found.flatten())
    };
    let count = |query: &str| number(query).map(|count| unsigned(count.unwrap_or_default()));
    let totals = state::load(connection, stream)?.map(|checkpoint| checkpoint.totals).unwrap_or_default();
    let (in_flight, unknown) = (count(IN_FLIGHT)?, count(UNKNOWN)?);
    let oldest: Option<(i64, i64)> = [
        "SELECT seq, at_ms FROM entry WHERE stream = ?1 AND state <> 1 AND due_ms = 0 AND verification = 0
         ORDER BY seq LIMIT 1",
        "SELECT min(seq), at_ms FROM entry WHERE stream = ?1 AND state <> 1 AND due_ms > 0 AND verification = 0",
        "SELECT min(seq), at_ms FROM entry WHERE stream = ?1 AND state = 1 AND verification = 0",
    ]
    .iter()
    .map(|query| {
        let mut statement = connection.prepare_cached(query).map_err(store_error)?;
        let found: Option<(Option<i64>, Option<i64>)> = statement
            .query_row(params![stream], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .map_err(store_error)?;
        Ok(found.and_then(|(seq, at_ms)| seq.zip(at_ms)))
    })
    .collect::<Result<Vec<_>, StoreError>>()?
    .into_iter()
    .flatten()
    .min();
    let waiting = count("SELECT count(*) FROM verification WHERE stream = ?1")?;
    let claimed = count(VERIFICATIONS)?;
    let first = number("SELECT min(due_ms) FROM verification WHERE stream = ?1")?;
    let again = number("SELECT min(due_ms) FROM entry WHERE stream = ?1 AND state <> 1 AND verification = 1")?;
    Ok(BacklogStats {
        queued: totals.unsettled().saturating_sub(in_flight + unknown),
        in_flight,
        unknown,
        verifications: waiting + claimed,
        dead: count("SELECT count(*) FROM dead WHERE stream = ?1")?,
        oldest_ms: oldest.map(|(_, at_ms)| at_ms),
        next_due_ms: number(NEXT_DUE)?,
        next_verification_ms: first.into_iter().chain(again).min(),
    })
}
