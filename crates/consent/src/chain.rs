//! The chain of entries: appending, reading, and finding what was changed since.

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::error::{LedgerError, LedgerErrorKind, damaged, failed};
use crate::feed::{self, Party};
use crate::keyed::{HASH, Hash, Hashes};
use crate::known;
use crate::{Direction, Policy, Side, Verdict};

/// What let a contact be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Source {
    /// A change in Dynamics 365.
    D365Change,
    /// A line of a Campaign export file.
    CampaignFile,
    /// A change found by polling Campaign.
    CampaignPoll,
    /// A look anew: after a conflict, an unknown outcome or a restart.
    Again,
    /// A person or a sweep asked for it.
    Request,
}

/// How the writes of a decision ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Ending {
    /// Every write took effect.
    Written,
    /// Dynamics 365 had another version of the row: decided anew.
    Conflict,
    /// A side refused it.
    Refused,
    /// No answer; it may have taken effect, or may still.
    Unknown,
    /// A later look at both sides took its place.
    Overtaken,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// Both sides were read and a value stands. Recorded before anything is sent; also when nothing is to be sent, if a side
    /// holds another value than last time.
    Decided {
        /// The Campaign attribute, by its name on the wire.
        attribute: String,
        /// What led to the look.
        source: Source,
        /// The direction in force.
        direction: Direction,
        /// The rule in force.
        policy: Policy,
        /// What Dynamics 365 held.
        d365: Side,
        /// What Campaign held.
        campaign: Side,
        /// What is to be done, and why.
        verdict: Verdict,
    },
    /// One side was read alone, and holds another value than last time. Nothing is decided.
    Seen {
        /// The Campaign attribute.
        attribute: String,
        /// What led to the look.
        source: Source,
        /// What Dynamics 365 held, if it was read.
        d365: Option<Side>,
        /// What Campaign held, if it was read.
        campaign: Option<Side>,
    },
    /// The writes of a decision ended.
    Concluded {
        /// The Campaign attribute.
        attribute: String,
        /// The number of the decision.
        decision: u64,
        /// How.
        ending: Ending,
    },
    /// The person was erased: no data of hers may be written again.
    Erased,
    /// The mark was taken back.
    Unerased,
}

impl Event {
    fn kind(&self) -> i64 {
        match self {
            Self::Decided { .. } => 1,
            Self::Concluded { .. } => 2,
            Self::Erased => ERASED,
            Self::Unerased => 4,
            Self::Seen { .. } => 5,
        }
    }

    fn attribute(&self) -> Option<&str> {
        match self {
            Self::Decided { attribute, .. } | Self::Seen { attribute, .. } | Self::Concluded { attribute, .. } => {
                Some(attribute)
            }
            Self::Erased | Self::Unerased => None,
        }
    }
}

pub(crate) const ERASED: i64 = 3;

/// One entry of a contact.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its number in the ledger, from 1.
    pub seq: u64,
    /// When it was recorded, in milliseconds since 1970.
    pub at_ms: i64,
    /// What happened.
    pub event: Event,
}

/// The end of the ledger at some time. Kept elsewhere, it shows later whether the ledger was set back to an older state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The number of entries.
    pub entries: u64,
    /// The link of the last one; zeros when there is none.
    pub link: [u8; 32],
}

/// Where the ledger is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// An entry was changed, moved or put in.
    #[error("entry {0} is not what was recorded, or follows another entry than it did")]
    Changed(u64),
    /// Entries are missing before this number.
    #[error("entry {0} is missing")]
    Missing(u64),
    /// Entries are missing at the end.
    #[error("the entries after {0} are missing")]
    CutOff(u64),
    /// More entries than the end of the ledger tells of.
    #[error("the entries after {0} were put in")]
    PutIn(u64),
    /// The record of the ledger's end was changed.
    #[error("the record of the end was changed")]
    End,
    /// The last known state of a contact was changed, removed or set back; the number is that of an entry of the contact, 0 when it
    /// has none.
    #[error("the last known state that belongs to entry {0} was changed, removed or set back")]
    Known(u64),
    /// How far the changes of a side were followed was changed.
    #[error("how far the changes of a side were followed was changed")]
    Followed,
    /// Not the ledger, or not the newest, that the given end belongs to.
    #[error("the ledger does not lead to the given end at entry {0}")]
    NotTheHead(u64),
}

