use std::collections::BTreeMap;
use std::time::Duration;

use super::breaker::{Breaker, BreakerState, Gate};
use super::concurrency::Concurrency;
use super::config::Pace;
use super::priority::{BACKFILL_SHARE, Priority};
use super::queue::{Queue, Ticket, Waiter};
use super::spending::{Limit, Need, Spending, WindowUse};

/// The decisions of a lane. It has no clock and never waits: `now` comes in, never going back, and decisions come out.
#[derive(Debug)]
pub(crate) struct Machine {
    concurrency: Concurrency,
    spending: Option<Spending>,
    breaker: Option<Breaker>,
    queue: Queue,
    in_flight: BTreeMap<u64, Started>,
    next_start: u64,
    interval: Option<Duration>,
    /// When the fixed rate allows the next start.
    next_by_rate: Duration,
    paused_until: Duration,
    jitter: f64,
    pauses: u64,
    throttled: u64,
}

/// A request in flight.
#[derive(Debug, Clone, Copy)]
struct Started {
    at: Duration,
    priority: Priority,
    /// It took the last slot that it could have.
    full: bool,
    probe: bool,
}

/// Names a request in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StartId(u64);

/// What became of a request, as far as the pace depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The server answered, and it was not about itself. A refusal of what was asked is such an answer.
    Answered,
    /// The server asks for less.
    Throttled {
        /// Which of its limits was reached.
        limit: Limit,
        /// How long nothing may start.
        pause: Duration,
    },
    /// The server could not be reached, did not answer in time, or answered that it is in trouble.
    Failed {
        /// How long it asks to be left alone, if it does.
        pause: Option<Duration>,
    },
    /// Nobody waited for the end.
    Abandoned,
    /// Nothing was sent after all.
    Unused,
}

/// What one that waits is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Go. It waits no longer.
    Start(StartId),
    /// Ask again at `until`, or when told that something has changed.
    Wait { until: Option<Duration>, reason: Reason },
    /// Give up: the server was tried meanwhile and is not back. It waits no longer.
    Unavailable { until: Duration },
}

/// Why one waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Paused,
    Breaker,
    /// Others are before it.
    Queue,
    Slots,
    /// The fixed rate.
    Rate,
    Window,
}

impl Machine {
    pub(crate) fn new(pace: &Pace) -> Self {
        Self {
            concurrency: Concurrency::new(pace),
            spending: pace.quota.as_ref().map(Spending::new),
            breaker: pace.breaker.then(Breaker::default),
            queue: Queue::default(),
            in_flight: BTreeMap::new(),
            next_start: 0,
            interval: pace.interval(),
            next_by_rate: Duration::ZERO,
            paused_until: Duration::ZERO,
            jitter: pace.jitter,
            pauses: 0,
            throttled: 0,
        }
    }

    /// Queues up. Ask [`turn`](Self::turn) next.
    pub(crate) fn enter(&mut self, priority: Priority, read_only: bool) -> Ticket {
        let failed_probes = self.breaker.as_ref().map_or(0, Breaker::failed_probes);
        self.queue.enter(priority, Waiter { read_only, failed_probes })
    }

    /// Gives up waiting. Nothing happens to one that waits no longer.
    pub(crate) fn leave(&mut self, ticket: Ticket) {
        self.queue.leave(ticket);
    }

    /// Asks whether this one may start.
    pub(crate) fn turn(&mut self, ticket: Ticket, now: Duration) -> Turn {
        if now < self.paused_until {
            return Turn::Wait { until: Some(self.paused_until), reason: Reason::Paused };
        }
        let probe = match self.breaker.as_ref().map_or(Gate::Pass, |breaker| breaker.gate(now)) {
            Gate::Pass => false,
            Gate::Probe => true,
            Gate::Until(until) => {
                if self.waited_through_a_probe(ticket) {
                    self.queue.leave(ticket);
                    return Turn::Unavailable { until };
                }
                return Turn::Wait { until: Some(until), reason: Reason::Breaker };
            }
            Gate::Probing => return Turn::Wait { until: None, reason: Reason::Breaker },
        };
        if self.head(now) != Some(ticket) {
            return Turn::Wait { until: None, reason: Reason::Queue };
        }
        if self.in_flight.len() >= self.concurrency.limit() {
            return Turn::Wait { until: None, reason: Reason::Slots };
        }
        if now < self.next_by_rate {
            return Turn::Wait { until: Some(self.next_by_rate), reason: Reason::Rate };
        }
        // Only a quota needs to know, so that a lane without one does not add up what is in flight.
        let need = self.spending.is_some().then(|| self.need(ticket.priority(), now));
        if let (Some(spending), Some(need)) = (&mut self.spending, need) {
            spending.advance(now);
            if let Some(until) = spending.wait(&need, now) {
                return Turn::Wait { until: Some(until), reason: Reason::Window };
            }
            spending.start(&need, now);
        }
        Turn::Start(self.start(ticket, probe, now))
    }

    /// The one to be told that it may be its turn: who waits is asked in this order only.
    pub(crate) fn head(&self, now: Duration) -> Option<Ticket> {
        if self.breaker.as_ref().is_some_and(|breaker| breaker.gate(now) == Gate::Probe)
            && let Some(reader) = self.queue.first_reader()
        {
            return Some(reader);
        }
        self.queue.head(|priority| self.has_slot_for(priority))
    }

