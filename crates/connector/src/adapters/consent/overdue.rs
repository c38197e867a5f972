//! The daily file of opt-outs that did not come: what is remembered of the last one, and what is said of it.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use sync_core::traits::StateStore;
use sync_core::{StatusReason, StoreError};

use crate::config::{Config, OptOutSource};

/// The stable code of the reason.
const CODE: &str = "opt-out-file-overdue";

/// Where the note is kept.
const NOTE: &str = "opt-out-files";

/// What is remembered of the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileNote {
    /// When the last file was read to its end, or the first look was taken where none was: milliseconds since 1970.
    pub(crate) since_ms: i64,
    /// Whether a file was ever read.
    pub(crate) came: bool,
    /// The last attempt to start the workflow that writes them.
    pub(crate) attempt: Option<Attempt>,
}

/// An attempt to have a workflow in Campaign write again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    /// When it was made: milliseconds since 1970.
    pub(crate) at_ms: i64,
    /// How it ended.
    pub(crate) end: AttemptEnd,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AttemptEnd {
    /// The command was sent; the answer is not known.
    Sent,
    /// It was in this state, and was started.
    Started(String),
    /// It is started already, and was left alone.
    Runs,
    /// It cannot be started, for this reason.
    Refused(String),
}

/// What is expected of the files.
#[derive(Debug, Clone)]
pub(crate) struct Expectation {
    /// How long after one file the next one comes at the latest.
    pub(crate) within: Duration,
    /// The workflow that writes them, where it may be started.
    pub(crate) workflow: Option<String>,
}

impl Expectation {
    /// What a configuration expects; nothing where no files are read.
    pub(crate) fn of(config: &Config) -> Option<Self> {
        let opt_out = &config.opt_out;
        let reads = opt_out.direction.reads_campaign() && matches!(opt_out.source, Some(OptOutSource::Export { .. }));
        let within = opt_out.expect_file_within.filter(|_| reads)?;
        Some(Self { within, workflow: opt_out.workflow.clone() })
    }

    /// When the next file is expected at the latest: milliseconds since 1970.
    pub(crate) fn until_ms(&self, note: &FileNote) -> i64 {
        note.since_ms.saturating_add(i64::try_from(self.within.as_millis()).unwrap_or(i64::MAX))
    }

    /// What is to be said; nothing while the next file has time.
    pub(crate) fn overdue(&self, note: &FileNote, now_ms: i64) -> Option<StatusReason> {
        if now_ms < self.until_ms(note) {
            return None;
        }
        let since = if note.came { "since" } else { "yet; it is waited for since" };
        let (what, remedy) = self.story(note.attempt.as_ref());
        let message = format!(
            "No file of opt-outs came {since} {}, and one is expected within {}.{what}",
            time(note.since_ms),
            span(self.within)
        );
        Some(StatusReason { code: CODE.to_owned(), message, remedy })
    }

    /// What was done about it, and what is left to do.
    fn story(&self, attempt: Option<&Attempt>) -> (String, String) {
        let Some(workflow) = &self.workflow else {
            let remedy = "Start the workflow in Campaign that writes the files again, and check opt_out.source.export; with \
                          opt_out.workflow that is done here.";
            return (String::new(), remedy.to_owned());
        };
        let wait = format!("Wait for the file; if none comes, look at the workflow {workflow} in Campaign.");
        let Some(Attempt { at_ms, end }) = attempt else {
            return (format!(" The state of the workflow {workflow} could not be asked for yet."), wait);
        };
        let at = time(*at_ms);
        match end {
            AttemptEnd::Sent => (format!(" The workflow {workflow} was told to start at {at}."), wait),
            AttemptEnd::Started(state) => {
                (format!(" The workflow {workflow} was {state} and was started again at {at}."), wait)
            }
            AttemptEnd::Runs => (
                format!(" The workflow {workflow} was started when it was asked at {at}."),
                format!(
                    "Look at the log of {workflow} in Campaign, and at folder and pattern of opt_out.source.export."
                ),
            ),
            AttemptEnd::Refused(why) => (
                format!(" The workflow {workflow} could not be started at {at}: {why}."),
                format!("Start {workflow} in Campaign, and correct opt_out.workflow if it is another one."),
            ),
        }
    }
}

/// Whether a workflow works in a state.
pub(crate) fn is_started(state: &str) -> bool {
    state.eq_ignore_ascii_case("started")
}

/// What is remembered; nothing before the first look.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn note(store: &(impl StateStore + ?Sized)) -> Result<Option<FileNote>, StoreError> {
    Ok(store.get(NOTE).await?.and_then(|text| serde_json::from_slice(&text).ok()))
}

/// Remembers it.
///
/// # Errors
/// When the store cannot be written.
#[cfg(feature = "exchange")]
pub(crate) async fn keep(
    store: &std::sync::Arc<dyn sync_core::traits::Store>,
    note: &FileNote,
) -> Result<(), StoreError> {
    crate::adapters::kept::put(store, NOTE, &serde_json::to_vec(note).unwrap_or_default()).await
}

/// A time as it is shown.
pub(crate) fn time(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A span as it is written in the configuration.
fn span(span: Duration) -> String {
    match span.as_secs() {
        seconds if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        seconds if seconds % 60 == 0 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}
