//! Looks for damage when a file is opened.
//!
//! A file of up to 32 MiB is examined whole: structure, indexes and the sum of every row. Above that, its structure alone, and
//! only if its last process did not close it; its rows are compared with their sums when they are read.

use sync_core::StoreError;

use crate::database::{Database, get};
use crate::error::damaged;
use crate::record_index::index_row;
use crate::row::{Stored, blob};
use crate::{state, sum};

const SMALL: u64 = 32 << 20;

/// Refuses a damaged file. `closed` tells whether its last process closed it.
pub(crate) fn examine(db: &Database, size: u64, closed: bool) -> Result<(), StoreError> {
    if size <= SMALL {
        sound(db, "PRAGMA integrity_check(1)")?;
        sums(db)?;
    } else if !closed {
        sound(db, "PRAGMA quick_check(1)")?;
    }
    // A number given twice would take the place of another row.
    let last = "SELECT count(*) FROM number WHERE last >= coalesce((SELECT max(seq) FROM entry), 0)
                  AND last >= coalesce((SELECT max(id) FROM dead), 0) AND last >= coalesce((SELECT max(id) FROM request), 0)";
    if db.number(last, [])? == 1 { Ok(()) } else { Err(damaged()) }
}

fn sound(db: &Database, pragma: &str) -> Result<(), StoreError> {
    let found = db.one(pragma, [], |row| get::<String>(row, 0))?;
    if found.as_deref() == Some("ok") { Ok(()) } else { Err(damaged()) }
}

fn sums(db: &Database) -> Result<(), StoreError> {
    for sql in [
        "SELECT stream, key, version, kind, born, sum, digest, insert_body, update_body, plan FROM entry",
        "SELECT stream, key, version, kind, born, sum, digest, insert_body, update_body, plan FROM verification",
        "SELECT stream, key, version, kind, born, sum, digest, insert_body, update_body, plan FROM dead WHERE waiting > 0",
    ] {
        db.all(sql, [], |row| {
            let key = blob(row, 1)?.ok_or_else(damaged)?;
            Stored::read(row, 2, get(row, 0)?, key, get(row, 9)?).map(drop)
        })?;
    }
    db.all("SELECT stream, key, bound, digest, version, seen, sum FROM idx", [], |row| {
        index_row(row, 2, get(row, 0)?, blob(row, 1)?.ok_or_else(damaged)?).map(drop)
    })?;
    for stream in db.all("SELECT stream FROM checkpoint", [], |row| get(row, 0))? {
        state::load(db, stream)?;
    }
    db.all("SELECT name, value, sum FROM kv", [], |row| {
        sum::check(sum::of_value(&get::<String>(row, 0)?, &get::<Vec<u8>>(row, 1)?), get(row, 2)?)
    })
    .map(drop)
}
