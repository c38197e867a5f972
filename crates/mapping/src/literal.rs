//! Values as they stand in a configuration.

use std::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value written in a configuration: a scalar, or a list of scalars.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction; finite.
    Float(f64),
    /// Text; dates and instants are written as text, and a bare date of TOML is read as its text.
    Text(String),
    /// A list, for `in` and `not_in`.
    List(Vec<Literal>),
}

impl Serialize for Literal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(flag) => serializer.serialize_bool(*flag),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => items.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Literal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LiteralVisitor)
    }
}

struct LiteralVisitor;

impl<'de> Visitor<'de> for LiteralVisitor {
    type Value = Literal;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a text, true, false, a date, or a list of these")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Literal, E> {
        Ok(Literal::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Literal, E> {
        Ok(Literal::Int(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Literal, E> {
        i64::try_from(number).map(Literal::Int).map_err(|_| E::custom("the number is too large"))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Literal, E> {
        if number.is_finite() { Ok(Literal::Float(number)) } else { Err(E::custom("the number must be finite")) }
    }

    fn visit_str<E>(self, text: &str) -> Result<Literal, E> {
        Ok(Literal::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Literal, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Literal>()? {
            if matches!(item, Literal::List(_)) {
                return Err(A::Error::custom("a list holds scalars only"));
            }
            list.push(item);
        }
        Ok(Literal::List(list))
    }

    /// TOML hands a bare date or time over as a map of one private key.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Literal, A::Error> {
        match map.next_key::<String>()? {
            Some(key) if key.starts_with("$__toml_private") => map.next_value::<String>().map(Literal::Text),
            _ => Err(A::Error::custom("expected a scalar, found a table")),
        }
    }
}
