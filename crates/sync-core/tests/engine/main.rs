//! Whole workflows against a source and a destination in memory, on a clock that the tests move.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the parties of a test may break it; the lints spare test functions alone"
)]

mod classes;
mod crashes;
mod flows;
mod leases;
mod lifecycle;
mod not_yet;
mod parents;
mod parties;
mod passes;
mod requests;
mod tripwire;
mod troubles;
mod world;
