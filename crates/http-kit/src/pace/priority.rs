/// Who goes first when a lane is full.
///
/// The order is that of the variants. An opt-out waits for no other request: it is next whenever a slot is free, and
/// is not held to an even pace. The rest share what is left: while several wait, the parts are 16 to 3 to 1, so none of
/// them starves; and while live work is there, backfill has no more than 60 % of the slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// A withdrawal of consent.
    OptOut,
    /// A change of just now.
    #[default]
    Live,
    /// What an operator asked to be written again.
    Replay,
    /// The first reading of what was there before.
    Backfill,
}

impl Priority {
    /// All of them, first to last.
    pub const ALL: [Self; 4] = [Self::OptOut, Self::Live, Self::Replay, Self::Backfill];

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// The part of the starts where others wait too. Opt-outs do not share.
    pub(crate) fn weight(self) -> i64 {
        match self {
            Self::OptOut => 0,
            Self::Live => 16,
            Self::Replay => 3,
            Self::Backfill => 1,
        }
    }
}

/// The share of the slots that backfill may have while live work is there.
pub(crate) const BACKFILL_SHARE: f64 = 0.6;
