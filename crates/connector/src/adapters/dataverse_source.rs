//! A Dataverse table, read by change tracking, as the engine's source.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use d365_client::metadata::Attribute;
use d365_client::odata::Name;
use d365_client::{ChangeTracker, Changed, D365Client, DynamicEntity, EntityApi, EntityDef, ErrorKind, Link};
use http_kit::LinkTrail;
use mapping::SourceColumn;
use record::{Change, ChangeBody, Choice, FieldName, Key, Record, Value, ValueKind};
use serde::{Deserialize, Serialize};
use sync_core::traits::{BatchLimit, ChangeBatch, Phase, Source, SourceCaps};
use sync_core::{EndpointError, EndpointErrorKind, Position};
use uuid::Uuid;

/// The row version: read beside the mapped columns, because later states of a row have larger ones.
const VERSION: &str = "versionnumber";

/// Reads one table.
#[derive(Debug)]
pub(crate) struct DataverseSource {
    tracker: ChangeTracker,
    rows: EntityApi<DynamicEntity>,
    columns: Vec<WireColumn>,
    select: Vec<Name>,
    walk: Mutex<Walk>,
}

/// What is remembered of the links followed so far, so that no mistake of the service is followed for ever.
#[derive(Debug, Default)]
struct Walk {
    /// Of the present walk or poll.
    trail: LinkTrail,
    /// A link was refused, and no delta link has been accepted since.
    link_refused: bool,
}

/// A column as it travels.
#[derive(Debug)]
struct WireColumn {
    name: FieldName,
    property: String,
    kind: ValueKind,
    labels: HashMap<i32, Arc<str>>,
}

/// A position: where to go on, and whether that is still the first walk over the table.
#[derive(Serialize, Deserialize)]
struct Saved {
    snapshot: bool,
    link: Link,
}

impl DataverseSource {
    /// Reads `columns` of the table.
    ///
    /// # Errors
    /// When a column's name is no name.
    pub(crate) fn new(
        client: &D365Client,
        def: &Arc<EntityDef>,
        columns: &[SourceColumn],
        page_size: u32,
    ) -> Result<Self, d365_client::Error> {
        let columns: Vec<WireColumn> = columns.iter().map(|column| WireColumn::new(def, column)).collect();
        let mut select: Vec<String> = columns.iter().map(|column| column.property.clone()).collect();
        if def.attribute(VERSION).is_some() && !select.iter().any(|property| property == VERSION) {
            select.push(VERSION.to_owned());
        }
        let tracker = client.changes(def.clone(), select.iter().map(String::as_str))?.page_size(page_size);
        let select = tracker.columns().to_vec();
        let rows = client.entity_with::<DynamicEntity>(def.clone());
        Ok(Self { tracker, rows, columns, select, walk: Mutex::default() })
    }

    fn walk(&self) -> MutexGuard<'_, Walk> {
        self.walk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, changed: Changed) -> Result<Change, EndpointError> {
        match changed {
            Changed::Deleted { id, .. } => Ok(Change { key: Key::Guid(id), version: None, body: ChangeBody::Delete }),
            Changed::Upserted(row) => self.upsert(&row),
        }
    }

    fn upsert(&self, row: &DynamicEntity) -> Result<Change, EndpointError> {
        let id = row.id().ok_or_else(|| {
            EndpointError::new(
                EndpointErrorKind::Unavailable,
                "row-without-id",
                "Dynamics 365 answered a row without its id.",
                "Nothing is to be done if it passes; otherwise look at what stands between the connector and the service.",
            )
        })?;
        let version = row.raw_text(VERSION).and_then(|text| text.parse().ok());
        let mut record = Record::with_capacity(self.columns.len());
        for column in &self.columns {
            let Some(raw) = row.raw_text(&column.property) else { continue };
            match record::json::parse(column.kind, raw) {
                Ok(value) => record.push(column.name.clone(), column.labelled(value)),
                Err(error) => {
                    let body = ChangeBody::Unreadable { field: column.name.clone(), error };
                    return Ok(Change { key: Key::Guid(id), version, body });
                }
            }
        }
        Ok(Change { key: Key::Guid(id), version, body: ChangeBody::Upsert(record) })
    }
}

impl Walk {
    /// Notes that the page behind `from` (or a new walk) leads to `to`.
    fn step(&mut self, from: Option<&Link>, to: &Link) -> Result<(), EndpointError> {
        match from {
            Some(from @ Link::Next(_)) if !to.is_delta() => {
                self.trail.lead(from.as_str(), to.as_str()).map_err(|error| endpoint_error(error.into()))
            }
            Some(Link::Delta(_)) => {
                self.link_refused = false;
                self.trail.clear();
                Ok(())
            }
            _ => {
                self.trail.clear();
                Ok(())
            }
        }
    }

