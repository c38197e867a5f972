//! Settlements: an entry's end, the record index and the counters in one step.

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use sync_core::traits::{Effect, Lease, Rejection, SettleReport, Settlement, Verdict};
use sync_core::{StoreError, StreamId, Tally};

use crate::error::store_error;
use crate::number::Numbers;
use crate::record_index::doubt;
use crate::row::{DELETE, READY, UNKNOWN, signed};
use crate::{lease, state};

pub(crate) fn settle(
    connection: &Connection,
    lease: &Lease,
    stream: &StreamId,
    settlements: Vec<Settlement>,
    now_ms: i64,
) -> Result<SettleReport, StoreError> {
    lease::check(connection, lease)?;
    let Some(id) = state::find_stream(connection, stream)? else {
        return Ok(SettleReport { passed_over: settlements.len() as u64, ..SettleReport::default() });
    };
    let mut settling = Settling {
        connection,
        stream: id,
        fence: signed(lease.fence),
        now_ms,
        numbers: Numbers::new(connection),
        end: connection
            .prepare_cached(
                "DELETE FROM entry WHERE seq = ?1 AND state = 1 AND fence = ?2 AND stream = ?3
                 RETURNING key, digest, version, kind, verification, generation",
            )
            .map_err(store_error)?,
        bind: connection
            .prepare_cached(
                "INSERT INTO idx(stream, key, bound, digest, version, seen) VALUES (?1, ?2, 1, ?3, ?4, ?5)
                 ON CONFLICT(stream, key) DO UPDATE SET bound = 1, digest = ?3, version = ?4, seen = max(seen, ?5)",
            )
            .map_err(store_error)?,
        verifications: exists(connection, "SELECT 1 FROM verification WHERE stream = ?1 LIMIT 1", id)?,
        dead: exists(connection, "SELECT 1 FROM dead WHERE stream = ?1 LIMIT 1", id)?,
        report: SettleReport::default(),
    };
    for settlement in &settlements {
        if !settling.one(signed(settlement.seq.0), &settlement.verdict)? {
            settling.report.passed_over += 1;
        }
    }
    let Settling { numbers, report, .. } = settling;
    numbers.keep()?;
    count(connection, id, &report.tally)?;
    Ok(report)
}

struct Settling<'c> {
    connection: &'c Connection,
    stream: i64,
    fence: i64,
    now_ms: i64,
    numbers: Numbers<'c>,
    end: CachedStatement<'c>,
    bind: CachedStatement<'c>,
    /// Whether the stream has any verification or dead letter at all: almost always not, and then nothing is looked up.
    verifications: bool,
    dead: bool,
    report: SettleReport,
}

/// The entry that is done, as far as the index needs it.
struct Settled {
    key: Vec<u8>,
    digest: Option<Vec<u8>>,
    version: Option<i64>,
    kind: i64,
    verification: bool,
    generation: i64,
}

