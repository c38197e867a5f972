//! A small table with a source on it, whole or with one defect.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use record::{Change, ChangeBody, FieldName, Key, Record, Value};
use sync_core::traits::{BatchLimit, ChangeBatch, Phase, ScanDepth, ScanPage, ScannedRow, Source, SourceCaps};
use sync_core::{EndpointError, EndpointErrorKind, Position};

use super::endpoint_list::SourceDefect as Defect;
use crate::SourceGround;

const FIELD: &str = "text";

#[derive(Debug, Default)]
struct Table {
    /// The version and the text of each record.
    rows: BTreeMap<Key, (i64, String)>,
    /// When which record was deleted.
    deletes: BTreeMap<Key, i64>,
    /// Keys that were ever deleted.
    ever_deleted: BTreeSet<Key>,
    version: i64,
    /// Positions before this version are no longer served.
    oldest: i64,
    down: bool,
    /// How often this process read.
    reads: u64,
    /// Whether a read was asked for and not answered.
    unheard: bool,
    /// The position whose changes were told last.
    told: Option<i64>,
}

/// A table in memory, and the source that reads it: the reference for [`source_suite!`](crate::source_suite).
#[derive(Clone, Default)]
pub struct TableGround {
    table: Arc<Mutex<Table>>,
    defect: Option<Defect>,
    without_scan: bool,
}

impl TableGround {
    /// With a defect.
    pub fn with(defect: Defect) -> Self {
        Self { defect: Some(defect), without_scan: defect == Defect::ScanUnavailable, ..Self::default() }
    }

    /// A source without a defect that cannot be scanned.
    pub fn without_scan() -> Self {
        Self { without_scan: true, ..Self::default() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }
}

impl fmt::Debug for TableGround {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableGround").field("defect", &self.defect).finish_non_exhaustive()
    }
}

impl SourceGround for TableGround {
    fn open(&self) -> Arc<dyn Source> {
        self.table().reads = 0;
        Arc::new(self.clone())
    }

    fn put(&self, number: u32, text: &str) {
        let mut table = self.table();
        table.version += 1;
        let (key, row) = (key(number), (table.version, text.to_owned()));
        table.rows.insert(key.clone(), row);
        table.deletes.remove(&key);
    }

    fn delete(&self, number: u32) {
        let mut table = self.table();
        table.version += 1;
        let (key, version) = (key(number), table.version);
        if table.rows.remove(&key).is_some() {
            table.ever_deleted.insert(key.clone());
            table.deletes.insert(key, version);
        }
    }

    fn rows(&self) -> BTreeMap<Key, String> {
        self.table().rows.iter().map(|(key, (_, text))| (key.clone(), text.clone())).collect()
    }

    fn text(&self, change: &Change) -> Option<String> {
        let ChangeBody::Upsert(record) = &change.body else { return None };
        match record.get(FIELD) {
            Some(Value::Text(text)) => Some(text.to_string()),
            _ => None,
        }
    }

    fn absent(&self) -> Key {
        Key::text("nobody")
    }

    fn expire(&self) -> bool {
        let mut table = self.table();
        table.version += 1;
        table.oldest = table.version;
        table.deletes.clear();
        true
    }

    fn break_down(&self, down: bool) -> bool {
        self.table().down = down;
        true
    }
}

fn key(number: u32) -> Key {
    Key::text(format!("r{number:02}"))
}

fn upsert(key: &Key, version: i64, text: &str) -> Change {
    let mut record = Record::with_capacity(1);
    record.set(FieldName::from(FIELD), Value::Text(text.into()));
    Change { key: key.clone(), version: Some(version), body: ChangeBody::Upsert(record) }
}

fn gone(key: &Key) -> Change {
    Change { key: key.clone(), version: None, body: ChangeBody::Delete }
}

fn error(kind: EndpointErrorKind, code: &str) -> EndpointError {
    EndpointError::new(kind, code, "The table of the suite was told to fail.", "Let it be.")
}

