//! What another plan made: found, and removed when its key was read again.

use record::Key;
use rusqlite::params;
use sync_core::StoreError;

use crate::database::{Database, get, limit};
use crate::record_index::doubt;
use crate::row::{READY, flag, key};
use crate::waits;

/// Keys with an unsettled upsert or a waiting verification of another plan.
pub(crate) fn keys(db: &Database, stream: i64, plan: i64, after: &[u8], most: usize) -> Result<Vec<Key>, StoreError> {
    db.all(
        "SELECT key FROM entry WHERE stream = ?1 AND kind <> 1 AND plan <> ?2 AND key > ?3
         UNION
         SELECT key FROM verification WHERE stream = ?1 AND kind <> 1 AND plan <> ?2 AND key > ?3
         UNION
         SELECT key FROM dead WHERE stream = ?1 AND waiting > 0 AND plan <> ?2 AND key > ?3
         ORDER BY key LIMIT ?4",
        params![stream, plan, after, limit(most)],
        |row| key(&get::<Vec<u8>>(row, 0)?),
    )
}

/// What was removed of a key.
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    pub(crate) entries: u64,
    /// Until then an attempt may still take effect.
    pub(crate) due_ms: i64,
    /// Whether the index remembers that an attempt may have taken effect.
    pub(crate) doubt: bool,
}

/// Removes what another plan made of a key and nobody has in flight.
pub(crate) fn drop_of(db: &Database, stream: i64, key: &[u8], plan: i64) -> Result<Dropped, StoreError> {
    let mut dropped = Dropped::default();
    let mut doubts: Vec<i64> = Vec::new();
    let removed = db.all(
        "DELETE FROM entry WHERE stream = ?1 AND key = ?2 AND state <> 1 AND kind <> 1 AND plan <> ?3
         RETURNING state, verification, generation, due_ms, waiting, seq",
        params![stream, key, plan],
        |row| {
            let verification = flag(row, 1)?;
            let unknown = get::<i64>(row, 0)? != READY;
            if verification || unknown {
                doubts.push(get(row, 2)?);
            }
            if unknown {
                dropped.due_ms = dropped.due_ms.max(get(row, 3)?);
            }
            dropped.entries += u64::from(!verification);
            Ok((get::<i64>(row, 4)? > 0).then_some(get::<i64>(row, 5)?))
        },
    )?;
    if !removed.is_empty() {
        removed.into_iter().flatten().try_for_each(|child| waits::forget(db, child))?;
        waits::unblock(db, stream, key)?;
    }
    let orphans = db.all(
        "UPDATE dead SET waiting = 0, digest = NULL, insert_body = NULL, update_body = NULL
         WHERE stream = ?1 AND key = ?2 AND waiting > 0 AND plan <> ?3 RETURNING id",
        params![stream, key, plan],
        |row| get::<i64>(row, 0),
    )?;
    orphans.into_iter().try_for_each(|letter| waits::forget(db, letter))?;
    doubts.extend(db.all(
        "DELETE FROM verification WHERE stream = ?1 AND key = ?2 AND kind <> 1 AND plan <> ?3 RETURNING generation",
        params![stream, key, plan],
        |row| get::<i64>(row, 0),
    )?);
    dropped.doubt = !doubts.is_empty();
    doubts.into_iter().try_for_each(|generation| doubt(db, stream, key, generation))?;
    Ok(dropped)
}
