//! What a store says of its workflows.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;
use sync_core::engine::reader::PassNote;
use sync_core::traits::{Backlog, PassKind, Phase, PositionState, StateStore};
use sync_core::{StatusReason, StoreError, StreamId, Tally, WorkflowState, WorkflowStatus};
use sync_store_sqlite::SqliteStore;
use timing::{Clock, SystemClock};

use super::requests::{self, PendingRequestView};
use super::{open, store_error};
use crate::adapters::consent::overdue::{self, Expectation, FileNote};
use crate::adapters::kept;
use crate::config::Config;
use crate::error::Error;
use crate::reason;
use crate::workflows::streams::{self, StreamLabel};
use crate::workflows::{egress, ingress, opt_in_out};

/// What `status` shows.
#[derive(Debug, Clone, Serialize)]
pub struct StatusReport {
    /// One per workflow.
    pub workflows: Vec<WorkflowReport>,
}

/// One workflow.
#[derive(Debug, Clone, Serialize)]
pub struct WorkflowReport {
    /// `ingress` or `egress`.
    pub workflow: String,
    /// The state last written by the process that runs it; `STOPPED` when none holds the store.
    #[serde(rename = "status", serialize_with = "as_text")]
    pub state: WorkflowStateText,
    /// Records read and queued, not yet written.
    pub backlog: u64,
    /// Why it failed, or what last held it up.
    pub last_error: Option<StatusReason>,
    /// What operators asked for and nobody has carried out yet, oldest first: a replay that is armed, for example.
    pub requests: Vec<PendingRequestView>,
    /// Whether its settings were edited since the process that holds the store was started: they count after a stop and a start.
    pub pending_changes: bool,
    /// Events that were no longer kept when they were to be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gaps: Option<GapReport>,
    /// Campaign's files of opt-outs, where they are expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<FilesReport>,
    /// One per table.
    pub tables: Vec<TableReport>,
}

/// Files that are expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FilesReport {
    /// When the last one was read (RFC 3339, UTC); `None` before the first.
    pub last: Option<String>,
    /// Until when the next one is expected; `None` before the first run.
    pub expected_until: Option<String>,
    /// What was noticed and done about a file that did not come in time.
    pub overdue: Option<StatusReason>,
}

/// Events that were no longer kept when they were to be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GapReport {
    /// How often that was found since the store was made.
    pub count: u64,
    /// When it was found last (RFC 3339, UTC).
    pub last: String,
}

/// A workflow state as text.
pub type WorkflowStateText = &'static str;

