use std::fmt::Debug;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Rejection;
use crate::telemetry::names::event;
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
    /// A pass over the whole table beside the change feed starts, or goes on where an earlier run left it.
    PassStarted {
        /// The stream.
        stream: StreamId,
        /// Why it is made.
        kind: PassKind,
        /// Whether an earlier run began it.
        resumed: bool,
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
    /// The backlog is as deep as it may be: reading waits until half of it is written.
    BacklogFull {
        /// The stream.
        stream: StreamId,
        /// Unsettled entries now.
        backlog: u64,
    },
    /// An operator's request is taken up.
    RequestBegun {
        /// Its number.
        id: u64,
        /// What is asked: `replay`, `requeue` or `drop`.
        kind: &'static str,
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
    /// Nothing is left to do in a stream but entries that wait for a parent. Said again when their number is another.
    WaitingForParents {
        /// The stream they are in.
        stream: StreamId,
        /// How many.
        count: u64,
    },
    /// Deletes wait until those of children are done. Said when they begin to be waited for.
    DeletesHeld {
        /// The stream they are in.
        stream: StreamId,
        /// How many.
        count: u64,
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
    /// Dead letters were dropped because an operator asked for it.
    DeadLettersDropped {
        /// The stream.
        stream: StreamId,
        /// How many.
        count: u64,
    },
    /// Dead letters were kept for their time and are forgotten.
    DeadLettersForgotten {
        /// The stream.
        stream: StreamId,
        /// How many.
        count: u64,
    },
    /// The records of dead letters were read again and queued because an operator asked for it.
    DeadLettersRequeued {
        /// The stream.
        stream: StreamId,
        /// How many.
        count: u64,
    },
    /// Writing pauses: the destination asked for it or has trouble, now or in an earlier run.
    PauseBegun {
        /// The stream.
        stream: StreamId,
        /// Why, a stable code.
        code: String,
        /// For how long at first, in milliseconds. A pause may be lengthened while it lasts.
        pause_ms: u64,
    },
    /// A pause of writing is over.
    PauseEnded {
        /// The stream.
        stream: StreamId,
        /// How long it was, in milliseconds.
        lasted_ms: u64,
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
    /// The lease was renewed so late that writing had to wait for it.
    LeaseRenewedLate {
        /// How long after it was due, in milliseconds.
        late_ms: u64,
    },
    /// The lease is somebody else's, or has ended: the run ends.
    LeaseLost,
    /// A graceful stop begins.
    StopBegun {
        /// How long requests in flight are awaited at most, in milliseconds.
        deadline_ms: u64,
    },
}

impl SyncEvent {
    /// The stream that it is about, where it is about one.
    pub fn stream(&self) -> Option<&StreamId> {
        match self {
            Self::PageRead { stream, .. }
            | Self::SnapshotComplete { stream }
            | Self::Resnapshot { stream, .. }
            | Self::PassStarted { stream, .. }
            | Self::PassComplete { stream, .. }
            | Self::PositionAge { stream, .. }
            | Self::BacklogFull { stream, .. }
            | Self::WaitingForParents { stream, .. }
            | Self::DeletesHeld { stream, .. }
            | Self::Released { stream }
            | Self::Settled { stream, .. }
            | Self::UnknownOutcome { stream, .. }
            | Self::DeadLettered { stream, .. }
            | Self::DeadLettersDropped { stream, .. }
            | Self::DeadLettersForgotten { stream, .. }
            | Self::DeadLettersRequeued { stream, .. }
            | Self::PauseBegun { stream, .. }
            | Self::PauseEnded { stream, .. }
            | Self::Retrying { stream, .. }
            | Self::DeleteBrake { stream, .. } => Some(stream),
            Self::Status(_)
            | Self::RequestBegun { .. }
            | Self::RequestDone { .. }
            | Self::RequestRefused { .. }
            | Self::LeaseRenewedLate { .. }
            | Self::LeaseLost
            | Self::StopBegun { .. } => None,
        }
    }

    /// The name of its log line, one of [`telemetry::names::event`](crate::telemetry::names::event).
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Status(_) => event::STATUS.name,
            Self::PageRead { .. } => event::PAGE_READ.name,
            Self::SnapshotComplete { .. } => event::SNAPSHOT_COMPLETE.name,
            Self::Resnapshot { .. } => event::RESNAPSHOT.name,
            Self::PassStarted { .. } => event::PASS_STARTED.name,
            Self::PassComplete { .. } => event::PASS_COMPLETE.name,
            Self::PositionAge { .. } => event::POSITION_AGE.name,
            Self::BacklogFull { .. } => event::BACKLOG_FULL.name,
            Self::WaitingForParents { .. } => event::WAITING_FOR_PARENTS.name,
            Self::DeletesHeld { .. } => event::DELETES_HELD.name,
            Self::Released { .. } => event::RELEASED.name,
            Self::Settled { .. } => event::SETTLED.name,
            Self::UnknownOutcome { .. } => event::UNKNOWN_OUTCOME.name,
            Self::DeadLettered { .. } => event::DEAD_LETTERED.name,
            Self::DeadLettersDropped { .. } => event::DEAD_LETTERS_DROPPED.name,
            Self::DeadLettersForgotten { .. } => event::DEAD_LETTERS_FORGOTTEN.name,
            Self::DeadLettersRequeued { .. } => event::DEAD_LETTERS_REQUEUED.name,
            Self::PauseBegun { .. } => event::PAUSE_BEGUN.name,
            Self::PauseEnded { .. } => event::PAUSE_ENDED.name,
            Self::Retrying { .. } => event::RETRYING.name,
            Self::DeleteBrake { .. } => event::DELETE_BRAKE.name,
            Self::RequestBegun { .. } => event::REQUEST_BEGUN.name,
            Self::RequestDone { .. } => event::REQUEST_DONE.name,
            Self::RequestRefused { .. } => event::REQUEST_REFUSED.name,
            Self::LeaseRenewedLate { .. } => event::LEASE_RENEWED_LATE.name,
            Self::LeaseLost => event::LEASE_LOST.name,
            Self::StopBegun { .. } => event::STOP_BEGUN.name,
        }
    }
}
