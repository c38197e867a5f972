//! What to do with an answer: pure decisions, table-tested. The loop itself is [`Client::send`](crate::Client::send).

mod after;
mod classify;
mod policy;

pub use after::{DEFAULT_PAUSE, retry_after};
pub use classify::{Advice, Answer, Classify, StandardClassifier, Verdict};
pub use policy::RetryPolicy;
