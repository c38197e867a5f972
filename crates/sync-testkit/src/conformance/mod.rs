//! What every store, source and destination owes the engine, case by case. The macros of the suites make a test of each.

pub mod append;
mod case;
pub mod claim;
pub mod classes;
pub mod coalescing;
pub mod dead_letters;
pub mod destination;
pub mod expiry;
pub mod index;
pub mod lease;
pub mod life;
pub mod parents;
pub mod plan;
pub mod record_life;
pub mod settle;
pub mod source;
pub mod values;
pub mod verification;
pub mod versions;
pub mod whole;

pub use case::{Case, Ending, run, tell};

use crate::book::Book;
use crate::{DestinationGround, Ground, SourceGround};

/// Every case for stores.
pub const STORE: &[Case<dyn Ground>] = crate::store_cases! { case_list [] };
/// Every case for sources.
pub const SOURCE: &[Case<dyn SourceGround>] = crate::source_cases! { case_list [] };
/// Every case for destinations.
pub const DESTINATION: &[Case<dyn DestinationGround>] = crate::destination_cases! { case_list [] };

/// A case begins with an empty store and a lease.
async fn begin(ground: &dyn Ground) -> Book {
    Book::open(ground).await
}
