//! Checkpoints and small values.

use async_trait::async_trait;
use rusqlite::params;
use sync_core::traits::{Checkpoint, Lease, PendingRequest, Phase, Request, StateStore};
use sync_core::{Position, StoreError, StreamId, Tally};

use crate::database::{Database, get};
use crate::error::{conflict, damaged};
use crate::row::{signed, unsigned};
use crate::seal::Place;
use crate::{SqliteStore, lease, request, sum};

#[async_trait]
impl StateStore for SqliteStore {
    async fn load(&self, stream: &StreamId) -> Result<Option<Checkpoint>, StoreError> {
        let stream = stream.clone();
        self.read(move |db| match find_stream(db, &stream)? {
            Some(id) => load(db, id),
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
        self.write(move |db| {
            lease::check(db, &lease)?;
            let id = stream_id(db, &stream)?;
            let current = load(db, id)?;
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
            save(db, id, &checkpoint)?;
            Ok(checkpoint)
        })
        .await
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let name = name.to_owned();
        self.read(move |db| {
            db.one("SELECT value, sum FROM kv WHERE name = ?1", [&name], |row| {
                let value: Vec<u8> = get(row, 0)?;
                sum::check(sum::of_value(&name, &value), get(row, 1)?)?;
                db.seal.open(Place::Value(&name), value)
            })
        })
        .await
    }

    async fn put(&self, lease: &Lease, name: &str, value: &[u8]) -> Result<(), StoreError> {
        let (lease, name, value) = (lease.clone(), name.to_owned(), value.to_owned());
        self.write(move |db| {
            lease::check(db, &lease)?;
            let value = db.seal.close(Place::Value(&name), value.into())?;
            db.execute(
                "INSERT INTO kv(name, value, sum) VALUES (?1, ?2, ?3)
                 ON CONFLICT(name) DO UPDATE SET value = ?2, sum = ?3",
                params![name, value, sum::of_value(&name, &value)],
            )
            .map(drop)
        })
        .await
    }

    async fn leave_request(&self, request: &Request, now_ms: i64) -> Result<u64, StoreError> {
        let request = request.clone();
        self.write(move |db| request::leave(db, &request, now_ms)).await
    }

    async fn requests(&self) -> Result<Vec<PendingRequest>, StoreError> {
        self.read(request::pending).await
    }

    async fn finish_request(&self, lease: &Lease, id: u64) -> Result<(), StoreError> {
        let lease = lease.clone();
        self.write(move |db| {
            lease::check(db, &lease)?;
            db.execute("DELETE FROM request WHERE id = ?1", [signed(id)]).map(drop)
        })
        .await
    }
}

/// The number of a stream; `None` when nothing was ever written for it.
pub(crate) fn find_stream(db: &Database, stream: &StreamId) -> Result<Option<i64>, StoreError> {
    db.one("SELECT id FROM stream WHERE name = ?1", [stream.as_str()], |row| get(row, 0))
}

/// The number of a stream, made when it is new.
pub(crate) fn stream_id(db: &Database, stream: &StreamId) -> Result<i64, StoreError> {
    if let Some(id) = find_stream(db, stream)? {
        return Ok(id);
    }
    db.execute("INSERT INTO stream(name) VALUES (?1)", [stream.as_str()])?;
    Ok(db.connection.last_insert_rowid())
}

/// The name of a stream that rows refer to.
pub(crate) fn stream_name(db: &Database, stream: i64) -> Result<StreamId, StoreError> {
    let name = db.one("SELECT name FROM stream WHERE id = ?1", [stream], |row| get::<String>(row, 0))?;
    name.map(StreamId::new).ok_or_else(damaged)
}

pub(crate) fn load(db: &Database, stream: i64) -> Result<Option<Checkpoint>, StoreError> {
    db.one(
        "SELECT generation, phase, position, version, at_ms, n_read, n_inserted, n_updated, n_deleted, n_unchanged,
                n_filtered, n_superseded, n_ignored, n_dead, sum FROM checkpoint WHERE stream = ?1",
        [stream],
        |row| {
            let count = |column: usize| get(row, column).map(unsigned);
            let (number, stored) = (get(row, 1)?, get::<Option<Vec<u8>>>(row, 2)?);
            let (generation, version) = (get(row, 0)?, get(row, 3)?);
            let sum = sum::of_position(stream, generation, number, version, stored.as_deref());
            sum::check(sum, get(row, 14)?)?;
            let phase = match number {
                0 => Phase::Snapshot,
                1 => Phase::Incremental,
                _ => return Err(damaged()),
            };
            let position = match stored {
                Some(stored) => {
                    let text = db.seal.open(Place::Position { stream, generation, version }, stored)?;
                    Some(Position::new(String::from_utf8(text).map_err(|_| damaged())?))
                }
                None => None,
            };
            Ok(Checkpoint {
                generation: unsigned(generation),
                phase,
                position,
                version: unsigned(version),
                at_ms: get(row, 4)?,
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
        },
    )
}

pub(crate) fn save(db: &Database, stream: i64, checkpoint: &Checkpoint) -> Result<(), StoreError> {
    let t = &checkpoint.totals;
    let (generation, version) = (signed(checkpoint.generation), signed(checkpoint.version));
    let phase = i64::from(checkpoint.phase == Phase::Incremental);
    let position = match &checkpoint.position {
        Some(position) => {
            let place = Place::Position { stream, generation, version };
            Some(db.seal.close(place, position.as_str().as_bytes().into())?)
        }
        None => None,
    };
    db.execute(
        "INSERT OR REPLACE INTO checkpoint(stream, generation, phase, position, version, at_ms, n_read, n_inserted,
           n_updated, n_deleted, n_unchanged, n_filtered, n_superseded, n_ignored, n_dead, sum)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        params![
            stream,
            generation,
            phase,
            position,
            version,
            checkpoint.at_ms,
            signed(t.read),
            signed(t.inserted),
            signed(t.updated),
            signed(t.deleted),
            signed(t.unchanged),
            signed(t.filtered),
            signed(t.superseded),
            signed(t.ignored),
            signed(t.dead),
            sum::of_position(stream, generation, phase, version, position.as_deref())
        ],
    )
    .map(drop)
}

/// Adds to the counters; the version stays, because the read position does.
pub(crate) fn count(db: &Database, stream: i64, tally: &Tally) -> Result<(), StoreError> {
    db.execute(
        "UPDATE checkpoint SET n_read = n_read + ?2, n_inserted = n_inserted + ?3, n_updated = n_updated + ?4,
           n_deleted = n_deleted + ?5, n_unchanged = n_unchanged + ?6, n_ignored = n_ignored + ?7, n_dead = n_dead + ?8
         WHERE stream = ?1",
        params![
            stream,
            signed(tally.read),
            signed(tally.inserted),
            signed(tally.updated),
            signed(tally.deleted),
            signed(tally.unchanged),
            signed(tally.ignored),
            signed(tally.dead)
        ],
    )
    .map(drop)
}
