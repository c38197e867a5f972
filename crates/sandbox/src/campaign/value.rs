//! Cells: how one value is read from a body, kept in a row and written into an answer.
//!
//! A cell is a short run of bytes whose meaning its column gives: text and dates as they are written, numbers as their decimal
//! text, a boolean as one byte, a time as milliseconds since 1970 (eight bytes, or none when empty), an enumeration as the place
//! of its name (two bytes). Two cells of a column are equal when their bytes are.

use chrono::{DateTime, NaiveDate};
use serde_json::Value;

use super::scenario::{DataPolicy, TooLong};

/// Storage kind of a column.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// Text of at most so many characters.
    Text { length: u32 },
    /// Integer of so many bits, or a fraction.
    Number { bits: Option<u8> },
    /// True or false.
    Boolean,
    /// Day.
    Date,
    /// Instant.
    DateTime,
    /// One of these names.
    Enumeration(Vec<Choice>),
}

/// One name of an enumeration.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    /// Wire name.
    pub(super) name: String,
    /// Stored value as the metadata shows it.
    pub(super) value: String,
    /// Label.
    pub(super) label: String,
}

/// Why a value was refused; becomes one of the engine's texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// `BAS-010040`.
    Convert { value: String, from: &'static str, to: &'static str },
    /// Not a name of the enumeration.
    Enumeration { value: String },
    /// Longer than the column.
    TooLong { length: u32, database: bool },
    /// Not an email address.
    Email { value: String },
}

/// Reads a value of a body into a cell. `null` never comes here: it is decided before.
pub(super) fn parse(kind: &Kind, policy: DataPolicy, too_long: TooLong, value: Value) -> Result<Vec<u8>, Problem> {
    match kind {
        Kind::Text { length } => text(*length, policy, too_long, value),
        Kind::Number { bits } => number(*bits, value),
        Kind::Boolean => match &value {
            Value::Bool(flag) => Ok(vec![u8::from(*flag)]),
            Value::Number(n) if n.as_i64() == Some(0) => Ok(vec![0]),
            Value::Number(n) if n.as_i64() == Some(1) => Ok(vec![1]),
            Value::String(s) if matches!(s.as_str(), "" | "0" | "false") => Ok(vec![0]),
            Value::String(s) if matches!(s.as_str(), "1" | "true") => Ok(vec![1]),
            other => Err(convert(other, "boolean")),
        },
        Kind::Date => match value {
            Value::String(s) if s.is_empty() => Ok(Vec::new()),
            Value::String(s) if parse_date(&s).is_some() => Ok(s.into_bytes()),
            other => Err(convert(&other, "date")),
        },
        Kind::DateTime => match &value {
            Value::String(s) if s.is_empty() => Ok(Vec::new()),
            Value::String(s) => {
                parse_datetime(s).map(|at| at.to_le_bytes().to_vec()).ok_or_else(|| convert(&value, "datetime"))
            }
            other => Err(convert(other, "datetime")),
        },
        Kind::Enumeration(choices) => {
            let name = match &value {
                Value::String(s) => s.clone(),
                other => other.to_string(),
            };
            match choices.iter().position(|c| c.name == name).and_then(|at| u16::try_from(at).ok()) {
                Some(at) => Ok(at.to_le_bytes().to_vec()),
                None => Err(Problem::Enumeration { value: name }),
            }
        }
    }
}

/// The cell that a key in a path means; none when it cannot be one.
pub(super) fn key(kind: &Kind, text: &str) -> Option<Vec<u8>> {
    match kind {
        Kind::Text { .. } => Some(text.as_bytes().to_vec()),
        other => parse(other, DataPolicy::None, TooLong::Error, text.into()).ok(),
    }
}

fn text(length: u32, policy: DataPolicy, too_long: TooLong, value: Value) -> Result<Vec<u8>, Problem> {
    let mut text = match value {
        Value::String(s) => s,
        Value::Number(n) => n.to_string(),
        Value::Bool(flag) => flag.to_string(),
        other => return Err(convert(&other, "string")),
    };
    match policy {
        DataPolicy::None => {}
        DataPolicy::Email => {
            if !text.is_empty() && !is_email(&text) {
                return Err(Problem::Email { value: text });
            }
        }
        DataPolicy::SmartCase => text = smart_case(&text),
    }
    let limit = length as usize;
    if text.len() > limit && text.chars().count() > limit {
        match too_long {
            TooLong::Truncate => text = text.chars().take(limit).collect(),
            TooLong::Error => return Err(Problem::TooLong { length, database: false }),
            TooLong::DatabaseError => return Err(Problem::TooLong { length, database: true }),
        }
    }
    Ok(text.into_bytes())
}

