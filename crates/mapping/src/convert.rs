//! From a source value to the target's JSON text.
//!
//! | source \ target | text | integer | number | boolean | date | datetime | enumeration |
//! |---|---|---|---|---|---|---|---|
//! | boolean | `true`/`false` | 1/0 | 1/0 | as is | | | by name |
//! | integer, decimal, number | digits, scale kept | when exact and in range | as is | 0 or 1 | | | by name |
//! | text | as is, length checked | JSON number | JSON number | `true`/`false`, 1/0 | `YYYY-MM-DD` or its UTC day | parsed | by name |
//! | date | `YYYY-MM-DD` | | | | as is | midnight UTC | |
//! | instant | `2026-01-05T10:00:00Z` | | | | UTC day | `2026-01-05 10:00:00.000Z` | |
//! | choice | label or number | | | | | | by name |
//! | GUID, lookup | lower case with hyphens | | | | | | |
//! | multi-select | labels joined by `; `, or numbers by `,` | | | | | | |
//!
//! A choice is turned into its label or number first and goes on as a text or integer. An empty text is nothing for every
//! target but text. Forms of dates and instants: experienceleague.adobe.com, "Campaign Standard API".

use std::borrow::Cow;
use std::io::Write as _;
use std::sync::Arc;

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, SecondsFormat, Timelike, Utc};
use record::schema::Column;
use record::{Value, ValueKind, json};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use uuid::Uuid;

use crate::body::string;
use crate::decision::code;

/// What the target attribute takes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Target {
    Text {
        max: Option<u32>,
    },
    Int {
        min: i64,
        max: i64,
    },
    Number,
    Bool,
    Date,
    DateTime,
    Enumeration {
        names: Vec<Arc<str>>,
        zero: Option<Arc<str>>,
    },
    /// A link that is set by the key of the row it leads to.
    Link,
}

/// A value after the choice between label and number, and after replacement.
#[derive(Clone, PartialEq)]
pub(crate) enum Selected<'a> {
    Nothing,
    Bool(bool),
    Int(i64),
    Decimal(Decimal),
    Float(f64),
    Text(Cow<'a, str>),
    Date(NaiveDate),
    DateTime(DateTime<Utc>),
    Guid(Uuid),
}

/// Why a value does not fit; becomes a rejection once the place is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit {
    pub(crate) code: &'static str,
    pub(crate) explanation: String,
}

pub(crate) fn misfit<T>(code: &'static str, explanation: impl Into<String>) -> Result<T, Misfit> {
    Err(Misfit { code, explanation: explanation.into() })
}

impl Target {
    /// What an attribute takes; `None` when its kind has no conversion.
    pub(crate) fn of(column: &Column) -> Option<Self> {
        Some(match column.kind {
            ValueKind::Text | ValueKind::Guid => Self::Text { max: column.max_length },
            ValueKind::Int => {
                // Campaign calls its storage types byte, short, long (32 bits) and int64.
                let (min, max) = match &*column.type_name {
                    "byte" => (i64::from(i8::MIN), i64::from(i8::MAX)),
                    "short" => (i64::from(i16::MIN), i64::from(i16::MAX)),
                    "int64" => (i64::MIN, i64::MAX),
                    _ => (i64::from(i32::MIN), i64::from(i32::MAX)),
                };
                Self::Int { min, max }
            }
            ValueKind::Float | ValueKind::Decimal => Self::Number,
            ValueKind::Bool => Self::Bool,
            ValueKind::Date => Self::Date,
            ValueKind::DateTime => Self::DateTime,
            ValueKind::Choice => {
                let zero = column.options.iter().find(|option| option.value == 0);
                let mut names: Vec<Arc<str>> = column.options.iter().map(|option| option.name.clone()).collect();
                names.sort_unstable();
                Self::Enumeration { names, zero: zero.map(|option| option.name.clone()) }
            }
            _ => return None,
        })
    }

    /// Whether values of a source kind can become values of this target at all.
    pub(crate) fn accepts(&self, source: ValueKind) -> bool {
        use ValueKind as K;
        match self {
            Self::Text { .. } => source != K::Null,
            Self::Link => matches!(source, K::Guid | K::Reference),
            Self::Int { .. } | Self::Number | Self::Bool | Self::Enumeration { .. } => {
                matches!(source, K::Bool | K::Int | K::Decimal | K::Float | K::Text | K::Choice)
            }
            Self::Date | Self::DateTime => matches!(source, K::Date | K::DateTime | K::Text | K::Choice),
        }
    }

