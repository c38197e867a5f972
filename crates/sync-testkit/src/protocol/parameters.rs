use std::fmt;

/// What makes a worker the owner of the backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// A lease in a store that several processes share.
    Lease {
        /// It ends so many ticks after its holder ceased to run. A holder that runs renews it at every tick.
        ticks: u8,
        /// The holder starts a request only while its lease lasts longer than this.
        margin: u8,
    },
    /// A lock of the operating system: it lasts as long as its process, running or stopped, and ends with it.
    Lock,
}

impl Ownership {
    /// How long it lasts when it was just taken or renewed.
    pub(super) fn ticks(self) -> u8 {
        match self {
            Self::Lease { ticks, .. } => ticks,
            Self::Lock => 1,
        }
    }

    /// A request is started only while it lasts longer than this.
    pub(super) fn margin(self) -> u8 {
        match self {
            Self::Lease { margin, .. } => margin,
            Self::Lock => 0,
        }
    }
}

/// What holds in the world of a run, and which rules the workers and the store keep. Times are in ticks of one common clock.
///
/// "Within n ticks" means before the n-th tick has passed, so that `settle == execution` is just enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// Records to be created, one entry each.
    pub keys: u8,
    /// How long an entry of unknown outcome waits before it is looked for, counted from when its outcome became unknown.
    pub settle: u8,
    /// How long an entry that a new owner found in flight waits, counted from the takeover.
    pub takeover_wait: u8,
    /// A create is executed within so many ticks after its last byte, or never. At least 1.
    pub execution: u8,
    /// For so many ticks after it took effect, a create may be invisible to lookups.
    pub read_lag: u8,
    /// Whether the server refuses a second record of one key.
    pub unique_key: bool,
    /// Whether the claim is durable before the first byte is sent.
    pub intent: bool,
    /// Whether the server is asked for the key before every create. It is not where a unique key makes that needless.
    pub read_back: bool,
    /// Whether the store refuses whoever does not hold the current fence.
    pub fenced: bool,
    /// What makes a worker the owner of the backlog.
    pub ownership: Ownership,
    /// A worker may be stopped for so many ticks between its last look at the lease and its send. Anywhere else it may be stopped for any
    /// length of time.
    pub stall: u8,
    /// How many faults happen in one run: crash, stop, lost request, lost answer, given up waiting, refusal, failed lookup.
    pub faults: u8,
    /// Unknown outcomes of one entry after which it is given up.
    pub unknown_rounds: u8,
}

impl Default for Parameters {
    /// The protocol as it is meant, over a server without a unique key, with waits that are just long enough.
    fn default() -> Self {
        Self {
            keys: 1,
            settle: 2,
            takeover_wait: 2,
            execution: 2,
            read_lag: 0,
            unique_key: false,
            intent: true,
            read_back: true,
            fenced: true,
            ownership: Ownership::Lease { ticks: 2, margin: 1 },
            stall: 1,
            faults: 3,
            unknown_rounds: 2,
        }
    }
}

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S {} T {} D {} R {}, ", self.settle, self.takeover_wait, self.execution, self.read_lag)?;
        match self.ownership {
            Ownership::Lease { ticks, margin } => write!(f, "lease {ticks} margin {margin}, ")?,
            Ownership::Lock => write!(f, "lock, ")?,
        }
        write!(f, "stop {}, keys {}", self.stall, self.keys)?;
        for (word, said) in [
            ("unique", self.unique_key),
            ("no intent", !self.intent),
            ("no look", !self.read_back),
            ("no fence", !self.fenced),
        ] {
            if said {
                write!(f, ", {word}")?;
            }
        }
        Ok(())
    }
}
