use chrono::{DateTime, Utc};

use super::breaker::BreakerState;
use super::spending::WindowUse;

/// A lane at one moment, for a host's metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneStats {
    /// The most requests in flight at present.
    pub limit: usize,
    /// Requests in flight.
    pub in_flight: usize,
    /// Requests that wait to start.
    pub waiting: usize,
    /// How often the lane was told to pause.
    pub pauses: u64,
    /// Answers that asked for less.
    pub throttled: u64,
    /// Until when it pauses, if it does.
    pub paused_until: Option<DateTime<Utc>>,
    /// Whether requests go through to the server at all.
    pub breaker: BreakerState,
    /// How far the quota is used, if there is one.
    pub window: Option<WindowUse>,
}
