//! What the ledger says about a profile that ingress is about to write.

use std::sync::{Arc, OnceLock};

use consent::SharedLedger;
use mapping::Plan;
use record::Key;
use sync_core::traits::{Action, Attempt, Outcome, Rejection, WriteOp};
use sync_core::{EndpointError, Payload};
use tokio::sync::MutexGuard;

use super::destination::ConsentDestination;
use super::ledger_error;
use super::turns::Turns;
use crate::adapters::plan_transform;

/// Asked right before a profile is created or changed.
#[derive(Debug)]
pub(crate) struct ConsentGuard {
    ledger: SharedLedger,
    turns: Arc<Turns>,
    plan: Arc<Plan>,
    looks: Looks,
}

/// Looks at contacts whose profile ingress creates; nothing as long as the opt-out workflow is not built, and for good where Campaign's
/// own changes tell of created profiles.
pub(crate) type Looks = Arc<OnceLock<Arc<ConsentDestination>>>;

/// What may be sent.
pub(crate) enum Admitted<'g> {
    /// This, while the contact's turn is held: what is looked at meanwhile sees the row.
    Send(Action, Option<MutexGuard<'g, ()>>),
    /// Nothing.
    Refused(Outcome),
}

impl ConsentGuard {
    pub(crate) fn new(ledger: SharedLedger, turns: Arc<Turns>, plan: Arc<Plan>, looks: Looks) -> Self {
        Self { ledger, turns, plan, looks }
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

    /// A delete always; a change unless the person was erased; a create with every opt-out that the ledger holds.
    ///
    /// # Errors
    /// When the ledger cannot be read: nothing may be sent.
    pub(crate) async fn admit(&self, key: &Key, action: &Action) -> Result<Admitted<'_>, EndpointError> {
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
        let opted_out = self.ledger.opted_out(key).map_err(ledger_error)?;
        if opted_out.is_empty() {
            return Ok(Admitted::Send(action.clone(), turn));
        }
        Ok(match self.plan.with_opt_outs(&body.0, opted_out.iter().map(String::as_str)) {
            Ok(body) => Admitted::Send(Action::Create(Payload(body.into())), turn),
            Err(rejection) => Admitted::Refused(Outcome::Rejected(plan_transform::rejection(&rejection))),
        })
    }
}
