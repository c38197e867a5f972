use std::fmt::Debug;

use async_trait::async_trait;
use record::{Change, Key};

use super::Phase;
use crate::{EndpointError, Position};

/// Where changes come from.
///
/// Pull, not push: restart, back-pressure and replay come free. The engine calls [`Source::read`] from one task at a
/// time and stores the answered position only together with the changes it stands for.
#[async_trait]
pub trait Source: Debug + Send + Sync {
    /// What this source can do.
    fn capabilities(&self) -> SourceCaps;

    /// Changes strictly after `after`; `None` starts a snapshot.
    ///
    /// Repeatable: reading the same position again never skips a change. A page may be shorter than asked for.
    ///
    /// # Errors
    /// [`EndpointErrorKind::Expired`](crate::EndpointErrorKind::Expired) when the position is no longer served (or was
    /// made for other columns): the engine starts a new snapshot and then looks for records that vanished.
    ///
    /// # Cancellation safety
    /// Dropping the future loses nothing: the same position is read again.
    async fn read(&self, after: Option<&Position>, limit: BatchLimit) -> Result<ChangeBatch, EndpointError>;

    /// The present state of single records, in the order of `keys`; an absent record is a
    /// [`ChangeBody::Delete`](record::ChangeBody::Delete). Only positive evidence counts: an error is an error, never "absent".
    ///
    /// # Errors
    /// When the source cannot tell.
    async fn fetch(&self, keys: &[Key]) -> Result<Vec<Change>, EndpointError>;
}

/// What a source can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceCaps {
    /// Whether deletes are reported in incremental reads.
    pub deletes: bool,
}

/// How much to answer at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimit {
    /// Rows wanted; a source with a page size of its own may answer fewer.
    pub rows: u32,
}

/// One answer of a source.
#[derive(Debug)]
pub struct ChangeBatch {
    /// The changes, in the order in which they are to be applied.
    pub changes: Vec<Change>,
    /// Where to go on; valid once the changes are durable.
    pub next: Position,
    /// Whether this batch belongs to a snapshot or to the changes after it.
    pub phase: Phase,
    /// Whether more is ready at once; `false` at the end of a snapshot and of a change feed.
    pub more: bool,
}
