use std::time::Duration;

use super::config::Quota;
use super::grant::Grant;
use super::priority::Priority;
use super::window::{WINDOW_SECONDS, Window};

/// Which limit of a server a request ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// Requests in the window.
    Requests,
    /// Time spent in the window.
    Busy,
    /// Requests at once.
    Concurrency,
    /// The server does not say.
    Unknown,
}

/// The two windows of a lane, what they may hold, and how evenly it is spent.
#[derive(Debug)]
pub(crate) struct Spending {
    requests: Kind,
    busy: Kind,
    share: f64,
    network: Duration,
    /// The last start by an even pace; it lies before the real one where starts are behind the pace, and after it where
    /// they are ahead.
    even_start: Duration,
    /// Starts in the life of the lane.
    started: u64,
}

#[derive(Debug)]
struct Kind {
    window: Window,
    grant: Grant,
}

/// What a request is about to take: itself, and the time that it and those in flight are expected to need.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    /// Of this request; `None` if nothing is known yet.
    pub(crate) expected: Option<Duration>,
    /// Of those in flight, together.
    pub(crate) in_flight: Duration,
    pub(crate) priority: Priority,
}

/// The even pace is a little faster than the rate that can be kept up, so that what a pause or an idle moment left is
/// used as well. Spending ahead lowers the rate, so the window never fills up before its time.
const CATCH_UP: f64 = 1.03;
/// Live work may spend ahead as long as this part of the even rate is left for the rest of the window.
const LIVE_LEAVES: f64 = 0.5;
/// So many of each window (174 requests of 6,000) are not held to the pace when a lane is new: what is short is over at once,
/// and what is long is spent evenly.
const FIRST_ONES: u64 = 33;
/// This part of each window is for opt-outs alone (15 requests of 6,000), so that they need not wait for something to
/// leave it. What they take of it, the others give back within a second.
const KEPT_FOR_OPT_OUTS: u64 = 400;
/// Starts that came too late for the pace may be made up for so much.
const BEHIND: Duration = Duration::from_millis(250);
/// What live work and opt-outs start ahead of the pace, the others wait for so long at most.
const AHEAD: Duration = Duration::from_secs(1);

impl Spending {
    pub(crate) fn new(quota: &Quota) -> Self {
        let kind = |configured| Kind { window: Window::new(), grant: Grant::new(configured) };
        Self {
            requests: kind(quota.requests),
            busy: kind(micros(quota.busy)),
            share: quota.share,
            network: quota.network,
            even_start: Duration::ZERO,
            started: 0,
        }
    }

    pub(crate) fn advance(&mut self, now: Duration) {
        for kind in [&mut self.requests, &mut self.busy] {
            kind.window.advance(now);
            kind.grant.advance(now);
        }
    }

    /// When `need` may start: `None` for now, else the moment to ask again. Call `advance` before.
    pub(crate) fn wait(&self, need: &Need, now: Duration) -> Option<Duration> {
        let expected = need.expected.map_or(0, |expected| micros(expected.saturating_sub(self.network)));
        let in_flight = micros(need.in_flight);
        let (requests, busy) = self.free_for(need.priority, in_flight);
        // A request that is larger than the whole allowance may start where nothing else is.
        let alone = self.busy.window.total() == 0 && in_flight == 0;
        if requests == 0 {
            return self.requests.window.next_leave();
        }
        if busy < expected.max(1) && !alone {
            return Some(self.busy.window.next_leave().unwrap_or(now + Duration::from_secs(1)));
        }
        let gap = self.gap(need.priority, requests, busy, expected)?;
        let due = self.even_start.saturating_add(gap);
        // The rate changes when something leaves, so it is asked for again then at the latest.
        (due > now).then(|| due.min(Duration::from_secs(now.as_secs() + 1)))
    }

