use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// How a [`Lane`](super::Lane) paces its requests.
///
/// ```
/// use http_kit::pace::{Pace, Quota};
/// use std::time::Duration;
///
/// let pace = Pace::adaptive(41).quota(Quota::new(6_000, Duration::from_secs(1_200)));
/// assert!(pace.check().is_ok());
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// The most requests in flight; 0 counts as 1.
    pub in_flight: usize,
    /// Whether the lane finds out by itself how many requests in flight are good, from 1 to `in_flight`. If not, it is
    /// always `in_flight`.
    pub adaptive: bool,
    /// Where an adaptive lane starts. Default 2.
    pub start: usize,
    /// A fixed rate of starts; default none.
    pub per_second: Option<f64>,
    /// What the server grants in 300 s; default no limit.
    pub quota: Option<Quota>,
    /// Whether nothing is sent for a while to a server that answers nothing well.
    pub breaker: bool,
    /// The most that is added to a pause, as a part of it, so that the clients of one server do not come back as one.
    pub jitter: f64,
}

impl Pace {
    /// Always `in_flight` requests at once, and nothing else.
    #[must_use]
    pub const fn fixed(in_flight: usize) -> Self {
        Self {
            in_flight,
            adaptive: false,
            start: in_flight,
            per_second: None,
            quota: None,
            breaker: false,
            jitter: 0.0,
        }
    }

    /// Up to `in_flight` requests at once, as many as the server takes well, with a breaker, and with up to a tenth on
    /// top of each pause.
    #[must_use]
    pub const fn adaptive(in_flight: usize) -> Self {
        Self { in_flight, adaptive: true, start: 2, per_second: None, quota: None, breaker: true, jitter: 0.1 }
    }

    /// The same with another start, for a service that takes so many for sure.
    #[must_use]
    pub const fn start(mut self, in_flight: usize) -> Self {
        self.start = in_flight;
        self
    }

    /// The same with at least the time between starts that `rate` requests a second need. A rate that is not above 0
    /// means none.
    #[must_use]
    pub const fn per_second(mut self, rate: f64) -> Self {
        self.per_second = Some(rate);
        self
    }

    /// The same within `quota`.
    #[must_use]
    pub const fn quota(mut self, quota: Quota) -> Self {
        self.quota = Some(quota);
        self
    }

    /// Checks the numbers.
    ///
    /// # Errors
    /// `Configuration`, naming the number.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |what| Err(Error::new(ErrorKind::Configuration, what));
        if !(0.0..=1.0).contains(&self.jitter) {
            return wrong("the jitter must lie between 0 and 1");
        }
        match &self.quota {
            Some(quota) if !(quota.share > 0.0 && quota.share <= 1.0) => {
                wrong("the share of the quota must be above 0 and at most 1")
            }
            Some(quota) if quota.requests == 0 || quota.busy < Duration::from_secs(1) => {
                wrong("a quota needs at least one request and one second")
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn interval(&self) -> Option<Duration> {
        let rate = self.per_second?;
        Duration::try_from_secs_f64(1.0 / rate).ok().filter(|interval| !interval.is_zero())
    }
}

/// What a server grants an identity in each 300 s: so many requests, and so much time spent on them.
///
/// Where several servers share the load and count for themselves, it is the sum of what they grant. A quota that is
/// larger than what is granted is found out by being refused; see `docs/protocols/pace.md`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Quota {
    /// Requests in 300 s.
    pub requests: u64,
    /// Time spent on them in 300 s, of all together.
    pub busy: Duration,
    /// The part that is used. Default 0.97.
    pub share: f64,
    /// The part of each exchange that is not the server's work: the way there and back. Default 0, which counts the
    /// way as work and so never too little.
    pub network: Duration,
}

impl Quota {
    /// A quota of which 97 % are used.
    #[must_use]
    pub const fn new(requests: u64, busy: Duration) -> Self {
        Self { requests, busy, share: 0.97, network: Duration::ZERO }
    }

    /// The same for `servers` servers that each grant it.
    #[must_use]
    pub const fn times(mut self, servers: u32) -> Self {
        self.requests = self.requests.saturating_mul(servers as u64);
        self.busy = self.busy.saturating_mul(servers);
        self
    }

    /// The same with another part of it used.
    #[must_use]
    pub const fn share(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    /// The same with so much of each exchange taken as the way there and back.
    #[must_use]
    pub const fn network(mut self, network: Duration) -> Self {
        self.network = network;
        self
    }
}
