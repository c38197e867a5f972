//! The search for records that a pass over the whole table did not meet: count first, then confirm each at the source.

use record::Key;

use super::{Absent, ReaderAction};
use crate::{StatusReason, StreamId};

/// How far the search is.
#[derive(Debug, Clone)]
pub(super) struct Vanished {
    pass: u64,
    allowed: Option<u64>,
    confirmed: u64,
    stage: Stage,
}

#[derive(Debug, Clone)]
enum Stage {
    /// All candidates are counted before the first is touched.
    Counting { after: Option<Key>, count: u64, complete: bool },
    /// Chunks of candidates are listed...
    Listing { after: Option<Key>, complete: bool },
    /// ...and confirmed.
    Confirming { keys: Vec<Key> },
}

/// The next step of the search.
#[derive(Debug)]
pub(super) enum Next {
    Do(ReaderAction),
    Brake { candidates: u64, allowed: u64 },
    Done,
}

impl Vanished {
    pub(super) fn new(pass: u64) -> Self {
        Self { pass, confirmed: 0, allowed: None, stage: Stage::Counting { after: None, count: 0, complete: false } }
    }

    pub(super) fn bound(mut self, allowed: u64) -> Self {
        self.allowed = Some(allowed);
        self
    }

    pub(super) fn unseen(mut self, keys: Vec<Key>, chunk: usize) -> Self {
        let last = keys.last().cloned();
        let complete = keys.len() < chunk;
        self.stage = match self.stage {
            Stage::Counting { after, count, .. } => {
                let count = count.saturating_add(u64::try_from(keys.len()).unwrap_or(u64::MAX));
                match (complete, self.allowed) {
                    (true, Some(allowed)) if count > 0 && count <= allowed => {
                        Stage::Listing { after: None, complete: false }
                    }
                    _ => Stage::Counting { after: last.or(after), count, complete },
                }
            }
            Stage::Listing { after, .. } if keys.is_empty() => Stage::Listing { after, complete: true },
            Stage::Listing { .. } => Stage::Confirming { keys },
            confirming @ Stage::Confirming { .. } => confirming,
        };
        self
    }

    /// The confirmed chunk is durable.
    pub(super) fn appended(mut self) -> Self {
        if let Stage::Confirming { keys } = self.stage {
            self.confirmed += u64::try_from(keys.len()).unwrap_or(0);
            self.stage = Stage::Listing { after: keys.last().cloned(), complete: false };
        }
        self
    }

    /// Whether no chunk is in hand, so that the feed may be read first.
    pub(super) fn at_border(&self) -> bool {
        !matches!(self.stage, Stage::Confirming { .. })
    }

    /// Records that were looked at one by one.
    pub(super) fn confirmed(&self) -> u64 {
        self.confirmed
    }

    pub(super) fn next(&self, chunk: usize) -> Next {
        let Some(allowed) = self.allowed else { return Next::Do(ReaderAction::CountBound) };
        let list = |after: &Option<Key>| {
            Next::Do(ReaderAction::Unseen { pass: self.pass, after: after.clone(), limit: chunk })
        };
        match &self.stage {
            Stage::Counting { after, complete: false, .. } | Stage::Listing { after, complete: false } => list(after),
            Stage::Counting { count, .. } if *count > allowed => Next::Brake { candidates: *count, allowed },
            Stage::Counting { .. } | Stage::Listing { .. } => Next::Done,
            Stage::Confirming { keys } => Next::Do(ReaderAction::Fetch { keys: keys.clone(), absent: Absent::Deleted }),
        }
    }
}

pub(super) fn brake_reason(stream: &StreamId, candidates: u64, allowed: u64) -> StatusReason {
    StatusReason {
        code: "delete-brake".to_owned(),
        message: format!(
            "{candidates} records of {stream} are missing at the source, and at most {allowed} may be deleted at once; \
             none was deleted."
        ),
        remedy:
            "Check that the source shows all its records to this program. If they are gone indeed, raise the bound \
                 of deletes and start again."
                .to_owned(),
    }
}
