use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

/// Source of time and of waiting.
///
/// `now` answers "what do the calendars say" and may jump when the machine's clock is set;
/// `monotonic` answers "how long did it take" and never goes backwards. Measure spans and deadlines
/// with `monotonic` only.
#[async_trait]
pub trait Clock: Debug + Send + Sync {
    /// The calendar time in UTC.
    fn now(&self) -> DateTime<Utc>;

    /// Time since an arbitrary, fixed origin of this clock. Never decreases.
    fn monotonic(&self) -> Duration;

    /// Waits for `duration`, never shorter.
    ///
    /// Cancel safe: dropping the future ends the wait and has no other effect.
    async fn sleep(&self, duration: Duration);
}

/// A clock that many owners hold.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock, with waits on the tokio timer.
///
/// ```
/// use timing::{Clock, SystemClock};
///
/// let clock = SystemClock::new();
/// let before = clock.monotonic();
/// assert!(clock.monotonic() >= before);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose monotonic origin is the moment of this call.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this crate is the one place that reads the real clock")]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }

    /// The same, ready to be handed around.
    #[must_use]
    pub fn shared() -> SharedClock {
        Arc::new(Self::new())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this crate is the one place that reads the real clock")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
