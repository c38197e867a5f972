//! Entries that wait for their parents, and dead letters that waited in vain.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::params;
use sync_core::traits::{Lease, Parent, Rejection};
use sync_core::{StoreError, StreamId, Tally};

use crate::database::{Database, get};
use crate::dead_letters::{Buried, bury};
use crate::number::Numbers;
use crate::{lease, record_index, state};

/// A record by the number of its stream and its key.
pub(crate) type Record = (i64, Vec<u8>);

/// Those of the parents that a child has to wait for, each once: they are not at the destination, and do not wait for it.
pub(crate) fn absent(db: &Database, parents: &[Parent], child: (i64, &[u8])) -> Result<Vec<Record>, StoreError> {
    let mut absent = Vec::new();
    for parent in parents.iter().collect::<BTreeSet<_>>() {
        let (stream, key) = (state::stream_id(db, &parent.stream)?, parent.key.to_bytes());
        let bound = record_index::find(db, stream, &key)?.is_some_and(|row| row.bound);
        if !bound && !waits_for(db, (stream, key.clone()), child)? {
            absent.push((stream, key));
        }
    }
    Ok(absent)
}

/// The records that entries of a key wait for, and those that its dead letter waited for in vain.
pub(crate) const AWAITED: &str =
    "SELECT w.pstream, w.pkey FROM entry e CROSS JOIN waits w ON w.child = e.seq WHERE e.stream = ?1 AND e.key = ?2
     UNION ALL
     SELECT w.pstream, w.pkey FROM dead d CROSS JOIN waits w ON w.child = d.id WHERE d.stream = ?1 AND d.key = ?2";

/// Whether a record is the other one, or waits for it, at first hand or through others. Whoever would wait for a record that
/// waits for it closes a circle, and does not wait: what waits never does so in a circle.
fn waits_for(db: &Database, record: Record, other: (i64, &[u8])) -> Result<bool, StoreError> {
    let (mut open, mut seen) = (vec![record], BTreeSet::new());
    while let Some((stream, key)) = open.pop() {
        if (stream, key.as_slice()) == other {
            return Ok(true);
        }
        let awaited: Vec<Record> = db.all(AWAITED, params![stream, key], |row| Ok((get(row, 0)?, get(row, 1)?)))?;
        seen.insert((stream, key));
        open.extend(awaited.into_iter().filter(|next| !seen.contains(next)));
    }
    Ok(false)
}

/// Writes down whom a child waits for.
pub(crate) fn keep(db: &Database, child: i64, parents: &[(i64, Vec<u8>)]) -> Result<(), StoreError> {
    parents.iter().try_for_each(|(stream, key)| {
        db.execute("INSERT INTO waits(pstream, pkey, child) VALUES (?1, ?2, ?3)", params![stream, key, child]).map(drop)
    })
}

/// A child that is gone waits for nobody.
pub(crate) fn forget(db: &Database, child: i64) -> Result<(), StoreError> {
    db.execute("DELETE FROM waits WHERE child = ?1", [child]).map(drop)
}

pub(crate) const CHILDREN: &str = "SELECT w.child, e.stream, d.stream FROM waits w
     LEFT JOIN entry e ON e.seq = w.child LEFT JOIN dead d ON d.id = w.child
     WHERE w.pstream = ?1 AND w.pkey = ?2";

