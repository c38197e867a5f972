//! What holds for every run of the machine: tables of single decisions, and laws over random runs.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::breaker::BreakerState;
use super::config::{Pace, Quota};
use super::machine::{Machine, Outcome, Reason, StartId, Turn};
use super::priority::Priority;
use super::queue::Ticket;
use super::spending::Limit;

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn starts(machine: &mut Machine, priority: Priority, now: Duration) -> Result<StartId, Turn> {
    let ticket = machine.enter(priority, false);
    match machine.turn(ticket, now) {
        Turn::Start(id) => Ok(id),
        other => {
            machine.leave(ticket);
            Err(other)
        }
    }
}

#[test]
fn each_gate_holds_for_its_own_reason_and_says_until_when() {
    let wait = |until: Option<u64>, reason| Err(Turn::Wait { until: until.map(seconds), reason });
    let now = seconds(1_000);
    let mut machine = Machine::new(&Pace::fixed(1));
    machine.pause(seconds(7), now);
    assert_eq!(starts(&mut machine, Priority::OptOut, now), wait(Some(1_007), Reason::Paused));
    let now = seconds(1_007);
    let held = starts(&mut machine, Priority::Live, now).unwrap();
    assert_eq!(starts(&mut machine, Priority::OptOut, now), wait(None, Reason::Slots));
    machine.finish(held, Outcome::Answered, now, 0.0);
    let first = machine.enter(Priority::Live, false);
    assert_eq!(starts(&mut machine, Priority::Backfill, now), wait(None, Reason::Queue));
    machine.leave(first);

    let mut rated = Machine::new(&Pace::fixed(9).per_second(0.25));
    starts(&mut rated, Priority::Live, now).unwrap();
    assert_eq!(starts(&mut rated, Priority::OptOut, now), wait(Some(1_011), Reason::Rate));

    let mut small = Machine::new(&Pace::fixed(9).quota(Quota::new(2, seconds(1_200)).share(1.0)));
    starts(&mut small, Priority::OptOut, now).unwrap();
    starts(&mut small, Priority::OptOut, now).unwrap();
    assert_eq!(starts(&mut small, Priority::OptOut, now), wait(Some(1_308), Reason::Window));
}

#[test]
fn all_may_spend_ahead_a_part_and_opt_outs_may_have_all() {
    let count = |priority| {
        let mut machine = Machine::new(&Pace::fixed(usize::MAX).quota(Quota::new(3_010, seconds(1_200)).share(1.0)));
        (0..5_000).take_while(|_| starts(&mut machine, priority, seconds(1_000)).is_ok()).count()
    };
    // The first ones of a new lane, a thirty-third of the window; and those who came late may make up for a quarter of a second.
    for priority in [Priority::Backfill, Priority::Replay] {
        assert!((85..100).contains(&count(priority)), "{}", count(priority));
    }
    // Half of it, and what is kept for opt-outs is not its own.
    assert!((1_490..1_510).contains(&count(Priority::Live)), "{}", count(Priority::Live));
    assert_eq!(count(Priority::OptOut), 3_010);
}

#[test]
fn backfill_has_six_tenths_of_the_slots_while_live_work_is_there() {
    for (slots, share) in [(10, 6), (5, 3), (4, 2), (2, 1), (1, 1)] {
        let mut machine = Machine::new(&Pace::fixed(slots));
        let mut now = seconds(9);
        let backfill = |machine: &mut Machine, now| {
            (0..20).map_while(|_| starts(machine, Priority::Backfill, now).ok()).collect::<Vec<_>>()
        };
        let alone = backfill(&mut machine, now);
        assert_eq!(alone.len(), slots, "alone it has all of {slots}");
        now += seconds(1);
        let live = machine.enter(Priority::Live, false);
        alone.into_iter().for_each(|id| _ = machine.finish(id, Outcome::Answered, now, 0.0));
        let Turn::Start(live) = machine.turn(live, now) else { panic!("a slot is free") };
        let beside = backfill(&mut machine, now);
        assert_eq!(beside.len(), share.min(slots - 1), "of {slots} beside live work");
        machine.finish(live, Outcome::Answered, now, 0.0);
        assert_eq!(backfill(&mut machine, now).len() + beside.len(), slots, "of {slots} after it");
    }
}

