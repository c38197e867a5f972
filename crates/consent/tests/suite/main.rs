//! Tests of the consent crate.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and shows what the checker found, in its own functions too"
)]

mod gate;
mod laws;
mod ledger;
mod model;
mod rule_table;
