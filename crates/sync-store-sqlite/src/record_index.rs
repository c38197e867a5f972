//! One row per record that the destination holds.

use async_trait::async_trait;
use record::Key;
use rusqlite::{Row, params};
use sync_core::traits::{IndexRow, Lease, RecordIndex, RecordLife};
use sync_core::{Digest, StoreError, StreamId};

use crate::append::mark_seen;
use crate::database::{Database, get, limit};
use crate::error::{damaged, store_error};
use crate::row::{blob, flag, key, signed, unsigned};
use crate::{SqliteStore, lease, life, state, sum};

/// A row of the index, from the columns bound, digest, version, seen, sum beginning at `at`.
pub(crate) fn index_row(row: &Row<'_>, at: usize, stream: i64, key: &[u8]) -> Result<IndexRow, StoreError> {
    let (bound, bytes, version) = (flag(row, at)?, blob(row, at + 1)?, get(row, at + 2)?);
    sum::check(sum::of_index(stream, key, bound, bytes, version), get(row, at + 4)?)?;
    let digest = bytes.map(|bytes| bytes.try_into().map(Digest)).transpose().map_err(|_| damaged())?;
    Ok(IndexRow { bound, digest, version, seen: unsigned(get(row, at + 3)?) })
}

pub(crate) const FIND: &str = "SELECT bound, digest, version, seen, sum FROM idx WHERE stream = ?1 AND key = ?2";

pub(crate) fn find(db: &Database, stream: i64, key: &[u8]) -> Result<Option<IndexRow>, StoreError> {
    db.one(FIND, params![stream, key], |row| index_row(row, 0, stream, key))
}

/// Remembers that nobody knows what the destination holds of a key.
pub(crate) fn doubt(db: &Database, stream: i64, key: &[u8], generation: i64) -> Result<(), StoreError> {
    let bound = find(db, stream, key)?.is_some_and(|row| row.bound);
    db.execute(
        "INSERT INTO idx(stream, key, bound, digest, version, seen, sum) VALUES (?1, ?2, ?4, NULL, NULL, ?3, ?5)
         ON CONFLICT(stream, key) DO UPDATE SET digest = NULL, version = NULL, seen = max(seen, ?3), sum = ?5",
        params![stream, key, generation, bound, sum::of_index(stream, key, bound, None, None)],
    )
    .map(drop)
}

#[async_trait]
impl RecordIndex for SqliteStore {
    async fn get_many(&self, stream: &StreamId, keys: &[Key]) -> Result<Vec<Option<IndexRow>>, StoreError> {
        let (stream, keys) = (stream.clone(), keys.to_vec());
        self.read(move |db| {
            let Some(stream) = state::find_stream(db, &stream)? else { return Ok(vec![None; keys.len()]) };
            keys.iter().map(|key| find(db, stream, &key.to_bytes())).collect()
        })
        .await
    }

    async fn known_versions(&self, stream: &StreamId, keys: &[Key]) -> Result<Vec<Option<i64>>, StoreError> {
        let (stream, keys) = (stream.clone(), keys.to_vec());
        self.read(move |db| {
            let Some(stream) = state::find_stream(db, &stream)? else { return Ok(vec![None; keys.len()]) };
            let mut statement = db.statement(
                "SELECT max(version) FROM (
                   SELECT version FROM idx WHERE stream = ?1 AND key = ?2
                   UNION ALL SELECT version FROM entry WHERE stream = ?1 AND key = ?2
                   UNION ALL SELECT version FROM dead WHERE stream = ?1 AND key = ?2)",
            )?;
            let mut known = Vec::with_capacity(keys.len());
            for key in keys {
                known
                    .push(statement.query_row(params![stream, key.to_bytes()], |row| row.get(0)).map_err(store_error)?);
            }
            Ok(known)
        })
        .await
    }

    async fn record_life(&self, stream: &StreamId, key: &Key) -> Result<RecordLife, StoreError> {
        let (stream, key) = (stream.clone(), key.clone());
        self.read(move |db| life::record_life(db, &stream, &key)).await
    }

    async fn bound_count(&self, stream: &StreamId) -> Result<u64, StoreError> {
        let stream = stream.clone();
        self.read(move |db| {
            let Some(stream) = state::find_stream(db, &stream)? else { return Ok(0) };
            db.number("SELECT count(*) FROM idx WHERE stream = ?1", [stream]).map(unsigned)
        })
        .await
    }

    async fn unseen(
        &self,
        stream: &StreamId,
        generation: u64,
        after: Option<&Key>,
        most: usize,
    ) -> Result<Vec<Key>, StoreError> {
        let (stream, after) = (stream.clone(), after.map(Key::to_bytes).unwrap_or_default());
        self.read(move |db| {
            let Some(stream) = state::find_stream(db, &stream)? else { return Ok(Vec::new()) };
            db.all(
                "SELECT key, bound, digest, version, seen, sum FROM idx
                 WHERE stream = ?1 AND seen < ?2 AND key > ?3 ORDER BY key LIMIT ?4",
                params![stream, signed(generation), after, limit(most)],
                |row| {
                    let bytes = blob(row, 0)?.ok_or_else(damaged)?;
                    index_row(row, 1, stream, bytes)?;
                    key(bytes)
                },
            )
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
        self.write(move |db| {
            lease::check(db, &lease)?;
            let Some(stream) = state::find_stream(db, &stream)? else { return Ok(()) };
            keys.iter().try_for_each(|key| mark_seen(db, stream, &key.to_bytes(), signed(generation)))
        })
        .await
    }
}
