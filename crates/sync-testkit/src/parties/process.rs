use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use timing::{Clock, SharedClock};

use super::VirtualClock;

/// One process that runs an engine: everything the engine does passes through here, so that the process can be stopped,
/// continued and killed at any of these points.
#[derive(Debug)]
pub struct Process {
    /// Its number.
    pub number: u64,
    clock: VirtualClock,
    state: Mutex<State>,
    passed: AtomicU64,
    points: Mutex<Points>,
}

/// Named points that a process came to, and the one at which it is to end.
#[derive(Debug, Default)]
struct Points {
    reached: BTreeMap<&'static str, u32>,
    end_at: Option<(&'static str, u32)>,
    tripped: bool,
}

#[derive(Debug)]
struct State {
    life: Life,
    waiting: Vec<Waker>,
    /// How many points were passed at which time.
    at: (Duration, u32),
    spins: bool,
}

/// So many points passed without any time passing are no progress.
const SPIN: u32 = 50_000;

/// Whether a process goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Runs,
    Stopped,
    Dead,
}

impl Process {
    /// A process that runs.
    pub fn new(number: u64, clock: VirtualClock) -> Arc<Self> {
        let state = Mutex::new(State { life: Life::Runs, waiting: Vec::new(), at: (Duration::ZERO, 0), spins: false });
        let points = Mutex::default();
        Arc::new(Self { number, clock, state, passed: AtomicU64::new(0), points })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn points(&self) -> MutexGuard<'_, Points> {
        self.points.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process ends when it comes to this point for the `hit`-th time.
    pub fn end_at(&self, point: &'static str, hit: u32) {
        self.points().end_at = Some((point, hit));
    }

    /// How often it came to each named point.
    pub fn reached(&self) -> BTreeMap<&'static str, u32> {
        self.points().reached.clone()
    }

    /// Whether it came to the point at which it was to end.
    pub fn tripped(&self) -> bool {
        self.points().tripped
    }

    /// Counts a named point, and ends the process there when that is wanted.
    pub fn reach(&self, point: &'static str) {
        let mut points = self.points();
        let hit = points.reached.entry(point).or_default();
        *hit += 1;
        let here = (point, *hit);
        if points.end_at == Some(here) {
            points.tripped = true;
            drop(points);
            self.kill();
        }
    }

    /// A named point at which the process may be held.
    pub async fn pass_at(&self, point: &'static str) {
        self.reach(point);
        self.pass().await;
    }

    /// A point at which the process may be held.
    pub async fn pass(&self) {
        self.passed.fetch_add(1, Ordering::Relaxed);
        self.watch_for_spinning();
        std::future::poll_fn(|context| {
            let mut state = self.state();
            match state.life {
                Life::Runs => Poll::Ready(()),
                Life::Stopped => {
                    state.waiting.push(context.waker().clone());
                    Poll::Pending
                }
                Life::Dead => Poll::Pending,
            }
        })
        .await;
    }

    /// A process that goes on and on without any time passing is ended.
    fn watch_for_spinning(&self) {
        let now = self.clock.monotonic();
        let mut state = self.state();
        state.at = if state.at.0 == now { (now, state.at.1 + 1) } else { (now, 0) };
        if state.at.1 > SPIN {
            state.life = Life::Dead;
            state.spins = true;
        }
    }

    /// Whether it was ended for that.
    pub fn spins(&self) -> bool {
        self.state().spins
    }

    /// How many points were passed: while this grows, something is going on.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// As SIGSTOP.
    pub fn stop(&self) {
        let mut state = self.state();
        if state.life == Life::Runs {
            state.life = Life::Stopped;
        }
    }

    /// As SIGCONT.
    pub fn go_on(&self) {
        let mut state = self.state();
        if state.life == Life::Stopped {
            state.life = Life::Runs;
            state.waiting.drain(..).for_each(Waker::wake);
        }
    }

    /// As SIGKILL: nothing passes any more.
    pub fn kill(&self) {
        self.state().life = Life::Dead;
    }

    /// The clock as this process sees it: while it is stopped, nobody in it wakes.
    pub fn clock(self: &Arc<Self>) -> SharedClock {
        Arc::new(ProcessClock(self.clone()))
    }
}

#[derive(Debug)]
struct ProcessClock(Arc<Process>);

#[async_trait]
impl Clock for ProcessClock {
    fn now(&self) -> DateTime<Utc> {
        self.0.clock.now()
    }

    fn monotonic(&self) -> Duration {
        self.0.clock.monotonic()
    }

    async fn sleep(&self, duration: Duration) {
        self.0.clock.sleep(duration).await;
        self.0.pass().await;
    }
}
