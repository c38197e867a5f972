use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use record::{Change, ChangeBody, Key};
use sync_core::traits::{BatchLimit, ChangeBatch, Phase, ScanDepth, ScanPage, ScannedRow, Source, SourceCaps};
use sync_core::{EndpointError, EndpointErrorKind, Position};

use super::{Content, Process, Table};
use crate::faults::{Fault, Faults};
use crate::rare::{Path, Rare};

/// What the token at the end of paging covers. The service documents neither, so an engine has to bear both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenMode {
    /// Everything since paging began.
    CoversPaging,
    /// Only what comes after the last page: what changed on pages already read is told by nobody.
    AfterPaging,
}

/// A table as a source, seen by one process.
#[derive(Debug)]
pub struct TableSource {
    /// The table.
    pub table: Arc<Table>,
    /// Who reads.
    pub process: Arc<Process>,
    /// What goes wrong.
    pub faults: Faults,
    /// What the tokens cover.
    pub tokens: TokenMode,
    /// The longest time an answer takes.
    pub latency: Duration,
    /// How long it says that positions are served.
    pub retention: Option<Duration>,
    /// Where rare paths are counted.
    pub rare: Rare,
}

/// A position, as the source writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum At {
    /// Within a snapshot that began at `since`; `step` keeps empty pages apart.
    Snapshot { since: i64, after: Option<Key>, step: u64 },
    /// Within the changes up to a version.
    Changes { since: i64, upto: i64, step: u64 },
    /// At the end of everything up to a version.
    Token { since: i64 },
}

impl At {
    fn write(&self) -> Position {
        Position::new(match self {
            Self::Snapshot { since, after, step } => format!("s|{since}|{step}|{}", write_key(after.as_ref())),
            Self::Changes { since, upto, step } => format!("p|{since}|{step}|{upto}"),
            Self::Token { since } => format!("d|{since}|0|"),
        })
    }

    fn read(position: &Position) -> Option<Self> {
        let mut parts = position.as_str().splitn(4, '|');
        let (kind, since, step, rest) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let since = since.parse().ok()?;
        let step = step.parse().ok()?;
        Some(match kind {
            "s" => Self::Snapshot { since, after: read_key(rest)?, step },
            "p" => Self::Changes { since, upto: rest.parse().ok()?, step },
            _ => Self::Token { since },
        })
    }

    fn since(&self) -> i64 {
        match self {
            Self::Snapshot { since, .. } | Self::Changes { since, .. } | Self::Token { since } => *since,
        }
    }
}

/// The version up to which a reader at this position was told everything; `None` in the middle of paging.
pub fn told_upto(position: &Position) -> Option<i64> {
    match At::read(position)? {
        At::Token { since } => Some(since),
        At::Snapshot { .. } | At::Changes { .. } => None,
    }
}

fn write_key(key: Option<&Key>) -> String {
    use std::fmt::Write;
    key.map_or_else(String::new, |key| {
        key.to_bytes().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    })
}

fn read_key(text: &str) -> Option<Option<Key>> {
    if text.is_empty() {
        return Some(None);
    }
    let bytes: Result<Vec<u8>, _> =
        (0..text.len() / 2).map(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16)).collect();
    Key::from_bytes(&bytes.ok()?).ok().map(Some)
}

fn trouble(kind: EndpointErrorKind, code: &str, after: Option<Duration>) -> EndpointError {
    EndpointError::new(kind, code, "The source has trouble.", "Mend the source.").with_retry_after(after)
}

fn change(key: &Key, version: i64, content: Option<&Content>) -> Change {
    match content {
        Some(content) => content.change(key, version),
        None => Change { key: key.clone(), version: None, body: ChangeBody::Delete },
    }
}

impl TableSource {
    /// The time an answer takes: half of it before the table is looked at, or after.
    async fn answer<T>(&self, look: impl FnOnce(&Self) -> T) -> T {
        let chance = self.faults.chance();
        let (before, after) = match self.latency {
            Duration::ZERO => (Duration::ZERO, Duration::ZERO),
            latency => (chance.span(Duration::ZERO, latency), chance.span(Duration::ZERO, latency)),
        };
        let clock = self.process.clock();
        if !before.is_zero() {
            clock.sleep(before).await;
        }
        let found = look(self);
        if !after.is_zero() {
            clock.sleep(after).await;
        }
        found
    }

