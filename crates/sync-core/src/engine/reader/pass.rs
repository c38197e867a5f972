//! Passes over the whole table beside the change feed: closing sweep, audit, replay. What is durable of them, and the steps
//! of a scan.

use std::fmt;

use record::Key;
use serde::{Deserialize, Serialize};

use super::{Absent, ReaderAction, ScannedPage};
use crate::traits::{PassKind, ScanDepth};
use crate::{Position, StatusReason, StreamId};

/// What is remembered of a stream's passes. It is noted before a pass begins and after each of its pages, so that a run goes on
/// where the last one ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassNote {
    /// The number of the last pass that began. Passes and generations share one row of numbers, so that the newest number that
    /// met a record is the newest look at it.
    pub last: u64,
    /// When the last pass ended, in milliseconds since 1970 (UTC).
    pub done_ms: Option<i64>,
    /// One that is to begin.
    pub due: Option<PassKind>,
    /// One under way.
    pub running: Option<RunningPass>,
    /// What a replay wrote down may still wait to be written. A change that takes its place meanwhile is decided as in the
    /// replay, so that nothing of what the operator asked for is lost.
    #[serde(default)]
    pub replay_waits: bool,
}

/// A pass under way.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningPass {
    /// Why it is made.
    pub kind: PassKind,
    /// Its number.
    pub number: u64,
    /// Where the scan goes on.
    pub position: Option<String>,
    /// The scan is at its end, and records that it did not meet are looked for.
    pub scanned: bool,
    /// Rows met so far.
    pub rows: u64,
    /// Rows read again in full so far.
    pub reread: u64,
}

impl PassNote {
    /// The name of the small value in the store that it is kept under.
    pub fn name(stream: &StreamId) -> String {
        format!("pass/{stream}")
    }
}

/// A position is not shown: it may be a link with a token in it.
impl fmt::Debug for RunningPass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningPass")
            .field("kind", &self.kind)
            .field("number", &self.number)
            .field("scanned", &self.scanned)
            .field("rows", &self.rows)
            .field("reread", &self.reread)
            .finish_non_exhaustive()
    }
}

impl RunningPass {
    pub(super) fn new(kind: PassKind, number: u64, scanned: bool) -> Self {
        Self { kind, number, position: None, scanned, rows: 0, reread: 0 }
    }

    pub(super) fn depth(&self) -> ScanDepth {
        match self.kind {
            PassKind::Replay => ScanDepth::Rows,
            PassKind::Closing | PassKind::Audit => ScanDepth::Versions,
        }
    }
}

/// One page of a scan on its way.
#[derive(Debug)]
pub(super) enum ScanStep {
    /// To be asked for.
    Ask { depth: ScanDepth },
    /// Which of these rows are news?
    Compare { page: ScannedPage },
    /// Those that are news are read in full...
    Fetch { news: Vec<Key>, page: ScannedPage },
    /// ...and with them, or instead, all are marked as met.
    Mark { page: ScannedPage },
}

impl ScanStep {
    /// Whether a page is in hand, so that nothing else comes in between.
    pub(super) fn under_way(&self) -> bool {
        !matches!(self, Self::Ask { .. })
    }

    /// The rows that are newer than what is known, or not known at all.
    pub(super) fn compared(page: ScannedPage, known: &[Option<i64>], chunk: usize) -> Self {
        let is_news = |version: Option<i64>, known: Option<i64>| match (version, known) {
            (Some(version), Some(known)) => version > known,
            _ => true,
        };
        let rows = page.rows.iter().zip(known);
        let news: Vec<Key> =
            rows.filter(|((_, version), known)| is_news(*version, **known)).map(|((key, _), _)| key.clone()).collect();
        match news.len() {
            0 => Self::Mark { page },
            // Many single questions cost more than the same page with all its columns.
            many if many > chunk => Self::Ask { depth: ScanDepth::Rows },
            _ => Self::Fetch { news, page },
        }
    }

    pub(super) fn action(&self, pass: &RunningPass, rows: u32) -> ReaderAction {
        match self {
            Self::Ask { depth } => ReaderAction::Scan {
                after: pass.position.as_deref().map(Position::new),
                rows,
                depth: *depth,
                replay: pass.kind == PassKind::Replay,
            },
            Self::Compare { page } => ReaderAction::KnownVersions(page.keys()),
            Self::Fetch { news, .. } => ReaderAction::Fetch { keys: news.clone(), absent: Absent::AsMapped },
            Self::Mark { page } => ReaderAction::MarkSeen { keys: page.keys(), pass: pass.number },
        }
    }
}

pub(super) fn scan_stuck() -> StatusReason {
    StatusReason {
        code: "scan-stuck".to_owned(),
        message: "The source answered a page of a scan that leads to itself.".to_owned(),
        remedy:
            "Nothing is to be done if it passes; otherwise look at what stands between the source and this program."
                .to_owned(),
    }
}
