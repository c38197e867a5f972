//! Tests of the consent crate.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod gate;
mod laws;
mod ledger;
mod model;
mod rule_table;
