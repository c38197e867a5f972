//! Tests of the consent crate.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod laws;
mod rule_table;
