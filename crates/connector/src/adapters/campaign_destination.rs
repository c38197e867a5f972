//! A Campaign resource as the engine's destination.

use std::time::Duration;

use async_trait::async_trait;
use campaign_client::{Addressing, Deleted, Delivery, Error, ErrorKind, RecordApi, RecordKey, Updated};
use serde::de::IgnoredAny;
use sync_core::traits::{Action, Attempt, Destination, DestinationCaps, Outcome, Rejection, Report, WriteOp};
use sync_core::{EndpointError, EndpointErrorKind};

/// Writes one resource.
#[derive(Debug)]
pub(crate) struct CampaignDestination {
    records: RecordApi,
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
    pub(crate) fn new(records: RecordApi, in_flight: usize, settle: Duration) -> Self {
        Self { records, in_flight, settle }
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
            match self.write(op).await {
                Ok(outcome) => report.set(index, outcome),
                Err(error) => match meaning(error) {
                    Meaning::Of(outcome) => report.set(index, outcome),
                    Meaning::Service(error) if index == 0 => return Err(error),
                    // Operations before this one were dispatched, so the call as a whole was.
                    Meaning::Service(error) => {
                        let code = error.code().to_owned();
                        for rest in index..ops.len() {
                            report.set(rest, Outcome::Retry { after: error.retry_after(), code: code.clone() });
                        }
                        break;
                    }
                },
            }
        }
        Ok(())
    }

    async fn resolve(&self, _at: &Attempt, ops: &[WriteOp], report: &mut Report) -> Result<(), EndpointError> {
        for (index, op) in ops.iter().enumerate() {
            let found = match RecordKey::new(op.key.to_text()) {
                Ok(key) => self.records.get::<IgnoredAny>(&key).await,
                Err(error) => Err(error),
            };
            match found {
                Ok(Some(_)) => report.set(index, Outcome::Exists),
                Ok(None) => report.set(index, Outcome::Missing),
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
