//! How far the changes of a side are followed: what lets the gate take a state that was read long ago for a present one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use consent::{Party, SharedLedger};
use record::{Change, Key};
use sync_core::engine::reader::PassNote;
use sync_core::traits::{BatchLimit, ChangeBatch, PassKind, Phase, ScanDepth, ScanPage, Source, SourceCaps, Store};
use sync_core::{EndpointError, Position, StatusReason, StreamId};
use timing::SharedClock;

/// The ledger is told no more often than this: the gate counts in hours.
const EVERY: Duration = Duration::from_secs(60);

/// A change feed, which tells the ledger up to when all its changes were looked at.
///
/// That is so up to the beginning of a poll once the poll was read to its end, its position is durable and nothing of the stream is
/// unsettled. Nothing is noted while a snapshot, or the sweep that closes it, is under way; nor of a poll whose beginning an earlier run
/// saw. What cannot be noted now is noted later, or the gate closes.
#[derive(Debug)]
pub(crate) struct Following {
    source: Arc<dyn Source>,
    /// Whether a position stands behind a whole poll, and not within one.
    at_end: fn(&Position) -> bool,
    party: Party,
    stream: StreamId,
    store: Arc<dyn Store>,
    ledger: SharedLedger,
    clock: SharedClock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The poll under way: where its next page is, and when it began.
    poll: Option<(Position, i64)>,
    /// The last poll that was read to its end.
    complete: Option<(Position, i64)>,
    noted: Option<Duration>,
}

impl Following {
    pub(crate) fn new(
        source: Arc<dyn Source>,
        at_end: fn(&Position) -> bool,
        party: Party,
        stream: StreamId,
        (store, ledger, clock): (Arc<dyn Store>, SharedLedger, SharedClock),
    ) -> Self {
        Self { source, at_end, party, stream, store, ledger, clock, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> i64 {
        self.clock.now().timestamp_millis()
    }

    /// When the poll began of which the page behind this position is; nothing where nobody knows.
    fn began(&self, after: &Position) -> Option<i64> {
        match &self.state().poll {
            Some((next, began)) if next == after => Some(*began),
            _ => (self.at_end)(after).then(|| self.now_ms()),
        }
    }

    /// Tells the ledger, if there is something to tell. A failure is no more than that: it is told later.
    pub(crate) async fn tell(&self) {
        let now = self.clock.monotonic();
        let complete = {
            let state = self.state();
            let due = state.noted.is_none_or(|noted| now.saturating_sub(noted) >= EVERY);
            state.complete.clone().filter(|_| due)
        };
        let Some((position, until_ms)) = complete else { return };
        match self.is_settled(&position).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::debug!(stream = %self.stream, %error, "how far the changes are followed could not be found out");
                return;
            }
        }
        let told = match self.ledger.followed_until(self.party) {
            // What was read since the beginning of the snapshot, or the end of the last note, is followed on.
            Ok(from) => self.ledger.followed(self.party, from.unwrap_or(until_ms), until_ms).await,
            Err(error) => Err(error),
        };
        match told {
            Ok(()) => self.state().noted = Some(now),
            Err(error) => {
                tracing::debug!(stream = %self.stream, kind = ?error.kind(), "how far the changes are followed could not be noted");
            }
        }
    }

    /// Whether everything up to a position is durable and settled, and no sweep is to find what no poll tells.
    async fn is_settled(&self, position: &Position) -> Result<bool, sync_core::StoreError> {
        let checkpoint = self.store.load(&self.stream).await?;
        let durable =
            checkpoint.is_some_and(|at| at.phase == Phase::Incremental && at.position.as_ref() == Some(position));
        if !durable || self.store.stats(&self.stream).await?.depth() > 0 {
            return Ok(false);
        }
        let Some(note) = self.store.get(&PassNote::name(&self.stream)).await? else { return Ok(true) };
        let Ok(note) = serde_json::from_slice::<PassNote>(&note) else { return Ok(false) };
        let closing = Some(PassKind::Closing);
        Ok(note.due != closing && note.running.map(|running| running.kind) != closing)
    }

    /// A snapshot begins: what is looked at from now on counts, once its changes are followed.
    async fn begin(&self) {
        if let Ok(None) = self.ledger.followed_until(self.party) {
            let now_ms = self.now_ms();
            // Without it, what the snapshot leads to grows old in the gate.
            if let Err(error) = self.ledger.followed(self.party, now_ms, now_ms).await {
                tracing::debug!(stream = %self.stream, kind = ?error.kind(), "the beginning of a snapshot could not be noted");
            }
        }
    }
}

#[async_trait]
impl Source for Following {
    fn capabilities(&self) -> SourceCaps {
        self.source.capabilities()
    }

    async fn read(&self, after: Option<&Position>, limit: BatchLimit) -> Result<ChangeBatch, EndpointError> {
        match after {
            Some(_) => self.tell().await,
            None => self.begin().await,
        }
        let began = after.and_then(|after| self.began(after));
        let batch = self.source.read(after, limit).await?;
        let mut state = self.state();
        state.poll = began.filter(|_| batch.more).map(|began| (batch.next.clone(), began));
        if let (Some(began), false, Phase::Incremental) = (began, batch.more, batch.phase) {
            state.complete = Some((batch.next.clone(), began));
        }
        drop(state);
        Ok(batch)
    }

    async fn scan(
        &self,
        after: Option<&Position>,
        limit: BatchLimit,
        depth: ScanDepth,
    ) -> Result<ScanPage, EndpointError> {
        self.source.scan(after, limit, depth).await
    }

    fn notice(&self) -> Option<StatusReason> {
        self.source.notice()
    }

    async fn fetch(&self, keys: &[Key]) -> Result<Vec<Change>, EndpointError> {
        self.source.fetch(keys).await
    }
}
