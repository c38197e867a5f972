//! The store keeps its part of the protocol of unknown outcomes: every step of the protocol's model, taken in a file.

use std::sync::Arc;

use sync_core::traits::Store;
use sync_store_sqlite::{SqliteOptions, SqliteStore};
use sync_testkit::protocol::{Ownership, Parameters, follow};

#[test]
fn the_store_takes_every_step_of_the_model() {
    let lock = Parameters { ownership: Ownership::Lock, ..Parameters::default() };
    for parameters in [lock, Parameters::default()] {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> =
            SqliteStore::open(&folder.path().join("store.db"), SqliteOptions::default()).unwrap();
        let walks = follow(&store, Parameters { faults: 1, ..parameters });
        println!("{parameters}: {walks} walks");
        assert!(walks > 100, "{parameters}: {walks} walks");
    }
}
