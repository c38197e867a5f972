//! From rows of the wire to records.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use d365_client::metadata::{Attribute, ChoiceOption};
use d365_client::{Changed, DynamicEntity, EntityDef};
use mapping::SourceColumn;
use record::{Change, ChangeBody, Choice, FieldName, Key, Record, Value, ValueKind};
use sync_core::{EndpointError, EndpointErrorKind};

use super::VERSION;

/// The columns that a mapping reads.
#[derive(Debug)]
pub(super) struct Columns {
    columns: Vec<Column>,
    /// Where the row version was found last.
    version_at: AtomicUsize,
}

/// A column as it travels.
#[derive(Debug)]
struct Column {
    name: FieldName,
    property: String,
    kind: ValueKind,
    /// By value.
    labels: Vec<(i32, Arc<str>)>,
    /// Where it was found last: the rows of an answer have one order.
    at: AtomicUsize,
}

impl Columns {
    pub(super) fn new(def: &EntityDef, columns: &[SourceColumn]) -> Self {
        let columns = columns.iter().map(|column| Column::new(def, column)).collect();
        Self { columns, version_at: AtomicUsize::new(0) }
    }

    /// The properties to ask for.
    pub(super) fn properties(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.property.as_str())
    }

    pub(super) fn change(&self, changed: Changed) -> Result<Change, EndpointError> {
        match changed {
            Changed::Deleted { id, .. } => Ok(Change { key: Key::Guid(id), version: None, body: ChangeBody::Delete }),
            Changed::Upserted(row) => self.upsert(&row),
        }
    }

    /// A value that has not the form its column promises makes the record unreadable, not the page.
    pub(super) fn upsert(&self, row: &DynamicEntity) -> Result<Change, EndpointError> {
        let key = Key::Guid(row.id().ok_or_else(without_id)?);
        let version = near(row, &self.version_at, VERSION).and_then(|text| text.parse().ok());
        let mut record = Record::with_capacity(self.columns.len());
        for column in &self.columns {
            let Some(raw) = near(row, &column.at, &column.property) else { continue };
            match record::json::parse(column.kind, raw) {
                Ok(value) => record.push(column.name.clone(), column.labelled(value)),
                Err(error) => {
                    let body = ChangeBody::Unreadable { field: column.name.clone(), error };
                    return Ok(Change { key, version, body });
                }
            }
        }
        Ok(Change { key, version, body: ChangeBody::Upsert(record) })
    }
}

/// The text of a property, looked for where it was found last.
fn near<'row>(row: &'row DynamicEntity, at: &AtomicUsize, name: &str) -> Option<&'row str> {
    let hint = at.load(Ordering::Relaxed);
    let (found, text) = row.raw_text_near(hint, name)?;
    if found != hint {
        at.store(found, Ordering::Relaxed);
    }
    Some(text)
}

impl Column {
    fn new(def: &EntityDef, column: &SourceColumn) -> Self {
        let attribute = def.attribute(column.name.as_str());
        let options = attribute.and_then(|attribute| attribute.choices.as_ref()).map(|choices| &choices.options);
        let label = |option: &ChoiceOption| Some((option.value, Arc::from(option.label.text(None)?)));
        let mut labels: Vec<(i32, Arc<str>)> = options.into_iter().flatten().filter_map(label).collect();
        labels.sort_by_key(|(value, _)| *value);
        Self {
            name: column.name.clone(),
            property: attribute.map_or_else(|| column.name.as_str().to_owned(), Attribute::property_name),
            kind: column.kind,
            labels,
            at: AtomicUsize::new(0),
        }
    }

    /// Change tracking gives the numbers of choices alone; their labels come from the table's definition.
    fn labelled(&self, value: Value) -> Value {
        match value {
            Value::Choice(Choice { value, .. }) => {
                let at = self.labels.binary_search_by_key(&value, |(value, _)| *value).ok();
                let label = at.and_then(|at| self.labels.get(at)).map(|(_, label)| label.clone());
                Value::Choice(Choice { value, label })
            }
            Value::List(values) => Value::List(values.into_iter().map(|value| self.labelled(value)).collect()),
            other => other,
        }
    }
}

fn without_id() -> EndpointError {
    EndpointError::new(
        EndpointErrorKind::Unavailable,
        "row-without-id",
        "Dynamics 365 answered a row without its id.",
        "Nothing is to be done if it passes; otherwise look at what stands between the connector and the service.",
    )
}
