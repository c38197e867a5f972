//! The opt-outs of one contact on both sides: reading them, and writing some of them.

use std::sync::Arc;

use bytes::Bytes;
use campaign_client::value::parse_datetime;
use campaign_client::{Addressing, CustomRecord, RecordApi, RecordKey, Updated};
use chrono::{DateTime, Utc};
use consent::{Decided, Precision, Reading, Side, Stamp};
use d365_client::odata::Name;
use d365_client::{DynamicEntity, ETag, EntityApi, EntityBody, Error, ErrorKind, Expect, Trouble};
use http_kit::Delivery;
use record::Key;
use sync_core::EndpointError;
use sync_core::traits::{Class, Outcome, Rejection};
use uuid::Uuid;

use crate::adapters::campaign_destination::{Meaning, meaning};
use crate::adapters::dataverse_source::endpoint_error_of;
use crate::adapters::engine_calls::EngineCalls;
use crate::adapters::urgency::ByClass;

/// The time of a row's last change, of anything in it.
pub(crate) const MODIFIED: &str = "modifiedon";

/// One opt-out attribute of the profile.
#[derive(Debug, Clone)]
pub(crate) struct Attribute {
    /// Its name in the ledger.
    pub(crate) wire: String,
    /// Its name in this instance.
    pub(crate) published: String,
    /// The attributes that tell when it changed.
    pub(crate) times: Vec<String>,
    /// The column of the contact that says the same, if one is paired.
    pub(crate) column: Option<String>,
}

/// Both sides.
#[derive(Debug)]
pub(crate) struct Sides {
    rows: ByClass<EntityApi<DynamicEntity>>,
    select: Vec<Name>,
    records: ByClass<RecordApi>,
    attributes: Vec<Attribute>,
    allowance: Option<Arc<EngineCalls>>,
}

/// A contact as Dynamics 365 holds it.
#[derive(Debug)]
pub(crate) struct Row {
    etag: ETag,
    row: DynamicEntity,
}

/// How a request ended that did not do what it was to do.
#[derive(Debug)]
pub(crate) enum Failed {
    /// Certainly without effect, because the row changed since it was read.
    Conflict,
    /// Certainly without effect, because the record is gone.
    Gone,
    /// For this contact: rejected, to be tried again, or unknown.
    Of(Outcome),
    /// Certainly without effect, for a reason that concerns the whole service.
    Service(EndpointError),
}

impl Sides {
    pub(crate) fn new(
        rows: ByClass<EntityApi<DynamicEntity>>,
        records: ByClass<RecordApi>,
        attributes: Vec<Attribute>,
        allowance: Option<Arc<EngineCalls>>,
    ) -> Result<Self, Error> {
        let columns = attributes.iter().filter_map(|attribute| attribute.column.as_deref());
        let select = columns.chain([MODIFIED]).map(|name| Name::new(name.to_owned())).collect::<Result<_, _>>()?;
        Ok(Self { rows, select, records, attributes, allowance })
    }

    /// The contact with its version; `None` where there is none.
    pub(crate) async fn contact(&self, class: Class, key: &Key) -> Result<Option<Row>, Failed> {
        match self.rows.of(class).retrieve(id_of(key)?, &self.select).await {
            Ok(row) => match row.etag() {
                Some(etag) => Ok(Some(Row { etag, row })),
                None => Err(Failed::Of(Outcome::Retry { after: None, code: "row-without-version".to_owned() })),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(of_dataverse(error)),
        }
    }

    /// The profile; `None` where there is none.
    pub(crate) async fn profile(&self, class: Class, key: &Key) -> Result<Option<CustomRecord>, Failed> {
        let records = self.records.of(class);
        self.spending(1, async {
            let key = RecordKey::new(key.to_text())?;
            records.get::<CustomRecord>(&key).await
        })
        .await
    }

    /// Every opt-out as it was read.
    pub(crate) fn readings(&self, row: Option<&Row>, profile: Option<&CustomRecord>) -> Result<Vec<Reading>, Failed> {
        let mut readings = Vec::new();
        for attribute in &self.attributes {
            let d365 = match (row, &attribute.column) {
                (Some(row), Some(column)) => Some(of_row(&row.row, column)?),
                _ => None,
            };
            let campaign = profile.map(|profile| of_profile(profile, attribute)).transpose()?;
            if d365.is_some() || campaign.is_some() {
                readings.push(Reading { attribute: attribute.wire.clone(), d365, campaign });
            }
        }
        Ok(readings)
    }

    /// Writes to the contact, if it still is what was read.
    pub(crate) async fn write_contact(
        &self,
        class: Class,
        key: &Key,
        row: &Row,
        decided: &[Decided],
    ) -> Result<(), Failed> {
        let mut body = EntityBody::new();
        for one in decided {
            let attribute = self.attributes.iter().find(|attribute| attribute.wire == one.attribute);
            if let Some(column) = attribute.and_then(|attribute| attribute.column.clone()) {
                body = body.set(column, one.verdict.value).map_err(of_dataverse)?;
            }
        }
        let expect = Expect::Version(row.etag.clone());
        match self.rows.of(class).update(id_of(key)?, &body, &expect).await {
            Ok(()) => Ok(()),
            // Also where the answer to a first try was lost: the next look sees what is there.
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => Err(Failed::Conflict),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Failed::Gone),
            Err(error) => Err(of_dataverse(error)),
        }
    }

