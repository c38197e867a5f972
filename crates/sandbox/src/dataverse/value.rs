//! Values of a request's body, checked and turned into cells.

use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use rust_decimal::Decimal;
use serde_json::value::RawValue;

use super::error::{Refusal, refusal};
use super::row::{self, text_cell};
use super::schema::{Column, Kind, Table};

/// The least date of the database behind the service, 1753-01-01.
const EARLIEST: i64 = -6_847_804_800;

fn too_early(column: &Column) -> Refusal {
    refusal(400, "0x80040239", format!("{} is before 1/1/1753.", column.name))
}

/// The cell of a column's value.
pub(super) fn cell(table: &Table, column: &Column, value: &RawValue) -> Result<Vec<u8>, Refusal> {
    let raw = value.get().trim();
    if raw == "null" {
        return cleared(column);
    }
    let wrong = |edm: &str| {
        Refusal::payload(
            &table.set,
            &format!("Cannot convert the literal '{}' to the expected type '{edm}'.", shown(raw)),
        )
    };
    let string = || serde_json::from_str::<String>(raw).ok();
    match column.kind {
        Kind::PrimaryKey | Kind::Guid => {
            let id = string().and_then(|text| row::parse_guid(&text)).ok_or_else(|| wrong("Edm.Guid"))?;
            Ok(text_cell(&row::guid(id)))
        }
        Kind::Text { max } | Kind::Memo { max } => {
            let text = string().ok_or_else(|| wrong("Edm.String"))?;
            if text.encode_utf16().count() > max as usize {
                let message = format!(
                    "A validation error occurred.  The length of the '{}' attribute of the '{}' entity exceeded the maximum allowed length of '{max}'.",
                    column.name, table.name
                );
                return Err(refusal(400, "0x80044331", message));
            }
            Ok(text_cell(&text))
        }
        Kind::Integer { min, max } => {
            let number: i64 = raw.parse().map_err(|_| wrong("Edm.Int32"))?;
            if i32::try_from(number).is_err() {
                return Err(wrong("Edm.Int32"));
            }
            if number < min || number > max {
                return Err(out_of_range(table, column, "0x8004432f"));
            }
            Ok(number.to_string().into_bytes())
        }
        Kind::BigInt | Kind::Version => {
            let number: i64 = raw.parse().map_err(|_| wrong("Edm.Int64"))?;
            Ok(number.to_string().into_bytes())
        }
        Kind::Decimal { min, max, .. } => {
            let number = decimal(raw).ok_or_else(|| wrong("Edm.Decimal"))?;
            let bound = |b: f64| Decimal::try_from(b).unwrap_or_default();
            if number < bound(min) || number > bound(max) {
                return Err(out_of_range(table, column, "0x80044330"));
            }
            Ok(number.to_string().into_bytes())
        }
        Kind::Double { min, max } => {
            let number: f64 = serde_json::from_str(raw).map_err(|_| wrong("Edm.Double"))?;
            if number < min || number > max {
                return Err(out_of_range(table, column, "0x80044330"));
            }
            serde_json::to_vec(&number).map_err(|_| wrong("Edm.Double"))
        }
        Kind::Boolean => match raw {
            "true" | "false" => Ok(raw.as_bytes().to_vec()),
            _ => Err(wrong("Edm.Boolean")),
        },
        Kind::DateTime { .. } => {
            let moment = string().and_then(|text| date_time(&text)).ok_or_else(|| wrong("Edm.DateTimeOffset"))?;
            if moment < EARLIEST {
                return Err(too_early(column));
            }
            Ok(text_cell(&crate::clock::iso_seconds(moment)))
        }
        Kind::DateOnly => {
            let mut text = string().ok_or_else(|| wrong("Edm.Date"))?;
            if column.takes_time
                && !is_date(&text)
                && let Some(moment) = date_time(&text)
            {
                text = crate::clock::iso_seconds(moment).chars().take(10).collect();
            }
            if !is_date(&text) {
                return Err(wrong("Edm.Date"));
            }
            if date_time(&text).is_none_or(|moment| moment < EARLIEST) {
                return Err(too_early(column));
            }
            Ok(text_cell(&text))
        }
        Kind::Picklist | Kind::State | Kind::Status => {
            let number: i32 = raw.parse().map_err(|_| wrong("Edm.Int32"))?;
            choice(table, column, number)?;
            Ok(number.to_string().into_bytes())
        }
        Kind::MultiSelect => {
            let text = string().ok_or_else(|| wrong("Edm.String"))?;
            let mut values = Vec::new();
            for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
                let number: i32 = part.parse().map_err(|_| wrong("Edm.String"))?;
                choice(table, column, number)?;
                values.push(number);
            }
            values.sort_unstable();
            values.dedup();
            let values: Vec<String> = values.iter().map(i32::to_string).collect();
            Ok(text_cell(&values.join(",")))
        }
        Kind::Lookup => Err(wrong("Edm.Guid")),
    }
}

