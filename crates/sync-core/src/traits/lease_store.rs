use std::sync::Arc;

use async_trait::async_trait;

use crate::StoreError;

/// Who holds a lease; shown to operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerId(pub Arc<str>);

/// The right to write to a workflow's ledger. Every write carries it, and a store refuses an old one
/// ([`StoreErrorKind::Fenced`](crate::StoreErrorKind::Fenced)) inside its own transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What is owned.
    pub resource: Arc<str>,
    /// Grows with every acquisition, across restarts too.
    pub fence: u64,
    /// Random; compared together with the fence, so that a restored backup cannot revive an old holder.
    pub nonce: u64,
}

/// Ownership.
#[async_trait]
pub trait LeaseStore: Send + Sync {
    /// Takes the lease; `None` while somebody else holds it. A store that one process owns exclusively answers at once and
    /// revokes what an earlier run of the process held.
    ///
    /// # Errors
    /// When the store cannot be written.
    async fn acquire(&self, resource: &str, owner: &OwnerId) -> Result<Option<Lease>, StoreError>;

    /// Gives the lease back. A lease that is no longer valid is no error.
    ///
    /// # Errors
    /// When the store cannot be written.
    async fn release(&self, lease: Lease) -> Result<(), StoreError>;
}
