use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use record::Key;

use super::{Class, Rejection};
use crate::{EndpointError, Payload, Seq};

/// Where records are written.
///
/// The engine never has two operations of one key in flight. An operation may be repeated after an unknown outcome;
/// every implementation must bear that.
#[async_trait]
pub trait Destination: Debug + Send + Sync {
    /// What this destination can do.
    fn capabilities(&self) -> DestinationCaps;

    /// Performs the operations and fills `report`, whose outcomes start as [`Outcome::Unknown`]: silence is never success.
    ///
    /// # Errors
    /// `Err` means that *nothing* was dispatched.
    ///
    /// # Cancellation safety
    /// Dropping the future leaves the operations unknown; the engine treats them so.
    async fn apply(&self, at: &Attempt, ops: &[WriteOp], report: &mut Report) -> Result<(), EndpointError>;

    /// Settles unknown operations by reading the destination: [`Outcome::Exists`] or [`Outcome::Missing`]. Never writes.
    ///
    /// # Errors
    /// When the destination cannot be asked; the operations stay unknown.
    async fn resolve(&self, at: &Attempt, ops: &[WriteOp], report: &mut Report) -> Result<(), EndpointError>;
}

/// What a destination can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DestinationCaps {
    /// Whether the destination itself refuses a second record of one key. If so, an unknown write is repeated at once;
    /// if not, the engine waits for `settle`, reads, and only then writes again.
    pub unique_key: bool,
    /// How long after it was sent a write may still take effect.
    pub settle: Duration,
    /// Operations that may be in flight at the same time.
    pub in_flight: usize,
}

/// One try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Counts from 1 for each entry.
    pub number: u32,
    /// Whether an earlier attempt at this record, of this entry or of one before it, may have taken effect.
    pub in_doubt: bool,
    /// How urgent it is among others of the same identity.
    pub class: Class,
    /// When the entry was appended, in milliseconds since 1970 (UTC): what it says of the record may be as old. A newer state that took its place
    /// changes nothing about that. 0 where nobody knows, as for a second look after an unknown outcome.
    pub appended_ms: i64,
}

/// One operation.
#[derive(Debug, Clone)]
pub struct WriteOp {
    /// The entry it belongs to.
    pub seq: Seq,
    /// The record.
    pub key: Key,
    /// What to do.
    pub action: Action,
}

/// What to do with a record.
#[derive(Debug, Clone)]
pub enum Action {
    /// Create it.
    Create(Payload),
    /// Change it.
    Update(Payload),
    /// Delete it.
    Delete,
}

/// What became of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect.
    Applied,
    /// A create found the key taken; nothing was changed. Also the answer of `resolve`.
    Exists,
    /// An update or delete found no such record. Also the answer of `resolve`.
    Missing,
    /// It certainly had no effect and may be tried again.
    Retry {
        /// The destination's own wish.
        after: Option<Duration>,
        /// A stable code in kebab case.
        code: String,
    },
    /// It certainly had no effect, because something that it refers to is not there yet. It is tried again later and blocks
    /// nothing but its key; no number of such answers gives the record up, only its age does
    /// ([`EngineOptions::parent_wait`](crate::EngineOptions::parent_wait)).
    NotYet {
        /// A stable code in kebab case; also that of the dead letter in the end.
        code: String,
    },
    /// It certainly had no effect and never will: the record becomes a dead letter.
    Rejected(Rejection),
    /// It may or may not have taken effect.
    Unknown {
        /// A stable code in kebab case.
        code: String,
    },
}

/// The outcomes of one call, one per operation and in their order.
#[derive(Debug)]
pub struct Report {
    outcomes: Vec<Outcome>,
}

impl Report {
    /// A report in which everything is unknown.
    pub fn new(operations: usize) -> Self {
        Self { outcomes: vec![Outcome::Unknown { code: "not-reported".into() }; operations] }
    }

    /// Sets the outcome of the operation at `index`; an index out of range is ignored.
    pub fn set(&mut self, index: usize, outcome: Outcome) {
        if let Some(slot) = self.outcomes.get_mut(index) {
            *slot = outcome;
        }
    }

    /// The outcomes.
    pub fn into_outcomes(self) -> Vec<Outcome> {
        self.outcomes
    }
}
