use std::collections::VecDeque;
use std::time::Duration;

/// How far back failures count.
const MEMORY: Duration = Duration::from_secs(30);
/// So many failures at least.
const FAILURES: u32 = 10;
/// How long nothing is sent at first, and at most.
const FIRST_REST: Duration = Duration::from_secs(5);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Whether a lane lets requests through to a server that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything goes through.
    Closed,
    /// Nothing goes through: the server has failed too often.
    Open,
    /// One request goes through, to find out.
    HalfOpen,
}

/// Stops requests to a server that answers none of them well.
///
/// Opens after 10 failures within 30 s that are more than half of all. Rests for 5 s, doubled for each probe that
/// fails, up to 60 s; then lets one request through, whose end decides.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    state: State,
    /// The requests of the last 30 s, by the second in which they ended.
    ends: VecDeque<Second>,
    failed_probes: u64,
    /// Probes that failed since it was last closed.
    in_a_row: u32,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    Closed,
    Open {
        until: Duration,
    },
    Probing,
}

#[derive(Debug)]
struct Second {
    at: u64,
    failed: u32,
    all: u32,
}

/// What a breaker says to one that wants to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// As if there were none.
    Pass,
    /// As the one that finds out.
    Probe,
    /// Not before then.
    Until(Duration),
    /// Not before the probe that is under way has ended.
    Probing,
}

impl Breaker {
    pub(crate) fn gate(&self, now: Duration) -> Gate {
        match self.state {
            State::Closed => Gate::Pass,
            State::Open { until } if now < until => Gate::Until(until),
            State::Open { .. } => Gate::Probe,
            State::Probing => Gate::Probing,
        }
    }

    pub(crate) fn state(&self, now: Duration) -> BreakerState {
        match self.gate(now) {
            Gate::Pass => BreakerState::Closed,
            Gate::Until(_) => BreakerState::Open,
            Gate::Probe | Gate::Probing => BreakerState::HalfOpen,
        }
    }

    /// How many probes have failed so far: who waited through one of them has waited long enough.
    pub(crate) fn failed_probes(&self) -> u64 {
        self.failed_probes
    }

    pub(crate) fn probe_starts(&mut self) {
        self.state = State::Probing;
    }

    /// The probe ended without an end: the next one finds out.
    pub(crate) fn probe_abandoned(&mut self, now: Duration) {
        self.state = State::Open { until: now };
    }

    /// A request has ended. Those that were under way when it opened change nothing any more.
    pub(crate) fn ended(&mut self, probe: bool, failed: bool, now: Duration) {
        match self.state {
            State::Closed => self.count(failed, now),
            State::Probing if probe && failed => {
                self.failed_probes += 1;
                self.in_a_row += 1;
                self.open(now);
            }
            State::Probing if probe => *self = Self { failed_probes: self.failed_probes, ..Self::default() },
            State::Open { .. } | State::Probing => {}
        }
    }

    fn count(&mut self, failed: bool, now: Duration) {
        let second = now.as_secs();
        while self.ends.front().is_some_and(|oldest| oldest.at + MEMORY.as_secs() <= second) {
            self.ends.pop_front();
        }
        if self.ends.back().is_none_or(|newest| newest.at < second) {
            self.ends.push_back(Second { at: second, failed: 0, all: 0 });
        }
        if let Some(newest) = self.ends.back_mut() {
            newest.failed += u32::from(failed);
            newest.all += 1;
        }
        let (bad, all) = self.ends.iter().fold((0, 0), |(bad, all), end| (bad + end.failed, all + end.all));
        if failed && bad >= FAILURES && bad * 2 > all {
            self.open(now);
        }
    }

    fn open(&mut self, now: Duration) {
        let rest = FIRST_REST.saturating_mul(1 << self.in_a_row.min(8)).min(LONGEST_REST);
        self.state = State::Open { until: now.saturating_add(rest) };
        self.ends.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn after(ends: &[(u64, bool)]) -> Breaker {
        let mut breaker = Breaker::default();
        ends.iter().for_each(|(at, failed)| breaker.ended(false, *failed, seconds(*at)));
        breaker
    }

    fn pattern(good: usize, bad: usize) -> Vec<(u64, bool)> {
        std::iter::repeat_n((5, false), good).chain(std::iter::repeat_n((5, true), bad)).collect()
    }

    #[test]
    fn it_opens_after_ten_failures_that_are_more_than_half() {
        for (good, bad, open) in [(0, 9, false), (0, 10, true), (9, 10, true), (10, 10, false), (10, 11, true)] {
            let state = after(&pattern(good, bad)).state(seconds(5));
            assert_eq!(state == BreakerState::Open, open, "{good} good, {bad} bad");
        }
    }

    #[test]
    fn failures_older_than_thirty_seconds_do_not_count() {
        let nine = |at: u64| std::iter::repeat_n((at, true), 9);
        assert_eq!(after(&nine(1).chain([(30, true)]).collect::<Vec<_>>()).state(seconds(30)), BreakerState::Open);
        assert_eq!(after(&nine(1).chain([(31, true)]).collect::<Vec<_>>()).state(seconds(31)), BreakerState::Closed);
    }

    #[test]
    fn it_rests_longer_after_each_failed_probe_and_forgets_that_when_closed() {
        let mut breaker = after(&pattern(0, 10));
        let mut now = seconds(5);
        for rest in [5, 10, 20, 40, 60, 60] {
            let until = now + seconds(rest);
            assert_eq!(breaker.gate(until - Duration::from_nanos(1)), Gate::Until(until));
            assert_eq!(breaker.gate(until), Gate::Probe);
            breaker.probe_starts();
            assert_eq!((breaker.gate(until), breaker.state(until)), (Gate::Probing, BreakerState::HalfOpen));
            breaker.ended(false, false, until);
            assert_eq!(breaker.gate(until), Gate::Probing, "another one that was under way");
            breaker.ended(true, true, until);
            now = until;
        }
        assert_eq!(breaker.failed_probes(), 6);
        now += seconds(60);
        breaker.probe_starts();
        breaker.probe_abandoned(now);
        assert_eq!(breaker.gate(now), Gate::Probe);
        breaker.probe_starts();
        breaker.ended(true, false, now);
        assert_eq!(breaker.gate(now), Gate::Pass);
        (0..10).for_each(|_| breaker.ended(false, true, now));
        assert_eq!(breaker.gate(now), Gate::Until(now + seconds(5)));
    }
}
