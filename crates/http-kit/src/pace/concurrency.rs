use std::time::Duration;

use super::config::Pace;
use super::window::WINDOW_SECONDS;

/// Additive increase, multiplicative decrease of the requests in flight.
#[derive(Debug)]
pub(crate) struct Concurrency {
    adaptive: bool,
    limit: f64,
    most: usize,
    hint: Option<usize>,
    /// What started before this says nothing about the present limit.
    changed_at: Duration,
    /// The last cut for a used-up window.
    window_cut_at: Option<Duration>,
    ever_cut: bool,
    round_trip: RoundTrip,
}

/// The cut after throttling, a time-out or an error of the server.
const CUT: f64 = 0.7;
/// The cut when the server says that there were too many at once.
const HARD_CUT: f64 = 0.5;

impl Concurrency {
    pub(crate) fn new(pace: &Pace) -> Self {
        let (most, adaptive) = (pace.in_flight.max(1), pace.adaptive);
        let limit = if adaptive { pace.start.clamp(1, most) } else { most } as f64;
        Self {
            adaptive,
            limit,
            most,
            hint: None,
            changed_at: Duration::ZERO,
            window_cut_at: None,
            ever_cut: false,
            round_trip: RoundTrip::default(),
        }
    }

    /// The most requests in flight now: from 1 to what is configured and advised.
    pub(crate) fn limit(&self) -> usize {
        // Between 1 and `most`, so the cast only drops the fraction.
        (self.limit as usize).clamp(1, self.most)
    }

    /// What is expected of a request, `None` before the first answer.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip.mean.map(Duration::from_secs_f64)
    }

    /// The server advises `hint` requests in flight: the first advice is where to start, each is a ceiling.
    pub(crate) fn advised(&mut self, hint: usize, now: Duration) {
        if !self.adaptive || hint == 0 || self.hint == Some(hint) {
            return;
        }
        if self.hint.is_none() && !self.ever_cut {
            self.set(hint as f64, now);
        }
        self.hint = Some(hint);
        self.limit = self.limit.min(self.ceiling());
    }

    /// An answer after `took`. The limit grows by one for each round trip in which it was reached and the server was
    /// no slower than usual.
    pub(crate) fn succeeded(&mut self, started: Duration, full: bool, took: Duration, now: Duration) {
        let usual = self.round_trip.is_usual(took);
        self.round_trip.learn(took);
        if self.adaptive && full && usual && started >= self.changed_at && self.limit < self.ceiling() {
            self.set(self.limit + 1.0, now);
        }
    }

    /// The window is used up: fewer at once, but only once per window.
    pub(crate) fn window_used_up(&mut self, now: Duration) {
        let window = Duration::from_secs(WINDOW_SECONDS);
        if self.window_cut_at.is_none_or(|cut| now >= cut + window) {
            self.window_cut_at = Some(now);
            self.cut(CUT, now);
        }
    }

    /// There were too many at once.
    pub(crate) fn too_many(&mut self, started: Duration, now: Duration) {
        if started >= self.changed_at {
            self.cut(HARD_CUT, now);
        }
    }

    /// A time-out, or an error of the server.
    pub(crate) fn failed(&mut self, started: Duration, now: Duration) {
        if started >= self.changed_at {
            self.cut(CUT, now);
        }
    }

    fn cut(&mut self, factor: f64, now: Duration) {
        if self.adaptive {
            self.ever_cut = true;
            self.set(self.limit * factor, now);
        }
    }

    fn set(&mut self, limit: f64, now: Duration) {
        self.limit = limit.min(self.ceiling()).max(1.0);
        self.changed_at = now;
    }

    fn ceiling(&self) -> f64 {
        self.hint.map_or(self.most, |hint| hint.min(self.most)).max(1) as f64
    }
}

/// Mean and mean deviation of round trips, in seconds.
#[derive(Debug, Default)]
struct RoundTrip {
    mean: Option<f64>,
    deviation: f64,
}

impl RoundTrip {
    const NEWEST: f64 = 0.1;

    fn learn(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        let Some(mean) = &mut self.mean else {
            (self.mean, self.deviation) = (Some(took), took / 2.0);
            return;
        };
        self.deviation += Self::NEWEST * ((took - *mean).abs() - self.deviation);
        *mean += Self::NEWEST * (took - *mean);
    }

