//! What the reader's machine is told and what it asks for.

use std::time::Duration;

use record::Key;
use timing::Backoff;

use crate::engine::DeleteBrake;
use crate::engine::policy::Trouble;
use crate::engine::reader::PassNote;
use crate::traits::{Advance, Checkpoint, Class, Draft, LetterFilter, Phase, ScanDepth, SyncEvent};
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
    /// How urgent changes are.
    pub class: Class,
    /// Whether the source can be scanned.
    pub scan: bool,
    /// How often the whole table is passed over beside its changes; `None` for never.
    pub audit_every: Option<Duration>,
    /// How long the source serves a position, as far as that is known.
    pub retention: Option<Duration>,
    /// Whether records that a pass did not meet are looked for and deleted.
    pub deletes: bool,
    /// Keys per step of that search, of the one for entries of another plan, and of a requeue.
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
    /// Those of them that wait for a parent, as far as that is known. Reading does not pause for them: what they wait for may
    /// be what is to be read.
    pub waiting: u64,
    /// A random number in `[0, 1)`.
    pub unit: f64,
    /// The monotonic clock.
    pub now: Duration,
    /// The calendar, in milliseconds since 1970 (UTC).
    pub now_ms: i64,
    /// An operator asked for something.
    pub orders: bool,
    /// How the streams are that may hold parents.
    pub parents: Parents,
}

/// How the streams of a lower rank are, to the reader of a run until idle. Their deletes wait until this stream's change feed was read once
/// more, for it tells of the deletes of children.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Parents {
    /// They have nothing more, or nobody waits for their end.
    #[default]
    Done,
    /// One of them is still read.
    Reading,
    /// They were read to their ends, there are deletes, and the change feed was not asked since.
    Deleted,
}

impl Context {
    /// Unsettled entries that can be written.
    pub(super) fn pressing(&self) -> u64 {
        self.backlog.saturating_sub(self.waiting)
    }
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

/// A page of a scan. Rows that were asked for in full come as drafts.
#[derive(Debug)]
pub struct ScannedPage {
    /// The rows by key and version.
    pub rows: Vec<(Key, Option<i64>)>,
    /// What is to become of them, for [`ScanDepth::Rows`].
    pub drafts: Option<Vec<Draft>>,
    /// Where to go on; `None` at the end of the table.
    pub next: Option<Position>,
}

impl ScannedPage {
    pub(super) fn keys(&self) -> Vec<Key> {
        self.rows.iter().map(|(key, _)| key.clone()).collect()
    }
}

/// What an operator wants of this stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The request's number.
    pub id: u64,
    /// What is wanted.
    pub what: OrderKind,
}

/// What an operator may want of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderKind {
    /// All records are written again.
    Replay,
    /// The records of these dead letters are read again and queued.
    Requeue(LetterFilter),
}

/// What happened.
#[derive(Debug)]
pub enum ReaderInput {
    /// The answer to [`ReaderAction::Load`].
    Loaded {
        /// The checkpoint; `None` before anything was read.
        checkpoint: Option<Checkpoint>,
        /// What is remembered of passes.
        note: PassNote,
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
    /// The answer to [`ReaderAction::NotePass`].
    Noted,
    /// The answer to [`ReaderAction::Scan`].
    Scanned(ScannedPage),
    /// The source has trouble to be scanned.
    ScanFailed(Trouble),
    /// The answer to [`ReaderAction::KnownVersions`].
    Known(Vec<Option<i64>>),
    /// The answer to [`ReaderAction::MarkSeen`].
    Marked,
    /// The answer to [`ReaderAction::TakeOrders`].
    Orders(Vec<Order>),
    /// The answer to [`ReaderAction::Letters`]: numbers and keys.
    Letters(Vec<(u64, Key)>),
    /// The answer to [`ReaderAction::FinishOrder`].
    OrderFinished,
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
    /// Remember how far passes are.
    NotePass(PassNote),
    /// Read a page of the whole table.
    Scan {
        /// The position.
        after: Option<Position>,
        /// Rows wanted.
        rows: u32,
        /// How much of each.
        depth: ScanDepth,
        /// Whether the rows are decided as for a replay.
        replay: bool,
    },
    /// Tell the newest versions known of these records.
    KnownVersions(Vec<Key>),
    /// Mark records as met by a pass.
    MarkSeen {
        /// The records.
        keys: Vec<Key>,
        /// The pass.
        pass: u64,
    },
    /// Hand over what operators want of this stream.
    TakeOrders,
    /// List dead letters of this stream.
    Letters {
        /// Which.
        filter: LetterFilter,
        /// After this number.
        after: Option<u64>,
        /// At most so many.
        limit: usize,
    },
    /// An order was carried out.
    FinishOrder(u64),
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
        /// How urgent it is.
        class: Class,
        /// Whether all records are being written again, so that changes are decided as for that.
        replay: bool,
    },
    /// Append a page with its position.
    Append {
        /// The drafts.
        drafts: Vec<Draft>,
        /// The generation that met these keys.
        mark_seen: Option<u64>,
        /// The new position.
        advance: Advance,
        /// How urgent the page is.
        class: Class,
        /// Whether the records are written whatever is known.
        replay: bool,
        /// Whether the page belongs to a snapshot, or to another look at the whole table.
        snapshot: bool,
        /// Whether what another plan made of these keys is dropped first.
        refresh: bool,
    },
    /// Count the records at the destination.
    CountBound,
    /// List records that a pass did not meet.
    Unseen {
        /// The pass, or the generation of a snapshot.
        pass: u64,
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
    /// Ask whether an entry is unsettled that neither this pass nor a later look met.
    UnsettledBefore(u64),
    /// Ask the source for single records, and decide them.
    Fetch {
        /// The records.
        keys: Vec<Key>,
        /// What becomes of those that the source does not have.
        absent: Absent,
    },
    /// Wait, but no longer than until an operator asks for something.
    Wait(Duration),
    /// Wait in full, whatever an operator asks for: the source has trouble, or wants to be left alone.
    BackOff(Duration),
    /// Wait until the stream has at most so many unsettled entries that wait for no parent, but no longer than the given time.
    WaitBacklog(u64, Option<Duration>),
    /// Wait until the streams of lower ranks are read to their ends, but no longer than until an operator asks for something.
    WaitParents,
    /// Remember that the change feed was read to its end, and what it told is in the backlog.
    FeedRead,
    /// Tell the observer.
    Emit(SyncEvent),
    /// Show why the stream is held up; `None` when it goes on.
    Trouble(Option<StatusReason>),
    /// Show how near the position is to be served no more; `None` when it is far.
    Guard(Option<StatusReason>),
    /// Show that more records vanished than may be deleted; `None` when the whole table is looked at anew.
    Brake(Option<StatusReason>),
    /// Nothing more to read.
    Finish,
    /// The workflow cannot go on.
    Fail(StatusReason),
}
