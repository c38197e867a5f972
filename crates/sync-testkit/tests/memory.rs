//! The model itself keeps what it asks of others.

use std::sync::Arc;
use std::time::Duration;

use sync_core::store::MemoryStore;
use sync_core::traits::Store;
use sync_testkit::Ground;
use timing::ManualClock;

struct Memory {
    store: MemoryStore,
    clock: ManualClock,
}

impl Default for Memory {
    fn default() -> Self {
        let clock = ManualClock::new();
        Self { store: MemoryStore::with_clock(clock.shared()), clock }
    }
}

impl Ground for Memory {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    fn open_beside(&self) -> Option<Result<Arc<dyn Store>, sync_core::StoreError>> {
        Some(Ok(self.open()))
    }

    fn pass(&self, time: Duration) -> bool {
        self.clock.advance(time);
        true
    }
}

sync_testkit::store_suite!(Memory::default());
