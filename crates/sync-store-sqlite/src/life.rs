//! Everything the store knows of one record.

use record::Key;
use rusqlite::{Row, params};
use sync_core::traits::{
    ChildLife, DeadLetter, EntryLife, EntryState, LetterLife, Parent, RecordLife, Rejection, VerificationLife,
};
use sync_core::{PlanVersion, StoreError, StreamId};

use crate::database::{Database, get, limit};
use crate::error::damaged;
use crate::row::{READY, UNKNOWN, class, digest, flag, key, seq, signed, unsigned};
use crate::{record_index, state};

pub(crate) const ENTRIES: &str =
    "SELECT seq, state, digest, version, plan, class, replay, verification, attempt, at_ms, due_ms, waiting
     FROM entry WHERE stream = ?1 AND key = ?2 ORDER BY seq";
pub(crate) const LETTER: &str =
    "SELECT id, code, field, explanation, attempts, at_ms, version, closed_by, waiting FROM dead
     WHERE stream = ?1 AND key = ?2";
pub(crate) const PARENTS: &str =
    "SELECT s.name, w.pkey FROM waits w JOIN stream s ON s.id = w.pstream WHERE w.child = ?1";
/// A child is an entry, or a dead letter that waited in vain.
pub(crate) const CHILDREN: &str = "SELECT s.name, ifnull(e.key, d.key), e.seq IS NULL FROM waits w
     LEFT JOIN entry e ON e.seq = w.child LEFT JOIN dead d ON d.id = w.child
     JOIN stream s ON s.id = ifnull(e.stream, d.stream)
     WHERE w.pstream = ?1 AND w.pkey = ?2 ORDER BY w.child LIMIT ?3";

pub(crate) fn record_life(db: &Database, id: &StreamId, of: &Key) -> Result<RecordLife, StoreError> {
    let Some(stream) = state::find_stream(db, id)? else { return Ok(RecordLife::default()) };
    let bytes = of.to_bytes();
    let at = params![stream, bytes];
    let mut entries = db.all(ENTRIES, at, |row| Ok((entry(row)?, get::<i64>(row, 11)?)))?;
    for (entry, waiting) in &mut entries {
        entry.held = *waiting > 0 && entry.digest.is_none();
        if *waiting > 0 {
            entry.waiting_for = parents(db, entry.seq.0)?;
        }
    }
    let verification = "SELECT due_ms, digest FROM verification WHERE stream = ?1 AND key = ?2";
    let count = "SELECT count(*) FROM waits WHERE pstream = ?1 AND pkey = ?2";
    Ok(RecordLife {
        index: record_index::find(db, stream, &bytes)?,
        entries: entries.into_iter().map(|(entry, _)| entry).collect(),
        verification: db.one(verification, at, |row| {
            Ok(VerificationLife { due_ms: get(row, 0)?, digest: digest(get(row, 1)?)? })
        })?,
        dead_letter: letter(db, stream, id, of)?,
        children: db.all(CHILDREN, params![stream, bytes, limit(RecordLife::CHILDREN)], |row| {
            let stream = StreamId::new(get::<String>(row, 0)?);
            Ok(ChildLife { stream, key: key(&get::<Vec<u8>>(row, 1)?)?, given_up: flag(row, 2)? })
        })?,
        children_count: db.number(count, at).map(unsigned)?,
    })
}

fn entry(row: &Row<'_>) -> Result<EntryLife, StoreError> {
    Ok(EntryLife {
        seq: seq(get(row, 0)?),
        state: match get::<i64>(row, 1)? {
            READY => EntryState::Queued,
            UNKNOWN => EntryState::Unknown,
            _ => EntryState::InFlight,
        },
        digest: digest(get(row, 2)?)?,
        version: get(row, 3)?,
        plan: PlanVersion(unsigned(get(row, 4)?)),
        class: class(row, 5)?,
        replay: flag(row, 6)?,
        verification: flag(row, 7)?,
        attempts: u32::try_from(get::<i64>(row, 8)?).map_err(|_| damaged())?,
        appended_ms: get(row, 9)?,
        due_ms: get(row, 10)?,
        waiting_for: Vec::new(),
        held: false,
    })
}

fn letter(db: &Database, stream: i64, id: &StreamId, of: &Key) -> Result<Option<LetterLife>, StoreError> {
    let found = db.one(LETTER, params![stream, of.to_bytes()], |row| {
        let letter = DeadLetter {
            id: unsigned(get(row, 0)?),
            stream: id.clone(),
            key: of.clone(),
            rejection: Rejection { code: get(row, 1)?, field: get(row, 2)?, explanation: get(row, 3)? },
            attempts: u32::try_from(get::<i64>(row, 4)?).unwrap_or(u32::MAX),
            at_ms: get(row, 5)?,
        };
        let closed_by = get::<Option<i64>>(row, 7)?.map(seq);
        Ok((LetterLife { letter, version: get(row, 6)?, closed_by, waiting_for: Vec::new() }, get::<i64>(row, 8)?))
    })?;
    let Some((mut letter, waiting)) = found else { return Ok(None) };
    if waiting > 0 {
        letter.waiting_for = parents(db, letter.letter.id)?;
    }
    Ok(Some(letter))
}

/// Those that a child waits for, in their order.
fn parents(db: &Database, child: u64) -> Result<Vec<Parent>, StoreError> {
    let mut parents = db.all(PARENTS, [signed(child)], |row| {
        Ok(Parent { stream: StreamId::new(get::<String>(row, 0)?), key: key(&get::<Vec<u8>>(row, 1)?)? })
    })?;
    parents.sort_unstable();
    Ok(parents)
}