/// Appends an entry and answers its number.
pub(crate) fn append(
    connection: &Connection,
    hashes: &Hashes,
    contact: &Hash,
    at_ms: i64,
    event: &Event,
) -> Result<i64, LedgerError> {
    let (last, before) = last(connection)?;
    let (seq, kind) = (last + 1, event.kind());
    let body = serde_json::to_vec(event).map_err(|_| damaged())?;
    let link = link(hashes, &before, seq, kind, contact, at_ms, &body);
    connection
        .prepare_cached("INSERT INTO entry(seq, kind, contact, at_ms, body, link) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
        .and_then(|mut insert| insert.execute(params![seq, kind, contact, at_ms, body, link]))
        .map_err(failed)?;
    save_head(connection, hashes, seq, &link)?;
    Ok(seq)
}

fn last(connection: &Connection) -> Result<(i64, Vec<u8>), LedgerError> {
    let last = connection
        .prepare_cached("SELECT seq, link FROM entry ORDER BY seq DESC LIMIT 1")
        .and_then(|mut last| last.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional());
    Ok(last.map_err(failed)?.unwrap_or_default())
}

fn link(hashes: &Hashes, before: &[u8], seq: i64, kind: i64, contact: &[u8], at_ms: i64, body: &[u8]) -> Hash {
    hashes.link(before, &[&seq.to_le_bytes(), &kind.to_le_bytes(), contact, &at_ms.to_le_bytes(), body])
}

/// Notes the end of the ledger.
pub(crate) fn save_head(connection: &Connection, hashes: &Hashes, last: i64, link: &[u8]) -> Result<(), LedgerError> {
    let seal = head_seal(hashes, last, link);
    let changed = connection
        .prepare_cached("UPDATE head SET last = ?1, seal = ?2")
        .and_then(|mut update| update.execute(params![last, seal]))
        .map_err(failed)?;
    if changed == 0 && last == 0 {
        connection.execute("INSERT INTO head(last, seal) VALUES (?1, ?2)", params![last, seal]).map_err(failed)?;
    }
    Ok(())
}

fn head_seal(hashes: &Hashes, last: i64, link: &[u8]) -> Hash {
    hashes.row(&[b"head", &last.to_le_bytes(), link])
}

/// The entries of a contact after a number, oldest first.
pub(crate) fn of_contact(
    connection: &Connection,
    contact: &Hash,
    after: u64,
    limit: usize,
) -> Result<Vec<Entry>, LedgerError> {
    let mut select = connection
        .prepare_cached("SELECT seq, at_ms, body FROM entry WHERE contact = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3")
        .map_err(failed)?;
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = select.query(params![contact, number(after), limit]).map_err(failed)?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let body: Vec<u8> = row.get(2).map_err(failed)?;
        let event = serde_json::from_slice(&body).map_err(|_| damaged())?;
        let seq: i64 = row.get(0).map_err(failed)?;
        entries.push(Entry { seq: unsigned(seq), at_ms: row.get(1).map_err(failed)?, event });
    }
    Ok(entries)
}

/// Whether the newest mark of a contact says that it was erased.
pub(crate) fn is_erased(connection: &Connection, contact: &[u8]) -> Result<bool, LedgerError> {
    Ok(mark(connection, contact)?.is_some_and(|(_, kind)| kind == ERASED))
}

/// The newest mark of a contact.
fn mark(connection: &Connection, contact: &[u8]) -> Result<Option<(i64, i64)>, LedgerError> {
    connection
        .prepare_cached("SELECT seq, kind FROM entry WHERE contact = ?1 AND kind IN (3, 4) ORDER BY seq DESC LIMIT 1")
        .and_then(|mut select| select.query_row([contact], |row| Ok((row.get(0)?, row.get(1)?))).optional())
        .map_err(failed)
}

/// Goes through everything, in memory that does not grow with the ledger.
pub(crate) fn verify(
    connection: &Connection,
    hashes: &Hashes,
    earlier: Option<&Head>,
) -> Result<Result<Head, Broken>, LedgerError> {
    // Every answer is of one state of the file, whatever is appended meanwhile.
    let connection = connection.unchecked_transaction().map_err(failed)?;
    let mut head = Head { entries: 0, link: [0; HASH] };
    let mut before: Vec<u8> = Vec::new();
    let mut broken = earlier.filter(|earlier| earlier.entries == 0 && earlier.link != head.link).map(|_| 0);
    let mut select =
        connection.prepare("SELECT seq, kind, contact, at_ms, body, link FROM entry ORDER BY seq").map_err(failed)?;
    let mut rows = select.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let place = head.entries + 1;
        let seq: i64 = row.get(0).map_err(failed)?;
        if unsigned(seq) != place {
            return Ok(Err(if seq < 1 { Broken::Changed(0) } else { Broken::Missing(place) }));
        }
        let columns =
            (|| Ok::<_, rusqlite::Error>((row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?)))();
        let (kind, contact, at_ms, body, stored): (i64, Vec<u8>, i64, Vec<u8>, Vec<u8>) = match columns {
            Ok(columns) => columns,
            Err(_) => return Ok(Err(Broken::Changed(place))),
        };
        let wanted = link(hashes, &before, seq, kind, &contact, at_ms, &body);
        let Some(event) = serde_json::from_slice::<Event>(&body).ok().filter(|_| stored == wanted) else {
            return Ok(Err(Broken::Changed(place)));
        };
        if let Some(attribute) = event.attribute()
            && known::last(&connection, &contact, attribute)?.is_none_or(|last| last < seq)
            && mark(&connection, &contact)?.is_none_or(|(mark, _)| mark < seq)
        {
            return Ok(Err(Broken::Known(place)));
        }
        head = Head { entries: place, link: wanted };
        before = stored;
        if earlier.is_some_and(|earlier| earlier.entries == place && earlier.link != wanted) {
            broken = Some(place);
        }
    }
    let end: Option<(i64, Vec<u8>)> = connection
        .query_row("SELECT last, seal FROM head", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
        .map_err(failed)?;
    let Some((last, seal)) = end else { return Ok(Err(Broken::End)) };
    if unsigned(last) > head.entries {
        return Ok(Err(Broken::CutOff(head.entries)));
    }
    if unsigned(last) < head.entries {
        return Ok(Err(Broken::PutIn(unsigned(last))));
    }
    if seal != head_seal(hashes, last, &before) {
        return Ok(Err(Broken::End));
    }
    for party in [Party::D365, Party::Campaign] {
        if feed::load(&connection, hashes, party).is_err_and(|error| error.kind() == LedgerErrorKind::Corrupt) {
            return Ok(Err(Broken::Followed));
        }
    }
    if let Some(seq) = known::first_broken(&connection, hashes)? {
        return Ok(Err(Broken::Known(seq)));
    }
    if let Some(earlier) = earlier.filter(|earlier| earlier.entries > head.entries) {
        broken = Some(earlier.entries);
    }
    Ok(broken.map_or(Ok(head), |place| Err(Broken::NotTheHead(place))))
}

pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
