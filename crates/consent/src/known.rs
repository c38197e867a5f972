//! What is known of one opt-out of one contact: both sides as they were last read, and what is under way.

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::chain::unsigned;
use crate::error::{LedgerError, damaged, failed};
use crate::keyed::{Hash, Hashes};
use crate::{Agreed, Side};

/// A side as it was last read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// What it held.
    pub side: Side,
    /// When the read began, in milliseconds since 1970.
    pub at_ms: i64,
}

/// A decision whose writes have no end yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The decision's number in the ledger.
    pub decision: u64,
    /// The value that is written.
    pub value: bool,
    /// When it was decided, in milliseconds since 1970.
    pub at_ms: i64,
}

/// The last known state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Known {
    /// Dynamics 365; `None` as long as it was never read.
    pub d365: Option<Seen>,
    /// Campaign; `None` as long as it was never read.
    pub campaign: Option<Seen>,
    /// What both held when they were last seen to be equal.
    pub agreed: Option<Agreed>,
    /// What is under way.
    pub pending: Option<Pending>,
    /// The contact may have changed since, and could not be read.
    #[serde(default)]
    pub unread: bool,
}

impl Known {
    /// Whether either side, or a decision under way, says that the person opted out.
    pub fn is_opted_out(&self) -> bool {
        let says = |seen: Option<Seen>| seen.is_some_and(|seen| seen.side.is_opted_out());
        says(self.d365) || says(self.campaign) || self.pending.is_some_and(|pending| pending.value)
    }
}

fn seal(hashes: &Hashes, contact: &[u8], attribute: &str, last: i64, state: &[u8]) -> Hash {
    hashes.row(&[b"known", contact, attribute.as_bytes(), &last.to_le_bytes(), state])
}

type Row = (i64, Vec<u8>, Vec<u8>);

fn open(hashes: &Hashes, contact: &[u8], attribute: &str, (last, state, sealed): Row) -> Result<Known, LedgerError> {
    if sealed != seal(hashes, contact, attribute, last, &state) {
        return Err(damaged());
    }
    serde_json::from_slice(&state).map_err(|_| damaged())
}

/// What is known of an attribute, with the number of its newest entry.
pub(crate) fn load(
    connection: &Connection,
    hashes: &Hashes,
    contact: &Hash,
    attribute: &str,
) -> Result<Option<(Known, i64)>, LedgerError> {
    let row: Option<Row> = connection
        .prepare_cached("SELECT last, state, seal FROM known WHERE contact = ?1 AND attribute = ?2")
        .and_then(|mut select| {
            select.query_row(params![contact, attribute], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()
        })
        .map_err(failed)?;
    let Some(row) = row else { return Ok(None) };
    let last = row.0;
    Ok(Some((open(hashes, contact, attribute, row)?, last)))
}

/// Everything that is known of a contact.
pub(crate) fn all(
    connection: &Connection,
    hashes: &Hashes,
    contact: &Hash,
) -> Result<Vec<(String, Known)>, LedgerError> {
    let mut select = connection
        .prepare_cached("SELECT attribute, last, state, seal FROM known WHERE contact = ?1 ORDER BY attribute")
        .map_err(failed)?;
    let mut rows = select.query([contact]).map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let columns = (|| Ok::<_, rusqlite::Error>((row.get(0)?, (row.get(1)?, row.get(2)?, row.get(3)?))))();
        let (attribute, row): (String, Row) = columns.map_err(failed)?;
        let known = open(hashes, contact, &attribute, row)?;
        found.push((attribute, known));
    }
    Ok(found)
}

pub(crate) fn save(
    connection: &Connection,
    hashes: &Hashes,
    contact: &Hash,
    attribute: &str,
    known: &Known,
    last: i64,
) -> Result<(), LedgerError> {
    let state = serde_json::to_vec(known).map_err(|_| damaged())?;
    let seal = seal(hashes, contact, attribute, last, &state);
    connection
        .prepare_cached(
            "INSERT INTO known(contact, attribute, last, state, seal) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT(contact, attribute) DO UPDATE SET last = ?3, state = ?4, seal = ?5",
        )
        .and_then(|mut insert| insert.execute(params![contact, attribute, last, state, seal]))
        .map_err(failed)
        .map(drop)
}

/// Forgets a contact.
pub(crate) fn forget(connection: &Connection, contact: &Hash) -> Result<(), LedgerError> {
    connection.execute("DELETE FROM known WHERE contact = ?1", [contact]).map_err(failed).map(drop)
}

/// The number of the newest entry that the state of an attribute knows of.
pub(crate) fn last(connection: &Connection, contact: &[u8], attribute: &str) -> Result<Option<i64>, LedgerError> {
    connection
        .prepare_cached("SELECT last FROM known WHERE contact = ?1 AND attribute = ?2")
        .and_then(|mut select| select.query_row(params![contact, attribute], |row| row.get(0)).optional())
        .map_err(failed)
}

/// The newest entry of the first state that is not what was written.
pub(crate) fn first_broken(connection: &Connection, hashes: &Hashes) -> Result<Option<u64>, LedgerError> {
    let mut select = connection.prepare("SELECT contact, attribute, last, state, seal FROM known").map_err(failed)?;
    let mut rows = select.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let last: i64 = row.get(2).map_err(failed)?;
        let columns = (|| Ok::<_, rusqlite::Error>((row.get(0)?, row.get(1)?, (last, row.get(3)?, row.get(4)?))))();
        let sound = columns
            .ok()
            .and_then(|(contact, attribute, row): (Vec<u8>, String, Row)| open(hashes, &contact, &attribute, row).ok());
        if sound.is_none() {
            return Ok(Some(unsigned(last)));
        }
    }
    Ok(None)
}
