//! Dead letters: at most one for each key. They keep no payload but that of an entry that waited in vain, which its parents
//! may still queue again.

use rusqlite::types::Value;
use rusqlite::{params, params_from_iter};
use sync_core::traits::{DeadLetter, DeadLetterQuery, Lease, LetterFilter, Rejection};
use sync_core::{StoreError, StreamId};

use crate::database::{Database, get, limit};
use crate::error::store_error;
use crate::number::Numbers;
use crate::row::{key, signed, unsigned};
use crate::{lease, waits};

/// What became of an entry that could not be written.
pub(crate) enum Buried {
    /// It is the dead letter of this number now.
    Kept(i64),
    /// A letter about a newer state, made while it was on its way, is the one to keep.
    Older,
}

/// Turns an entry into a dead letter.
pub(crate) fn bury(
    db: &Database,
    numbers: &mut Numbers<'_>,
    stream: i64,
    key: &[u8],
    seq: i64,
    rejection: &Rejection,
    now_ms: i64,
) -> Result<Buried, StoreError> {
    let older =
        db.one("SELECT id, closed_by FROM dead WHERE stream = ?1 AND key = ?2", params![stream, key], |row| {
            Ok((get::<i64>(row, 0)?, get::<Option<i64>>(row, 1)?))
        })?;
    let buried = match older {
        Some((_, closed_by)) if closed_by != Some(seq) => Buried::Older,
        older => {
            if let Some((letter, _)) = older {
                db.execute("DELETE FROM dead WHERE id = ?1", [letter])?;
            }
            let letter = numbers.next()?;
            // The end of a newer entry is the end of this letter; an older one may be in flight still.
            db.execute(
                "INSERT INTO dead(id, stream, key, code, field, explanation, attempts, at_ms, closed_by, waiting, version,
                   kind, class, replay, plan, generation, born, sum, digest, insert_body, update_body)
                 SELECT ?2, stream, key, ?3, ?4, ?5, attempt, ?6,
                   (SELECT max(o.seq) FROM entry o WHERE o.stream = entry.stream AND o.key = entry.key AND o.seq > ?1),
                   waiting, version, kind, class, replay, plan, generation, born, sum,
                   iif(waiting > 0, digest, NULL), iif(waiting > 0, insert_body, NULL),
                   iif(waiting > 0, update_body, NULL)
                 FROM entry WHERE seq = ?1",
                params![seq, letter, rejection.code, rejection.field, rejection.explanation, now_ms],
            )?;
            Buried::Kept(letter)
        }
    };
    db.execute("DELETE FROM entry WHERE seq = ?1", [seq])?;
    Ok(buried)
}

/// A draft that cannot be mapped.
pub(crate) fn reject(
    db: &Database,
    letter: i64,
    stream: i64,
    key: &[u8],
    rejection: &Rejection,
    version: Option<i64>,
    now_ms: i64,
) -> Result<(), StoreError> {
    remove(db, stream, key)?;
    db.execute(
        "INSERT INTO dead(id, stream, key, code, field, explanation, attempts, at_ms, version)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8)",
        params![letter, stream, key, rejection.code, rejection.field, rejection.explanation, now_ms, version],
    )
    .map(drop)
}

/// Removes the dead letter of a key, where there is one.
pub(crate) fn remove(db: &Database, stream: i64, key: &[u8]) -> Result<(), StoreError> {
    let waited =
        db.one("DELETE FROM dead WHERE stream = ?1 AND key = ?2 RETURNING id, waiting", params![stream, key], |row| {
            Ok((get::<i64>(row, 0)?, get::<i64>(row, 1)?))
        })?;
    match waited {
        Some((letter, 1..)) => waits::forget(db, letter),
        _ => Ok(()),
    }
}

/// The dead letter of a key, where there is one, is closed by the end of this entry.
pub(crate) fn close_later(db: &Database, stream: i64, key: &[u8], seq: i64) -> Result<(), StoreError> {
    let letter = db.one(
        "UPDATE dead SET closed_by = ?3 WHERE stream = ?1 AND key = ?2 RETURNING id, waiting",
        params![stream, key, seq],
        |row| Ok((get::<i64>(row, 0)?, get::<i64>(row, 1)?)),
    )?;
    let Some((letter, 1..)) = letter else { return Ok(()) };
    waits::forget(db, letter)?;
    db.execute(
        "UPDATE dead SET waiting = 0, digest = NULL, insert_body = NULL, update_body = NULL WHERE id = ?1",
        [letter],
    )
    .map(drop)
}

pub(crate) fn list(db: &Database, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
    let (condition, mut values) = condition(&query.filter);
    let sql = format!(
        "SELECT d.id, s.name, d.key, d.code, d.field, d.explanation, d.attempts, d.at_ms
         FROM dead d JOIN stream s ON s.id = d.stream WHERE {condition} AND d.id > ? ORDER BY d.id LIMIT ?"
    );
    values.push(Value::Integer(signed(query.after.unwrap_or(0))));
    values.push(Value::Integer(limit(query.limit)));
    let mut statement = db.connection.prepare(&sql).map_err(store_error)?;
    let mut rows = statement.query(params_from_iter(values)).map_err(store_error)?;
    let mut letters = Vec::new();
    while let Some(row) = rows.next().map_err(store_error)? {
        letters.push(DeadLetter {
            id: unsigned(get(row, 0)?),
            stream: StreamId::new(get::<String>(row, 1)?),
            key: key(&get::<Vec<u8>>(row, 2)?)?,
            rejection: Rejection { code: get(row, 3)?, field: get(row, 4)?, explanation: get(row, 5)? },
            attempts: u32::try_from(get::<i64>(row, 6)?).unwrap_or(u32::MAX),
            at_ms: get(row, 7)?,
        });
    }
    Ok(letters)
}

/// Forgets dead letters; answers how many.
pub(crate) fn drop_letters(db: &Database, lease: &Lease, filter: &LetterFilter) -> Result<u64, StoreError> {
    lease::check(db, lease)?;
    let (condition, values) = condition(filter);
    let run = |sql: &str| db.connection.execute(sql, params_from_iter(&values)).map_err(store_error);
    let which = format!("SELECT d.id FROM dead d JOIN stream s ON s.id = d.stream WHERE {condition}");
    run(&format!("DELETE FROM waits WHERE child IN ({which} AND d.waiting > 0)"))?;
    let dropped = run(&format!("DELETE FROM dead WHERE id IN ({which})"))?;
    Ok(dropped as u64)
}

/// The filter as a condition on `dead d` and `stream s`, and its values.
fn condition(filter: &LetterFilter) -> (String, Vec<Value>) {
    let mut parts = vec!["1"];
    let mut values = Vec::new();
    if let Some(stream) = &filter.stream {
        parts.push("s.name = ?");
        values.push(Value::Text(stream.as_str().to_owned()));
    }
    if let Some(code) = &filter.code {
        parts.push("d.code = ?");
        values.push(Value::Text(code.clone()));
    }
    if let Some(before_ms) = filter.before_ms {
        parts.push("d.at_ms < ?");
        values.push(Value::Integer(before_ms));
    }
    if !filter.ids.is_empty() {
        // One value however many ids there are: a statement takes a limited number of them.
        parts.push("d.id IN (SELECT value FROM json_each(?))");
        let ids: Vec<String> = filter.ids.iter().map(|id| signed(*id).to_string()).collect();
        values.push(Value::Text(format!("[{}]", ids.join(","))));
    }
    (parts.join(" AND "), values)
}
