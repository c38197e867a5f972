//! The daily allowance of Campaign's engine calls: what is spent is remembered over restarts. A call that is let through may be
//! repeated by the client before it ends, so that throttling at the very end of the allowance can exceed it by a few calls.

use std::sync::Arc;
use std::time::Duration;

use campaign_client::CampaignClient;
use chrono::NaiveDate;
use sync_core::traits::{Lease, OwnerId, Store};
use sync_core::{EndpointError, EndpointErrorKind, StoreError};
use timing::SharedClock;
use tokio::sync::Mutex;

/// The name of the account in the store.
const ACCOUNT: &str = "engine-calls";
/// Calls noted as spent before they are made, so that not every call is noted for itself. What of them was not made when the
/// process is killed is not made on that day any more.
const NOTED_AHEAD: u64 = 64;

/// The account of one Campaign instance.
#[derive(Debug)]
pub(crate) struct EngineCalls {
    limit: u64,
    campaign: CampaignClient,
    store: Arc<dyn Store>,
    lease: Lease,
    clock: SharedClock,
    day: Mutex<Day>,
}

/// One day, UTC.
#[derive(Debug)]
struct Day {
    date: NaiveDate,
    /// What the client had sent in its life when the first `before` calls of this day were made.
    sent: u64,
    before: u64,
    /// Calls made or let through.
    spent: u64,
    /// Calls that were let through and have not ended.
    pending: u64,
    /// What the store says is spent.
    noted: u64,
}

/// The connector's store has one owner, and its leases do not end by themselves; where they do, no run is longer.
const LEASE: Duration = Duration::from_secs(366 * 24 * 3600);

/// Calls that were let through. They end with [`EngineCalls::made`].
#[derive(Debug)]
#[must_use]
pub(crate) struct Permit(u64);

impl EngineCalls {
    /// Opens the account, with what was spent today.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub(crate) async fn open(
        limit: u64,
        campaign: &CampaignClient,
        store: Arc<dyn Store>,
        clock: SharedClock,
    ) -> Result<Self, StoreError> {
        let owner = OwnerId(format!("process {}", std::process::id()).into());
        let lease = store.acquire(ACCOUNT, &owner, LEASE).await?.ok_or_else(held)?;
        let date = clock.now().date_naive();
        let noted = store.get(ACCOUNT).await?.and_then(|text| read(&String::from_utf8(text).ok()?));
        let spent = noted.filter(|(day, _)| *day == date).map_or(0, |(_, spent)| spent);
        let day = Day { date, sent: campaign.stats().sent, before: spent, spent, pending: 0, noted: spent };
        Ok(Self { limit, campaign: campaign.clone(), store, lease, clock, day: Mutex::new(day) })
    }

    /// Lets calls through.
    ///
    /// # Errors
    /// [`EndpointErrorKind::Unavailable`] once the allowance is spent, or when the store cannot note it.
    pub(crate) async fn spend(&self, calls: u64) -> Result<Permit, EndpointError> {
        let mut day = self.day.lock().await;
        let now = self.clock.now();
        if day.date != now.date_naive() {
            let (sent, spent) = (self.campaign.stats().sent, day.pending);
            *day = Day { date: now.date_naive(), sent, before: 0, spent, pending: day.pending, noted: 0 };
        }
        // Calls are also repeated, and looked for; what is pending may be counted twice here, until it has ended.
        day.spent = day.spent.max(day.before + self.campaign.stats().sent.saturating_sub(day.sent) + day.pending);
        let wanted = day.spent + calls;
        if wanted > self.limit {
            return Err(self.all_spent());
        }
        if wanted > day.noted {
            let noted = (wanted + NOTED_AHEAD).min(self.limit);
            self.note(day.date, noted).await.map_err(|error| unnoted(&error))?;
            day.noted = noted;
        }
        day.spent = wanted;
        day.pending += calls;
        Ok(Permit(calls))
    }

    /// The calls were made, or not, or more often than once. When none is pending, the client's own count tells.
    pub(crate) async fn made(&self, permit: Permit) {
        let mut day = self.day.lock().await;
        day.pending = day.pending.saturating_sub(permit.0);
        day.count(self.campaign.stats().sent);
    }

    /// Notes exactly what was spent; at the end of a run.
    pub(crate) async fn close(&self) {
        let mut day = self.day.lock().await;
        // What was noted ahead stays noted where this fails: some calls of the day are lost, none too many are made.
        if self.note(day.date, day.spent).await.is_ok() {
            day.noted = day.spent;
        }
    }

    async fn note(&self, date: NaiveDate, spent: u64) -> Result<(), StoreError> {
        self.store.put(&self.lease, ACCOUNT, format!("{date} {spent}").as_bytes()).await
    }

    /// Without a time: to ask again costs no call, and an operator who raises the limit is not to wait for midnight.
    fn all_spent(&self) -> EndpointError {
        EndpointError::new(
            EndpointErrorKind::Unavailable,
            "engine-calls-spent",
            format!("The {} engine calls of this day are spent; writing goes on at midnight UTC.", self.limit),
            "Nothing is to be done; to write more today, raise campaign.engine_calls_per_day and start again.",
        )
    }
}

