//! Where a store with a defect lives.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sync_core::traits::Store;
use sync_core::{StoreError, StoreErrorKind};

use super::Defect;
use super::machine::{DefectiveStore, Machine, error, lock};
use crate::Ground;

/// A place where everything can happen to a store.
pub struct DefectiveGround {
    machine: Arc<Mutex<Machine>>,
    defect: Option<Defect>,
}

impl DefectiveGround {
    /// A store with a defect.
    pub fn with(defect: Defect) -> Self {
        Self { machine: Machine::new(Some(defect), defect.is_of_exclusive()), defect: Some(defect) }
    }

    /// A store without a defect that several processes may share.
    pub fn whole_and_shared() -> Self {
        Self { machine: Machine::new(None, false), defect: None }
    }

    /// A store without a defect that one process at a time owns.
    pub fn whole_and_exclusive() -> Self {
        Self { machine: Machine::new(None, true), defect: None }
    }
}

impl Ground for DefectiveGround {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(DefectiveStore::open(&self.machine))
    }

    fn open_beside(&self) -> Option<Result<Arc<dyn Store>, StoreError>> {
        let beside = DefectiveStore::open_beside(&self.machine);
        Some(beside.map(|store| -> Arc<dyn Store> { Arc::new(store) }))
    }

    fn open_newer(&self) -> Option<Result<Arc<dyn Store>, StoreError>> {
        let opened = self.defect == Some(Defect::NewerFormatOpened);
        Some(if opened { Ok(self.open()) } else { Err(error(StoreErrorKind::TooNew)) })
    }

    fn pass(&self, time: Duration) -> bool {
        let machine = lock(&self.machine);
        machine.clock.advance(time);
        !machine.exclusive
    }

    fn fill(&self, full: bool) -> bool {
        lock(&self.machine).trouble.full = full;
        true
    }

    fn fail_write(&self, nth: Option<u32>) -> bool {
        lock(&self.machine).trouble.fail = nth;
        true
    }

    fn back_up(&self) -> bool {
        lock(&self.machine).back_up();
        true
    }

    fn restore(&self) {
        lock(&self.machine).restore();
    }

    fn at_rest(&self) -> Option<Vec<u8>> {
        Some(lock(&self.machine).notes.sealed.clone())
    }
}
