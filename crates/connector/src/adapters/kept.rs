//! What a run keeps in the store for those who look at it from outside.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
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

/// A journal's events that were no longer kept when they were to be read.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Gaps {
    /// How often that was found.
    pub(crate) count: u64,
    /// When it was found last, in milliseconds since 1970.
    pub(crate) last_ms: i64,
}

const GAPS: &str = "gaps/egress";

/// Notes a gap, and says so. Best effort: a store that cannot be written shows by itself.
pub(crate) async fn keep_gap(store: &Arc<dyn Store>, now_ms: i64) {
    tracing::warn!(
        "events are missing: the journal no longer keeps what was to be read next; a log export of that time fills the gap"
    );
    if let Err(error) = put_gap(store, now_ms).await {
        tracing::debug!(kind = ?error.kind(), "a gap in the journal could not be noted");
    }
}

async fn put_gap(store: &Arc<dyn Store>, now_ms: i64) -> Result<(), StoreError> {
    let mut gaps = gaps(store.as_ref()).await?;
    gaps.count += 1;
    gaps.last_ms = now_ms;
    let owner = OwnerId(format!("process {}", std::process::id()).into());
    if let (Ok(text), Some(lease)) = (serde_json::to_vec(&gaps), store.acquire(GAPS, &owner, LEASE).await?) {
        store.put(&lease, GAPS, &text).await?;
        store.release(lease).await?;
    }
    Ok(())
}

/// The gaps that were found since the store was made.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn gaps(store: &(impl StateStore + ?Sized)) -> Result<Gaps, StoreError> {
    let text = store.get(GAPS).await?;
    Ok(text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default())
}