fn as_text<S: serde::Serializer>(text: &WorkflowStateText, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

/// One table.
#[derive(Debug, Clone, Serialize)]
pub struct TableReport {
    /// The Dynamics 365 table.
    pub table: String,
    /// The Campaign resource.
    pub resource: String,
    /// `not started`, `initial load` or `live`.
    pub phase: &'static str,
    /// Records read and queued, not yet written.
    pub backlog: u64,
    /// How long the oldest of them has waited, in seconds.
    pub oldest_age_seconds: Option<u64>,
    /// Those of them that wait for a record they depend on.
    pub waiting: u64,
    /// Records that could not be written.
    pub dead_letters: u64,
    /// The pass over the whole table that is under way beside the changes.
    pub pass: Option<PassReport>,
    /// Why the next one is due, where one is.
    pub pass_due: Option<PassKind>,
    /// The age of the read position, in seconds.
    pub position_age_seconds: Option<u64>,
    /// That age against the time for which Dynamics 365 serves a position: `fresh`, `aging`, `at-risk` or `expired`; `None`
    /// where that time is not known.
    pub position_state: Option<&'static str>,
    /// Everything that happened since the store was made.
    pub totals: Tally,
}

/// A pass over a whole table.
#[derive(Debug, Clone, Serialize)]
pub struct PassReport {
    /// Why it is made: `closing`, `audit` or `replay`.
    pub kind: PassKind,
    /// Rows met so far.
    pub rows: u64,
    /// Rows read again in full so far.
    pub reread: u64,
    /// Whether the table was read to its end; what is missing there is looked for then.
    pub scanned: bool,
}

/// Reads the status of every configured workflow.
///
/// # Errors
/// When the store exists and cannot be read. A store that does not exist yet is a workflow that never ran.
pub async fn status(config: &Config) -> Result<StatusReport, Error> {
    let store = if config.store.sqlite.exists() { Some(open(config)?) } else { None };
    let mut workflows = Vec::new();
    for (name, streams) in streams::of(config) {
        workflows.push(workflow(config, store.as_ref(), name, streams).await?);
    }
    if let Some(store) = store.filter(|_| SqliteStore::is_locked(&config.store.sqlite)) {
        // A process that keeps nothing is of a version before this; of it nothing can be said.
        if let Some(running) = kept::settings(&store).await.map_err(|error| store_error(config, error))? {
            let present = kept::digests(config);
            for report in &mut workflows {
                report.pending_changes = running.get(&report.workflow) != present.get(&report.workflow);
            }
        }
    }
    Ok(StatusReport { workflows })
}

async fn workflow(
    config: &Config,
    store: Option<&SqliteStore>,
    name: &'static str,
    streams: Vec<StreamLabel>,
) -> Result<WorkflowReport, Error> {
    let now_ms = SystemClock::new().now().timestamp_millis();
    let failed = |error| store_error(config, error);
    let mut tables = Vec::new();
    for stream in &streams {
        let mut report = TableReport::not_started(&stream.table, &stream.resource);
        if let Some(store) = store {
            report.fill(store, &stream.id, now_ms).await.map_err(failed)?;
        }
        tables.push(report);
    }
    let mut report = WorkflowReport {
        workflow: name.to_owned(),
        state: "STOPPED",
        backlog: tables.iter().map(|table| table.backlog).sum(),
        last_error: None,
        requests: Vec::new(),
        pending_changes: false,
        gaps: None,
        files: None,
        tables,
    };
    let Some(store) = store else { return Ok(report) };
    (report.state, report.last_error) = last_status(store, config, name).await?;
    match name {
        // Whatever is asked for concerns tables.
        ingress::NAME => report.requests = requests::pending(config, store).await.map_err(failed)?,
        egress::NAME => {
            let gaps = kept::gaps(store).await.map_err(failed)?;
            let last = DateTime::from_timestamp_millis(gaps.last_ms).unwrap_or_default();
            let last = last.to_rfc3339_opts(SecondsFormat::Millis, true);
            report.gaps = (gaps.count > 0).then_some(GapReport { count: gaps.count, last });
        }
        opt_in_out::NAME => {
            if let Some(expected) = Expectation::of(config) {
                let note = overdue::note(store).await.map_err(failed)?;
                report.files = Some(FilesReport::of(&expected, note.as_ref(), now_ms));
            }
        }
        _ => {}
    }
    Ok(report)
}

impl FilesReport {
    fn of(expected: &Expectation, note: Option<&FileNote>, now_ms: i64) -> Self {
        Self {
            last: note.filter(|note| note.came).map(|note| overdue::time(note.since_ms)),
            expected_until: note.map(|note| overdue::time(expected.until_ms(note))),
            overdue: note.and_then(|note| expected.overdue(note, now_ms)),
        }
    }
}

impl TableReport {
    fn not_started(table: &str, resource: &str) -> Self {
        Self {
            table: table.to_owned(),
            resource: resource.to_owned(),
            phase: "not started",
            backlog: 0,
            oldest_age_seconds: None,
            waiting: 0,
            dead_letters: 0,
            pass: None,
            pass_due: None,
            position_age_seconds: None,
            position_state: None,
            totals: Tally::default(),
        }
    }

    async fn fill(&mut self, store: &SqliteStore, stream: &StreamId, now_ms: i64) -> Result<(), StoreError> {
        if let Some(checkpoint) = store.load(stream).await? {
            self.phase = match checkpoint.phase {
                Phase::Snapshot => "initial load",
                Phase::Incremental => "live",
            };
            self.totals = checkpoint.totals;
            if checkpoint.position.is_some() {
                let age = since(checkpoint.at_ms, now_ms);
                self.position_age_seconds = Some(age.as_secs());
                let retention = kept::retention(store).await?;
                self.position_state = retention.map(|retention| PositionState::of(age, retention).as_str());
            }
        }
        let stats = store.stats(stream).await?;
        self.backlog = stats.depth();
        self.waiting = stats.waiting;
        self.dead_letters = stats.dead;
        self.oldest_age_seconds = stats.oldest_ms.map(|oldest| since(oldest, now_ms).as_secs());
        let note = store.get(&PassNote::name(stream)).await?;
        let note: PassNote = note.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        self.pass_due = note.due;
        self.pass = note.running.map(|pass| PassReport {
            kind: pass.kind,
            rows: pass.rows,
            reread: pass.reread,
            scanned: pass.scanned,
        });
        Ok(())
    }
}

fn since(then_ms: i64, now_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(now_ms.saturating_sub(then_ms)).unwrap_or(0))
}

/// The state last written, corrected by whether anybody holds the store: a process that was killed cannot write STOPPED.
async fn last_status(
    store: &SqliteStore,
    config: &Config,
    workflow: &str,
) -> Result<(WorkflowStateText, Option<StatusReason>), Error> {
    let written = store.get(&format!("status/{workflow}")).await.map_err(|error| store_error(config, error))?;
    let written = written.and_then(|bytes| serde_json::from_slice::<WorkflowStatus>(&bytes).ok());
    let Some(WorkflowStatus { state, reason }) = written else { return Ok(("STOPPED", None)) };
    let state = match state {
        WorkflowState::Failed => "FAILED",
        _ if !SqliteStore::is_locked(&config.store.sqlite) => "STOPPED",
        WorkflowState::Running => "RUNNING",
        WorkflowState::Starting => "STARTING",
        WorkflowState::Stopped => "STOPPED",
    };
    Ok((state, reason.map(|reason| reason::in_words_of(config, reason))))
}