    /// A refused link costs one new walk over the table. When the links of the new walk are refused as well, walking
    /// again would go on for ever: that one is for the operator.
    fn failed(&mut self, error: d365_client::Error) -> EndpointError {
        if error.kind() != ErrorKind::LinkRefused {
            return endpoint_error(error);
        }
        if std::mem::replace(&mut self.link_refused, true) {
            return described(EndpointErrorKind::Refused, error);
        }
        described(EndpointErrorKind::Expired, error)
    }
}

impl WireColumn {
    fn new(def: &EntityDef, column: &SourceColumn) -> Self {
        let attribute = def.attribute(column.name.as_str());
        let labels = attribute.and_then(|attribute| attribute.choices.as_ref()).map(|choices| {
            choices
                .options
                .iter()
                .filter_map(|option| Some((option.value, Arc::from(option.label.text(None)?))))
                .collect()
        });
        Self {
            name: column.name.clone(),
            property: attribute.map_or_else(|| column.name.as_str().to_owned(), Attribute::property_name),
            kind: column.kind,
            labels: labels.unwrap_or_default(),
        }
    }

    /// Change tracking gives the numbers of choices alone; their labels come from the table's definition.
    fn labelled(&self, value: Value) -> Value {
        match value {
            Value::Choice(Choice { value, .. }) => {
                Value::Choice(Choice { value, label: self.labels.get(&value).cloned() })
            }
            Value::List(values) => Value::List(values.into_iter().map(|value| self.labelled(value)).collect()),
            other => other,
        }
    }
}

#[async_trait]
impl Source for DataverseSource {
    fn capabilities(&self) -> SourceCaps {
        SourceCaps { deletes: true }
    }

    async fn read(&self, after: Option<&Position>, _limit: BatchLimit) -> Result<ChangeBatch, EndpointError> {
        let saved = match after {
            None => None,
            Some(position) => {
                let saved: Saved = serde_json::from_str(position.as_str()).map_err(|_| unusable("unreadable"))?;
                if !self.tracker.fits(&saved.link) {
                    return Err(unusable("made for other columns"));
                }
                Some(saved)
            }
        };
        let (snapshot, page) = match &saved {
            None => (true, self.tracker.start().await),
            Some(saved) => (saved.snapshot && !saved.link.is_delta(), self.tracker.follow(&saved.link).await),
        };
        let page = page.map_err(|error| self.walk().failed(error))?;
        self.walk().step(saved.as_ref().map(|saved| &saved.link), &page.link)?;
        let more = !page.link.is_delta();
        let saved = Saved { snapshot: snapshot && more, link: page.link };
        let next = serde_json::to_string(&saved).map_err(|_| unusable("unwritable"))?;
        let changes = page.changes.into_iter().map(|changed| self.change(changed)).collect::<Result<Vec<_>, _>>()?;
        Ok(ChangeBatch {
            changes,
            next: Position::new(next),
            phase: if snapshot { Phase::Snapshot } else { Phase::Incremental },
            more,
        })
    }

    async fn fetch(&self, keys: &[Key]) -> Result<Vec<Change>, EndpointError> {
        let mut changes = Vec::with_capacity(keys.len());
        for key in keys {
            let id = match key {
                Key::Guid(id) => *id,
                Key::Text(text) => Uuid::parse_str(text).map_err(|_| unusable("no GUID"))?,
            };
            match self.rows.retrieve(id, &self.select).await {
                Ok(row) => changes.push(self.upsert(&row)?),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    changes.push(Change { key: key.clone(), version: None, body: ChangeBody::Delete });
                }
                Err(error) => return Err(endpoint_error(error)),
            }
        }
        Ok(changes)
    }
}

/// A saved position that cannot be used leads to a new snapshot, which loses nothing.
fn unusable(why: &str) -> EndpointError {
    EndpointError::new(
        EndpointErrorKind::Expired,
        "position-unusable",
        format!("The saved position is {why}."),
        "Nothing is to be done: the table is read again.",
    )
}

/// What the engine is to do about an error of the client.
pub(crate) fn endpoint_error(error: d365_client::Error) -> EndpointError {
    let kind = match error.kind() {
        ErrorKind::TokenExpired | ErrorKind::LinkRefused => EndpointErrorKind::Expired,
        ErrorKind::Transport
        | ErrorKind::ServiceUnavailable
        | ErrorKind::Throttled
        | ErrorKind::Decode
        | ErrorKind::Cancelled => EndpointErrorKind::Unavailable,
        _ => EndpointErrorKind::Refused,
    };
    described(kind, error)
}

fn described(kind: EndpointErrorKind, error: d365_client::Error) -> EndpointError {
    let code = code(error.kind());
    EndpointError::new(kind, code, format!("Dynamics 365: {error}."), error.remedy().to_owned())
        .with_retry_after(error.retry_after())
        .with_source(error)
}

/// A stable code in kebab case.
fn code(kind: ErrorKind) -> String {
    super::kebab("dataverse", &format!("{kind:?}"))
}

#[cfg(test)]
mod tests;
