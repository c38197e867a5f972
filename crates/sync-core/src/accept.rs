//! What becomes of a draft that meets the backlog: one pure function that every store calls inside its own transaction.

use crate::traits::DraftBody;
use crate::{Digest, Seq};

/// What a store knows of a key at the moment of appending.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyState {
    /// Whether the destination holds the record, as far as we wrote it.
    pub bound: bool,
    /// The digest last written; `None` when that is in doubt.
    pub written: Option<Digest>,
    /// The newest source version known of the key: of what was written, of what is on its way, and of what became a dead
    /// letter.
    pub version: Option<i64>,
    /// Whether a write of the key may have taken effect without our knowing: an entry is in flight or unknown (inherited
    /// ones too), or one ended so.
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
    /// Whether it is unclaimed, its outcome not in doubt, and no verification, so that it may be replaced.
    pub replaceable: bool,
}

/// What to do with a draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// Append a new entry.
    Append,
    /// Put the draft in the place of this entry, which is counted as superseded. It is due at once (or, where an attempt may
    /// still take effect, when the older one was), and none of the attempts at the older state counts
    /// against it.
    Replace(Seq),
    /// Give this entry the draft's bodies, and count the draft as unchanged: the update is the same, but a field that only
    /// an insert carries may differ.
    Refresh(Seq),
    /// Remove this entry, counted as superseded, and count the draft as ignored or filtered: the record was never written.
    Cancel(Seq),
    /// Nothing: equal to what is written or on its way.
    Unchanged,
    /// Nothing: a newer state is known already. Counted as superseded.
    Stale,
    /// Nothing: a delete of something never written, or one that is on its way already.
    Nothing,
    /// Nothing to write: the draft says so itself (filtered, ignored, rejected).
    AsDrafted,
}

/// Decides about one draft.
///
/// - A state older than what is known, by the source's own versions, changes nothing: acceptance is monotone for each key.
/// - An upsert equal to the newest state on its way, or to what is written while nothing is on its way, changes nothing.
/// - A newer state takes the place of an older one that nobody has claimed, but never that of a delete: a record deleted
///   and restored is deleted and created.
/// - A delete of a key that was never written makes no entry; *never written* means not bound, and no write of the key in
///   doubt, because such a write may leave a record behind that only the delete removes.
/// - A record that no longer matches the filter, or is gone at the source, is not created any more either; one that is there
///   already stays as it is.
/// - In a replay nothing is stale and nothing is unchanged: the record is written again, whatever is known of it.
pub fn accept(state: &KeyState, draft: &DraftBody, version: Option<i64>, replay: bool) -> Acceptance {
    let may_exist = state.bound || state.in_doubt;
    let stale = matches!((version, state.version), (Some(version), Some(known)) if version < known);
    if stale && !replay {
        return Acceptance::Stale;
    }
    match draft {
        DraftBody::Upsert { .. } if replay => match state.newest {
            Some(PendingEntry { seq, digest: Some(_), replaceable: true }) => Acceptance::Replace(seq),
            _ => Acceptance::Append,
        },
        DraftBody::Upsert { digest, .. } => match state.newest {
            Some(PendingEntry { seq, digest: Some(pending), replaceable: true }) if pending == *digest => {
                Acceptance::Refresh(seq)
            }
            Some(PendingEntry { digest: Some(pending), .. }) if pending == *digest => Acceptance::Unchanged,
            Some(PendingEntry { seq, digest: Some(_), replaceable: true }) => Acceptance::Replace(seq),
            Some(_) => Acceptance::Append,
            None if state.bound && state.written == Some(*digest) => Acceptance::Unchanged,
            None => Acceptance::Append,
        },
        DraftBody::Delete | DraftBody::DeleteFiltered => match state.newest {
            Some(PendingEntry { digest: None, .. }) => Acceptance::Nothing,
            Some(PendingEntry { seq, replaceable: true, .. }) if may_exist => Acceptance::Replace(seq),
            Some(PendingEntry { seq, replaceable: true, .. }) => Acceptance::Cancel(seq),
            Some(_) => Acceptance::Append,
            None if may_exist => Acceptance::Append,
            None => Acceptance::Nothing,
        },
        DraftBody::Filtered | DraftBody::Ignored => match state.newest {
            Some(PendingEntry { seq, digest: Some(_), replaceable: true }) if !may_exist => Acceptance::Cancel(seq),
            _ => Acceptance::AsDrafted,
        },
        DraftBody::Rejected(_) => Acceptance::AsDrafted,
    }
}
