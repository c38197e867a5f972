use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use timing::SharedClock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::error::{Error, ErrorKind};

/// The way of one identity to one service: a fixed number of requests in flight, optionally a pace,
/// and one gate that pauses all of them. Clones are the same lane.
///
/// Limits of a service count per identity, so all clients of one identity share a lane.
#[derive(Clone)]
pub struct Lane {
    shared: Arc<Shared>,
}

struct Shared {
    name: Box<str>,
    clock: SharedClock,
    limit: usize,
    permits: Arc<Semaphore>,
    /// Has no permits ever: waiting for one ends when the lane is closed, and not before.
    closed: Semaphore,
    interval: Option<Duration>,
    gate: Mutex<Gate>,
    pauses: AtomicU64,
}

#[derive(Default)]
struct Gate {
    /// Monotonic, so that setting the calendar neither shortens nor lengthens a pause.
    paused_until: Duration,
    next_start: Duration,
}

/// A lane at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneStats {
    /// The most requests in flight.
    pub limit: usize,
    /// Requests in flight.
    pub in_flight: usize,
    /// How often the lane was told to pause.
    pub pauses: u64,
    /// Until when it pauses, if it does.
    pub paused_until: Option<DateTime<Utc>>,
}

/// The right to have one request in flight; ends when dropped.
#[derive(Debug)]
pub struct Permit {
    _slot: OwnedSemaphorePermit,
}

impl Lane {
    /// A lane with at most `in_flight` requests at once (0 counts as 1) and no pace. The name stands
    /// in logs, so it must hold no secret.
    #[must_use]
    pub fn new(name: impl Into<Box<str>>, in_flight: usize, clock: SharedClock) -> Self {
        Self::build(name.into(), in_flight, None, clock)
    }

    /// The same with at least the time between starts that `per_second` requests need. A pace that is
    /// not above 0 means none.
    #[must_use]
    pub fn with_pace(name: impl Into<Box<str>>, in_flight: usize, per_second: f64, clock: SharedClock) -> Self {
        let interval = Duration::try_from_secs_f64(1.0 / per_second).ok().filter(|interval| !interval.is_zero());
        Self::build(name.into(), in_flight, interval, clock)
    }

    fn build(name: Box<str>, in_flight: usize, interval: Option<Duration>, clock: SharedClock) -> Self {
        let limit = in_flight.clamp(1, Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(limit));
        let (closed, gate, pauses) = (Semaphore::new(0), Mutex::default(), AtomicU64::new(0));
        Self { shared: Arc::new(Shared { name, clock, limit, permits, closed, interval, gate, pauses }) }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The most requests in flight.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.shared.limit
    }

    /// Until when the lane pauses, by the calendar; `None` if it does not pause.
    #[must_use]
    pub fn paused_until(&self) -> Option<DateTime<Utc>> {
        let left = self.pause_left()?;
        TimeDelta::from_std(left).ok().and_then(|left| self.shared.clock.now().checked_add_signed(left))
    }

    /// How much longer the lane pauses; `None` if it does not pause.
    #[must_use]
    pub fn pause_left(&self) -> Option<Duration> {
        let until = self.gate().paused_until;
        until.checked_sub(self.shared.clock.monotonic()).filter(|left| !left.is_zero())
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
        let until = self.shared.clock.monotonic().saturating_add(duration);
        let mut gate = self.gate();
        gate.paused_until = gate.paused_until.max(until);
        self.shared.pauses.fetch_add(1, Ordering::Relaxed);
    }

    /// Refuses everything that has not started, now and later, and wakes what sleeps in a pause, in a pace or
    /// before a repetition; what is in flight goes on.
    pub fn close(&self) {
        self.shared.permits.close();
        self.shared.closed.close();
    }

    /// The lane at this moment.
    #[must_use]
    pub fn stats(&self) -> LaneStats {
        LaneStats {
            limit: self.limit(),
            in_flight: self.limit().saturating_sub(self.shared.permits.available_permits()),
            pauses: self.shared.pauses.load(Ordering::Relaxed),
            paused_until: self.paused_until(),
        }
    }

    /// Waits for the end of a pause, for a start by the pace and for a free slot. No slot is held
    /// during a pause. Cancel safe; a dropped wait may leave one start of the pace unused.
    ///
    /// `deadline` is a monotonic time of the lane's clock.
    ///
    /// # Errors
    /// `Throttled` at once if the pause lasts beyond the deadline, `Deadline` if the pace or the slot
    /// comes too late, `Cancelled` if the lane is closed. Nothing was sent in any of these cases.
    pub async fn admit(&self, deadline: Duration) -> Result<Permit, Error> {
        let clock = &self.shared.clock;
        loop {
            self.pass_gate(deadline).await?;
            if let Some(wait) = self.reserve_start(deadline)? {
                self.sleep(wait).await?;
                self.pass_gate(deadline).await?;
            }
            let slot = self.slot(deadline).await?;
            // A pause may have begun during the wait for a slot: the slot goes back before waiting.
            if self.pause_left().is_some() {
                drop(slot);
                continue;
            }
            if clock.monotonic() >= deadline {
                return Err(too_late());
            }
            return Ok(Permit { _slot: slot });
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

    /// Waits for a slot no longer than to the deadline. Cancel safe.
    async fn slot(&self, deadline: Duration) -> Result<OwnedSemaphorePermit, Error> {
        let permits = &self.shared.permits;
        match Arc::clone(permits).try_acquire_owned() {
            Ok(slot) => return Ok(slot),
            Err(TryAcquireError::Closed) => return Err(closed()),
            Err(TryAcquireError::NoPermits) => {}
        }
        let left = deadline.saturating_sub(self.shared.clock.monotonic());
        tokio::select! {
            biased;
            slot = Arc::clone(permits).acquire_owned() => slot.map_err(|_| closed()),
            () = self.shared.clock.sleep(left) => Err(too_late()),
        }
    }

    async fn pass_gate(&self, deadline: Duration) -> Result<(), Error> {
        while let Some(left) = self.pause_left() {
            if self.shared.permits.is_closed() {
                return Err(closed());
            }
            if self.shared.clock.monotonic().saturating_add(left) > deadline {
                return Err(Error::new(ErrorKind::Throttled, "the lane pauses for longer than the call may wait")
                    .with_retry_after(left));
            }
            self.sleep(left).await?;
        }
        Ok(())
    }

    fn reserve_start(&self, deadline: Duration) -> Result<Option<Duration>, Error> {
        let Some(interval) = self.shared.interval else { return Ok(None) };
        let now = self.shared.clock.monotonic();
        let mut gate = self.gate();
        let start = gate.next_start.max(now);
        if start > deadline {
            return Err(Error::new(ErrorKind::Deadline, "the pace allows no start in time"));
        }
        gate.next_start = start.saturating_add(interval);
        Ok((start > now).then(|| start - now))
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.shared.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Cancelled, "the lane is closed")
}

fn too_late() -> Error {
    Error::new(ErrorKind::Deadline, "no slot became free in time")
}

impl fmt::Debug for Lane {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Lane").field("name", &self.shared.name).field("stats", &self.stats()).finish()
    }
}
