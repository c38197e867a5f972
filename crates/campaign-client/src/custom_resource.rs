use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A record of any resource, as JSON. `Debug` shows field names only.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CustomRecord {
    fields: Map<String, Value>,
}

impl CustomRecord {
    /// A record of these fields.
    #[must_use]
    pub fn new(fields: Map<String, Value>) -> Self {
        Self { fields }
    }

    /// The opaque key of the service. It holds for the path it came from only: do not store it.
    #[must_use]
    pub fn pkey(&self) -> Option<&str> {
        self.fields.get("PKey").and_then(Value::as_str)
    }

    /// The record's own link, unchecked.
    #[must_use]
    pub fn href(&self) -> Option<&str> {
        self.fields.get("href").and_then(Value::as_str)
    }

    /// A field; dots lead into nested ones, `location.city`.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Value> {
        let mut names = path.split('.');
        let first = self.fields.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name))
    }

    /// A text, number or boolean as text; `None` for what is absent, null or nested.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<String> {
        match self.get(path)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            _ => None,
        }
    }

    /// All fields.
    #[must_use]
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// All fields, owned.
    #[must_use]
    pub fn into_fields(self) -> Map<String, Value> {
        self.fields
    }
}

impl fmt::Debug for CustomRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.fields.keys().map(String::as_str).collect();
        formatter.debug_tuple("CustomRecord").field(&names).finish()
    }
}
