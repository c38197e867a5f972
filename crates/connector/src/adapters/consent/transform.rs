//! From a change on either side to the word that its contact is to be looked at.

use record::{Change, ChangeBody, Key, json};
use sync_core::traits::{Decision, Rejection, Transform, Update};
use sync_core::{Digest, Payload, PlanVersion};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Says "look at this contact". What was observed is used for one thing: an observation that comes again leads to no second look.
#[derive(Debug)]
pub(crate) struct LookTransform {
    version: PlanVersion,
}

impl LookTransform {
    /// `meaning` names everything that a look goes by: with another one, every contact is looked at once more.
    pub(crate) fn new(meaning: &str) -> Self {
        Self { version: PlanVersion(xxh3_64(meaning.as_bytes())) }
    }
}

impl Transform for LookTransform {
    fn decide(&self, change: &Change) -> Result<Decision, Rejection> {
        if !matches!(change.key, Key::Guid(_)) {
            return match &change.body {
                // Whose row it is cannot be told, so that nobody can be looked at.
                ChangeBody::Unreadable { field, error } => Err(Rejection {
                    code: "opt-out-row-unreadable".to_owned(),
                    field: Some(field.to_string()),
                    explanation: format!(
                        "The row cannot be read: {error}. Look at the file and at opt_out.source.export."
                    ),
                }),
                // A record that no contact can stand for is nothing to keep in step.
                _ => Ok(Decision::FilteredOut { delete: false }),
            };
        }
        let mut observed = format!("{:?}\n", change.version);
        match &change.body {
            ChangeBody::Delete => return Ok(Decision::Ignore),
            ChangeBody::Upsert(record) => {
                for (name, value) in record.iter() {
                    observed.push_str(&format!("{name}={}\n", json::print(value)));
                }
            }
            // The look reads the value itself, and tells what is wrong with it.
            ChangeBody::Unreadable { .. } => observed.push_str("unreadable"),
        }
        let body = Payload(bytes::Bytes::from_static(b"{}"));
        let digest = Digest(xxh3_128(observed.as_bytes()).to_be_bytes());
        Ok(Decision::Upsert { insert: body.clone(), update: Update::Body(body), digest })
    }

    fn version(&self) -> PlanVersion {
        self.version
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

    use record::{FieldName, Record, Value};
    use uuid::Uuid;

    use super::*;

    fn digest(version: i64, value: bool) -> Digest {
        let mut record = Record::with_capacity(1);
        record.push(FieldName::from("donotemail"), Value::Bool(value));
        let key = Key::Guid(Uuid::from_u128(7));
        let change = Change { key, version: Some(version), body: ChangeBody::Upsert(record) };
        match LookTransform::new("").decide(&change).unwrap() {
            Decision::Upsert { digest, .. } => digest,
            other => panic!("{other:?}"),
        }
    }

    /// The row may have had another value in between, which only its version tells.
    #[test]
    fn only_the_very_same_observation_collapses() {
        assert_eq!(digest(1, true), digest(1, true));
        assert_ne!(digest(1, true), digest(1, false));
        assert_ne!(digest(1, true), digest(2, true));
    }

    #[test]
    fn a_row_of_nobody_knows_whom_is_a_dead_letter() {
        let error = record::ValueError { expected: "an external id" };
        let body = ChangeBody::Unreadable { field: FieldName::from("row"), error };
        let change = Change { key: Key::text("optout_1.csv:3:0a0b0c0d"), version: None, body };
        assert_eq!(LookTransform::new("").decide(&change).unwrap_err().code, "opt-out-row-unreadable");
    }

    #[test]
    fn strangers_and_deletes_lead_to_no_look() {
        let stranger = Change { key: Key::text("customer 7"), version: None, body: ChangeBody::Delete };
        let transform = LookTransform::new("");
        assert_eq!(transform.decide(&stranger).unwrap(), Decision::FilteredOut { delete: false });
        let gone = Change { key: Key::Guid(Uuid::from_u128(7)), ..stranger };
        assert_eq!(transform.decide(&gone).unwrap(), Decision::Ignore);
    }
}
