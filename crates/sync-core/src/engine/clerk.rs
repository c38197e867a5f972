//! The clerk of a run: renews the lease, hands out what operators ask for, gives up on what waited too long, and forgets what
//! is kept long enough.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use super::policy::millis;
use super::reader::{Order, OrderKind};
use super::{Run, store_reason};
use crate::telemetry::spans;
use crate::traits::{LetterFilter, PendingRequest, Rejection, ReplayStart, Request, SyncEvent};
use crate::{StatusReason, StoreError, StreamId, Tally};

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
            let last = self.renewed.replace(now);
            let waited = !run.may_start(now);
            run.hold_until(now);
            if waited {
                let due = last.zip(run.lease.ttl).map_or(now, |(last, ttl)| last + ttl / 3);
                let late_ms = millis(now.saturating_sub(due)).unsigned_abs();
                run.board.emit(&SyncEvent::LeaseRenewedLate { late_ms });
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
            // One whose time has not come is not looked at again by this run.
            if starting || !matches!(request, Request::Replay { when: ReplayStart::NextStart, .. }) {
                let span = spans::request(id, kind(&request));
                carry_out(run, id, request).instrument(span).await?;
            }
            self.seen.insert(id);
        }
        Ok(())
    }
}

/// Carries out a request, or hands it to the streams that it concerns.
async fn carry_out(run: &Run, id: u64, request: Request) -> Result<(), StoreError> {
    let kind = kind(&request);
    let own = |index: usize, wanted: Option<&StreamId>| {
        run.stream_at(index).is_some_and(|own| wanted.is_none_or(|wanted| wanted == own))
    };
    let (wanted, what) = match request {
        Request::Replay { stream, .. } => (Some(stream), OrderKind::Replay),
        Request::Requeue(filter) => (filter.stream.clone(), OrderKind::Requeue(filter)),
        Request::Drop(filter) => {
            let wanted = filter.stream.clone();
            if (0..run.spec.streams.len()).any(|index| own(index, wanted.as_ref())) {
                run.board.emit(&SyncEvent::RequestBegun { id, kind });
                drop_letters(run, filter).await?;
                run.spec.store.finish_request(&run.lease, id).await?;
                run.board.emit(&SyncEvent::RequestDone { id });
            }
            return Ok(());
        }
    };
    if order(run, |index| own(index, wanted.as_ref()), id, &what) {
        run.board.emit(&SyncEvent::RequestBegun { id, kind });
    }
    Ok(())
}

fn kind(request: &Request) -> &'static str {
    match request {
        Request::Replay { .. } => "replay",
        Request::Requeue(_) => "requeue",
        Request::Drop(_) => "drop",
    }
}

/// Gives an order to every stream that it concerns; the last of them to carry it out finishes it. Answers
/// whether there is one.
fn order(run: &Run, concerns: impl Fn(usize) -> bool, id: u64, what: &OrderKind) -> bool {
    let streams: Vec<usize> = (0..run.spec.streams.len()).filter(|index| concerns(*index)).collect();
    if !streams.is_empty() {
        run.board.share_order(id, streams.len());
    }
    for index in &streams {
        run.board.order(*index, Order { id, what: what.clone() });
    }
    !streams.is_empty()
}

/// Forgets dead letters of this run's streams; those of another workflow are that one's.
async fn drop_letters(run: &Run, filter: LetterFilter) -> Result<(), StoreError> {
    for stream in &run.spec.streams {
        if filter.stream.as_ref().is_none_or(|wanted| *wanted == stream.id) {
            let filter = LetterFilter { stream: Some(stream.id.clone()), ..filter.clone() };
            let count = run.spec.store.drop_dead_letters(&run.lease, &filter).await?;
            if count > 0 {
                run.board.emit(&SyncEvent::DeadLettersDropped { stream: stream.id.clone(), count });
            }
        }
    }
    Ok(())
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
                run.board.emit(&SyncEvent::DeadLettersForgotten { stream: stream.id.clone(), count });
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
