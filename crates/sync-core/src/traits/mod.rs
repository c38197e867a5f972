//! The seams of the engine: what a host brings (source, transform, destination, store, observer).

mod backlog;
mod class;
mod destination;
mod lease_store;
mod observer;
mod record_index;
mod record_life;
mod request;
mod source;
mod state_store;
mod transform;

use std::fmt::Debug;

pub use backlog::{
    Advance, AppendReport, Backlog, BacklogStats, ClaimRequest, DeadLetter, DeadLetterQuery, DeleteRelease, Draft,
    DraftBody, Effect, Entry, EntryBody, Page, SettleReport, Settlement, Verdict,
};
pub use class::Class;
pub use destination::{Action, Attempt, Destination, DestinationCaps, Outcome, Report, WriteOp};
pub use lease_store::{Lease, LeaseStore, OwnerId};
pub use observer::{NoObserver, Observer, PassKind, PositionState, SyncEvent};
pub use record_index::{IndexRow, RecordIndex};
pub use record_life::{ChildLife, EntryLife, EntryState, LetterLife, RecordLife, VerificationLife};
pub use request::{LetterFilter, PendingRequest, ReplayStart, Request};
pub use source::{BatchLimit, ChangeBatch, ScanDepth, ScanPage, ScannedRow, Source, SourceCaps};
pub use state_store::{Checkpoint, Phase, StateStore};
pub use transform::{Decision, Parent, Rejection, Transform, Update};

/// The four faces of one ledger. Implemented for everything that has all four.
pub trait Store: LeaseStore + StateStore + Backlog + RecordIndex + Debug {
    /// What this store promises.
    fn capabilities(&self) -> StoreCaps;
}

/// What a store promises; a suite shows what it skips because of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreCaps {
    /// Whether what was acknowledged survives the end of the process.
    pub durable: bool,
    /// Whether several processes may share it. Its leases then end by themselves.
    pub shared: bool,
}

impl StoreCaps {
    /// Capabilities of a store.
    pub const fn new(durable: bool, shared: bool) -> Self {
        Self { durable, shared }
    }
}
