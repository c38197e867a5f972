//! Columns as values and back.

use std::borrow::Cow;

use record::Key;
use rusqlite::Row;
use sync_core::traits::{Class, Draft, DraftBody, EntryBody, Rejection, Update};
use sync_core::{Digest, Payload, Seq, StoreError};

use crate::database::{Database, get};
use crate::error::{damaged, store_error};
use crate::seal::{BodyOf, Place, Seal};
use crate::sum;

pub(crate) const READY: i64 = 0;
pub(crate) const UNKNOWN: i64 = 2;

pub(crate) const UPSERT: i64 = 0;
pub(crate) const DELETE: i64 = 1;
/// An upsert whose update is impossible: in the place of the update's body stands the reason.
pub(crate) const CREATE: i64 = 2;

const INSERT: &str = "insert";
const UPDATE: &str = "update";

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

pub(crate) fn blob<'r>(row: &'r Row<'_>, column: usize) -> Result<Option<&'r [u8]>, StoreError> {
    row.get_ref(column).map_err(store_error)?.as_blob_or_null().map_err(|_| damaged())
}

/// The columns of a draft's body, as they are stored.
pub(crate) struct Columns<'b> {
    pub(crate) kind: i64,
    pub(crate) digest: Option<&'b [u8]>,
    pub(crate) insert: Option<Cow<'b, [u8]>>,
    pub(crate) update: Option<Cow<'b, [u8]>>,
    pub(crate) sum: i64,
}

impl<'b> Columns<'b> {
    /// The columns of a draft of this key that is stored in the entry of number `born`.
    pub(crate) fn of(
        db: &Database,
        stream: i64,
        key: &[u8],
        born: i64,
        plan: i64,
        draft: &'b Draft,
    ) -> Result<Self, StoreError> {
        let DraftBody::Upsert { insert, update, digest } = &draft.body else {
            let of = BodyOf { stream, key, kind: DELETE, born, digest: &[] };
            let sum = sum::of_body(of, plan, draft.version, None, None);
            return Ok(Self { kind: DELETE, digest: None, insert: None, update: None, sum });
        };
        let (kind, update) = update_columns(update);
        let of = BodyOf { stream, key, kind, born, digest: &digest.0 };
        let insert = db.seal.close(Place::Body { of, column: INSERT }, insert.0.as_ref().into())?;
        let update = db.seal.close(Place::Body { of, column: UPDATE }, update)?;
        let sum = sum::of_body(of, plan, draft.version, Some(&insert), Some(&update));
        Ok(Self { kind, digest: Some(&digest.0), insert: Some(insert), update: Some(update), sum })
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

/// What is stored of a body.
pub(crate) struct Stored<'r> {
    of: BodyOf<'r>,
    digest: Option<&'r [u8]>,
    insert: Option<&'r [u8]>,
    update: Option<&'r [u8]>,
}

impl<'r> Stored<'r> {
    /// From the columns version, kind, born, sum, digest, insert_body, update_body beginning at `at`.
    pub(crate) fn read(row: &'r Row<'_>, at: usize, stream: i64, key: &'r [u8], plan: i64) -> Result<Self, StoreError> {
        let [kind, born, stored] = [get(row, at + 1)?, get(row, at + 2)?, get(row, at + 3)?];
        let [digest, insert, update] = [blob(row, at + 4)?, blob(row, at + 5)?, blob(row, at + 6)?];
        let of = BodyOf { stream, key, kind, born, digest: digest.unwrap_or_default() };
        sum::check(sum::of_body(of, plan, get(row, at)?, insert, update), stored)?;
        Ok(Self { of, digest, insert, update })
    }

    pub(crate) fn open(self, seal: &Seal) -> Result<EntryBody, StoreError> {
        let Self { of, digest, insert, update: body } = self;
        match (of.kind, digest, insert, body) {
            (DELETE, None, None, None) => Ok(EntryBody::Delete),
            (kind @ (UPSERT | CREATE), Some(digest), Some(insert), Some(body)) => {
                let insert = seal.open(Place::Body { of, column: INSERT }, insert.to_vec())?;
                let body = seal.open(Place::Body { of, column: UPDATE }, body.to_vec())?;
                let digest = Digest(digest.try_into().map_err(|_| damaged())?);
                Ok(EntryBody::Upsert { insert: Payload(insert.into()), update: update(kind, body)?, digest })
            }
            _ => Err(damaged()),
        }
    }
}