    /// What to write into a configuration for this target.
    pub(crate) fn remedy(&self) -> String {
        match self {
            Self::Text { max: Some(max) } => format!("write a text of at most {max} characters"),
            Self::Text { max: None } => "write a text".to_owned(),
            Self::Int { min, max } => format!("write a whole number from {min} to {max}"),
            Self::Link => "link a lookup column".to_owned(),
            Self::Number => "write a number".to_owned(),
            Self::Bool => "write true or false".to_owned(),
            Self::Date => "write a date \"YYYY-MM-DD\"".to_owned(),
            Self::DateTime => "write an instant \"YYYY-MM-DDTHH:MM:SSZ\"".to_owned(),
            Self::Enumeration { names, .. } => {
                let some: Vec<_> = names.iter().take(10).map(|name| &**name).collect();
                let more = if names.len() > some.len() { ", ..." } else { "" };
                format!("write one of {}{more}", some.join(", "))
            }
        }
    }

    /// The JSON text that stands for nothing, as an update needs it.
    pub(crate) fn nothing(&self, out: &mut Vec<u8>) -> Result<(), Misfit> {
        match self {
            Self::Text { .. } | Self::Date | Self::DateTime => out.extend_from_slice(b"\"\""),
            Self::Int { .. } | Self::Number => out.push(b'0'),
            Self::Bool => out.extend_from_slice(b"false"),
            Self::Link => out.extend_from_slice(b"null"),
            Self::Enumeration { zero: Some(name), .. } => string(out, name),
            Self::Enumeration { zero: None, .. } => {
                return misfit(
                    code::CANNOT_CLEAR,
                    "the enumeration has no value stored as 0 that could stand for nothing",
                );
            }
        }
        Ok(())
    }

    /// Appends the JSON text of a value that is not nothing.
    pub(crate) fn encode(&self, value: &Selected<'_>, out: &mut Vec<u8>) -> Result<(), Misfit> {
        match self {
            Self::Text { max } => encode_text(value, *max, out),
            Self::Link => {
                out.extend_from_slice(b"{\"PKey\":");
                encode_text(value, None, out)?;
                out.push(b'}');
                Ok(())
            }
            Self::Int { min, max } => {
                let number = whole(value)?;
                if number < *min || number > *max {
                    return misfit(code::OUT_OF_RANGE, format!("the target holds whole numbers from {min} to {max}"));
                }
                print(out, format_args!("{number}"));
                Ok(())
            }
            Self::Number => {
                match number(value)? {
                    Number::Int(number) => print(out, format_args!("{number}")),
                    // Numerically equal decimals give the same bytes, so that they give the same digest.
                    Number::Decimal(number) => print(out, format_args!("{}", number.normalize())),
                    Number::Float(number) => print(out, format_args!("{}", number + 0.0)),
                }
                Ok(())
            }
            Self::Bool => {
                out.extend_from_slice(if boolean(value)? { b"true" } else { b"false" });
                Ok(())
            }
            Self::Date => {
                let day = match value {
                    Selected::Date(day) => *day,
                    Selected::DateTime(instant) => instant.date_naive(),
                    Selected::Text(text) => match (json::date(text), json::instant(text)) {
                        (Ok(day), _) => day,
                        (_, Ok(instant)) => instant.date_naive(),
                        _ => return misfit(code::NOT_A_DATE, "expected a date YYYY-MM-DD"),
                    },
                    _ => return misfit(code::NOT_A_DATE, "expected a date YYYY-MM-DD"),
                };
                out.push(b'"');
                write_day(out, day)?;
                out.push(b'"');
                Ok(())
            }
            Self::DateTime => {
                let instant = match value {
                    Selected::Date(day) => day.and_time(NaiveTime::MIN).and_utc(),
                    Selected::DateTime(instant) => *instant,
                    Selected::Text(text) => match (json::instant(text), json::date(text)) {
                        (Ok(instant), _) => instant,
                        (_, Ok(day)) => day.and_time(NaiveTime::MIN).and_utc(),
                        _ => return misfit(code::NOT_AN_INSTANT, "expected an instant such as 2026-01-05T10:00:00Z"),
                    },
                    _ => return misfit(code::NOT_AN_INSTANT, "expected an instant such as 2026-01-05T10:00:00Z"),
                };
                out.push(b'"');
                write_day(out, instant.date_naive())?;
                let (h, m, s, ms) =
                    (instant.hour(), instant.minute(), instant.second(), instant.timestamp_subsec_millis() % 1000);
                print(out, format_args!(" {h:02}:{m:02}:{s:02}.{ms:03}Z\""));
                Ok(())
            }
            Self::Enumeration { names, .. } => {
                let name = as_text(value);
                if names.binary_search_by(|known| (**known).cmp(&name)).is_err() {
                    return misfit(code::NOT_IN_ENUMERATION, "the value is no name of the target's enumeration");
                }
                string(out, &name);
                Ok(())
            }
        }
    }
}

