//! One look at a contact at a time, whichever stream asks for it.

use std::hash::{BuildHasher as _, RandomState};

use record::Key;
use tokio::sync::{Mutex, MutexGuard};

/// More than there are operations in flight, so that contacts seldom share one.
const PLACES: usize = 1024;

/// Locks by contact. Two contacts may share one; nobody holds two, so nobody waits in a circle.
#[derive(Debug)]
pub(crate) struct Turns {
    places: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self { places: (0..PLACES).map(|_| Mutex::new(())).collect(), hasher: RandomState::new() }
    }

    /// Waits until nobody else is at work on the contact; the turn ends with the guard.
    pub(crate) async fn take(&self, contact: &Key) -> Option<MutexGuard<'_, ()>> {
        let hash = usize::try_from(self.hasher.hash_one(contact) % PLACES as u64).unwrap_or(0);
        match self.places.get(hash) {
            Some(place) => Some(place.lock().await),
            None => None,
        }
    }
}
