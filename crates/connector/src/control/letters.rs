//! Records that could not be written.

use serde::Serialize;
use sync_core::StreamId;
use sync_core::traits::{Backlog, DeadLetter, DeadLetterQuery, LetterFilter};

use super::{open, store_error};
use crate::config::Config;
use crate::error::Error;
use crate::workflows::streams;

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

impl DeadLetterFilter {
    /// The same for one stream, or for all.
    pub(super) fn of(&self, stream: Option<StreamId>) -> LetterFilter {
        LetterFilter { stream, code: self.reason.clone(), ids: self.ids.clone(), before_ms: None }
    }
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

/// Lists dead letters, oldest first, without their data.
///
/// # Errors
/// When the store exists and cannot be read, or the table is not configured. A store that does not exist yet holds none.
pub async fn dead_letters(config: &Config, filter: &DeadLetterFilter) -> Result<Vec<DeadLetterView>, Error> {
    let named = filter.table.as_deref().map(|table| super::streams(config, Some(table))).transpose()?;
    if !config.store.sqlite.exists() {
        return Ok(Vec::new());
    }
    let store = open(config)?;
    let mut views = Vec::new();
    let wanted = named.map_or_else(|| vec![None], |named| named.into_iter().map(|stream| Some(stream.id)).collect());
    for stream in wanted {
        let mut query = DeadLetterQuery { filter: filter.of(stream), after: None, limit: 1000 };
        loop {
            let letters = store.dead_letters(&query).await.map_err(|error| store_error(config, error))?;
            let Some(last) = letters.last() else { break };
            query.after = Some(last.id);
            views.extend(letters.into_iter().map(|letter| view(config, letter)));
        }
    }
    views.sort_by_key(|view| view.id);
    Ok(views)
}

fn view(config: &Config, letter: DeadLetter) -> DeadLetterView {
    DeadLetterView {
        id: letter.id,
        table: streams::table_of(config, &letter.stream),
        record: letter.key.to_text(),
        reason: letter.rejection.code,
        field: letter.rejection.field,
        explanation: letter.rejection.explanation,
        attempts: letter.attempts,
        at: chrono::DateTime::from_timestamp_millis(letter.at_ms).unwrap_or_default().to_rfc3339(),
    }
}
