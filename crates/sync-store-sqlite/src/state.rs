//! Checkpoints and small values.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use sync_core::traits::{Checkpoint, Lease, Phase, StateStore};
use sync_core::{Position, StoreError, StreamId, Tally};

use crate::error::{conflict, store_error};
use crate::row::{signed, unsigned};
use crate::{SqliteStore, lease};

#[async_trait]
impl StateStore for SqliteStore {
    async fn load(&self, stream: &StreamId) -> Result<Option<Checkpoint>, StoreError> {
        let stream = stream.clone();
        self.read(move |connection| match find_stream(connection, &stream)? {
            Some(id) => load(connection, id),
            None => Ok(None),
        })
        .await
    }

    async fn reset(
        &self,
        lease: &Lease,
        stream: &StreamId,
        expected_version: u64,
        generation: u64,
    ) -> Result<Checkpoint, StoreError> {
        let (lease, stream) = (lease.clone(), stream.clone());
        self.write(move |connection| {
            lease::check(connection, &lease)?;
            let id = stream_id(connection, &stream)?;
            let current = load(connection, id)?;
            if current.as_ref().map_or(0, |checkpoint| checkpoint.version) != expected_version {
                return Err(conflict());
            }
            let checkpoint = Checkpoint {
                generation,
                phase: Phase::Snapshot,
                position: None,
                version: expected_version + 1,
                totals: current.as_ref().map(|checkpoint| checkpoint.totals).unwrap_or_default(),
                at_ms: current.map_or(0, |checkpoint| checkpoint.at_ms),
            };
            save(connection, id, &checkpoint)?;
            Ok(checkpoint)
        })
        .await
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let name = name.to_owned();
        self.read(move |connection| {
            connection
                .query_row("SELECT value FROM kv WHERE name = ?1", [name], |row| row.get(0))
                .optional()
                .map_err(store_error)
        })
        .await
    }

    async fn put(&self, lease: &Lease, name: &str, value: &[u8]) -> Result<(), StoreError> {
        let (lease, name, value) = (lease.clone(), name.to_owned(), value.to_owned());
        self.write(move |connection| {
            lease::check(connection, &lease)?;
            connection
                .execute(
                    "INSERT INTO kv(name, value) VALUES (?1, ?2) ON CONFLICT(name) DO UPDATE SET value = ?2",
                    params![name, value],
                )
                .map(drop)
                .map_err(store_error)
        })
        .await
    }
}

/// The number of a stream; `None` when nothing was ever written for it.
pub(crate) fn find_stream(connection: &Connection, stream: &StreamId) -> Result<Option<i64>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT id FROM stream WHERE name = ?1").map_err(store_error)?;
    statement.query_row([stream.as_str()], |row| row.get(0)).optional().map_err(store_error)
}

/// The number of a stream, made when it is new.
pub(crate) fn stream_id(connection: &Connection, stream: &StreamId) -> Result<i64, StoreError> {
    if let Some(id) = find_stream(connection, stream)? {
        return Ok(id);
    }
    connection.execute("INSERT INTO stream(name) VALUES (?1)", [stream.as_str()]).map_err(store_error)?;
    Ok(connection.last_insert_rowid())
}

pub(crate) fn load(connection: &Connection, stream: i64) -> Result<Option<Checkpoint>, StoreError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT generation, phase, position, version, at_ms, n_read, n_inserted, n_updated, n_deleted, n_unchanged,
                    n_filtered, n_superseded, n_ignored, n_dead FROM checkpoint WHERE stream = ?1",
        )
        .map_err(store_error)?;
    statement
        .query_row([stream], |row| {
            let count = |column: usize| row.get::<_, i64>(column).map(unsigned);
            Ok(Checkpoint {
                generation: count(0)?,
                phase: if row.get::<_, i64>(1)? == 0 { Phase::Snapshot } else { Phase::Incremental },
                position: row.get::<_, Option<String>>(2)?.map(Position::new),
                version: count(3)?,
                at_ms: row.get(4)?,
                totals: Tally {
                    read: count(5)?,
                    inserted: count(6)?,
                    updated: count(7)?,
                    deleted: count(8)?,
                    unchanged: count(9)?,
                    filtered: count(10)?,
                    superseded: count(11)?,
                    ignored: count(12)?,
                    dead: count(13)?,
                },
            })
        })
        .optional()
        .map_err(store_error)
}

pub(crate) fn save(connection: &Connection, stream: i64, checkpoint: &Checkpoint) -> Result<(), StoreError> {
    let t = &checkpoint.totals;
    let mut statement = connection
        .prepare_cached(
            "INSERT OR REPLACE INTO checkpoint(stream, generation, phase, position, version, at_ms, n_read, n_inserted,
               n_updated, n_deleted, n_unchanged, n_filtered, n_superseded, n_ignored, n_dead)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )
        .map_err(store_error)?;
    statement
        .execute(params![
            stream,
            signed(checkpoint.generation),
            i64::from(checkpoint.phase == Phase::Incremental),
            checkpoint.position.as_ref().map(Position::as_str),
            signed(checkpoint.version),
            checkpoint.at_ms,
            signed(t.read),
            signed(t.inserted),
            signed(t.updated),
            signed(t.deleted),
            signed(t.unchanged),
            signed(t.filtered),
            signed(t.superseded),
            signed(t.ignored),
            signed(t.dead)
        ])
        .map(drop)
        .map_err(store_error)
}
