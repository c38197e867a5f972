use std::collections::BTreeMap;

use async_trait::async_trait;
use record::Key;

use super::{Checkpoint, Class, Lease, LetterFilter, Parent, Phase, Rejection, Update};
use crate::{Digest, Payload, PlanVersion, Position, Seq, StoreError, StreamId, Tally};

/// The durable queue between reader and writer.
#[async_trait]
pub trait Backlog: Send + Sync {
    /// Appends a page: entries, counters and the read position become durable together or not at all. What becomes of
    /// each draft is decided by [`accept`](crate::accept) inside the store's own transaction.
    ///
    /// When `page.mark_seen` is set, the index rows of all drafts' keys (drafts with [`DraftBody::Filtered`] too) get
    /// `seen = generation` in the same step.
    ///
    /// An entry whose draft names parents waits for each of them that is not bound in the index of its stream, and is ready
    /// when the last of them is. It does not wait for itself, nor for a parent that waits for it (at first hand, through others,
    /// or given up and still to be queued again): the record that closes a circle goes first. A state that takes the place of an older one waits for its own parents only.
    ///
    /// # Errors
    /// `Fenced` for an old lease; `Conflict` when `advance.expected_version` is not the stored one (nothing is stored;
    /// the caller reloads).
    async fn append(&self, lease: &Lease, page: Page, advance: Advance) -> Result<AppendReport, StoreError>;

    /// Claims entries that are due: marked in flight durably before this answers, so the mark is the log of the intent.
    /// Never an entry while an older one of its key is unsettled, never one that waits for a parent, and never a delete that is held. Due verifications
    /// come first, as entries with `verification` set, once no entry of their key is unsettled; then the others by
    /// [`Class`], the most urgent first, and within a class the oldest first, an entry that waited for a time of its own like
    /// any other of its age. When that leaves entries of lesser classes behind, up to a quarter of `max` (rounded down) goes
    /// to them all the same, the oldest first: urgent work does not starve the rest, but for opt-outs, which nothing holds
    /// up. What was due once stays due, also when the calendar jumps back.
    ///
    /// An upsert that another plan made is left: its bodies may name what the destination has no more
    /// ([`Backlog::outdated`]).
    ///
    /// # Errors
    /// `Fenced` for an old lease.
    async fn claim(&self, lease: &Lease, want: ClaimRequest) -> Result<Vec<Entry>, StoreError>;

    /// Settles claimed entries, with the record index and the counters, in one step. Settling twice is once: an entry
    /// that is not in flight under this lease and in this stream is passed over. `now_ms` dates dead letters.
    ///
    /// A record that becomes bound releases, in the same step and in every stream, the entries that waited for it and have no
    /// other parent to wait for; and it queues again the dead letters of those that were given up waiting for it.
    ///
    /// # Errors
    /// `Fenced` for an old lease.
    async fn settle(
        &self,
        lease: &Lease,
        stream: &StreamId,
        settlements: Vec<Settlement>,
        now_ms: i64,
    ) -> Result<SettleReport, StoreError>;

    /// Turns entries that were in flight under an older lease into unknown ones, due at `due_ms`. Answers how many. Those
    /// that were unknown before are not due before `due_ms` either.
    ///
    /// # Errors
    /// `Fenced` for an old lease.
    async fn inherit(&self, lease: &Lease, stream: &StreamId, due_ms: i64) -> Result<u64, StoreError>;

    /// Gives up on entries that have waited for a parent since before `before_ms`: each becomes a dead letter with the given
    /// rejection, which the parent's arrival queues again. Answers how many. Deletes that are held stay.
    ///
    /// # Errors
    /// `Fenced` for an old lease.
    async fn give_up_waiting(
        &self,
        lease: &Lease,
        stream: &StreamId,
        before_ms: i64,
        rejection: &Rejection,
        now_ms: i64,
    ) -> Result<u64, StoreError>;

    /// Keys with an unsettled upsert, a waiting verification, or a dead letter that a parent's arrival would queue again, which
    /// another plan than this one made, in key order after `after`, at most `limit`. They are read again at the source, and appended with [`Page::refresh`] set.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn outdated(
        &self,
        stream: &StreamId,
        plan: PlanVersion,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError>;

    /// Whether an entry is unsettled whose key no snapshot of this or a later generation met: what it will leave at the
    /// destination is not in the index yet, so a search for vanished records would pass it over.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn unsettled_before(&self, stream: &StreamId, generation: u64) -> Result<bool, StoreError>;

    /// Releases the deletes that are held ([`Page::hold_deletes`]) since `want.held_to` or longer, if what they wait for is done: nothing
    /// is unsettled in the streams of `want.children` that was appended up to `want.children_to`. Entries that wait for a parent
    /// count as unsettled only if their record is bound: what is not at the destination loses nothing by a parent's delete.
    /// Answers how many were released, and `None` where they still have to wait. To ask and to release need not be one step: what is
    /// unsettled up to a number only becomes less, but for what does not count.
    ///
    /// # Errors
    /// `Fenced` for an old lease.
    async fn release_deletes(&self, lease: &Lease, want: &DeleteRelease) -> Result<Option<u64>, StoreError>;