#[test]
fn time_in_flight_counts_before_it_is_over() {
    let mut machine = Machine::new(&Pace::fixed(99).quota(Quota::new(6_000, seconds(100)).share(1.0)));
    let mut now = seconds(0);
    let first = starts(&mut machine, Priority::OptOut, now).unwrap();
    now += seconds(30);
    machine.finish(first, Outcome::Answered, now, 0.0);
    // 30 s each are expected, so that two more may start and a third may not.
    assert!(starts(&mut machine, Priority::OptOut, now).is_ok());
    let last = starts(&mut machine, Priority::OptOut, now).unwrap();
    assert!(matches!(starts(&mut machine, Priority::OptOut, now), Err(Turn::Wait { reason: Reason::Window, .. })));
    machine.finish(last, Outcome::Answered, now + seconds(1), 0.0);
    assert!(starts(&mut machine, Priority::OptOut, now + seconds(1)).is_ok());
}

#[test]
fn jitter_only_adds_and_a_tenth_at_most() {
    for (unit, pause) in [(0.0, 10_000), (0.5, 10_500), (0.999, 10_999)] {
        let mut machine = Machine::new(&Pace::adaptive(9));
        let id = starts(&mut machine, Priority::Live, seconds(5)).unwrap();
        machine.finish(id, Outcome::Throttled { limit: Limit::Unknown, pause: seconds(10) }, seconds(6), unit);
        let left = machine.pause_left(seconds(6)).unwrap();
        assert_eq!(left.as_millis(), pause, "{unit}");
    }
}

#[test]
fn a_server_that_is_back_is_found_by_one_request_and_by_a_read_where_one_waits() {
    let mut machine = Machine::new(&Pace::adaptive(20).start(20));
    let mut now = seconds(100);
    for _ in 0..10 {
        let id = starts(&mut machine, Priority::Live, now).unwrap();
        machine.finish(id, Outcome::Failed { pause: None }, now, 0.0);
    }
    assert_eq!(machine.breaker(now), BreakerState::Open);
    let write = machine.enter(Priority::OptOut, false);
    let read = machine.enter(Priority::Backfill, true);
    let rests = Turn::Wait { until: Some(seconds(105)), reason: Reason::Breaker };
    assert_eq!((machine.turn(write, now), machine.turn(read, now)), (rests, rests));
    now = seconds(105);
    assert_eq!(machine.turn(write, now), Turn::Wait { until: None, reason: Reason::Queue });
    let Turn::Start(probe) = machine.turn(read, now) else { panic!("the read is the probe") };
    assert_eq!(machine.turn(write, now), Turn::Wait { until: None, reason: Reason::Breaker });
    assert!(machine.finish(probe, Outcome::Failed { pause: None }, now, 0.0), "all who wait are to be told");
    assert_eq!(machine.turn(write, now), Turn::Unavailable { until: seconds(115) });
    // Who comes now has seen no probe fail, and waits.
    let write = machine.enter(Priority::Live, false);
    assert_eq!(machine.turn(write, now), Turn::Wait { until: Some(seconds(115)), reason: Reason::Breaker });
    now = seconds(115);
    let Turn::Start(probe) = machine.turn(write, now) else { panic!("a write finds out where nobody reads") };
    machine.finish(probe, Outcome::Throttled { limit: Limit::Unknown, pause: seconds(1) }, now, 0.0);
    assert_eq!(machine.breaker(now), BreakerState::Closed, "who refuses is there");
}

#[test]
fn what_was_not_sent_takes_nothing_from_the_window() {
    let mut machine = Machine::new(&Pace::adaptive(9).quota(Quota::new(6_000, seconds(1_200))));
    let id = starts(&mut machine, Priority::Live, seconds(1)).unwrap();
    assert_eq!(machine.window(seconds(1)).unwrap().requests, 1);
    machine.finish(id, Outcome::Unused, seconds(2), 0.0);
    let used = machine.window(seconds(2)).unwrap();
    assert_eq!((used.requests, used.busy, machine.in_flight()), (0, Duration::ZERO, 0));
}