    fn refusal(&self) -> Option<EndpointError> {
        if self.faults.fires(Fault::SourceDown) {
            return Some(trouble(EndpointErrorKind::Unavailable, "source-down", None));
        }
        if self.faults.fires(Fault::SourceThrottled) {
            let after = self.faults.chance().span(Duration::from_secs(1), Duration::from_secs(90));
            return Some(trouble(EndpointErrorKind::Unavailable, "source-throttled", Some(after)));
        }
        None
    }

    fn expired(&self) -> EndpointError {
        self.rare.took(Path::TokenExpired);
        trouble(EndpointErrorKind::Expired, "token-expired", None)
    }

    fn page(&self, after: Option<&Position>, limit: BatchLimit) -> Result<ChangeBatch, EndpointError> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        let at = match after {
            None => At::Snapshot { since: self.table.version(), after: None, step: 0 },
            Some(position) => {
                At::read(position).ok_or_else(|| trouble(EndpointErrorKind::Refused, "foreign-position", None))?
            }
        };
        let lost = match &at {
            At::Token { .. } => self.faults.fires(Fault::TokenExpired),
            _ => after.is_some() && self.faults.fires(Fault::LinkExpired),
        };
        if lost {
            self.table.expire();
        }
        if at.since() < self.table.oldest() {
            return Err(self.expired());
        }
        if let Some(position) = after.filter(|_| self.faults.fires(Fault::PageLeadsToItself)) {
            let phase = if matches!(at, At::Snapshot { .. }) { Phase::Snapshot } else { Phase::Incremental };
            return Ok(ChangeBatch { changes: Vec::new(), next: position.clone(), phase, more: true });
        }
        let rows = usize::try_from(limit.rows.max(1)).unwrap_or(1);
        let rows = if rows > 1 && self.faults.chance().hits(0.1) { 1 } else { rows };
        Ok(match at {
            At::Snapshot { since, after, step } => self.snapshot_page(since, after, step, rows),
            At::Token { since } => self.changes_page(since, self.table.version(), 0, rows),
            At::Changes { since, upto, step } => self.changes_page(since, upto, step, rows),
        })
    }

    fn snapshot_page(&self, since: i64, after: Option<Key>, step: u64, rows: usize) -> ChangeBatch {
        let phase = Phase::Snapshot;
        if self.faults.fires(Fault::EmptyPage) {
            let next = At::Snapshot { since, after, step: step + 1 }.write();
            return ChangeBatch { changes: Vec::new(), next, phase, more: true };
        }
        let mut found = self.table.rows_after(after.as_ref(), rows + 1);
        let more = found.len() > rows;
        self.table.set_paging(more);
        found.truncate(rows);
        let next = if more {
            At::Snapshot { since, after: found.last().map(|(key, ..)| key.clone()), step: step + 1 }
        } else {
            At::Token { since: self.token(since) }
        };
        let mut changes: Vec<Change> =
            found.iter().map(|(key, version, content)| change(key, *version, Some(content))).collect();
        self.again(&mut changes);
        ChangeBatch { changes, next: next.write(), phase, more }
    }

    fn changes_page(&self, since: i64, upto: i64, step: u64, rows: usize) -> ChangeBatch {
        let phase = Phase::Incremental;
        if self.faults.fires(Fault::EmptyPage) {
            let next = At::Changes { since, upto, step: step + 1 }.write();
            return ChangeBatch { changes: Vec::new(), next, phase, more: true };
        }
        let mut found = self.table.changes(since, upto);
        let more = found.len() > rows;
        found.truncate(rows);
        let last = found.last().map_or(since, |(version, ..)| *version);
        let next = match (more, step) {
            (true, _) => At::Changes { since: last, upto, step: step + 1 },
            (false, 0) => At::Token { since: upto },
            (false, _) => At::Token { since: self.token(upto) },
        };
        let mut changes: Vec<Change> =
            found.iter().map(|(version, key, content)| change(key, *version, content.as_ref())).collect();
        if self.faults.fires(Fault::UnknownDelete) {
            let key = Key::text(format!("never-seen-{}", self.faults.chance().below(1000)));
            changes.push(Change { key, version: None, body: ChangeBody::Delete });
        }
        self.again(&mut changes);
        ChangeBatch { changes, next: next.write(), phase, more }
    }

    /// The version that the token at the end of paging stands for.
    fn token(&self, since: i64) -> i64 {
        match self.tokens {
            TokenMode::CoversPaging => since,
            TokenMode::AfterPaging => {
                let now = self.table.version();
                if now > since {
                    self.faults.note(Fault::TokenAfterPaging);
                }
                now
            }
        }
    }

    /// Rows that were sent before, as they are, and one in an older state. They stand before the page's own rows.
    fn again(&self, changes: &mut Vec<Change>) {
        let chance = self.faults.chance();
        let rows = self.table.rows_after(None, usize::MAX);
        if rows.is_empty() {
            return;
        }
        if self.faults.fires(Fault::RowsAgain) {
            let (key, version, content) = chance.pick(&rows);
            changes.insert(0, change(key, *version, Some(content)));
        }
        if self.faults.possible(Fault::StaleRows) {
            let (key, ..) = chance.pick(&rows);
            let nth = usize::try_from(chance.below(1000)).unwrap_or(0);
            if let Some((version, content)) = self.table.stale(key, nth)
                && self.faults.fires(Fault::StaleRows)
            {
                changes.insert(0, change(key, version, Some(&content)));
            }
        }
    }

    fn scan_page(
        &self,
        after: Option<&Position>,
        limit: BatchLimit,
        depth: ScanDepth,
    ) -> Result<ScanPage, EndpointError> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        if after.is_some() && self.faults.fires(Fault::LinkExpired) {
            return Err(self.expired());
        }
        let from = match after.map(At::read) {
            None => None,
            Some(Some(At::Snapshot { after, .. })) => after,
            Some(_) => return Err(trouble(EndpointErrorKind::Refused, "foreign-position", None)),
        };
        let rows = usize::try_from(limit.rows.max(1)).unwrap_or(1);
        let mut found = self.table.rows_after(from.as_ref(), rows + 1);
        let more = found.len() > rows;
        found.truncate(rows);
        let next =
            more.then(|| At::Snapshot { since: 0, after: found.last().map(|(key, ..)| key.clone()), step: 0 }.write());
        let row = |(key, version, content): (Key, i64, Content)| ScannedRow {
            change: (depth == ScanDepth::Rows).then(|| content.change(&key, version)),
            version: Some(version),
            key,
        };
        Ok(ScanPage { rows: found.into_iter().map(row).collect(), next })
    }
}

