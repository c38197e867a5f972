//! How many requests an identity has in flight, how fast they start, who goes first, and when all of them pause.
//!
//! The decisions are a state machine without a clock; [`Lane`] is its shell. What it promises, and why it keeps it:
//! `docs/protocols/pace.md`.

mod breaker;
mod budget;
mod concurrency;
mod config;
mod grant;
mod lane;
#[cfg(test)]
mod laws;
mod machine;
mod priority;
mod queue;
mod spending;
mod stats;
mod window;

pub use breaker::BreakerState;
pub use budget::RetryBudget;
pub use config::{Pace, Quota};
pub use lane::{Lane, Permit};
pub use machine::Outcome;
#[cfg(feature = "test-util")]
pub(crate) use machine::{Machine, StartId, Turn};
pub use priority::Priority;
#[cfg(feature = "test-util")]
pub(crate) use queue::Ticket;
pub use spending::{Limit, WindowUse};
pub use stats::LaneStats;
