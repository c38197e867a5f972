//! What the ledger says about a profile that ingress is about to write.

use std::sync::{Arc, OnceLock};

use consent::{Reading, SharedLedger};
use mapping::Plan;
use record::Key;
use sync_core::traits::{Action, Attempt, Outcome, Rejection, WriteOp};
use sync_core::{EndpointError, Payload};
use timing::SharedClock;
use tokio::sync::MutexGuard;

use super::destination::ConsentDestination;
use super::ledger_error;
use super::sides::{Failed, Sides};
use super::turns::Turns;
use crate::adapters::plan_transform;

/// Asked right before a profile is created or changed.
#[derive(Debug)]
pub(crate) struct ConsentGuard {
    ledger: SharedLedger,
    turns: Arc<Turns>,
    plan: Arc<Plan>,
    looks: Looks,
    origin: Origin,
}

/// Looks at contacts whose profile ingress creates; nothing as long as the opt-out workflow is not built, and for good where Campaign's
/// own changes tell of created profiles.
pub(crate) type Looks = Arc<OnceLock<Arc<ConsentDestination>>>;

/// Dynamics 365, asked before a create whose row was read too long ago to say who opted out.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    clock: SharedClock,
    /// When the process began to follow changes.
    began_ms: i64,
    /// Both sides, and whether changes in Dynamics 365 are looked at; nothing as long as the opt-out workflow is not built.
    sides: Arc<OnceLock<(Arc<Sides>, bool)>>,
}

/// A row that was read longer ago is read again, where nobody looks at changes in Dynamics 365.
const FRESH_MS: i64 = 10_000;

impl Origin {
    pub(crate) fn new(clock: SharedClock) -> Self {
        let began_ms = clock.now().timestamp_millis();
        Self { clock, began_ms, sides: Arc::default() }
    }

    /// Says how contacts are read, and whether each change of one leads to a look.
    pub(crate) fn follow(&self, sides: Arc<Sides>, followed: bool) {
        let _ = self.sides.set((sides, followed));
    }

    /// Whether the row that a create was made of may be older than what the ledger knows of. A look of this process tells the ledger of every
    /// change since it began, where changes are looked at.
    fn outdated(&self, at: &Attempt, followed: bool) -> bool {
        let fresh_ms = if followed { self.began_ms } else { self.clock.now().timestamp_millis() - FRESH_MS };
        at.in_doubt || at.number > 1 || at.appended_ms < fresh_ms.max(self.began_ms)
    }

    /// The attributes whose column says now that the contact opted out; none where the row of the create is good enough.
    async fn opted_out(&self, at: &Attempt, key: &Key) -> Result<Vec<String>, Failed> {
        let Some((sides, followed)) = self.sides.get() else { return Ok(Vec::new()) };
        if !self.outdated(at, *followed) {
            return Ok(Vec::new());
        }
        let row = sides.contact(at.class, key).await?;
        let readings = sides.readings(row.as_ref(), None)?;
        let opted_out = |reading: &Reading| reading.d365.is_some_and(|side| side.value == Some(true));
        Ok(readings.into_iter().filter(opted_out).map(|reading| reading.attribute).collect())
    }
}

/// What may be sent.
pub(crate) enum Admitted<'g> {
    /// This, while the contact's turn is held: what is looked at meanwhile sees the row.
    Send(Action, Option<MutexGuard<'g, ()>>),
    /// Nothing.
    Refused(Outcome),
}

impl ConsentGuard {
    pub(crate) fn new(ledger: SharedLedger, turns: Arc<Turns>, plan: Arc<Plan>, looks: Looks, origin: Origin) -> Self {
        Self { ledger, turns, plan, looks, origin }
    }

    /// A created row is a change of Campaign. The contact is looked at before the write is settled: whatever ends the run in between, the
    /// entry is there again, finds the row, and leads to the look once more.
    pub(crate) async fn follow(&self, at: &Attempt, op: &WriteOp, outcome: Outcome) -> Outcome {
        let may_be_new = match (&op.action, &outcome) {
            (Action::Create(_), Outcome::Applied | Outcome::Exists) => true,
            (Action::Update(_), Outcome::Applied) => at.in_doubt,
            _ => false,
        };
        let Some(looks) = self.looks.get().filter(|_| may_be_new) else { return outcome };
        match looks.look(at, &op.key).await {
            Ok(Outcome::Applied) => outcome,
            Ok(refused @ Outcome::Rejected(_)) => refused,
            // The row is written. It counts as such once the look is done.
            Ok(Outcome::Retry { code, .. } | Outcome::Unknown { code } | Outcome::NotYet { code }) => {
                Outcome::Unknown { code }
            }
            Ok(Outcome::Exists | Outcome::Missing) => outcome,
            Err(error) => Outcome::Unknown { code: error.code().to_owned() },
        }
    }

    /// A delete always; a change unless the person was erased; a create with every opt-out that the ledger holds, and with those that
    /// Dynamics 365 holds now, where the row that it was made of is not known to be the last one.
    ///
    /// # Errors
    /// When the ledger or Dynamics 365 cannot be asked: nothing may be sent.
    pub(crate) async fn admit(&self, at: &Attempt, op: &WriteOp) -> Result<Admitted<'_>, EndpointError> {
        let (key, action) = (&op.key, &op.action);
        if matches!(action, Action::Delete) {
            return Ok(Admitted::Send(action.clone(), None));
        }
        let turn = match action {
            Action::Create(_) => self.turns.take(key).await,
            _ => None,
        };
        if self.ledger.is_erased(key).map_err(ledger_error)? {
            return Ok(Admitted::Refused(Outcome::Rejected(Rejection {
                code: "person-erased".to_owned(),
                field: None,
                explanation: "The person is marked as erased, so that nothing of hers is written. Forget this letter, or take the \
                              mark back if it was set by mistake."
                    .to_owned(),
            })));
        }
        let Action::Create(body) = action else { return Ok(Admitted::Send(action.clone(), turn)) };
        let mut opted_out = self.ledger.opted_out(key).map_err(ledger_error)?;
        match self.origin.opted_out(at, key).await {
            Ok(now) => opted_out.extend(now.into_iter().filter(|name| !opted_out.contains(name)).collect::<Vec<_>>()),
            Err(Failed::Service(error)) => return Err(error),
            Err(Failed::Of(outcome @ Outcome::Rejected(_))) => return Ok(Admitted::Refused(outcome)),
            // A read has no effect, however it ends.
            Err(Failed::Of(Outcome::Retry { after, code })) => {
                return Ok(Admitted::Refused(Outcome::Retry { after, code }));
            }
            Err(_) => {
                let code = "opt-outs-unread".to_owned();
                return Ok(Admitted::Refused(Outcome::Retry { after: None, code }));
            }
        }
        if opted_out.is_empty() {
            return Ok(Admitted::Send(action.clone(), turn));
        }
        Ok(match self.plan.with_opt_outs(&body.0, opted_out.iter().map(String::as_str)) {
            Ok(body) => Admitted::Send(Action::Create(Payload(body.into())), turn),
            Err(rejection) => Admitted::Refused(Outcome::Rejected(plan_transform::rejection(&rejection))),
        })
    }
}
