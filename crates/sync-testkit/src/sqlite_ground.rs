use std::path::PathBuf;
use std::sync::Arc;

use sync_core::StoreErrorKind;
use sync_core::traits::Store;
use sync_store_sqlite::{SqliteOptions, SqliteStore};
use tempfile::TempDir;

use crate::Ground;

/// The SQLite store in a file of its own, which is removed with this.
#[derive(Debug)]
pub struct SqliteGround(TempDir);

impl SqliteGround {
    /// A new folder: in memory where there is such a file system, because the end of a process loses nothing of either.
    ///
    /// # Panics
    /// When no folder can be made.
    pub fn new() -> Self {
        Self(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("store.db")
    }
}

impl Default for SqliteGround {
    fn default() -> Self {
        Self::new()
    }
}

impl Ground for SqliteGround {
    fn open(&self) -> Arc<dyn Store> {
        // The thread of an earlier opening ends what it was at first, as the system ends what a process wrote.
        for _ in 0..1_000_000 {
            match SqliteStore::open(&self.path(), SqliteOptions::default()) {
                Ok(store) => return store,
                Err(error) if error.kind() == StoreErrorKind::InUse => std::thread::yield_now(),
                Err(error) => panic!("the store cannot be opened: {error}"),
            }
        }
        panic!("an earlier opening of the store did not end");
    }
}
