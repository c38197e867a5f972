use serde::{Deserialize, Serialize};

use crate::StreamId;

/// What an operator asks of a workflow. It is kept in the store until the running workflow, or the next one, has carried it
/// out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Write every record of a stream again.
    Replay {
        /// The stream.
        stream: StreamId,
        /// When it begins.
        when: ReplayStart,
    },
    /// Read the records of these dead letters again, and queue what becomes of them.
    Requeue(LetterFilter),
    /// Forget these dead letters; their records stay as they are at the destination.
    Drop(LetterFilter),
}

/// When a replay begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayStart {
    /// With the next start of the workflow.
    NextStart,
    /// At once, where the workflow runs; otherwise with its next start.
    Now,
}

/// Which dead letters. What is not said does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterFilter {
    /// Of this stream only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamId>,
    /// With this code only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// With these ids only; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<u64>,
    /// Made before this time only, in milliseconds since 1970 (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_ms: Option<i64>,
}

/// A request in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingRequest {
    /// Its number; grows in the order of asking.
    pub id: u64,
    /// What is asked.
    pub request: Request,
    /// When it was asked, in milliseconds since 1970 (UTC).
    pub at_ms: i64,
}
