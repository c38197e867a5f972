//! Tables.

use std::sync::Arc;

use serde::Deserialize;

use super::attribute::{Attribute, WireAttribute};
use crate::error::Error;

/// A table's definition, as far as reading and writing rows needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityDef {
    logical_name: String,
    entity_set: String,
    primary_id: String,
    primary_name: Option<String>,
    schema_name: Option<String>,
    change_tracking: bool,
    optimistic_concurrency: bool,
    is_activity: bool,
    attributes: Vec<Attribute>,
    keys: Vec<AlternateKey>,
}

/// An alternate key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlternateKey {
    /// The key's name.
    pub logical_name: Option<String>,
    /// The logical names of its columns.
    pub columns: Vec<String>,
    /// Whether the index is built: only then can the key address rows. It is built in the background.
    pub active: bool,
}

impl EntityDef {
    /// A table known by hand, without columns: enough to read and write rows.
    ///
    /// # Errors
    /// A name that is no identifier.
    pub fn new(logical_name: &str, entity_set: &str, primary_id: &str) -> Result<Self, Error> {
        for name in [logical_name, entity_set, primary_id] {
            name.parse::<crate::odata::Name>()?;
        }
        Ok(Self {
            logical_name: logical_name.to_owned(),
            entity_set: entity_set.to_owned(),
            primary_id: primary_id.to_owned(),
            primary_name: None,
            schema_name: None,
            change_tracking: false,
            optimistic_concurrency: false,
            is_activity: false,
            attributes: Vec::new(),
            keys: Vec::new(),
        })
    }

    /// Adds a column, in place of one of the same name.
    #[must_use]
    pub fn with_attribute(mut self, attribute: Attribute) -> Self {
        self.attributes.retain(|known| known.logical_name != attribute.logical_name);
        self.attributes.push(attribute);
        self
    }

    /// The logical name: `contact`.
    #[must_use]
    pub fn logical_name(&self) -> &str {
        &self.logical_name
    }

    /// The name in URLs: `contacts`. It is not always the logical name and an s.
    #[must_use]
    pub fn entity_set(&self) -> &str {
        &self.entity_set
    }

    /// The column that identifies a row: `contactid`.
    #[must_use]
    pub fn primary_id(&self) -> &str {
        &self.primary_id
    }

    /// The column that names a row for people: `fullname`.
    #[must_use]
    pub fn primary_name(&self) -> Option<&str> {
        self.primary_name.as_deref()
    }

    /// The name in its original casing: `Contact`.
    #[must_use]
    pub fn schema_name(&self) -> Option<&str> {
        self.schema_name.as_deref()
    }

    /// Whether change tracking is on (`ChangeTrackingEnabled`).
    #[must_use]
    pub fn change_tracking(&self) -> bool {
        self.change_tracking
    }

    /// Whether rows have version tags that conditions can name (`IsOptimisticConcurrencyEnabled`).
    #[must_use]
    pub fn optimistic_concurrency(&self) -> bool {
        self.optimistic_concurrency
    }

    /// Whether it is a table of activities.
    #[must_use]
    pub fn is_activity(&self) -> bool {
        self.is_activity
    }

    /// The columns.
    #[must_use]
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// A column by its logical name.
    #[must_use]
    pub fn attribute(&self, logical_name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.logical_name == logical_name)
    }

    /// A column by the name under which rows carry it: `_parentcustomerid_value` as well as `lastname`.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| {
            if attribute.kind.is_lookup() {
                let inner = name.strip_prefix('_').and_then(|rest| rest.strip_suffix("_value"));
                inner == Some(attribute.logical_name.as_str())
            } else {
                attribute.logical_name == name
            }
        })
    }

    /// The alternate keys.
    #[must_use]
    pub fn keys(&self) -> &[AlternateKey] {
        &self.keys
    }

    /// The definition as [`DynamicEntity`](crate::DynamicEntity) shares it.
    #[must_use]
    pub fn shared(self) -> Arc<Self> {
        Arc::new(self)
    }

    pub(super) fn set_attributes(&mut self, attributes: Vec<Attribute>) {
        self.attributes = attributes;
    }

    pub(super) fn refine(&mut self, attributes: Vec<Attribute>) {
        for other in attributes {
            if let Some(known) = self.attributes.iter_mut().find(|known| known.logical_name == other.logical_name) {
                known.refine(other);
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireKey {
    logical_name: Option<String>,
    key_attributes: Option<Vec<String>>,
    entity_key_index_status: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireTable {
    logical_name: String,
    entity_set_name: String,
    primary_id_attribute: String,
    primary_name_attribute: Option<String>,
    schema_name: Option<String>,
    change_tracking_enabled: Option<bool>,
    is_optimistic_concurrency_enabled: Option<bool>,
    is_activity: Option<bool>,
    attributes: Option<Vec<WireAttribute>>,
    keys: Option<Vec<WireKey>>,
}

impl WireTable {
    fn read(self) -> EntityDef {
        let key = |key: WireKey| AlternateKey {
            logical_name: key.logical_name,
            columns: key.key_attributes.unwrap_or_default(),
            active: key.entity_key_index_status.is_none_or(|status| status == "Active"),
        };
        EntityDef {
            logical_name: self.logical_name,
            entity_set: self.entity_set_name,
            primary_id: self.primary_id_attribute,
            primary_name: self.primary_name_attribute,
            schema_name: self.schema_name,
            change_tracking: self.change_tracking_enabled.unwrap_or(false),
            optimistic_concurrency: self.is_optimistic_concurrency_enabled.unwrap_or(false),
            is_activity: self.is_activity.unwrap_or(false),
            attributes: self.attributes.unwrap_or_default().into_iter().map(WireAttribute::read).collect(),
            keys: self.keys.unwrap_or_default().into_iter().map(key).collect(),
        }
    }
}

/// Decodes one `EntityDefinitions` object, tolerating members it does not know.
///
/// # Errors
/// [`ErrorKind::Decode`](crate::ErrorKind::Decode) when a name is missing or a member has another shape, and when a
/// name is no identifier.
pub fn decode_table(body: &[u8]) -> Result<EntityDef, Error> {
    let table: WireTable =
        serde_json::from_slice(body).map_err(|error| Error::decode("a table's definition", &error))?;
    let table = table.read();
    for name in [&table.logical_name, &table.entity_set, &table.primary_id] {
        if name.parse::<crate::odata::Name>().is_err() {
            return Err(Error::shape("a table's definition with a name that is no identifier"));
        }
    }
    Ok(table)
}

/// Decodes an answer of `…/Attributes`, plain or cast: a collection of columns, or a single column.
///
/// # Errors
/// [`ErrorKind::Decode`](crate::ErrorKind::Decode) when it is neither.
pub fn decode_attributes(body: &[u8]) -> Result<Vec<Attribute>, Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Answer {
        Many { value: Vec<WireAttribute> },
        One(Box<WireAttribute>),
    }
    let answer: Answer = serde_json::from_slice(body).map_err(|error| Error::decode("a table's columns", &error))?;
    Ok(match answer {
        Answer::Many { value } => value.into_iter().map(WireAttribute::read).collect(),
        Answer::One(attribute) => vec![attribute.read()],
    })
}
