//! Between JSON text and values, by the kind that a schema promises.
//!
//! The forms are those of the Dataverse Web API (learn.microsoft.com, "Web API types and operations" and the attribute
//! metadata pages): numbers as JSON numbers whose decimals keep their scale, instants as `2026-01-05T10:00:00Z`, dates as
//! `1990-05-01`, choices as whole numbers, multi-select choices as a text `"1,9"`, lookups and keys as GUID text.
//! A number never passes through binary floating point unless its kind is [`ValueKind::Float`].

use std::fmt::Write as _;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::{Choice, Reference, Value, ValueError, ValueKind};

const fn expected<T>(expected: &'static str) -> Result<T, ValueError> {
    Err(ValueError { expected })
}

/// Reads one JSON value of the promised kind; `null` is [`Value::Null`] for every kind.
///
/// Nothing is allocated beyond the value itself, unless a text carries escapes.
///
/// # Errors
/// [`ValueError`] names the form that was expected. It never carries the text.
pub fn parse(kind: ValueKind, raw: &str) -> Result<Value, ValueError> {
    let raw = raw.trim_matches([' ', '\t', '\r', '\n']);
    if raw == "null" {
        return Ok(Value::Null);
    }
    match kind {
        ValueKind::Null => expected("null"),
        ValueKind::Bool => match raw {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => expected("true or false"),
        },
        ValueKind::Int => integer(raw).map(Value::Int),
        ValueKind::Decimal => decimal(raw).map(Value::Decimal),
        ValueKind::Float => float(raw).map(Value::Float),
        ValueKind::Text => text(raw).map(Value::Text),
        ValueKind::Date => plain(raw).and_then(date).map(Value::Date),
        ValueKind::DateTime => plain(raw).and_then(instant).map(Value::DateTime),
        ValueKind::Guid => plain(raw).and_then(guid).map(Value::Guid),
        ValueKind::Reference => plain(raw).and_then(guid).map(|id| Value::Reference(Reference { id, table: None })),
        ValueKind::Choice => match integer(raw).map(i32::try_from) {
            Ok(Ok(value)) => Ok(Value::Choice(Choice { value, label: None })),
            _ => expected("the whole number of a choice"),
        },
        ValueKind::List => plain(raw).and_then(list).map(Value::List),
    }
}

/// Writes a value in the form that [`parse`] reads back for its kind.
///
/// Labels of choices and tables of references are not part of that form. A list is written as the numbers of its choices;
/// members of any other kind have no wire form and are left out.
pub fn print(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Decimal(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Text(text) => serde_json::Value::from(&**text).to_string(),
        Value::Date(date) => format!("\"{date}\""),
        Value::DateTime(instant) => format!("\"{}\"", instant.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        Value::Guid(guid) => format!("\"{}\"", guid.hyphenated()),
        Value::Reference(reference) => format!("\"{}\"", reference.id.hyphenated()),
        Value::Choice(choice) => choice.value.to_string(),
        Value::List(items) => {
            let mut out = String::from("\"");
            for item in items {
                if let Value::Choice(choice) = item {
                    if out.len() > 1 {
                        out.push(',');
                    }
                    // Writing to a string cannot fail.
                    let _ = write!(out, "{}", choice.value);
                }
            }
            out.push('"');
            out
        }
    }
}

/// Reads a decimal number in the grammar of JSON, exactly: an exponent moves the point, nothing is rounded.
///
/// # Errors
/// When the text is no JSON number or needs more than 28 significant digits.
pub fn decimal(raw: &str) -> Result<Decimal, ValueError> {
    const WHAT: &str = "a decimal number of at most 28 digits";
    let Some(exponent_at) = number_end(raw) else { return expected("a number") };
    let Ok(mut number) = Decimal::from_str_exact(&raw[..exponent_at]) else { return expected(WHAT) };
    if exponent_at < raw.len() {
        if number.is_zero() {
            return Ok(number);
        }
        let Ok(exponent) = raw[exponent_at + 1..].parse::<i32>() else { return expected(WHAT) };
        number = shift(number, exponent).ok_or(ValueError { expected: WHAT })?;
    }
    Ok(number)
}

/// Moves the decimal point; `None` when the result cannot be held exactly.
fn shift(number: Decimal, exponent: i32) -> Option<Decimal> {
    let mut number = number;
    let mut scale = i64::from(number.scale()) - i64::from(exponent);
    if scale > 28 {
        number = number.normalize();
        scale = i64::from(number.scale()) - i64::from(exponent);
    }
    if scale >= 0 {
        number.set_scale(u32::try_from(scale).ok()?).ok()?;
        return Some(number);
    }
    let places = u32::try_from(-scale).ok().filter(|places| *places <= 28)?;
    number.set_scale(0).ok()?;
    number.checked_mul(Decimal::from(10_i128.checked_pow(places)?))
}

/// Where the exponent of a JSON number begins (its length when there is none); `None` when it is no JSON number.
fn number_end(raw: &str) -> Option<usize> {
    let bytes = raw.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    let whole = digits(at);
    if whole == 0 || (whole > 1 && bytes[at] == b'0') {
        return None;
    }
    at += whole;
    if bytes.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return None;
        }
        at += 1 + fraction;
    }
    let end = at;
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1;
        if matches!(bytes.get(at), Some(b'+' | b'-')) {
            at += 1;
        }
        let exponent = digits(at);
        if exponent == 0 {
            return None;
        }
        at += exponent;
    }
    (at == bytes.len()).then_some(end)
}

