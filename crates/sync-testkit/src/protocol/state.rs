//! The state of a run, and everything that may happen next in it.

use std::fmt;

/// Workers of a run: one that writes, and one that takes over.
pub(super) const WORKERS: usize = 2;

/// One entry of the backlog, as the store has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Entry {
    /// Nothing was sent.
    Queued { rounds: u8 },
    /// Claimed: from here on a create may be on its way.
    InFlight { fence: u8, rounds: u8 },
    /// A create may have taken effect; looked for after `due` more ticks.
    Unknown { due: u8, rounds: u8 },
    /// Created, as far as the workers know.
    Done,
    /// Given up with its outcome open.
    Dead,
}

impl Entry {
    pub(super) fn is_settled(self) -> bool {
        matches!(self, Self::Done | Self::Dead)
    }

    pub(super) fn rounds(self) -> u8 {
        match self {
            Self::Queued { rounds } | Self::InFlight { rounds, .. } | Self::Unknown { rounds, .. } => rounds,
            Self::Done | Self::Dead => 0,
        }
    }
}

/// What the server holds of one key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Held {
    /// Creates that took effect; 2 stands for more as well.
    pub(super) creates: u8,
    /// Lookups may not see them for so many more ticks.
    pub(super) hidden: u8,
}

/// A create that is under way to the server, or is being worked on there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Post {
    pub(super) key: u8,
    /// It is executed before so many more ticks have passed.
    pub(super) left: u8,
    /// Who waits for the answer.
    pub(super) awaited_by: Option<u8>,
}

/// The lease, as the store has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Lease {
    /// Grows with every takeover; 0 before the first.
    pub(super) fence: u8,
    pub(super) holder: u8,
    /// Ticks until it ends.
    pub(super) left: u8,
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Ending {
    /// The record is there: created, refused as existing, or found.
    Done,
    /// The same, and it was found after an unknown outcome.
    Found,
    /// It certainly had no effect.
    Retry,
    /// Nobody knows; to be looked for after `due` more ticks. They count from here on, not from the settlement.
    Unknown { due: u8 },
}

/// Where a worker is. An operation is `in_doubt` while an earlier create of its entry may yet have taken effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// Its process is gone, with everything it knew.
    Down,
    /// It has no operation.
    Idle,
    /// It claimed an entry.
    Claimed { key: u8, in_doubt: bool },
    /// It asked for the key, and there was none.
    Absent { key: u8, in_doubt: bool },
    /// It checked its lease for the last time, and sends next; it may still be stopped for `left` ticks.
    Armed { key: u8, in_doubt: bool, left: u8 },
    /// It sent, and waits for the answer.
    Sent { key: u8, in_doubt: bool },
    /// It knows how the operation ended, and tells the store next.
    Ended { key: u8, ending: Ending },
    /// The store refused it: its lease was taken over.
    Fenced,
}

/// One worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Worker {
    pub(super) step: Step,
    /// The fence it took its lease with; 0 when it has none.
    pub(super) fence: u8,
    /// Stopped by the operating system; it does not know.
    pub(super) stopped: bool,
}

/// The state of a run. The fields are private; [`fmt::Debug`] shows them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub(super) entries: Vec<Entry>,
    pub(super) server: Vec<Held>,
    /// Sorted, so that equal states are equal.
    pub(super) posts: Vec<Post>,
    pub(super) lease: Lease,
    pub(super) workers: [Worker; WORKERS],
    /// Faults that may still happen.
    pub(super) faults: u8,
    /// The store accepted a settlement of somebody who no longer held the lease.
    pub(super) stale_settlement: bool,
}

impl State {
    /// Everything that workers and server still could do is done.
    pub(super) fn is_over(&self) -> bool {
        let resting = |worker: &Worker| matches!(worker.step, Step::Down | Step::Idle | Step::Fenced);
        self.all_settled() && self.posts.is_empty() && self.workers.iter().all(resting)
    }

    pub(super) fn all_settled(&self) -> bool {
        self.entries.iter().all(|entry| entry.is_settled())
    }
}

/// Something that happens. Numbers of workers, keys and creates under way count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "`Display` says what each one is")]
pub enum Action {
    Tick,
    Acquire { worker: u8 },
    Claim { worker: u8, key: u8 },
    Look { worker: u8 },
    LookFails { worker: u8 },
    Check { worker: u8 },
    Send { worker: u8 },
    GiveUp { worker: u8 },
    Settle { worker: u8 },
    StepDown { worker: u8 },
    Crash { worker: u8 },
    Restart { worker: u8 },
    Stop { worker: u8 },
    Resume { worker: u8 },
    Execute { post: u8, answered: bool },
    Refuse { post: u8 },
    LoseRequest { post: u8 },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tick => write!(f, "a tick passes"),
            Self::Acquire { worker } => write!(f, "worker {worker} takes the lease and inherits what is in flight"),
            Self::Claim { worker, key } => write!(f, "worker {worker} claims key {key}"),
            Self::Look { worker } => write!(f, "worker {worker} looks for its key"),
            Self::LookFails { worker } => write!(f, "worker {worker} looks in vain: no answer"),
            Self::Check { worker } => write!(f, "worker {worker} checks its lease for the last time"),
            Self::Send { worker } => write!(f, "worker {worker} sends the create"),
            Self::GiveUp { worker } => write!(f, "worker {worker} gives up waiting for the answer"),
            Self::Settle { worker } => write!(f, "worker {worker} settles"),
            Self::StepDown { worker } => write!(f, "worker {worker} steps down"),
            Self::Crash { worker } => write!(f, "worker {worker} crashes"),
            Self::Restart { worker } => write!(f, "worker {worker} starts again"),
            Self::Stop { worker } => write!(f, "worker {worker} is stopped"),
            Self::Resume { worker } => write!(f, "worker {worker} resumes"),
            Self::Execute { post, answered: true } => {
                write!(f, "the server executes create {post} under way and answers")
            }
            Self::Execute { post, answered: false } => {
                write!(f, "the server executes create {post} under way, and nobody hears the answer")
            }
            Self::Refuse { post } => write!(f, "the server refuses create {post} under way for now"),
            Self::LoseRequest { post } => write!(f, "create {post} under way is lost"),
        }
    }
}