fn number(bits: Option<u8>, value: Value) -> Result<Vec<u8>, Problem> {
    let to = match bits {
        Some(8) => "integer (8 bit)",
        Some(16) => "integer (16 bit)",
        Some(64) => "integer (64 bit)",
        Some(_) => "integer (32 bit)",
        None => "double",
    };
    let text = match &value {
        Value::Number(n) => n.to_string(),
        Value::String(s) if s.is_empty() => "0".to_owned(),
        Value::String(s) => s.trim().to_owned(),
        other => return Err(convert(other, to)),
    };
    match bits {
        Some(bits) => {
            let read: Option<i64> = text.parse().ok();
            let limit = 1_i128 << (u32::from(bits.clamp(2, 64)) - 1);
            match read.filter(|n| i128::from(*n) < limit && i128::from(*n) >= -limit) {
                Some(n) => Ok(n.to_string().into_bytes()),
                None => Err(convert(&value, to)),
            }
        }
        None => {
            // Through the JSON reader, so that what is kept can be written back as a JSON number without another look.
            match serde_json::from_str::<serde_json::Number>(&text) {
                Ok(n) => Ok(n.to_string().into_bytes()),
                Err(_) => Err(convert(&value, to)),
            }
        }
    }
}

fn convert(value: &Value, to: &'static str) -> Problem {
    let (value, from) = match value {
        Value::String(s) => (s.clone(), "text"),
        Value::Number(n) => (n.to_string(), "number"),
        Value::Bool(flag) => (flag.to_string(), "boolean"),
        Value::Null => ("null".to_owned(), "null"),
        Value::Array(_) => ("[]".to_owned(), "array"),
        Value::Object(_) => ("{}".to_owned(), "object"),
    };
    Problem::Convert { value, from, to }
}

/// Appends a cell as JSON.
pub(super) fn write(out: &mut Vec<u8>, kind: &Kind, cell: &[u8]) {
    match kind {
        Kind::Text { .. } | Kind::Date => write_string(out, cell),
        Kind::Number { .. } => out.extend_from_slice(if cell.is_empty() { b"0" } else { cell }),
        Kind::Boolean => out.extend_from_slice(if cell == [1] { b"true" } else { b"false" }),
        Kind::DateTime => match instant(cell) {
            Some(at) => {
                out.push(b'"');
                write_datetime(out, at);
                out.push(b'"');
            }
            None => out.extend_from_slice(b"\"\""),
        },
        Kind::Enumeration(choices) => match choice(cell).and_then(|at| choices.get(at)) {
            Some(found) => write_string(out, found.name.as_bytes()),
            None => out.extend_from_slice(b"\"__Invalid_value__\""),
        },
    }
}

/// Bytes whose order is the order of the values, for `_order`.
pub(super) fn sort_key(kind: &Kind, cell: &[u8]) -> Vec<u8> {
    match kind {
        Kind::Number { .. } => {
            let read: f64 = std::str::from_utf8(cell).ok().and_then(|s| s.parse().ok()).unwrap_or(0.0);
            let bits = read.to_bits();
            // The usual trick: flipped so that the bytes of negative numbers sort before those of positive ones.
            let ordered = if bits >> 63 == 1 { !bits } else { bits | (1 << 63) };
            ordered.to_be_bytes().to_vec()
        }
        Kind::DateTime => instant_key(instant(cell).unwrap_or(i64::MIN)),
        Kind::Enumeration(_) => cell.iter().rev().copied().collect(),
        Kind::Text { .. } | Kind::Date | Kind::Boolean => cell.to_vec(),
    }
}

/// As `sort_key`, for an instant that is not a cell.
pub(super) fn instant_key(at: i64) -> Vec<u8> {
    (at.cast_unsigned() ^ (1 << 63)).to_be_bytes().to_vec()
}

/// The instant of a cell; none when empty.
pub(super) fn instant(cell: &[u8]) -> Option<i64> {
    <[u8; 8]>::try_from(cell).ok().map(i64::from_le_bytes)
}

