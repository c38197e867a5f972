//! The store in memory: the model that every durable store is compared with, and a store for tests.

mod ledger;
mod life;
mod memory;
mod queue;
mod row;
mod settle;
mod stream;

pub use memory::MemoryStore;
