//! Suites with which hosts certify their own parts of a sync.
//!
//! [`store_suite!`], [`source_suite!`] and [`destination_suite!`] run every case of [`conformance`] as a test of its own;
//! [`certify`] runs them in a program. [`defective`] holds stores, sources and destinations with a planted defect each, with which
//! the suites are tested. [`model`] compares a store with [`MemoryStore`](sync_core::store::MemoryStore), which is the model, over
//! random sequences of everything an engine does. With the feature `model`, which is a default, `protocol` is the checked model
//! of writes of unknown outcome, and takes a store through its every step. [`fault_proxy`] breaks connections between a program
//! and a service.
//!
//! ```
//! use std::sync::Arc;
//!
//! use sync_core::store::MemoryStore;
//! use sync_core::traits::Store;
//! use sync_testkit::Ground;
//!
//! #[derive(Default)]
//! struct Memory(MemoryStore);
//!
//! impl Ground for Memory {
//!     fn open(&self) -> Arc<dyn Store> {
//!         Arc::new(self.0.clone())
//!     }
//! }
//!
//! sync_testkit::store_suite!(Memory::default());
//! # fn main() {}
//! ```

#![expect(clippy::unwrap_used, clippy::panic, reason = "a suite fails by panicking")]

mod book;
mod cases;
pub mod certify;
pub mod conformance;
pub mod crash;
pub mod defective;
mod endpoints;
#[cfg(unix)]
pub mod fault_proxy;
pub mod faults;
mod ground;
pub mod invariants;
pub mod model;
pub mod parties;
#[cfg(feature = "model")]
pub mod protocol;
pub mod rare;
#[cfg(feature = "program")]
pub mod report;
pub mod sim;
#[cfg(feature = "sqlite")]
mod sqlite_ground;
pub mod workload;
pub mod wrapped;

#[cfg(feature = "sqlite")]
pub use sqlite_ground::SqliteGround;

pub use endpoints::{DestinationGround, SourceGround};
pub use ground::Ground;
