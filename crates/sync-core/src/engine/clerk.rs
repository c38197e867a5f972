//! The clerk of a run: renews the lease, hands out what operators ask for, gives up on what waited too long, and forgets what
//! is kept long enough.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::policy::millis;
use super::reader::{Order, OrderKind};
use super::{Run, store_reason};
use crate::traits::{LetterFilter, PendingRequest, Rejection, ReplayStart, Request, SyncEvent};
use crate::{StatusReason, StoreError, Tally};

/// How often the store is asked for requests.
const REQUEST_POLL: Duration = Duration::from_secs(1);
/// How often what waits or is kept is looked through.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// What the clerk remembers.
#[derive(Debug, Default)]
pub(crate) struct Clerk {
    /// Requests that were handed out, or that wait for another start.
    seen: HashSet<u64>,
    renewed: Option<Duration>,
    tidied: Option<Duration>,
}

impl Clerk {
    /// The first round, before anything is read: also requests that waited for a start are handed out.
    pub(crate) async fn begin(run: &Run) -> Result<Self, StoreError> {
        let mut clerk = Self::default();
        clerk.hand_out(run, true).await?;
        Ok(clerk)
    }

    /// Works until it is dropped.
    ///
    /// # Errors
    /// When the store fails or the lease is lost: the run has to end.
    pub(crate) async fn work(mut self, run: Arc<Run>) -> StatusReason {
        loop {
            if let Err(error) = self.round(&run).await {
                return store_reason(&error);
            }
            let renewal = run.lease.ttl.map_or(REQUEST_POLL, |ttl| ttl / 3);
            run.spec.clock.sleep(REQUEST_POLL.min(renewal)).await;
        }
    }

    async fn round(&mut self, run: &Run) -> Result<(), StoreError> {
        let now = run.spec.clock.monotonic();
        let due = |last: Option<Duration>, every: Duration| last.is_none_or(|last| now.saturating_sub(last) >= every);
        if run.lease.ttl.is_some_and(|ttl| due(self.renewed, ttl / 3)) {
            run.spec.store.renew(&run.lease, run.spec.options.lease_ttl).await?;
            self.renewed = Some(now);
            let waited = !run.may_start(now);
            run.hold_until(now);
            if waited {
                run.board.wake.notify_one();
            }
        }
        self.hand_out(run, false).await?;
        if due(self.tidied, TIDY_EVERY) {
            self.tidied = Some(now);
            tidy(run).await?;
        }
        Ok(())
    }

    async fn hand_out(&mut self, run: &Run, starting: bool) -> Result<(), StoreError> {
        for PendingRequest { id, request, .. } in run.spec.store.requests().await? {
            if self.seen.contains(&id) {
                continue;
            }
            let done = match request {
                Request::Drop(filter) => drop_letters(run, filter).await?,
                // One whose time has not come is not looked at again by this run.
                Request::Replay { when: ReplayStart::NextStart, .. } if !starting => false,
                Request::Replay { stream, .. } => {
                    order(run, |index| run.stream_at(index).is_some_and(|own| *own == stream), id, &OrderKind::Replay);
                    false
                }
                Request::Requeue(filter) => {
                    let wanted = filter.stream.clone();
                    let fits =
                        |index| run.stream_at(index).is_some_and(|own| wanted.as_ref().is_none_or(|id| id == own));
                    order(run, fits, id, &OrderKind::Requeue(filter));
                    false
                }
            };
            if done {
                run.spec.store.finish_request(&run.lease, id).await?;
                run.board.emit(&SyncEvent::RequestDone { id });
            }
            self.seen.insert(id);
        }
        Ok(())
    }
}

/// Gives an order to every stream that it concerns; the last of them to carry it out finishes it.
fn order(run: &Run, concerns: impl Fn(usize) -> bool, id: u64, what: &OrderKind) {
    let streams: Vec<usize> = (0..run.spec.streams.len()).filter(|index| concerns(*index)).collect();
    if !streams.is_empty() {
        run.board.share_order(id, streams.len());
    }
    for index in streams {
        run.board.order(index, Order { id, what: what.clone() });
    }
}

/// Forgets dead letters of this run's streams; those of another workflow are that one's. Answers whether the request is done
/// with that.
async fn drop_letters(run: &Run, filter: LetterFilter) -> Result<bool, StoreError> {
    let own = |id: &crate::StreamId| run.spec.streams.iter().any(|stream| stream.id == *id);
    if filter.stream.as_ref().is_some_and(|stream| !own(stream)) {
        return Ok(false);
    }
    for stream in &run.spec.streams {
        if filter.stream.as_ref().is_none_or(|wanted| *wanted == stream.id) {
            let filter = LetterFilter { stream: Some(stream.id.clone()), ..filter.clone() };
            let count = run.spec.store.drop_dead_letters(&run.lease, &filter).await?;
            if count > 0 {
                tracing::info!(stream = %stream.id, count, "dead letters were dropped");
            }
        }
    }
    Ok(true)
}

async fn tidy(run: &Run) -> Result<(), StoreError> {
    let now_ms = run.wall_ms();
    let options = &run.spec.options;
    for (index, stream) in run.spec.streams.iter().enumerate() {
        let before_ms = now_ms.saturating_sub(millis(options.parent_wait));
        let rejection = parent_missing();
        let dead = run.spec.store.give_up_waiting(&run.lease, &stream.id, before_ms, &rejection, now_ms).await?;
        if dead > 0 {
            run.board.count(index, Tally { dead, ..Tally::default() });
            // The writer looks anew at what is left.
            run.board.wake.notify_one();
        }
        for _ in 0..dead {
            run.board.emit(&SyncEvent::DeadLettered { stream: stream.id.clone(), rejection: rejection.clone() });
        }
        if let Some(retention) = options.dead_letter_retention {
            let before_ms = Some(now_ms.saturating_sub(millis(retention)));
            let filter = LetterFilter { stream: Some(stream.id.clone()), before_ms, ..LetterFilter::default() };
            let count = run.spec.store.drop_dead_letters(&run.lease, &filter).await?;
            if count > 0 {
                tracing::warn!(stream = %stream.id, count, "dead letters were kept for their time and are forgotten");
            }
        }
    }
    Ok(())
}

fn parent_missing() -> Rejection {
    Rejection {
        code: "parent-missing".to_owned(),
        field: None,
        explanation: "The record that this one depends on did not come. Nothing is to be done if it comes later: this one is then \
                      queued again by itself."
            .to_owned(),
    }
}
