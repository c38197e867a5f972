//! What a workflow says of itself.

use serde::{Deserialize, Serialize};

/// The status of a workflow, with the reason where there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowStatus {
    /// The state.
    pub state: WorkflowState,
    /// Why it failed, or what holds it up at present.
    pub reason: Option<StatusReason>,
}

/// The four states of a workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum WorkflowState {
    /// Nothing is syncing.
    Stopped,
    /// A start was asked for; nothing is syncing yet.
    Starting,
    /// Reading and writing.
    Running,
    /// An error that it could not recover from.
    Failed,
}

impl WorkflowState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Stopped, Self::Starting, Self::Running, Self::Failed];

    /// The name, as it is serialised.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "STOPPED",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Failed => "FAILED",
        }
    }
}

/// A reason with its remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReason {
    /// A stable code in kebab case.
    pub code: String,
    /// What happened.
    pub message: String,
    /// How to mend it.
    pub remedy: String,
}

impl WorkflowStatus {
    /// A status without a reason.
    pub fn new(state: WorkflowState) -> Self {
        Self { state, reason: None }
    }
}