/// A run against a server that does whatever a list of numbers says.
struct Run {
    machine: Machine,
    pace: Pace,
    now: Duration,
    waiting: Vec<Ticket>,
    in_flight: BTreeMap<StartId, (Duration, Duration, Priority)>,
    starts: Vec<Duration>,
    ends: Vec<(Duration, Duration)>,
    paused_until: Duration,
    hint: usize,
    failing: bool,
}

/// No request takes longer.
const LONGEST: Duration = seconds(4);

impl Run {
    fn new(pace: Pace) -> Self {
        Self {
            machine: Machine::new(&pace),
            pace,
            now: Duration::ZERO,
            waiting: Vec::new(),
            in_flight: BTreeMap::new(),
            starts: Vec::new(),
            ends: Vec::new(),
            paused_until: Duration::ZERO,
            hint: usize::MAX,
            failing: true,
        }
    }

    fn come(&mut self, priority: Priority) {
        self.waiting.push(self.machine.enter(priority, priority == Priority::Backfill));
    }

    /// Starts all that may start, and says when to ask again. `took` is what the next ones will take.
    fn ask(&mut self, took: Duration) -> Result<Option<Duration>, TestCaseError> {
        while let Some(ticket) = self.machine.head(self.now) {
            let probing = self.machine.breaker(self.now) != BreakerState::Closed;
            match self.machine.turn(ticket, self.now) {
                Turn::Wait { until, .. } => {
                    prop_assert!(until.is_none_or(|until| until > self.now), "a wait that is over");
                    return Ok(until);
                }
                Turn::Unavailable { until } => {
                    prop_assert!(until > self.now);
                    self.waiting.retain(|other| *other != ticket);
                    self.come(ticket.priority());
                }
                Turn::Start(id) => {
                    let before = |other: &&Ticket| other.priority() == ticket.priority();
                    let first = self.waiting.iter().find(before).copied();
                    prop_assert_eq!(first, Some(ticket), "within a class who came first goes first");
                    self.waiting.retain(|other| *other != ticket);
                    self.in_flight.insert(id, (self.now, self.now + took, ticket.priority()));
                    self.starts.push(self.now);
                    self.check_start(ticket.priority(), probing)?;
                }
            }
        }
        Ok(None)
    }

    fn check_start(&self, priority: Priority, probing: bool) -> Result<(), TestCaseError> {
        let quota = self.pace.quota.unwrap();
        let recent = self.starts.iter().filter(|start| self.now - **start < seconds(300)).count();
        prop_assert!(recent as f64 <= (quota.requests as f64 * quota.share).max(1.0), "{recent} requests");
        let limit = self.machine.limit();
        prop_assert!(limit >= 1 && limit <= self.pace.in_flight.min(self.hint));
        prop_assert!(self.in_flight.len() <= limit, "more than {limit} in flight");
        prop_assert!(self.now >= self.paused_until, "a start during a pause");
        let waits = |wanted| self.waiting.iter().any(|ticket| ticket.priority() == wanted);
        prop_assert!(probing || priority == Priority::OptOut || !waits(Priority::OptOut), "an opt-out waits behind");
        let flies = |wanted| self.in_flight.values().filter(|(.., other)| *other == wanted).count();
        if priority == Priority::Backfill && !probing && (waits(Priority::Live) || flies(Priority::Live) > 0) {
            prop_assert!(flies(Priority::Backfill) <= (limit * 3 / 5).max(1), "backfill has more than its slots");
        }
        Ok(())
    }

