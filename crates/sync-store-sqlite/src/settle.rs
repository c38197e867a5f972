//! Settlements: an entry's end, the record index and the counters in one step.

use rusqlite::{CachedStatement, OptionalExtension, params};
use sync_core::traits::{Effect, Lease, Rejection, SettleReport, Settlement, Verdict};
use sync_core::{StoreError, StreamId};

use crate::database::{Database, get};
use crate::dead_letters::bury;
use crate::error::{damaged, store_error};
use crate::number::Numbers;
use crate::record_index::doubt;
use crate::row::{CREATE, DELETE, READY, UNKNOWN, UPSERT, flag, signed};
use crate::{lease, state, sum, waits};

pub(crate) fn settle(
    db: &Database,
    lease: &Lease,
    stream: &StreamId,
    settlements: Vec<Settlement>,
    now_ms: i64,
) -> Result<SettleReport, StoreError> {
    lease::check(db, lease)?;
    let Some(id) = state::find_stream(db, stream)? else {
        return Ok(SettleReport { passed_over: settlements.len() as u64, ..SettleReport::default() });
    };
    let mut settling = Settling::new(db, id, lease, now_ms)?;
    for settlement in &settlements {
        if !settling.one(signed(settlement.seq.0), &settlement.verdict)? {
            settling.report.passed_over += 1;
        }
    }
    let Settling { mut numbers, mut report, arrived, .. } = settling;
    for key in arrived {
        waits::arrived(db, &mut numbers, (id, &key), now_ms, &mut report.released)?;
    }
    numbers.keep()?;
    state::count(db, id, &report.tally)?;
    Ok(report)
}

struct Settling<'d> {
    db: &'d Database,
    stream: i64,
    holder: i64,
    now_ms: i64,
    numbers: Numbers<'d>,
    end: CachedStatement<'d>,
    bind: CachedStatement<'d>,
    /// Whether the stream has any verification, dead letter or blocked entry at all, and whether anybody waits for a record of
    /// it: almost always not, and then nothing is looked up.
    verifications: bool,
    dead: bool,
    blocked: bool,
    awaited: bool,
    /// Records that were written and somebody may wait for.
    arrived: Vec<Vec<u8>>,
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

impl<'d> Settling<'d> {
    fn new(db: &'d Database, stream: i64, lease: &Lease, now_ms: i64) -> Result<Self, StoreError> {
        Ok(Self {
            db,
            stream,
            holder: signed(lease.nonce),
            now_ms,
            numbers: Numbers::new(db),
            end: db.statement(
                "DELETE FROM entry WHERE seq = ?1 AND state = 1 AND holder = ?2 AND stream = ?3
                 RETURNING key, digest, version, kind, verification, generation",
            )?,
            bind: db.statement(
                "INSERT INTO idx(stream, key, bound, digest, version, seen, sum) VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6)
                 ON CONFLICT(stream, key) DO UPDATE SET bound = 1, digest = ?3, version = ?4, seen = max(seen, ?5), sum = ?6",
            )?,
            verifications: db.exists("SELECT 1 FROM verification WHERE stream = ?1 LIMIT 1", [stream])?,
            dead: db.exists("SELECT 1 FROM dead WHERE stream = ?1 LIMIT 1", [stream])?,
            blocked: db.exists("SELECT 1 FROM entry WHERE stream = ?1 AND blocked = 1 LIMIT 1", [stream])?,
            awaited: db.exists("SELECT 1 FROM waits WHERE pstream = ?1 LIMIT 1", [stream])?,
            arrived: Vec::new(),
            report: SettleReport::default(),
        })
    }

