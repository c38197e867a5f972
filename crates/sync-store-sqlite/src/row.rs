//! Columns as values and back.

use std::borrow::Cow;

use record::Key;
use rusqlite::Row;
use sync_core::traits::{Class, DraftBody, EntryBody, Rejection, Update};
use sync_core::{Digest, Payload, Seq, StoreError};

use crate::database::get;
use crate::error::damaged;

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

/// Yes or no; anything else means damage.
pub(crate) fn flag(row: &Row<'_>, column: usize) -> Result<bool, StoreError> {
    match get::<i64>(row, column)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(damaged()),
    }
}

pub(crate) fn class(row: &Row<'_>, column: usize) -> Result<Class, StoreError> {
    let rank = u8::try_from(get::<i64>(row, column)?).ok();
    rank.and_then(Class::of_rank).ok_or_else(damaged)
}

/// The columns of a draft's body.
pub(crate) struct Columns<'b> {
    pub(crate) kind: i64,
    pub(crate) digest: Option<&'b [u8]>,
    pub(crate) insert: Option<Cow<'b, [u8]>>,
    pub(crate) update: Option<Cow<'b, [u8]>>,
}

impl<'b> Columns<'b> {
    pub(crate) fn of(body: &'b DraftBody) -> Self {
        match body {
            DraftBody::Upsert { insert, update, digest } => {
                let (kind, update) = update_columns(update);
                let insert = Some(insert.0.as_ref().into());
                Self { kind, digest: Some(&digest.0), insert, update: Some(update) }
            }
            _ => Self { kind: DELETE, digest: None, insert: None, update: None },
        }
    }
}

/// The columns kind and update_body of an upsert.
fn update_columns(update: &Update) -> (i64, Cow<'_, [u8]>) {
    match update {
        Update::Body(body) => (UPSERT, body.0.as_ref().into()),
        Update::Impossible(Rejection { code, field, explanation }) => {
            let field = field.as_deref().unwrap_or_default();
            (CREATE, format!("{code}{BETWEEN}{field}{BETWEEN}{explanation}").into_bytes().into())
        }
    }
}

fn update(kind: i64, bytes: Vec<u8>) -> Result<Update, StoreError> {
    match kind {
        UPSERT => return Ok(Update::Body(Payload(bytes.into()))),
        CREATE => {}
        _ => return Err(damaged()),
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
    let kind = get(row, at)?;
    if kind == DELETE {
        return Ok(EntryBody::Delete);
    }
    let digest = digest(get(row, at + 1)?)?.ok_or_else(damaged)?;
    let insert = Payload(get::<Vec<u8>>(row, at + 2)?.into());
    Ok(EntryBody::Upsert { insert, update: update(kind, get(row, at + 3)?)?, digest })
}
