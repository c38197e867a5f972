//! The sandbox's own clock: the real one, moved ahead on request.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, SecondsFormat, Utc};

/// Real time plus an offset that only the control interface moves. Everything in the sandbox that has to do with time reads this:
/// token expiry, delta-token expiry, limits, timestamps of rows.
#[derive(Debug, Default)]
pub struct SandboxClock {
    offset_millis: AtomicI64,
}

impl SandboxClock {
    /// A clock that shows the real time.
    pub fn new() -> Self {
        Self::default()
    }

    /// Now, in milliseconds since 1970 (UTC).
    pub fn now_millis(&self) -> i64 {
        real_millis().saturating_add(self.offset_millis.load(Ordering::Relaxed))
    }

    /// Now, in whole seconds since 1970 (UTC).
    pub fn now_seconds(&self) -> i64 {
        self.now_millis().div_euclid(1000)
    }

    /// Now, as a date and time.
    pub fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.now_millis()).unwrap_or_default()
    }

    /// Moves the clock by so many seconds; a negative number moves it back.
    pub fn advance(&self, seconds: i64) {
        self.offset_millis.fetch_add(seconds.saturating_mul(1000), Ordering::Relaxed);
    }
}

/// `2026-01-05T10:00:00Z`: the form in which Dataverse shows date-times.
pub(crate) fn iso_seconds(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the sandbox shares no code with the family, so this is its one reading of the real clock"
)]
fn real_millis() -> i64 {
    Utc::now().timestamp_millis()
}
