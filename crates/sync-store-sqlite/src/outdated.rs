//! What another plan made: found, and removed when its key was read again.

use record::Key;
use rusqlite::{Connection, params};
use sync_core::StoreError;

use crate::error::store_error;
use crate::record_index::doubt;
use crate::row::{READY, key};

/// Keys with an unsettled upsert or a waiting verification of another plan.
pub(crate) fn keys(
    connection: &Connection,
    stream: i64,
    plan: i64,
    after: &[u8],
    limit: usize,
) -> Result<Vec<Key>, StoreError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT key FROM entry WHERE stream = ?1 AND kind <> 1 AND plan <> ?2 AND key > ?3
             UNION
             SELECT key FROM verification WHERE stream = ?1 AND kind <> 1 AND plan <> ?2 AND key > ?3
             ORDER BY key LIMIT ?4",
        )
        .map_err(store_error)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![stream, plan, after, limit]).map_err(store_error)?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next().map_err(store_error)? {
        keys.push(key(&row.get::<_, Vec<u8>>(0).map_err(store_error)?)?);
    }
    Ok(keys)
}

/// What was removed of a key.
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    pub(crate) entries: u64,
    /// Until then an attempt may still take effect.
    pub(crate) due_ms: i64,
}

/// Removes what another plan made of a key and nobody has in flight.
pub(crate) fn drop_of(connection: &Connection, stream: i64, key: &[u8], plan: i64) -> Result<Dropped, StoreError> {
    let mut dropped = Dropped::default();
    let mut statement = connection
        .prepare_cached(
            "DELETE FROM entry WHERE stream = ?1 AND key = ?2 AND state <> 1 AND kind <> 1 AND plan <> ?3
             RETURNING state, verification, generation, due_ms",
        )
        .map_err(store_error)?;
    let mut doubts = Vec::new();
    let mut rows = statement.query(params![stream, key, plan]).map_err(store_error)?;
    while let Some(row) = rows.next().map_err(store_error)? {
        let verification = row.get::<_, i64>(1).map_err(store_error)? != 0;
        let unknown = row.get::<_, i64>(0).map_err(store_error)? != READY;
        if verification || unknown {
            doubts.push(row.get(2).map_err(store_error)?);
        }
        if unknown {
            dropped.due_ms = dropped.due_ms.max(row.get(3).map_err(store_error)?);
        }
        dropped.entries += u64::from(!verification);
    }
    let mut statement = connection
        .prepare_cached(
            "DELETE FROM verification WHERE stream = ?1 AND key = ?2 AND kind <> 1 AND plan <> ?3 RETURNING generation",
        )
        .map_err(store_error)?;
    let mut rows = statement.query(params![stream, key, plan]).map_err(store_error)?;
    while let Some(row) = rows.next().map_err(store_error)? {
        doubts.push(row.get(0).map_err(store_error)?);
    }
    for generation in doubts {
        doubt(connection, stream, key, generation)?;
    }
    Ok(dropped)
}
