//! A Campaign resource's metadata as the mapping sees it.

use std::sync::Arc;

use campaign_client::{EnumValue, FieldMeta, FieldType, ResourceMeta};
use record::schema::{ChoiceOption, Column, TableSchema};
use record::{FieldName, TableName, ValueKind};

/// The resource's schema: nested attributes by their dotted paths.
pub(crate) fn schema(meta: &ResourceMeta) -> TableSchema {
    TableSchema {
        name: TableName::from(meta.resource.name()),
        key: None,
        columns: meta.fields.iter().map(column).collect(),
    }
}

fn column(field: &FieldMeta) -> Column {
    let (kind, convertible) = match &field.field_type {
        FieldType::Number => (number(field.storage_type.as_deref()), true),
        FieldType::Boolean => (ValueKind::Bool, true),
        FieldType::Date => (ValueKind::Date, true),
        FieldType::DateTime => (ValueKind::DateTime, true),
        FieldType::Enumeration => (ValueKind::Choice, true),
        FieldType::Link | FieldType::Collection | FieldType::Item => (ValueKind::Text, false),
        _ => (ValueKind::Text, true),
    };
    Column {
        name: FieldName::from(field.name.as_str()),
        kind,
        type_name: type_name(field),
        max_length: field.length.filter(|length| *length > 0),
        options: field.values.iter().map(option).collect(),
        readable: true,
        writable: !field.read_only,
        convertible,
    }
}

/// Numbers go by their storage type, which tells their range.
fn type_name(field: &FieldMeta) -> Arc<str> {
    match (&field.field_type, &field.storage_type) {
        (FieldType::Number, Some(stored)) => Arc::from(stored.as_str()),
        (other, _) => format!("{other:?}").to_lowercase().into(),
    }
}

/// Whole numbers are stored as `byte`, `short`, `long` or `int64`; everything else may have a fraction.
fn number(storage_type: Option<&str>) -> ValueKind {
    match storage_type {
        Some("byte" | "short" | "long" | "int" | "integer" | "int64") => ValueKind::Int,
        _ => ValueKind::Float,
    }
}

/// An enumeration of texts has no numbers; its names then have none that stands for "nothing".
fn option(value: &EnumValue) -> ChoiceOption {
    ChoiceOption {
        value: value.value.as_deref().and_then(|value| value.parse().ok()).unwrap_or(i64::MIN),
        name: Arc::from(value.name.as_str()),
        label: value.label.as_deref().map(Arc::from),
    }
}
