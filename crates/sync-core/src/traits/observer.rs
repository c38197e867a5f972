use std::fmt::Debug;

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
