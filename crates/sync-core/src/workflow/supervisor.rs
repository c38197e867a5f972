//! One run of a workflow: lease, what an earlier run left, tasks, and the end.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{Spec, WorkflowHandle};
use crate::engine::{
    Board, Clerk, FENCED, Holder, Run, RunMode, in_first_snapshot, pause_name, read_stream, store_reason, write_streams,
};
use crate::telemetry::{self, Contained, Meter, spans};
use crate::traits::{Lease, SyncEvent};
use crate::{StatusReason, StoreError, WorkflowState, WorkflowStatus};

/// How often a lease that somebody else holds is asked for again.
const LEASE_POLL: Duration = Duration::from_secs(1);
/// A remembered pause is obeyed for at most this long: the calendar may have been wrong.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// The status as it is kept in the store under `status/<workflow>`.
#[derive(Serialize)]
struct StoredStatus<'a> {
    #[serde(flatten)]
    status: &'a WorkflowStatus,
    /// When it was entered, in milliseconds since 1970 (UTC).
    at_ms: i64,
}

pub(super) fn start(spec: Arc<Spec>, mode: RunMode) -> WorkflowHandle {
    let streams = spec.streams.iter().map(|stream| stream.id.clone()).collect();
    let board = Arc::new(Board::new(streams, spec.observer.clone(), spec.clock.clone()));
    let stop = CancellationToken::new();
    let span = spans::workflow(&spec.name);
    board.enter(WorkflowState::Starting, None);
    let meter = Meter::new(spec.clone(), board.clone());
    let task = tokio::spawn(Contained::new(supervise(spec, mode, board, stop.clone()).instrument(span)));
    WorkflowHandle::new(meter, stop, task)
}

async fn supervise(spec: Arc<Spec>, mode: RunMode, board: Arc<Board>, stop: CancellationToken) -> WorkflowStatus {
    let mut status = board.watch();
    let (lease, asked_at) = match acquire(&spec, mode, &board, &stop).await {
        Ok(Some(acquired)) => acquired,
        Ok(None) => {
            board.enter(WorkflowState::Stopped, None);
            return board.status();
        }
        Err(reason) => {
            board.enter(WorkflowState::Failed, Some(reason));
            return board.status();
        }
    };
    let stop = stop.child_token();
    let holds_until = AtomicU64::new(0);
    let run = Arc::new(Run { spec: spec.clone(), lease, board: board.clone(), mode, stop, holds_until });
    run.hold_until(asked_at);
    // Whoever looks at the store meanwhile is not told of the last run's end.
    keep_status(&run, &board.status()).await;
    let failure = match prepare(&run).await {
        Ok((pauses, clerk)) => {
            board.enter(WorkflowState::Running, None);
            run_tasks(&run, pauses, clerk, &mut status).await
        }
        Err(error) => Some(store_reason(&error)),
    };
    if failure.as_ref().is_some_and(|reason| reason.code == FENCED) {
        board.emit(&SyncEvent::LeaseLost);
    }
    let state = if failure.is_some() { WorkflowState::Failed } else { WorkflowState::Stopped };
    board.enter(state, failure);
    keep_status(&run, &board.status()).await;
    if let Err(error) = spec.store.release(run.lease.clone()).await {
        telemetry::lease_not_released(&error);
    }
    board.status()
}

async fn acquire(
    spec: &Spec,
    mode: RunMode,
    board: &Board,
    stop: &CancellationToken,
) -> Result<Option<(Lease, Duration)>, StatusReason> {
    loop {
        let asked_at = spec.clock.monotonic();
        match spec.store.acquire(&spec.name, &spec.owner, spec.options.lease_ttl).await {
            Ok(Some(lease)) => {
                board.clear(Holder::Lease);
                return Ok(Some((lease, asked_at)));
            }
            Ok(None) => {
                let reason = StatusReason {
                    code: "lease-held".to_owned(),
                    message: format!("The workflow {} runs elsewhere on this store.", spec.name),
                    remedy: "Stop it there, or use another store.".to_owned(),
                };
                if mode == RunMode::UntilIdle {
                    return Err(reason);
                }
                board.hold(Holder::Lease, reason);
            }
            Err(error) => return Err(store_reason(&error)),
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(None),
            () = spec.clock.sleep(LEASE_POLL) => {}
        }
    }
}

