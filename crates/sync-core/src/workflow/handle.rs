use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::engine::Board;
use crate::telemetry::{Meter, Metrics};
use crate::{StatusReason, StreamId, Tally, WorkflowState, WorkflowStatus};

/// A running workflow. Dropping it ends the run at once, as the end of the process would: nothing is lost, and what was in
/// flight is taken care of by the next run. Use [`WorkflowHandle::stop`] to end in good order.
#[derive(Debug)]
pub struct WorkflowHandle {
    board: Arc<Board>,
    meter: Meter,
    stop: CancellationToken,
    task: JoinHandle<WorkflowStatus>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunReport {
    /// The last status.
    pub status: WorkflowStatus,
    /// What was counted in this run, in the order of the configuration.
    pub streams: Vec<StreamReport>,
    /// Dead letters added in this run.
    pub dead_added: u64,
}

/// What a run did for one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamReport {
    /// The stream.
    pub id: StreamId,
    /// What was counted in this run.
    pub tally: Tally,
}

impl WorkflowHandle {
    pub(super) fn new(meter: Meter, stop: CancellationToken, task: JoinHandle<WorkflowStatus>) -> Self {
        Self { board: meter.board().clone(), meter, stop, task }
    }

    /// The status now.
    pub fn status(&self) -> WorkflowStatus {
        self.board.status()
    }

    /// Follows the status.
    pub fn watch(&self) -> watch::Receiver<WorkflowStatus> {
        self.board.watch()
    }

    /// What was counted so far in this run, in the order of the configuration.
    pub fn tallies(&self) -> Vec<(StreamId, Tally)> {
        self.board.tallies()
    }

    /// Unsettled entries of each stream, in the order of the configuration.
    pub fn backlog(&self) -> Vec<(StreamId, u64)> {
        let tallies = self.board.tallies();
        tallies.into_iter().enumerate().map(|(index, (id, _))| (id, self.board.depth(index))).collect()
    }

    /// Depths, ages, rates and counts at this moment. What the store holds is asked of it; when it cannot answer, that part is
    /// left out.
    ///
    /// # Cancellation safety
    /// Dropping the future loses nothing.
    pub async fn metrics(&self) -> Metrics {
        self.meter.read().await
    }

    /// What answers [`WorkflowHandle::metrics`] beside the handle, and after its end.
    pub fn meter(&self) -> Meter {
        self.meter.clone()
    }

    /// Asks for the end in good order: nothing new is read or claimed, requests in flight are awaited up to a deadline, and
    /// claimed entries that were not sent are given back. Answers at once; [`WorkflowHandle::join`] waits.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// A switch that does the same as [`WorkflowHandle::stop`], for signal handlers.
    pub fn stopper(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Waits for the end.
    ///
    /// # Cancellation safety
    /// Dropping the future drops the handle, which ends the run at once.
    pub async fn join(mut self) -> RunReport {
        let status = match (&mut self.task).await {
            Ok(status) => status,
            Err(_) => {
                let reason = StatusReason {
                    code: "engine-ended".to_owned(),
                    message: "The workflow's task ended without an answer.".to_owned(),
                    remedy: "Start the workflow again; nothing is lost.".to_owned(),
                };
                self.board.enter(WorkflowState::Failed, Some(reason));
                self.board.status()
            }
        };
        let tallies = self.board.tallies();
        let dead_added = tallies.iter().map(|(_, tally)| tally.dead).sum();
        let streams = tallies.into_iter().map(|(id, tally)| StreamReport { id, tally }).collect();
        RunReport { status, streams, dead_added }
    }
}

impl Drop for WorkflowHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}
