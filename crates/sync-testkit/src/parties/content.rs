use std::hash::{DefaultHasher, Hash, Hasher};

use record::{Change, ChangeBody, FieldName, Key, Record, Value};
use sync_core::traits::{Decision, Parent, Rejection, Transform};
use sync_core::{Digest, Payload, PlanVersion, StreamId};

/// A mark in every value: it must never be seen in an event, a log or an error.
pub const CANARY: &str = "canary-6f1d";

/// What a row means for the mapping and for the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// It is written.
    Plain,
    /// It does not match the filter, and what was written of it is deleted.
    Filtered,
    /// It does not match the filter, and what was written of it stays.
    Kept,
    /// The mapping refuses it.
    Unmappable,
    /// The mapping panics on it.
    Panics,
    /// The destination refuses it for good.
    Refused,
}

impl Kind {
    const ALL: [Self; 6] = [Self::Plain, Self::Filtered, Self::Kept, Self::Unmappable, Self::Panics, Self::Refused];

    fn text(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Filtered => "filtered",
            Self::Kept => "kept",
            Self::Unmappable => "unmappable",
            Self::Panics => "panics",
            Self::Refused => "refused",
        }
    }

    fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.text() == text)
    }
}

/// What a row says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Content {
    /// Identifies the value; equal numbers are equal values.
    pub number: u64,
    /// What it means.
    pub kind: Kind,
    /// The parent, in the parents' table.
    pub parent: Option<Key>,
}

impl Content {
    pub(super) fn change(&self, key: &Key, version: i64) -> Change {
        let mut record = Record::with_capacity(3);
        record.set(FieldName::from("value"), Value::Text(format!("{}|{CANARY}", self.number).into()));
        record.set(FieldName::from("kind"), Value::Text(self.kind.text().into()));
        if let Some(Key::Text(parent)) = &self.parent {
            record.set(FieldName::from("parent"), Value::Text(parent.clone()));
        }
        Change { key: key.clone(), version: Some(version), body: ChangeBody::Upsert(record) }
    }
}

/// The mapping: the value and the kind, as they are.
#[derive(Debug)]
pub struct Mapping {
    /// The version of the mapping. All versions mean the same.
    pub plan: u64,
    /// The stream of the parents, for a table of children.
    pub parents: Option<StreamId>,
}

fn text<'a>(change: &'a Change, field: &str) -> Option<&'a str> {
    let ChangeBody::Upsert(record) = &change.body else { return None };
    match record.get(field) {
        Some(Value::Text(text)) => Some(text),
        _ => None,
    }
}

impl Transform for Mapping {
    fn decide(&self, change: &Change) -> Result<Decision, Rejection> {
        if matches!(change.body, ChangeBody::Delete) {
            return Ok(Decision::Delete);
        }
        let (Some(value), Some(kind)) = (text(change, "value"), text(change, "kind").and_then(Kind::of)) else {
            return Ok(Decision::Ignore);
        };
        match kind {
            Kind::Filtered => return Ok(Decision::FilteredOut { delete: true }),
            Kind::Kept => return Ok(Decision::FilteredOut { delete: false }),
            Kind::Unmappable => {
                let explanation = "The value has no counterpart at the destination.".to_owned();
                return Err(Rejection { code: "unmappable".to_owned(), field: Some("value".to_owned()), explanation });
            }
            #[expect(clippy::panic, reason = "a mapping that breaks is one of the faults")]
            Kind::Panics => panic!("the mapping breaks on purpose"),
            Kind::Plain | Kind::Refused => {}
        }
        let body = format!("{value}|{}", kind.text());
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let mut digest = [0; 16];
        digest[..8].copy_from_slice(&hasher.finish().to_be_bytes());
        let body = Payload(body.into_bytes().into());
        Ok(Decision::Upsert { insert: body.clone(), update: body.into(), digest: Digest(digest) })
    }

    fn parents(&self, change: &Change) -> Vec<Parent> {
        let parent = text(change, "parent").map(Key::text);
        let named = self.parents.as_ref().zip(parent);
        named.map(|(stream, key)| Parent { stream: stream.clone(), key }).into_iter().collect()
    }

    fn version(&self) -> PlanVersion {
        PlanVersion(self.plan)
    }
}

/// What the destination reads in a body: the value's number, and whether it refuses it.
pub(super) fn body_of(payload: &Payload) -> Option<(u64, bool)> {
    let text = std::str::from_utf8(&payload.0).ok()?;
    let mut parts = text.split('|');
    let number = parts.next()?.parse().ok()?;
    let (_canary, kind) = (parts.next()?, parts.next()?);
    Some((number, Kind::of(kind)? == Kind::Refused))
}
