use record::Key;

use super::{Class, DeadLetter, IndexRow, Parent};
use crate::{Digest, KeyState, PendingEntry, PlanVersion, Seq, StreamId};

/// Everything a store knows of one record at one moment, and nothing of what the record says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RecordLife {
    /// What is known of it at the destination.
    pub index: Option<IndexRow>,
    /// Its unsettled entries, oldest first. A verification that was claimed is one of them.
    pub entries: Vec<EntryLife>,
    /// The second look after an unknown outcome, while it waits.
    pub verification: Option<VerificationLife>,
    /// Its dead letter.
    pub dead_letter: Option<LetterLife>,
    /// Records that wait for this one, the first [`RecordLife::CHILDREN`] in the order in which they began to.
    pub children: Vec<ChildLife>,
    /// How many wait for this one.
    pub children_count: u64,
}

/// An unsettled entry.
#[derive(Debug, Clone, PartialEq)]
pub struct EntryLife {
    /// Its number.
    pub seq: Seq,
    /// Where it stands.
    pub state: EntryState,
    /// The digest of an upsert; `None` for a delete.
    pub digest: Option<Digest>,
    /// The source's row version.
    pub version: Option<i64>,
    /// The plan that made it.
    pub plan: PlanVersion,
    /// How urgent it is.
    pub class: Class,
    /// Whether it is to be written even if it equals what was written last.
    pub replay: bool,
    /// Whether it is the second look after an unknown outcome.
    pub verification: bool,
    /// How often it was claimed.
    pub attempts: u32,
    /// When it was appended, in milliseconds since 1970 (UTC).
    pub appended_ms: i64,
    /// When it is due, in milliseconds since 1970 (UTC); 0 for at once.
    pub due_ms: i64,
    /// The parents that it waits for.
    pub waiting_for: Vec<Parent>,
    /// Whether it is a delete that waits for those of children.
    pub held: bool,
}

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryState {
    /// Nobody has claimed it, or its last attempt certainly had no effect.
    Queued,
    /// It was claimed.
    InFlight,
    /// An attempt may have taken effect.
    Unknown,
}

/// A second look after an unknown outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct VerificationLife {
    /// When it is due, in milliseconds since 1970 (UTC).
    pub due_ms: i64,
    /// The digest of an upsert; `None` for a delete.
    pub digest: Option<Digest>,
}

/// A dead letter, with what is to become of it.
#[derive(Debug, Clone, PartialEq)]
pub struct LetterLife {
    /// The letter.
    pub letter: DeadLetter,
    /// The source's row version of the state that could not be written.
    pub version: Option<i64>,
    /// The entry of a newer state, whose end closes the letter.
    pub closed_by: Option<Seq>,
    /// The parents whose arrival queues it again.
    pub waiting_for: Vec<Parent>,
}

/// A record that waits for another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildLife {
    /// Its stream.
    pub stream: StreamId,
    /// Its key there.
    pub key: Key,
    /// Whether it waited too long and is a dead letter, which the parent's arrival queues again.
    pub given_up: bool,
}

impl RecordLife {
    /// So many children are named at most.
    pub const CHILDREN: usize = 100;

    /// Whether the store knows nothing at all of the record.
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }

    /// What [`accept`](crate::accept) is asked with.
    pub fn key_state(&self) -> KeyState {
        let mut state = KeyState {
            bound: self.index.is_some_and(|row| row.bound),
            written: self.index.and_then(|row| row.digest),
            version: self.index.and_then(|row| row.version),
            in_doubt: self.index.is_some_and(|row| row.digest.is_none()),
            newest: None,
        };
        state.version = state.version.max(self.dead_letter.as_ref().and_then(|dead| dead.version));
        for entry in &self.entries {
            let claimed = entry.state != EntryState::Queued;
            state.in_doubt |= claimed;
            state.version = state.version.max(entry.version);
            let replaceable = !claimed && !entry.verification;
            state.newest = Some(PendingEntry { seq: entry.seq, digest: entry.digest, replaceable });
        }
        state
    }
}
