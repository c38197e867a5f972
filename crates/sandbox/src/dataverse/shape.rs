//! `$select` and `$expand` on definitions, the ones inside an expansion included.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::definition_filter::DefinitionFilter;
use super::error::Refusal;
use super::query::Options;

/// What of a definition is shown.
#[derive(Debug, Default)]
pub(super) struct Shape {
    select: Option<Vec<String>>,
    filter: Option<String>,
    expand: Vec<(String, Shape)>,
}

/// Navigation properties: there only when asked for.
const EXPANDABLE: [&str; 7] = [
    "Attributes",
    "Keys",
    "ManyToOneRelationships",
    "OneToManyRelationships",
    "ManyToManyRelationships",
    "OptionSet",
    "GlobalOptionSet",
];

/// Properties that only some kinds of columns have; they are left out of the others.
const OF_SOME: [&str; 9] = [
    "MaxLength",
    "FormatName",
    "Format",
    "MinValue",
    "MaxValue",
    "Precision",
    "PrecisionSource",
    "Targets",
    "DateTimeBehavior",
];

/// Whether definitions have a property: a name, or names from the definition inwards.
pub(super) fn known(values: &[Value], path: &str) -> bool {
    let has = |value: &Value| path.split('/').try_fold(value, |value, name| value.get(name)).is_some();
    let first = path.split('/').next().unwrap_or_default();
    values.is_empty() || OF_SOME.contains(&first) || values.iter().any(has)
}

fn no_such_property(name: &str) -> Refusal {
    Refusal::no_such_column("MetadataBase", name)
}

impl Shape {
    pub(super) fn of(options: &Options) -> Result<Self, Refusal> {
        let expand = options.get("$expand").map(|text| expansions(text, 0)).transpose()?.unwrap_or_default();
        Ok(Self { select: options.get("$select").map(names), filter: None, expand })
    }

    /// Refuses names that none of the definitions has.
    pub(super) fn check(&self, values: &[Value]) -> Result<(), Refusal> {
        if let Some(missing) = self.select.iter().flatten().find(|name| !known(values, name)) {
            return Err(no_such_property(missing));
        }
        for (name, inner) in &self.expand {
            let there = values.is_empty() || values.iter().any(|value| value.get(name).is_some());
            if !EXPANDABLE.contains(&name.as_str()) || !there {
                return Err(no_such_property(name));
            }
            let inside: Vec<Value> = values
                .iter()
                .filter_map(|value| value.get(name))
                .flat_map(|value| match value {
                    Value::Array(all) => all.clone(),
                    Value::Null => Vec::new(),
                    one => vec![one.clone()],
                })
                .collect();
            inner.check(&inside)?;
        }
        Ok(())
    }

    /// A definition, or a list of them, with what was asked for.
    pub(super) fn apply(&self, value: Value, aliases: &HashMap<String, String>) -> Result<Value, Refusal> {
        let all = match value {
            Value::Array(all) => {
                let has = |name: &str| known(&all, name);
                let filter = self.filter.as_deref();
                let filter = filter.map(|text| DefinitionFilter::parse(text, aliases, &has)).transpose()?;
                let passing = all.into_iter().filter(|value| filter.as_ref().is_none_or(|f| f.passes(value)));
                return passing.map(|value| self.apply(value, aliases)).collect::<Result<Vec<_>, _>>().map(Value::from);
            }
            Value::Object(all) => all,
            other => return Ok(other),
        };
        let mut kept = Map::new();
        for (name, value) in all {
            if let Some((_, inner)) = self.expand.iter().find(|(expanded, _)| *expanded == name) {
                kept.insert(name, inner.apply(value, aliases)?);
            } else if EXPANDABLE.contains(&name.as_str()) {
                // Not asked for.
            } else if name == "MetadataId"
                || name.starts_with('@')
                || self.select.as_ref().is_none_or(|select| select.contains(&name))
            {
                kept.insert(name, value);
            }
        }
        Ok(Value::Object(kept))
    }
}

fn names(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty() && *name != "*").map(str::to_owned).collect()
}

/// `OptionSet($select=Options),Keys($filter=...;$select=...)` to names and what is inside the brackets.
fn expansions(text: &str, depth: u32) -> Result<Vec<(String, Shape)>, Refusal> {
    if depth > 3 {
        return Err(Refusal::request("The $expand is nested too deeply."));
    }
    let mut found = Vec::new();
    for part in parted(text, ',') {
        let (name, inner) = match part.split_once('(') {
            None => (part, None),
            Some((name, rest)) => {
                let inner = rest.strip_suffix(')');
                (name, Some(inner.ok_or_else(|| Refusal::request(format!("Syntax error in '{text}'.")))?))
            }
        };
        let mut shape = Shape::default();
        for option in parted(inner.unwrap_or_default(), ';') {
            match option.split_once('=').map(|(name, value)| (name.trim(), value)) {
                Some(("$select", value)) => shape.select = Some(names(value)),
                Some(("$filter", value)) => shape.filter = Some(value.to_owned()),
                Some(("$expand", value)) => shape.expand = expansions(value, depth + 1)?,
                _ => return Err(Refusal::request(format!("The option '{option}' is not supported in $expand."))),
            }
        }
        found.push((name.trim().to_owned(), shape));
    }
    Ok(found)
}

/// The parts of a text between separators outside of brackets and quotes.
fn parted(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut quoted, mut start) = (0_i32, false, 0);
    for (at, c) in text.char_indices() {
        match c {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            c if c == separator && depth == 0 && !quoted => {
                parts.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}
