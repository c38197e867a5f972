//! Equality and order between source values and configured literals.

use std::cmp::Ordering;

use record::schema::Column;
use record::{Choice, Reference, Value, ValueKind, json};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::Literal;
use crate::convert::Selected;

/// Turns a literal into a value of the column's kind; the error says what the column takes.
pub(crate) fn typed(literal: &Literal, column: &Column) -> Result<Value, &'static str> {
    match (column.kind, literal) {
        (ValueKind::Bool, Literal::Bool(flag)) => Ok(Value::Bool(*flag)),
        (ValueKind::Bool, _) => Err("true or false"),
        (ValueKind::Int | ValueKind::Decimal | ValueKind::Float, Literal::Int(number)) => Ok(Value::Int(*number)),
        (ValueKind::Int | ValueKind::Decimal | ValueKind::Float, Literal::Float(number)) => Ok(Value::Float(*number)),
        (ValueKind::Int | ValueKind::Decimal | ValueKind::Float, _) => Err("a number"),
        (ValueKind::Text, Literal::Text(text)) => Ok(Value::text(text.as_str())),
        (ValueKind::Text, _) => Err("a text in quotes"),
        (ValueKind::Date, Literal::Text(text)) => {
            json::date(text).map(Value::Date).map_err(|_| "a date \"YYYY-MM-DD\"")
        }
        (ValueKind::Date, _) => Err("a date \"YYYY-MM-DD\""),
        (ValueKind::DateTime, Literal::Text(text)) => json::instant(text)
            .or_else(|_| json::date(text).map(|day| day.and_time(chrono::NaiveTime::MIN).and_utc()))
            .map(Value::DateTime)
            .map_err(|_| "an instant \"YYYY-MM-DDTHH:MM:SSZ\""),
        (ValueKind::DateTime, _) => Err("an instant \"YYYY-MM-DDTHH:MM:SSZ\""),
        (ValueKind::Guid, Literal::Text(text)) => json::guid(text).map(Value::Guid).map_err(|_| "a GUID in quotes"),
        (ValueKind::Reference, Literal::Text(text)) => {
            json::guid(text).map(|id| Value::Reference(Reference { id, table: None })).map_err(|_| "a GUID in quotes")
        }
        (ValueKind::Guid | ValueKind::Reference, _) => Err("a GUID in quotes"),
        (ValueKind::Choice, literal) => option(literal, column).map(Value::Choice),
        (ValueKind::List, Literal::Text(text)) => {
            let quoted = serde_json::Value::from(text.as_str()).to_string();
            let value = json::parse(ValueKind::List, &quoted).map_err(|_| "technical values such as \"1,9\"")?;
            if let Value::List(items) = &value {
                for item in items {
                    if let Value::Choice(choice) = item {
                        option(&Literal::Int(i64::from(choice.value)), column)?;
                    }
                }
            }
            Ok(value)
        }
        (ValueKind::List, Literal::Int(_)) => {
            option(literal, column).map(|choice| Value::List(vec![Value::Choice(choice)]))
        }
        (ValueKind::List, _) => Err("technical values such as \"1,9\""),
        _ => Err("a value of the column's type"),
    }
}

fn option(literal: &Literal, column: &Column) -> Result<Choice, &'static str> {
    let Literal::Int(number) = literal else { return Err("the technical value (a whole number) of an option") };
    if !column.options.is_empty() && !column.options.iter().any(|option| option.value == *number) {
        return Err("the technical value of one of the column's options");
    }
    i32::try_from(*number)
        .map(|value| Choice { value, label: None })
        .map_err(|_| "the technical value (a whole number of 32 bits) of an option")
}

/// A literal as the value that a replacement writes.
pub(crate) fn selected(literal: &Literal) -> Option<Selected<'_>> {
    Some(match literal {
        Literal::Bool(flag) => Selected::Bool(*flag),
        Literal::Int(number) => Selected::Int(*number),
        Literal::Float(number) => Selected::Float(*number),
        Literal::Text(text) => Selected::Text(text.as_str().into()),
        Literal::List(_) => return None,
    })
}

/// Whether two values are the same: numbers by what they count, choices by number, selections without order, text exactly.
pub(crate) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Choice(one), Value::Choice(other)) => one.value == other.value,
        (Value::Reference(one), Value::Reference(other)) => one.id == other.id,
        (Value::List(one), Value::List(other)) => {
            one.iter().all(|item| other.iter().any(|twin| same(item, twin)))
                && other.iter().all(|item| one.iter().any(|twin| same(item, twin)))
        }
        _ => order(one, other).map_or_else(|| one == other, Ordering::is_eq),
    }
}

/// The order of two numbers, dates or instants; `None` for anything else.
pub(crate) fn order(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Int(one), Value::Int(other)) => Some(one.cmp(other)),
        (Value::Date(one), Value::Date(other)) => Some(one.cmp(other)),
        (Value::DateTime(one), Value::DateTime(other)) => Some(one.cmp(other)),
        _ => match (decimal(one), decimal(other)) {
            (Some(one), Some(other)) => Some(one.cmp(&other)),
            // Beyond the range of decimals only the magnitude is left to compare.
            _ => float(one)?.partial_cmp(&float(other)?),
        },
    }
}

fn decimal(value: &Value) -> Option<Decimal> {
    match value {
        Value::Int(number) => Some(Decimal::from(*number)),
        Value::Decimal(number) => Some(*number),
        // The shortest text of a float is the number that people wrote: 0.1 is 0.1.
        Value::Float(number) => json::decimal(&number.to_string()).ok(),
        _ => None,
    }
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Decimal(number) => number.to_f64(),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}
