//! The store against the suite that every store runs, and against the model.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic")]

use std::sync::Arc;

use proptest::prelude::*;
use sync_core::traits::Store;
use sync_store_sqlite::{SqliteOptions, SqliteStore};
use sync_testkit::{Ground, model};
use tempfile::TempDir;

struct Folder(TempDir);

impl Default for Folder {
    fn default() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Ground for Folder {
    fn open(&self) -> Arc<dyn Store> {
        SqliteStore::open(&self.0.path().join("store.db"), SqliteOptions::default()).unwrap()
    }
}

sync_testkit::store_suite!(Folder::default());

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn it_answers_as_the_model_does(history in model::histories(160)) {
        // In memory, where there is such a folder: many short histories, and none of them loses its power.
        let folder = Folder(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap());
        model::compare(folder.open(), &history);
    }
}
