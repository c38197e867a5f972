//! How many requests an identity has in flight, how fast they start, and when all of them pause.

mod budget;
mod lane;

pub use budget::RetryBudget;
pub use lane::{Lane, LaneStats, Permit};
