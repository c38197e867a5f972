//! Rare paths: a set of runs in which one of them was never taken proves less than it claims, and is no valid set.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

macro_rules! paths {
    ($($name:ident $text:literal,)+) => {
        /// A path that a run takes only when several things come together.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Path {
            $(#[doc = $text] $name,)+
        }

        impl Path {
            /// Every path.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// What happens on it.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }
        }
    };
}

paths! {
    UnknownFound "an unknown write was looked up and found",
    UnknownAbsent "an unknown write was looked up and not found",
    RepeatedOnto "an unknown create was repeated and met itself",
    LateEffect "a request took effect after its caller had given up",
    Verified "a record was verified after an unknown write",
    Inherited "a write in flight was inherited from an ended run",
    ZombieFenced "a process that had lost its lease was refused by the store",
    TokenExpired "the source did not serve the position any more",
    Resnapshot "a new snapshot began",
    VanishedDeleted "a search for vanished records deleted one",
    MissedFound "a pass over the whole table found a change that no feed told of",
    Replayed "a replay ran to its end",
    RequestDone "an operator's request was carried out",
    TakenOver "another process took over after the lease had ended",
    ParentGivenUp "a child was given up because its parent did not come",
    DeletesReleased "deletes were let go that had waited for those of children",
    DeletesRefused "deletes had to wait on, for children that were not written",
    BrakeHeld "the brake held back deletions",
    ChildParked "a child waited for its parent",
    ChildReleased "a parent released the children that waited for it",
    StaleRejected "an older state than the one known was rejected",
    Superseded "a newer state took the place of a waiting one",
    DeadLettered "a record became a dead letter",
    DeadLetterClosed "a dead letter was closed by a newer state",
    OtherPlanFound "the backlog held what another plan had made",
    Paused "a destination ordered a pause",
    StoppedInFlight "a stop was asked for while requests were under way",
    StoreFailed "a call of the store failed",
    CommitInDoubt "a commit took effect and was reported as failed",
}

/// How often each path was taken, shared by the parties of one world.
#[derive(Debug, Clone, Default)]
pub struct Rare(Arc<Mutex<BTreeMap<Path, u64>>>);

impl Rare {
    /// The path was taken.
    pub fn took(&self, path: Path) {
        self.add(path, 1);
    }

    /// The path was taken so often.
    pub fn add(&self, path: Path, times: u64) {
        if times > 0 {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(path).or_default() += times;
        }
    }

    /// How often each was taken.
    pub fn taken(&self) -> BTreeMap<Path, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
