//! The reader's machine, step by step.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod feed;
mod passes;
mod support;