    /// Depth and age.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn stats(&self, stream: &StreamId) -> Result<BacklogStats, StoreError>;

    /// Dead letters, oldest first, without payloads.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError>;

    /// Forgets dead letters. What is known of their records' state at the destination stays. Answers how many.
    ///
    /// # Errors
    /// `Fenced` for an old lease.
    async fn drop_dead_letters(&self, lease: &Lease, filter: &LetterFilter) -> Result<u64, StoreError>;
}

/// One page of changes, already decided by the transform.
#[derive(Debug)]
pub struct Page {
    /// The stream.
    pub stream: StreamId,
    /// The plan that made the drafts.
    pub plan: PlanVersion,
    /// How urgent what comes of it is. A state that takes the place of a more urgent one is as urgent as that.
    pub class: Class,
    /// An operator wants these records written whatever is known of the destination: nothing is taken for unchanged or
    /// stale, and what comes of it is written even if it equals what was written last.
    pub replay: bool,
    /// One per change, in order.
    pub drafts: Vec<Draft>,
    /// Set in a snapshot after the first and while a sweep goes on: keys are marked as met by this generation or pass.
    pub mark_seen: Option<u64>,
    /// The keys were read again because another plan made what is unsettled of them: before a draft is decided, unclaimed
    /// upserts and waiting verifications that another plan made for its key are removed. An entry counts as superseded;
    /// where an attempt may have taken effect, the index remembers the doubt.
    pub refresh: bool,
    /// Deletes are held until [`Backlog::release_deletes`] lets them go: children are to be gone before them. Each is
    /// given a number of its own, later than that of everything before; one that takes the place of an older state, too.
    pub hold_deletes: bool,
    /// Now, in milliseconds since 1970 (UTC).
    pub now_ms: i64,
}

/// What the transform made of one change.
#[derive(Debug)]
pub struct Draft {
    /// The record.
    pub key: Key,
    /// The source's row version.
    pub version: Option<i64>,
    /// The records that have to be there before this one is written.
    pub parents: Vec<Parent>,
    /// What is to happen.
    pub body: DraftBody,
}

/// What is to happen with one record.
#[derive(Debug)]
pub enum DraftBody {
    /// Write it.
    Upsert {
        /// What creates the record.
        insert: Payload,
        /// What changes it.
        update: Update,
        /// Identifies `update`.
        digest: Digest,
    },
    /// Delete it because the source did. Counted as ignored when it was never written.
    Delete,
    /// Delete it because it no longer matches the filter. Counted as filtered when it was never written.
    DeleteFiltered,
    /// Filtered out, and stays as it is.
    Filtered,
    /// A delete that is not applied.
    Ignored,
    /// Cannot be mapped: a dead letter, in the same step.
    Rejected(Rejection),
}

/// The new read position, appended with its page.
#[derive(Debug, Clone)]
pub struct Advance {
    /// The version of the checkpoint that the page was read from (0: there was none).
    pub expected_version: u64,
    /// The lineage.
    pub generation: u64,
    /// What the position continues.
    pub phase: Phase,
    /// Where to go on.
    pub position: Position,
}

/// What an append did.
#[derive(Debug, Clone, PartialEq)]
pub struct AppendReport {
    /// The checkpoint as stored now.
    pub checkpoint: Checkpoint,
    /// What was counted for this page.
    pub tally: Tally,
}

/// What to claim.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// The stream.
    pub stream: StreamId,
    /// At most so many.
    pub max: usize,
    /// The plan in force.
    pub plan: PlanVersion,
    /// Now, in milliseconds since 1970 (UTC): entries due later are left.
    pub now_ms: i64,
}

/// Which deletes are to be released, and what has to be done before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteRelease {
    /// The stream of the deletes.
    pub stream: StreamId,
    /// Those held with this number or an older one.
    pub held_to: Seq,
    /// The streams that may hold children.
    pub children: Vec<StreamId>,
    /// Their entries with this number or an older one.
    pub children_to: Seq,
}

/// A claimed entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its number; grows in the order of appending.
    pub seq: Seq,
    /// The record.
    pub key: Key,
    /// What is to happen.
    pub body: EntryBody,
    /// The source's row version.
    pub version: Option<i64>,
    /// How often it was claimed, this time included; claims that ended with [`Verdict::Released`] or [`Verdict::NotYet`] do
    /// not count.
    pub attempt: u32,
    /// When the entry was appended, in milliseconds since 1970 (UTC). A newer state that took its place changes nothing about
    /// that.
    pub appended_ms: i64,
    /// Whether an earlier attempt may have taken effect: one of this entry, or one of an entry of the key that ended with
    /// its outcome open.
    pub unknown: bool,
    /// How urgent it is.
    pub class: Class,
    /// Whether it is to be written even if it equals what was written last.
    pub replay: bool,
    /// Whether this is the second look after an unknown outcome; not counted in the tally.
    pub verification: bool,
    /// The plan that made it.
    pub plan: PlanVersion,
    /// Whether the destination holds the record, as far as we wrote it.
    pub bound: bool,
    /// The digest last written.
    pub written: Option<Digest>,
}

