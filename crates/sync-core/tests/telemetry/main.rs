//! What can be seen of a workflow: every name is used and documented, and nothing of a record is told.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the parties of a test may break it; the lints spare test functions alone"
)]

mod canary;
mod capture;
mod names;
mod parties;
mod quiet;
mod store;
mod walk;
