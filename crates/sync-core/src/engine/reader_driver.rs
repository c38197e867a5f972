//! Performs the actions of a reader.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use record::{Change, ChangeBody, Key};
use tracing::{Instrument, Span};

use super::passing::Passing;
use super::reader::{
    Absent, Context, Parents, PassNote, ReadPage, ReaderAction, ReaderConfig, ReaderInput, ReaderMachine, ScannedPage,
};
use super::{Holder, Run, RunMode, store_reason};
use crate::telemetry::{code_label, spans};
use crate::traits::{
    Advance, BatchLimit, ChangeBatch, Checkpoint, Class, DeadLetterQuery, Decision, Draft, DraftBody, LetterFilter,
    Page, Phase, Rejection, ScanDepth, SyncEvent, Transform,
};
use crate::workflow::StreamConfig;
use crate::{PlanVersion, Position, StatusReason, StoreError, StoreErrorKind};

/// So many changes are mapped before other tasks get a turn.
const MAPPED_AT_ONCE: usize = 128;

type Pending = FuturesUnordered<BoxFuture<'static, Result<ReaderInput, StoreError>>>;

/// Reads one stream until it has nothing more, is stopped, or cannot go on.
pub(crate) async fn read_stream(run: Arc<Run>, index: usize) -> Result<(), StatusReason> {
    let Some(stream) = run.spec.streams.get(index).cloned() else { return Ok(()) };
    let options = &run.spec.options;
    let caps = stream.source.capabilities();
    let mut machine = ReaderMachine::new(ReaderConfig {
        stream: stream.id.clone(),
        plan: stream.transform.version(),
        page_rows: stream.page_rows,
        high_water: options.high_water,
        poll_every: stream.poll_every,
        until_idle: run.mode == RunMode::UntilIdle,
        class: stream.class,
        scan: caps.scan,
        audit_every: options.audit_every,
        retention: caps.retention,
        deletes: stream.apply_deletes,
        chunk: options.sweep_chunk.max(1),
        brake: options.brake,
        backoff: options.service_backoff,
    });
    let mut pending = Pending::new();
    let mut passing = Passing::default();
    let mut feed = Feed::default();
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
                ReaderAction::Trouble(Some(reason)) => run.board.hold(Holder::Reader(index), reason),
                ReaderAction::Trouble(None) => run.board.clear(Holder::Reader(index)),
                ReaderAction::Guard(Some(reason)) => run.board.hold(Holder::Guard(index), reason),
                ReaderAction::Guard(None) => run.board.clear(Holder::Guard(index)),
                ReaderAction::Brake(Some(reason)) => run.board.hold(Holder::Brake(index), reason),
                ReaderAction::Brake(None) => run.board.clear(Holder::Brake(index)),
                ReaderAction::Finish => {
                    run.board.reader_finished(index);
                    return Ok(());
                }
                ReaderAction::Fail(reason) => return Err(reason),
                ReaderAction::FeedRead if run.parents_of(index).is_empty() => {}
                ReaderAction::FeedRead => run.board.set_feed_read(index, feed.answered),
                other => {
                    if matches!(other, ReaderAction::Read { .. }) {
                        feed.asked.get_or_insert_with(|| run.board.tick());
                    }
                    let span = passing.before(&run.board, &stream.id, &other);
                    pending.push(perform(run.clone(), index, stream.clone(), other, span));
                }
            }
        }
        let input = tokio::select! {
            biased;
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
        if let ReaderInput::Loaded { note, .. } = &input {
            passing.follow(&run.board, &stream.id, note, true);
        }
        if matches!(&input, ReaderInput::Page(page) if !page.more) {
            feed.answered = feed.asked.take().unwrap_or(feed.answered);
        }
        let now = Context {
            parents: parents(&run, index, feed),
            backlog: run.board.depth(index),
            waiting: run.board.waiting(index),
            unit: run.spec.entropy.unit(),
            now: run.spec.clock.monotonic(),
            now_ms: run.wall_ms(),
            orders: run.board.has_orders(index),
        };
        actions = machine.step(now, input);
    }
}

/// When a change feed was asked, in ticks of the board.
#[derive(Debug, Clone, Copy, Default)]
struct Feed {
    /// The first question of those that lead to its end.
    asked: Option<u64>,
    /// The same of those that led there last.
    answered: u64,
}

