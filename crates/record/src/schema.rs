//! What is known of a table on either side, as far as a mapping needs it.

use std::sync::Arc;

use crate::{FieldName, TableName, ValueKind};

/// The schema of a table or resource.
#[derive(Debug, Clone, PartialEq)]
pub struct TableSchema {
    /// The table's name.
    pub name: TableName,
    /// The column that identifies a record, where the schema tells it.
    pub key: Option<FieldName>,
    /// All columns.
    pub columns: Vec<Column>,
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name; nested attributes are dotted paths.
    pub name: FieldName,
    /// The kind of its values.
    pub kind: ValueKind,
    /// The type as the service calls it, for messages.
    pub type_name: Arc<str>,
    /// The largest number of characters a text may have.
    pub max_length: Option<u32>,
    /// Options of a choice or enumeration.
    pub options: Vec<ChoiceOption>,
    /// Whether values can be read.
    pub readable: bool,
    /// Whether values can be written.
    pub writable: bool,
    /// Whether a value can take part in a sync at all (files, images, party lists and links cannot).
    pub convertible: bool,
}

/// An option of a choice or enumeration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChoiceOption {
    /// The stored number.
    pub value: i64,
    /// The name used on the wire where the service has one (Campaign enumerations), else the label.
    pub name: Arc<str>,
    /// The label shown to people.
    pub label: Option<Arc<str>>,
}

impl TableSchema {
    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.as_str() == name)
    }
}