/// A parent arrived: what waited for nothing else is ready, and what was given up for it is queued again.
pub(crate) fn arrived(
    db: &Database,
    numbers: &mut Numbers<'_>,
    (stream, key): (i64, &[u8]),
    now_ms: i64,
    released: &mut BTreeMap<StreamId, Tally>,
) -> Result<(), StoreError> {
    let children: Vec<(i64, Option<i64>, Option<i64>)> =
        db.all(CHILDREN, params![stream, key], |row| Ok((get(row, 0)?, get(row, 1)?, get(row, 2)?)))?;
    if children.is_empty() {
        return Ok(());
    }
    db.execute("DELETE FROM waits WHERE pstream = ?1 AND pkey = ?2", params![stream, key])?;
    let mut names = BTreeMap::new();
    let mut name = |stream: i64| -> Result<StreamId, StoreError> {
        if let Some(name) = names.get(&stream) {
            return Ok(StreamId::clone(name));
        }
        let name = state::stream_name(db, stream)?;
        names.insert(stream, name.clone());
        Ok(name)
    };
    let mut ripe = Vec::new();
    for (child, entry, letter) in children {
        if let Some(stream) = entry {
            db.execute("UPDATE entry SET waiting = waiting - 1 WHERE seq = ?1", [child])?;
            released.entry(name(stream)?).or_default();
        } else if let Some(stream) = letter {
            let sql = "UPDATE dead SET waiting = waiting - 1 WHERE id = ?1 RETURNING waiting";
            if db.one(sql, [child], |row| get(row, 0))? == Some(0) {
                ripe.push((name(stream)?, child, stream));
            }
        }
    }
    ripe.sort_unstable();
    for (name, letter, stream) in ripe {
        requeue(db, numbers, letter, now_ms)?;
        let tally = Tally { read: 1, ..Tally::default() };
        state::count(db, stream, &tally)?;
        *released.entry(name).or_default() += tally;
    }
    Ok(())
}

/// Queues again what a dead letter holds; the letter is closed by its end.
fn requeue(db: &Database, numbers: &mut Numbers<'_>, letter: i64, now_ms: i64) -> Result<(), StoreError> {
    let seq = numbers.next()?;
    db.execute(
        "INSERT INTO entry(seq, stream, key, kind, state, due_ms, blocked, waiting, attempt, holder, was_unknown,
           verification, class, replay, version, plan, generation, at_ms, born, sum, digest, insert_body, update_body)
         SELECT ?2, stream, key, kind, 0, 0,
           EXISTS (SELECT 1 FROM entry o WHERE o.stream = dead.stream AND o.key = dead.key), 0, 0, 0, 0,
           0, class, replay, version, plan, generation, ?3, born, sum, digest, insert_body, update_body
         FROM dead WHERE id = ?1",
        params![letter, seq, now_ms],
    )?;
    db.execute(
        "UPDATE dead SET closed_by = ?2, digest = NULL, insert_body = NULL, update_body = NULL WHERE id = ?1",
        params![letter, seq],
    )
    .map(drop)
}

pub(crate) const LATE: &str =
    "SELECT seq, key FROM entry WHERE stream = ?1 AND waiting > 0 AND kind <> 1 AND state <> 1 AND at_ms < ?2";

/// Entries that have waited for a parent since before `before_ms` become dead letters.
pub(crate) fn give_up(
    db: &Database,
    lease: &Lease,
    stream: &StreamId,
    before_ms: i64,
    rejection: &Rejection,
    now_ms: i64,
) -> Result<u64, StoreError> {
    lease::check(db, lease)?;
    let Some(stream) = state::find_stream(db, stream)? else { return Ok(0) };
    let mut late: Vec<(i64, Vec<u8>)> =
        db.all(LATE, params![stream, before_ms], |row| Ok((get(row, 0)?, get(row, 1)?)))?;
    late.sort_unstable_by_key(|(seq, _)| *seq);
    let mut numbers = Numbers::new(db);
    for (seq, key) in &late {
        match bury(db, &mut numbers, stream, key, *seq, rejection, now_ms)? {
            Buried::Kept(letter) => {
                db.execute("UPDATE waits SET child = ?2 WHERE child = ?1", [*seq, letter])?;
            }
            Buried::Older => forget(db, *seq)?,
        }
        unblock(db, stream, key)?;
    }
    numbers.keep()?;
    let dead = late.len() as u64;
    state::count(db, stream, &Tally { dead, ..Tally::default() })?;
    Ok(dead)
}

/// An entry of the key is gone: the oldest that is left waits for no other of its key.
pub(crate) fn unblock(db: &Database, stream: i64, key: &[u8]) -> Result<(), StoreError> {
    db.execute(
        "UPDATE entry SET blocked = 0
         WHERE seq = (SELECT min(seq) FROM entry WHERE stream = ?1 AND key = ?2) AND blocked = 1",
        params![stream, key],
    )
    .map(drop)
}
