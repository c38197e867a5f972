use std::fmt::Debug;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Rejection;
use crate::{StreamId, Tally, WorkflowStatus};

/// Whoever wants to know what the engine does. Called from the engine's tasks: answer quickly.
pub trait Observer: Debug + Send + Sync {
    /// Something happened.
    fn on_event(&self, _event: &SyncEvent) {}
}

/// Nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}

/// Why a whole table is passed over beside its change feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PassKind {
    /// After a snapshot: changes made while it was read may be in no page and in no later change.
    Closing,
    /// Now and then: whatever was missed, it is found here.
    Audit,
    /// An operator wants all records written again.
    Replay,
}

impl PassKind {
    /// The name in telemetry.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closing => "closing",
            Self::Audit => "audit",
            Self::Replay => "replay",
        }
    }
}

/// The age of a read position against the time for which the source serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PositionState {
    /// Below half of it.
    Fresh,
    /// Above half.
    Aging,
    /// Above three quarters: if the source is not reached soon, the whole table is read again.
    AtRisk,
    /// Above all of it.
    Expired,
}

impl PositionState {
    /// The state of a position of that age.
    pub fn of(age: Duration, retention: Duration) -> Self {
        if age >= retention {
            Self::Expired
        } else if age >= retention / 4 * 3 {
            Self::AtRisk
        } else if age >= retention / 2 {
            Self::Aging
        } else {
            Self::Fresh
        }
    }

    /// The name in telemetry.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Aging => "aging",
            Self::AtRisk => "at-risk",
            Self::Expired => "expired",
        }
    }
}

/// What happened. No event carries a value of a record.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum SyncEvent {
    /// The workflow's status changed.
    Status(WorkflowStatus),
    /// A page was read and appended.
    PageRead {
        /// The stream.
        stream: StreamId,
        /// What was counted.
        tally: Tally,
        /// Whether the page belonged to a snapshot.
        snapshot: bool,
        /// Unsettled entries now.
        backlog: u64,
    },
    /// A snapshot was read to its end.
    SnapshotComplete {
        /// The stream.
        stream: StreamId,
    },
    /// The source no longer serves the position; a new snapshot starts.
    Resnapshot {
        /// The stream.
        stream: StreamId,
        /// The new generation.
        generation: u64,
    },
    /// A pass over the whole table beside the change feed ended.
    PassComplete {
        /// The stream.
        stream: StreamId,
        /// Why it was made.
        kind: PassKind,
        /// Rows met.
        scanned: u64,
        /// Rows read again in full, because they are newer than what is known or are not known.
        reread: u64,
        /// Records looked for one by one, because the pass did not meet them.
        missing: u64,
    },
    /// How old the read position is, measured by how long the source serves one.
    PositionAge {
        /// The stream.
        stream: StreamId,
        /// The new state.
        state: PositionState,
    },
    /// An operator's request was carried out.
    RequestDone {
        /// Its number.
        id: u64,
    },
    /// An operator's request cannot be carried out, and is forgotten.
    RequestRefused {
        /// Its number.
        id: u64,
        /// Why, a stable code.
        code: String,
    },
    /// Entries are ready that had waited for a parent.
    Released {
        /// The stream they are in.
        stream: StreamId,
    },
    /// Entries were settled.
    Settled {
        /// The stream.
        stream: StreamId,
        /// What was counted.
        tally: Tally,
        /// Unsettled entries now.
        backlog: u64,
    },
    /// An outcome is unknown, or was inherited from an earlier run; the key is taken care of.
    UnknownOutcome {
        /// The stream.
        stream: StreamId,
        /// How many.
        count: u64,
        /// Why, a stable code.
        code: String,
    },
    /// A record became a dead letter.
    DeadLettered {
        /// The stream.
        stream: StreamId,
        /// Why.
        rejection: Rejection,
    },
    /// Reading or writing failed for now and is tried again.
    Retrying {
        /// The stream.
        stream: StreamId,
        /// Why, a stable code.
        code: String,
        /// What the service said, in safe words.
        reason: String,
        /// When it is tried again, in milliseconds from now.
        delay_ms: u64,
    },
    /// More records would be deleted than the brake allows; nothing was deleted.
    DeleteBrake {
        /// The stream.
        stream: StreamId,
        /// How many are missing at the source.
        candidates: u64,
        /// How many may go at once.
        allowed: u64,
    },
}
