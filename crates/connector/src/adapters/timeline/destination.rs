//! The timelines of Dynamics 365 as the engine's destination.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use campaign_client::MailKind;
use d365_client::{D365Client, EntityDef, Error, ErrorKind, Trouble};
use http_kit::Delivery;
use record::Key;
use serde_json::value::RawValue;
use sync_core::traits::{Action, Attempt, Destination, DestinationCaps, Outcome, Rejection, Report, WriteOp};
use sync_core::{EndpointError, Payload};
use uuid::Uuid;

use super::activity::Activity;
use super::event;
use super::gather::{Gather, MOST};
use crate::adapters::dataverse_source::{endpoint_error, endpoint_error_of};
use crate::adapters::unsent;

/// What an event waits for whose contact is not there.
const NO_CONTACT: &str = "contact-unknown";

/// Writes the activities of every kind.
#[derive(Debug)]
pub(crate) struct ActivityDestination {
    /// The kind of each table.
    kinds: Vec<MailKind>,
    gather: Gather,
    in_flight: usize,
}

/// The table of one kind, and whether it takes many rows in one request.
#[derive(Debug)]
pub(crate) struct ActivityTable {
    pub(crate) kind: MailKind,
    pub(crate) def: Arc<EntityDef>,
    pub(crate) many: bool,
}

impl ActivityDestination {
    /// With so many requests at the same time; `contact` is the table that activities are regarding.
    pub(crate) fn new(
        client: &D365Client,
        tables: Vec<ActivityTable>,
        contact: &Arc<EntityDef>,
        requests: usize,
    ) -> Self {
        let kinds: Vec<MailKind> = tables.iter().map(|table| table.kind).collect();
        // Enough that the next requests are full when these are answered, whichever tables they are of.
        let in_flight = (requests.max(1) + kinds.len()) * 2 * MOST;
        let tables = tables.into_iter().map(|table| (table.def, table.many));
        Self { kinds, gather: Gather::new(client, tables, contact.clone(), requests), in_flight }
    }

    /// The number of the table, and the row.
    fn row(&self, payload: &Payload) -> Option<(usize, Box<RawValue>)> {
        let activity: Activity<'_> = serde_json::from_slice(&payload.0).ok()?;
        let kind = event::kind_of(&activity.kind)?;
        let table = self.kinds.iter().position(|known| *known == kind)?;
        Some((table, activity.row.to_owned()))
    }

    async fn perform(&self, op: &WriteOp) -> Result<Outcome, EndpointError> {
        let (Some(id), Action::Create(body) | Action::Update(body)) = (id_of(&op.key), &op.action) else {
            return Ok(unwritable());
        };
        let Some((table, row)) = self.row(body) else { return Ok(unwritable()) };
        match self.gather.write(table, id, row).await {
            Some(Ok(())) => Ok(Outcome::Applied),
            Some(Err(error)) => outcome(error),
            None => Ok(Outcome::Unknown { code: "request-broken-off".to_owned() }),
        }
    }
}

/// A payload that this destination did not make.
fn unwritable() -> Outcome {
    Outcome::Rejected(Rejection {
        code: "activity-unwritable".to_owned(),
        field: None,
        explanation: "What is queued is no activity of a kind that is switched on. Queue it again.".to_owned(),
    })
}

fn id_of(key: &Key) -> Option<Uuid> {
    match key {
        Key::Guid(id) => Some(*id),
        Key::Text(text) => Uuid::parse_str(text).ok(),
    }
}

/// What an error means for one activity.
fn outcome(error: Arc<Error>) -> Result<Outcome, EndpointError> {
    let code = crate::adapters::kebab("dataverse", &format!("{:?}", error.kind()));
    match error.trouble() {
        // The row itself is created where it is not there: what is not found is the contact it refers to.
        Trouble::Rows if error.kind() == ErrorKind::NotFound => Ok(Outcome::NotYet { code: NO_CONTACT.to_owned() }),
        Trouble::Rows => Ok(Outcome::Rejected(Rejection {
            code,
            field: None,
            explanation: format!("Dynamics 365 refused the activity: {error}. {}", error.remedy()),
        })),
        Trouble::Load => Ok(Outcome::Retry { after: error.retry_after(), code }),
        Trouble::Service if error.delivery() == Delivery::MaybeApplied => Ok(Outcome::Unknown { code }),
        Trouble::Service => Err(endpoint_error_of(&error).with_source(error)),
    }
}

#[async_trait]
impl Destination for ActivityDestination {
    fn capabilities(&self) -> DestinationCaps {
        // The id of an activity is chosen here: written again, it is the same one. So there is nothing to wait for either.
        DestinationCaps { unique_key: true, settle: Duration::ZERO, in_flight: self.in_flight }
    }

    async fn apply(&self, _: &Attempt, ops: &[WriteOp], report: &mut Report) -> Result<(), EndpointError> {
        for (index, op) in ops.iter().enumerate() {
            match self.perform(op).await {
                Ok(outcome) => report.set(index, outcome),
                Err(error) => return unsent(report, index, ops.len(), error),
            }
        }
        Ok(())
    }

    async fn resolve(&self, _: &Attempt, ops: &[WriteOp], report: &mut Report) -> Result<(), EndpointError> {
        for (index, op) in ops.iter().enumerate() {
            let (Some(id), Action::Create(body) | Action::Update(body)) = (id_of(&op.key), &op.action) else {
                continue;
            };
            let Some((table, _)) = self.row(body) else { continue };
            let there = self.gather.is_there(table, id).await.map_err(endpoint_error)?;
            report.set(index, if there { Outcome::Exists } else { Outcome::Missing });
        }
        Ok(())
    }
}
