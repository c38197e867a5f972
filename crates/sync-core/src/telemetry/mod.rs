//! What can be seen of a running workflow: `tracing` spans and log lines, typed events
//! ([`SyncEvent`](crate::traits::SyncEvent)), and [`Metrics`].
//!
//! All names are in [`names`]; `docs/telemetry.md` says what they mean. Nothing here ever carries a value of a record, a
//! read position or a text that a service sent: only counts, times, names of streams, stable codes and, where a record is meant,
//! a [`KeyHash`].

mod counts;
mod key_hash;
mod log;
mod metrics;
pub mod names;
mod panics;
mod prometheus;
mod rate;
pub(crate) mod spans;

pub(crate) use counts::Counts;
pub use key_hash::KeyHash;
pub(crate) use log::{lease_not_released, log, status_not_kept};
pub use metrics::{ClientMetrics, LaneMetrics, Meter, MetricSource, Metrics, StreamMetrics};
pub(crate) use panics::Contained;
pub use panics::hide_panic_messages;

/// A code as it may stand in a log line or label. Codes are in kebab case; what is not one might be anything, and is `other`.
pub(crate) fn code_label(code: &str) -> &str {
    let kebab = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !code.is_empty() && code.len() <= 64 && code.bytes().all(kebab) { code } else { "other" }
}
