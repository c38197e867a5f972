//! The seeded simulator: the real engine on one thread and in virtual time, between parties that misbehave, from one number.

mod plan;
mod run;
mod seat;
mod world;

pub use crate::parties::Trace;
pub use plan::Plan;
pub use run::{Finding, Outcome, simulate, simulate_kept};
pub use world::{Engine, Shape, Waited, World, stream};