/// Takes over what an earlier run left: writes whose end it did not see, depths, and pauses that a service ordered.
async fn prepare(run: &Run) -> Result<(Vec<Option<Duration>>, Clerk), StoreError> {
    let mut pauses = Vec::new();
    for (index, stream) in run.spec.streams.iter().enumerate() {
        let store = &run.spec.store;
        let caps = stream.destination.capabilities();
        let now_ms = run.wall_ms();
        let settle = i64::try_from(caps.settle.as_millis()).unwrap_or(i64::MAX);
        let due_ms = if caps.unique_key { now_ms } else { now_ms.saturating_add(settle) };
        let inherited = store.inherit(&run.lease, &stream.id, due_ms).await?;
        if inherited > 0 {
            let code = "inherited".to_owned();
            run.board.emit(&SyncEvent::UnknownOutcome { stream: stream.id.clone(), count: inherited, code });
        }
        let stats = store.stats(&stream.id).await?;
        run.board.set_depth(index, stats.depth());
        if stats.held > 0 {
            run.board.deletes_come(index);
            run.board.add_deletes(index);
        }
        run.board.set_first_snapshot(index, in_first_snapshot(store.load(&stream.id).await?.as_ref()));
        let until_ms = store.get(&pause_name(&stream.id)).await?;
        let until_ms = until_ms.and_then(|text| String::from_utf8(text).ok()?.parse::<i64>().ok());
        let left = until_ms.and_then(|until| u64::try_from(until.saturating_sub(now_ms)).ok()).filter(|left| *left > 0);
        pauses.push(left.map(|left| run.spec.clock.monotonic() + Duration::from_millis(left).min(LONGEST_PAUSE)));
    }
    Ok((pauses, Clerk::begin(run).await?))
}

async fn run_tasks(
    run: &Arc<Run>,
    pauses: Vec<Option<Duration>>,
    clerk: Clerk,
    status: &mut watch::Receiver<WorkflowStatus>,
) -> Option<StatusReason> {
    let mut tasks: JoinSet<Result<(), StatusReason>> = JoinSet::new();
    for (index, stream) in run.spec.streams.iter().enumerate() {
        let span = spans::reader(&stream.id);
        tasks.spawn(Contained::new(read_stream(run.clone(), index).instrument(span)));
    }
    tasks.spawn(Contained::new(write_streams(run.clone(), pauses).instrument(spans::writer())));
    let mut failure = None;
    let clerk = clerk.work(run.clone());
    tokio::pin!(clerk);
    let mut on_duty = true;
    loop {
        tokio::select! {
            biased;
            ended = tasks.join_next() => {
                let reason = match ended {
                    None => return failure,
                    Some(Ok(Ok(()))) => None,
                    Some(Ok(Err(reason))) => Some(reason),
                    Some(Err(error)) => Some(broken(&error)),
                };
                if let Some(reason) = reason {
                    failure.get_or_insert(reason);
                    run.stop.cancel();
                }
            }
            Ok(()) = status.changed() => {
                let now = status.borrow_and_update().clone();
                keep_status(run, &now).await;
            }
            // The clerk ends only when the store fails it or the lease is lost.
            reason = &mut clerk, if on_duty => {
                on_duty = false;
                failure.get_or_insert(reason);
                run.stop.cancel();
            }
        }
    }
}

/// Keeps the status where another process can read it. Best effort: a store that cannot be written shows by itself.
async fn keep_status(run: &Run, status: &WorkflowStatus) {
    let stored = StoredStatus { status, at_ms: run.wall_ms() };
    let Ok(text) = serde_json::to_vec(&stored) else { return };
    let name = format!("status/{}", run.spec.name);
    if let Err(error) = run.spec.store.put(&run.lease, &name, &text).await {
        telemetry::status_not_kept(&error);
    }
}

/// A task that panicked takes the workflow down, never the process.
fn broken(error: &JoinError) -> StatusReason {
    StatusReason {
        code: if error.is_panic() { "engine-panicked" } else { "engine-ended" }.to_owned(),
        message: "A part of the workflow broke off.".to_owned(),
        remedy: "Start the workflow again; nothing is lost. If it happens again, report it.".to_owned(),
    }
}