    /// A request has ended. `unit` is a random number in `[0, 1)`. Says whether the breaker has just opened again, so
    /// that all who wait are to be told.
    pub(crate) fn finish(&mut self, start: StartId, outcome: Outcome, now: Duration, unit: f64) -> bool {
        let Some(started) = self.in_flight.remove(&start.0) else { return false };
        if outcome == Outcome::Unused {
            if let Some(spending) = &mut self.spending {
                spending.take_back(started.at);
            }
            self.probe_abandoned(started, now);
            return false;
        }
        let took = now.saturating_sub(started.at);
        if let Some(spending) = &mut self.spending {
            spending.advance(now);
            spending.ended(took);
        }
        let failed = matches!(outcome, Outcome::Failed { .. });
        match outcome {
            Outcome::Answered => self.concurrency.succeeded(started.at, started.full, took, now),
            Outcome::Throttled { limit, pause } => {
                self.throttled += 1;
                let resume = now.saturating_add(pause);
                self.pause(self.with_jitter(pause, unit), now);
                if limit == Limit::Concurrency {
                    self.concurrency.too_many(started.at, now);
                } else {
                    self.concurrency.window_used_up(now);
                }
                if let Some(spending) = &mut self.spending {
                    spending.refused(limit, started.at, resume, now);
                }
            }
            Outcome::Failed { pause } => {
                self.concurrency.failed(started.at, now);
                if let Some(pause) = pause {
                    self.pause(self.with_jitter(pause, unit), now);
                }
            }
            Outcome::Abandoned => {
                self.probe_abandoned(started, now);
                return false;
            }
            Outcome::Unused => {}
        }
        let Some(breaker) = &mut self.breaker else { return false };
        let before = breaker.failed_probes();
        breaker.ended(started.probe, failed, now);
        breaker.failed_probes() > before
    }

    /// Lets nothing start for `pause`. A pause that lasts longer stays.
    pub(crate) fn pause(&mut self, pause: Duration, now: Duration) {
        self.paused_until = self.paused_until.max(now.saturating_add(pause));
        self.pauses += 1;
    }

    pub(crate) fn pause_left(&self, now: Duration) -> Option<Duration> {
        self.paused_until.checked_sub(now).filter(|left| !left.is_zero())
    }

    /// The server advises so many requests in flight.
    pub(crate) fn advised(&mut self, in_flight: usize, now: Duration) {
        self.concurrency.advised(in_flight, now);
    }

    pub(crate) fn limit(&self) -> usize {
        self.concurrency.limit()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn pauses(&self) -> u64 {
        self.pauses
    }

    pub(crate) fn throttled(&self) -> u64 {
        self.throttled
    }

    pub(crate) fn breaker(&self, now: Duration) -> BreakerState {
        self.breaker.as_ref().map_or(BreakerState::Closed, |breaker| breaker.state(now))
    }

    pub(crate) fn window(&mut self, now: Duration) -> Option<WindowUse> {
        let spending = self.spending.as_mut()?;
        spending.advance(now);
        Some(spending.use_now())
    }

    fn start(&mut self, ticket: Ticket, probe: bool, now: Duration) -> StartId {
        let priority = ticket.priority();
        let backfill = self.has_slot_for(Priority::Backfill);
        self.queue.start(ticket, |priority| priority != Priority::Backfill || backfill);
        if let Some(interval) = self.interval {
            self.next_by_rate = now.saturating_add(interval);
        }
        if let Some(breaker) = self.breaker.as_mut().filter(|_| probe) {
            breaker.probe_starts();
        }
        let id = self.next_start;
        self.next_start += 1;
        self.in_flight.insert(id, Started { at: now, priority, full: false, probe });
        let full = self.in_flight.len() >= self.concurrency.limit() || !self.has_slot_for(priority);
        if let Some(started) = self.in_flight.get_mut(&id) {
            started.full = full;
        }
        StartId(id)
    }

    fn need(&self, priority: Priority, now: Duration) -> Need {
        let expected = self.concurrency.round_trip();
        let usual = expected.unwrap_or_default();
        let in_flight = self.in_flight.values().map(|started| usual.max(now.saturating_sub(started.at))).sum();
        Need { expected, in_flight, priority }
    }

    /// Backfill leaves slots to live work as long as there is any.
    fn has_slot_for(&self, priority: Priority) -> bool {
        if priority != Priority::Backfill {
            return true;
        }
        let of = |wanted| self.in_flight.values().filter(|started| started.priority == wanted).count();
        let live_work = self.queue.waits(Priority::Live) || of(Priority::Live) > 0;
        let share = (self.concurrency.limit() as f64 * BACKFILL_SHARE) as usize;
        !live_work || of(Priority::Backfill) < share.max(1)
    }

    fn waited_through_a_probe(&self, ticket: Ticket) -> bool {
        let failed = self.breaker.as_ref().map_or(0, Breaker::failed_probes);
        self.queue.get(ticket).is_some_and(|waiter| failed > waiter.failed_probes)
    }

    fn probe_abandoned(&mut self, started: Started, now: Duration) {
        if let Some(breaker) = self.breaker.as_mut().filter(|_| started.probe) {
            breaker.probe_abandoned(now);
        }
    }

    fn with_jitter(&self, pause: Duration, unit: f64) -> Duration {
        let more = pause.as_secs_f64() * self.jitter * unit;
        pause.saturating_add(Duration::try_from_secs_f64(more).unwrap_or_default())
    }
}