    fn is_usual(&self, took: Duration) -> bool {
        // A server that always takes the same time has no deviation, and is not slow when it takes a tenth longer.
        self.mean.is_none_or(|mean| took.as_secs_f64() <= mean + (2.5 * self.deviation).max(mean / 10.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    const RTT: Duration = millis(200);

    /// Round trips with the lane full from `now` on.
    fn grow(concurrency: &mut Concurrency, now: Duration, trips: u32) -> Duration {
        (0..trips).fold(now, |now, _| {
            for _ in 0..concurrency.limit() {
                concurrency.succeeded(now, true, RTT, now + RTT);
            }
            now + RTT
        })
    }

    #[test]
    fn it_starts_at_two_and_grows_by_one_per_full_round_trip() {
        let mut concurrency = Concurrency::new(&Pace::adaptive(41));
        assert_eq!(concurrency.limit(), 2);
        let now = grow(&mut concurrency, Duration::ZERO, 5);
        assert_eq!(concurrency.limit(), 7);
        concurrency.succeeded(now, false, RTT, now + RTT);
        assert_eq!(concurrency.limit(), 7, "the limit was not reached");
        concurrency.succeeded(now, true, RTT * 3, now + RTT * 3);
        assert_eq!(concurrency.limit(), 7, "the server was slower than usual");
        grow(&mut concurrency, now, 100);
        assert_eq!(concurrency.limit(), 41);
    }

    #[test]
    fn advice_is_where_it_starts_and_a_ceiling_after() {
        let mut concurrency = Concurrency::new(&Pace::adaptive(41));
        concurrency.advised(12, Duration::ZERO);
        assert_eq!(concurrency.limit(), 12);
        let now = grow(&mut concurrency, Duration::ZERO, 9);
        assert_eq!(concurrency.limit(), 12);
        concurrency.advised(5, now);
        assert_eq!(concurrency.limit(), 5);
        concurrency.advised(8, now);
        assert_eq!(concurrency.limit(), 5, "more advice is room to grow into");
        grow(&mut concurrency, now, 9);
        assert_eq!(concurrency.limit(), 8);
        concurrency.advised(0, now);
        assert_eq!(concurrency.limit(), 8, "no advice at all");

        let mut cut_before = Concurrency::new(&Pace::adaptive(41));
        cut_before.failed(Duration::ZERO, RTT);
        cut_before.advised(12, RTT);
        assert_eq!(cut_before.limit(), 1, "who was cut does not jump");
        let mut configured = Concurrency::new(&Pace::adaptive(4));
        configured.advised(12, RTT);
        assert_eq!(configured.limit(), 4);
    }

    #[test]
    fn a_used_up_window_cuts_once_and_the_rest_once_per_round_trip() {
        let mut concurrency = Concurrency::new(&Pace::adaptive(41));
        concurrency.advised(20, Duration::ZERO);
        let at = Duration::from_secs(1_000);
        for late in 0..5 {
            concurrency.window_used_up(at + millis(late));
        }
        assert_eq!(concurrency.limit(), 14);
        concurrency.window_used_up(at + Duration::from_secs(300));
        assert_eq!(concurrency.limit(), 9, "9.8");
        let now = at + Duration::from_secs(400);
        for _ in 0..5 {
            concurrency.too_many(now, now + RTT);
        }
        assert_eq!(concurrency.limit(), 4, "4.9: those in flight together were refused together");
        concurrency.failed(now + RTT, now + RTT * 2);
        assert_eq!(concurrency.limit(), 3, "3.43");
        for trip in 3..20 {
            concurrency.failed(now + RTT * trip, now + RTT * (trip + 1));
        }
        assert_eq!(concurrency.limit(), 1);
        grow(&mut concurrency, now + RTT * 30, 3);
        assert_eq!(concurrency.limit(), 4);
    }

    #[test]
    fn a_fixed_limit_stays() {
        let mut fixed = Concurrency::new(&Pace::fixed(8));
        fixed.advised(2, Duration::ZERO);
        fixed.failed(Duration::ZERO, RTT);
        fixed.too_many(Duration::ZERO, RTT);
        fixed.window_used_up(RTT);
        assert_eq!((fixed.limit(), Concurrency::new(&Pace::fixed(0)).limit()), (8, 1));
    }
}
