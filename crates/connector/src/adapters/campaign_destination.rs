//! A Campaign resource as the engine's destination.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use campaign_client::{Addressing, Deleted, Delivery, Error, ErrorKind, RecordApi, RecordKey, Updated};
use record::Key;
use serde::de::IgnoredAny;
use sync_core::traits::{Action, Attempt, Class, Destination, DestinationCaps, Outcome, Rejection, Report, WriteOp};
use sync_core::{EndpointError, EndpointErrorKind};

use super::addressing::{AddressingProof, Doubt};
use super::consent::inserts::{Admitted, ConsentGuard};
use super::engine_calls::EngineCalls;
use super::unsent;
use super::urgency::ByClass;

/// A 404 came before any row was reached by its key, and the key could not be tried.
const UNPROVEN: &str = "campaign-key-unproven";

/// Writes one resource.
#[derive(Debug)]
pub(crate) struct CampaignDestination {
    records: ByClass<RecordApi>,
    /// How rows are found; the same for every class.
    addressing: Addressing,
    proof: AddressingProof,
    in_flight: usize,
    settle: Duration,
    allowance: Option<Arc<EngineCalls>>,
    /// What opt-outs have to say, where their workflow is on and these are its profiles.
    consent: Option<ConsentGuard>,
}

/// What an error of the client means for one operation.
pub(super) enum Meaning {
    /// It concerns this operation alone.
    Of(Outcome),
    /// It concerns the service; nothing was done.
    Service(EndpointError),
}

impl CampaignDestination {
    pub(crate) fn new(records: ByClass<RecordApi>, proof: AddressingProof, in_flight: usize, settle: Duration) -> Self {
        let addressing = records.of(Class::Live).addressing().clone();
        Self { records, addressing, proof, in_flight, settle, allowance: None, consent: None }
    }

    /// The same, which makes no more calls than the account allows.
    pub(crate) fn within(mut self, allowance: Option<Arc<EngineCalls>>) -> Self {
        self.allowance = allowance;
        self
    }

    /// The same, which asks the consent ledger right before each write.
    pub(crate) fn minding(mut self, consent: Option<ConsentGuard>) -> Self {
        self.consent = consent;
        self
    }

    /// Does something of so many calls, if the day's allowance has them.
    async fn spending<T>(
        &self,
        calls: u64,
        work: impl Future<Output = Result<T, EndpointError>>,
    ) -> Result<T, EndpointError> {
        let Some(allowance) = &self.allowance else { return work.await };
        let permit = allowance.spend(calls).await?;
        let done = work.await;
        allowance.made(permit).await;
        done
    }

    /// Where a filter finds the record, a change or delete begins with a read.
    fn calls_of(&self, action: &Action) -> u64 {
        match (action, &self.addressing) {
            (Action::Update(_) | Action::Delete, Addressing::Filter { .. }) => 2,
            _ => 1,
        }
    }

    /// One operation. `Err` means that it certainly had no effect, and why nothing else may be sent.
    async fn perform(&self, at: &Attempt, op: &WriteOp) -> Result<Outcome, EndpointError> {
        let records = self.records.of(at.class);
        if let Some(refusal) = self.proof.refusal(records) {
            return Err(refusal);
        }
        if matches!(op.action, Action::Create(_)) && self.proof.is_doubted() {
            match self.believe(records, Outcome::Missing).await? {
                Outcome::Missing => {}
                later => return Ok(later),
            }
        }
        let admitted = match &self.consent {
            Some(consent) => Some(consent.admit(at, op).await?),
            None => None,
        };
        // The contact's turn lasts until the write has ended.
        let (action, _turn) = match &admitted {
            Some(Admitted::Refused(outcome)) => return Ok(outcome.clone()),
            Some(Admitted::Send(action, turn)) => (action, turn.as_ref()),
            None => (&op.action, None),
        };
        let outcome = match write(records, &op.key, action).await {
            Ok(outcome) => outcome,
            Err(error) => match meaning(error) {
                Meaning::Of(outcome) => outcome,
                Meaning::Service(error) => return Err(error),
            },
        };
        match (&op.action, outcome) {
            (Action::Create(_), Outcome::Applied) => {
                self.proof.created();
                Ok(Outcome::Applied)
            }
            (Action::Create(_), Outcome::Unknown { code }) => {
                self.proof.doubt();
                Ok(Outcome::Unknown { code })
            }
            (Action::Update(_) | Action::Delete, Outcome::Applied) => {
                self.proof.reached();
                Ok(Outcome::Applied)
            }
            (Action::Update(_) | Action::Delete, Outcome::Missing) => self.believe(records, Outcome::Missing).await,
            (_, outcome) => Ok(outcome),
        }
    }

