//! A Dataverse table, read by change tracking, as the engine's source.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use d365_client::odata::Name;
use d365_client::{ChangeTracker, D365Client, DynamicEntity, EntityApi, EntityDef, Error, ErrorKind, Link};
use futures::{StreamExt as _, TryStreamExt as _};
use mapping::SourceColumn;
use record::{Change, ChangeBody, Key};
use serde::{Deserialize, Serialize};
use sync_core::traits::{BatchLimit, ChangeBatch, Class, Phase, ScanDepth, ScanPage, Source, SourceCaps};
use sync_core::{EndpointError, EndpointErrorKind, Position};
use uuid::Uuid;

use self::ahead::{Failure, Page, ReadAhead};
use self::columns::Columns;
use self::scan::Scans;
use self::walk::Walk;
use super::urgency::ByClass;

mod ahead;
mod columns;
mod scan;
mod walk;

/// The row version: read beside the mapped columns, because later states of a row have larger ones.
const VERSION: &str = "versionnumber";

/// Reads one table.
#[derive(Debug)]
pub(crate) struct DataverseSource {
    trackers: ByClass<ChangeTracker>,
    rows: ByClass<EntityApi<DynamicEntity>>,
    columns: Arc<Columns>,
    select: Vec<Name>,
    walk: Mutex<Walk>,
    reads_ahead: bool,
    ahead: tokio::sync::Mutex<Option<ReadAhead>>,
    /// `None` for a table without row versions, which cannot be scanned.
    scans: Option<Scans>,
    retention: Option<Duration>,
}

/// Requests for records by their ids that are under way at the same time; the client's own limit holds beside it.
const FETCHED_AT_ONCE: usize = 8;
/// Records asked for by one request: about 5 KiB of URL.
const KEYS_PER_REQUEST: usize = 100;

/// A position: where to go on, and whether that is still the first walk over the table.
#[derive(Serialize, Deserialize)]
struct Saved {
    snapshot: bool,
    link: Link,
}

impl DataverseSource {
    /// Reads `columns` of the table.
    ///
    /// # Errors
    /// When a column's name is no name.
    pub(crate) fn new(
        client: &D365Client,
        def: &Arc<EntityDef>,
        columns: &[SourceColumn],
        page_size: u32,
    ) -> Result<Self, Error> {
        let columns = Columns::new(def, columns);
        let mut select: Vec<String> = columns.properties().map(str::to_owned).collect();
        let versioned = def.attribute(VERSION).is_some();
        if versioned && !select.iter().any(|property| property == VERSION) {
            select.push(VERSION.to_owned());
        }
        let trackers = ByClass::try_new(|priority| {
            let client = client.at_priority(priority);
            let tracker = client.changes(def.clone(), select.iter().map(String::as_str))?;
            Ok::<_, Error>(tracker.page_size(page_size))
        })?;
        let select = trackers.of(Class::Live).columns().to_vec();
        let scans = versioned.then(|| Scans::new(client, def, &select, page_size)).transpose()?;
        let rows = ByClass::try_new(|priority| {
            Ok::<_, Error>(client.at_priority(priority).entity_with::<DynamicEntity>(def.clone()))
        })?;
        Ok(Self {
            trackers,
            rows,
            columns: Arc::new(columns),
            select,
            walk: Mutex::default(),
            reads_ahead: false,
            ahead: tokio::sync::Mutex::default(),
            scans,
            retention: None,
        })
    }

    /// The same, which knows for how long a delta link is served.
    pub(crate) fn retaining(mut self, retention: Option<Duration>) -> Self {
        self.retention = retention;
        self
    }

    /// The same, which reads the next pages of a walk while the engine has one.
    pub(crate) fn reading_ahead(mut self) -> Self {
        self.reads_ahead = true;
        self
    }

