//! Values inside conditions and keys.

use std::fmt;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::error::Error;

/// A value as it stands in a condition or a key, before percent-encoding.
///
/// Text is quoted with its quotes doubled; everything else stands bare: a GUID in quotes or in the `guid'…'` form of
/// older OData is refused by the service, and so are quoted dates (learn.microsoft.com, "Filter rows using OData").
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Literal {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number; also the value of a choice.
    Int(i64),
    /// A decimal or money value, written with its scale.
    Decimal(Decimal),
    /// A finite double; made by `Literal::try_from(f64)`.
    Double(Finite),
    /// A text.
    Text(String),
    /// The identifier of a row.
    Guid(Uuid),
    /// A calendar day, for columns of date-only behaviour.
    Date(NaiveDate),
    /// An instant, written in UTC with `Z`.
    DateTime(DateTime<Utc>),
}

/// A double that is neither infinite nor a NaN, which OData literals of Dataverse cannot say.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub struct Finite(f64);

impl fmt::Debug for Literal {
    // Values of conditions are record data: only their kind may reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "Null",
            Self::Bool(_) => "Bool(..)",
            Self::Int(_) => "Int(..)",
            Self::Decimal(_) => "Decimal(..)",
            Self::Double(_) => "Double(..)",
            Self::Text(_) => "Text(..)",
            Self::Guid(_) => "Guid(..)",
            Self::Date(_) => "Date(..)",
            Self::DateTime(_) => "DateTime(..)",
        })
    }
}

impl Literal {
    /// Writes the literal as OData text, not yet percent-encoded.
    pub(crate) fn write(&self, out: &mut String) {
        use fmt::Write as _;
        // Writing to a String cannot fail.
        let _ = match self {
            Self::Text(text) => {
                write_quoted(text, out);
                Ok(())
            }
            Self::Null => out.write_str("null"),
            Self::Bool(value) => write!(out, "{value}"),
            Self::Int(value) => write!(out, "{value}"),
            Self::Decimal(value) => write!(out, "{value}"),
            Self::Double(Finite(value)) => write!(out, "{value:?}"),
            Self::Guid(value) => write!(out, "{}", value.hyphenated()),
            Self::Date(value) => write!(out, "{}", value.format("%Y-%m-%d")),
            Self::DateTime(value) => out.write_str(&value.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        };
    }

    /// The bare text of the value, as the `In` function of Dataverse wants its members: quoted as JSON by the caller.
    pub(crate) fn plain(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            other => {
                let mut out = String::new();
                other.write(&mut out);
                out
            }
        }
    }
}

/// Writes `'text'` with every quote doubled.
pub(crate) fn write_quoted(text: &str, out: &mut String) {
    out.push('\'');
    for part in text.split_inclusive('\'') {
        out.push_str(part);
        if part.ends_with('\'') {
            out.push('\'');
        }
    }
    out.push('\'');
}

macro_rules! literal_from {
    ($($from:ty => |$value:ident| $to:expr),* $(,)?) => {
        $(impl From<$from> for Literal {
            fn from($value: $from) -> Self {
                $to
            }
        })*
    };
}

literal_from! {
    bool => |value| Self::Bool(value),
    i32 => |value| Self::Int(i64::from(value)),
    i64 => |value| Self::Int(value),
    Decimal => |value| Self::Decimal(value),
    &str => |value| Self::Text(value.to_owned()),
    String => |value| Self::Text(value),
    Uuid => |value| Self::Guid(value),
    NaiveDate => |value| Self::Date(value),
    DateTime<Utc> => |value| Self::DateTime(value),
}

impl TryFrom<f64> for Literal {
    type Error = Error;

    fn try_from(value: f64) -> Result<Self, Error> {
        if value.is_finite() {
            Ok(Self::Double(Finite(value)))
        } else {
            Err(Error::validation("a condition cannot hold an infinite number or NaN"))
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone as _;

    use super::*;

    fn text(literal: impl Into<Literal>) -> String {
        let mut out = String::new();
        literal.into().write(&mut out);
        out
    }

    #[test]
    fn text_is_quoted_with_doubled_quotes() {
        assert_eq!(text("O'Bryan"), "'O''Bryan'");
        assert_eq!(text("''"), "''''''");
        assert_eq!(text(""), "''");
        assert_eq!(text("a'"), "'a'''");
    }

    #[test]
    fn everything_else_stands_bare() {
        assert_eq!(text(Uuid::nil()), "00000000-0000-0000-0000-000000000000");
        assert_eq!(text(NaiveDate::from_ymd_opt(1990, 5, 1).unwrap()), "1990-05-01");
        assert_eq!(text(Utc.with_ymd_and_hms(2026, 1, 5, 10, 0, 0).unwrap()), "2026-01-05T10:00:00Z");
        assert_eq!(text("12.5000".parse::<Decimal>().unwrap()), "12.5000");
        assert_eq!(text(true), "true");
        assert_eq!(text(-7_i64), "-7");
        assert_eq!(text(Literal::Null), "null");
        assert_eq!(text(Literal::try_from(0.5).unwrap()), "0.5");
        assert!(Literal::try_from(f64::NAN).is_err());
        assert!(Literal::try_from(f64::INFINITY).is_err());
    }

    #[test]
    fn debug_shows_no_value() {
        assert_eq!(format!("{:?}", Literal::from("secret")), "Text(..)");
    }
}
