//! Small names and numbers that everything else is made of.

use std::fmt;
use std::ops::AddAssign;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One table of one workflow, such as `ingress/contact`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamId(Arc<str>);

impl StreamId {
    /// A stream of that name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Where a source goes on. Opaque to the engine, and not shown: it may hold a link with a token in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Position(Arc<str>);

impl Position {
    /// A position as the source wrote it.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Position(..)")
    }
}

/// What is written to the destination: opaque to the engine, made by the transform, understood by the destination.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(pub Bytes);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

/// Identifies the content of an update body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 16]);

/// The version of a transform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PlanVersion(pub u64);

/// The number of an entry: grows in the order of appending and is never used twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

/// What became of the records of a stream. Once the backlog is empty, `read` is the sum of the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Changes read.
    pub read: u64,
    /// Created at the destination.
    pub inserted: u64,
    /// Changed at the destination.
    pub updated: u64,
    /// Deleted at the destination.
    pub deleted: u64,
    /// Equal to what was written already: no call.
    pub unchanged: u64,
    /// Filtered out.
    pub filtered: u64,
    /// Replaced in the backlog by a newer state of the same record.
    pub superseded: u64,
    /// Deletes of something never written, or deletes that are not applied.
    pub ignored: u64,
    /// Dead letters.
    pub dead: u64,
}

impl Tally {
    /// What was read and is not settled yet.
    pub fn unsettled(&self) -> u64 {
        let settled = self.inserted
            + self.updated
            + self.deleted
            + self.unchanged
            + self.filtered
            + self.superseded
            + self.ignored
            + self.dead;
        self.read.saturating_sub(settled)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.deleted += other.deleted;
        self.unchanged += other.unchanged;
        self.filtered += other.filtered;
        self.superseded += other.superseded;
        self.ignored += other.ignored;
        self.dead += other.dead;
    }
}
