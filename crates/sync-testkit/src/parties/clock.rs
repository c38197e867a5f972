use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use timing::{Clock, SharedClock};

use super::Chance;

/// When a sleeper wakes: the time, a drawn number that orders those of one instant, and its own number.
type Alarm = (Duration, u64, u64);

/// A clock that stands still until its driver moves it to the next sleeper, whom it wakes alone.
///
/// `timing::ManualClock` wakes all its sleepers at once, in an order that tokio draws; here the order is part of the seed.
#[derive(Debug, Clone)]
pub struct VirtualClock {
    state: Arc<Mutex<State>>,
    order: Chance,
}

#[derive(Debug)]
struct State {
    elapsed: Duration,
    skew: TimeDelta,
    asked: u64,
    sleepers: BTreeMap<Alarm, Option<Waker>>,
}

impl VirtualClock {
    /// A clock at 2026-01-01T00:00:00Z. `order` decides who of those that wake at one instant wakes first.
    pub fn new(order: Chance) -> Self {
        let state = State { elapsed: Duration::ZERO, skew: TimeDelta::zero(), asked: 0, sleepers: BTreeMap::new() };
        Self { state: Arc::new(Mutex::new(state)), order }
    }

    /// As the trait object that the engine takes.
    pub fn shared(&self) -> SharedClock {
        Arc::new(self.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the next sleeper wakes.
    pub fn next(&self) -> Option<Duration> {
        self.state().sleepers.keys().next().map(|alarm| alarm.0)
    }

    /// Moves to the next sleeper that wakes not after `limit` and wakes it; `false` when there is none.
    pub fn wake_next(&self, limit: Duration) -> bool {
        let mut state = self.state();
        let Some(entry) = state.sleepers.first_entry().filter(|entry| entry.key().0 <= limit) else { return false };
        let ((due, ..), waker) = entry.remove_entry();
        state.elapsed = state.elapsed.max(due);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Moves to this time, if it is later; whoever is due by then wakes late.
    pub fn move_to(&self, to: Duration) {
        let mut state = self.state();
        state.elapsed = state.elapsed.max(to);
    }

    /// Sets the calendar off by this much more, as a time server would; nobody wakes by that.
    pub fn skew(&self, by: TimeDelta) {
        let mut state = self.state();
        state.skew = state.skew.checked_add(&by).unwrap_or(state.skew);
    }

    /// How many sleeps were begun so far.
    pub fn asked(&self) -> u64 {
        self.state().asked
    }
}

#[async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> DateTime<Utc> {
        let state = self.state();
        let epoch = DateTime::from_timestamp(1_767_225_600, 0).unwrap_or_default();
        epoch + TimeDelta::from_std(state.elapsed).unwrap_or(TimeDelta::MAX) + state.skew
    }

    fn monotonic(&self) -> Duration {
        self.state().elapsed
    }

    async fn sleep(&self, duration: Duration) {
        let alarm = {
            let tie = self.order.below(u64::MAX);
            let mut state = self.state();
            state.asked += 1;
            let alarm = (state.elapsed.saturating_add(duration), tie, state.asked);
            state.sleepers.insert(alarm, None);
            alarm
        };
        Sleep { clock: self.clone(), alarm }.await;
    }
}

struct Sleep {
    clock: VirtualClock,
    alarm: Alarm,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.clock.state().sleepers.get_mut(&self.alarm) {
            Some(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clock.state().sleepers.remove(&self.alarm);
    }
}