/// Chooses what a source value stands for: a choice its label or its number.
pub(crate) fn select<'a>(value: &'a Value, technical: bool, options: &'a Options) -> Result<Selected<'a>, Misfit> {
    Ok(match value {
        Value::Null => Selected::Nothing,
        Value::Bool(flag) => Selected::Bool(*flag),
        Value::Int(number) => Selected::Int(*number),
        Value::Decimal(number) => Selected::Decimal(*number),
        Value::Float(number) => Selected::Float(*number),
        Value::Text(text) => Selected::Text(Cow::Borrowed(text)),
        Value::Date(day) => Selected::Date(*day),
        Value::DateTime(instant) => Selected::DateTime(*instant),
        Value::Guid(guid) => Selected::Guid(*guid),
        Value::Reference(reference) => Selected::Guid(reference.id),
        Value::Choice(choice) if technical => Selected::Int(i64::from(choice.value)),
        Value::Choice(choice) => Selected::Text(Cow::Borrowed(label(choice, options)?)),
        Value::List(items) if items.is_empty() => Selected::Nothing,
        Value::List(items) => {
            let mut parts: Vec<Cow<'_, str>> = Vec::with_capacity(items.len());
            for item in items {
                match select(item, technical, options)? {
                    Selected::Nothing => {}
                    part => parts.push(as_text(&part).into_owned().into()),
                }
            }
            Selected::Text(Cow::Owned(parts.join(if technical { "," } else { "; " })))
        }
    })
}

/// The labels of a choice column by technical value, sorted.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Options(Vec<(i64, Arc<str>)>);

impl Options {
    pub(crate) fn of(column: &Column) -> Self {
        let label = |option: &record::schema::ChoiceOption| option.label.clone().unwrap_or_else(|| option.name.clone());
        let mut options: Vec<_> = column.options.iter().map(|option| (option.value, label(option))).collect();
        options.sort_unstable();
        Self(options)
    }

