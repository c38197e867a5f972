//! The mapping from the outside: data in, decisions out.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its own functions too")]

mod conversion;
mod decision;
mod filter;
mod laws;
mod opt_outs;
mod problems;
mod specification;
mod support;
