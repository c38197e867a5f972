use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sync_core::traits::{Action, Attempt, Destination, DestinationCaps, Outcome, Rejection, Report, WriteOp};
use sync_core::{EndpointError, EndpointErrorKind};
use timing::Clock;

use super::content::body_of;
use super::target::{Effect, Ordered};
use super::{Operation, Process, Sent, Target};
use crate::faults::{Fault, Faults};
use crate::rare::{Path, Rare};

/// A table of the destination, as one process writes to it.
#[derive(Debug)]
pub struct TableTarget {
    /// The destination's own side.
    pub target: Arc<Target>,
    /// Which table.
    pub table: usize,
    /// Who writes.
    pub process: Arc<Process>,
    /// What goes wrong.
    pub faults: Faults,
    /// Where rare paths are counted.
    pub rare: Rare,
}

/// What the wire does to a request.
#[derive(Debug, Clone, Copy)]
struct Fate {
    /// When it takes effect after sending; `None`: never.
    effect: Option<Duration>,
    times: usize,
    /// When the caller has its answer.
    answer: Duration,
    /// The code of the trouble in the place of the answer.
    trouble: Option<&'static str>,
}

/// Closes a request whose caller ends before its answer.
struct Open<'a> {
    target: &'a Target,
    request: usize,
    /// Whether the request is on its way all the same.
    survives: bool,
    answered: bool,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.answered {
            if self.survives {
                self.target.hasten(self.request);
            } else {
                self.target.cancel(self.request);
            }
            self.target.ended(self.request, false);
        }
    }
}

fn down(code: &str, after: Option<Duration>) -> EndpointError {
    EndpointError::new(EndpointErrorKind::Unavailable, code, "The destination has trouble.", "Mend the destination.")
        .with_retry_after(after)
}

impl TableTarget {
    fn fate(&self, operation: Operation) -> Fate {
        let shape = &self.target.shape;
        let chance = self.faults.chance();
        let effect = chance.span(Duration::ZERO, shape.latency);
        let answer = effect + chance.span(Duration::ZERO, shape.latency);
        let plain = Fate { effect: Some(effect), times: 1, answer, trouble: None };
        let fires = |fault| self.faults.fires(fault);
        if fires(Fault::ResetBeforeEffect) {
            return Fate { effect: None, trouble: Some("reset"), ..plain };
        }
        if fires(Fault::ResetAfterEffect) {
            return Fate { trouble: Some("reset"), ..plain };
        }
        if fires(Fault::FailedNotApplied) {
            return Fate { effect: None, trouble: Some("server-error"), ..plain };
        }
        if fires(Fault::FailedApplied) {
            return Fate { trouble: Some("server-error"), ..plain };
        }
        if fires(Fault::NoAnswer) {
            let effect = chance.hits(0.5).then(|| chance.span(Duration::ZERO, shape.timeout));
            return Fate { effect, times: 1, answer: shape.timeout, trouble: Some("timeout") };
        }
        if shape.late > shape.timeout && fires(Fault::LateExecution) {
            let effect = chance.span(shape.timeout, shape.late);
            return Fate { effect: Some(effect), times: 1, answer: shape.timeout, trouble: Some("timeout") };
        }
        // Twice would be two records where nothing refuses the second: no caller could exclude that.
        if (shape.unique_key || operation != Operation::Create) && fires(Fault::DeliveredTwice) {
            return Fate { times: 2, ..plain };
        }
        plain
    }

