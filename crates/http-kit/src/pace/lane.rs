use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use timing::{SharedClock, SharedEntropy, SystemEntropy};
use tokio::sync::{Notify, Semaphore, watch};

use super::config::Pace;
use super::machine::{Machine, Outcome, Reason, StartId, Turn};
use super::priority::Priority;
use super::queue::Ticket;
use super::stats::LaneStats;
use crate::error::{Error, ErrorKind};

/// The way of one identity to one service: how many requests are in flight, how fast they start, who goes first, and
/// one gate that pauses all of them. Clones are the same lane.
///
/// Limits of a service count per identity, so all clients of one identity share a lane.
#[derive(Clone)]
pub struct Lane {
    shared: Arc<Shared>,
}

struct Shared {
    name: Box<str>,
    clock: SharedClock,
    entropy: SharedEntropy,
    most: usize,
    state: Mutex<State>,
    /// Has no permits ever: waiting for one ends when the lane is closed, and not before.
    closed: Semaphore,
    paused: watch::Sender<Option<DateTime<Utc>>>,
}

struct State {
    machine: Machine,
    /// How to tell those who wait that it may be their turn.
    waiting: HashMap<Ticket, Arc<Notify>>,
}

impl State {
    /// Tells the next one to ask again. Whoever starts or leaves does this too, so one word reaches all in turn.
    fn tell_next(&self, now: Duration) {
        if let Some(notify) = self.machine.head(now).and_then(|ticket| self.waiting.get(&ticket)) {
            notify.notify_one();
        }
    }

    fn tell_all(&self) {
        self.waiting.values().for_each(|notify| notify.notify_one());
    }
}

impl Lane {
    /// A lane with at most `in_flight` requests at once (0 counts as 1) and no pace. The name stands
    /// in logs, so it must hold no secret.
    #[must_use]
    pub fn new(name: impl Into<Box<str>>, in_flight: usize, clock: SharedClock) -> Self {
        Self::paced(name, &Pace::fixed(in_flight), clock, SystemEntropy::shared())
    }

    /// The same with at least the time between starts that `per_second` requests need. A pace that is
    /// not above 0 means none.
    #[must_use]
    pub fn with_pace(name: impl Into<Box<str>>, in_flight: usize, per_second: f64, clock: SharedClock) -> Self {
        Self::paced(name, &Pace::fixed(in_flight).per_second(per_second), clock, SystemEntropy::shared())
    }