/// What an entry wants.
#[derive(Debug, Clone)]
pub enum EntryBody {
    /// The destination is to hold this.
    Upsert {
        /// What creates the record.
        insert: Payload,
        /// What changes it.
        update: Update,
        /// Identifies `update`.
        digest: Digest,
    },
    /// The destination is to hold no such record.
    Delete,
}

/// How one claimed entry ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// The entry.
    pub seq: Seq,
    /// How it ended.
    pub verdict: Verdict,
}

/// How a claimed entry ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It is done. The store updates the index from the entry's body (bound with its digest and version, or unbound after a
    /// delete), closes the dead letter of the key if the entry is newer than it, refreshes a waiting verification of the key
    /// with this body, and counts. The end of a verification counts nothing and closes nothing.
    Done {
        /// What was counted: created, changed, deleted or found equal.
        effect: Effect,
        /// When set, the same body is written once more at that time, because an earlier attempt may still take effect.
        verify_at_ms: Option<i64>,
    },
    /// It had no effect; again at `due_ms`.
    Retry {
        /// When.
        due_ms: i64,
        /// Why, a stable code.
        code: String,
    },
    /// It may have had an effect; again at `due_ms`, and the key stays blocked.
    Unknown {
        /// When.
        due_ms: i64,
        /// Why, a stable code.
        code: String,
    },
    /// What it refers to is not there yet: it had no effect, and the attempt is not counted; again at `due_ms`.
    NotYet {
        /// When.
        due_ms: i64,
        /// Why, a stable code.
        code: String,
        /// Whether an earlier attempt may have taken effect all the same: the entry is then unknown as before.
        in_doubt: bool,
    },
    /// It was not dispatched (shutdown, pause): the claim is undone and the attempt not counted. An entry that was unknown
    /// when it was claimed is unknown again.
    Released,
    /// It is refused for good: a dead letter.
    Dead {
        /// Why.
        rejection: Rejection,
        /// Whether an attempt may have taken effect all the same. The index then remembers that nobody knows what the
        /// destination holds: nothing compares equal any more, a delete makes an entry, and a waiting verification of an
        /// older state is forgotten.
        in_doubt: bool,
    },
}

/// The effect of an entry that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Created at the destination.
    Inserted,
    /// Changed at the destination.
    Updated,
    /// Deleted at the destination.
    Deleted,
    /// Equal already; no write.
    Unchanged,
    /// A delete that found nothing.
    Ignored,
}

/// What a settlement did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettleReport {
    /// What was counted.
    pub tally: Tally,
    /// Settlements passed over because their entry is not in flight under this lease.
    pub passed_over: u64,
    /// Streams in which something is ready that had waited for a parent, with what was counted there: a dead letter that is
    /// queued again counts as read once more.
    pub released: BTreeMap<StreamId, Tally>,
}

/// Depth and age of a stream's backlog.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BacklogStats {
    /// Entries not claimed yet, those that wait for a later time included. Verifications are counted nowhere but in
    /// `verifications`.
    pub queued: u64,
    /// Entries in flight.
    pub in_flight: u64,
    /// Entries whose outcome is unknown.
    pub unknown: u64,
    /// Entries that wait for a parent, deletes that are held, and what came after these of their keys; counted in `queued` as well.
    pub waiting: u64,
    /// Deletes that are held; counted in `waiting` as well.
    pub held: u64,
    /// The last number that the store gave to anything, of whatever stream: what is appended from now on has a later one.
    pub last: Seq,
    /// Verifications, waiting or claimed; they are no backlog.
    pub verifications: u64,
    /// Dead letters.
    pub dead: u64,
    /// When the oldest unsettled entry was appended, in milliseconds since 1970 (UTC).
    pub oldest_ms: Option<i64>,
    /// When the next unsettled, unclaimed entry is due that waits for no parent and is not held.
    pub next_due_ms: Option<i64>,
    /// When the next verification is due.
    pub next_verification_ms: Option<i64>,
}

impl BacklogStats {
    /// Unsettled entries.
    pub fn depth(&self) -> u64 {
        self.queued + self.in_flight + self.unknown
    }
}

/// A page of dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterQuery {
    /// Which.
    pub filter: LetterFilter,
    /// After this id.
    pub after: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// A record that could not be written, without its payload. At most one per key: the newest. It is closed by a newer state
/// of its record that was written, or that needs no write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number.
    pub id: u64,
    /// The stream.
    pub stream: StreamId,
    /// The record.
    pub key: Key,
    /// Why.
    pub rejection: Rejection,
    /// Attempts made.
    pub attempts: u32,
    /// When it was put here, in milliseconds since 1970 (UTC).
    pub at_ms: i64,
}
