use std::sync::Arc;
use std::time::Duration;

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
    /// How long it holds from the moment of asking on, if it ends by itself; then it is to be renewed in time. `None` where
    /// the store knows by other means whether the holder lives.
    pub ttl: Option<Duration>,
}

/// Ownership.
#[async_trait]
pub trait LeaseStore: Send + Sync {
    /// Takes the lease for `ttl`, by the store's clock; `None` while another owner holds it. What the same owner held
    /// before is revoked. A store that one process owns exclusively takes over at once what another process left, and its
    /// leases do not end by themselves.
    ///
    /// # Errors
    /// When the store cannot be written.
    async fn acquire(&self, resource: &str, owner: &OwnerId, ttl: Duration) -> Result<Option<Lease>, StoreError>;

    /// Prolongs a lease to `ttl` from now.
    ///
    /// # Errors
    /// `Fenced` when it was taken over, given back, or has ended: whoever hears this stops writing.
    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease, StoreError>;

    /// Gives the lease back. A lease that is no longer valid is no error.
    ///
    /// # Errors
    /// When the store cannot be written.
    async fn release(&self, lease: Lease) -> Result<(), StoreError>;
}
