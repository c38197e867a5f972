//! What the store tells of one record's life. No service is asked, and no value of the record is shown.

use std::fmt;

use chrono::{DateTime, SecondsFormat};
use record::Key;
use serde::Serialize;
use sync_core::traits::{EntryLife, EntryState, Parent, RecordIndex, RecordLife, StateStore};
use sync_core::{StatusReason, StoreError, StreamId};
use sync_store_sqlite::SqliteStore;
use timing::{Clock, SystemClock};

use crate::adapters::gates;
use crate::config::Config;
use crate::control::{self, PendingRequestView, TableReport, WorkflowStateText, configured, open, store_error};
use crate::error::{Error, ErrorKind, Problem};
use crate::workflows::ingress;

/// What is recorded of one record.
#[derive(Debug, Clone, Serialize)]
pub struct RecordReport {
    /// The Dynamics 365 table.
    pub table: String,
    /// The Campaign resource.
    pub resource: String,
    /// The record's id.
    pub record: String,
    /// What is known of it in Campaign: `unknown` (nothing at all is recorded), `not-written`, `written`, or `doubted` where
    /// an attempt ended without an answer, so that nobody knows what Campaign holds.
    pub state: &'static str,
    /// The row version of Dynamics 365 that was written last, or met unchanged since.
    pub version: Option<i64>,
    /// What is to be written, oldest first.
    pub entries: Vec<EntryView>,
    /// When the record is written once more, because an attempt without an answer may still take effect (RFC 3339, UTC).
    pub verified_at: Option<String>,
    /// Why it could not be written, where it could not.
    pub dead_letter: Option<LetterView>,
    /// Records that wait for this one, at most 100.
    pub children: Vec<ChildView>,
    /// How many there are.
    pub children_count: u64,
    /// What holds up the writing of this table at present.
    pub pauses: Vec<PauseView>,
    /// The state of the workflow, as `status` shows it.
    pub workflow: WorkflowStateText,
    /// Why it failed, or what last held it up.
    pub last_error: Option<StatusReason>,
    /// What operators asked for that concerns this table, and nobody has carried out yet.
    pub requests: Vec<PendingRequestView>,
    /// The table's stream: how far it was read, and the pass that is under way.
    pub stream: TableReport,
}

/// Something to be written.
#[derive(Debug, Clone, Serialize)]
pub struct EntryView {
    /// Its number; it grows in the order of reading.
    pub number: u64,
    /// `write` or `delete`.
    pub action: &'static str,
    /// `queued`, `waiting` (for other records), `held` (a delete, until those of children are done), `in-flight`, or `unknown` where an attempt may have taken effect.
    pub state: &'static str,
    /// How urgent it is: `opt-out`, `live`, `replay` or `backfill`.
    pub class: &'static str,
    /// Whether it is the second look after an attempt without an answer.
    pub verification: bool,
    /// Attempts so far.
    pub attempts: u32,
    /// The row version of Dynamics 365.
    pub version: Option<i64>,
    /// When it was queued (RFC 3339, UTC).
    pub queued_at: String,
    /// When it is due (RFC 3339, UTC); `None` for at once.
    pub due_at: Option<String>,
    /// The records that have to be in Campaign before it.
    pub waits_for: Vec<RecordRef>,
}

/// A record of a mapped table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordRef {
    /// The Dynamics 365 table.
    pub table: String,
    /// Its id.
    pub record: String,
}

/// A record that waits for another one.
#[derive(Debug, Clone, Serialize)]
pub struct ChildView {
    /// The Dynamics 365 table.
    pub table: String,
    /// Its id.
    pub record: String,
    /// Whether it waited too long and is a dead letter, which the parent's arrival queues again.
    pub given_up: bool,
}

/// A dead letter.
#[derive(Debug, Clone, Serialize)]
pub struct LetterView {
    /// Its number.
    pub id: u64,
    /// The reason's stable code.
    pub reason: String,
    /// The field at fault.
    pub field: Option<String>,
    /// What is wrong and how to mend it.
    pub explanation: String,
    /// Attempts made.
    pub attempts: u32,
    /// When it was put aside (RFC 3339, UTC).
    pub at: String,
    /// The entry of a newer state whose end closes it.
    pub closed_by: Option<u64>,
    /// The records whose arrival queues it again.
    pub waits_for: Vec<RecordRef>,
    /// What to do about it.
    pub remedy: String,
}

/// Nothing is sent for a while.
#[derive(Debug, Clone, Serialize)]
pub struct PauseView {
    /// `dataverse` or `campaign` for the whole service, `table` for the writing of this table.
    pub of: &'static str,
    /// Until then (RFC 3339, UTC).
    pub until: String,
}

