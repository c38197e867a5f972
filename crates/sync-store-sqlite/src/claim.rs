//! Claims: the durable mark that an entry is in flight, made before its first byte is sent.

use rusqlite::{Row, params};
use sync_core::traits::{ClaimRequest, Entry, Lease};
use sync_core::{PlanVersion, StoreError, StreamId};

use crate::database::{Database, get, limit};
use crate::error::{damaged, store_error};
use crate::number::Numbers;
use crate::ready::pick;
use crate::record_index::index_row;
use crate::row::{Stored, UNKNOWN, blob, class, flag, key, seq, signed, unsigned};
use crate::{lease, state};

pub(crate) fn claim(db: &Database, lease: &Lease, want: &ClaimRequest) -> Result<Vec<Entry>, StoreError> {
    lease::check(db, lease)?;
    let Some(stream) = state::find_stream(db, &want.stream)? else { return Ok(Vec::new()) };
    db.execute(DUE, params![stream, want.now_ms])?;
    let mut seqs = start_verifications(db, stream, lease, want)?;
    let ready = pick(db, stream, signed(want.plan.0), want.max.saturating_sub(seqs.len()))?;
    mark(db, lease, &ready)?;
    seqs.extend(ready);
    claimed(db, stream, &seqs)
}

/// What was due once stays due, also when the calendar jumps back.
pub(crate) const DUE: &str =
    "UPDATE entry SET due_ms = 0 WHERE stream = ?1 AND state <> 1 AND due_ms > 0 AND due_ms <= ?2";

/// Verifications whose time has come and whose key has no entry.
pub(crate) const DUE_VERIFICATIONS: &str = "SELECT key FROM verification v
     WHERE stream = ?1 AND due_ms <= ?2 AND (kind = 1 OR plan = ?3)
       AND NOT EXISTS (SELECT 1 FROM entry o WHERE o.stream = ?1 AND o.key = v.key)
     ORDER BY due_ms, key LIMIT ?4";

/// What an entry is made of, once it is claimed, and what the index knows of its key.
pub(crate) const CLAIMED: &str =
    "SELECT e.seq, e.key, e.attempt, e.was_unknown, e.verification, e.class, e.replay, e.plan,
       i.bound, i.digest, i.version, i.seen, i.sum,
       e.version, e.kind, e.born, e.sum, e.digest, e.insert_body, e.update_body, e.at_ms
     FROM entry e LEFT JOIN idx i ON i.stream = e.stream AND i.key = e.key
     WHERE e.seq = ?1 AND e.stream = ?2";

/// Marks entries as in flight: neighbours in one statement, as those of a first load are.
fn mark(db: &Database, lease: &Lease, seqs: &[i64]) -> Result<(), StoreError> {
    let mut order = seqs.to_vec();
    order.sort_unstable();
    for run in order.chunk_by(|one, next| one + 1 == *next) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
        db.execute(
            "UPDATE entry SET state = 1, attempt = attempt + 1, holder = ?3, was_unknown = (state = 2)
             WHERE seq BETWEEN ?1 AND ?2",
            params![first, last, signed(lease.nonce)],
        )?;
    }
    Ok(())
}

fn claimed(db: &Database, stream: i64, seqs: &[i64]) -> Result<Vec<Entry>, StoreError> {
    let mut statement = db.statement(CLAIMED)?;
    let mut entries = Vec::with_capacity(seqs.len());
    for seq in seqs {
        let mut rows = statement.query(params![seq, stream]).map_err(store_error)?;
        let row = rows.next().map_err(store_error)?.ok_or_else(damaged)?;
        entries.push(entry(db, stream, row)?);
    }
    Ok(entries)
}

fn entry(db: &Database, stream: i64, row: &Row<'_>) -> Result<Entry, StoreError> {
    let bytes = blob(row, 1)?.ok_or_else(damaged)?;
    let known = match get::<Option<i64>>(row, 8)? {
        Some(_) => Some(index_row(row, 8, stream, bytes)?),
        None => None,
    };
    let written = known.and_then(|known| known.digest);
    Ok(Entry {
        seq: seq(get(row, 0)?),
        key: key(bytes)?,
        version: get(row, 13)?,
        attempt: u32::try_from(get::<i64>(row, 2)?).map_err(|_| damaged())?,
        appended_ms: get(row, 20)?,
        unknown: flag(row, 3)? || (known.is_some() && written.is_none()),
        verification: flag(row, 4)?,
        class: class(row, 5)?,
        replay: flag(row, 6)?,
        plan: PlanVersion(unsigned(get(row, 7)?)),
        bound: known.is_some_and(|known| known.bound),
        written,
        body: Stored::read(row, 13, stream, bytes, get(row, 7)?)?.open(&db.seal)?,
    })
}

/// Verifications whose time has come become entries in flight, unless the key has an entry already: that one will settle the
/// matter and bring the verification up to date.
fn start_verifications(db: &Database, stream: i64, lease: &Lease, want: &ClaimRequest) -> Result<Vec<i64>, StoreError> {
    let due = params![stream, want.now_ms, signed(want.plan.0), limit(want.max)];
    let keys: Vec<Vec<u8>> = db.all(DUE_VERIFICATIONS, due, |row| get(row, 0))?;
    let mut numbers = Numbers::new(db);
    let mut seqs = Vec::with_capacity(keys.len());
    for key in keys {
        let seq = numbers.next()?;
        db.execute(
            "INSERT INTO entry(seq, stream, key, kind, state, due_ms, blocked, waiting, attempt, holder, was_unknown,
               verification, class, replay, version, plan, generation, at_ms, born, sum, digest, insert_body, update_body)
             SELECT ?3, stream, key, kind, 1, 0, 0, 0, 1, ?4, 0, 1, class, replay, version, plan, generation, ?5, born,
               sum, digest, insert_body, update_body
             FROM verification WHERE stream = ?1 AND key = ?2",
            params![stream, key, seq, signed(lease.nonce), want.now_ms],
        )?;
        db.execute("DELETE FROM verification WHERE stream = ?1 AND key = ?2", params![stream, key])?;
        seqs.push(seq);
    }
    numbers.keep()?;
    Ok(seqs)
}

/// Entries in flight under an older lease become unknown: their process ended between the mark and the settlement.
pub(crate) fn inherit(db: &Database, lease: &Lease, stream: &StreamId, due_ms: i64) -> Result<u64, StoreError> {
    lease::check(db, lease)?;
    let Some(stream) = state::find_stream(db, stream)? else { return Ok(0) };
    // What was unknown before waits anew: the settle time was counted by a clock that nobody remembers.
    db.execute(
        "UPDATE entry SET due_ms = ?2 WHERE stream = ?1 AND state = 2 AND due_ms < ?2",
        params![stream, due_ms],
    )?;
    let changed = db.execute(
        "UPDATE entry SET state = ?1, due_ms = ?2 WHERE stream = ?3 AND state = 1 AND holder <> ?4",
        params![UNKNOWN, due_ms, stream, signed(lease.nonce)],
    )?;
    Ok(changed as u64)
}
