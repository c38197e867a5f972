use std::fmt::{self, Debug};

use record::{Change, Key};

use crate::{Digest, Payload, PlanVersion, StreamId};

/// From a change at the source to what the destination is to hold. Pure: same input, same answer, no I/O.
pub trait Transform: Debug + Send + Sync {
    /// Decides about one change.
    ///
    /// # Errors
    /// A [`Rejection`] when this record cannot be mapped: it becomes a dead letter and holds up nothing else.
    fn decide(&self, change: &Change) -> Result<Decision, Rejection>;

    /// Decides about one change while an operator has all records written again: then a body also carries what is otherwise
    /// written only at the first time. The digest is that of [`Transform::decide`].
    ///
    /// # Errors
    /// As [`Transform::decide`].
    fn decide_replay(&self, change: &Change) -> Result<Decision, Rejection> {
        self.decide(change)
    }

    /// The records that have to be at the destination before this one is written. Asked for changes whose decision is to
    /// write them. An entry waits for each parent that is not there yet.
    ///
    /// Records may refer to each other in a circle: the one that closes it does not wait for its parent there.
    fn parents(&self, _change: &Change) -> Vec<Parent> {
        Vec::new()
    }

    /// Changes whenever the meaning of [`Transform::decide`] does.
    fn version(&self) -> PlanVersion;
}

/// A record that another one depends on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Parent {
    /// The stream that writes it, of the same store.
    pub stream: StreamId,
    /// Its key there.
    pub key: Key,
}

/// What is to happen with one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The destination is to hold this.
    Upsert {
        /// What creates the record.
        insert: Payload,
        /// What changes an existing one.
        update: Update,
        /// Identifies the content of `update`: equal digests cost no call.
        digest: Digest,
    },
    /// The record was deleted at the source and is to be deleted.
    Delete,
    /// The record does not match the filter.
    FilteredOut {
        /// Whether a record written earlier is to be deleted.
        delete: bool,
    },
    /// Nothing is to happen (a delete where deletes are not applied).
    Ignore,
}

/// What changes an existing record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// This body.
    Body(Payload),
    /// Nothing can: the record may be created, but where it exists already, it becomes a dead letter. A value that the
    /// destination has no way to clear is such a case.
    Impossible(Rejection),
}

impl From<Payload> for Update {
    fn from(body: Payload) -> Self {
        Self::Body(body)
    }
}

/// Why a single record was refused, by the mapping or by the destination. Never carries a value of the record.
#[derive(Clone, PartialEq, Eq)]
pub struct Rejection {
    /// A stable code in kebab case, such as `text-too-long`.
    pub code: String,
    /// The field at fault, where one is.
    pub field: Option<String>,
    /// What is wrong and how to mend it, without the value.
    pub explanation: String,
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rejection({}, {:?}: {})", self.code, self.field, self.explanation)
    }
}