impl Settling<'_> {
    /// Settles one entry; `false` when it is not in flight under this lease.
    fn one(&mut self, seq: i64, verdict: &Verdict) -> Result<bool, StoreError> {
        match verdict {
            Verdict::Done { effect, verify_at_ms } => self.done(seq, *effect, *verify_at_ms),
            Verdict::Retry { due_ms, .. } => self.park(seq, READY, *due_ms),
            Verdict::Unknown { due_ms, .. } => self.park(seq, UNKNOWN, *due_ms),
            Verdict::Released => self.release(seq),
            Verdict::Dead { rejection, in_doubt } => self.bury(seq, rejection, *in_doubt),
        }
    }

    fn done(&mut self, seq: i64, effect: Effect, verify_at_ms: Option<i64>) -> Result<bool, StoreError> {
        if let Some(due_ms) = verify_at_ms {
            self.verify(seq, due_ms)?;
        } else if self.verifications {
            self.refresh_verification(seq)?;
        }
        let settled = self
            .end
            .query_row(params![seq, self.fence, self.stream], |row| {
                Ok(Settled {
                    key: row.get(0)?,
                    digest: row.get(1)?,
                    version: row.get(2)?,
                    kind: row.get(3)?,
                    verification: row.get::<_, i64>(4)? != 0,
                    generation: row.get(5)?,
                })
            })
            .optional()
            .map_err(store_error)?;
        let Some(settled) = settled else { return Ok(false) };
        if settled.kind == DELETE {
            let mut statement = self
                .connection
                .prepare_cached("DELETE FROM idx WHERE stream = ?1 AND key = ?2")
                .map_err(store_error)?;
            statement.execute(params![self.stream, settled.key]).map_err(store_error)?;
        } else {
            self.bind
                .execute(params![self.stream, settled.key, settled.digest, settled.version, settled.generation])
                .map_err(store_error)?;
        }
        if self.dead {
            let mut statement = self
                .connection
                .prepare_cached("DELETE FROM dead WHERE stream = ?1 AND key = ?2 AND closed_by = ?3")
                .map_err(store_error)?;
            statement.execute(params![self.stream, settled.key, seq]).map_err(store_error)?;
        }
        if !settled.verification {
            let tally = &mut self.report.tally;
            match effect {
                Effect::Inserted => tally.inserted += 1,
                Effect::Updated => tally.updated += 1,
                Effect::Deleted => tally.deleted += 1,
                Effect::Unchanged => tally.unchanged += 1,
                Effect::Ignored => tally.ignored += 1,
            }
        }
        Ok(true)
    }

    /// The same body once more at a later time.
    fn verify(&mut self, seq: i64, due_ms: i64) -> Result<(), StoreError> {
        self.verifications = true;
        let mut statement = self
            .connection
            .prepare_cached(
                "INSERT OR REPLACE INTO verification(stream, key, due_ms, kind, version, plan, generation, digest,
                   insert_body, update_body)
                 SELECT stream, key, ?4, kind, version, plan, generation, digest, insert_body, update_body
                 FROM entry WHERE seq = ?1 AND state = 1 AND fence = ?2 AND stream = ?3",
            )
            .map_err(store_error)?;
        statement.execute(params![seq, self.fence, self.stream, due_ms]).map(drop).map_err(store_error)
    }

    /// A verification that waits must repeat the newest state, never an older one.
    fn refresh_verification(&self, seq: i64) -> Result<(), StoreError> {
        let mut statement = self
            .connection
            .prepare_cached(
                "UPDATE verification AS v SET kind = e.kind, version = e.version, plan = e.plan, generation = e.generation,
                   digest = e.digest, insert_body = e.insert_body, update_body = e.update_body
                 FROM entry e
                 WHERE e.seq = ?1 AND e.state = 1 AND e.fence = ?2 AND e.stream = ?3 AND v.stream = e.stream
                   AND v.key = e.key",
            )
            .map_err(store_error)?;
        statement.execute(params![seq, self.fence, self.stream]).map(drop).map_err(store_error)
    }

    fn park(&self, seq: i64, state: i64, due_ms: i64) -> Result<bool, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached(
                "UPDATE entry SET state = ?4, due_ms = ?5 WHERE seq = ?1 AND state = 1 AND fence = ?2 AND stream = ?3",
            )
            .map_err(store_error)?;
        statement
            .execute(params![seq, self.fence, self.stream, state, due_ms])
            .map(|changed| changed > 0)
            .map_err(store_error)
    }

    fn release(&self, seq: i64) -> Result<bool, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached(
                "UPDATE entry SET state = iif(was_unknown, 2, 0), attempt = attempt - 1
                 WHERE seq = ?1 AND state = 1 AND fence = ?2 AND stream = ?3",
            )
            .map_err(store_error)?;
        statement.execute(params![seq, self.fence, self.stream]).map(|changed| changed > 0).map_err(store_error)
    }

    fn bury(&mut self, seq: i64, rejection: &Rejection, in_doubt: bool) -> Result<bool, StoreError> {
        // A letter about a newer state, made while this entry was in flight, is the one to keep.
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT e.key, e.generation, e.verification, d.id IS NOT NULL AND d.closed_by IS NOT e.seq
                 FROM entry e LEFT JOIN dead d ON d.stream = e.stream AND d.key = e.key
                 WHERE e.seq = ?1 AND e.state = 1 AND e.fence = ?2 AND e.stream = ?3",
            )
            .map_err(store_error)?;
        let found: Option<(Vec<u8>, i64, bool, bool)> = statement
            .query_row(params![seq, self.fence, self.stream], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .optional()
            .map_err(store_error)?;
        let Some((key, generation, verification, newer)) = found else { return Ok(false) };
        if !newer {
            self.letter(seq, rejection)?;
        }
        if in_doubt {
            doubt(self.connection, self.stream, &key, generation)?;
        }
        let mut statement = self.connection.prepare_cached("DELETE FROM entry WHERE seq = ?1").map_err(store_error)?;
        statement.execute([seq]).map_err(store_error)?;
        self.report.tally.dead += u64::from(!verification);
        Ok(true)
    }

    fn letter(&mut self, seq: i64, rejection: &Rejection) -> Result<(), StoreError> {
        self.dead = true;
        let id = self.numbers.next()?;
        let mut statement = self
            .connection
            .prepare_cached(
                "INSERT OR REPLACE INTO dead(id, stream, key, code, field, explanation, attempts, at_ms, kind, version,
                   plan, digest, insert_body, update_body)
                 SELECT ?2, stream, key, ?3, ?4, ?5, attempt, ?6, kind, version, plan, digest, insert_body, update_body
                 FROM entry WHERE seq = ?1",
            )
            .map_err(store_error)?;
        statement
            .execute(params![seq, id, rejection.code, rejection.field, rejection.explanation, self.now_ms])
            .map(drop)
            .map_err(store_error)
    }
}

fn exists(connection: &Connection, query: &str, stream: i64) -> Result<bool, StoreError> {
    let mut statement = connection.prepare_cached(query).map_err(store_error)?;
    statement.exists([stream]).map_err(store_error)
}

/// Adds to the counters; the version stays, because the read position does.
fn count(connection: &Connection, stream: i64, tally: &Tally) -> Result<(), StoreError> {
    let mut statement = connection
        .prepare_cached(
            "UPDATE checkpoint SET n_inserted = n_inserted + ?2, n_updated = n_updated + ?3, n_deleted = n_deleted + ?4,
               n_unchanged = n_unchanged + ?5, n_ignored = n_ignored + ?6, n_dead = n_dead + ?7 WHERE stream = ?1",
        )
        .map_err(store_error)?;
    statement
        .execute(params![
            stream,
            signed(tally.inserted),
            signed(tally.updated),
            signed(tally.deleted),
            signed(tally.unchanged),
            signed(tally.ignored),
            signed(tally.dead)
        ])
        .map(drop)
        .map_err(store_error)
}
