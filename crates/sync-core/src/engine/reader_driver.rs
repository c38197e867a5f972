//! Performs the actions of a reader.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use record::{Change, ChangeBody, Key};

use super::reader::{Absent, Context, ReadPage, ReaderAction, ReaderConfig, ReaderInput, ReaderMachine};
use super::{Holder, Run, RunMode, store_reason};
use crate::traits::{
    Advance, BatchLimit, ChangeBatch, Checkpoint, Class, Decision, Draft, DraftBody, Page, Phase, Rejection, SyncEvent,
    Transform,
};
use crate::workflow::StreamConfig;
use crate::{PlanVersion, StatusReason, StoreError, StoreErrorKind};

/// So many changes are mapped before other tasks get a turn.
const MAPPED_AT_ONCE: usize = 128;

type Pending = FuturesUnordered<BoxFuture<'static, Result<ReaderInput, StoreError>>>;

/// Reads one stream until it has nothing more, is stopped, or cannot go on.
pub(crate) async fn read_stream(run: Arc<Run>, index: usize) -> Result<(), StatusReason> {
    let Some(stream) = run.spec.streams.get(index).cloned() else { return Ok(()) };
    let options = &run.spec.options;
    let mut machine = ReaderMachine::new(ReaderConfig {
        stream: stream.id.clone(),
        plan: stream.transform.version(),
        page_rows: stream.page_rows,
        high_water: options.high_water,
        poll_every: stream.poll_every,
        until_idle: run.mode == RunMode::UntilIdle,
        sweep: stream.apply_deletes,
        chunk: options.sweep_chunk.max(1),
        brake: options.brake,
        backoff: options.service_backoff,
    });
    let mut pending = Pending::new();
    let mut actions = machine.start();
    loop {
        for action in actions {
            match action {
                ReaderAction::Emit(event) => {
                    if matches!(event, SyncEvent::SnapshotComplete { .. }) {
                        run.board.set_first_snapshot(index, false);
                    }
                    run.board.emit(&event);
                }
                ReaderAction::Trouble(Some(reason)) => {
                    tracing::warn!(stream = %stream.id, code = reason.code, "reading is held up");
                    run.board.hold(Holder::Reader(index), reason);
                }
                ReaderAction::Trouble(None) => run.board.clear(Holder::Reader(index)),
                ReaderAction::Brake(reason) => run.board.hold(Holder::Brake(index), reason),
                ReaderAction::Finish => {
                    run.board.reader_finished();
                    return Ok(());
                }
                ReaderAction::Fail(reason) => return Err(reason),
                other => pending.push(perform(run.clone(), index, stream.clone(), other)),
            }
        }
        let input = tokio::select! {
            () = run.stop.cancelled() => return Ok(()),
            input = pending.next() => input,
        };
        let input = match input {
            Some(Ok(input)) => input,
            Some(Err(error)) if error.kind() == StoreErrorKind::Conflict => ReaderInput::Conflict,
            Some(Err(error)) => return Err(store_reason(&error)),
            // A machine that waits for nothing would never end; it never comes to that.
            None => return Ok(()),
        };
        let now = Context { backlog: run.board.depth(index), unit: run.spec.entropy.unit() };
        actions = machine.step(now, input);
    }
}

/// The name under which an unfinished search for vanished records is remembered.
fn sweep_name(stream: &StreamConfig) -> String {
    format!("sweep/{}", stream.id)
}

/// The name under which the plan is remembered that made the whole backlog.
fn plan_name(stream: &StreamConfig) -> String {
    format!("plan/{}", stream.id)
}

fn perform(
    run: Arc<Run>,
    index: usize,
    stream: StreamConfig,
    action: ReaderAction,
) -> BoxFuture<'static, Result<ReaderInput, StoreError>> {
    Box::pin(async move {
        let store = &run.spec.store;
        match action {
            ReaderAction::Load => {
                let checkpoint = store.load(&stream.id).await?;
                let sweep = store.get(&sweep_name(&stream)).await?;
                let sweep = sweep.and_then(|text| String::from_utf8(text).ok()?.parse().ok());
                let plan = store.get(&plan_name(&stream)).await?;
                let plan = plan.and_then(|text| String::from_utf8(text).ok()?.parse().ok()).map(PlanVersion);
                run.board.set_first_snapshot(index, in_first_snapshot(checkpoint.as_ref()));
                Ok(ReaderInput::Loaded { checkpoint, sweep, plan })
            }
            ReaderAction::MarkPlan(plan) => {
                let text = plan.map_or_else(String::new, |plan| plan.0.to_string());
                store.put(&run.lease, &plan_name(&stream), text.as_bytes()).await?;
                Ok(ReaderInput::PlanMarked)
            }
            ReaderAction::MarkSweep(generation) => {
                let text = generation.map_or_else(String::new, |generation| generation.to_string());
                store.put(&run.lease, &sweep_name(&stream), text.as_bytes()).await?;
                Ok(ReaderInput::SweepMarked)
            }
            ReaderAction::Reset { expected_version, generation } => {
                store.reset(&run.lease, &stream.id, expected_version, generation).await.map(ReaderInput::Stored)
            }
            ReaderAction::Read { after, rows } => {
                Ok(match stream.source.read(after.as_ref(), BatchLimit { rows, class: Class::Live }).await {
                    Ok(ChangeBatch { changes, next, phase, more }) => {
                        let drafts = decide_all(stream.transform.as_ref(), changes, Absent::AsMapped).await;
                        ReaderInput::Page(ReadPage { drafts, next, phase, more })
                    }
                    Err(error) => ReaderInput::ReadFailed(error.into()),
                })
            }
            ReaderAction::Append { drafts, mark_seen, advance, snapshot, refresh } => {
                let plan = stream.transform.version();
                let now_ms = run.wall_ms();
                let class = if snapshot { Class::Backfill } else { Class::Live };
                let replay = false;
                let stream = stream.id.clone();
                let page = Page { stream, plan, class, replay, drafts, mark_seen, refresh, now_ms };
                append(&run, index, page, advance, snapshot).await
            }
            ReaderAction::Outdated { after, limit } => {
                let plan = stream.transform.version();
                store.outdated(&stream.id, plan, after.as_ref(), limit).await.map(ReaderInput::Outdated)
            }
            ReaderAction::UnsettledBefore(generation) => {
                store.unsettled_before(&stream.id, generation).await.map(ReaderInput::UnsettledBefore)
            }
            ReaderAction::CountBound => store.bound_count(&stream.id).await.map(ReaderInput::Bound),
            ReaderAction::Unseen { generation, after, limit } => {
                store.unseen(&stream.id, generation, after.as_ref(), limit).await.map(ReaderInput::Unseen)
            }
            ReaderAction::Fetch { keys, absent } => Ok(fetch(&stream, &keys, absent).await),
            ReaderAction::Wait(delay) => {
                run.spec.clock.sleep(delay).await;
                Ok(ReaderInput::Woken)
            }
            ReaderAction::WaitBacklog(at_most) => {
                if let Some(mut depth) = run.board.watch_depth(index) {
                    let low = i64::try_from(at_most).unwrap_or(i64::MAX);
                    // The board outlives this task, so the wait cannot fail.
                    let _ = depth.wait_for(|depth| *depth <= low).await;
                }
                Ok(ReaderInput::Woken)
            }
            // Performed by the caller.
            _ => Ok(ReaderInput::Woken),
        }
    })
}

