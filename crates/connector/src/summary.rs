//! What a run did, in the form that operators and programs read.

use serde::Serialize;
use sync_core::{Tally, WorkflowStatus};

/// What a run did.
#[derive(Debug, Clone, Serialize)]
pub struct RunSummary {
    /// One per workflow.
    pub workflows: Vec<WorkflowSummary>,
    /// Record requests: an item or list of a resource, a page or row of a table.
    pub requests: Traffic,
    /// Requests that set up: tokens, metadata, discovery. They do not grow with the number of records.
    pub setup_requests: Traffic,
    /// How long the run took, in milliseconds.
    pub elapsed_ms: u64,
}

/// What one workflow did.
#[derive(Debug, Clone, Serialize)]
pub struct WorkflowSummary {
    /// `ingress`.
    pub workflow: String,
    /// `STOPPED` after a run that ended well, `FAILED` with a reason otherwise.
    #[serde(flatten)]
    pub status: StatusView,
    /// One per table, in the order of the configuration.
    pub tables: Vec<TableSummary>,
}

/// A status as it is shown: the state under `status`, the reason's parts beside it.
#[derive(Debug, Clone, Serialize)]
pub struct StatusView {
    /// `STOPPED`, `STARTING`, `RUNNING` or `FAILED`.
    pub status: sync_core::WorkflowState,
    /// Why, and how to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<sync_core::StatusReason>,
}

impl From<WorkflowStatus> for StatusView {
    fn from(status: WorkflowStatus) -> Self {
        Self { status: status.state, reason: status.reason }
    }
}

/// What was done for one table.
#[derive(Debug, Clone, Serialize)]
pub struct TableSummary {
    /// The Dynamics 365 table.
    pub table: String,
    /// The Campaign resource.
    pub resource: String,
    /// The counts; `read` is the sum of the others once the backlog is empty.
    #[serde(flatten)]
    pub tally: Tally,
}

/// Requests per side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// To Dynamics 365.
    pub dataverse: u64,
    /// To Campaign.
    pub campaign: u64,
}

impl RunSummary {
    /// All counts of all tables together.
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        for table in self.workflows.iter().flat_map(|workflow| &workflow.tables) {
            total += table.tally;
        }
        total
    }
}
