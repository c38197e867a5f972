use std::collections::VecDeque;
use std::time::Duration;

use crate::pace::Limit;

/// The window of a server.
pub(super) const WINDOW: Duration = Duration::from_secs(300);

/// What one server grants one identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// Requests in 300 s.
    pub requests: u64,
    /// Time spent in 300 s.
    pub busy: Duration,
    /// Requests at once.
    pub concurrent: usize,
}

impl ServerLimits {
    /// The documented figures of Dataverse: 6,000 requests, 1,200 s, 52 at once.
    pub const DATAVERSE: Self = Self { requests: 6_000, busy: Duration::from_secs(1_200), concurrent: 52 };
}

/// A server with exact sliding windows of its own, as an honest model of service protection:
///
/// - A request that comes while the last 300 s hold as many as it grants, or as much time, is refused until enough has
///   left; `Retry-After` is that time in whole seconds, rounded up.
/// - Until then everything is refused, and each request that comes all the same makes it a second longer.
/// - More at once than it grants are refused at once, with one second.
/// - What is refused costs nothing.
#[derive(Debug)]
pub struct QuotaServer {
    limits: ServerLimits,
    starts: VecDeque<Duration>,
    ends: VecDeque<(Duration, Duration)>,
    busy: Duration,
    in_flight: usize,
    refuses: Option<(Duration, Limit)>,
}

impl QuotaServer {
    /// A server that nobody has asked yet.
    #[must_use]
    pub fn new(limits: ServerLimits) -> Self {
        let (starts, ends) = (VecDeque::new(), VecDeque::new());
        Self { limits, starts, ends, busy: Duration::ZERO, in_flight: 0, refuses: None }
    }

    /// Grants something else from now on.
    pub fn set_limits(&mut self, limits: ServerLimits) {
        self.limits = limits;
    }

    /// A request comes. The time never goes back.
    ///
    /// # Errors
    /// The limit that it runs into, and the `Retry-After`.
    pub fn arrive(&mut self, now: Duration) -> Result<(), (Limit, Duration)> {
        self.forget(now);
        if let Some((until, limit)) = self.refuses.filter(|(until, _)| now < *until) {
            let until = (until + Duration::from_secs(1)).min(now + WINDOW);
            self.refuses = Some((until, limit));
            return Err((limit, whole_seconds(until - now)));
        }
        let refusal = self.requests_in(now).map(|wait| (Limit::Requests, wait));
        if let Some((limit, wait)) = refusal.or_else(|| self.busy_in(now).map(|wait| (Limit::Busy, wait))) {
            let wait = whole_seconds(wait);
            self.refuses = Some((now + wait, limit));
            return Err((limit, wait));
        }
        if self.in_flight >= self.limits.concurrent {
            return Err((Limit::Concurrency, Duration::from_secs(1)));
        }
        self.starts.push_back(now);
        self.in_flight += 1;
        Ok(())
    }

    /// An accepted request has been worked on for `took`.
    pub fn complete(&mut self, took: Duration, now: Duration) {
        self.forget(now);
        self.in_flight = self.in_flight.saturating_sub(1);
        self.ends.push_back((now, took));
        self.busy += took;
    }

    /// Accepted requests and time spent on them in the last 300 s.
    pub fn in_window(&mut self, now: Duration) -> (u64, Duration) {
        self.forget(now);
        (self.starts.len() as u64, self.busy)
    }

    fn forget(&mut self, now: Duration) {
        while self.starts.front().is_some_and(|start| *start + WINDOW <= now) {
            self.starts.pop_front();
        }
        while let Some((_, took)) = self.ends.front().copied().filter(|(end, _)| *end + WINDOW <= now) {
            self.busy -= took;
            self.ends.pop_front();
        }
    }

    /// How long until one more request is within the window, if it is not.
    fn requests_in(&self, now: Duration) -> Option<Duration> {
        let over = (self.starts.len() as u64 + 1).checked_sub(self.limits.requests).filter(|over| *over > 0)?;
        let last_to_leave = self.starts.get(usize::try_from(over).ok()? - 1)?;
        Some(*last_to_leave + WINDOW - now)
    }

    /// How long until the time spent is below what is granted, if it is not.
    fn busy_in(&self, now: Duration) -> Option<Duration> {
        let mut over = self.busy.checked_sub(self.limits.busy)?;
        for (end, took) in &self.ends {
            if over < *took {
                return Some(*end + WINDOW - now);
            }
            over -= *took;
        }
        None
    }
}

fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0)).max(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    const SMALL: ServerLimits = ServerLimits { requests: 3, busy: seconds(10), concurrent: 2 };

    #[test]
    fn each_limit_refuses_with_its_own_wait() {
        let mut server = QuotaServer::new(SMALL);
        assert_eq!(server.arrive(seconds(0)), Ok(()));
        assert_eq!(server.arrive(seconds(1)), Ok(()));
        assert_eq!(server.arrive(seconds(2)), Err((Limit::Concurrency, seconds(1))));
        server.complete(seconds(1), seconds(2));
        assert_eq!(server.arrive(seconds(3)), Ok(()));
        assert_eq!(server.arrive(Duration::from_millis(3_500)), Err((Limit::Requests, seconds(297))));
        assert_eq!(server.arrive(seconds(4)), Err((Limit::Requests, seconds(298))), "who presses waits longer");
        let mut server = QuotaServer::new(SMALL);
        for at in [0, 7] {
            assert_eq!(server.arrive(seconds(at)), Ok(()));
            server.complete(seconds(6), seconds(at + 6));
        }
        assert_eq!(server.in_window(seconds(13)), (2, seconds(12)));
        assert_eq!(server.arrive(seconds(14)), Err((Limit::Busy, seconds(292))));
        assert_eq!(server.arrive(seconds(306)), Ok(()));
    }
}