pub(crate) fn in_first_snapshot(checkpoint: Option<&Checkpoint>) -> bool {
    checkpoint.is_none_or(|at| at.generation <= 1 && at.phase == Phase::Snapshot)
}

async fn append(
    run: &Run,
    index: usize,
    page: Page,
    advance: Advance,
    snapshot: bool,
) -> Result<ReaderInput, StoreError> {
    let stream = page.stream.clone();
    let rejected: Vec<Rejection> = page
        .drafts
        .iter()
        .filter_map(|draft| match &draft.body {
            DraftBody::Rejected(rejection) => Some(rejection.clone()),
            _ => None,
        })
        .collect();
    let report = run.spec.store.append(&run.lease, page, advance).await?;
    run.board.count(index, report.tally);
    let backlog = run.board.depth(index);
    run.board.emit(&SyncEvent::PageRead { stream: stream.clone(), tally: report.tally, snapshot, backlog });
    for rejection in rejected {
        run.board.emit(&SyncEvent::DeadLettered { stream: stream.clone(), rejection });
    }
    run.board.wake.notify_one();
    let t = report.tally;
    let quiet = t.superseded == 0 && t.read == t.unchanged + t.filtered + t.ignored + t.dead;
    Ok(if quiet { ReaderInput::StoredQuiet(report.checkpoint) } else { ReaderInput::Stored(report.checkpoint) })
}

async fn fetch(stream: &StreamConfig, keys: &[Key], absent: Absent) -> ReaderInput {
    match stream.source.fetch(keys).await {
        // Each key needs an answer: silence is no evidence that a record is gone.
        Ok(changes) if changes.len() == keys.len() && changes.iter().map(|change| &change.key).eq(keys) => {
            ReaderInput::Fetched(decide_all(stream.transform.as_ref(), changes, absent).await)
        }
        Ok(_) => ReaderInput::FetchFailed(super::policy::Trouble {
            kind: crate::EndpointErrorKind::Unavailable,
            reason: StatusReason {
                code: "incomplete-answer".to_owned(),
                message: "The source did not answer for each record that it was asked about.".to_owned(),
                remedy: "Nothing is to be done if it passes; otherwise report it to the maker of the source."
                    .to_owned(),
            },
            retry_after: None,
        }),
        Err(error) => ReaderInput::FetchFailed(error.into()),
    }
}

async fn decide_all(transform: &dyn Transform, changes: Vec<Change>, absent: Absent) -> Vec<Draft> {
    let mut drafts = Vec::with_capacity(changes.len());
    for (index, change) in changes.into_iter().enumerate() {
        if index % MAPPED_AT_ONCE == MAPPED_AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        let body = match (&change.body, absent) {
            (ChangeBody::Delete, Absent::Deleted) => DraftBody::Delete,
            _ => decide(transform, &change),
        };
        let parents = match body {
            DraftBody::Upsert { .. } => transform.parents(&change),
            _ => Vec::new(),
        };
        drafts.push(Draft { key: change.key, version: change.version, parents, body });
    }
    drafts
}

/// One bad record never stops a page, not even one on which the transform panics.
fn decide(transform: &dyn Transform, change: &Change) -> DraftBody {
    match catch_unwind(AssertUnwindSafe(|| transform.decide(change))) {
        Ok(Ok(Decision::Upsert { insert, update, digest })) => DraftBody::Upsert { insert, update, digest },
        Ok(Ok(Decision::Delete)) => DraftBody::Delete,
        Ok(Ok(Decision::FilteredOut { delete: true })) => DraftBody::DeleteFiltered,
        Ok(Ok(Decision::FilteredOut { delete: false })) => DraftBody::Filtered,
        Ok(Ok(Decision::Ignore)) => DraftBody::Ignored,
        Ok(Err(rejection)) => DraftBody::Rejected(rejection),
        Err(_) => DraftBody::Rejected(Rejection {
            code: "mapping-panicked".to_owned(),
            field: None,
            explanation: "The mapping failed on this record in a way that it should not. Report it to its maker."
                .to_owned(),
        }),
    }
}