    /// Writes to the profile.
    pub(crate) async fn write_profile(&self, class: Class, key: &Key, decided: &[Decided]) -> Result<(), Failed> {
        let mut body = serde_json::Map::new();
        for one in decided {
            if let Some(attribute) = self.attributes.iter().find(|attribute| attribute.wire == one.attribute) {
                body.insert(attribute.published.clone(), one.verdict.value.into());
            }
        }
        let body = Bytes::from(serde_json::Value::Object(body).to_string());
        let records = self.records.of(class);
        let calls = if matches!(records.addressing(), Addressing::Filter { .. }) { 2 } else { 1 };
        let written = self.spending(calls, async {
            let key = RecordKey::new(key.to_text())?;
            records.update(&key, body).await
        });
        match written.await? {
            Updated::Updated => Ok(()),
            Updated::NotFound => Err(Failed::Gone),
        }
    }

    /// A call of Campaign, if the day's allowance has it.
    async fn spending<T>(
        &self,
        calls: u64,
        work: impl Future<Output = Result<T, campaign_client::Error>>,
    ) -> Result<T, Failed> {
        let permit = match &self.allowance {
            Some(allowance) => Some((allowance, allowance.spend(calls).await.map_err(Failed::Service)?)),
            None => None,
        };
        let done = work.await;
        if let Some((allowance, permit)) = permit {
            allowance.made(permit).await;
        }
        done.map_err(|error| match meaning(error) {
            Meaning::Of(outcome) => Failed::Of(outcome),
            Meaning::Service(error) => Failed::Service(error),
        })
    }
}

fn id_of(key: &Key) -> Result<Uuid, Failed> {
    match key {
        Key::Guid(id) => Ok(*id),
        Key::Text(_) => Err(unreadable("the contact's id")),
    }
}

/// What a row says of an opt-out. The time is that of the row: Dataverse tells no other, and tells it in seconds.
fn of_row(row: &DynamicEntity, column: &str) -> Result<Side, Failed> {
    let value = row.boolean(column).map_err(|_| unreadable(column))?;
    let modified: Option<DateTime<Utc>> = row.get(MODIFIED).map_err(|_| unreadable(MODIFIED))?;
    let time = modified.map(|time| Stamp::record(time.timestamp_millis(), Precision::Second));
    Ok(Side { value, time })
}

/// What a profile says of an opt-out. A time that is not there is none; that of the whole profile is never taken for it.
fn of_profile(profile: &CustomRecord, attribute: &Attribute) -> Result<Side, Failed> {
    let value = match profile.get(&attribute.published) {
        Some(serde_json::Value::Bool(value)) => Some(*value),
        None | Some(serde_json::Value::Null) => None,
        Some(_) => return Err(unreadable(&attribute.published)),
    };
    let times = attribute.times.iter().filter_map(|name| profile.text(name)).filter_map(|text| parse_datetime(&text));
    let time = times.max().map(|time| Stamp::attribute(time.timestamp_millis(), Precision::Millisecond));
    Ok(Side { value, time })
}

/// A value that is no opt-out: nothing can be decided about it.
fn unreadable(name: &str) -> Failed {
    Failed::Of(Outcome::Rejected(Rejection {
        code: "opt-out-unreadable".to_owned(),
        field: Some(name.to_owned()),
        explanation: format!("The value of {name} has another form than it should. Look at the record on both sides."),
    }))
}

fn of_dataverse(error: Error) -> Failed {
    let code = crate::adapters::kebab("dataverse", &format!("{:?}", error.kind()));
    match error.trouble() {
        Trouble::Rows => Failed::Of(Outcome::Rejected(Rejection {
            code,
            field: None,
            explanation: format!("Dynamics 365 refused the contact: {error}. {}", error.remedy()),
        })),
        _ if error.delivery() == Delivery::MaybeApplied => Failed::Of(Outcome::Unknown { code }),
        Trouble::Load => Failed::Of(Outcome::Retry { after: error.retry_after(), code }),
        Trouble::Service => Failed::Service(endpoint_error_of(&error).with_source(error)),
    }
}
