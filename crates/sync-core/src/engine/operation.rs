//! Performs the actions of one entry's machine at its destination.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use super::Run;
use super::writer::{EntryMachine, History, Moment, WritePolicy, WriterAction, WriterInput};
use crate::telemetry::spans;
use crate::traits::{Action, Attempt, Entry, Outcome, Report, Verdict, WriteOp};
use crate::{EndpointError, EndpointErrorKind, StatusReason};

/// What the end of an operation means for its lane.
pub(super) enum Pausing {
    No,
    For { after: Option<Duration>, reason: StatusReason },
    Fatal(StatusReason),
}

/// How an operation ended.
pub(super) struct OperationEnd {
    pub(super) lane: usize,
    pub(super) entry: Entry,
    pub(super) verdict: Option<Verdict>,
    pub(super) history: History,
    pub(super) pausing: Pausing,
}

/// Brings one claimed entry to its end.
pub(super) async fn perform(
    run: Arc<Run>,
    lane: usize,
    entry: Entry,
    history: History,
    policy: Arc<WritePolicy>,
) -> OperationEnd {
    let Some(stream) = run.spec.streams.get(lane) else {
        return OperationEnd { lane, entry, verdict: Some(Verdict::Released), history, pausing: Pausing::No };
    };
    let (number, in_doubt, class) = (entry.attempt, entry.unknown, entry.class);
    // A second look writes what an entry said that was appended nobody knows when.
    let appended_ms = if entry.verification { 0 } else { entry.appended_ms };
    let attempt = Attempt { number, in_doubt, class, appended_ms };
    let (mut machine, mut action) = EntryMachine::start(entry, history, &policy);
    let mut error: Option<EndpointError> = None;
    let mut requests = 0_u32;
    loop {
        let (write, operation) = match action {
            WriterAction::Apply(operation) => (true, operation),
            WriterAction::Resolve(operation) => (false, operation),
            WriterAction::Settle(ending) => {
                let pausing = match (ending.pause, error) {
                    (_, Some(error)) if error.kind() == EndpointErrorKind::Refused => Pausing::Fatal(reason(&error)),
                    (Some(pause), Some(error)) => Pausing::For { after: pause.after, reason: reason(&error) },
                    (Some(pause), None) => Pausing::For { after: pause.after, reason: busy(pause.code) },
                    (None, _) => Pausing::No,
                };
                let entry = machine.into_entry();
                return OperationEnd { lane, entry, verdict: ending.verdict, history: ending.history, pausing };
            }
        };
        requests += 1;
        // The first was allowed when it was dispatched. Since then the destination may have asked for a pause, or the lease
        // may be about to end.
        if requests > 1 && (run.board.paused(lane) || !run.may_start(run.spec.clock.monotonic())) {
            let at = Moment { now_ms: run.wall_ms(), unit: run.spec.entropy.unit() };
            action = machine.step(at, &policy, WriterInput::NotDispatched { after: None, code: "paused".to_owned() });
            continue;
        }
        let mut report = Report::new(1);
        let ops = [write_op(&machine, operation)];
        let span = spans::write(&stream.id, &attempt, &ops[0], !write);
        let answer = if write {
            stream.destination.apply(&attempt, &ops, &mut report).instrument(span.clone()).await
        } else {
            stream.destination.resolve(&attempt, &ops, &mut report).instrument(span.clone()).await
        };
        let input = match answer {
            Ok(()) => WriterInput::Outcome(
                report.into_outcomes().pop().unwrap_or(Outcome::Unknown { code: "not-reported".to_owned() }),
            ),
            Err(refusal) => {
                let input =
                    WriterInput::NotDispatched { after: refusal.retry_after(), code: refusal.code().to_owned() };
                error = Some(refusal);
                input
            }
        };
        spans::written(&span, &input);
        let at = Moment { now_ms: run.wall_ms(), unit: run.spec.entropy.unit() };
        action = machine.step(at, &policy, input);
    }
}

fn write_op(machine: &EntryMachine, action: Action) -> WriteOp {
    WriteOp { seq: machine.entry().seq, key: machine.entry().key.clone(), action }
}

fn reason(error: &EndpointError) -> StatusReason {
    StatusReason { code: error.code().to_owned(), message: error.to_string(), remedy: error.remedy().to_owned() }
}

fn busy(code: String) -> StatusReason {
    StatusReason {
        code,
        message: "The destination cannot take records at present.".to_owned(),
        remedy: "Nothing is to be done: it is tried again by itself.".to_owned(),
    }
}
