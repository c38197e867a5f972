//! Claims: the durable mark that an entry is in flight, made before its first byte is sent.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};
use sync_core::traits::{ClaimRequest, Entry, Lease};
use sync_core::{Digest, PlanVersion, StoreError};

use crate::error::{damaged, store_error};
use crate::number::Numbers;
use crate::row::{UNKNOWN, body, key, seq, signed, unsigned};
use crate::{lease, state};

pub(crate) fn claim(connection: &Connection, lease: &Lease, want: &ClaimRequest) -> Result<Vec<Entry>, StoreError> {
    lease::check(connection, lease)?;
    let Some(stream) = state::find_stream(connection, &want.stream)? else { return Ok(Vec::new()) };
    let mut due = connection.prepare_cached(DUE).map_err(store_error)?;
    due.execute(params![stream, want.now_ms]).map_err(store_error)?;
    let first = verifications(connection, stream, lease, want)?;
    let mut entries = marked(connection, stream, first)?;
    let mut rest = oldest(connection, stream, lease, want, want.max.saturating_sub(entries.len()))?;
    rest.sort_by_key(|entry| entry.seq);
    entries.append(&mut rest);
    Ok(entries)
}

/// What an entry is made of, once it is claimed. The index is looked at in one subquery: the digest, or whether it is bound.
const CLAIMED: &str =
    "seq, key, version, attempt, was_unknown, verification, plan, kind, digest, insert_body, update_body,
       (SELECT coalesce(i.digest, i.bound) FROM idx i WHERE i.stream = entry.stream AND i.key = entry.key)";

/// What was due once stays due, also when the calendar jumps back.
pub(crate) const DUE: &str =
    "UPDATE entry SET due_ms = 0 WHERE stream = ?1 AND state <> 1 AND due_ms > 0 AND due_ms <= ?2";

/// Verifications whose time has come and whose key has no entry.
pub(crate) const WAITING: &str = "SELECT key FROM verification v
     WHERE stream = ?1 AND due_ms <= ?2 AND (kind = 1 OR plan = ?3)
       AND NOT EXISTS (SELECT 1 FROM entry o WHERE o.stream = ?1 AND o.key = v.key)
     ORDER BY due_ms, key LIMIT ?4";

pub(crate) fn oldest_statement() -> String {
    format!(
        "UPDATE entry SET state = 1, attempt = attempt + 1, fence = ?2, was_unknown = (state = 2)
         WHERE seq IN (
           SELECT seq FROM entry e
           WHERE stream = ?1 AND state <> 1 AND due_ms = 0 AND (kind = 1 OR plan = ?3)
             AND NOT EXISTS (SELECT 1 FROM entry o WHERE o.stream = ?1 AND o.key = e.key AND o.seq < e.seq)
           ORDER BY seq LIMIT ?4)
         RETURNING {CLAIMED}"
    )
}

/// Marks the oldest entries that are due, the oldest of their key, and of the plan in force.
fn oldest(
    connection: &Connection,
    stream: i64,
    lease: &Lease,
    want: &ClaimRequest,
    max: usize,
) -> Result<Vec<Entry>, StoreError> {
    let mut statement = connection.prepare_cached(&oldest_statement()).map_err(store_error)?;
    let limit = i64::try_from(max).unwrap_or(i64::MAX);
    let mut rows =
        statement.query(params![stream, signed(lease.fence), signed(want.plan.0), limit]).map_err(store_error)?;
    let mut entries = Vec::with_capacity(max.min(1024));
    while let Some(row) = rows.next().map_err(store_error)? {
        entries.push(entry(row)?);
    }
    Ok(entries)
}

fn marked(connection: &Connection, stream: i64, seqs: Vec<i64>) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::with_capacity(seqs.len());
    if seqs.is_empty() {
        return Ok(entries);
    }
    let mut statement = connection
        .prepare_cached(&format!("SELECT {CLAIMED} FROM entry WHERE seq = ?1 AND stream = ?2"))
        .map_err(store_error)?;
    for seq in seqs {
        let mut rows = statement.query(params![seq, stream]).map_err(store_error)?;
        if let Some(row) = rows.next().map_err(store_error)? {
            entries.push(entry(row)?);
        }
    }
    Ok(entries)
}

fn entry(row: &Row<'_>) -> Result<Entry, StoreError> {
    let number = |column: usize| row.get::<_, i64>(column).map_err(store_error);
    let (bound, written) = match row.get_ref(11).map_err(store_error)? {
        ValueRef::Null => (false, None),
        ValueRef::Integer(bound) => (bound != 0, None),
        ValueRef::Blob(bytes) => (true, Some(Digest(bytes.try_into().map_err(|_| damaged())?))),
        _ => return Err(damaged()),
    };
    let in_doubt = matches!(row.get_ref(11).map_err(store_error)?, ValueRef::Integer(_));
    Ok(Entry {
        seq: seq(number(0)?),
        key: key(row.get_ref(1).map_err(store_error)?.as_blob().unwrap_or_default())?,
        version: row.get(2).map_err(store_error)?,
        attempt: u32::try_from(number(3)?).unwrap_or(u32::MAX),
        unknown: number(4)? != 0 || in_doubt,
        verification: number(5)? != 0,
        plan: PlanVersion(unsigned(number(6)?)),
        body: body(row, 7)?,
        bound,
        written,
    })
}

/// Verifications whose time has come become entries in flight, unless the key has an entry already: that one will settle the
/// matter and bring the verification up to date.
fn verifications(
    connection: &Connection,
    stream: i64,
    lease: &Lease,
    want: &ClaimRequest,
) -> Result<Vec<i64>, StoreError> {
    let mut statement = connection.prepare_cached(WAITING).map_err(store_error)?;
    let limit = i64::try_from(want.max).unwrap_or(i64::MAX);
    let plan = signed(want.plan.0);
    let keys = statement
        .query_map(params![stream, want.now_ms, plan, limit], |row| row.get::<_, Vec<u8>>(0))
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(store_error)?;
    let mut numbers = Numbers::new(connection);
    let mut seqs = Vec::with_capacity(keys.len());
    for key in keys {
        let seq = numbers.next()?;
        let mut statement = connection
            .prepare_cached(
                "INSERT INTO entry(seq, stream, key, kind, state, due_ms, attempt, fence, was_unknown, verification, version,
                   plan, generation, digest, insert_body, update_body, at_ms)
                 SELECT ?3, stream, key, kind, 1, 0, 1, ?4, 0, 1, version, plan, generation, digest, insert_body,
                   update_body, ?5
                 FROM verification WHERE stream = ?1 AND key = ?2",
            )
            .map_err(store_error)?;
        statement.execute(params![stream, key, seq, signed(lease.fence), want.now_ms]).map_err(store_error)?;
        let mut statement = connection
            .prepare_cached("DELETE FROM verification WHERE stream = ?1 AND key = ?2")
            .map_err(store_error)?;
        statement.execute(params![stream, key]).map_err(store_error)?;
        seqs.push(seq);
    }
    numbers.keep()?;
    Ok(seqs)
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
            "UPDATE entry SET state = ?1, due_ms = ?2 WHERE stream = ?3 AND state = 1 AND fence <> ?4",
            params![UNKNOWN, due_ms, stream, signed(lease.fence)],
        )
        .map_err(store_error)?;
    Ok(changed as u64)
}
