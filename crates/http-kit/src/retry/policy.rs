use std::time::Duration;

use timing::Backoff;

/// How often and how long one call tries. Longer patience belongs to a durable queue, not to a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// Repetitions after failures and unclear answers. Default 2.
    pub retries: u32,
    /// Repetitions after throttling, which costs waiting only. Default 10.
    pub throttle_retries: u32,
    /// The waits between repetitions after failures. Default 0.5 s, doubled, at most 10 s, full jitter.
    pub backoff: Backoff,
    /// The first pause after a throttling that names none, or none worth the name; doubled each time. From the second
    /// throttling of a call on it is also the least pause, whatever the server names. Default 1 s.
    pub throttle_base: Duration,
    /// The longest such pause. Default 5 min.
    pub throttle_cap: Duration,
    /// The time for a whole call with all its waits. Default 10 min, twice the window of the
    /// service protection limits of Dataverse.
    pub total: Duration,
    /// The time for one attempt, from its start to the last byte of the answer. Default 120 s.
    pub attempt: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            retries: 2,
            throttle_retries: 10,
            backoff: Backoff::new(Duration::from_millis(500), 2.0, Duration::from_secs(10)),
            throttle_base: Duration::from_secs(1),
            throttle_cap: Duration::from_secs(300),
            total: Duration::from_secs(600),
            attempt: Duration::from_secs(120),
        }
    }
}

impl RetryPolicy {
    /// No repetition at all, except the one replay after a 401.
    #[must_use]
    pub fn never() -> Self {
        Self { retries: 0, throttle_retries: 0, ..Self::default() }
    }

    /// The pause for throttling number `count` (from 0) of one call when the server named none.
    #[must_use]
    pub fn throttle_pause(&self, count: u32) -> Duration {
        Backoff::new(self.throttle_base, 2.0, self.throttle_cap).ceiling(count)
    }
}
