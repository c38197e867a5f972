//! Claims: the durable mark that an entry is in flight, made before its first byte is sent.

use rusqlite::{Connection, OptionalExtension, params};
use sync_core::traits::{ClaimRequest, Entry, Lease};
use sync_core::{Digest, PlanVersion, StoreError};

use crate::error::store_error;
use crate::row::{IN_FLIGHT, UNKNOWN, body, digest, key, seq, signed, unsigned};
use crate::{lease, state};

pub(crate) fn claim(connection: &Connection, lease: &Lease, want: &ClaimRequest) -> Result<Vec<Entry>, StoreError> {
    lease::check(connection, lease)?;
    let Some(stream) = state::find_stream(connection, &want.stream)? else { return Ok(Vec::new()) };
    promote_verifications(connection, stream, want)?;
    let mut entries = due(connection, stream, want)?;
    let mut mark = connection
        .prepare_cached(
            "UPDATE entry SET state = 1, attempt = attempt + 1, fence = ?2, was_unknown = (state = 2) WHERE seq = ?1",
        )
        .map_err(store_error)?;
    for entry in &mut entries {
        mark.execute(params![signed(entry.seq.0), signed(lease.fence)]).map_err(store_error)?;
        entry.written = written(connection, stream, &entry.key.to_bytes())?;
        entry.bound = entry.written.is_some();
    }
    Ok(entries)
}

/// Entries that are due and the oldest of their key, in the order in which they became due.
fn due(connection: &Connection, stream: i64, want: &ClaimRequest) -> Result<Vec<Entry>, StoreError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT seq, key, version, attempt, state, verification, plan, kind, digest, insert_body, update_body
             FROM entry e
             WHERE stream = ?1 AND state <> 1 AND due_ms <= ?2
               AND NOT EXISTS (SELECT 1 FROM entry o WHERE o.stream = ?1 AND o.key = e.key AND o.seq < e.seq)
             ORDER BY due_ms, seq LIMIT ?3",
        )
        .map_err(store_error)?;
    let limit = i64::try_from(want.max).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![stream, want.now_ms, limit]).map_err(store_error)?;
    let mut entries = Vec::with_capacity(want.max.min(1024));
    while let Some(row) = rows.next().map_err(store_error)? {
        let number = |column: usize| row.get::<_, i64>(column).map_err(store_error);
        entries.push(Entry {
            seq: seq(number(0)?),
            key: key(row.get_ref(1).map_err(store_error)?.as_blob().unwrap_or_default())?,
            version: row.get(2).map_err(store_error)?,
            attempt: u32::try_from(number(3)?).unwrap_or(u32::MAX).saturating_add(1),
            unknown: number(4)? == UNKNOWN,
            verification: number(5)? != 0,
            plan: PlanVersion(unsigned(number(6)?)),
            body: body(row, 7)?,
            bound: false,
            written: None,
        });
    }
    Ok(entries)
}

fn written(connection: &Connection, stream: i64, key: &[u8]) -> Result<Option<Digest>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT digest FROM idx WHERE stream = ?1 AND key = ?2").map_err(store_error)?;
    let found: Option<Option<Vec<u8>>> =
        statement.query_row(params![stream, key], |row| row.get(0)).optional().map_err(store_error)?;
    digest(found.flatten())
}

/// Verifications whose time has come become entries, unless the key has one already: that one will settle the matter and bring
/// the verification up to date.
fn promote_verifications(connection: &Connection, stream: i64, want: &ClaimRequest) -> Result<(), StoreError> {
    let mut statement = connection
        .prepare_cached(
            "INSERT INTO entry(stream, key, kind, state, due_ms, attempt, fence, was_unknown, verification, version,
               plan, digest, insert_body, update_body, at_ms)
             SELECT stream, key, kind, 0, due_ms, 0, 0, 0, 1, version, plan, digest, insert_body, update_body, ?2
             FROM verification v WHERE stream = ?1 AND due_ms <= ?2
               AND NOT EXISTS (SELECT 1 FROM entry o WHERE o.stream = ?1 AND o.key = v.key)
             LIMIT ?3",
        )
        .map_err(store_error)?;
    let limit = i64::try_from(want.max).unwrap_or(i64::MAX);
    if statement.execute(params![stream, want.now_ms, limit]).map_err(store_error)? == 0 {
        return Ok(());
    }
    connection
        .execute(
            "DELETE FROM verification WHERE stream = ?1 AND key IN
               (SELECT key FROM entry WHERE stream = ?1 AND verification = 1)",
            [stream],
        )
        .map(drop)
        .map_err(store_error)
}

/// Entries in flight under an older lease become unknown: their process ended between the mark and the settlement.
pub(crate) fn inherit(
    connection: &Connection,
    lease: &Lease,
    stream: &sync_core::StreamId,
    due_ms: i64,
) -> Result<u64, StoreError> {
    lease::check(connection, lease)?;
    let Some(stream) = state::find_stream(connection, stream)? else { return Ok(0) };
    let changed = connection
        .execute(
            "UPDATE entry SET state = ?1, due_ms = ?2 WHERE stream = ?3 AND state = ?4 AND fence <> ?5",
            params![UNKNOWN, due_ms, stream, IN_FLIGHT, signed(lease.fence)],
        )
        .map_err(store_error)?;
    Ok(changed as u64)
}
