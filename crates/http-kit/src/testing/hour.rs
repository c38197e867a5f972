use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use super::quota_server::{QuotaServer, ServerLimits, WINDOW};
use crate::pace::{Limit, Machine, Outcome, Pace, Priority, StartId, Ticket, Turn};

/// A run of one lane against servers with limits, in virtual time: deterministic, and seconds of real time for an hour.
///
/// Backfill never runs out: so many workers want to send all the time. Live requests and opt-outs come by chance.
#[derive(Debug, Clone)]
pub struct Hour {
    /// What chance is made from.
    pub seed: u64,
    /// The pace of the lane.
    pub pace: Pace,
    /// How many servers share the load at random, each with windows of its own.
    pub servers: usize,
    /// What each of them grants.
    pub limits: ServerLimits,
    /// Factors that the limits have from some moments on.
    pub changes: Vec<(Duration, f64)>,
    /// The mean time a server works on a request; at least six tenths of it.
    pub work: Duration,
    /// When everything takes five times as long.
    pub spike: Option<(Duration, Duration)>,
    /// When no server can be reached.
    pub outage: Option<(Duration, Duration)>,
    /// The way to a server and back.
    pub network: Duration,
    /// Backfill that always wants to send.
    pub workers: usize,
    /// Live requests a second.
    pub live_rate: f64,
    /// Opt-outs a second.
    pub opt_out_rate: f64,
    /// How long it lasts.
    pub length: Duration,
}

impl Hour {
    /// One server with the limits of Dataverse, requests of 150 ms, 64 workers, two opt-outs a minute.
    #[must_use]
    pub fn new(seed: u64, pace: Pace) -> Self {
        Self {
            seed,
            pace,
            servers: 1,
            limits: ServerLimits::DATAVERSE,
            changes: Vec::new(),
            work: Duration::from_millis(150),
            spike: None,
            outage: None,
            network: Duration::from_millis(10),
            workers: 64,
            live_rate: 0.0,
            opt_out_rate: 1.0 / 30.0,
            length: Duration::from_secs(3_600),
        }
    }

    /// Runs it.
    #[must_use]
    pub fn run(self) -> HourReport {
        Run::new(self).run()
    }
}

/// What came of an [`Hour`].
#[derive(Debug, Clone, Default)]
pub struct HourReport {
    /// Accepted requests, by the second in which they came.
    pub accepted: Vec<u64>,
    /// Refused requests, by the second in which they came.
    pub refused: Vec<u64>,
    /// Requests that found no server.
    pub failed: u64,
    /// Time that all servers worked.
    pub busy: Duration,
    /// What the servers grant per second, requests and time, second by second.
    pub granted: Vec<(f64, f64)>,
    /// The longest time in which the lane let nothing start because a server said so.
    pub longest_pause: Duration,
    /// The largest part of each window that any server saw used, in requests and in time.
    pub fullest: (f64, f64),
    /// The most requests in flight.
    pub most_in_flight: usize,
    /// How long opt-outs waited to start, in order.
    pub opt_out_waits: Vec<Duration>,
    /// How long live requests waited to start, in order.
    pub live_waits: Vec<Duration>,
    /// Starts by priority, in the order of the variants.
    pub starts: [u64; 4],
}

impl HourReport {
    /// The part of what the servers granted that was used, in the limit that was used more.
    #[must_use]
    pub fn share(&self) -> f64 {
        let granted = self.granted.iter().fold((0.0, 0.0), |sum, granted| (sum.0 + granted.0, sum.1 + granted.1));
        let accepted = self.accepted.iter().sum::<u64>() as f64;
        (accepted / granted.0).max(self.busy.as_secs_f64() / granted.1)
    }

    /// The part of the granted requests that was used between two moments.
    #[must_use]
    pub fn share_between(&self, from: Duration, to: Duration) -> f64 {
        let range = seconds(from)..seconds(to);
        let accepted = self.accepted[range.clone()].iter().sum::<u64>() as f64;
        accepted / self.granted[range].iter().map(|granted| granted.0).sum::<f64>()
    }

    /// The part of the requests that were refused.
    #[must_use]
    pub fn throttled(&self) -> f64 {
        let refused = self.refused.iter().sum::<u64>() as f64;
        refused / (refused + self.accepted.iter().sum::<u64>() as f64)
    }

