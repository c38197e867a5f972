//! Columns as values and back.

use record::Key;
use rusqlite::Row;
use sync_core::traits::{EntryBody, Rejection, Update};
use sync_core::{Digest, Payload, Seq, StoreError};

use crate::error::{damaged, store_error};

pub(crate) const READY: i64 = 0;
pub(crate) const UNKNOWN: i64 = 2;

pub(crate) const UPSERT: i64 = 0;
pub(crate) const DELETE: i64 = 1;
/// An upsert whose update is impossible: in the place of the update's body stands the reason.
pub(crate) const CREATE: i64 = 2;

/// Between the parts of a reason; part of no text.
const BETWEEN: char = '\u{1f}';

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

/// The columns kind and update_body of an upsert.
pub(crate) fn update_columns(update: &Update) -> (i64, std::borrow::Cow<'_, [u8]>) {
    match update {
        Update::Body(body) => (UPSERT, body.0.as_ref().into()),
        Update::Impossible(Rejection { code, field, explanation }) => {
            let field = field.as_deref().unwrap_or_default();
            (CREATE, format!("{code}{BETWEEN}{field}{BETWEEN}{explanation}").into_bytes().into())
        }
    }
}

fn update(kind: i64, bytes: Vec<u8>) -> Result<Update, StoreError> {
    if kind == UPSERT {
        return Ok(Update::Body(Payload(bytes.into())));
    }
    let text = String::from_utf8(bytes).map_err(|_| damaged())?;
    let mut parts = text.splitn(3, BETWEEN);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(code), Some(field), Some(explanation)) => Ok(Update::Impossible(Rejection {
            code: code.to_owned(),
            field: Some(field.to_owned()).filter(|field| !field.is_empty()),
            explanation: explanation.to_owned(),
        })),
        _ => Err(damaged()),
    }
}

/// The body of an entry, from the columns kind, digest, insert_body, update_body beginning at `at`.
pub(crate) fn body(row: &Row<'_>, at: usize) -> Result<EntryBody, StoreError> {
    let kind: i64 = row.get(at).map_err(store_error)?;
    if kind == DELETE {
        return Ok(EntryBody::Delete);
    }
    let digest = digest(row.get(at + 1).map_err(store_error)?)?.ok_or_else(damaged)?;
    let bytes = |column: usize| -> Result<Vec<u8>, StoreError> {
        row.get::<_, Option<Vec<u8>>>(column).map_err(store_error)?.ok_or_else(damaged)
    };
    let insert = Payload(bytes(at + 2)?.into());
    Ok(EntryBody::Upsert { insert, update: update(kind, bytes(at + 3)?)?, digest })
}