/// The place of an enumeration's cell.
pub(super) fn choice(cell: &[u8]) -> Option<usize> {
    <[u8; 2]>::try_from(cell).ok().map(|b| usize::from(u16::from_le_bytes(b)))
}

/// Appends a JSON string. The bytes are text that came in as UTF-8.
pub(super) fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut from = 0;
    for (at, byte) in text.iter().enumerate() {
        let escaped: Option<&[u8]> = match byte {
            b'"' => Some(b"\\\""),
            b'\\' => Some(b"\\\\"),
            b'\n' => Some(b"\\n"),
            b'\r' => Some(b"\\r"),
            b'\t' => Some(b"\\t"),
            0..=0x1f => None,
            _ => continue,
        };
        out.extend_from_slice(&text[from..at]);
        match escaped {
            Some(escaped) => out.extend_from_slice(escaped),
            None => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
        from = at + 1;
    }
    out.extend_from_slice(&text[from..]);
    out.push(b'"');
}

/// Appends `YYYY-MM-DD HH:MM:SS.mmmZ`.
pub(super) fn write_datetime(out: &mut Vec<u8>, millis: i64) {
    use std::io::Write as _;
    let Some(at) = DateTime::from_timestamp_millis(millis) else {
        return;
    };
    use chrono::{Datelike as _, Timelike as _};
    // Writing into a Vec cannot fail.
    let _ = write!(
        out,
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:03}Z",
        at.year(),
        at.month(),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        millis.rem_euclid(1000)
    );
}

/// A day.
pub(super) fn parse_date(text: &str) -> Option<NaiveDate> {
    let b = text.as_bytes();
    if b.len() != 10 || b[4] != b'-' || b[7] != b'-' {
        return None;
    }
    NaiveDate::from_ymd_opt(digits(&b[..4])?.cast_signed(), digits(&b[5..7])?, digits(&b[8..])?)
}

/// An instant in milliseconds; a blank or a `T` between day and time, `Z`, an offset or nothing after it.
pub(super) fn parse_datetime(text: &str) -> Option<i64> {
    let day = parse_date(text.get(..10)?)?;
    let rest = text.get(10..)?;
    if rest.is_empty() {
        return Some(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis());
    }
    let time = rest.strip_prefix(' ').or_else(|| rest.strip_prefix('T'))?;
    let (clock, shift) = match time.find(['Z', '+', '-']) {
        None => (time, 0),
        Some(at) if &time[at..] == "Z" => (&time[..at], 0),
        Some(at) => {
            let zone = &time.as_bytes()[at + 1..];
            if zone.len() != 5 || zone[2] != b':' {
                return None;
            }
            let minutes = i64::from(digits(&zone[..2])?) * 60 + i64::from(digits(&zone[3..])?);
            (&time[..at], if time.as_bytes()[at] == b'-' { minutes } else { -minutes })
        }
    };
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let w = whole.as_bytes();
    if w.len() != 8 || w[2] != b':' || w[5] != b':' {
        return None;
    }
    let mut millis = 0;
    if !fraction.is_empty() {
        let shown = fraction.as_bytes();
        if shown.len() > 9 || !shown.iter().all(u8::is_ascii_digit) {
            return None;
        }
        millis = shown.iter().chain(b"00").take(3).fold(0, |n, d| n * 10 + u32::from(d - b'0'));
    }
    let at = day.and_hms_milli_opt(digits(&w[..2])?, digits(&w[3..5])?, digits(&w[6..])?, millis)?;
    Some(at.and_utc().timestamp_millis() + shift * 60_000)
}

fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0_u32, |n, d| d.is_ascii_digit().then(|| n * 10 + u32::from(d - b'0')))
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else {
        return false;
    };
    !local.is_empty()
        && !domain.contains('@')
        && domain.contains('.')
        && domain.split('.').all(|part| !part.is_empty())
        && !text.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, ',' | ';' | '<' | '>'))
}

fn smart_case(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut first = true;
    for c in text.chars() {
        if !c.is_alphabetic() {
            first = true;
            out.push(c);
        } else if first {
            first = false;
            out.extend(c.to_uppercase());
        } else {
            out.extend(c.to_lowercase());
        }
    }
    out
}

#[cfg(test)]
mod tests;
