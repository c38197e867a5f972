//! What a run keeps in the store for those who look at it from outside.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sync_core::StoreError;
use sync_core::traits::{OwnerId, StateStore, Store};
use xxhash_rust::xxh3::xxh3_128;

use crate::config::Config;
use crate::workflows::{egress, ingress, streams};

/// How long Dynamics 365 serves a read position, in seconds; nothing where it does not tell.
const RETENTION: &str = "retention/dataverse";

/// The organisation of Dynamics 365 that the store was made for.
const ORGANIZATION: &str = "environment/dataverse";

/// The connector's store has one owner, and its leases do not end by themselves; where they do, this one is used at once.
const LEASE: Duration = Duration::from_secs(60);

/// Keeps how long a read position is served. Best effort: a store that cannot be written shows by itself.
pub(crate) async fn keep_retention(store: &Arc<dyn Store>, retention: Option<Duration>) {
    if let Err(error) = put_retention(store, retention).await {
        tracing::debug!(kind = ?error.kind(), "the time for which positions are served could not be kept");
    }
}

/// Keeps which organisation the store is of, unless it is known. Best effort, as above.
pub(crate) async fn keep_organization(store: &Arc<dyn Store>, id: &str) {
    let kept = match organization(store.as_ref()).await {
        Ok(None) => put(store, ORGANIZATION, id.as_bytes()).await,
        Ok(Some(_)) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = kept {
        tracing::debug!(kind = ?error.kind(), "the organisation could not be kept");
    }
}

/// The organisation that the store was made for; nothing before its first run.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn organization(store: &(impl StateStore + ?Sized)) -> Result<Option<String>, StoreError> {
    Ok(store.get(ORGANIZATION).await?.and_then(|text| String::from_utf8(text).ok()))
}

async fn put_retention(store: &Arc<dyn Store>, retention: Option<Duration>) -> Result<(), StoreError> {
    let text = retention.map_or_else(String::new, |retention| retention.as_secs().to_string());
    if store.get(RETENTION).await?.unwrap_or_default() == text.as_bytes() {
        return Ok(());
    }
    put(store, RETENTION, text.as_bytes()).await
}

pub(crate) async fn put(store: &Arc<dyn Store>, name: &str, value: &[u8]) -> Result<(), StoreError> {
    let owner = OwnerId(format!("process {}", std::process::id()).into());
    // Somebody else who holds it keeps the same.
    if let Some(lease) = store.acquire(name, &owner, LEASE).await? {
        store.put(&lease, name, value).await?;
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

/// The end of the consent ledger.
const CONSENT_HEAD: &str = "consent/head";

/// Notes the end of the consent ledger, so that an older file put in its place shows.
///
/// # Errors
/// When the store cannot be read or written.
pub(crate) async fn keep_consent_head(store: &Arc<dyn Store>, head: &consent::Head) -> Result<(), StoreError> {
    let owner = OwnerId(format!("process {}", std::process::id()).into());
    if let (Ok(text), Some(lease)) = (serde_json::to_vec(head), store.acquire(CONSENT_HEAD, &owner, LEASE).await?) {
        store.put(&lease, CONSENT_HEAD, &text).await?;
        store.release(lease).await?;
    }
    Ok(())
}

/// The end of the consent ledger as it was noted last.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn consent_head(store: &(impl StateStore + ?Sized)) -> Result<Option<consent::Head>, StoreError> {
    let text = store.get(CONSENT_HEAD).await?;
    Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
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
    put(store, GAPS, &serde_json::to_vec(&gaps).unwrap_or_default()).await
}

/// The gaps that were found since the store was made.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn gaps(store: &(impl StateStore + ?Sized)) -> Result<Gaps, StoreError> {
    let text = store.get(GAPS).await?;
    Ok(text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default())
}

const SETTINGS: &str = "settings";

/// The digest of each configured workflow's settings. Secrets are in it by reference alone.
pub(crate) type SettingsDigests = BTreeMap<String, String>;

/// What each configured workflow would run with.
pub(crate) fn digests(config: &Config) -> SettingsDigests {
    let Config { dataverse, campaign, tls, store, sync, tables, events, opt_out, sftp } = config;
    let shared = format!("{dataverse:?}{campaign:?}{tls:?}{store:?}{sync:?}");
    let of = |name: &str| match name {
        // The rows that ingress creates carry the opt-outs of the pairs.
        ingress::NAME => format!("{shared}{tables:?}{opt_out:?}"),
        egress::NAME => format!("{shared}{events:?}{sftp:?}"),
        _ => format!("{shared}{opt_out:?}{sftp:?}"),
    };
    let digest = |name: &str| format!("{:032x}", xxh3_128(of(name).as_bytes()));
    streams::of(config).into_iter().map(|(name, _)| (name.to_owned(), digest(name))).collect()
}

/// Keeps what this process runs with. Best effort: a store that cannot be written shows by itself.
pub(crate) async fn keep_settings(store: &Arc<dyn Store>, config: &Config) {
    if let Err(error) = put(store, SETTINGS, &serde_json::to_vec(&digests(config)).unwrap_or_default()).await {
        tracing::debug!(kind = ?error.kind(), "what the workflows run with could not be kept");
    }
}

/// What the last process ran with; nothing where none kept it.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn settings(store: &impl StateStore) -> Result<Option<SettingsDigests>, StoreError> {
    Ok(store.get(SETTINGS).await?.and_then(|text| serde_json::from_slice(&text).ok()))
}
