//! What a run keeps in the store for those who look at it from outside.

use std::sync::Arc;
use std::time::Duration;

use sync_core::StoreError;
use sync_core::traits::{OwnerId, StateStore, Store};

/// How long Dynamics 365 serves a read position, in seconds; nothing where it does not tell.
const RETENTION: &str = "retention/dataverse";

/// The connector's store has one owner, and its leases do not end by themselves; where they do, this one is used at once.
const LEASE: Duration = Duration::from_secs(60);

/// Keeps how long a read position is served. Best effort: a store that cannot be written shows by itself.
pub(crate) async fn keep_retention(store: &Arc<dyn Store>, retention: Option<Duration>) {
    if let Err(error) = put_retention(store, retention).await {
        tracing::debug!(kind = ?error.kind(), "the time for which positions are served could not be kept");
    }
}

async fn put_retention(store: &Arc<dyn Store>, retention: Option<Duration>) -> Result<(), StoreError> {
    let text = retention.map_or_else(String::new, |retention| retention.as_secs().to_string());
    if store.get(RETENTION).await?.unwrap_or_default() == text.as_bytes() {
        return Ok(());
    }
    let owner = OwnerId(format!("process {}", std::process::id()).into());
    // Somebody else who holds it keeps the same.
    if let Some(lease) = store.acquire(RETENTION, &owner, LEASE).await? {
        store.put(&lease, RETENTION, text.as_bytes()).await?;
        store.release(lease).await?;
    }
    Ok(())
}

/// How long a read position is served, as the last run found it.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn retention(store: &impl StateStore) -> Result<Option<Duration>, StoreError> {
    let text = store.get(RETENTION).await?.and_then(|text| String::from_utf8(text).ok());
    Ok(text.and_then(|text| text.parse().ok()).map(Duration::from_secs))
}