    /// How long after `change` a whole minute had passed in which 95 % of the granted requests were used; `None` if
    /// none had.
    #[must_use]
    pub fn recovery(&self, change: Duration) -> Option<Duration> {
        const MINUTE: usize = 60;
        let from = seconds(change);
        let used = |start: &usize| {
            let range = *start..start + MINUTE;
            let accepted = self.accepted[range.clone()].iter().sum::<u64>() as f64;
            accepted >= 0.95 * self.granted[range].iter().map(|granted| granted.0).sum::<f64>()
        };
        let start = (from..=self.accepted.len().checked_sub(MINUTE)?).find(used)?;
        Some(Duration::from_secs((start + MINUTE - from) as u64))
    }

    /// The wait that 99 % of the opt-outs did not exceed.
    #[must_use]
    pub fn opt_out_p99(&self) -> Duration {
        percentile(&self.opt_out_waits, 0.99)
    }
}

/// The value that this part of the others does not exceed; 0 of none.
#[must_use]
pub fn percentile(values: &[Duration], part: f64) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(at.max(1) - 1).copied().unwrap_or_default()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Time to ask the lane again.
    Ask,
    Arrive(usize, StartId, Priority),
    Work(usize, Duration, StartId, Priority),
    Done(StartId, Priority, Ending),
    /// Somebody new, after whom another will come.
    Come(Priority),
    /// Somebody who was sent away.
    Again(Priority),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    Good,
    Refused(Limit, Duration),
    Bad,
}

struct Run {
    hour: Hour,
    lane: Machine,
    servers: Vec<QuotaServer>,
    chance: Chance,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    next_event: u64,
    /// The earliest time at which the lane is asked anyway.
    asked_at: Option<Duration>,
    came: HashMap<Ticket, Duration>,
    paused_since: Option<Duration>,
    report: HourReport,
}

impl Run {
    fn new(hour: Hour) -> Self {
        let length = seconds(hour.length);
        let servers = (0..hour.servers).map(|_| QuotaServer::new(hour.limits)).collect();
        let report = HourReport { accepted: vec![0; length], refused: vec![0; length], ..HourReport::default() };
        Self {
            lane: Machine::new(&hour.pace),
            servers,
            chance: Chance(hour.seed),
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            next_event: 0,
            asked_at: None,
            came: HashMap::new(),
            paused_since: None,
            report,
            hour,
        }
    }

    fn run(mut self) -> HourReport {
        (0..self.hour.workers).for_each(|_| self.come(Priority::Backfill));
        self.come_by_chance(Priority::Live);
        self.come_by_chance(Priority::OptOut);
        let mut changes = self.hour.changes.clone();
        changes.reverse();
        let mut factor = 1.0;
        self.ask();
        while let Some(Reverse((at, _, event))) = self.events.pop().filter(|event| event.0.0 < self.hour.length) {
            while let Some((_, changed)) = changes.pop_if(|(change, _)| *change <= at) {
                self.granted_until(seconds(at), factor);
                factor = changed;
                let limits = scaled(self.hour.limits, factor);
                self.servers.iter_mut().for_each(|server| server.set_limits(limits));
            }
            if event == Event::Ask && self.asked_at != Some(at) {
                // It was asked for earlier in the meantime.
                continue;
            }
            self.now = at;
            self.happen(event);
            // What a server does is no news for the lane before the answer is there.
            if !matches!(event, Event::Arrive(..) | Event::Work(..)) {
                self.ask();
            }
        }
        self.granted_until(seconds(self.hour.length), factor);
        self.report
    }

    fn happen(&mut self, event: Event) {
        let within = |span: Option<(Duration, Duration)>, now| span.is_some_and(|(from, to)| (from..to).contains(&now));
        match event {
            Event::Ask => self.asked_at = None,
            Event::Again(priority) => self.come(priority),
            Event::Come(priority) => {
                self.come(priority);
                self.come_by_chance(priority);
            }
            Event::Arrive(_, id, priority) if within(self.hour.outage, self.now) => {
                self.report.failed += 1;
                self.later(self.hour.network / 2, Event::Done(id, priority, Ending::Bad));
            }
            Event::Arrive(server, id, priority) => match self.servers[server].arrive(self.now) {
                Ok(()) => {
                    self.report.accepted[seconds(self.now)] += 1;
                    let slow = if within(self.hour.spike, self.now) { 5.0 } else { 1.0 };
                    let took = self.hour.work.mul_f64(slow * (0.6 + 0.4 * self.chance.exponential()));
                    self.later(took, Event::Work(server, took, id, priority));
                    self.note_fullest(server);
                }
                Err((limit, after)) => {
                    self.report.refused[seconds(self.now)] += 1;
                    self.later(self.hour.network / 2, Event::Done(id, priority, Ending::Refused(limit, after)));
                }
            },
            Event::Work(server, took, id, priority) => {
                self.servers[server].complete(took, self.now);
                self.report.busy += took;
                self.note_fullest(server);
                self.later(self.hour.network / 2, Event::Done(id, priority, Ending::Good));
            }
            Event::Done(id, priority, ending) => {
                let outcome = match ending {
                    Ending::Good => Outcome::Answered,
                    Ending::Refused(limit, pause) => Outcome::Throttled { limit, pause },
                    Ending::Bad => Outcome::Failed { pause: None },
                };
                let unit = self.chance.unit();
                self.lane.finish(id, outcome, self.now, unit);
                // A worker takes the next record, and everybody else tries again until it is done.
                if priority == Priority::Backfill || ending != Ending::Good {
                    self.come(priority);
                }
            }
        }
    }