    /// A lane with the pace of `pace`, whose jitter comes from `entropy`. Numbers that [`Pace::check`] would refuse
    /// are used as they are.
    #[must_use]
    pub fn paced(name: impl Into<Box<str>>, pace: &Pace, clock: SharedClock, entropy: SharedEntropy) -> Self {
        let state = State { machine: Machine::new(pace), waiting: HashMap::new() };
        Self {
            shared: Arc::new(Shared {
                name: name.into(),
                clock,
                entropy,
                most: pace.in_flight.max(1),
                state: Mutex::new(state),
                closed: Semaphore::new(0),
                paused: watch::Sender::new(None),
            }),
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The most requests in flight that this lane ever allows.
    #[must_use]
    pub fn most_in_flight(&self) -> usize {
        self.shared.most
    }

    /// The most requests in flight at present.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.state().machine.limit()
    }

    /// Until when the lane pauses, by the calendar; `None` if it does not pause.
    ///
    /// Keep this over a restart and give it to [`pause`](Self::pause), or the new process runs into the limit at once.
    #[must_use]
    pub fn paused_until(&self) -> Option<DateTime<Utc>> {
        self.calendar(self.pause_left()?)
    }

    /// Tells of each new end of a pause, by the calendar. The value is the last one, which may have passed; `None` if
    /// the lane was never told to pause.
    #[must_use]
    pub fn watch_pause(&self) -> watch::Receiver<Option<DateTime<Utc>>> {
        self.shared.paused.subscribe()
    }

    /// How much longer the lane pauses; `None` if it does not pause.
    #[must_use]
    pub fn pause_left(&self) -> Option<Duration> {
        self.state().machine.pause_left(self.shared.clock.monotonic())
    }

    /// Lets nothing start before `until`. An earlier pause that lasts longer stays. For a pause that a
    /// store kept over a restart.
    pub fn pause(&self, until: DateTime<Utc>) {
        if let Ok(left) = (until - self.shared.clock.now()).to_std() {
            self.pause_for(left);
        }
    }

    /// Lets nothing start for `duration`. An earlier pause that lasts longer stays. What is in flight
    /// goes on.
    pub fn pause_for(&self, duration: Duration) {
        // Monotonic, so that setting the calendar neither shortens nor lengthens a pause.
        let now = self.shared.clock.monotonic();
        let left = {
            let mut state = self.state();
            state.machine.pause(duration, now);
            state.machine.pause_left(now)
        };
        self.publish_pause(left);
    }

    /// Passes on how many requests in flight the server advises. An adaptive lane starts there and never goes beyond.
    pub fn advised(&self, in_flight: usize) {
        let now = self.shared.clock.monotonic();
        let mut state = self.state();
        state.machine.advised(in_flight, now);
        state.tell_next(now);
    }

    /// Refuses everything that has not started, now and later, and wakes what sleeps in a pause, in a pace or
    /// before a repetition; what is in flight goes on.
    pub fn close(&self) {
        self.shared.closed.close();
    }

    /// The lane at this moment.
    #[must_use]
    pub fn stats(&self) -> LaneStats {
        let now = self.shared.clock.monotonic();
        let mut state = self.state();
        let machine = &mut state.machine;
        let window = machine.window(now);
        LaneStats {
            limit: machine.limit(),
            in_flight: machine.in_flight(),
            waiting: machine.waiting(),
            pauses: machine.pauses(),
            throttled: machine.throttled(),
            paused_until: machine.pause_left(now).and_then(|left| self.calendar(left)),
            breaker: machine.breaker(now),
            window,
        }
    }

    /// [`admit_as`](Self::admit_as) for live work.
    ///
    /// # Errors
    /// As [`admit_as`](Self::admit_as).
    pub async fn admit(&self, deadline: Duration) -> Result<Permit, Error> {
        self.admit_as(Priority::Live, false, deadline).await
    }

    /// Waits until a request may start: for the end of a pause, for its turn, for a free slot, and for its part of
    /// the quota. Nothing is held while it waits. Cancel safe.
    ///
    /// `read_only` says that the request changes nothing: such a one is preferred to find out whether a server is
    /// back. `deadline` is a monotonic time of the lane's clock.
    ///
    /// # Errors
    /// `Throttled` at once if the pause lasts beyond the deadline; `Deadline` at once if the fixed rate allows no start
    /// in time, or later if the turn does not come; `Unavailable` if the server has failed too often: at once if it is
    /// left alone beyond the deadline, else when one that tried it has failed again; `Cancelled` if the lane is
    /// closed. Nothing was sent in any of these cases.
    pub async fn admit_as(&self, priority: Priority, read_only: bool, deadline: Duration) -> Result<Permit, Error> {
        let clock = &self.shared.clock;
        if self.shared.closed.is_closed() {
            return Err(closed());
        }
        let mut place = self.queue_up(priority, read_only);
        loop {
            let now = clock.monotonic();
            let turn = place.ask(now);
            let until = match turn {
                Turn::Start(_) | Turn::Unavailable { .. } if self.shared.closed.is_closed() => return Err(closed()),
                Turn::Start(id) if now < deadline => return Ok(Permit { lane: self.clone(), id: Some(id) }),
                Turn::Start(id) => {
                    self.finish(id, Outcome::Unused);
                    return Err(too_late());
                }
                Turn::Unavailable { until } => return Err(unavailable(until.saturating_sub(now))),
                Turn::Wait { until: Some(until), reason } if until > deadline => match reason {
                    Reason::Paused => return Err(paused(until.saturating_sub(now))),
                    Reason::Breaker => return Err(unavailable(until.saturating_sub(now))),
                    Reason::Rate => {
                        return Err(Error::new(ErrorKind::Deadline, "the pace allows no start in time"));
                    }
                    Reason::Queue | Reason::Slots | Reason::Window => deadline,
                },
                Turn::Wait { until, .. } => until.unwrap_or(deadline),
            };
            if now >= deadline {
                return Err(too_late());
            }
            tokio::select! {
                biased;
                _never_a_permit = self.shared.closed.acquire() => return Err(closed()),
                () = place.notify.notified() => {}
                () = clock.sleep(until.saturating_sub(now)) => {}
            }
        }
    }

    /// Sleeps, unless the lane is closed before or meanwhile. Cancel safe.
    pub(crate) async fn sleep(&self, wait: Duration) -> Result<(), Error> {
        tokio::select! {
            biased;
            _never_a_permit = self.shared.closed.acquire() => Err(closed()),
            () = self.shared.clock.sleep(wait) => Ok(()),
        }
    }

    fn queue_up(&self, priority: Priority, read_only: bool) -> Place<'_> {
        let notify = Arc::new(Notify::new());
        let mut state = self.state();
        let ticket = state.machine.enter(priority, read_only);
        state.waiting.insert(ticket, Arc::clone(&notify));
        Place { lane: self, ticket, notify }
    }

