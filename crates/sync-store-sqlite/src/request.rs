//! Requests of operators: left in the file by whoever asks, carried out by whoever runs the workflow.

use rusqlite::params;
use sync_core::StoreError;
use sync_core::traits::{PendingRequest, Request};

use crate::database::{Database, get};
use crate::error::damaged;
use crate::number::Numbers;
use crate::row::unsigned;

pub(crate) fn leave(db: &Database, request: &Request, now_ms: i64) -> Result<u64, StoreError> {
    let mut numbers = Numbers::new(db);
    let id = numbers.next()?;
    let text = serde_json::to_string(request).map_err(|error| damaged().with_source(error))?;
    db.execute("INSERT INTO request(id, what, at_ms) VALUES (?1, ?2, ?3)", params![id, text, now_ms])?;
    numbers.keep()?;
    Ok(unsigned(id))
}

pub(crate) fn pending(db: &Database) -> Result<Vec<PendingRequest>, StoreError> {
    db.all("SELECT id, what, at_ms FROM request ORDER BY id", [], |row| {
        let text: String = get(row, 1)?;
        let request = serde_json::from_str(&text).map_err(|error| damaged().with_source(error))?;
        Ok(PendingRequest { id: unsigned(get(row, 0)?), request, at_ms: get(row, 2)? })
    })
}
