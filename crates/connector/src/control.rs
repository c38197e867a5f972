//! Looks at a store from outside, beside a running process: nothing here writes.

use serde::Serialize;
use sync_core::traits::{Backlog, DeadLetterQuery, LetterFilter, Phase, StateStore};
use sync_core::{StatusReason, StoreError, StoreErrorKind, Tally, WorkflowState, WorkflowStatus};
use sync_store_sqlite::SqliteStore;
use timing::{Clock, SystemClock};

use crate::config::Config;
use crate::error::{Error, ErrorKind, Problem};
use crate::reason;
use crate::workflows::ingress;

/// What `status` shows.
#[derive(Debug, Clone, Serialize)]
pub struct StatusReport {
    /// One per workflow.
    pub workflows: Vec<WorkflowReport>,
}

/// One workflow.
#[derive(Debug, Clone, Serialize)]
pub struct WorkflowReport {
    /// `ingress`.
    pub workflow: String,
    /// The state last written by the process that runs it; `STOPPED` when none holds the store.
    #[serde(rename = "status", serialize_with = "as_text")]
    pub state: WorkflowStateText,
    /// Records read and queued, not yet written.
    pub backlog: u64,
    /// Why it failed, or what last held it up.
    pub last_error: Option<StatusReason>,
    /// One per table.
    pub tables: Vec<TableReport>,
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
    /// Records that could not be written.
    pub dead_letters: u64,
    /// Everything that happened since the store was made.
    pub totals: Tally,
}

/// Which dead letters.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterFilter {
    /// Of this Dynamics 365 table only.
    pub table: Option<String>,
    /// With this reason only.
    pub reason: Option<String>,
    /// With these numbers only; empty for all.
    pub ids: Vec<u64>,
}

/// A record that could not be written: its id, never its data.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLetterView {
    /// Its number.
    pub id: u64,
    /// The Dynamics 365 table.
    pub table: String,
    /// The record's id there.
    pub record: String,
    /// The reason's stable code.
    pub reason: String,
    /// The field at fault.
    pub field: Option<String>,
    /// What is wrong and how to mend it.
    pub explanation: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was put here (RFC 3339, UTC).
    pub at: String,
}

/// Reads the status of every configured workflow.
///
/// # Errors
/// When the store exists and cannot be read. A store that does not exist yet is a workflow that never ran.
pub async fn status(config: &Config) -> Result<StatusReport, Error> {
    let now_ms = SystemClock::new().now().timestamp_millis();
    let store = if config.store.sqlite.exists() { Some(open(config)?) } else { None };
    let mut tables = Vec::new();
    for spec in &config.tables {
        let mut report = TableReport {
            table: spec.table.clone(),
            resource: spec.resource.clone(),
            phase: "not started",
            backlog: 0,
            oldest_age_seconds: None,
            dead_letters: 0,
            totals: Tally::default(),
        };
        if let Some(store) = &store {
            let stream = ingress::stream_id(spec);
            if let Some(checkpoint) = store.load(&stream).await.map_err(|error| store_error(config, error))? {
                report.phase = match checkpoint.phase {
                    Phase::Snapshot => "initial load",
                    Phase::Incremental => "live",
                };
                report.totals = checkpoint.totals;
            }
            let stats = store.stats(&stream).await.map_err(|error| store_error(config, error))?;
            report.backlog = stats.depth();
            report.dead_letters = stats.dead;
            report.oldest_age_seconds =
                stats.oldest_ms.map(|oldest| u64::try_from((now_ms - oldest).max(0) / 1000).unwrap_or(0));
        }
        tables.push(report);
    }
    let (state, last_error) = match &store {
        Some(store) => last_status(store, config).await?,
        None => ("STOPPED", None),
    };
    let backlog = tables.iter().map(|table| table.backlog).sum();
    Ok(StatusReport {
        workflows: vec![WorkflowReport { workflow: ingress::NAME.to_owned(), state, backlog, last_error, tables }],
    })
}

/// The state last written, corrected by whether anybody holds the store: a process that was killed cannot write STOPPED.
async fn last_status(store: &SqliteStore, config: &Config) -> Result<(WorkflowStateText, Option<StatusReason>), Error> {
    let written = store.get(&format!("status/{}", ingress::NAME)).await.map_err(|error| store_error(config, error))?;
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

/// Lists dead letters, oldest first, without their data.
///
/// # Errors
/// When the store exists and cannot be read, or the table is not configured. A store that does not exist yet holds none.
pub async fn dead_letters(config: &Config, filter: &DeadLetterFilter) -> Result<Vec<DeadLetterView>, Error> {
    let stream = match &filter.table {
        None => None,
        Some(table) => match config.tables.iter().find(|spec| spec.table == *table) {
            Some(spec) => Some(ingress::stream_id(spec)),
            None => {
                let message = format!("The table {table} is not configured.");
                let problem = Problem::new("--table", message, "Name a configured table.");
                return Err(Error::one(ErrorKind::Configuration, problem));
            }
        },
    };
    if !config.store.sqlite.exists() {
        return Ok(Vec::new());
    }
    let store = open(config)?;
    let mut query = DeadLetterQuery {
        filter: LetterFilter { stream, code: filter.reason.clone(), ids: filter.ids.clone(), before_ms: None },
        after: None,
        limit: 1000,
    };
    let mut views = Vec::new();
    loop {
        let letters = store.dead_letters(&query).await.map_err(|error| store_error(config, error))?;
        let Some(last) = letters.last() else { return Ok(views) };
        query.after = Some(last.id);
        views.extend(letters.into_iter().map(|letter| DeadLetterView {
            id: letter.id,
            table: ingress::table_of(&letter.stream).to_owned(),
            record: letter.key.to_text(),
            reason: letter.rejection.code,
            field: letter.rejection.field,
            explanation: letter.rejection.explanation,
            attempts: letter.attempts,
            at: chrono::DateTime::from_timestamp_millis(letter.at_ms).unwrap_or_default().to_rfc3339(),
        }));
    }
}

fn open(config: &Config) -> Result<SqliteStore, Error> {
    SqliteStore::open_read_only(&config.store.sqlite).map_err(|error| store_error(config, error))
}

/// A store's error as the connector's: what can be seen before anything starts is a matter of configuration.
pub(crate) fn store_error(config: &Config, error: StoreError) -> Error {
    let kind = match error.kind() {
        StoreErrorKind::InUse | StoreErrorKind::TooNew | StoreErrorKind::Corrupt | StoreErrorKind::Unavailable => {
            ErrorKind::Store
        }
        _ => ErrorKind::Refused,
    };
    let problem = Problem::new(
        "store.sqlite",
        format!("{} ({})", error, config.store.sqlite.display()),
        error.remedy().to_owned(),
    );
    Error::one(kind, problem).with_source(error)
}
