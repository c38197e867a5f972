//! What the store in memory remembers of an entry, a verification and a dead letter.

use std::collections::BTreeSet;

use record::Key;

use crate::traits::{Class, DeadLetter, EntryBody, LetterFilter, Parent, Rejection};
use crate::{Digest, PlanVersion, Seq, StreamId};

/// What is to be written, and where it comes from.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) body: EntryBody,
    pub(super) version: Option<i64>,
    pub(super) plan: PlanVersion,
    pub(super) class: Class,
    pub(super) replay: bool,
    /// The newest generation that met this key while it waits.
    pub(super) generation: u64,
}

impl Content {
    pub(super) fn digest(&self) -> Option<Digest> {
        match self.body {
            EntryBody::Upsert { digest, .. } => Some(digest),
            EntryBody::Delete => None,
        }
    }

    /// Deletes are the same under every plan.
    pub(super) fn outdated(&self, plan: PlanVersion) -> bool {
        self.plan != plan && self.digest().is_some()
    }
}

/// An unsettled entry.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) key: Key,
    pub(super) content: Content,
    /// The nonce of the lease that claimed it.
    pub(super) holder: Option<u64>,
    pub(super) unknown: bool,
    pub(super) verification: bool,
    pub(super) attempt: u32,
    /// 0 for at once.
    pub(super) due_ms: i64,
    pub(super) appended_ms: i64,
    /// Parents that are not there yet.
    pub(super) waiting: BTreeSet<Parent>,
    /// The number under which a delete is held.
    pub(super) held: Option<Seq>,
}

impl Row {
    /// An entry that nobody has tried yet.
    pub(super) fn fresh(key: Key, content: Content, appended_ms: i64) -> Self {
        Self {
            key,
            content,
            holder: None,
            unknown: false,
            verification: false,
            attempt: 0,
            due_ms: 0,
            appended_ms,
            waiting: BTreeSet::new(),
            held: None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Verification {
    pub(super) content: Content,
    pub(super) due_ms: i64,
}

#[derive(Debug)]
pub(super) struct Dead {
    pub(super) id: u64,
    pub(super) rejection: Rejection,
    pub(super) version: Option<i64>,
    pub(super) attempts: u32,
    pub(super) at_ms: i64,
    /// The entry of a newer state of the record, whose end closes this letter.
    pub(super) closed_by: Option<Seq>,
    /// What was given up because these parents did not come.
    pub(super) orphan: Option<(Content, BTreeSet<Parent>)>,
}

impl Dead {
    /// Whether the filter means this letter; its stream was compared before.
    pub(super) fn matches(&self, filter: &LetterFilter) -> bool {
        filter.code.as_ref().is_none_or(|code| *code == self.rejection.code)
            && (filter.ids.is_empty() || filter.ids.contains(&self.id))
            && filter.before_ms.is_none_or(|before_ms| self.at_ms < before_ms)
    }

    pub(super) fn view(&self, stream: &StreamId, key: &Key) -> DeadLetter {
        DeadLetter {
            id: self.id,
            stream: stream.clone(),
            key: key.clone(),
            rejection: self.rejection.clone(),
            attempts: self.attempts,
            at_ms: self.at_ms,
        }
    }
}
