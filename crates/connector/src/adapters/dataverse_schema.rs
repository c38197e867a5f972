//! A Dataverse table's definition as the mapping sees it.

use std::sync::Arc;

use d365_client::EntityDef;
use d365_client::metadata::{Attribute, AttributeType, DateTimeBehavior};
use record::schema::{ChoiceOption, Column, TableSchema};
use record::{FieldName, TableName, ValueKind};

/// The table's schema: every column, also those that cannot take part, so that a mapping can say why.
pub(crate) fn schema(def: &EntityDef) -> TableSchema {
    TableSchema {
        name: TableName::from(def.logical_name()),
        key: Some(FieldName::from(def.primary_id())),
        columns: def.attributes().iter().map(column).collect(),
    }
}

fn column(attribute: &Attribute) -> Column {
    let (kind, convertible) = kind(attribute);
    let options = attribute.choices.iter().flat_map(|choices| &choices.options).map(|option| {
        let label: Option<Arc<str>> = option.label.text(None).map(Arc::from);
        ChoiceOption {
            value: i64::from(option.value),
            name: label.clone().unwrap_or_else(|| option.value.to_string().into()),
            label,
        }
    });
    Column {
        name: FieldName::from(attribute.logical_name.as_str()),
        kind,
        type_name: format!("{:?}", attribute.kind).into(),
        max_length: attribute.max_length,
        options: options.collect(),
        readable: attribute.is_valid_for_read && attribute.attribute_of.is_none(),
        writable: attribute.is_valid_for_update,
        convertible,
    }
}

/// The kind of a column's values, and whether they can be synced at all. A type that is not known is text, passed as it is
/// (R-MAP-20).
fn kind(attribute: &Attribute) -> (ValueKind, bool) {
    match &attribute.kind {
        AttributeType::Integer | AttributeType::BigInt => (ValueKind::Int, true),
        AttributeType::Decimal | AttributeType::Money => (ValueKind::Decimal, true),
        AttributeType::Double => (ValueKind::Float, true),
        AttributeType::Boolean => (ValueKind::Bool, true),
        AttributeType::DateTime => match attribute.date_time_behavior {
            Some(DateTimeBehavior::DateOnly) => (ValueKind::Date, true),
            _ => (ValueKind::DateTime, true),
        },
        AttributeType::Choice | AttributeType::State | AttributeType::Status => (ValueKind::Choice, true),
        AttributeType::MultiSelectChoice => (ValueKind::List, true),
        AttributeType::Lookup | AttributeType::Customer | AttributeType::Owner => (ValueKind::Reference, true),
        AttributeType::UniqueIdentifier => (ValueKind::Guid, true),
        AttributeType::PartyList
        | AttributeType::Image
        | AttributeType::File
        | AttributeType::Virtual
        | AttributeType::ManagedProperty
        | AttributeType::CalendarRules => (ValueKind::Text, false),
        _ => (ValueKind::Text, true),
    }
}
