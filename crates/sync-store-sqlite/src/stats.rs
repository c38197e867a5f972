//! Depth and age of a backlog.

use sync_core::traits::BacklogStats;
use sync_core::{StoreError, StreamId};

use crate::database::{Database, get};
use crate::row::{seq, unsigned};
use crate::state;

pub(crate) const IN_FLIGHT: &str = "SELECT count(*) FROM entry WHERE stream = ?1 AND state = 1 AND verification = 0";
pub(crate) const UNKNOWN: &str = "SELECT count(*) FROM entry WHERE stream = ?1 AND state = 2 AND verification = 0";
pub(crate) const WAITING: &str = "SELECT count(*) FROM entry WHERE stream = ?1 AND waiting > 0";
pub(crate) const HELD: &str = "SELECT count(*) FROM entry WHERE stream = ?1 AND kind = 1 AND waiting > 0";
/// What came after a held delete of its key, and waits for that; of several such deletes the first counts.
pub(crate) const BEHIND: &str =
    "SELECT count(*) FROM entry h INDEXED BY entry_held CROSS JOIN entry o INDEXED BY entry_key
       ON o.stream = h.stream AND o.key = h.key AND o.seq > h.seq
     WHERE h.stream = ?1 AND h.kind = 1 AND h.waiting > 0 AND o.waiting = 0
       AND NOT EXISTS (SELECT 1 FROM entry p INDEXED BY entry_key
         WHERE p.stream = h.stream AND p.key = h.key AND p.seq < h.seq AND p.kind = 1 AND p.waiting > 0)";
pub(crate) const VERIFICATIONS: &str = "SELECT count(*) FROM entry WHERE stream = ?1 AND verification = 1";
pub(crate) const OLDEST: &str = "SELECT at_ms FROM entry WHERE stream = ?1 AND verification = 0 ORDER BY seq LIMIT 1";
/// Entries that a claim of their plan would take, and those that only their own key holds up.
pub(crate) const READY: &str =
    "SELECT 1 FROM entry INDEXED BY entry_ready WHERE stream = ?1 AND state <> 1 AND due_ms = 0 AND blocked = 0
       AND waiting = 0 AND verification = 0 LIMIT 1";
pub(crate) const BLOCKED: &str =
    "SELECT 1 FROM entry e INDEXED BY entry_blocked WHERE stream = ?1 AND blocked = 1 AND state <> 1 AND due_ms = 0
       AND waiting = 0 AND NOT EXISTS (SELECT 1 FROM entry h INDEXED BY entry_key
         WHERE h.stream = e.stream AND h.key = e.key AND h.seq < e.seq AND h.kind = 1 AND h.waiting > 0) LIMIT 1";
pub(crate) const NEXT_DUE: &str = "SELECT due_ms FROM entry WHERE stream = ?1 AND state <> 1 AND due_ms > 0
       AND waiting = 0 AND verification = 0 ORDER BY due_ms LIMIT 1";

/// The depth follows from the counters, so that a deep backlog is not counted row by row.
pub(crate) fn stats(db: &Database, stream: &StreamId) -> Result<BacklogStats, StoreError> {
    let last = seq(db.number("SELECT last FROM number", [])?);
    let Some(stream) = state::find_stream(db, stream)? else {
        return Ok(BacklogStats { last, ..BacklogStats::default() });
    };
    let count = |sql: &str| db.number(sql, [stream]).map(unsigned);
    let found = |sql: &str| db.one(sql, [stream], |row| get::<Option<i64>>(row, 0)).map(Option::flatten);
    let totals = state::load(db, stream)?.map(|checkpoint| checkpoint.totals).unwrap_or_default();
    let (in_flight, unknown) = (count(IN_FLIGHT)?, count(UNKNOWN)?);
    let waiting = count("SELECT count(*) FROM verification WHERE stream = ?1")?;
    let claimed = count(VERIFICATIONS)?;
    let first = found("SELECT min(due_ms) FROM verification WHERE stream = ?1")?;
    let again = found("SELECT min(due_ms) FROM entry WHERE stream = ?1 AND state <> 1 AND verification = 1")?;
    let at_once = db.exists(READY, [stream])? || db.exists(BLOCKED, [stream])?;
    Ok(BacklogStats {
        queued: totals.unsettled().saturating_sub(in_flight + unknown),
        in_flight,
        unknown,
        waiting: count(WAITING)? + count(BEHIND)?,
        held: count(HELD)?,
        last,
        verifications: waiting + claimed,
        dead: count("SELECT count(*) FROM dead WHERE stream = ?1")?,
        oldest_ms: found(OLDEST)?,
        next_due_ms: if at_once { Some(0) } else { found(NEXT_DUE)? },
        next_verification_ms: first.into_iter().chain(again).min(),
    })
}