    pub(crate) fn label(&self, value: i64) -> Option<&str> {
        let found = self.0.binary_search_by_key(&value, |(known, _)| *known).ok()?;
        self.0.get(found).map(|(_, label)| &**label)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &str)> {
        self.0.iter().map(|(value, label)| (*value, &**label))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The label of a choice: from the record where the wire told it, else from the schema.
pub(crate) fn label<'a>(choice: &'a record::Choice, options: &'a Options) -> Result<&'a str, Misfit> {
    match choice.label.as_deref().or_else(|| options.label(i64::from(choice.value))) {
        Some(label) => Ok(label),
        None => misfit(code::UNKNOWN_LABEL, "the schema has no label for this option of the choice"),
    }
}

fn print(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a vector cannot fail.
    let _ = out.write_fmt(text);
}

fn write_day(out: &mut Vec<u8>, day: NaiveDate) -> Result<(), Misfit> {
    let (year, month, date) = (day.year(), day.month(), day.day());
    if !(1..=9999).contains(&year) {
        return misfit(code::OUT_OF_RANGE, "the year has no form of four digits");
    }
    print(out, format_args!("{year:04}-{month:02}-{date:02}"));
    Ok(())
}

fn encode_text(value: &Selected<'_>, max: Option<u32>, out: &mut Vec<u8>) -> Result<(), Misfit> {
    let text = as_text(value);
    if let Some(max) = max {
        let limit = usize::try_from(max).unwrap_or(usize::MAX);
        // Bytes are never fewer than characters, so most texts need no counting.
        if text.len() > limit && text.chars().count() > limit {
            return misfit(code::TEXT_TOO_LONG, format!("the target takes at most {max} characters"));
        }
    }
    string(out, &text);
    Ok(())
}

/// The value as text, in the form that the source shows it.
pub(crate) fn as_text<'a>(value: &'a Selected<'_>) -> Cow<'a, str> {
    match value {
        Selected::Nothing => Cow::Borrowed(""),
        Selected::Bool(flag) => Cow::Borrowed(if *flag { "true" } else { "false" }),
        Selected::Int(number) => Cow::Owned(number.to_string()),
        Selected::Decimal(number) => Cow::Owned(number.to_string()),
        Selected::Float(number) => Cow::Owned(number.to_string()),
        Selected::Text(text) => Cow::Borrowed(text),
        Selected::Date(day) => Cow::Owned(day.to_string()),
        Selected::DateTime(instant) => Cow::Owned(instant.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        Selected::Guid(guid) => Cow::Owned(guid.hyphenated().to_string()),
    }
}

enum Number {
    Int(i64),
    Decimal(Decimal),
    Float(f64),
}

fn number(value: &Selected<'_>) -> Result<Number, Misfit> {
    match value {
        Selected::Bool(flag) => Ok(Number::Int(i64::from(*flag))),
        Selected::Int(number) => Ok(Number::Int(*number)),
        Selected::Decimal(number) => Ok(Number::Decimal(*number)),
        Selected::Float(number) if number.is_finite() => Ok(Number::Float(*number)),
        Selected::Text(text) => {
            let text = plain(text);
            match (json::decimal(&text), json::parse(ValueKind::Float, &text)) {
                (Ok(number), _) => Ok(Number::Decimal(number)),
                (_, Ok(Value::Float(number))) => Ok(Number::Float(number)),
                _ => misfit(code::NOT_A_NUMBER, "expected a number such as -12.5"),
            }
        }
        _ => misfit(code::NOT_A_NUMBER, "expected a number"),
    }
}

/// A number as people write it, in the grammar of JSON: without a plus sign and leading zeros, and without blanks around it.
fn plain(text: &str) -> Cow<'_, str> {
    let text = text.trim_matches(|blank: char| blank.is_ascii_whitespace());
    let (minus, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => {
            let unsigned = |rest: &&str| rest.starts_with(|first: char| first.is_ascii_digit());
            (false, text.strip_prefix('+').filter(unsigned).unwrap_or(text))
        }
    };
    let shorter = digits.trim_start_matches('0');
    let zero_needed = !shorter.starts_with(|first: char| first.is_ascii_digit());
    let kept = &digits[digits.len() - shorter.len() - usize::from(zero_needed && shorter.len() < digits.len())..];
    if minus { Cow::Owned(format!("-{kept}")) } else { Cow::Borrowed(kept) }
}

fn whole(value: &Selected<'_>) -> Result<i64, Misfit> {
    let exact = match number(value)? {
        Number::Int(number) => return Ok(number),
        Number::Decimal(number) if number.fract().is_zero() => number.to_i64(),
        // The bounds are exact powers of two; beyond them the conversion would saturate.
        Number::Float(number) if number.fract() == 0.0 => {
            (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number).then_some(number as i64)
        }
        _ => return misfit(code::NOT_A_WHOLE_NUMBER, "the target takes whole numbers, and nothing is rounded"),
    };
    match exact {
        Some(number) => Ok(number),
        None => misfit(code::OUT_OF_RANGE, "the number needs more than 64 bits"),
    }
}

fn boolean(value: &Selected<'_>) -> Result<bool, Misfit> {
    let number = match value {
        Selected::Bool(flag) => return Ok(*flag),
        Selected::Text(text) if text.eq_ignore_ascii_case("true") || text == "1" => return Ok(true),
        Selected::Text(text) if text.eq_ignore_ascii_case("false") || text == "0" => return Ok(false),
        Selected::Int(_) | Selected::Decimal(_) | Selected::Float(_) => whole(value).ok(),
        _ => None,
    };
    match number {
        Some(0) => Ok(false),
        Some(1) => Ok(true),
        _ => misfit(code::NOT_A_BOOLEAN, "expected true, false, 1 or 0"),
    }
}
