use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::watch;

use crate::Clock;

/// How often a sleeper lets other tasks run before it moves an auto-advancing clock.
const IDLE_YIELDS: usize = 64;

/// A clock that stands still until a test moves it.
///
/// Clones share the same time. Every requested sleep is written down, so that a test asserts the
/// exact waits of the code under test instead of waiting itself.
///
/// ```
/// use std::time::Duration;
/// use timing::{Clock, ManualClock};
///
/// let clock = ManualClock::new();
/// clock.advance(Duration::from_secs(7));
/// assert_eq!(clock.monotonic(), Duration::from_secs(7));
/// ```
#[derive(Debug, Clone)]
pub struct ManualClock {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    epoch: DateTime<Utc>,
    auto: bool,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    elapsed: Duration,
    skew: TimeDelta,
    next_id: u64,
    sleepers: BTreeMap<u64, Duration>,
    requested: Vec<Duration>,
}

impl ManualClock {
    /// A clock at 2026-01-01T00:00:00Z that moves only on request.
    #[must_use]
    pub fn new() -> Self {
        Self::starting_at(DateTime::from_timestamp(1_767_225_600, 0).unwrap_or_default())
    }

    /// A clock at `epoch` that moves only on request.
    #[must_use]
    pub fn starting_at(epoch: DateTime<Utc>) -> Self {
        Self::build(epoch, false)
    }

    /// A clock that jumps to the next due sleeper once the other tasks had many turns to run.
    ///
    /// Meant for tests on one thread without real input and output: a task that waits for a socket
    /// looks idle to this clock.
    #[must_use]
    pub fn auto_advancing() -> Self {
        Self::build(DateTime::from_timestamp(1_767_225_600, 0).unwrap_or_default(), true)
    }

    fn build(epoch: DateTime<Utc>, auto: bool) -> Self {
        let shared = Shared { epoch, auto, state: Mutex::default(), changed: watch::Sender::new(0) };
        Self { shared: Arc::new(shared) }
    }

    /// This clock as the trait object that the crates take.
    #[must_use]
    pub fn shared(&self) -> crate::SharedClock {
        Arc::new(self.clone())
    }

    /// Moves both times forward and wakes every sleeper that is due.
    pub fn advance(&self, by: Duration) {
        self.change(|state| state.elapsed = state.elapsed.saturating_add(by));
    }

    /// Moves the time to the earliest sleeper and says how far that was; `None` when nobody sleeps.
    pub fn advance_to_next(&self) -> Option<Duration> {
        let by = {
            let state = self.state();
            state.sleepers.values().min()?.saturating_sub(state.elapsed)
        };
        self.advance(by);
        Some(by)
    }

    /// Sets the calendar time alone, as an operator or a time server would; sleepers do not notice.
    pub fn set_now(&self, now: DateTime<Utc>) {
        let current = self.now();
        self.change(|state| state.skew += now - current);
    }

    /// Every sleep that was requested so far, in order.
    #[must_use]
    pub fn requested_sleeps(&self) -> Vec<Duration> {
        self.state().requested.clone()
    }

    /// How many tasks sleep at this moment.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.state().sleepers.len()
    }

    /// Waits until at least `count` tasks sleep: the gate to pass before `advance`. Cancel safe.
    pub async fn wait_for_sleepers(&self, count: usize) {
        let mut changed = self.shared.changed.subscribe();
        while self.sleepers() < count {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let result = act(&mut self.state());
        self.shared.changed.send_modify(|turn| *turn = turn.wrapping_add(1));
        result
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

/// Takes a sleeper off the list also when its future is dropped.
struct Sleeper<'a> {
    clock: &'a ManualClock,
    id: u64,
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.clock.change(|state| state.sleepers.remove(&self.id));
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        let state = self.state();
        let elapsed = TimeDelta::from_std(state.elapsed).unwrap_or(TimeDelta::MAX);
        let time = self.shared.epoch.checked_add_signed(elapsed).unwrap_or(DateTime::<Utc>::MAX_UTC);
        time.checked_add_signed(state.skew).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    fn monotonic(&self) -> Duration {
        self.state().elapsed
    }

    async fn sleep(&self, duration: Duration) {
        let mut changed = self.shared.changed.subscribe();
        let (id, due) = self.change(|state| {
            let id = state.next_id;
            let due = state.elapsed.saturating_add(duration);
            state.next_id += 1;
            state.requested.push(duration);
            state.sleepers.insert(id, due);
            (id, due)
        });
        let _sleeper = Sleeper { clock: self, id };
        loop {
            changed.mark_unchanged();
            let mut idle = if self.shared.auto { 0 } else { IDLE_YIELDS };
            while idle < IDLE_YIELDS {
                tokio::task::yield_now().await;
                // Somebody has just gone to sleep or woken up, and what that one does next may come before us.
                idle = if changed.has_changed().unwrap_or(false) { 0 } else { idle + 1 };
                changed.mark_unchanged();
            }
            let (elapsed, next) = {
                let state = self.state();
                (state.elapsed, state.sleepers.values().min().copied())
            };
            if elapsed >= due {
                return;
            }
            if self.shared.auto && next == Some(due) {
                self.advance(due.saturating_sub(elapsed));
            } else if changed.changed().await.is_err() {
                return;
            }
        }
    }
}
