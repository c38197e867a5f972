//! From an event to the row of its activity.

use std::fmt::Write;

use campaign_client::MailKind;
use chrono::SecondsFormat;
use record::{Change, ChangeBody, Record, Value};
use serde_json::value::RawValue;
use serde_json::{Map, json};
use sync_core::traits::{Decision, Rejection, Transform, Update};
use sync_core::{Digest, Payload, PlanVersion};
use uuid::Uuid;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::event::{self, Named};
use crate::config::ActivityNames;

/// How one kind of event is written.
#[derive(Debug, Clone)]
pub(crate) struct ActivityPlan {
    pub(crate) kind: MailKind,
    pub(crate) names: ActivityNames,
    /// The navigation property of the contact.
    pub(crate) regarding: String,
}

/// Makes activities of the kinds that are switched on.
#[derive(Debug)]
pub(crate) struct ActivityTransform {
    plans: Vec<ActivityPlan>,
    version: PlanVersion,
}

impl ActivityTransform {
    pub(crate) fn new(plans: Vec<ActivityPlan>) -> Self {
        let version = plans.iter().fold(String::new(), |mut text, plan| {
            // Writing to a text never fails.
            let _ = write!(text, "{}|{:?}|{};", plan.kind.name(), plan.names, plan.regarding);
            text
        });
        Self { version: PlanVersion(xxh3_64(version.as_bytes())), plans }
    }

    fn decided(&self, record: &Record) -> Decision {
        let text = |name: &str| match record.get(name) {
            Some(Value::Text(text)) => Some(text.as_ref()),
            _ => None,
        };
        let kind = text(event::KIND).and_then(event::kind_of);
        let soft = kind == Some(MailKind::Bounce) && record.get(event::HARD) != Some(&Value::Bool(true));
        let plan = self.plans.iter().find(|plan| Some(plan.kind) == kind).filter(|_| !soft);
        let Some(plan) = plan else { return Decision::FilteredOut { delete: false } };
        // A profile that no contact stands for has no timeline.
        let Some(contact) = text(event::RECIPIENT).and_then(|id| Uuid::parse_str(id).ok()) else {
            return Decision::Ignore;
        };
        let (campaign, delivery) = (text(event::CAMPAIGN), text(event::DELIVERY).unwrap_or_default());
        let mut row = Map::new();
        let subject = format!("Campaign Name: {}; Delivery Name: {delivery}", campaign.unwrap_or_default());
        row.insert("subject".to_owned(), json!(subject));
        row.insert(format!("{}@odata.bind", plan.regarding), json!(format!("/contacts({contact})")));
        row.insert(plan.names.delivery.clone(), json!(delivery));
        if let Some(Value::DateTime(instant)) = record.get(event::INSTANT) {
            row.insert(plan.names.date.clone(), json!(instant.to_rfc3339_opts(SecondsFormat::Secs, true)));
        }
        let url = plan.names.url.as_ref().map(|column| (column, text(event::URL)));
        let optional = [(&plan.names.campaign, campaign), (&plan.names.mirror_page, text(event::MIRROR_PAGE))];
        for (column, value) in optional.into_iter().chain(url) {
            if let Some(value) = value {
                row.insert(column.clone(), json!(value));
            }
        }
        let payload = Payload(json!({ "kind": plan.kind.name(), "row": row }).to_string().into_bytes().into());
        let digest = Digest(xxh3_128(&payload.0).to_be_bytes());
        Decision::Upsert { insert: payload.clone(), update: Update::Body(payload), digest }
    }
}

impl Transform for ActivityTransform {
    fn decide(&self, change: &Change) -> Result<Decision, Rejection> {
        match &change.body {
            ChangeBody::Upsert(record) => Ok(self.decided(record)),
            ChangeBody::Delete => Ok(Decision::Ignore),
            ChangeBody::Unreadable { error, .. } if event::is_gone(error) => Err(Rejection {
                code: "event-gone".to_owned(),
                field: None,
                explanation: "The event was to be read again, and its source no longer keeps it. Put a log export that tells of it \
                              where exports are read, and queue it again; or drop it."
                    .to_owned(),
            }),
            ChangeBody::Unreadable { field, error } => Err(Rejection {
                code: "event-unreadable".to_owned(),
                field: Some(field.to_string()),
                explanation: format!("The event cannot be read: {error}. Look at the pointers of [events]."),
            }),
        }
    }

    fn version(&self) -> PlanVersion {
        self.version
    }
}

