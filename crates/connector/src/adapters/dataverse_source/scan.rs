//! Reads of the whole table beside its change feed.

use std::sync::{Arc, Mutex, PoisonError};

use d365_client::odata::Name;
use d365_client::{D365Client, EntityDef, Error, Link, TableScan};
use record::{Change, Key};
use serde::{Deserialize, Serialize};
use sync_core::traits::{BatchLimit, ScanDepth, ScanPage, ScannedRow};
use sync_core::{EndpointError, Position};

use super::super::urgency::ByClass;
use super::columns::Columns;
use super::{endpoint_error, unusable};

/// Rows per page where only keys and versions are read: the most that the service hands out.
const VERSIONS_PER_PAGE: u32 = 5000;

/// The two depths of a scan.
#[derive(Debug)]
pub(super) struct Scans {
    versions: ByClass<TableScan>,
    rows: ByClass<TableScan>,
    /// The page of rows that was answered without its rows: the engine asks for them at once if many of them are news.
    kept: Mutex<Option<Kept>>,
}

/// Where a scan goes on. A link keeps the columns that it was made with, so that a scan which began with whole rows goes on
/// with them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Saved {
    rows: bool,
    link: Link,
}

/// A page of rows, and the position it lies behind.
#[derive(Debug)]
struct Kept {
    after: Option<Position>,
    rows: Vec<ScannedRow>,
    next: Option<Position>,
}

impl Scans {
    pub(super) fn new(
        client: &D365Client,
        def: &Arc<EntityDef>,
        select: &[Name],
        page_size: u32,
    ) -> Result<Self, Error> {
        let versions = ByClass::try_new(|priority| {
            let scan = client.at_priority(priority).scan(def.clone(), std::iter::empty::<Name>())?;
            Ok::<_, Error>(scan.page_size(VERSIONS_PER_PAGE))
        })?;
        let rows = ByClass::try_new(|priority| {
            let scan = client.at_priority(priority).scan(def.clone(), select.iter().cloned())?;
            Ok::<_, Error>(scan.page_size(page_size))
        })?;
        Ok(Self { versions, rows, kept: Mutex::default() })
    }

    /// One page.
    ///
    /// Where a page of keys and versions turns out to be full of news, the engine asks for the same page with its rows. At the
    /// beginning of the table the scan then goes on with whole rows, because the pages after it are likely to be alike; behind
    /// a link that was made for keys alone, the rows are asked for by their ids.
    pub(super) async fn page(
        &self,
        columns: &Columns,
        after: Option<&Position>,
        limit: BatchLimit,
        depth: ScanDepth,
    ) -> Result<ScanPage, EndpointError> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Kept { rows, next, .. }) =
            kept.filter(|kept| depth == ScanDepth::Rows && kept.after.is_some() && kept.after.as_ref() == after)
        {
            return Ok(ScanPage { rows, next });
        }
        let saved: Option<Saved> = after
            .map(|position| serde_json::from_str(position.as_str()).map_err(|_| unusable("unreadable")))
            .transpose()?;
        let whole = saved.as_ref().map_or(depth == ScanDepth::Rows, |saved| saved.rows);
        let scan = if whole { self.rows.of(limit.class) } else { self.versions.of(limit.class) };
        let link = saved.as_ref().map(|saved| &saved.link);
        if link.is_some_and(|link| !scan.fits(link)) {
            return Err(unusable("made for other columns"));
        }
        let page = scan.fetch(link).await.and_then(d365_client::FetchedScan::decode).map_err(endpoint_error)?;
        let next = page.next.map(|link| position(whole, link)).transpose()?;
        let mut found = page.rows;
        if depth == ScanDepth::Rows && !whole {
            let ids: Vec<_> = found.iter().map(|row| row.id).collect();
            found = self.rows.of(limit.class).rows_by_id(&ids).await.map_err(endpoint_error)?;
        }
        let rows = found.into_iter().map(|row| scanned(columns, row)).collect::<Result<Vec<_>, _>>()?;
        if depth == ScanDepth::Rows || !whole {
            return Ok(ScanPage { rows, next });
        }
        let bare = |row: &ScannedRow| ScannedRow { key: row.key.clone(), version: row.version, change: None };
        let answer = ScanPage { rows: rows.iter().map(bare).collect(), next: next.clone() };
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(Kept { after: after.cloned(), rows, next });
        Ok(answer)
    }
}

fn position(rows: bool, link: Link) -> Result<Position, EndpointError> {
    let saved = serde_json::to_string(&Saved { rows, link }).map_err(|_| unusable("unwritable"))?;
    Ok(Position::new(saved))
}

fn scanned(columns: &Columns, row: d365_client::ScannedRow) -> Result<ScannedRow, EndpointError> {
    let d365_client::ScannedRow { id, version, row, .. } = row;
    let change: Option<Change> = row.map(|row| columns.upsert(&row)).transpose()?;
    Ok(ScannedRow { key: Key::Guid(id), version: Some(version), change })
}
