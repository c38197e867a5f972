//! Watches over files that are expected, and has the workflow that writes them started again when none comes.

use std::sync::{Arc, Mutex, PoisonError};

use campaign_client::{Delivery, WorkflowApi, WorkflowCommand};
use sync_core::traits::Store;
use sync_core::{StatusReason, StoreError};
use timing::SharedClock;

use crate::adapters::consent::overdue::{self, Attempt, AttemptEnd, Expectation, FileNote};

/// The watch over the files of one source.
#[derive(Debug)]
pub(crate) struct FileWatch {
    expected: Expectation,
    workflows: WorkflowApi,
    store: Arc<dyn Store>,
    clock: SharedClock,
    reason: Mutex<Option<StatusReason>>,
}

impl FileWatch {
    pub(crate) fn new(
        expected: Expectation,
        workflows: WorkflowApi,
        store: Arc<dyn Store>,
        clock: SharedClock,
    ) -> Self {
        Self { expected, workflows, store, clock, reason: Mutex::default() }
    }

    /// What is to be said at present.
    pub(crate) fn reason(&self) -> Option<StatusReason> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of a look into the folder: whether a file was read to its end. A store that cannot be asked shows by itself, and
    /// the next look notes what this one could not.
    pub(crate) async fn looked(&self, came: bool) {
        match self.noted(came).await {
            Ok(reason) => *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason,
            Err(error) => tracing::debug!(kind = ?error.kind(), "the watch over files could not be noted"),
        }
    }

    async fn noted(&self, came: bool) -> Result<Option<StatusReason>, StoreError> {
        let now_ms = self.clock.now().timestamp_millis();
        let known = overdue::note(self.store.as_ref()).await?;
        let mut note = match known {
            Some(note) if !came => note,
            _ => {
                let note = FileNote { since_ms: now_ms, came, attempt: None };
                overdue::keep(&self.store, &note).await?;
                note
            }
        };
        if self.expected.overdue(&note, now_ms).is_none() {
            return Ok(None);
        }
        let tried = note.attempt.as_ref().map(|attempt| FileNote { since_ms: attempt.at_ms, ..note.clone() });
        // Once for each file that did not come, and not each time that somebody looks.
        let due = tried.is_none_or(|tried| now_ms >= self.expected.until_ms(&tried));
        if let Some(workflow) = self.expected.workflow.as_deref().filter(|_| due) {
            note.attempt = self.start(workflow, &note, now_ms).await?;
            overdue::keep(&self.store, &note).await?;
        }
        let reason = self.expected.overdue(&note, now_ms);
        if due && let Some(reason) = &reason {
            tracing::warn!("{}", reason.message);
        }
        Ok(reason)
    }

    /// Has the workflow started, unless it is. `None` where that could not be asked: the next look tries again.
    async fn start(&self, workflow: &str, note: &FileNote, now_ms: i64) -> Result<Option<Attempt>, StoreError> {
        let made = |end: AttemptEnd| Some(Attempt { at_ms: now_ms, end });
        let state = match self.workflows.get(workflow).await {
            Ok(found) => found.state,
            Err(error) if error.is_transient() => return Ok(None),
            Err(error) => return Ok(made(AttemptEnd::Refused(error.to_string()))),
        };
        if state.as_deref().is_some_and(overdue::is_started) {
            return Ok(made(AttemptEnd::Runs));
        }
        // Whoever finds this after a crash does not send it a second time.
        overdue::keep(&self.store, &FileNote { attempt: made(AttemptEnd::Sent), ..note.clone() }).await?;
        Ok(match self.workflows.command(workflow, WorkflowCommand::Start).await {
            Ok(()) => made(AttemptEnd::Started(state.unwrap_or_else(|| "in no state that it tells".to_owned()))),
            Err(error) if error.delivery() == Delivery::NotSent && error.is_transient() => None,
            Err(error) if error.delivery() == Delivery::MaybeApplied => made(AttemptEnd::Sent),
            Err(error) => made(AttemptEnd::Refused(error.to_string())),
        })
    }
}