/// The cell of a column without a value, where it can be without one.
pub(super) fn cleared(column: &Column) -> Result<Vec<u8>, Refusal> {
    if column.required == "SystemRequired" || matches!(column.kind, Kind::State | Kind::Status) {
        return Err(refusal(400, "0x80040203", format!("{} cannot be null.", column.name)));
    }
    Ok(if column.kind == Kind::Lookup { Vec::new() } else { b"null".to_vec() })
}

/// What of a wrong literal is shown again: never more than a few characters.
fn shown(raw: &str) -> String {
    raw.trim_matches('"').chars().take(40).collect()
}

fn out_of_range(table: &Table, column: &Column, code: &'static str) -> Refusal {
    let message = format!(
        "A validation error occurred.  The value of '{}' on record of type '{}' is outside the valid range.",
        column.name, table.name
    );
    refusal(400, code, message)
}

fn choice(table: &Table, column: &Column, value: i32) -> Result<(), Refusal> {
    if column.label_of(value).is_some() {
        return Ok(());
    }
    let message = format!(
        "A validation error occurred. The value {value} of '{}' on record of type '{}' is outside the valid range. Accepted Values: {}",
        column.name,
        table.name,
        column.choices.iter().map(|c| c.value.to_string()).collect::<Vec<_>>().join(",")
    );
    Err(refusal(400, "0x8004431a", message))
}

/// A JSON number with the scale that it was written with.
pub(super) fn decimal(raw: &str) -> Option<Decimal> {
    if !raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return None;
    }
    Decimal::from_str(raw).or_else(|_| Decimal::from_scientific(raw)).ok()
}

/// Seconds since 1970 of an ISO date and time; one without an offset means UTC.
pub(super) fn date_time(text: &str) -> Option<i64> {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Some(moment.with_timezone(&Utc).timestamp());
    }
    if let Ok(local) = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f") {
        return Some(local.and_utc().timestamp());
    }
    if let Some(minutes) = text.strip_suffix('Z')
        && let Ok(local) = NaiveDateTime::parse_from_str(minutes, "%Y-%m-%dT%H:%M")
    {
        return Some(local.and_utc().timestamp());
    }
    let day = is_date(text).then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()).flatten()?;
    Some(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp())
}

/// Whether a text is a date, `YYYY-MM-DD`.
pub(super) fn is_date(text: &str) -> bool {
    text.len() == 10 && NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok()
}

/// A cell as something to compare and to sort by. Texts compare without letter case.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Number(Decimal),
    Float(f64),
    Text(String),
    Guid(u128),
}

impl Scalar {
    /// Order of two values of one kind; null comes first, values of different kinds have none.
    pub(super) fn order(&self, other: &Self) -> Option<std::cmp::Ordering> {
        use std::cmp::Ordering;
        match (self, other) {
            (Self::Null, Self::Null) => Some(Ordering::Equal),
            (Self::Null, _) => Some(Ordering::Less),
            (_, Self::Null) => Some(Ordering::Greater),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Number(a), Self::Number(b)) => Some(a.cmp(b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(b),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Guid(a), Self::Guid(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

/// What a cell compares as.
pub(super) fn scalar(kind: Kind, cell: &[u8]) -> Scalar {
    if row::is_null(kind, cell) {
        return Scalar::Null;
    }
    let raw = || std::str::from_utf8(cell).unwrap_or_default();
    let found = match kind {
        Kind::Lookup => row::reference(cell).map(|(id, _)| Scalar::Guid(id)),
        Kind::PrimaryKey | Kind::Guid => row::text(cell).and_then(|t| row::parse_guid(&t)).map(Scalar::Guid),
        Kind::Boolean => Some(Scalar::Bool(cell == b"true")),
        Kind::Double { .. } => raw().parse().ok().map(Scalar::Float),
        Kind::Integer { .. }
        | Kind::BigInt
        | Kind::Version
        | Kind::Decimal { .. }
        | Kind::Picklist
        | Kind::State
        | Kind::Status => decimal(raw()).map(Scalar::Number),
        Kind::Text { .. } | Kind::Memo { .. } | Kind::MultiSelect => {
            row::text(cell).map(|t| Scalar::Text(t.to_lowercase()))
        }
        Kind::DateTime { .. } | Kind::DateOnly => row::text(cell).map(Scalar::Text),
    };
    found.unwrap_or(Scalar::Null)
}

/// The Edm type of a column.
pub(super) fn edm(kind: Kind) -> &'static str {
    match kind {
        Kind::PrimaryKey | Kind::Guid | Kind::Lookup => "Edm.Guid",
        Kind::Text { .. } | Kind::Memo { .. } | Kind::MultiSelect => "Edm.String",
        Kind::Integer { .. } | Kind::Picklist | Kind::State | Kind::Status => "Edm.Int32",
        Kind::BigInt | Kind::Version => "Edm.Int64",
        Kind::Decimal { .. } => "Edm.Decimal",
        Kind::Double { .. } => "Edm.Double",
        Kind::Boolean => "Edm.Boolean",
        Kind::DateTime { .. } => "Edm.DateTimeOffset",
        Kind::DateOnly => "Edm.Date",
    }
}