/// A snapshot at `s:SINCE:LAST KEY`, changes at `d:SINCE`.
fn parse(position: &Position) -> Result<(bool, i64, &str), EndpointError> {
    let unreadable = || error(EndpointErrorKind::Refused, "position-unreadable");
    let (kind, rest) = position.as_str().split_once(':').ok_or_else(unreadable)?;
    let (since, last) = rest.split_once(':').unwrap_or((rest, ""));
    Ok((kind == "s", since.parse().map_err(|_| unreadable())?, last))
}

impl TableGround {
    fn snapshot(&self, table: &mut Table, since: i64, last: &str, rows: usize) -> ChangeBatch {
        let rows = if self.has(Defect::LargePagesCut) { rows.min(8) } else { rows };
        let after = |key: &Key| last.is_empty() || key.to_text().as_str() > last;
        let page: Vec<(Key, i64, String)> = table
            .rows
            .iter()
            .filter(|(key, _)| after(key))
            .map(|(key, (version, text))| (key.clone(), *version, text.clone()))
            .collect();
        let mut more = page.len() > rows;
        let mut kept: Vec<_> = page.iter().take(rows).collect();
        let mut next = kept.last().map(|(key, ..)| key.to_text()).unwrap_or_default();
        if self.has(Defect::LargePagesCut) {
            more = more && rows < 8;
        }
        if self.has(Defect::BorderRowSkipped) && more && rows > 1 {
            next = page.get(rows).map(|(key, ..)| key.to_text()).unwrap_or(next);
        }
        if self.has(Defect::LastRowSkipped) && !more && last.is_empty() {
            kept.truncate(kept.len().max(1) - 1);
        }
        // Changes made meanwhile count from the beginning of the snapshot, so that none is lost.
        let since = if self.has(Defect::SnapshotEndsNow) { table.version } else { since };
        let next = if more { format!("s:{since}:{next}") } else { format!("d:{since}") };
        let changes = kept.into_iter().map(|(key, version, text)| upsert(key, *version, text)).collect();
        ChangeBatch { changes, next: Position::new(next), phase: Phase::Snapshot, more }
    }

    fn changes(&self, table: &mut Table, since: i64, rows: usize) -> ChangeBatch {
        let mut changed: Vec<(i64, Change)> =
            table.rows.iter().map(|(key, (at, text))| (*at, upsert(key, *at, text))).collect();
        if !self.has(Defect::DeletesNotTold) {
            changed.extend(table.deletes.iter().map(|(key, at)| (*at, gone(key))));
        }
        if self.has(Defect::RestoredStaysGone) {
            let restored = table.ever_deleted.iter().filter(|key| table.rows.contains_key(*key));
            changed.extend(restored.map(|key| (i64::MAX, gone(key))));
        }
        changed.retain(|(at, _)| *at > since || (self.has(Defect::LastChangeRepeated) && *at == since));
        changed.sort_by_key(|(at, _)| *at);
        if self.has(Defect::OldestChangeLast) {
            changed.reverse();
        }
        let mut more = changed.len() > rows;
        let left_out = self.has(Defect::SecondPageSkipped) && more;
        changed.truncate(rows);
        let mut next = changed.iter().map(|(at, _)| *at).filter(|at| *at < i64::MAX).max().unwrap_or(since);
        if left_out {
            next += 1;
        }
        if self.has(Defect::MoreForgotten) {
            more = false;
        }
        if self.has(Defect::EndMovesOn) && changed.is_empty() {
            next = table.version + 1;
        }
        let changes = changed.into_iter().map(|(_, change)| change).collect();
        ChangeBatch { changes, next: Position::new(format!("d:{next}")), phase: Phase::Incremental, more }
    }

    fn up(&self) -> Result<MutexGuard<'_, Table>, EndpointError> {
        let table = self.table();
        if table.down {
            return Err(error(EndpointErrorKind::Unavailable, "service-away"));
        }
        Ok(table)
    }
}

#[async_trait]
impl Source for TableGround {
    fn capabilities(&self) -> SourceCaps {
        SourceCaps { deletes: true, scan: !self.without_scan, retention: None }
    }

