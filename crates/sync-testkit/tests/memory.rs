//! The model itself keeps what it asks of others.

use std::sync::Arc;

use sync_core::store::MemoryStore;
use sync_core::traits::Store;
use sync_testkit::Ground;

#[derive(Default)]
struct Memory(MemoryStore);

impl Ground for Memory {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }
}

sync_testkit::store_suite!(Memory::default());