/// Tells what is recorded of a record, beside a running process or without one. A store that does not exist yet knows nothing.
///
/// # Errors
/// When the table is not configured, the id is none, or the store exists and cannot be read.
pub async fn explain(config: &Config, table: &str, id: &str) -> Result<RecordReport, Error> {
    let spec = configured(config, table)?;
    let key = key_of(id)?;
    let stream = ingress::stream_id(spec);
    let failed = |error| store_error(config, error);
    let (life, pauses) = if config.store.sqlite.exists() {
        let store = open(config)?;
        let life = store.record_life(&stream, &key).await.map_err(failed)?;
        (life, pauses(&store, &stream).await.map_err(failed)?)
    } else {
        (RecordLife::default(), Vec::new())
    };
    let status = control::status(config).await?;
    let (mut workflow, mut last_error, mut requests, mut report) = ("STOPPED", None, Vec::new(), None);
    for found in status.workflows.into_iter().filter(|found| found.workflow == ingress::NAME) {
        (workflow, last_error) = (found.state, found.last_error);
        requests = found.requests;
        report = found.tables.into_iter().find(|report| report.table == table);
    }
    requests.retain(|request| request.table.as_deref().is_none_or(|of| of == table));
    let stream = report.ok_or_else(|| {
        let message = format!("The table {table} has no status.");
        Error::one(ErrorKind::Store, Problem::new("store.sqlite", message, "Report it: this should not happen."))
    })?;
    Ok(RecordReport {
        table: spec.table.clone(),
        resource: spec.resource.clone(),
        record: key.to_text(),
        state: state_of(&life),
        version: life.index.and_then(|row| row.version),
        entries: life.entries.iter().map(EntryView::of).collect(),
        verified_at: life.verification.as_ref().map(|waiting| instant(waiting.due_ms)),
        children: life.children.iter().map(ChildView::of).collect(),
        children_count: life.children_count,
        dead_letter: life.dead_letter.map(|letter| LetterView::of(table, letter)),
        pauses,
        workflow,
        last_error,
        requests,
        stream,
    })
}

/// The key of a record that an operator names.
pub(crate) fn key_of(id: &str) -> Result<Key, Error> {
    uuid::Uuid::parse_str(id.trim()).map(Key::Guid).map_err(|_| {
        Error::one(
            ErrorKind::Configuration,
            Problem::new(
                "--id",
                "This is no id of a Dynamics 365 record.",
                "Give the GUID of the record, such as 8c1f0c52-0000-4000-8000-00000000000a; the address of its form shows it.",
            ),
        )
    })
}

fn state_of(life: &RecordLife) -> &'static str {
    match life.index {
        _ if life.is_unknown() => "unknown",
        Some(row) if row.digest.is_none() => "doubted",
        Some(row) if row.bound => "written",
        _ => "not-written",
    }
}

/// Pauses that have not ended.
async fn pauses(store: &SqliteStore, stream: &StreamId) -> Result<Vec<PauseView>, StoreError> {
    let now_ms = SystemClock::new().now().timestamp_millis();
    let names = [
        ("dataverse", gates::name("dataverse")),
        ("campaign", gates::name("campaign")),
        ("table", sync_core::engine::pause_name(stream)),
    ];
    let mut pauses = Vec::new();
    for (of, name) in names {
        let text = store.get(&name).await?.and_then(|text| String::from_utf8(text).ok());
        let until = text.and_then(|text| text.parse::<i64>().ok()).filter(|until| *until > now_ms);
        pauses.extend(until.map(|until| PauseView { of, until: instant(until) }));
    }
    Ok(pauses)
}

