//! The forms of values on the wire, for structs that serde reads and writes.
//!
//! Dataverse writes decimals and money as JSON numbers with all their digits (`1234.5600000000`), and the options of a
//! multi-select choice as one text (`"1,9"`) (learn.microsoft.com, "Web API types and operations", "Multi-select picklist
//! attributes"). serde_json by itself would read the first through a double, which loses digits, and the second as a text.
//! The modules in here are for `#[serde(with = "…")]`; they work with serde_json only, and not inside a
//! `#[serde(flatten)]` or an untagged enum, both of which read numbers ahead of the field.
//!
//! ```
//! use d365_client::wire;
//! use rust_decimal::Decimal;
//!
//! #[derive(serde::Deserialize, serde::Serialize)]
//! struct Contact {
//!     #[serde(with = "wire::option_decimal", default)]
//!     annualincome: Option<Decimal>,
//!     #[serde(with = "wire::choices", default)]
//!     new_interests: Vec<i32>,
//! }
//!
//! let text = r#"{"annualincome":1234.5600000000,"new_interests":"1,9"}"#;
//! let contact: Contact = serde_json::from_str(text)?;
//! assert_eq!(contact.new_interests, [1, 9]);
//! assert_eq!(serde_json::to_string(&contact)?, text);
//! # Ok::<(), serde_json::Error>(())
//! ```

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

/// A [`Decimal`] as a JSON number, exactly: no digit passes through a double.
pub mod decimal {
    use rust_decimal::Decimal;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};
    use serde_json::value::RawValue;

    /// Writes the number with all its digits.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(value.to_string()).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }

    /// Reads a number.
    ///
    /// # Errors
    /// Anything but a number that a [`Decimal`] holds exactly. The error does not show the value.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        super::number(text.get()).ok_or_else(|| D::Error::custom("expected a decimal number of at most 28 digits"))
    }
}

/// As [`decimal`](mod@decimal), with null for none. Add `default` where the column may be missing.
pub mod option_decimal {
    use rust_decimal::Decimal;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};
    use serde_json::value::RawValue;

    /// Writes the number with all its digits, or null.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Option<Decimal>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::decimal::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads a number or null.
    ///
    /// # Errors
    /// Anything but null and a number that a [`Decimal`] holds exactly. The error does not show the value.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Decimal>, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        if text.get() == "null" {
            return Ok(None);
        }
        let number = super::number(text.get());
        number.map(Some).ok_or_else(|| D::Error::custom("expected a decimal number of at most 28 digits"))
    }
}

/// The options of a multi-select choice: `"1,9"`. No option is null on the wire. Add `default` where the column may be
/// missing.
pub mod choices {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    /// Writes the options, or null for none.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(values: &[i32], serializer: S) -> Result<S::Ok, S::Error> {
        if values.is_empty() {
            return serializer.serialize_none();
        }
        serializer.serialize_str(&values.iter().map(i32::to_string).collect::<Vec<_>>().join(","))
    }

    /// Reads the options; null and the empty text are none.
    ///
    /// # Errors
    /// Anything but null and whole numbers of 32 bits parted by commas. The error does not show the value.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<i32>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(Vec::new()) };
        if text.trim().is_empty() {
            return Ok(Vec::new());
        }
        text.split(',')
            .map(|item| item.trim().parse().map_err(|_| D::Error::custom("expected whole numbers parted by commas")))
            .collect()
    }
}

/// A JSON number, exactly: an exponent moves the point, nothing is rounded. `None` when the text is no JSON number or needs
/// more than 28 digits.
pub(crate) fn number(text: &str) -> Option<Decimal> {
    let end = mantissa_end(text)?;
    let number = Decimal::from_str_exact(text.get(..end)?).ok()?;
    if end == text.len() || number.is_zero() {
        return Some(number);
    }
    shift(number, text.get(end + 1..)?.parse().ok()?)
}

fn shift(mut number: Decimal, exponent: i32) -> Option<Decimal> {
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

/// Where the exponent of a JSON number begins, or its end; `None` when the text is no JSON number (RFC 8259, 6).
fn mantissa_end(text: &str) -> Option<usize> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let fits = digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)));
    fits.then_some(text.len() - unsigned.len() + mantissa.len())
}

/// A whole number of 64 bits, also written `12.0` or `1e3`.
pub(crate) fn integer(text: &str) -> Option<i64> {
    let end = mantissa_end(text)?;
    if end == text.len()
        && let Ok(number) = text.parse()
    {
        return Some(number);
    }
    number(text).filter(|number| number.fract().is_zero()).and_then(|number| i64::try_from(number).ok())
}

/// A finite double.
pub(crate) fn double(text: &str) -> Option<f64> {
    mantissa_end(text)?;
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// The content of a JSON string without escapes.
pub(crate) fn plain(text: &str) -> Option<&str> {
    let content = text.strip_prefix('"')?.strip_suffix('"')?;
    (!content.bytes().any(|byte| byte == b'"' || byte == b'\\' || byte < 0x20)).then_some(content)
}

/// A GUID with hyphens, in either case; none of the other forms that parsers accept.
pub(crate) fn guid(text: &str) -> Option<Uuid> {
    plain(text).filter(|text| text.len() == 36).and_then(|text| Uuid::try_parse(text).ok())
}

/// `YYYY-MM-DD`.
pub(crate) fn date(text: &str) -> Option<NaiveDate> {
    day(plain(text)?)
}

fn day(text: &str) -> Option<NaiveDate> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let year = i32::try_from(digits(&bytes[..4])?).ok()?;
    NaiveDate::from_ymd_opt(year, digits(&bytes[5..7])?, digits(&bytes[8..])?)
}

fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0_u32, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u32::from(byte - b'0')))
}

/// An instant with `Z`, another offset, or none, which means UTC; a space may stand for the `T`.
pub(crate) fn instant(text: &str) -> Option<DateTime<Utc>> {
    let text = plain(text)?;
    if let Some(instant) = whole_second(text.as_bytes()) {
        return Some(instant);
    }
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Some(instant.to_utc());
    }
    // chrono tolerates shorter numbers and a sign of the year; the date has to be complete here.
    text.get(..10).and_then(day)?;
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .map(|instant| instant.and_utc())
}

/// The form without a fraction, which is nearly every instant of the wire. No leap second, unlike RFC 3339.
fn whole_second(bytes: &[u8]) -> Option<DateTime<Utc>> {
    let separators = bytes.len() == 20
        && matches!(bytes[10], b'T' | b' ')
        && (bytes[13], bytes[16], bytes[19]) == (b':', b':', b'Z');
    if !separators {
        return None;
    }
    let time = NaiveTime::from_hms_opt(digits(&bytes[11..13])?, digits(&bytes[14..16])?, digits(&bytes[17..19])?)?;
    Some(NaiveDate::and_time(&day(std::str::from_utf8(&bytes[..10]).ok()?)?, time).and_utc())
}
