use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use record::{Change, Key};

use super::{Class, Phase};
use crate::{EndpointError, EndpointErrorKind, Position, StatusReason};

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

    /// Reads the whole table once more, untracked and page by page; `None` begins. Used to find changes that no change feed
    /// told of, and to write all records again. A row that exists during the whole scan is met at least once.
    ///
    /// # Errors
    /// [`EndpointErrorKind::Expired`](crate::EndpointErrorKind::Expired) when the position is no longer served: the engine
    /// begins the scan anew.
    async fn scan(
        &self,
        _after: Option<&Position>,
        _limit: BatchLimit,
        _depth: ScanDepth,
    ) -> Result<ScanPage, EndpointError> {
        Err(EndpointError::new(
            EndpointErrorKind::Refused,
            "scan-unsupported",
            "This source cannot be scanned.",
            "Do not ask for a replay or a sweep of it.",
        ))
    }

    /// What somebody should look at although reads succeed, such as an export that does not come any more. Asked after each read
    /// that succeeded; shown as the reason of the running workflow until it is `None` again.
    fn notice(&self) -> Option<StatusReason> {
        None
    }

    /// The present state of single records, in the order of `keys`; an absent record is a
    /// [`ChangeBody::Delete`](record::ChangeBody::Delete). Only positive evidence counts: an error is an error, never "absent".
    ///
    /// # Errors
    /// When the source cannot tell.
    async fn fetch(&self, keys: &[Key]) -> Result<Vec<Change>, EndpointError>;
}

/// What a source can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourceCaps {
    /// Whether deletes are reported in incremental reads.
    pub deletes: bool,
    /// Whether [`Source::scan`] is there.
    pub scan: bool,
    /// How long a position is served after it was given, as far as that is known.
    pub retention: Option<Duration>,
}

/// How much to answer at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimit {
    /// Rows wanted; a source with a page size of its own may answer fewer.
    pub rows: u32,
    /// How urgent the request is among others of the same identity.
    pub class: Class,
}

/// How much a scan is to tell of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanDepth {
    /// Key and version.
    Versions,
    /// The whole row.
    Rows,
}

/// One page of a scan.
#[derive(Debug)]
pub struct ScanPage {
    /// The rows.
    pub rows: Vec<ScannedRow>,
    /// Where to go on; `None` at the end of the table.
    pub next: Option<Position>,
}

/// One row that a scan met.
#[derive(Debug)]
pub struct ScannedRow {
    /// The record.
    pub key: Key,
    /// The row version.
    pub version: Option<i64>,
    /// The row, for [`ScanDepth::Rows`]; a row that cannot be read is a [`ChangeBody::Unreadable`](record::ChangeBody).
    pub change: Option<Change>,
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
