//! What becomes of a draft that meets the backlog: one pure function that every store calls inside its own transaction.

use crate::traits::DraftBody;
use crate::{Digest, Seq};

/// What a store knows of a key at the moment of appending.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyState {
    /// Whether the destination holds the record, as far as we wrote it.
    pub bound: bool,
    /// The digest last written.
    pub written: Option<Digest>,
    /// Whether any entry of the key is in flight or unknown (inherited ones too).
    pub in_doubt: bool,
    /// The newest unsettled entry of the key.
    pub newest: Option<PendingEntry>,
}

/// An unsettled entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingEntry {
    /// Its number.
    pub seq: Seq,
    /// The digest of an upsert; `None` for a delete.
    pub digest: Option<Digest>,
    /// Whether it is unclaimed and its outcome not in doubt, so that it may be replaced.
    pub replaceable: bool,
}

/// What to do with a draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// Append a new entry.
    Append,
    /// Put the draft in the place of this entry, which is counted as superseded.
    Replace(Seq),
    /// Remove this entry, counted as superseded, and count the draft as ignored or filtered: the record was never written.
    Cancel(Seq),
    /// Nothing: equal to what is written or on its way.
    Unchanged,
    /// Nothing: a delete of something never written, or one that is on its way already.
    Nothing,
    /// Nothing to write: the draft says so itself (filtered, ignored, rejected).
    AsDrafted,
}

/// Decides about one draft.
///
/// - An upsert equal to the newest state on its way, or to what is written while nothing is on its way, changes nothing.
/// - A newer state takes the place of an older one that nobody has claimed, but never that of a delete: a record deleted
///   and restored is deleted and created.
/// - A delete of a key that was never written makes no entry; *never written* means not bound, and no entry of the key in
///   flight or unknown, because such an entry may leave a record behind that only the delete removes.
pub fn accept(state: &KeyState, draft: &DraftBody) -> Acceptance {
    match draft {
        DraftBody::Upsert { digest, .. } => match state.newest {
            Some(PendingEntry { digest: Some(pending), .. }) if pending == *digest => Acceptance::Unchanged,
            Some(PendingEntry { seq, digest: Some(_), replaceable: true }) => Acceptance::Replace(seq),
            Some(_) => Acceptance::Append,
            None if state.bound && state.written == Some(*digest) => Acceptance::Unchanged,
            None => Acceptance::Append,
        },
        DraftBody::Delete | DraftBody::DeleteFiltered => match state.newest {
            Some(PendingEntry { digest: None, .. }) => Acceptance::Nothing,
            Some(PendingEntry { seq, replaceable: true, .. }) if state.bound || state.in_doubt => {
                Acceptance::Replace(seq)
            }
            Some(PendingEntry { seq, replaceable: true, .. }) => Acceptance::Cancel(seq),
            Some(_) => Acceptance::Append,
            None if state.bound => Acceptance::Append,
            None => Acceptance::Nothing,
        },
        DraftBody::Filtered | DraftBody::Ignored | DraftBody::Rejected(_) => Acceptance::AsDrafted,
    }
}
