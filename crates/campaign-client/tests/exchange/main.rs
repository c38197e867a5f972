//! The file exchange: against the sandbox's server, against OpenSSH's where it is installed, and its tables.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the helpers of a test fail by panicking, like the test"
)]

mod behaviour;
mod faults;
mod openssh;
mod opt_out;
mod sandboxed;
mod tables;