    fn finish(&self, id: StartId, outcome: Outcome) {
        let now = self.shared.clock.monotonic();
        let unit = self.shared.entropy.unit();
        let left = {
            let mut state = self.state();
            let before = state.machine.pause_left(now);
            let opened_again = state.machine.finish(id, outcome, now, unit);
            if opened_again {
                state.tell_all();
            } else {
                state.tell_next(now);
            }
            state.machine.pause_left(now).filter(|left| Some(*left) != before)
        };
        if left.is_some() {
            self.publish_pause(left);
        }
    }

    fn publish_pause(&self, left: Option<Duration>) {
        let until = left.and_then(|left| self.calendar(left));
        self.shared.paused.send_if_modified(|last| std::mem::replace(last, until) != until);
    }

    fn calendar(&self, left: Duration) -> Option<DateTime<Utc>> {
        TimeDelta::from_std(left).ok().and_then(|left| self.shared.clock.now().checked_add_signed(left))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue; given up when dropped.
struct Place<'a> {
    lane: &'a Lane,
    ticket: Ticket,
    notify: Arc<Notify>,
}

impl Place<'_> {
    fn ask(&mut self, now: Duration) -> Turn {
        self.lane.state().machine.turn(self.ticket, now)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let now = self.lane.shared.clock.monotonic();
        let mut state = self.lane.state();
        state.machine.leave(self.ticket);
        state.waiting.remove(&self.ticket);
        // It may have been told just now.
        state.tell_next(now);
    }
}

/// The right to have one request in flight; ends when dropped, as a request of unknown end.
#[derive(Debug)]
pub struct Permit {
    lane: Lane,
    id: Option<StartId>,
}

impl Permit {
    /// Says what became of the request, and frees its slot.
    pub fn finish(mut self, outcome: Outcome) {
        if let Some(id) = self.id.take() {
            self.lane.finish(id, outcome);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.lane.finish(id, Outcome::Abandoned);
        }
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Cancelled, "the lane is closed")
}

fn too_late() -> Error {
    Error::new(ErrorKind::Deadline, "the turn did not come in time")
}

fn paused(left: Duration) -> Error {
    Error::new(ErrorKind::Throttled, "the lane pauses for longer than the call may wait").with_retry_after(left)
}

fn unavailable(left: Duration) -> Error {
    Error::new(ErrorKind::Unavailable, "the server failed too often, so nothing is sent to it for a while")
        .with_retry_after(left)
}

impl fmt::Debug for Lane {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Lane").field("name", &self.shared.name).field("stats", &self.stats()).finish()
    }
}
