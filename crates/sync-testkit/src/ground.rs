//! The place where a store lives, and what a host can do to it from outside.

use std::sync::Arc;
use std::time::Duration;

use sync_core::StoreError;
use sync_core::traits::Store;

/// A place where a store lives, so that a case can close it and open it again.
///
/// Only [`Ground::open`] is needed. Each of the others is a thing that happens to stores; a case that needs one which the
/// ground does not offer is skipped, and says so.
pub trait Ground {
    /// Opens the store; what an earlier opening acknowledged is there. The earlier one was dropped before, as it is when a
    /// process dies: nothing was released.
    ///
    /// # Panics
    /// When it cannot be opened.
    fn open(&self) -> Arc<dyn Store>;

    /// Opens the store while an earlier opening is still in use, as a second process would.
    fn open_beside(&self) -> Option<Result<Arc<dyn Store>, StoreError>> {
        None
    }

    /// Marks the store as made by a newer version of its software, and opens it.
    fn open_newer(&self) -> Option<Result<Arc<dyn Store>, StoreError>> {
        None
    }

    /// Lets time pass on the clock by which the store's leases end. Answers whether it can.
    fn pass(&self, _time: Duration) -> bool {
        false
    }

    /// Takes all space away, or gives it back. Answers whether it can.
    fn fill(&self, _full: bool) -> bool {
        false
    }

    /// Makes the `nth` write from now on fail once, counted from 1: a write of the store's own kind, such as a statement or a
    /// call of the file system. `None` lets all pass. Answers whether it can.
    fn fail_write(&self, _nth: Option<u32>) -> bool {
        false
    }

    /// Keeps a copy of the closed store, in place of an earlier copy. Answers whether it can.
    fn back_up(&self) -> bool {
        false
    }

    /// Puts the copy back in the place of the closed store.
    fn restore(&self) {}

    /// Every byte that the closed store left behind, if it encrypts what records say.
    fn at_rest(&self) -> Option<Vec<u8>> {
        None
    }
}
