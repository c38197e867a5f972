use serde::{Deserialize, Serialize};

/// How urgent an entry is. The smaller goes first; see [`Backlog::claim`](super::Backlog::claim) for how nothing starves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Somebody does not want to be contacted any more.
    OptOut,
    /// A change that just happened.
    Live,
    /// A record that an operator asked to be written again.
    Replay,
    /// The whole table, and what a search for missed changes found.
    Backfill,
}

impl Class {
    /// Every class, the most urgent first.
    pub const ALL: [Self; 4] = [Self::OptOut, Self::Live, Self::Replay, Self::Backfill];

    /// Its place in the order, from 0. Stores write this number.
    pub const fn rank(self) -> u8 {
        match self {
            Self::OptOut => 0,
            Self::Live => 1,
            Self::Replay => 2,
            Self::Backfill => 3,
        }
    }

    /// The name in telemetry.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OptOut => "opt-out",
            Self::Live => "live",
            Self::Replay => "replay",
            Self::Backfill => "backfill",
        }
    }

    /// The class of a place in the order.
    pub fn of_rank(rank: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.rank() == rank)
    }
}
