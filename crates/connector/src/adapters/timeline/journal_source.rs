//! An I/O Events journal as the engine's source.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use campaign_client::{DecodeEvents, Error, Journal, JournalEvent, JournalRead, JournalStart};
use record::{Change, Key};
use serde::{Deserialize, Serialize};
use sync_core::traits::{BatchLimit, ChangeBatch, Phase, Source, SourceCaps, Store};
use sync_core::{EndpointError, EndpointErrorKind, Position};
use timing::SharedClock;

use super::event;
use crate::adapters::kept;

/// Reads one journal.
#[derive(Debug)]
pub(crate) struct JournalSource {
    journal: Journal,
    /// The address, by which a position of another journal is known.
    address: String,
    decoder: Arc<dyn DecodeEvents>,
    /// Where gaps are noted.
    store: Arc<dyn Store>,
    clock: SharedClock,
}

/// A position: where to read on in which journal.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    journal: String,
    next: String,
}

impl JournalSource {
    pub(crate) fn new(
        journal: Journal,
        address: String,
        decoder: Arc<dyn DecodeEvents>,
        store: Arc<dyn Store>,
        clock: SharedClock,
    ) -> Self {
        Self { journal, address, decoder, store, clock }
    }

    /// Where to begin: with the oldest event that is kept, unless something of this very journal was read before.
    fn start(&self, after: Option<&Position>) -> JournalStart {
        let saved = after.and_then(|position| serde_json::from_str::<Saved>(position.as_str()).ok());
        match saved {
            Some(saved) if saved.journal == self.address => JournalStart::Link(saved.next),
            _ => JournalStart::Oldest,
        }
    }

    fn position(&self, next: &str) -> Result<Position, EndpointError> {
        let saved = Saved { journal: self.address.clone(), next: next.to_owned() };
        serde_json::to_string(&saved).map(Position::new).map_err(|_| {
            EndpointError::new(
                EndpointErrorKind::Refused,
                "position-unwritable",
                "The position in the journal cannot be written.",
                "Report it.",
            )
        })
    }

    /// Events about email; others are passed over.
    fn changes(&self, events: &[JournalEvent]) -> Vec<Change> {
        let change = |found: &JournalEvent| match self.decoder.decode(found) {
            Ok(Some(mail)) => Some(event::change(&mail)),
            Ok(None) => None,
            Err(error) => Some(event::unreadable(found.id.as_deref().unwrap_or(&found.position), &error)),
        };
        events.iter().filter_map(change).collect()
    }
}

#[async_trait]
impl Source for JournalSource {
    fn capabilities(&self) -> SourceCaps {
        SourceCaps::default()
    }

    async fn read(&self, after: Option<&Position>, _: BatchLimit) -> Result<ChangeBatch, EndpointError> {
        let mut answer = self.journal.read(&self.start(after)).await.map_err(trouble)?;
        if matches!(answer, JournalRead::Expired) {
            kept::keep_gap(&self.store, self.clock.now().timestamp_millis()).await;
            answer = self.journal.read(&JournalStart::Oldest).await.map_err(trouble)?;
        }
        let (changes, next, more) = match answer {
            JournalRead::Page(page) => (self.changes(&page.events), page.next, true),
            JournalRead::End { next, .. } => (Vec::new(), next, false),
            _ => return Err(expired()),
        };
        let next = self.position(next.as_url().as_str())?;
        // A journal has no snapshot: what it keeps is the beginning of what it tells.
        Ok(ChangeBatch { changes, next, phase: Phase::Incremental, more })
    }

    /// Looks for single events in all that the journal keeps.
    async fn fetch(&self, keys: &[Key]) -> Result<Vec<Change>, EndpointError> {
        let wanted: BTreeSet<&Key> = keys.iter().collect();
        let mut found: BTreeMap<Key, Change> = BTreeMap::new();
        let mut answer = self.journal.read(&JournalStart::Oldest).await.map_err(trouble)?;
        loop {
            let page = match answer {
                JournalRead::Page(page) => page,
                JournalRead::End { .. } => break,
                // Events may have gone between two pages: nobody can tell of what was not seen yet.
                _ => return Err(expired()),
            };
            let changes = self.changes(&page.events).into_iter().filter(|change| wanted.contains(&change.key));
            found.extend(changes.map(|change| (change.key.clone(), change)));
            if found.len() == wanted.len() {
                break;
            }
            answer = self.journal.next(page.next).await.map_err(trouble)?;
        }
        // An event that is no longer kept was not deleted: its letter stays.
        Ok(keys.iter().map(|key| found.remove(key).unwrap_or_else(|| event::gone(key))).collect())
    }
}

fn expired() -> EndpointError {
    EndpointError::new(
        EndpointErrorKind::Unavailable,
        "journal-expired",
        "The journal says of its oldest event that it is no longer kept.",
        "Nothing is to be done if it passes.",
    )
}

fn trouble(error: Error) -> EndpointError {
    let kind = if error.is_transient() { EndpointErrorKind::Unavailable } else { EndpointErrorKind::Refused };
    let code = crate::adapters::kebab("journal", &format!("{:?}", error.kind()));
    EndpointError::new(kind, code, format!("The journal: {error}."), error.remedy().to_owned())
        .with_retry_after(error.retry_after())
        .with_source(error)
}