    /// Notes a start. Call `advance` before.
    pub(crate) fn start(&mut self, need: &Need, now: Duration) {
        let expected = need.expected.map_or(0, |expected| micros(expected.saturating_sub(self.network)));
        let (requests, busy) = self.free_for(Priority::Backfill, micros(need.in_flight));
        let gap = self.gap(Priority::Backfill, requests, busy, expected).unwrap_or_default();
        self.even_start =
            self.even_start.saturating_add(gap).clamp(now.saturating_sub(BEHIND), now.saturating_add(AHEAD));
        self.started += 1;
        self.requests.window.add(1);
    }

    /// Takes back a start that sent nothing.
    pub(crate) fn take_back(&mut self, started: Duration) {
        self.requests.window.take_back(started, 1);
    }

    /// Notes what a request needed. Call `advance` before.
    pub(crate) fn ended(&mut self, took: Duration) {
        self.busy.window.add(micros(took.saturating_sub(self.network)));
    }

    /// A request that started at `started` was refused, and nothing may start before `resume`.
    pub(crate) fn refused(&mut self, limit: Limit, started: Duration, resume: Duration, now: Duration) {
        let fill = |kind: &Kind| kind.window.total() as f64 / kind.grant.believed().max(1) as f64;
        let kind = match limit {
            Limit::Requests => &mut self.requests,
            Limit::Busy => &mut self.busy,
            Limit::Unknown if fill(&self.busy) > fill(&self.requests) => &mut self.busy,
            Limit::Unknown => &mut self.requests,
            Limit::Concurrency => return,
        };
        if kind.grant.is_news(started) {
            // Pauses are whole seconds, rounded up: the room came within the last of them.
            let room_at = resume.saturating_sub(Duration::from_secs(1)).max(now);
            let left = kind.window.left_at(room_at);
            kind.grant.refused(left, resume, now);
        }
    }

    pub(crate) fn use_now(&self) -> WindowUse {
        WindowUse {
            requests: self.requests.window.total(),
            request_limit: self.capacity(&self.requests),
            busy: Duration::from_micros(self.busy.window.total()),
            busy_limit: Duration::from_micros(self.capacity(&self.busy)),
        }
    }

    /// The time between starts; `None` where none is asked for.
    fn gap(&self, priority: Priority, requests: u64, busy: u64, expected: u64) -> Option<Duration> {
        if priority == Priority::OptOut {
            return None;
        }
        let request_rate = self.requests.window.sustainable(requests);
        let busy_rate = self.busy.window.sustainable(busy);
        let left = |kind: &Kind, rate| rate >= LIVE_LEAVES * Window::even(self.capacity(kind));
        let first = self.started < self.capacity(&self.requests) / FIRST_ONES;
        if (priority == Priority::Live || first) && left(&self.requests, request_rate) && left(&self.busy, busy_rate) {
            return None;
        }
        let gap = (1.0 / request_rate).max(expected as f64 / busy_rate) / CATCH_UP;
        // Nothing can be kept up (or nothing is expected of nothing): the window decides.
        let longest = WINDOW_SECONDS as f64;
        Some(Duration::from_secs_f64(if gap.is_finite() { gap.min(longest) } else { longest }))
    }

    fn capacity(&self, kind: &Kind) -> u64 {
        ((kind.grant.believed() as f64 * self.share) as u64).max(1)
    }

    /// Requests and time that may be spent at once. A little stays for opt-outs.
    fn free_for(&self, priority: Priority, in_flight: u64) -> (u64, u64) {
        let free = |kind: &Kind, reserved: u64| {
            let capacity = self.capacity(kind);
            let kept = if priority == Priority::OptOut { 0 } else { capacity / KEPT_FOR_OPT_OUTS };
            (capacity - kept).saturating_sub(kind.window.total()).saturating_sub(reserved)
        };
        (free(&self.requests, 0), free(&self.busy, in_flight))
    }
}

/// How far the windows of a lane are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WindowUse {
    /// Requests started within the last 300 s.
    pub requests: u64,
    /// How many there may be: the share of what the server is believed to grant.
    pub request_limit: u64,
    /// Time that requests took which ended within the last 300 s.
    pub busy: Duration,
    /// How much it may be.
    pub busy_limit: Duration,
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
