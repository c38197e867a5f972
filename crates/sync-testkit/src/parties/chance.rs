use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use timing::Entropy;

/// A seeded generator that many parties share. The order in which they draw is part of a run.
#[derive(Debug, Clone)]
pub struct Chance(Arc<Mutex<fastrand::Rng>>);

impl Chance {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))))
    }

    /// A generator of its own, seeded by this one.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::new(self.with(|rng| rng.u64(..)))
    }

    fn with<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A number below `end`; 0 when `end` is 0.
    pub fn below(&self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.with(|rng| rng.u64(..end)) }
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        self.with(|rng| rng.u64(low..=high.max(low)))
    }

    /// True with this probability.
    pub fn hits(&self, rate: f64) -> bool {
        self.with(fastrand::Rng::f64) < rate
    }

    /// One of them.
    ///
    /// # Panics
    /// When there are none.
    pub fn pick<'a, T>(&self, from: &'a [T]) -> &'a T {
        let at = usize::try_from(self.below(from.len() as u64)).unwrap_or(0);
        &from[at]
    }

    /// A span between the two, in whole milliseconds.
    pub fn span(&self, low: Duration, high: Duration) -> Duration {
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.between(millis(low), millis(high)))
    }
}

impl Entropy for Chance {
    fn unit(&self) -> f64 {
        self.with(fastrand::Rng::f64)
    }
}