pub(crate) fn instant(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl RecordRef {
    pub(crate) fn of(parent: &Parent) -> Self {
        Self { table: ingress::table_of(&parent.stream).to_owned(), record: parent.key.to_text() }
    }
}

impl EntryView {
    pub(crate) fn of(entry: &EntryLife) -> Self {
        Self {
            number: entry.seq.0,
            action: if entry.digest.is_some() { "write" } else { "delete" },
            state: match entry.state {
                EntryState::InFlight => "in-flight",
                EntryState::Unknown => "unknown",
                EntryState::Queued if entry.held => "held",
                EntryState::Queued if !entry.waiting_for.is_empty() => "waiting",
                EntryState::Queued => "queued",
            },
            class: entry.class.as_str(),
            verification: entry.verification,
            attempts: entry.attempts,
            version: entry.version,
            queued_at: instant(entry.appended_ms),
            due_at: (entry.due_ms > 0).then(|| instant(entry.due_ms)),
            waits_for: entry.waiting_for.iter().map(RecordRef::of).collect(),
        }
    }
}

impl ChildView {
    fn of(child: &sync_core::traits::ChildLife) -> Self {
        let table = ingress::table_of(&child.stream).to_owned();
        Self { table, record: child.key.to_text(), given_up: child.given_up }
    }
}

impl LetterView {
    fn of(table: &str, found: sync_core::traits::LetterLife) -> Self {
        let letter = found.letter;
        let remedy = if found.closed_by.is_some() {
            "Nothing is to be done: a newer state is on its way, and its end takes the letter off the list.".to_owned()
        } else if found.waiting_for.is_empty() {
            format!(
                "Do what the explanation says; then d365-campaign dead-letters requeue --table {table} --id {}. A change of \
                 the record in Dynamics 365 has it tried again, too.",
                letter.id
            )
        } else {
            "See that the records it waits for are written: their arrival queues it again.".to_owned()
        };
        Self {
            id: letter.id,
            reason: letter.rejection.code,
            field: letter.rejection.field,
            explanation: letter.rejection.explanation,
            attempts: letter.attempts,
            at: instant(letter.at_ms),
            closed_by: found.closed_by.map(|seq| seq.0),
            waits_for: found.waiting_for.iter().map(RecordRef::of).collect(),
            remedy,
        }
    }
}

/// Records by table and id, after a word.
pub(crate) fn listed(records: &[RecordRef]) -> String {
    records.iter().map(|at| format!("{} {}", at.table, at.record)).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for EntryView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.verification { "second look" } else { self.action };
        write!(f, "entry {}: {what}, {}, class {}", self.number, self.state, self.class)?;
        write!(f, ", {} attempts, queued at {}", self.attempts, self.queued_at)?;
        if let Some(due) = &self.due_at {
            write!(f, ", due at {due}")?;
        }
        if !self.waits_for.is_empty() {
            write!(f, ", waits for {}", listed(&self.waits_for))?;
        }
        Ok(())
    }
}

impl fmt::Display for RecordReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {} -> {}", self.table, self.record, self.resource)?;
        let version = self.version.map(|version| format!(", row version {version}")).unwrap_or_default();
        writeln!(
            f,
            "  {}{version}",
            match self.state {
                "unknown" => "nothing is recorded of it",
                "written" => "written to Campaign",
                "doubted" => "an attempt ended without an answer: nobody knows what Campaign holds of it",
                _ => "not in Campaign, as far as this store knows",
            }
        )?;
        for entry in &self.entries {
            writeln!(f, "  {entry}")?;
        }
        if let Some(at) = &self.verified_at {
            writeln!(f, "  written once more at {at}, because an attempt without an answer may still take effect")?;
        }
        if let Some(letter) = &self.dead_letter {
            let field = letter.field.as_ref().map(|field| format!(" in {field}")).unwrap_or_default();
            writeln!(
                f,
                "  dead letter {}: {}{field}: {} ({} attempts, {})",
                letter.id, letter.reason, letter.explanation, letter.attempts, letter.at
            )?;
            if !letter.waits_for.is_empty() {
                writeln!(f, "    waits for {}", listed(&letter.waits_for))?;
            }
            writeln!(f, "    Remedy: {}", letter.remedy)?;
        }
        for child in &self.children {
            let given_up = if child.given_up { ", as a dead letter" } else { "" };
            writeln!(f, "  {} {} waits for it{given_up}", child.table, child.record)?;
        }
        if self.children_count > self.children.len() as u64 {
            writeln!(f, "  {} records wait for it in all", self.children_count)?;
        }
        for pause in &self.pauses {
            writeln!(f, "  {} is paused until {}", pause.of, pause.until)?;
        }
        for request in &self.requests {
            writeln!(f, "  a {} was asked for at {} (request {})", request.request, request.asked_at, request.id)?;
        }
        let stream = &self.stream;
        write!(f, "  {}; {}, backlog {}", self.workflow, stream.phase, stream.backlog)?;
        if let Some(age) = stream.position_age_seconds {
            let state = stream.position_state.map(|state| format!(", {state}")).unwrap_or_default();
            write!(f, "; read up to {age} s ago{state}")?;
        }
        if let Some(pass) = &stream.pass {
            write!(f, "; a pass over the whole table is under way ({} rows met)", pass.rows)?;
        }
        if let Some(reason) = &self.last_error {
            write!(f, "\n  {} Remedy: {}", reason.message, reason.remedy)?;
        }
        Ok(())
    }
}
