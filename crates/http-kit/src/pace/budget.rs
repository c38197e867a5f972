use std::sync::atomic::{AtomicU32, Ordering};

/// A shared allowance for repetitions: when most requests fail, repeating each of them only adds load.
///
/// Each repetition costs tokens, each success gives one back. With 500 tokens, 14 per repetition and
/// 1 per success a healthy client never notices it, and a failing one comes down to one repetition per
/// 14 successes.
#[derive(Debug)]
pub struct RetryBudget {
    capacity: u32,
    cost: u32,
    tokens: AtomicU32,
}

impl RetryBudget {
    /// A full allowance of `capacity` tokens, of which each repetition takes `cost`.
    #[must_use]
    pub fn new(capacity: u32, cost: u32) -> Self {
        Self { capacity, cost, tokens: AtomicU32::new(capacity) }
    }

    /// Pays for one repetition; `false` if the allowance is used up.
    pub fn take(&self) -> bool {
        self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tokens| tokens.checked_sub(self.cost)).is_ok()
    }

    /// Notes a success.
    pub fn give_back(&self) {
        let below_capacity = |tokens: u32| (tokens < self.capacity).then(|| tokens + 1);
        // A full allowance stays as it is.
        let _full = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below_capacity);
    }

    /// The tokens left.
    #[must_use]
    pub fn tokens(&self) -> u32 {
        self.tokens.load(Ordering::Relaxed)
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self::new(500, 14)
    }
}
