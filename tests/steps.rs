//! A clock that a test moves on, while the services keep the machine's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use timing::{Clock, SystemClock};
use tokio::sync::watch;

/// The machine's clock with steps ahead: who sleeps is woken by a step over the end of the sleep.
#[derive(Debug, Clone)]
pub struct Steps {
    clock: SystemClock,
    ahead_ms: Arc<AtomicU64>,
    moved: watch::Sender<()>,
}

impl Default for Steps {
    fn default() -> Self {
        Self { clock: SystemClock::new(), ahead_ms: Arc::default(), moved: watch::Sender::new(()) }
    }
}

impl Steps {
    /// Lets so much time pass at once.
    pub fn pass(&self, time: Duration) {
        self.ahead_ms.fetch_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
        self.moved.send_replace(());
    }

    fn ahead(&self) -> Duration {
        Duration::from_millis(self.ahead_ms.load(Ordering::SeqCst))
    }
}

#[async_trait::async_trait]
impl Clock for Steps {
    fn now(&self) -> DateTime<Utc> {
        self.clock.now() + self.ahead()
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic() + self.ahead()
    }

    async fn sleep(&self, duration: Duration) {
        let end = self.monotonic() + duration;
        let mut moved = self.moved.subscribe();
        while let Some(rest) = end.checked_sub(self.monotonic()).filter(|rest| !rest.is_zero()) {
            tokio::select! {
                () = self.clock.sleep(rest) => {}
                _ = moved.changed() => {}
            }
        }
    }
}