    /// What follows from a key that found no row: believed once the key is known to find rows.
    async fn believe(&self, records: &RecordApi, outcome: Outcome) -> Result<Outcome, EndpointError> {
        match self.proof.settle(records).await {
            Ok(()) => Ok(outcome),
            Err(Doubt::Refuted(refusal)) => Err(refusal),
            // Nobody knows of the key yet. The operation itself had no effect: it is tried again.
            Err(Doubt::Unanswered(error)) if error.is_transient() => {
                Ok(Outcome::Retry { after: error.retry_after(), code: UNPROVEN.to_owned() })
            }
            Err(Doubt::Unanswered(error)) => match meaning(error) {
                Meaning::Service(error) => Err(error),
                // The resource cannot be listed: there will never be a proof, so that the 404 has to do.
                Meaning::Of(_) => Ok(outcome),
            },
            Err(Doubt::Open) => Ok(Outcome::Retry { after: None, code: UNPROVEN.to_owned() }),
        }
    }

    /// Whether the record is there.
    async fn look(&self, at: &Attempt, op: &WriteOp) -> Result<Outcome, EndpointError> {
        let records = self.records.of(at.class);
        let found = match RecordKey::new(op.key.to_text()) {
            Ok(key) => records.get::<IgnoredAny>(&key).await,
            Err(error) => Err(error),
        };
        match found {
            Ok(Some(_)) => {
                self.proof.reached();
                Ok(Outcome::Exists)
            }
            // A record that was never sent is created next, as it would be without a look.
            Ok(None) if !at.in_doubt && !self.proof.is_doubted() => Ok(Outcome::Missing),
            // One that was sent before would be doubled: believed under the same condition as the 404 of a write.
            Ok(None) => self.believe(records, Outcome::Missing).await,
            Err(error) => match meaning(error) {
                Meaning::Of(outcome) => Ok(outcome),
                Meaning::Service(error) => Err(error),
            },
        }
    }
}

#[async_trait]
impl Destination for CampaignDestination {
    fn capabilities(&self) -> DestinationCaps {
        DestinationCaps {
            // A resource that is found by a filter need not have a unique key.
            unique_key: matches!(self.addressing, Addressing::Key),
            settle: self.settle,
            in_flight: self.in_flight,
        }
    }

    async fn apply(&self, at: &Attempt, ops: &[WriteOp], report: &mut Report) -> Result<(), EndpointError> {
        for (index, op) in ops.iter().enumerate() {
            match self.spending(self.calls_of(&op.action), self.perform(at, op)).await {
                Ok(outcome) => {
                    let outcome = match &self.consent {
                        Some(consent) => consent.follow(at, op, outcome).await,
                        None => outcome,
                    };
                    report.set(index, outcome);
                }
                Err(error) => return unsent(report, index, ops.len(), error),
            }
        }
        Ok(())
    }

    async fn resolve(&self, at: &Attempt, ops: &[WriteOp], report: &mut Report) -> Result<(), EndpointError> {
        for (index, op) in ops.iter().enumerate() {
            report.set(index, self.spending(1, self.look(at, op)).await?);
        }
        Ok(())
    }
}

/// Sends one operation.
async fn write(records: &RecordApi, key: &Key, action: &Action) -> Result<Outcome, Error> {
    if let Action::Create(body) = action {
        return records.create(body.0.clone()).await.map(|_| Outcome::Applied);
    }
    let key = RecordKey::new(key.to_text())?;
    Ok(match action {
        Action::Update(body) => match records.update(&key, body.0.clone()).await? {
            Updated::Updated => Outcome::Applied,
            Updated::NotFound => Outcome::Missing,
        },
        _ => match records.delete(&key).await? {
            Deleted::Deleted => Outcome::Applied,
            Deleted::AlreadyGone => Outcome::Missing,
        },
    })
}

/// What an error means: for the record, for the service, or nobody knows.
pub(super) fn meaning(error: Error) -> Meaning {
    let kind = error.kind();
    let code = code(kind);
    match kind {
        ErrorKind::Exists => Meaning::Of(Outcome::Exists),
        ErrorKind::NotFound => Meaning::Of(Outcome::Missing),
        _ if kind.is_of_record() && !kind.is_transient() => Meaning::Of(Outcome::Rejected(Rejection {
            code,
            field: None,
            explanation: match error.code() {
                Some(service) => format!("Campaign refused the record ({service}): {error}. {}", error.remedy()),
                None => format!("Campaign refused the record: {error}. {}", error.remedy()),
            },
        })),
        _ if kind.is_transient() => match error.delivery() {
            Delivery::MaybeApplied => Meaning::Of(Outcome::Unknown { code }),
            Delivery::NotSent => Meaning::Service(service(EndpointErrorKind::Unavailable, code, error)),
            _ => Meaning::Of(Outcome::Retry { after: error.retry_after(), code }),
        },
        // A success whose body cannot be read may still be a success.
        ErrorKind::Decode => Meaning::Of(Outcome::Unknown { code }),
        _ if error.delivery() == Delivery::MaybeApplied => Meaning::Of(Outcome::Unknown { code }),
        _ => Meaning::Service(service(EndpointErrorKind::Refused, code, error)),
    }
}

fn service(kind: EndpointErrorKind, code: String, error: Error) -> EndpointError {
    EndpointError::new(kind, code, format!("Campaign: {error}."), error.remedy().to_owned())
        .with_retry_after(error.retry_after())
        .with_source(error)
}

/// A stable code in kebab case.
fn code(kind: ErrorKind) -> String {
    super::kebab("campaign", &format!("{kind:?}"))
}
