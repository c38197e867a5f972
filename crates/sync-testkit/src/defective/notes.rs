//! What a defect remembers of the calls so far.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use record::Key;
use sync_core::traits::{Checkpoint, Class, DeadLetter, DraftBody, Entry, Parent, Rejection};
use sync_core::{PlanVersion, Seq, StreamId};

pub(super) type Record = (StreamId, Key);

/// The newest draft of a key.
#[derive(Debug)]
pub(super) struct Noted {
    pub(super) body: DraftBody,
    pub(super) class: Class,
    pub(super) replay: bool,
    pub(super) parents: Vec<Parent>,
}

/// An entry that waits for a time of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    pub(super) due_ms: i64,
    pub(super) unknown: bool,
    pub(super) attempt: u32,
}

/// Nothing here is of use to a store without a defect.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) released: HashSet<u64>,
    /// Leases that this opening took, by their nonces.
    pub(super) taken: HashSet<u64>,
    pub(super) fences_before: u64,
    pub(super) first_call_ms: Option<i64>,
    /// What waits unclaimed.
    pub(super) newest: HashMap<Record, Noted>,
    pub(super) flying: BTreeMap<Seq, (StreamId, Entry, u64)>,
    pub(super) done: BTreeSet<Seq>,
    pub(super) waits: HashMap<Record, Wait>,
    pub(super) last_append_ms: i64,
    /// Keys that are taken for another one.
    pub(super) aliases: HashMap<Key, Key>,
    pub(super) hurried: HashMap<Record, i64>,
    pub(super) refreshed: HashSet<Record>,
    pub(super) dropped: HashSet<Record>,
    pub(super) inherited: HashSet<Record>,
    pub(super) plans: Vec<PlanVersion>,
    pub(super) streams: BTreeSet<StreamId>,
    pub(super) ghosts: Vec<DeadLetter>,
    pub(super) reasons: HashMap<Record, Rejection>,
    pub(super) verified: HashMap<Record, DraftBody>,
    pub(super) orphans: HashMap<Record, Rejection>,
    pub(super) replaced: HashSet<Record>,
    pub(super) rejected: HashMap<StreamId, u64>,
    pub(super) deleted: u64,
    pub(super) kept: HashMap<StreamId, Checkpoint>,
    /// How often a checkpoint was asked for.
    pub(super) loads: u64,
    /// The lease whose last append was let in.
    pub(super) let_in: Option<u64>,
    pub(super) sealed: Vec<u8>,
}

pub(super) fn copy_body(body: &DraftBody) -> DraftBody {
    match body {
        DraftBody::Upsert { insert, update, digest } => {
            DraftBody::Upsert { insert: insert.clone(), update: update.clone(), digest: *digest }
        }
        DraftBody::Delete => DraftBody::Delete,
        DraftBody::DeleteFiltered => DraftBody::DeleteFiltered,
        DraftBody::Filtered => DraftBody::Filtered,
        DraftBody::Ignored => DraftBody::Ignored,
        DraftBody::Rejected(rejection) => DraftBody::Rejected(rejection.clone()),
    }
}