    /// Moves to the next end, or to `at`, whatever is earlier; `word` says how it ends.
    fn pass(&mut self, at: Option<Duration>, word: u32) -> Result<(), TestCaseError> {
        let next = self.in_flight.iter().map(|(id, (started, ends, _))| (*ends, *started, *id)).min();
        match (next, at) {
            (Some((ends, started, id)), at) if at.is_none_or(|at| ends <= at) => {
                self.now = self.now.max(ends);
                self.in_flight.remove(&id);
                let pause = seconds(u64::from(word >> 8 & 63));
                let limit =
                    [Limit::Requests, Limit::Busy, Limit::Concurrency, Limit::Unknown][(word >> 4 & 3) as usize];
                let outcome = match word & 15 {
                    0 if self.failing => Outcome::Throttled { limit, pause },
                    1..5 if self.failing => Outcome::Failed { pause: (word & 16 > 0).then_some(pause) },
                    5 if self.failing => Outcome::Abandoned,
                    _ => Outcome::Answered,
                };
                let left = self.machine.pause_left(self.now).unwrap_or_default();
                self.machine.finish(id, outcome, self.now, f64::from(word >> 14 & 255) / 256.0);
                let asked = match outcome {
                    Outcome::Throttled { pause, .. } | Outcome::Failed { pause: Some(pause) } => pause,
                    _ => Duration::ZERO,
                };
                self.paused_until = self.paused_until.max(self.now + asked);
                let now_left = self.machine.pause_left(self.now).unwrap_or_default();
                prop_assert!(now_left >= left.max(asked), "never earlier");
                prop_assert!(now_left <= left.max(asked.mul_f64(1.1)), "a tenth later at most");
                self.ends.push((self.now, self.now - started));
                let busy: Duration =
                    self.ends.iter().filter(|(end, _)| self.now - *end < seconds(300)).map(|(_, took)| *took).sum();
                prop_assert!(busy <= self.pace.quota.unwrap().busy, "{busy:?} busy");
            }
            (_, Some(at)) => self.now = self.now.max(at),
            (None, None) | (Some(_), None) => {}
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// I12 of every run: requests, busy time and concurrency within their limits, no start during a pause, opt-outs
    /// before the others, and in the end nobody is left waiting.
    #[test]
    fn a_lane_keeps_every_limit_and_starves_nobody(
        requests in 5_u64..300,
        busy in 110_u64..400,
        in_flight in 1_usize..9,
        words in prop::collection::vec(any::<u32>(), 1..250),
    ) {
        // What may be in flight beyond what was expected fits into the part that is not used.
        let share = 1.0 - (LONGEST * 8).as_secs_f64() / busy as f64;
        let pace = Pace::adaptive(in_flight).quota(Quota::new(requests, seconds(busy)).share(share));
        let mut run = Run::new(pace);
        for word in words {
            for priority in Priority::ALL {
                if word >> (22 + priority.index()) & 1 > 0 {
                    run.come(priority);
                }
            }
            if word >> 26 == 0 {
                run.hint = (word & 7) as usize + 1;
                run.machine.advised(run.hint, run.now);
            }
            let took = LONGEST.mul_f64(f64::from(word & 1023) / 1023.0);
            let until = run.ask(took)?;
            let step = run.now + Duration::from_millis(u64::from(word >> 12 & 4095));
            run.pass(Some(until.map_or(step, |until| until.min(step).max(run.now))), word)?;
        }
        run.failing = false;
        let end = run.now + seconds(12 * 3_600);
        while !run.waiting.is_empty() {
            let until = run.ask(seconds(1))?;
            run.pass(until, 15)?;
            prop_assert!(run.now < end, "{} still wait", run.waiting.len());
        }
    }

    /// What is exported at any moment and given to a new machine holds the new one as long as it held the old one.
    #[test]
    fn a_pause_survives_a_restart(pause in 0_u64..100_000, after in 0_u64..100_000, restored_at in 0_u64..1_000_000) {
        let mut machine = Machine::new(&Pace::adaptive(4));
        let id = starts(&mut machine, Priority::Live, seconds(1)).unwrap();
        let throttled = Outcome::Throttled { limit: Limit::Requests, pause: Duration::from_millis(pause) };
        machine.finish(id, throttled, seconds(1), 0.3);
        let left = machine.pause_left(seconds(1) + Duration::from_millis(after));
        let mut restored = Machine::new(&Pace::adaptive(4));
        let now = seconds(restored_at);
        restored.pause(left.unwrap_or_default(), now);
        prop_assert_eq!(restored.pause_left(now), left);
        let turn = starts(&mut restored, Priority::OptOut, now);
        match left {
            Some(left) => {
                prop_assert_eq!(turn, Err(Turn::Wait { until: Some(now + left), reason: Reason::Paused }));
                prop_assert!(starts(&mut restored, Priority::OptOut, now + left).is_ok());
            }
            None => prop_assert!(turn.is_ok()),
        }
    }
}
