//! What every store owes the engine, case by case. [`store_suite!`](crate::store_suite) makes a test of each.

pub mod append;
pub mod claim;
pub mod dead_letters;
pub mod index;
pub mod lease;
pub mod plan;
pub mod settle;
pub mod verification;

use crate::Ground;
use crate::book::Book;

/// Runs a case on a runtime of its own.
///
/// # Panics
/// When the case fails.
pub fn run(case: impl AsyncFn(&dyn Ground), ground: &dyn Ground) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(case(ground));
}

/// A case begins with an empty store and a lease.
async fn begin(ground: &dyn Ground) -> Book {
    Book::open(ground).await
}
