//! A Campaign resource as the engine's destination.

use std::time::Duration;

use async_trait::async_trait;
use campaign_client::{Addressing, Deleted, Delivery, Error, ErrorKind, RecordApi, RecordKey, Updated};
use serde::de::IgnoredAny;
use sync_core::traits::{Action, Attempt, Destination, DestinationCaps, Outcome, Rejection, Report, WriteOp};
use sync_core::{EndpointError, EndpointErrorKind};

use super::addressing::{AddressingProof, Doubt};

/// A 404 came before any row was reached by its key, and the key could not be tried.
const UNPROVEN: &str = "campaign-key-unproven";

/// Writes one resource.
#[derive(Debug)]
pub(crate) struct CampaignDestination {
    records: RecordApi,
    proof: AddressingProof,
    in_flight: usize,
    settle: Duration,
}

/// What an error of the client means for one operation.
enum Meaning {
    /// It concerns this operation alone.
    Of(Outcome),
    /// It concerns the service; nothing was done.
    Service(EndpointError),
}

impl CampaignDestination {
    pub(crate) fn new(records: RecordApi, proof: AddressingProof, in_flight: usize, settle: Duration) -> Self {
        Self { records, proof, in_flight, settle }
    }

    /// One operation. `Err` means that it certainly had no effect, and why nothing else may be sent.
    async fn perform(&self, op: &WriteOp) -> Result<Outcome, EndpointError> {
        if let Some(refusal) = self.proof.refusal(&self.records) {
            return Err(refusal);
        }
        if matches!(op.action, Action::Create(_)) && self.proof.is_doubted() {
            match self.believe(Outcome::Missing).await? {
                Outcome::Missing => {}
                later => return Ok(later),
            }
        }
        let outcome = match self.write(op).await {
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
            (Action::Update(_) | Action::Delete, Outcome::Missing) => self.believe(Outcome::Missing).await,
            (_, outcome) => Ok(outcome),
        }
    }

    /// What follows from a key that found no row: believed once the key is known to find rows.
    async fn believe(&self, outcome: Outcome) -> Result<Outcome, EndpointError> {
        match self.proof.settle(&self.records).await {
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

    async fn write(&self, op: &WriteOp) -> Result<Outcome, Error> {
        if let Action::Create(body) = &op.action {
            return self.records.create(body.0.clone()).await.map(|_| Outcome::Applied);
        }
        let key = RecordKey::new(op.key.to_text())?;
        Ok(match &op.action {
            Action::Update(body) => match self.records.update(&key, body.0.clone()).await? {
                Updated::Updated => Outcome::Applied,
                Updated::NotFound => Outcome::Missing,
            },
            _ => match self.records.delete(&key).await? {
                Deleted::Deleted => Outcome::Applied,
                Deleted::AlreadyGone => Outcome::Missing,
            },
        })
    }
}

#[async_trait]
impl Destination for CampaignDestination {
    fn capabilities(&self) -> DestinationCaps {
        DestinationCaps {
            // A resource that is found by a filter need not have a unique key.
            unique_key: matches!(self.records.addressing(), Addressing::Key),
            settle: self.settle,
            in_flight: self.in_flight,
        }
    }

    async fn apply(&self, _at: &Attempt, ops: &[WriteOp], report: &mut Report) -> Result<(), EndpointError> {
        for (index, op) in ops.iter().enumerate() {
            match self.perform(op).await {
                Ok(outcome) => report.set(index, outcome),
                Err(error) if index == 0 => return Err(error),
                // Operations before this one were dispatched, so the call as a whole was.
                Err(error) => {
                    let code = error.code().to_owned();
                    for rest in index..ops.len() {
                        report.set(rest, Outcome::Retry { after: error.retry_after(), code: code.clone() });
                    }
                    break;
                }
            }
        }
        Ok(())
    }

    async fn resolve(&self, at: &Attempt, ops: &[WriteOp], report: &mut Report) -> Result<(), EndpointError> {
        for (index, op) in ops.iter().enumerate() {
            let found = match RecordKey::new(op.key.to_text()) {
                Ok(key) => self.records.get::<IgnoredAny>(&key).await,
                Err(error) => Err(error),
            };
            match found {
                Ok(Some(_)) => {
                    self.proof.reached();
                    report.set(index, Outcome::Exists);
                }
                // A record that was never sent is created next, as it would be without a look.
                Ok(None) if at.number <= 1 && !self.proof.is_doubted() => report.set(index, Outcome::Missing),
                // One that was sent before would be doubled: believed under the same condition as the 404 of a write.
                Ok(None) => report.set(index, self.believe(Outcome::Missing).await?),
                Err(error) => match meaning(error) {
                    Meaning::Of(outcome) => report.set(index, outcome),
                    Meaning::Service(error) => return Err(error),
                },
            }
        }
        Ok(())
    }
}

/// What an error means: for the record, for the service, or nobody knows.
fn meaning(error: Error) -> Meaning {
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