fn parents(run: &Run, index: usize, feed: Feed) -> Parents {
    if run.mode != RunMode::UntilIdle {
        return Parents::Done;
    }
    let parents = run.parents_of(index);
    if parents.is_empty() {
        return Parents::Done;
    }
    match run.board.all_finished(&parents) {
        None => Parents::Reading,
        Some(tick) if feed.answered < tick && parents.iter().any(|parent| run.board.deletes(*parent) > 0) => {
            Parents::Deleted
        }
        Some(_) => Parents::Done,
    }
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
    span: Span,
) -> BoxFuture<'static, Result<ReaderInput, StoreError>> {
    let performed = async move {
        let store = &run.spec.store;
        match action {
            ReaderAction::Load => {
                let checkpoint = store.load(&stream.id).await?;
                let note = store.get(&PassNote::name(&stream.id)).await?;
                let note = note.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
                let plan = store.get(&plan_name(&stream)).await?;
                let plan = plan.and_then(|text| String::from_utf8(text).ok()?.parse().ok()).map(PlanVersion);
                run.board.set_first_snapshot(index, in_first_snapshot(checkpoint.as_ref()));
                Ok(ReaderInput::Loaded { checkpoint, note, plan })
            }
            ReaderAction::MarkPlan(plan) => {
                let text = plan.map_or_else(String::new, |plan| plan.0.to_string());
                store.put(&run.lease, &plan_name(&stream), text.as_bytes()).await?;
                Ok(ReaderInput::PlanMarked)
            }
            ReaderAction::NotePass(note) => {
                let text = serde_json::to_vec(&note).unwrap_or_default();
                store.put(&run.lease, &PassNote::name(&stream.id), &text).await?;
                Ok(ReaderInput::Noted)
            }
            ReaderAction::Scan { after, rows, depth, replay } => {
                Ok(scan(&stream, after.as_ref(), rows, depth, replay).await)
            }
            ReaderAction::KnownVersions(keys) => store.known_versions(&stream.id, &keys).await.map(ReaderInput::Known),
            ReaderAction::MarkSeen { keys, pass } => {
                store.mark_seen(&run.lease, &stream.id, &keys, pass).await?;
                Ok(ReaderInput::Marked)
            }
            ReaderAction::TakeOrders => Ok(ReaderInput::Orders(run.board.take_orders(index))),
            ReaderAction::Letters { filter, after, limit } => {
                let filter = LetterFilter { stream: Some(stream.id.clone()), ..filter };
                let letters = store.dead_letters(&DeadLetterQuery { filter, after, limit }).await?;
                Ok(ReaderInput::Letters(letters.into_iter().map(|letter| (letter.id, letter.key)).collect()))
            }
            ReaderAction::FinishOrder(id) => {
                if run.board.order_done(id) {
                    store.finish_request(&run.lease, id).await?;
                    run.board.emit(&SyncEvent::RequestDone { id });
                }
                Ok(ReaderInput::OrderFinished)
            }
            ReaderAction::Reset { expected_version, generation } => {
                store.reset(&run.lease, &stream.id, expected_version, generation).await.map(ReaderInput::Stored)
            }
            ReaderAction::Read { after, rows, class, replay } => {
                let span = spans::read(&stream.id, class, rows);
                let limit = BatchLimit { rows, class };
                Ok(match stream.source.read(after.as_ref(), limit).instrument(span.clone()).await {
                    Ok(ChangeBatch { changes, next, phase, more }) => {
                        match stream.source.notice() {
                            Some(reason) => run.board.hold(Holder::Notice(index), reason),
                            None => run.board.clear(Holder::Notice(index)),
                        }
                        span.record("records", changes.len());
                        drop(span);
                        let how = if replay { Decide::Replay } else { Decide::Change };
                        let drafts = decide_all(stream.transform.as_ref(), changes, how).await;
                        ReaderInput::Page(ReadPage { drafts, next, phase, more })
                    }
                    Err(error) => {
                        span.record("code", code_label(error.code()));
                        ReaderInput::ReadFailed(error.into())
                    }
                })
            }
            ReaderAction::Append { drafts, mark_seen, advance, class, replay, snapshot, refresh } => {
                let plan = stream.transform.version();
                let now_ms = run.wall_ms();
                let stream = stream.id.clone();
                let hold_deletes = !run.children_of(index).is_empty();
                let page = Page { stream, plan, class, replay, drafts, mark_seen, refresh, hold_deletes, now_ms };
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
            ReaderAction::Unseen { pass, after, limit } => {
                store.unseen(&stream.id, pass, after.as_ref(), limit).await.map(ReaderInput::Unseen)
            }
            ReaderAction::Fetch { keys, absent } => Ok(fetch(&stream, &keys, absent).await),
            ReaderAction::Wait(delay) => {
                tokio::select! {
                    biased;
                    () = run.spec.clock.sleep(delay) => {}
                    () = run.board.ordered(index) => {}
                }
                Ok(ReaderInput::Woken)
            }
            ReaderAction::WaitParents => {
                let parents = run.parents_of(index);
                tokio::select! {
                    biased;
                    () = run.board.until_finished(&parents) => {}
                    () = run.board.ordered(index) => {}
                }
                Ok(ReaderInput::Woken)
            }
            ReaderAction::BackOff(delay) => {
                run.spec.clock.sleep(delay).await;
                Ok(ReaderInput::Woken)
            }
            ReaderAction::WaitBacklog(at_most, longest) => {
                if let Some(mut depth) = run.board.watch_depth(index) {
                    let low = i64::try_from(at_most).unwrap_or(i64::MAX);
                    let long_enough = async {
                        match longest {
                            Some(longest) => run.spec.clock.sleep(longest).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        biased;
                        // The board outlives this task, so the wait cannot fail.
                        _ = depth.wait_for(|depth| depth.pressing() <= low) => {}
                        () = long_enough => {}
                    }
                }
                Ok(ReaderInput::Woken)
            }
            // Performed by the caller.
            _ => Ok(ReaderInput::Woken),
        }
    };
    Box::pin(performed.instrument(span))
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
    let delete = |draft: &Draft| matches!(draft.body, DraftBody::Delete | DraftBody::DeleteFiltered);
    let deletes = page.hold_deletes && page.drafts.iter().any(delete);
    if deletes {
        run.board.deletes_come(index);
    }
    let span = spans::append(&stream, page.class, page.drafts.len());
    let report = run.spec.store.append(&run.lease, page, advance).instrument(span).await?;
    run.board.count(index, report.tally);
    if deletes {
        run.board.add_deletes(index);
    }
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
    let span = spans::fetch(&stream.id, keys);
    match stream.source.fetch(keys).instrument(span.clone()).await {
        // Each key needs an answer: silence is no evidence that a record is gone.
        Ok(changes) if changes.len() == keys.len() && changes.iter().map(|change| &change.key).eq(keys) => {
            let how = match absent {
                Absent::AsMapped => Decide::Change,
                Absent::Deleted => Decide::Missing,
            };
            ReaderInput::Fetched(decide_all(stream.transform.as_ref(), changes, how).await)
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
        Err(error) => {
            span.record("code", code_label(error.code()));
            ReaderInput::FetchFailed(error.into())
        }
    }
}

/// Reads a page of the whole table; rows in full are decided at once.
async fn scan(
    stream: &StreamConfig,
    after: Option<&Position>,
    rows: u32,
    depth: ScanDepth,
    replay: bool,
) -> ReaderInput {
    let class = if replay { Class::Replay } else { Class::Backfill };
    let span = spans::scan(&stream.id, class, rows);
    let page = match stream.source.scan(after, BatchLimit { rows, class }, depth).instrument(span.clone()).await {
        Ok(page) => page,
        Err(error) => {
            span.record("code", code_label(error.code()));
            return ReaderInput::ScanFailed(error.into());
        }
    };
    span.record("records", page.rows.len());
    drop(span);
    let keys = page.rows.iter().map(|row| (row.key.clone(), row.version)).collect();
    let drafts = match depth {
        ScanDepth::Versions => None,
        ScanDepth::Rows => {
            let changes = page.rows.into_iter().filter_map(|row| row.change).collect();
            let how = if replay { Decide::Replay } else { Decide::Change };
            Some(decide_all(stream.transform.as_ref(), changes, how).await)
        }
    };
    ReaderInput::Scanned(ScannedPage { rows: keys, drafts, next: page.next })
}

/// How changes are decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decide {
    /// As changes of the source.
    Change,
    /// As records that are written again because an operator asked for it.
    Replay,
    /// As changes, and what is absent is deleted, whatever the transform says of deletes.
    Missing,
}

async fn decide_all(transform: &dyn Transform, changes: Vec<Change>, how: Decide) -> Vec<Draft> {
    let mut drafts = Vec::with_capacity(changes.len());
    for (index, change) in changes.into_iter().enumerate() {
        if index % MAPPED_AT_ONCE == MAPPED_AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        let body = match (&change.body, how) {
            (ChangeBody::Delete, Decide::Missing) => DraftBody::Delete,
            _ => decide(transform, &change, how == Decide::Replay),
        };
        drafts.push(with_parents(transform, change, body));
    }
    drafts
}

fn with_parents(transform: &dyn Transform, change: Change, body: DraftBody) -> Draft {
    let parents = match body {
        DraftBody::Upsert { .. } => transform.parents(&change),
        _ => Vec::new(),
    };
    Draft { key: change.key, version: change.version, parents, body }
}

/// What the reader makes of a change that its source tells of.
pub fn draft(transform: &dyn Transform, change: Change) -> Draft {
    let body = decide(transform, &change, false);
    with_parents(transform, change, body)
}

/// One bad record never stops a page, not even one on which the transform panics.
fn decide(transform: &dyn Transform, change: &Change, replay: bool) -> DraftBody {
    let decision = AssertUnwindSafe(|| if replay { transform.decide_replay(change) } else { transform.decide(change) });
    match catch_unwind(decision) {
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