/// A payload read back.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Activity<'p> {
    pub(crate) kind: String,
    #[serde(borrow)]
    pub(crate) row: &'p RawValue,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

    use campaign_client::MailEvent;
    use chrono::{DateTime, Utc};
    use serde_json::Value as Json;

    use super::*;
    use crate::config::Activities;

    const CONTACT: &str = "8C1F0C52-0000-4000-8000-000000000001";

    fn mail(kind: MailKind, time: &str) -> MailEvent {
        let mut mail = MailEvent::new(kind, "DM190", time.parse::<DateTime<Utc>>().unwrap());
        mail.hard = kind == MailKind::Bounce;
        mail.recipient = Some(CONTACT.to_owned());
        mail.campaign = Some("2019LoyaltyCamp".to_owned());
        mail.ordinal = Some("9".to_owned());
        mail.url = Some("https://shop.example.org/p/1".to_owned());
        mail.mirror_page = Some("https://t.example.org/m?c=1".to_owned());
        mail
    }

    fn transform() -> ActivityTransform {
        let all = Activities::default();
        let plan = |kind, names: &ActivityNames| ActivityPlan {
            kind,
            names: names.clone(),
            regarding: format!("regardingobjectid_contact_{}", names.table),
        };
        let kinds = [(MailKind::Send, &all.send), (MailKind::Click, &all.click), (MailKind::Bounce, &all.bounce)];
        ActivityTransform::new(kinds.map(|(kind, names)| plan(kind, names)).into())
    }

    fn decide(mail: &MailEvent) -> Decision {
        transform().decide(&event::change(mail)).unwrap()
    }

    fn row(mail: &MailEvent) -> Json {
        match decide(mail) {
            Decision::Upsert { insert, .. } => serde_json::from_slice(&insert.0).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_click_has_every_attribute() {
        let expected = json!({"kind": "click", "row": {
            "subject": "Campaign Name: 2019LoyaltyCamp; Delivery Name: DM190",
            "regardingobjectid_contact_adobe_campaignemailurlclick@odata.bind":
                "/contacts(8c1f0c52-0000-4000-8000-000000000001)",
            "adobe_campaignname": "2019LoyaltyCamp", "adobe_deliveryname": "DM190",
            "adobe_dateclicked": "2026-02-21T09:26:57Z", "adobe_trackingurl": "https://shop.example.org/p/1",
            "adobe_mirrorpageurl": "https://t.example.org/m?c=1",
        }});
        assert_eq!(row(&mail(MailKind::Click, "2026-02-21T09:26:57.584Z")), expected);
    }

    #[test]
    fn only_a_click_has_a_url() {
        let sent = row(&mail(MailKind::Send, "2026-02-21T09:26:57.584Z"));
        assert_eq!(sent["row"]["adobe_datesent"], "2026-02-21T09:26:57Z");
        assert!(!sent.to_string().contains("shop.example.org"), "{sent}");
    }

    #[test]
    fn what_is_off_soft_or_without_a_contact_makes_no_activity() {
        let filtered = Decision::FilteredOut { delete: false };
        assert_eq!(decide(&mail(MailKind::Open, "2026-02-21T09:26:57Z")), filtered, "switched off");
        let mut bounce = mail(MailKind::Bounce, "2026-02-21T09:26:57Z");
        assert!(matches!(decide(&bounce), Decision::Upsert { .. }), "hard");
        bounce.hard = false;
        assert_eq!(decide(&bounce), filtered);
        for nobody in [None, Some(""), Some("customer 7")] {
            let mut stranger = mail(MailKind::Send, "2026-02-21T09:26:57Z");
            stranger.recipient = nobody.map(str::to_owned);
            assert_eq!(decide(&stranger), Decision::Ignore);
        }
    }

    #[test]
    fn what_cannot_be_read_and_what_is_kept_no_longer_are_told_apart() {
        let code = |change: &Change| transform().decide(change).unwrap_err().code;
        let key = record::Key::text("e1");
        assert_eq!(code(&event::gone(&key)), "event-gone");
        let error = record::ValueError { expected: "a time" };
        let body = ChangeBody::Unreadable { field: record::FieldName::from("/timestamp"), error };
        assert_eq!(code(&Change { key, version: None, body }), "event-unreadable");
    }

    #[test]
    fn an_event_has_one_id_however_it_is_told() {
        let event = mail(MailKind::Open, "2026-02-21T09:26:57.584Z");
        let mut other_source = mail(MailKind::Open, "2026-02-21T09:26:57Z");
        other_source.recipient = Some(CONTACT.to_lowercase());
        other_source.mirror_page = None;
        assert_eq!(event::activity_id(&event), event::activity_id(&other_source));
        // The ids of old activities stay what they are.
        assert_eq!(event::activity_id(&event).to_string(), "9580175b-9095-5857-b4ea-3c784140418f");
        let variations: [fn(&mut MailEvent); 5] = [
            |event| event.kind = MailKind::Click,
            |event| event.instant += chrono::Duration::seconds(1),
            |event| event.recipient = Some("8c1f0c52-0000-4000-8000-000000000002".to_owned()),
            |event| event.delivery = "DM191".to_owned(),
            |event| event.ordinal = Some("10".to_owned()),
        ];
        for vary in variations {
            let mut other = event.clone();
            vary(&mut other);
            assert_ne!(event::activity_id(&event), event::activity_id(&other), "{other:?}");
        }
    }
}
