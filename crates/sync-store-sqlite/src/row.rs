//! Columns as values and back.

use record::Key;
use rusqlite::Row;
use sync_core::traits::EntryBody;
use sync_core::{Digest, Payload, Seq, StoreError};

use crate::error::{damaged, store_error};

pub(crate) const READY: i64 = 0;
pub(crate) const IN_FLIGHT: i64 = 1;
pub(crate) const UNKNOWN: i64 = 2;

pub(crate) const UPSERT: i64 = 0;
pub(crate) const DELETE: i64 = 1;

/// SQLite's integers are signed; ours are bit patterns or counts far below the sign.
#[expect(clippy::cast_possible_wrap, reason = "a bit pattern, read back by `unsigned`")]
pub(crate) fn signed(value: u64) -> i64 {
    value as i64
}

#[expect(clippy::cast_sign_loss, reason = "a bit pattern, written by `signed`")]
pub(crate) fn unsigned(value: i64) -> u64 {
    value as u64
}

pub(crate) fn seq(value: i64) -> Seq {
    Seq(unsigned(value))
}

pub(crate) fn key(bytes: &[u8]) -> Result<Key, StoreError> {
    Key::from_bytes(bytes).map_err(|_| damaged())
}

pub(crate) fn digest(bytes: Option<Vec<u8>>) -> Result<Option<Digest>, StoreError> {
    bytes.map(|bytes| bytes.try_into().map(Digest).map_err(|_| damaged())).transpose()
}

/// The body of an entry, from the columns kind, digest, insert_body, update_body beginning at `at`.
pub(crate) fn body(row: &Row<'_>, at: usize) -> Result<EntryBody, StoreError> {
    if row.get::<_, i64>(at).map_err(store_error)? == DELETE {
        return Ok(EntryBody::Delete);
    }
    let digest = digest(row.get(at + 1).map_err(store_error)?)?.ok_or_else(damaged)?;
    let payload = |column: usize| -> Result<Payload, StoreError> {
        let bytes: Option<Vec<u8>> = row.get(column).map_err(store_error)?;
        bytes.map(|bytes| Payload(bytes.into())).ok_or_else(damaged)
    };
    Ok(EntryBody::Upsert { insert: payload(at + 2)?, update: payload(at + 3)?, digest })
}