    async fn read(&self, after: Option<&Position>, limit: BatchLimit) -> Result<ChangeBatch, EndpointError> {
        if self.has(Defect::DroppedReadCounts) {
            // Whoever asks is taken to hear the answer.
            let unheard = std::mem::replace(&mut self.up()?.unheard, true);
            tokio::task::yield_now().await;
            let mut table = self.up()?;
            table.unheard = false;
            if let (Some((false, since, _)), true) = (after.map(parse).transpose()?, unheard) {
                return Ok(self.changes(&mut table, since + 1, limit.rows as usize));
            }
        }
        let mut table = self.up()?;
        let rows = limit.rows as usize;
        let Some(after) = after else {
            table.reads += 1;
            let since = table.version;
            return Ok(self.snapshot(&mut table, since, "", rows));
        };
        let (snapshot, since, last) = parse(after)?;
        if since < table.oldest && !self.has(Defect::ExpiredServed) {
            return Err(error(EndpointErrorKind::Expired, "position-expired"));
        }
        if self.has(Defect::PositionsInMemory) && table.reads == 0 {
            return Err(error(EndpointErrorKind::Expired, "position-unknown"));
        }
        table.reads += 1;
        if self.has(Defect::PositionReadOnce) && !snapshot {
            let again = table.told.replace(since) == Some(since) && table.version > since;
            let from = if again { table.version } else { since };
            return Ok(self.changes(&mut table, from, rows));
        }
        Ok(if snapshot { self.snapshot(&mut table, since, last, rows) } else { self.changes(&mut table, since, rows) })
    }

    async fn scan(
        &self,
        after: Option<&Position>,
        limit: BatchLimit,
        depth: ScanDepth,
    ) -> Result<ScanPage, EndpointError> {
        let table = self.up()?;
        if self.without_scan {
            let kind = match self.has(Defect::ScanUnavailable) {
                true => EndpointErrorKind::Unavailable,
                false => EndpointErrorKind::Refused,
            };
            return Err(error(kind, "scan-unsupported"));
        }
        let rows = limit.rows as usize;
        let last = after.map_or("", Position::as_str);
        let left: Vec<_> = table.rows.iter().filter(|(key, _)| key.to_text().as_str() > last).collect();
        let skipped = usize::from(self.has(Defect::ScanSkipsBorder) && after.is_some());
        let cut = if self.has(Defect::ScanCut) { 8 } else { usize::MAX };
        let page: Vec<_> = left.iter().skip(skipped).take(rows.min(cut)).collect();
        let whole = left.len() <= rows + skipped || (rows > cut);
        let next = page.last().filter(|_| !whole).map(|(key, _)| Position::new(key.to_text()));
        let scanned = page.into_iter().map(|(key, (version, text))| ScannedRow {
            key: (*key).clone(),
            version: Some(*version).filter(|_| depth == ScanDepth::Rows || !self.has(Defect::ScanWithoutVersion)),
            change: (depth == ScanDepth::Rows).then(|| upsert(key, *version, text)),
        });
        Ok(ScanPage { rows: scanned.collect(), next })
    }

    async fn fetch(&self, keys: &[Key]) -> Result<Vec<Change>, EndpointError> {
        let table = match self.up() {
            Ok(table) => table,
            Err(_) if self.has(Defect::TroubleIsAbsence) => return Ok(keys.iter().map(gone).collect()),
            Err(error) => return Err(error),
        };
        let one = |key: &Key| match table.rows.get(key) {
            Some((version, _)) if self.has(Defect::FetchWithOldVersion) => {
                let (_, text) = &table.rows[key];
                upsert(key, version % 8, text)
            }
            Some((version, text)) => upsert(key, *version, text),
            None => gone(key),
        };
        let mut changes: Vec<Change> = keys.iter().map(one).collect();
        if self.has(Defect::FetchSorted) {
            changes.sort_by(|one, other| one.key.cmp(&other.key));
        }
        if self.has(Defect::FetchOmitsAbsent) {
            changes.retain(|change| change.body != ChangeBody::Delete);
        }
        Ok(changes)
    }
}