#[async_trait]
impl Source for TableSource {
    fn capabilities(&self) -> SourceCaps {
        SourceCaps { deletes: true, scan: true, retention: self.retention }
    }

    async fn read(&self, after: Option<&Position>, limit: BatchLimit) -> Result<ChangeBatch, EndpointError> {
        self.process.pass_at("reader.before_get").await;
        let answer = self.answer(|source| source.page(after, limit)).await;
        let expired = answer.as_ref().is_err_and(|error| error.kind() == EndpointErrorKind::Expired);
        self.process.pass_at(if expired { "reader.on_expired" } else { "reader.after_get" }).await;
        answer
    }

    async fn scan(
        &self,
        after: Option<&Position>,
        limit: BatchLimit,
        depth: ScanDepth,
    ) -> Result<ScanPage, EndpointError> {
        self.process.pass_at("sweep.before_page").await;
        let answer = self.answer(|source| source.scan_page(after, limit, depth)).await;
        self.process.pass_at("sweep.after_page").await;
        answer
    }

    async fn fetch(&self, keys: &[Key]) -> Result<Vec<Change>, EndpointError> {
        self.process.pass_at("sweep.before_confirm").await;
        let answer = self.answer(|source| match source.refusal() {
            Some(refusal) => Err(refusal),
            None => Ok(keys
                .iter()
                .map(|key| match source.table.present(key) {
                    Some((version, Some(content))) => content.change(key, version),
                    _ => change(key, 0, None),
                })
                .collect()),
        });
        let answer = answer.await;
        self.process.pass_at("sweep.after_confirm").await;
        answer
    }
}
