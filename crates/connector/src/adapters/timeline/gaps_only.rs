//! A second source of the same events, cut to what the first one did not tell.

use std::sync::Arc;

use async_trait::async_trait;
use record::{Change, ChangeBody, Key};
use sync_core::traits::{BatchLimit, ChangeBatch, Source, SourceCaps, Store};
use sync_core::{EndpointError, EndpointErrorKind, Position, StoreError, StreamId};

/// Passes on the events that another stream has not written.
///
/// Both streams give an event the same id and write the same row, so this saves requests and is not what keeps events single: what
/// the first stream tells later than this one is written once more, with no effect. It costs one look into the store for each
/// answer of the source.
#[derive(Debug)]
pub(crate) struct GapsOnly {
    source: Arc<dyn Source>,
    store: Arc<dyn Store>,
    first: StreamId,
}

impl GapsOnly {
    pub(crate) fn new(source: Arc<dyn Source>, store: Arc<dyn Store>, first: StreamId) -> Self {
        Self { source, store, first }
    }

    async fn untold(&self, changes: Vec<Change>) -> Result<Vec<Change>, StoreError> {
        let keys: Vec<Key> = changes.iter().map(|change| change.key.clone()).collect();
        let known = self.store.get_many(&self.first, &keys).await?;
        // Only what certainly arrived counts: a row whose outcome is open has no digest.
        let written = known.into_iter().map(|row| row.is_some_and(|row| row.bound && row.digest.is_some()));
        let untold = changes.into_iter().zip(written).filter(|(change, written)| {
            // A row that cannot be read is never one that was written.
            !written || matches!(change.body, ChangeBody::Unreadable { .. })
        });
        Ok(untold.map(|(change, _)| change).collect())
    }
}

#[async_trait]
impl Source for GapsOnly {
    fn capabilities(&self) -> SourceCaps {
        self.source.capabilities()
    }

    async fn read(&self, after: Option<&Position>, limit: BatchLimit) -> Result<ChangeBatch, EndpointError> {
        let batch = self.source.read(after, limit).await?;
        let changes = self.untold(batch.changes).await.map_err(|error| {
            EndpointError::new(
                EndpointErrorKind::Unavailable,
                "store-unreadable",
                "The store cannot tell what was written.",
                "Look at the store; nothing is to be done if it passes.",
            )
            .with_source(error)
        })?;
        Ok(ChangeBatch { changes, ..batch })
    }

    async fn fetch(&self, keys: &[Key]) -> Result<Vec<Change>, EndpointError> {
        self.source.fetch(keys).await
    }
}
