use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};

/// What a client did since it was built: counters for a host's metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Requests handed to the transport, repetitions included.
    pub sent: u64,
    /// Repetitions after a failure or an unclear answer.
    pub retries: u64,
    /// Answers that asked for less pace.
    pub throttled: u64,
    /// Repetitions with a fresh token after a 401.
    pub replayed_auth: u64,
    /// Calls that ended with an error.
    pub failed: u64,
    /// Requests in flight in the lane at this moment, those of its other clients included.
    pub in_flight: usize,
    /// Until when the lane pauses, if it does.
    pub paused_until: Option<DateTime<Utc>>,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) sent: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) throttled: AtomicU64,
    pub(crate) replayed_auth: AtomicU64,
    pub(crate) failed: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self, in_flight: usize, paused_until: Option<DateTime<Utc>>) -> Stats {
        Stats {
            sent: self.sent.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            throttled: self.throttled.load(Ordering::Relaxed),
            replayed_auth: self.replayed_auth.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            in_flight,
            paused_until,
        }
    }
}
