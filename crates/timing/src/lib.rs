//! Clock, sleep, randomness and back-off behind traits: the only crate that reads the real clock.
//!
//! Everything else in the family takes a [`SharedClock`] and a [`SharedEntropy`], so that a test can
//! decide what time it is, see exactly how long the code wanted to wait, and repeat a run.
//!
//! ```
//! use std::time::Duration;
//! use timing::Backoff;
//!
//! let backoff = Backoff::new(Duration::from_secs(1), 2.0, Duration::from_secs(30));
//! assert_eq!(backoff.ceiling(3), Duration::from_secs(8));
//! assert_eq!(backoff.delay(3, 0.5), Duration::from_secs(4));
//! ```

mod backoff;
mod clock;
mod entropy;
#[cfg(feature = "test-util")]
mod manual;

pub use backoff::Backoff;
pub use clock::{Clock, SharedClock, SystemClock};
pub use entropy::{Entropy, FixedEntropy, SharedEntropy, SystemEntropy};
#[cfg(feature = "test-util")]
pub use manual::ManualClock;
