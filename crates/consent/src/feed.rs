//! How far the changes of each side have been followed.
//!
//! A state that was read within a time whose changes were all looked at is as fresh as the end of that time: had it changed, it would
//! have been read again. So the gate needs no read of every contact every hour.

use rusqlite::{Connection, OptionalExtension, params};

use crate::error::{LedgerError, damaged, failed};
use crate::keyed::{Hash, Hashes};

/// A side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Party {
    /// Dynamics 365.
    D365,
    /// Campaign.
    Campaign,
}

impl Party {
    const fn name(self) -> &'static str {
        match self {
            Self::D365 => "d365",
            Self::Campaign => "campaign",
        }
    }
}

/// A time without a gap, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Followed {
    from_ms: i64,
    until_ms: i64,
}

impl Followed {
    pub(crate) fn until_ms(self) -> i64 {
        self.until_ms
    }

    /// When a state that was read at a time was known for the last time.
    pub(crate) fn refreshes(followed: Option<Self>, read_ms: i64) -> i64 {
        match followed {
            Some(Self { from_ms, until_ms }) if read_ms >= from_ms => read_ms.max(until_ms),
            _ => read_ms,
        }
    }
}

fn seal(hashes: &Hashes, party: Party, followed: Followed) -> Hash {
    let Followed { from_ms, until_ms } = followed;
    hashes.row(&[b"feed", party.name().as_bytes(), &from_ms.to_le_bytes(), &until_ms.to_le_bytes()])
}

pub(crate) fn load(connection: &Connection, hashes: &Hashes, party: Party) -> Result<Option<Followed>, LedgerError> {
    let row: Option<(i64, i64, Vec<u8>)> = connection
        .prepare_cached("SELECT from_ms, until_ms, seal FROM feed WHERE party = ?1")
        .and_then(|mut select| {
            select.query_row([party.name()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()
        })
        .map_err(failed)?;
    let Some((from_ms, until_ms, sealed)) = row else { return Ok(None) };
    let followed = Followed { from_ms, until_ms };
    if sealed == seal(hashes, party, followed) { Ok(Some(followed)) } else { Err(damaged()) }
}

/// Joins a time to the one before when they touch, and otherwise begins anew.
pub(crate) fn extend(
    connection: &Connection,
    hashes: &Hashes,
    party: Party,
    from_ms: i64,
    until_ms: i64,
) -> Result<(), LedgerError> {
    let followed = match load(connection, hashes, party)? {
        Some(before) if (before.from_ms..=before.until_ms).contains(&from_ms) => {
            Followed { from_ms: before.from_ms, until_ms: before.until_ms.max(until_ms) }
        }
        _ => Followed { from_ms, until_ms },
    };
    let seal = seal(hashes, party, followed);
    connection
        .prepare_cached("INSERT OR REPLACE INTO feed(party, from_ms, until_ms, seal) VALUES (?1, ?2, ?3, ?4)")
        .and_then(|mut insert| insert.execute(params![party.name(), followed.from_ms, followed.until_ms, seal]))
        .map_err(failed)
        .map(drop)
}