    /// Starts whatever may start now, as the lane's shell would.
    fn ask(&mut self) {
        self.note_pause();
        while let Some(ticket) = self.lane.head(self.now) {
            match self.lane.turn(ticket, self.now) {
                Turn::Start(id) => {
                    let priority = ticket.priority();
                    let waited = self.now - self.came.remove(&ticket).unwrap_or(self.now);
                    self.report.starts[priority.index()] += 1;
                    match priority {
                        Priority::OptOut => self.report.opt_out_waits.push(waited),
                        Priority::Live => self.report.live_waits.push(waited),
                        Priority::Replay | Priority::Backfill => {}
                    }
                    self.report.most_in_flight = self.report.most_in_flight.max(self.lane.in_flight());
                    let server = (self.chance.unit() * self.servers.len() as f64) as usize;
                    self.later(self.hour.network / 2, Event::Arrive(server, id, priority));
                }
                Turn::Unavailable { .. } => {
                    self.came.remove(&ticket);
                    self.later(Duration::from_secs(1), Event::Again(ticket.priority()));
                }
                Turn::Wait { until, .. } => {
                    if let Some(until) = until
                        && self.asked_at.is_none_or(|asked| until < asked)
                    {
                        self.asked_at = Some(until);
                        self.later(until - self.now, Event::Ask);
                    }
                    return;
                }
            }
        }
    }

    fn come(&mut self, priority: Priority) {
        let ticket = self.lane.enter(priority, false);
        self.came.insert(ticket, self.now);
    }

    fn come_by_chance(&mut self, priority: Priority) {
        let rate = match priority {
            Priority::OptOut => self.hour.opt_out_rate,
            Priority::Live => self.hour.live_rate,
            Priority::Replay | Priority::Backfill => 0.0,
        };
        if rate > 0.0 {
            let wait = Duration::from_secs_f64(self.chance.exponential() / rate);
            self.later(wait, Event::Come(priority));
        }
    }

    fn note_pause(&mut self) {
        match (self.lane.pause_left(self.now), self.paused_since) {
            (Some(left), since) => {
                let since = *self.paused_since.insert(since.unwrap_or(self.now));
                self.report.longest_pause = self.report.longest_pause.max(self.now + left - since);
            }
            (None, Some(_)) => self.paused_since = None,
            (None, None) => {}
        }
    }

    fn note_fullest(&mut self, server: usize) {
        let (requests, busy) = self.servers[server].in_window(self.now);
        let fullest = &mut self.report.fullest;
        fullest.0 = fullest.0.max(requests as f64 / self.hour.limits.requests as f64);
        fullest.1 = fullest.1.max(busy.as_secs_f64() / self.hour.limits.busy.as_secs_f64());
    }

    fn granted_until(&mut self, second: usize, factor: f64) {
        let servers = self.servers.len() as f64 * factor / WINDOW.as_secs_f64();
        let limits = &self.hour.limits;
        self.report.granted.resize(second, (servers * limits.requests as f64, servers * limits.busy.as_secs_f64()));
    }

    fn later(&mut self, wait: Duration, event: Event) {
        self.next_event += 1;
        self.events.push(Reverse((self.now + wait, self.next_event, event)));
    }
}

fn scaled(limits: ServerLimits, factor: f64) -> ServerLimits {
    ServerLimits { requests: (limits.requests as f64 * factor) as u64, busy: limits.busy.mul_f64(factor), ..limits }
}

fn seconds(time: Duration) -> usize {
    usize::try_from(time.as_secs()).unwrap_or(usize::MAX)
}

/// Numbers that look random: SplitMix64, the same from the same seed.
struct Chance(u64);

impl Chance {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// With a mean of 1.
    fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }
}