fn integer(raw: &str) -> Result<i64, ValueError> {
    const WHAT: &str = "a whole number of 64 bits";
    let Some(end) = number_end(raw) else { return expected(WHAT) };
    if end == raw.len()
        && let Ok(number) = raw.parse()
    {
        return Ok(number);
    }
    // `1e3` and `12.0` are whole numbers too.
    let number = decimal(raw)?;
    if number.fract().is_zero() { i64::try_from(number).or(expected(WHAT)) } else { expected(WHAT) }
}

fn float(raw: &str) -> Result<f64, ValueError> {
    match number_end(raw).map(|_| raw.parse::<f64>()) {
        Some(Ok(number)) if number.is_finite() => Ok(number),
        _ => expected("a finite number"),
    }
}

fn text(raw: &str) -> Result<Box<str>, ValueError> {
    match plain(raw) {
        Ok(text) => Ok(text.into()),
        Err(_) => serde_json::from_str::<Box<str>>(raw).or(expected("a text")),
    }
}

/// The content of a JSON string without escapes.
fn plain(raw: &str) -> Result<&str, ValueError> {
    let content = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match content {
        Some(content) if !content.bytes().any(|byte| byte == b'"' || byte == b'\\' || byte < 0x20) => Ok(content),
        _ => expected("a text"),
    }
}

/// Reads a date `YYYY-MM-DD`.
///
/// # Errors
/// When the text has another form or names no day of the calendar.
pub fn date(text: &str) -> Result<NaiveDate, ValueError> {
    date_bytes(text.as_bytes()).ok_or(ValueError { expected: "a date YYYY-MM-DD" })
}

fn date_bytes(bytes: &[u8]) -> Option<NaiveDate> {
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let year = i32::try_from(digits(&bytes[..4])?).ok()?;
    NaiveDate::from_ymd_opt(year, digits(&bytes[5..7])?, digits(&bytes[8..])?)
}

fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0_u32, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u32::from(byte - b'0')))
}

/// Reads an instant: `2026-01-05T10:00:00Z`, with or without a fraction, with `Z`, another offset or none (then it is UTC,
/// as Dataverse reads it). A space may stand for the `T`.
///
/// # Errors
/// When the text has another form or names no instant.
pub fn instant(text: &str) -> Result<DateTime<Utc>, ValueError> {
    const WHAT: &str = "an instant such as 2026-01-05T10:00:00Z";
    if let Some(instant) = whole_second(text.as_bytes()) {
        return Ok(instant);
    }
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Ok(instant.to_utc());
    }
    for form in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"] {
        // chrono tolerates shorter numbers and a sign of the year; the date has to be complete here.
        if text.get(..10).is_some_and(|day| date(day).is_ok())
            && let Ok(instant) = NaiveDateTime::parse_from_str(text, form)
        {
            return Ok(instant.and_utc());
        }
    }
    expected(WHAT)
}

/// The form without a fraction, which is nearly every instant of the wire.
fn whole_second(bytes: &[u8]) -> Option<DateTime<Utc>> {
    if bytes.len() != 20
        || !matches!(bytes[10], b'T' | b' ')
        || bytes[13] != b':'
        || bytes[16] != b':'
        || bytes[19] != b'Z'
    {
        return None;
    }
    let time = NaiveTime::from_hms_opt(digits(&bytes[11..13])?, digits(&bytes[14..16])?, digits(&bytes[17..19])?)?;
    Some(date_bytes(&bytes[..10])?.and_time(time).and_utc())
}

/// Reads a GUID with hyphens, in either case.
///
/// # Errors
/// When the text has another form.
pub fn guid(text: &str) -> Result<Uuid, ValueError> {
    // The parser also takes braces and other forms, which are no wire form of a GUID.
    if text.len() == 36 {
        return Uuid::try_parse(text).or(expected("a GUID"));
    }
    expected("a GUID")
}

fn list(text: &str) -> Result<Vec<Value>, ValueError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    text.split(',')
        .map(|item| match item.trim().parse() {
            Ok(value) => Ok(Value::Choice(Choice { value, label: None })),
            Err(_) => expected("whole numbers separated by commas"),
        })
        .collect()
}
