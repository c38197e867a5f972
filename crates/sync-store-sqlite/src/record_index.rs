//! One row per record that the destination holds.

use async_trait::async_trait;
use record::Key;
use rusqlite::params;
use sync_core::traits::{IndexRow, Lease, RecordIndex};
use sync_core::{StoreError, StreamId};

use crate::append::mark_seen;
use crate::database::{Database, get, limit};
use crate::error::store_error;
use crate::row::{digest, flag, key, signed, unsigned};
use crate::{SqliteStore, lease, state};

/// Remembers that nobody knows what the destination holds of a key.
pub(crate) fn doubt(db: &Database, stream: i64, key: &[u8], generation: i64) -> Result<(), StoreError> {
    db.execute(
        "INSERT INTO idx(stream, key, bound, digest, version, seen) VALUES (?1, ?2, 0, NULL, NULL, ?3)
         ON CONFLICT(stream, key) DO UPDATE SET digest = NULL, version = NULL, seen = max(seen, ?3)",
        params![stream, key, generation],
    )
    .map(drop)
}

#[async_trait]
impl RecordIndex for SqliteStore {
    async fn get_many(&self, stream: &StreamId, keys: &[Key]) -> Result<Vec<Option<IndexRow>>, StoreError> {
        let (stream, keys) = (stream.clone(), keys.to_vec());
        self.read(move |db| {
            let Some(stream) = state::find_stream(db, &stream)? else { return Ok(vec![None; keys.len()]) };
            let mut statement =
                db.statement("SELECT bound, digest, version, seen FROM idx WHERE stream = ?1 AND key = ?2")?;
            let mut found = Vec::with_capacity(keys.len());
            for key in keys {
                let mut rows = statement.query(params![stream, key.to_bytes()]).map_err(store_error)?;
                found.push(match rows.next().map_err(store_error)? {
                    Some(row) => Some(IndexRow {
                        bound: flag(row, 0)?,
                        digest: digest(get(row, 1)?)?,
                        version: get(row, 2)?,
                        seen: unsigned(get(row, 3)?),
                    }),
                    None => None,
                });
            }
            Ok(found)
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
                "SELECT key FROM idx WHERE stream = ?1 AND seen < ?2 AND key > ?3 ORDER BY key LIMIT ?4",
                params![stream, signed(generation), after, limit(most)],
                |row| key(&get::<Vec<u8>>(row, 0)?),
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