impl Day {
    fn count(&mut self, sent: u64) {
        if self.pending == 0 {
            self.spent = self.before + sent.saturating_sub(self.sent);
        }
    }
}

fn read(text: &str) -> Option<(NaiveDate, u64)> {
    let (date, spent) = text.split_once(' ')?;
    Some((date.parse().ok()?, spent.parse().ok()?))
}

fn held() -> StoreError {
    StoreError::new(
        sync_core::StoreErrorKind::InUse,
        "The account of engine calls is held elsewhere.",
        "Run one connector per store.",
    )
}

fn unnoted(error: &StoreError) -> EndpointError {
    EndpointError::new(
        EndpointErrorKind::Unavailable,
        "engine-calls-unnoted",
        format!("The engine calls of this day cannot be noted: {error}"),
        error.remedy().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use campaign_client::CampaignConfig;
    use http_kit::testing::ScriptedTransport;
    use http_kit::{SecretString, StaticToken};
    use sync_core::store::MemoryStore;
    use timing::{Clock as _, ManualClock};

    use super::*;

    async fn account(limit: u64, store: &Arc<dyn Store>, clock: &ManualClock) -> EngineCalls {
        let config = CampaignConfig::new("https://mc.adobe.io/acme", "app", SecretString::from("s"));
        let campaign = CampaignClient::builder(config)
            .transport(Arc::new(ScriptedTransport::new()))
            .clock(clock.shared())
            .authenticator(Arc::new(StaticToken::new(&SecretString::from("t")).unwrap()))
            .build()
            .unwrap();
        EngineCalls::open(limit, &campaign, store.clone(), clock.shared()).await.unwrap()
    }

    #[tokio::test]
    async fn a_new_day_begins_with_a_new_allowance_and_a_killed_process_spends_none_twice() {
        let (store, clock): (Arc<dyn Store>, _) = (Arc::new(MemoryStore::new()), ManualClock::new());
        let first = account(100, &store, &clock).await;
        let day = clock.now().date_naive();
        let mut permits = Vec::new();
        for _ in 0..50 {
            permits.push(first.spend(2).await.unwrap());
        }
        assert_eq!(first.spend(1).await.unwrap_err().code(), "engine-calls-spent");
        // Killed with everything in flight: the next process takes it for spent.
        let second = account(100, &store, &clock).await;
        assert!(second.spend(1).await.is_err());
        while clock.now().date_naive() == day {
            clock.advance(std::time::Duration::from_secs(3_600));
        }
        for _ in 0..100 {
            permits.push(second.spend(1).await.unwrap());
        }
        assert!(second.spend(1).await.is_err());
        // None of these was made after all, which the client's count shows once none is pending.
        for permit in permits.drain(..).skip(50) {
            second.made(permit).await;
        }
        second.close().await;
        let third = account(100, &store, &clock).await;
        assert!(third.spend(100).await.is_ok());
    }
}
