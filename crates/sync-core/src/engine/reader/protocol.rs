//! What the reader's machine is told and what it asks for.

use std::time::Duration;

use record::Key;
use timing::Backoff;

use crate::engine::DeleteBrake;
use crate::engine::policy::Trouble;
use crate::traits::{Advance, Checkpoint, Draft, Phase, SyncEvent};
use crate::{PlanVersion, Position, StatusReason, StreamId};

/// Settings of a reader.
#[derive(Debug, Clone)]
pub struct ReaderConfig {
    /// The stream.
    pub stream: StreamId,
    /// The plan in force.
    pub plan: PlanVersion,
    /// Rows per page.
    pub page_rows: u32,
    /// Unsettled entries above which reading pauses; it resumes at half of that.
    pub high_water: u64,
    /// The wait before a source that had nothing more is asked again.
    pub poll_every: Duration,
    /// Whether to finish when a source has no change.
    pub until_idle: bool,
    /// Whether vanished records are looked for after a repeated snapshot.
    pub sweep: bool,
    /// Keys per step of that search, and of the one for entries of another plan.
    pub chunk: usize,
    /// How many vanished records may be deleted.
    pub brake: DeleteBrake,
    /// Waits between attempts at the source.
    pub backoff: Backoff,
}

/// What a machine may know of the world at a step.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// Unsettled entries of the stream.
    pub backlog: u64,
    /// A random number in `[0, 1)`.
    pub unit: f64,
}

/// A page that was read and decided.
#[derive(Debug)]
pub struct ReadPage {
    /// The drafts, one per change.
    pub drafts: Vec<Draft>,
    /// Where to go on.
    pub next: Position,
    /// What the page belongs to.
    pub phase: Phase,
    /// Whether more is ready at once.
    pub more: bool,
}

/// What happened.
#[derive(Debug)]
pub enum ReaderInput {
    /// The answer to [`ReaderAction::Load`].
    Loaded {
        /// The checkpoint; `None` before anything was read.
        checkpoint: Option<Checkpoint>,
        /// The generation whose search for vanished records is not finished.
        sweep: Option<u64>,
        /// The plan under which the whole backlog was made, as far as that is known.
        plan: Option<PlanVersion>,
    },
    /// The answer to [`ReaderAction::Read`].
    Page(ReadPage),
    /// The source has trouble.
    ReadFailed(Trouble),
    /// The answer to [`ReaderAction::Append`] and [`ReaderAction::Reset`].
    Stored(Checkpoint),
    /// The answer to [`ReaderAction::Append`] when the page put nothing into the backlog. Sources send rows again at times, and a
    /// row that is known already must not keep a run that waits for quiet from ending.
    StoredQuiet(Checkpoint),
    /// The checkpoint moved meanwhile.
    Conflict,
    /// The answer to [`ReaderAction::MarkSweep`].
    SweepMarked,
    /// The answer to [`ReaderAction::MarkPlan`].
    PlanMarked,
    /// The answer to [`ReaderAction::Outdated`].
    Outdated(Vec<Key>),
    /// The answer to [`ReaderAction::UnsettledBefore`].
    UnsettledBefore(bool),
    /// The answer to [`ReaderAction::CountBound`].
    Bound(u64),
    /// The answer to [`ReaderAction::Unseen`].
    Unseen(Vec<Key>),
    /// The answer to [`ReaderAction::Fetch`].
    Fetched(Vec<Draft>),
    /// The source has trouble to tell about single records.
    FetchFailed(Trouble),
    /// A wait, of either kind, is over.
    Woken,
}

/// What becomes of a record that the source does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// What the transform says of a deleted record.
    AsMapped,
    /// It is deleted.
    Deleted,
}

/// What is to be done: each is one primitive.
#[derive(Debug)]
pub enum ReaderAction {
    /// Load the checkpoint, and what is known of an unfinished search.
    Load,
    /// Remember that the search for vanished records of this generation is due (or, with `None`, done).
    MarkSweep(Option<u64>),
    /// Remember that nothing in the backlog was made by another plan than this one; `None`: by which plans is not known.
    MarkPlan(Option<PlanVersion>),
    /// Start a new generation.
    Reset {
        /// The version that the checkpoint is to have.
        expected_version: u64,
        /// The new generation.
        generation: u64,
    },
    /// Read a page and decide its changes.
    Read {
        /// The position.
        after: Option<Position>,
        /// Rows wanted.
        rows: u32,
    },
    /// Append a page with its position.
    Append {
        /// The drafts.
        drafts: Vec<Draft>,
        /// The generation that met these keys.
        mark_seen: Option<u64>,
        /// The new position.
        advance: Advance,
        /// Whether the page belongs to a snapshot.
        snapshot: bool,
        /// Whether what another plan made of these keys is dropped first.
        refresh: bool,
    },
    /// Count the records at the destination.
    CountBound,
    /// List records that a generation did not meet.
    Unseen {
        /// The generation.
        generation: u64,
        /// After this key.
        after: Option<Key>,
        /// At most so many.
        limit: usize,
    },
    /// List keys of which something is unsettled that another plan made.
    Outdated {
        /// After this key.
        after: Option<Key>,
        /// At most so many.
        limit: usize,
    },
    /// Ask whether an entry is unsettled that no snapshot of this or a later generation met.
    UnsettledBefore(u64),
    /// Ask the source for single records, and decide them.
    Fetch {
        /// The records.
        keys: Vec<Key>,
        /// What becomes of those that the source does not have.
        absent: Absent,
    },
    /// Wait.
    Wait(Duration),
    /// Wait until the stream has at most so many unsettled entries.
    WaitBacklog(u64),
    /// Tell the observer.
    Emit(SyncEvent),
    /// Show why the stream is held up; `None` when it goes on.
    Trouble(Option<StatusReason>),
    /// Show that more records vanished than may be deleted.
    Brake(StatusReason),
    /// Nothing more to read.
    Finish,
    /// The workflow cannot go on.
    Fail(StatusReason),
}
