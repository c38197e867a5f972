use async_trait::async_trait;
use record::Key;

use super::{Lease, RecordLife};
use crate::{Digest, StoreError, StreamId};

/// What is known of one record at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexRow {
    /// Whether the destination holds the record, as far as we wrote it.
    pub bound: bool,
    /// The digest of the update body last written; `None` when an attempt ended with its outcome open, so that nobody knows
    /// what the destination holds of the key.
    pub digest: Option<Digest>,
    /// The source version last written, or met unchanged since.
    pub version: Option<i64>,
    /// The newest generation or pass that met this key.
    pub seen: u64,
}

/// One row per record that the destination holds, or may hold.
#[async_trait]
pub trait RecordIndex: Send + Sync {
    /// Rows of the given keys, in their order.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn get_many(&self, stream: &StreamId, keys: &[Key]) -> Result<Vec<Option<IndexRow>>, StoreError>;

    /// The newest source version known of each key, in their order: of what was written, of what waits in the backlog, and of
    /// what became a dead letter. `None` where none is known.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn known_versions(&self, stream: &StreamId, keys: &[Key]) -> Result<Vec<Option<i64>>, StoreError>;

    /// Everything known of one record, as it is at one moment: what was written, what waits, what failed, and who waits for
    /// it, in whatever stream. For a record of which nothing is known, an empty life.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn record_life(&self, stream: &StreamId, key: &Key) -> Result<RecordLife, StoreError>;

    /// How many records the destination holds, or may hold.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn bound_count(&self, stream: &StreamId) -> Result<u64, StoreError>;

    /// Keys of the index whose newest `seen` is below `generation`, in key order after `after`, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn unseen(
        &self,
        stream: &StreamId,
        generation: u64,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError>;

    /// Marks keys as met by `generation` (a vanished record was confirmed to exist after all).
    ///
    /// # Errors
    /// `Fenced` for an old lease.
    async fn mark_seen(
        &self,
        lease: &Lease,
        stream: &StreamId,
        keys: &[Key],
        generation: u64,
    ) -> Result<(), StoreError>;
}
