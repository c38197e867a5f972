//! One row per record that the destination holds.

use async_trait::async_trait;
use record::Key;
use rusqlite::{Connection, OptionalExtension, params};
use sync_core::traits::{IndexRow, Lease, RecordIndex};
use sync_core::{StoreError, StreamId};

use crate::append::mark_seen;
use crate::error::store_error;
use crate::row::{digest, key, signed, unsigned};
use crate::{SqliteStore, lease, state};

/// Remembers that nobody knows what the destination holds of a key.
pub(crate) fn doubt(connection: &Connection, stream: i64, key: &[u8], generation: i64) -> Result<(), StoreError> {
    let mut statement = connection
        .prepare_cached(
            "INSERT INTO idx(stream, key, bound, digest, version, seen) VALUES (?1, ?2, 0, NULL, NULL, ?3)
             ON CONFLICT(stream, key) DO UPDATE SET digest = NULL, version = NULL, seen = max(seen, ?3)",
        )
        .map_err(store_error)?;
    statement.execute(params![stream, key, generation]).map(drop).map_err(store_error)
}

#[async_trait]
impl RecordIndex for SqliteStore {
    async fn get_many(&self, stream: &StreamId, keys: &[Key]) -> Result<Vec<Option<IndexRow>>, StoreError> {
        let (stream, keys) = (stream.clone(), keys.to_vec());
        self.read(move |connection| {
            let Some(stream) = state::find_stream(connection, &stream)? else { return Ok(vec![None; keys.len()]) };
            let mut statement = connection
                .prepare_cached("SELECT bound, digest, version, seen FROM idx WHERE stream = ?1 AND key = ?2")
                .map_err(store_error)?;
            let mut rows = Vec::with_capacity(keys.len());
            for key in keys {
                let found: Option<(bool, Option<Vec<u8>>, Option<i64>, i64)> = statement
                    .query_row(params![stream, key.to_bytes()], |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                    })
                    .optional()
                    .map_err(store_error)?;
                rows.push(match found {
                    Some((bound, bytes, version, seen)) => {
                        Some(IndexRow { bound, digest: digest(bytes)?, version, seen: unsigned(seen) })
                    }
                    None => None,
                });
            }
            Ok(rows)
        })
        .await
    }

    async fn bound_count(&self, stream: &StreamId) -> Result<u64, StoreError> {
        let stream = stream.clone();
        self.read(move |connection| {
            let Some(stream) = state::find_stream(connection, &stream)? else { return Ok(0) };
            connection
                .query_row("SELECT count(*) FROM idx WHERE stream = ?1", [stream], |row| row.get(0))
                .map(unsigned)
                .map_err(store_error)
        })
        .await
    }

    async fn unseen(
        &self,
        stream: &StreamId,
        generation: u64,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        let (stream, after) = (stream.clone(), after.map(Key::to_bytes).unwrap_or_default());
        self.read(move |connection| {
            let Some(stream) = state::find_stream(connection, &stream)? else { return Ok(Vec::new()) };
            let mut statement = connection
                .prepare_cached(
                    "SELECT key FROM idx WHERE stream = ?1 AND seen < ?2 AND key > ?3 ORDER BY key LIMIT ?4",
                )
                .map_err(store_error)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut rows = statement.query(params![stream, signed(generation), after, limit]).map_err(store_error)?;
            let mut keys = Vec::new();
            while let Some(row) = rows.next().map_err(store_error)? {
                keys.push(key(&row.get::<_, Vec<u8>>(0).map_err(store_error)?)?);
            }
            Ok(keys)
        })
        .await
    }

    async fn mark_seen(
        &self,
        lease: &Lease,
        stream: &StreamId,
        keys: &[Key],
        generation: u64,
    ) -> Result<(), StoreError> {
        let (lease, stream, keys) = (lease.clone(), stream.clone(), keys.to_vec());
        self.write(move |connection| {
            lease::check(connection, &lease)?;
            let Some(stream) = state::find_stream(connection, &stream)? else { return Ok(()) };
            keys.iter().try_for_each(|key| mark_seen(connection, stream, &key.to_bytes(), signed(generation)))
        })
        .await
    }
}
