//! Pauses that a service ordered, kept over a restart: a new process that knew nothing of them would run into the limit at once.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use http_kit::Lane;
use sync_core::StoreError;
use sync_core::traits::{Lease, OwnerId, Store};
use timing::SharedClock;

/// The name of the lease.
const GATES: &str = "gates";
/// A remembered pause is obeyed for at most this long: the calendar may have been wrong.
const LONGEST: Duration = Duration::from_secs(3600);
/// The connector's store has one owner, and its leases do not end by themselves; where they do, no run is longer.
const LEASE: Duration = Duration::from_secs(366 * 24 * 3600);

/// The lanes of both services.
#[derive(Debug, Clone)]
pub(crate) struct Lanes {
    pub(crate) dataverse: Lane,
    pub(crate) campaign: Lane,
}

/// Keeps the pauses of both lanes in the store.
#[derive(Debug)]
pub(crate) struct Gates {
    lanes: Lanes,
    store: Arc<dyn Store>,
    /// `None` where somebody else keeps them, or the store is full.
    lease: Option<Lease>,
}

/// The name under which the end of a lane's pause is kept, in milliseconds since 1970 (UTC).
pub(crate) fn name(side: &str) -> String {
    format!("gate/{side}")
}

/// Lets both lanes wait for what the last run was told to wait for.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn restore(store: &Arc<dyn Store>, lanes: &Lanes, clock: &SharedClock) -> Result<(), StoreError> {
    for (side, lane) in [("dataverse", &lanes.dataverse), ("campaign", &lanes.campaign)] {
        let text = store.get(&name(side)).await?.and_then(|text| String::from_utf8(text).ok());
        let until = text.and_then(|text| text.parse().ok()).and_then(DateTime::<Utc>::from_timestamp_millis);
        if let Some(until) = until.filter(|until| *until > clock.now()) {
            let until = until.min(clock.now() + LONGEST);
            tracing::warn!(side, %until, "the last run was told to wait until then, and so does this one");
            lane.pause(until);
        }
    }
    Ok(())
}

impl Gates {
    /// Takes the right to keep them. Best effort, as keeping them is: a store that cannot be written shows by itself.
    pub(crate) async fn open(store: Arc<dyn Store>, lanes: Lanes) -> Self {
        let owner = OwnerId(format!("process {}", std::process::id()).into());
        let lease = match store.acquire(GATES, &owner, LEASE).await {
            Ok(lease) => lease,
            Err(error) => {
                tracing::debug!(kind = ?error.kind(), "pauses cannot be kept");
                None
            }
        };
        Self { lanes, store, lease }
    }

    /// Keeps each new pause, until it is dropped.
    pub(crate) async fn keep(self) {
        let mut dataverse = self.lanes.dataverse.watch_pause();
        let mut campaign = self.lanes.campaign.watch_pause();
        loop {
            // The lanes outlive the wait, so that it cannot fail.
            let (side, until) = tokio::select! {
                _ = dataverse.changed() => ("dataverse", *dataverse.borrow_and_update()),
                _ = campaign.changed() => ("campaign", *campaign.borrow_and_update()),
            };
            if let Some(until) = until {
                self.put(side, until).await;
            }
        }
    }

    /// Best effort: what cannot be kept costs the next process one refusal.
    async fn put(&self, side: &str, until: DateTime<Utc>) {
        let Some(lease) = &self.lease else { return };
        let text = until.timestamp_millis().to_string();
        if let Err(error) = self.store.put(lease, &name(side), text.as_bytes()).await {
            tracing::debug!(kind = ?error.kind(), "a pause could not be kept");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

    use sync_core::store::MemoryStore;
    use timing::{Clock, ManualClock};

    use super::*;

    fn lanes(clock: &SharedClock) -> Lanes {
        let lane = |name: &str| Lane::new(name, 4, clock.clone());
        Lanes { dataverse: lane("dataverse"), campaign: lane("campaign") }
    }

    #[tokio::test]
    async fn a_pause_outlives_the_process_that_was_told_to_wait() {
        let clock = ManualClock::new();
        let shared = clock.clone().shared();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let first = lanes(&shared);
        restore(&store, &first, &shared).await.unwrap();
        assert_eq!((first.dataverse.pause_left(), first.campaign.pause_left()), (None, None));
        let kept = tokio::spawn(Gates::open(store.clone(), first.clone()).await.keep());
        tokio::task::yield_now().await;
        first.campaign.pause_for(Duration::from_secs(120));
        while store.get("gate/campaign").await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        kept.abort();
        clock.advance(Duration::from_secs(50));
        let second = lanes(&shared);
        restore(&store, &second, &shared).await.unwrap();
        assert_eq!(second.campaign.pause_left(), Some(Duration::from_secs(70)));
        assert_eq!(second.dataverse.pause_left(), None);
        // What has passed is no pause, and a calendar that was days ahead holds nobody up for days.
        clock.advance(Duration::from_secs(71));
        let third = lanes(&shared);
        restore(&store, &third, &shared).await.unwrap();
        assert_eq!(third.campaign.pause_left(), None);
        let gates = Gates::open(store.clone(), third.clone()).await;
        gates.put("dataverse", clock.now() + Duration::from_secs(9 * 24 * 3600)).await;
        restore(&store, &third, &shared).await.unwrap();
        assert_eq!(third.dataverse.pause_left(), Some(LONGEST));
    }
}
