//! What a resource says about itself. Every part is read with tolerance: the inner shape of
//! enumeration values and of nested items is not documented.

use serde_json::Value;

use crate::resource::Resource;

/// How deep items may nest. Campaign nests once; the bound is against a hostile answer.
const MAX_DEPTH: usize = 8;

/// The type of a field (experienceleague.adobe.com, Campaign Standard API, "Metadata mechanism").
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldType {
    /// Text.
    String,
    /// A number; the storage type says which.
    Number,
    /// True or false.
    Boolean,
    /// A day.
    Date,
    /// A point in time.
    DateTime,
    /// A name out of a list.
    Enumeration,
    /// A reference to another record.
    Link,
    /// A list of other records.
    Collection,
    /// A group of fields.
    Item,
    /// Anything else, by its name.
    Other(String),
}

impl FieldType {
    fn read(name: &str) -> Self {
        match name {
            "string" | "memo" => Self::String,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            "date" => Self::Date,
            "datetime" => Self::DateTime,
            "enumeration" => Self::Enumeration,
            "link" => Self::Link,
            "collection" => Self::Collection,
            "item" => Self::Item,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// One value of an enumeration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EnumValue {
    /// What goes over the wire: `female`.
    pub name: String,
    /// What is stored: `2`.
    pub value: Option<String>,
    /// What people read.
    pub label: Option<String>,
}

/// One field.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldMeta {
    /// The name, with dots for nested fields: `location.city`.
    pub name: String,
    /// The type.
    pub field_type: FieldType,
    /// The storage type: `string`, `long`, `byte`, `double`.
    pub storage_type: Option<String>,
    /// The most characters.
    pub length: Option<u32>,
    /// Whether it cannot be written.
    pub read_only: bool,
    /// Whether every record must have it.
    pub mandatory: bool,
    /// What people read.
    pub label: Option<String>,
    /// The resource that a link leads to.
    pub target: Option<String>,
    /// The names of an enumeration.
    pub values: Vec<EnumValue>,
}

/// The fields of a resource, nested ones flattened, in order of name within each level.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResourceMeta {
    /// The resource.
    pub resource: Resource,
    /// What people read.
    pub label: Option<String>,
    /// The fields.
    pub fields: Vec<FieldMeta>,
}

impl ResourceMeta {
    /// Reads the answer of `resourceType/<name>`. What is not understood is left out.
    #[must_use]
    pub fn read(resource: Resource, answer: &Value) -> Self {
        let mut fields = Vec::new();
        if let Some(content) = answer.get("content") {
            read_fields(content, "", truth(answer, "readOnly"), 0, &mut fields);
        }
        Self { resource, label: text(answer, "label"), fields }
    }

    /// A field by its dotted name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&FieldMeta> {
        self.fields.iter().find(|field| field.name == name)
    }
}

fn read_fields(content: &Value, prefix: &str, read_only: bool, depth: usize, into: &mut Vec<FieldMeta>) {
    if depth >= MAX_DEPTH {
        return;
    }
    for (key, entry) in entries(content) {
        let Some(name) = key.map(str::to_owned).or_else(|| text(entry, "apiName").or_else(|| text(entry, "name")))
        else {
            continue;
        };
        if !entry.is_object() {
            continue;
        }
        let name = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        let read_only = read_only || truth(entry, "readOnly") || truth(entry, "computed");
        let field_type = FieldType::read(&text(entry, "type").unwrap_or_default());
        into.push(FieldMeta {
            storage_type: text(entry, "resType"),
            length: entry.get("length").and_then(number),
            read_only,
            mandatory: truth(entry, "mandatory"),
            label: text(entry, "label"),
            target: text(entry, "resTarget"),
            values: entry.get("values").map(read_values).unwrap_or_default(),
            name: name.clone(),
            field_type: field_type.clone(),
        });
        if let (FieldType::Item, Some(nested)) = (field_type, entry.get("content")) {
            read_fields(nested, &name, read_only, depth + 1, into);
        }
    }
}

fn read_values(values: &Value) -> Vec<EnumValue> {
    entries(values)
        .filter_map(|(key, entry)| match entry {
            Value::Object(_) => Some(EnumValue {
                name: text(entry, "name").or_else(|| key.map(str::to_owned))?,
                value: text(entry, "value"),
                label: text(entry, "label"),
            }),
            // A bare list of names, or names with their labels.
            Value::String(one) => Some(match key {
                Some(name) => EnumValue { name: name.to_owned(), value: None, label: Some(one.clone()) },
                None => EnumValue { name: one.clone(), value: None, label: None },
            }),
            Value::Number(one) => {
                key.map(|name| EnumValue { name: name.to_owned(), value: Some(one.to_string()), label: None })
            }
            _ => None,
        })
        .collect()
}

/// The entries of an object with their keys, or of an array without.
fn entries(value: &Value) -> Box<dyn Iterator<Item = (Option<&str>, &Value)> + '_> {
    match value {
        Value::Object(object) => Box::new(object.iter().map(|(key, entry)| (Some(key.as_str()), entry))),
        Value::Array(list) => Box::new(list.iter().map(|entry| (None, entry))),
        _ => Box::new(std::iter::empty()),
    }
}

fn text(entry: &Value, name: &str) -> Option<String> {
    match entry.get(name)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn truth(entry: &Value, name: &str) -> bool {
    match entry.get(name) {
        Some(Value::Bool(truth)) => *truth,
        Some(Value::String(text)) => text == "true",
        _ => false,
    }
}

fn number(value: &Value) -> Option<u32> {
    match value {
        Value::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}
