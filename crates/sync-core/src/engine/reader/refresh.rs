//! Brings up to date what another plan made: lists the keys, and has each decided anew from its state at the source.
//!
//! This is done by the reader, and with no read under way, so that a state of the feed can never take the place of a newer one
//! that was asked for here.

use record::Key;

use super::{Absent, ReaderAction};

/// How far it is.
#[derive(Debug, Clone)]
pub(super) enum Refresh {
    Listing { after: Option<Key>, complete: bool },
    Asking { keys: Vec<Key> },
}

/// The next step.
#[derive(Debug)]
pub(super) enum Next {
    Do(ReaderAction),
    Done,
}

impl Refresh {
    pub(super) fn new() -> Self {
        Self::Listing { after: None, complete: false }
    }

    pub(super) fn listed(self, keys: Vec<Key>) -> Self {
        match self {
            Self::Listing { after, .. } if keys.is_empty() => Self::Listing { after, complete: true },
            Self::Listing { .. } => Self::Asking { keys },
            asking @ Self::Asking { .. } => asking,
        }
    }

    /// The decisions are durable.
    pub(super) fn appended(self) -> Self {
        match self {
            Self::Asking { keys } => Self::Listing { after: keys.last().cloned(), complete: false },
            listing @ Self::Listing { .. } => listing,
        }
    }

    pub(super) fn next(&self, chunk: usize) -> Next {
        match self {
            Self::Listing { complete: true, .. } => Next::Done,
            Self::Listing { after, .. } => Next::Do(ReaderAction::Outdated { after: after.clone(), limit: chunk }),
            Self::Asking { keys } => Next::Do(ReaderAction::Fetch { keys: keys.clone(), absent: Absent::AsMapped }),
        }
    }
}