    async fn write(&self, at: &Attempt, op: &WriteOp) -> Result<Outcome, EndpointError> {
        let target = &self.target;
        let chance = self.faults.chance();
        if self.faults.fires(Fault::ConnectRefused) {
            return Err(down("connect-refused", None));
        }
        let (operation, body) = match &op.action {
            Action::Create(body) => (Operation::Create, body_of(body)),
            Action::Update(body) => (Operation::Update, body_of(body)),
            Action::Delete => (Operation::Delete, None),
        };
        let clock = target.clock().clone();
        let blank = at.in_doubt && operation == Operation::Create;
        self.process.pass_at(if blank { "unknown.between_lookup_and_create" } else { "writer.before_send" }).await;
        let request = target.send(Sent {
            at: clock.monotonic(),
            process: self.process.number,
            table: self.table,
            key: op.key.clone(),
            operation,
            number: body.map(|(number, _)| number),
            refused: body.is_some_and(|(_, refused)| refused),
            in_doubt: at.in_doubt,
            answered: None,
            ended: None,
            known: false,
        });
        let mut open = Open { target, request, survives: false, answered: false };
        if let Some(answer) = self.refusal() {
            let latency = chance.span(Duration::ZERO, target.shape.latency);
            target.answers_at(request, clock.monotonic() + latency);
            clock.sleep(latency).await;
            open.answered = true;
            target.ended(request, true);
            let ended = clock.monotonic();
            self.process.pass().await;
            if let Err(refusal) = &answer
                && let Some(after) = refusal.retry_after()
            {
                // From when the process takes the answer: it may have been stopped meanwhile.
                let (process, table, at) = (self.process.number, self.table, clock.monotonic());
                target.ordered(Ordered { process, table, at, until: ended + after });
                self.rare.took(Path::Paused);
            }
            return answer;
        }
        if self.faults.fires(Fault::DeletedBehind) {
            target.delete_behind(self.table, &op.key);
        }
        let fate = self.fate(operation);
        open.survives = chance.hits(0.5);
        if let Some(after) = fate.effect {
            target.schedule(request, clock.monotonic() + after, fate.times);
        }
        target.answers_at(request, clock.monotonic() + fate.answer);
        self.process.pass_at("writer.after_send").await;
        let effect = fate.effect.unwrap_or_default().min(fate.answer);
        clock.sleep(effect).await;
        target.run_due();
        self.process.pass_at("writer.after_effect").await;
        clock.sleep(fate.answer - effect).await;
        let result = target.result(request);
        open.answered = true;
        let outcome = match (fate.trouble, result) {
            (Some(code), _) => Outcome::Unknown { code: code.to_owned() },
            (None, Some(Effect::Applied)) => Outcome::Applied,
            (None, Some(Effect::Exists)) => Outcome::Exists,
            (None, Some(Effect::Missing)) => Outcome::Missing,
            (None, Some(Effect::Refused) | None) => refused("refused-value"),
        };
        if outcome == Outcome::Exists && at.in_doubt {
            self.rare.took(Path::RepeatedOnto);
        }
        target.ended(request, fate.trouble.is_none());
        self.process.pass_at("writer.after_answer").await;
        Ok(outcome)
    }

    /// The destination does not take the request at all.
    fn refusal(&self) -> Option<Result<Outcome, EndpointError>> {
        let chance = self.faults.chance();
        let after = chance.span(Duration::from_secs(1), Duration::from_secs(120));
        if self.faults.fires(Fault::Throttled) {
            return Some(Err(down("throttled", Some(after))));
        }
        if self.faults.fires(Fault::ThrottledRecord) {
            return Some(Ok(Outcome::Retry { after: None, code: "throttled".to_owned() }));
        }
        if self.faults.fires(Fault::Conflict) {
            return Some(Ok(Outcome::Retry { after: None, code: "conflict".to_owned() }));
        }
        if self.faults.fires(Fault::RefusedOnce) {
            return Some(Ok(refused("refused-once")));
        }
        None
    }
}

fn refused(code: &str) -> Outcome {
    let explanation = "The destination refuses the record.".to_owned();
    Outcome::Rejected(Rejection { code: code.to_owned(), field: None, explanation })
}

#[async_trait]
impl Destination for TableTarget {
    fn capabilities(&self) -> DestinationCaps {
        let shape = &self.target.shape;
        DestinationCaps { unique_key: shape.unique_key, settle: shape.settle, in_flight: shape.in_flight }
    }

    async fn apply(&self, at: &Attempt, ops: &[WriteOp], report: &mut Report) -> Result<(), EndpointError> {
        for (index, op) in ops.iter().enumerate() {
            report.set(index, self.write(at, op).await?);
        }
        Ok(())
    }

    async fn resolve(&self, at: &Attempt, ops: &[WriteOp], report: &mut Report) -> Result<(), EndpointError> {
        for (index, op) in ops.iter().enumerate() {
            self.process.pass_at("unknown.before_lookup").await;
            if self.faults.fires(Fault::ConnectRefused) {
                return Err(down("connect-refused", None));
            }
            self.target.clock().sleep(self.faults.chance().span(Duration::ZERO, self.target.shape.latency)).await;
            // A lag is no accident: while it lasts, every lookup is blind.
            let blind = self.target.is_fresh(self.table, &op.key);
            if blind {
                self.faults.note(Fault::ReadLag);
            }
            let found = self.target.look(self.table, &op.key, blind);
            if at.in_doubt {
                self.rare.took(if found { Path::UnknownFound } else { Path::UnknownAbsent });
            }
            report.set(index, if found { Outcome::Exists } else { Outcome::Missing });
            self.process.pass_at("unknown.after_lookup").await;
        }
        Ok(())
    }
}
