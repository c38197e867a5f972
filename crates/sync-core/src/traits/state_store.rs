use async_trait::async_trait;

use super::{Lease, PendingRequest, Request};
use crate::{Position, StoreError, StreamId, Tally};

/// Whether a stream is reading the whole table or the changes after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The whole table, page by page.
    Snapshot,
    /// Changes since the snapshot.
    Incremental,
}

/// How far a stream has read, durably.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The lineage of the position: a new snapshot starts a new generation (the first is 1).
    pub generation: u64,
    /// What the position continues.
    pub phase: Phase,
    /// Where to go on; `None` before the first page.
    pub position: Option<Position>,
    /// Grows with every change of this checkpoint; a writer that brings an older one is refused.
    pub version: u64,
    /// What happened to the records of this stream since the store was made.
    pub totals: Tally,
    /// When the last page was appended, in milliseconds since 1970 (UTC).
    pub at_ms: i64,
}

/// Checkpoints and small values.
#[async_trait]
pub trait StateStore: Send + Sync {
    /// The checkpoint of a stream; `None` before anything was read.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn load(&self, stream: &StreamId) -> Result<Option<Checkpoint>, StoreError>;

    /// Forgets the position and starts the given generation with a snapshot. The backlog stays.
    ///
    /// # Errors
    /// `Conflict` when the checkpoint is not at `expected_version` (0 stands for "there is none").
    async fn reset(
        &self,
        lease: &Lease,
        stream: &StreamId,
        expected_version: u64,
        generation: u64,
    ) -> Result<Checkpoint, StoreError>;

    /// A small value; `None` when it was never put.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Leaves a request of an operator. It needs no lease: whoever runs the workflow carries it out. Answers its number.
    ///
    /// # Errors
    /// When the store cannot be written.
    async fn leave_request(&self, request: &Request, now_ms: i64) -> Result<u64, StoreError>;

    /// Requests that nobody has carried out yet, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn requests(&self) -> Result<Vec<PendingRequest>, StoreError>;

    /// Removes a request that was carried out. One that is gone already is no error.
    ///
    /// # Errors
    /// `Fenced` for an old lease.
    async fn finish_request(&self, lease: &Lease, id: u64) -> Result<(), StoreError>;

    /// Puts a small value (pause gate, last error, how far a sweep is).
    ///
    /// # Errors
    /// `Fenced` for an old lease.
    async fn put(&self, lease: &Lease, name: &str, value: &[u8]) -> Result<(), StoreError>;
}
