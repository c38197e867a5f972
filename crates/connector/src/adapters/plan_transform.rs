//! A compiled mapping as the engine's transform.

use std::collections::BTreeMap;
use std::sync::Arc;

use mapping::{Mode, Plan};
use record::{Change, TableName};
use sync_core::traits::{Decision, Parent, Rejection, Transform, Update};
use sync_core::{Digest, Payload, PlanVersion, StreamId};

/// Maps changes of one table by its plan.
#[derive(Debug)]
pub(crate) struct PlanTransform {
    plan: Arc<Plan>,
    /// The streams that write the tables which links lead to.
    streams: BTreeMap<TableName, StreamId>,
}

impl PlanTransform {
    pub(crate) fn new(plan: Arc<Plan>, streams: BTreeMap<TableName, StreamId>) -> Self {
        Self { plan, streams }
    }

    fn decided(&self, change: &Change, mode: Mode) -> Result<Decision, Rejection> {
        match self.plan.decide(change, mode) {
            Ok(mapping::Decision::Write(write)) => Ok(Decision::Upsert {
                insert: Payload(write.insert.into()),
                update: match write.update {
                    Ok(body) => Update::Body(Payload(body.into())),
                    Err(impossible) => Update::Impossible(rejection(&impossible)),
                },
                digest: Digest(write.digest),
            }),
            Ok(mapping::Decision::FilteredOut { delete }) => Ok(Decision::FilteredOut { delete }),
            Ok(mapping::Decision::Delete { apply: true }) => Ok(Decision::Delete),
            Ok(mapping::Decision::Delete { apply: false }) => Ok(Decision::Ignore),
            Err(rejected) => Err(rejection(&rejected)),
        }
    }
}

impl Transform for PlanTransform {
    fn decide(&self, change: &Change) -> Result<Decision, Rejection> {
        self.decided(change, Mode::Live)
    }

    fn decide_replay(&self, change: &Change) -> Result<Decision, Rejection> {
        self.decided(change, Mode::Replay)
    }

    fn parents(&self, change: &Change) -> Vec<Parent> {
        let parents = self.plan.parents_of(change).into_iter();
        parents
            .filter_map(|parent| Some(Parent { stream: self.streams.get(&parent.table)?.clone(), key: parent.key }))
            .collect()
    }

    fn version(&self) -> PlanVersion {
        PlanVersion(self.plan.fingerprint())
    }
}

/// A refusal of the mapping as the engine's.
pub(super) fn rejection(rejection: &mapping::Rejection) -> Rejection {
    Rejection {
        code: rejection.code.to_string(),
        field: rejection.field.as_ref().map(ToString::to_string),
        explanation: rejection.explanation.to_string(),
    }
}