    fn walk(&self) -> MutexGuard<'_, Walk> {
        self.walk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The page behind a link: the one that was read ahead, or else one that is asked for now.
    async fn page(&self, link: Option<&Link>, class: Class) -> Result<Page, EndpointError> {
        let mut ahead = self.ahead.lock().await;
        // The walk stays in its place meanwhile, so that a reader that gives up in the middle loses nothing.
        let ready = match ahead.as_mut() {
            Some(walk) if walk.leads_to(link) => walk.next().await,
            _ => None,
        };
        let read = match ready {
            Some(read) => Some(read),
            None => {
                let tracker = self.trackers.of(class);
                ahead.insert(ReadAhead::from(tracker, &self.columns, link, self.reads_ahead)).next().await
            }
        };
        match read.unwrap_or(Err(Failure::Broken)) {
            Ok(page) => Ok(page),
            Err(failure) => {
                *ahead = None;
                Err(match failure {
                    Failure::Client(error) => self.walk().failed(error),
                    Failure::Row(error) => error,
                    Failure::Broken => broken_off(),
                })
            }
        }
    }

    /// The present state of one record, asked for by its id: only such an answer tells that a record is gone.
    async fn fetch_one(&self, key: &Key, class: Class) -> Result<Change, EndpointError> {
        let id = id_of(key)?;
        match self.rows.of(class).retrieve(id, &self.select).await {
            Ok(row) if row.id() == Some(id) => self.columns.upsert(&row),
            Ok(_) => Err(of_another_record()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Ok(Change { key: key.clone(), version: None, body: ChangeBody::Delete })
            }
            Err(error) => Err(endpoint_error(error)),
        }
    }

    /// The present states of several records, in their order: a list of those that are there, and each that it does not show
    /// asked for by its id.
    async fn fetch_all(&self, keys: &[Key], class: Class) -> Result<Vec<Change>, EndpointError> {
        let mut listed = HashMap::new();
        if keys.len() > 1 {
            let ids = keys.iter().map(id_of).collect::<Result<Vec<_>, _>>()?;
            let lists = futures::stream::iter(ids.chunks(KEYS_PER_REQUEST).map(<[Uuid]>::to_vec));
            let mut lists = lists
                .map(async |ids| self.rows.of(class).retrieve_many(&ids, &self.select).await.map_err(endpoint_error))
                .buffer_unordered(FETCHED_AT_ONCE);
            while let Some(rows) = lists.try_next().await? {
                for row in rows {
                    let change = self.columns.upsert(&row)?;
                    listed.insert(change.key.clone(), change);
                }
            }
        }
        let answers = keys.iter().map(|key| (key.clone(), listed.remove(key))).collect::<Vec<_>>();
        let answers = futures::stream::iter(answers).map(async |(key, listed)| match listed {
            Some(change) => Ok(change),
            None => self.fetch_one(&key, class).await,
        });
        answers.buffered(FETCHED_AT_ONCE).try_collect().await
    }

