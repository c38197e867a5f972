//! Campaign's changes of profiles, found by a published filter on the time of the last change, as the engine's source.

use async_trait::async_trait;
use campaign_client::{CampaignClient, ChangePass, ChangedSince, CustomRecord, Error};
use chrono::DateTime;
use record::{Change, ChangeBody, FieldName, Key, Record, Value};
use serde::{Deserialize, Serialize};
use sync_core::traits::{BatchLimit, ChangeBatch, Phase, Source, SourceCaps};
use sync_core::{EndpointError, EndpointErrorKind, Position};
use timing::SharedClock;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::adapters::urgency::ByClass;

/// Polls one resource.
#[derive(Debug)]
pub(crate) struct ProfileSource {
    clients: ByClass<CampaignClient>,
    what: ChangedSince,
    /// The attribute that holds the contact's id.
    key: String,
    /// What is observed of a profile, beside the time of its last change.
    observed: Vec<String>,
    clock: SharedClock,
    /// The pass that is under way, with the position that its next page comes after.
    pass: Mutex<Option<(Position, ChangePass)>>,
}

/// A position: up to when everything was read, and whether that is still the first pass.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    mark_ms: Option<i64>,
    snapshot: bool,
    /// Tells the pages of a pass apart that have one mark.
    page: u64,
}

impl ProfileSource {
    pub(crate) fn new(
        clients: ByClass<CampaignClient>,
        what: ChangedSince,
        key: String,
        observed: Vec<String>,
        clock: SharedClock,
    ) -> Self {
        Self { clients, what, key, observed, clock, pass: Mutex::default() }
    }

    /// A profile as a change of the contact that it belongs to; `None` without such a contact.
    fn change(&self, row: &CustomRecord) -> Option<Change> {
        let id = Uuid::parse_str(row.text(&self.key)?.trim()).ok()?;
        let mut record = Record::with_capacity(self.observed.len() + 1);
        for name in std::iter::once("lastModified").chain(self.observed.iter().map(String::as_str)) {
            let seen = row.get(name).map_or(Value::Null, |value| Value::text(value.to_string()));
            record.push(FieldName::from(name), seen);
        }
        Some(Change { key: Key::Guid(id), version: None, body: ChangeBody::Upsert(record) })
    }
}

#[async_trait]
impl Source for ProfileSource {
    fn capabilities(&self) -> SourceCaps {
        SourceCaps::default()
    }

    async fn read(&self, after: Option<&Position>, limit: BatchLimit) -> Result<ChangeBatch, EndpointError> {
        let saved = match after {
            None => Saved { mark_ms: None, snapshot: true, page: 0 },
            Some(position) => serde_json::from_str(position.as_str()).map_err(|_| unusable())?,
        };
        let mut open = self.pass.lock().await;
        let mut pass = match open.take() {
            Some((at, pass)) if after == Some(&at) => pass,
            _ => {
                let mark = saved.mark_ms.and_then(DateTime::from_timestamp_millis);
                self.clients.of(limit.class).changes(&self.what, mark).map_err(trouble)?
            }
        };
        let page = pass.next_page().await.map_err(trouble)?;
        let more = page.is_some();
        let (rows, mark_ms) = match page {
            Some(page) => (page.rows, page.mark.map(|mark| mark.timestamp_millis())),
            None => (Vec::new(), saved.mark_ms),
        };
        let next = position(&Saved {
            mark_ms: mark_ms.max(saved.mark_ms),
            snapshot: saved.snapshot && more,
            page: if more { saved.page + 1 } else { 0 },
        })?;
        if more {
            *open = Some((next.clone(), pass));
        }
        let phase = if saved.snapshot { Phase::Snapshot } else { Phase::Incremental };
        Ok(ChangeBatch { changes: rows.iter().filter_map(|row| self.change(row)).collect(), next, phase, more })
    }

    /// Nothing is read here: the look that follows finds out what is there.
    async fn fetch(&self, keys: &[Key]) -> Result<Vec<Change>, EndpointError> {
        let change = |key: &Key| {
            let mut record = Record::with_capacity(1);
            record.push(FieldName::from("asked"), Value::DateTime(self.clock.now()));
            Change { key: key.clone(), version: None, body: ChangeBody::Upsert(record) }
        };
        Ok(keys.iter().map(change).collect())
    }
}

/// Whether a position is behind a whole pass.
pub(crate) fn is_at_end(position: &Position) -> bool {
    serde_json::from_str::<Saved>(position.as_str()).is_ok_and(|saved| saved.page == 0)
}

fn position(saved: &Saved) -> Result<Position, EndpointError> {
    serde_json::to_string(saved).map(Position::new).map_err(|_| unusable())
}

/// A saved position that cannot be used leads to a new snapshot, which loses nothing.
fn unusable() -> EndpointError {
    EndpointError::new(
        EndpointErrorKind::Expired,
        "position-unusable",
        "The saved position in the changes of profiles cannot be read.",
        "Nothing is to be done: all profiles are read again.",
    )
}

pub(crate) fn trouble(error: Error) -> EndpointError {
    let kind = if error.is_transient() { EndpointErrorKind::Unavailable } else { EndpointErrorKind::Refused };
    let code = crate::adapters::kebab("campaign", &format!("{:?}", error.kind()));
    EndpointError::new(kind, code, format!("Campaign: {error}."), error.remedy().to_owned())
        .with_retry_after(error.retry_after())
        .with_source(error)
}
