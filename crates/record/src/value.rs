use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

/// One value of a record.
///
/// Numbers that are decimals on the wire stay decimals; two decimals are equal when they are numerically equal
/// (`12.50` equals `12.5`), while their text keeps the scale. Instants are UTC. Text is never trimmed; `""` and
/// [`Value::Null`] are different here, and a mapping decides what each becomes on the other side.
#[derive(Clone, PartialEq, Default)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// An exact decimal number, money included.
    Decimal(Decimal),
    /// A binary floating point number; never NaN or infinite (no wire form of either service has them).
    Float(f64),
    /// Text.
    Text(Box<str>),
    /// A calendar date without time or zone.
    Date(NaiveDate),
    /// An instant, in UTC.
    DateTime(DateTime<Utc>),
    /// A GUID.
    Guid(Uuid),
    /// One option of a choice (picklist).
    Choice(Choice),
    /// A reference to another record (lookup).
    Reference(Reference),
    /// Several values (multi-select choice).
    List(Vec<Value>),
}

/// An option of a choice: its technical value and, where known, its label.
#[derive(Clone, PartialEq, Eq)]
pub struct Choice {
    /// The technical value.
    pub value: i32,
    /// The label in the language the schema was read in; `None` when the schema has no such option.
    pub label: Option<Arc<str>>,
}

/// A reference to a record.
#[derive(Clone, PartialEq, Eq)]
pub struct Reference {
    /// The id of the record referred to.
    pub id: Uuid,
    /// Its table, where the wire told it (a polymorphic lookup without annotations does not).
    pub table: Option<crate::TableName>,
}

/// The kind of a value, without the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ValueKind {
    /// [`Value::Null`]
    Null,
    /// [`Value::Bool`]
    Bool,
    /// [`Value::Int`]
    Int,
    /// [`Value::Decimal`]
    Decimal,
    /// [`Value::Float`]
    Float,
    /// [`Value::Text`]
    Text,
    /// [`Value::Date`]
    Date,
    /// [`Value::DateTime`]
    DateTime,
    /// [`Value::Guid`]
    Guid,
    /// [`Value::Choice`]
    Choice,
    /// [`Value::Reference`]
    Reference,
    /// [`Value::List`]
    List,
}

/// A value that does not have the form its column promises. Carries the expectation, never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct ValueError {
    /// What was expected, in words.
    pub expected: &'static str,
}

impl Value {
    /// The kind of this value.
    pub fn kind(&self) -> ValueKind {
        match self {
            Self::Null => ValueKind::Null,
            Self::Bool(_) => ValueKind::Bool,
            Self::Int(_) => ValueKind::Int,
            Self::Decimal(_) => ValueKind::Decimal,
            Self::Float(_) => ValueKind::Float,
            Self::Text(_) => ValueKind::Text,
            Self::Date(_) => ValueKind::Date,
            Self::DateTime(_) => ValueKind::DateTime,
            Self::Guid(_) => ValueKind::Guid,
            Self::Choice(_) => ValueKind::Choice,
            Self::Reference(_) => ValueKind::Reference,
            Self::List(_) => ValueKind::List,
        }
    }

    /// A text value.
    pub fn text(text: impl Into<Box<str>>) -> Self {
        Self::Text(text.into())
    }

    /// Whether this is [`Value::Null`].
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

/// Shows the kind, never the value: a record is personal data, and `Debug` ends up in logs.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({:?})", self.kind())
    }
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Choice(..)")
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reference({:?})", self.table)
    }
}