    /// Asks for records of which a walk tells both that they are there and that they were deleted: they may have been created
    /// again under their old id, and nothing says which came last.
    async fn settle_deletions(&self, changes: &mut [Change], class: Class) -> Result<(), EndpointError> {
        let doubted: Vec<usize> = self.walk().doubted(changes);
        let keys: Vec<Key> =
            doubted.iter().filter_map(|at| changes.get(*at)).map(|change| change.key.clone()).collect();
        let answers: Vec<Change> = self.fetch_all(&keys, class).await?;
        for (at, answer) in doubted.into_iter().zip(answers) {
            if let Some(change) = changes.get_mut(at) {
                *change = answer;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Source for DataverseSource {
    fn capabilities(&self) -> SourceCaps {
        SourceCaps { deletes: true, scan: self.scans.is_some(), retention: self.retention }
    }

    async fn read(&self, after: Option<&Position>, limit: BatchLimit) -> Result<ChangeBatch, EndpointError> {
        let saved = match after {
            None => None,
            Some(position) => {
                let saved: Saved = serde_json::from_str(position.as_str()).map_err(|_| unusable("unreadable"))?;
                if !self.trackers.of(limit.class).fits(&saved.link) {
                    return Err(unusable("made for other columns"));
                }
                Some(saved)
            }
        };
        let snapshot = saved.as_ref().is_none_or(|saved| saved.snapshot && !saved.link.is_delta());
        let from = saved.map(|saved| saved.link);
        let Page { link, mut changes } = self.page(from.as_ref(), limit.class).await?;
        self.walk().step(from.as_ref(), &link)?;
        if !snapshot {
            self.settle_deletions(&mut changes, limit.class).await?;
        }
        let more = !link.is_delta();
        let saved = Saved { snapshot: snapshot && more, link };
        let next = serde_json::to_string(&saved).map_err(|_| unusable("unwritable"))?;
        Ok(ChangeBatch {
            changes,
            next: Position::new(next),
            phase: if snapshot { Phase::Snapshot } else { Phase::Incremental },
            more,
        })
    }

    async fn scan(
        &self,
        after: Option<&Position>,
        limit: BatchLimit,
        depth: ScanDepth,
    ) -> Result<ScanPage, EndpointError> {
        let Some(scans) = &self.scans else { return Err(unscannable()) };
        // What was read ahead may be older than what is answered here.
        *self.ahead.lock().await = None;
        scans.page(&self.columns, after, limit, depth).await
    }

    async fn fetch(&self, keys: &[Key]) -> Result<Vec<Change>, EndpointError> {
        // What was read ahead may be older than what is answered here.
        *self.ahead.lock().await = None;
        // A pass or an operator wants to know; what just changed goes before.
        self.fetch_all(keys, Class::Replay).await
    }
}

/// Whether a position is behind a whole walk or poll.
pub(crate) fn is_at_end(position: &Position) -> bool {
    serde_json::from_str::<Saved>(position.as_str()).is_ok_and(|saved| saved.link.is_delta())
}

fn id_of(key: &Key) -> Result<Uuid, EndpointError> {
    match key {
        Key::Guid(id) => Ok(*id),
        Key::Text(text) => Uuid::parse_str(text).map_err(|_| unusable("no GUID")),
    }
}

fn unscannable() -> EndpointError {
    EndpointError::new(
        EndpointErrorKind::Refused,
        "table-without-versions",
        "This table has no row versions, so that a scan could not tell what is news.",
        "Nothing is to be done: its changes are read all the same.",
    )
}

fn of_another_record() -> EndpointError {
    EndpointError::new(
        EndpointErrorKind::Unavailable,
        "row-of-another-record",
        "Dynamics 365 answered another record than it was asked for.",
        "Nothing is to be done if it passes; otherwise look at what stands between the connector and the service.",
    )
}

fn broken_off() -> EndpointError {
    EndpointError::new(
        EndpointErrorKind::Unavailable,
        "decoding-broken-off",
        "Reading a page of Dynamics 365 was broken off.",
        "Nothing is to be done if it passes; otherwise report it.",
    )
}

/// A saved position that cannot be used leads to a new snapshot, which loses nothing.
fn unusable(why: &str) -> EndpointError {
    EndpointError::new(
        EndpointErrorKind::Expired,
        "position-unusable",
        format!("The saved position is {why}."),
        "Nothing is to be done: the table is read again.",
    )
}

/// What the engine is to do about an error of the client.
pub(crate) fn endpoint_error(error: Error) -> EndpointError {
    endpoint_error_of(&error).with_source(error)
}

/// The same of an error that several operations share.
pub(crate) fn endpoint_error_of(error: &Error) -> EndpointError {
    let kind = match error.kind() {
        ErrorKind::TokenExpired | ErrorKind::LinkRefused => EndpointErrorKind::Expired,
        ErrorKind::Transport
        | ErrorKind::ServiceUnavailable
        | ErrorKind::Throttled
        | ErrorKind::Decode
        | ErrorKind::Cancelled => EndpointErrorKind::Unavailable,
        _ => EndpointErrorKind::Refused,
    };
    described(kind, error)
}

fn described(kind: EndpointErrorKind, error: &Error) -> EndpointError {
    let code = code(error.kind());
    EndpointError::new(kind, code, format!("Dynamics 365: {error}."), error.remedy().to_owned())
        .with_retry_after(error.retry_after())
}

/// A stable code in kebab case.
fn code(kind: ErrorKind) -> String {
    super::kebab("dataverse", &format!("{kind:?}"))
}

#[cfg(test)]
mod tests;