    /// Settles one entry; `false` when it is not in flight under this lease.
    fn one(&mut self, seq: i64, verdict: &Verdict) -> Result<bool, StoreError> {
        match verdict {
            Verdict::Done { effect, verify_at_ms } => self.done(seq, *effect, *verify_at_ms),
            Verdict::Retry { due_ms, .. } => self.park(seq, READY, *due_ms),
            Verdict::Unknown { due_ms, .. } => self.park(seq, UNKNOWN, *due_ms),
            Verdict::NotYet { due_ms, in_doubt, .. } => {
                let state = if *in_doubt { UNKNOWN } else { READY };
                self.uncount(seq)?;
                self.park(seq, state, *due_ms)
            }
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
            .query_row(params![seq, self.holder, self.stream], |row| {
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
        if self.blocked {
            waits::unblock(self.db, self.stream, &settled.key)?;
        }
        if self.dead {
            self.db.execute(
                "DELETE FROM dead WHERE stream = ?1 AND key = ?2 AND closed_by = ?3",
                params![self.stream, settled.key, seq],
            )?;
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
        if settled.kind == DELETE {
            let sql = "DELETE FROM idx WHERE stream = ?1 AND key = ?2";
            self.db.execute(sql, params![self.stream, settled.key])?;
            return Ok(true);
        }
        let Settled { key, digest, version, generation, .. } = &settled;
        if digest.as_ref().is_none_or(|digest| digest.len() != 16) || !(UPSERT..=CREATE).contains(&settled.kind) {
            return Err(damaged());
        }
        let sum = sum::of_index(self.stream, key, true, digest.as_deref(), *version);
        self.bind.execute(params![self.stream, key, digest, version, generation, sum]).map_err(store_error)?;
        // Nobody waits for a record that is bound already, so whoever waits for this one has waited until now.
        if self.awaited {
            self.arrived.push(settled.key);
        }
        Ok(true)
    }

    /// The same body once more at a later time.
    fn verify(&mut self, seq: i64, due_ms: i64) -> Result<(), StoreError> {
        self.verifications = true;
        self.db
            .execute(
                "INSERT OR REPLACE INTO verification(stream, key, due_ms, kind, class, replay, version, plan, generation,
                   born, sum, digest, insert_body, update_body)
                 SELECT stream, key, ?4, kind, class, replay, version, plan, generation, born, sum, digest, insert_body,
                   update_body
                 FROM entry WHERE seq = ?1 AND state = 1 AND holder = ?2 AND stream = ?3",
                params![seq, self.holder, self.stream, due_ms],
            )
            .map(drop)
    }

    /// A verification that waits must repeat the newest state, never an older one.
    fn refresh_verification(&self, seq: i64) -> Result<(), StoreError> {
        self.db
            .execute(
                "UPDATE verification AS v SET kind = e.kind, class = e.class, replay = e.replay, version = e.version,
                   plan = e.plan, generation = e.generation, born = e.born, sum = e.sum, digest = e.digest,
                   insert_body = e.insert_body, update_body = e.update_body
                 FROM entry e
                 WHERE e.seq = ?1 AND e.state = 1 AND e.holder = ?2 AND e.stream = ?3 AND v.stream = e.stream
                   AND v.key = e.key",
                params![seq, self.holder, self.stream],
            )
            .map(drop)
    }

    fn park(&self, seq: i64, state: i64, due_ms: i64) -> Result<bool, StoreError> {
        let changed = self.db.execute(
            "UPDATE entry SET state = ?4, due_ms = ?5 WHERE seq = ?1 AND state = 1 AND holder = ?2 AND stream = ?3",
            params![seq, self.holder, self.stream, state, due_ms],
        )?;
        Ok(changed > 0)
    }

    /// The attempt does not count.
    fn uncount(&self, seq: i64) -> Result<(), StoreError> {
        self.db
            .execute(
                "UPDATE entry SET attempt = attempt - 1 WHERE seq = ?1 AND state = 1 AND holder = ?2 AND stream = ?3",
                params![seq, self.holder, self.stream],
            )
            .map(drop)
    }

    fn release(&self, seq: i64) -> Result<bool, StoreError> {
        let changed = self.db.execute(
            "UPDATE entry SET state = iif(was_unknown, 2, 0), attempt = attempt - 1
             WHERE seq = ?1 AND state = 1 AND holder = ?2 AND stream = ?3",
            params![seq, self.holder, self.stream],
        )?;
        Ok(changed > 0)
    }

    fn bury(&mut self, seq: i64, rejection: &Rejection, in_doubt: bool) -> Result<bool, StoreError> {
        let sql = "SELECT key, generation, verification FROM entry
                   WHERE seq = ?1 AND state = 1 AND holder = ?2 AND stream = ?3";
        let found = self.db.one(sql, params![seq, self.holder, self.stream], |row| {
            Ok((get::<Vec<u8>>(row, 0)?, get::<i64>(row, 1)?, flag(row, 2)?))
        })?;
        let Some((key, generation, verification)) = found else { return Ok(false) };
        bury(self.db, &mut self.numbers, self.stream, &key, seq, rejection, self.now_ms)?;
        self.dead = true;
        if self.blocked {
            waits::unblock(self.db, self.stream, &key)?;
        }
        if in_doubt {
            doubt(self.db, self.stream, &key, generation)?;
            // What waits to be written once more is older than what may be there now.
            self.db.execute("DELETE FROM verification WHERE stream = ?1 AND key = ?2", params![self.stream, key])?;
        }
        self.report.tally.dead += u64::from(!verification);
        Ok(true)
    }
}
