//! `$filter` on definitions: comparisons joined by `and` and `or`; functions are not served, as at the service.

use serde_json::Value;

use super::error::Refusal;

/// Alternatives, each a list of conditions.
#[derive(Debug)]
pub(super) struct DefinitionFilter(Vec<Vec<Condition>>);

#[derive(Debug)]
struct Condition {
    path: Vec<String>,
    equal: bool,
    value: Value,
}

impl DefinitionFilter {
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        if ["startswith(", "contains(", "endswith("].iter().any(|function| text.contains(function)) {
            return Err(Refusal::not_imitated("functions in filters on definitions"));
        }
        let text = text.trim();
        let alternatives: Result<Vec<Vec<Condition>>, Refusal> =
            text.split(" or ").map(|all| all.split(" and ").map(Condition::parse).collect()).collect();
        Ok(Self(alternatives?))
    }

    pub(super) fn passes(&self, definition: &Value) -> bool {
        self.0.iter().any(|all| all.iter().all(|condition| condition.passes(definition)))
    }
}

impl Condition {
    fn parse(text: &str) -> Result<Self, Refusal> {
        let syntax = || Refusal::request(format!("Syntax error in '{text}'."));
        let mut words = text.trim().trim_start_matches('(').trim_end_matches(')').splitn(3, ' ');
        let (Some(path), Some(operator), Some(value)) = (words.next(), words.next(), words.next()) else {
            return Err(syntax());
        };
        let equal = match operator {
            "eq" => true,
            "ne" => false,
            _ => return Err(syntax()),
        };
        let value = value.trim();
        let value = if let Some((_, quoted)) = value.split_once('\'') {
            // `'contact'`, or an enumeration: `Microsoft.Dynamics.CRM.AttributeTypeCode'Picklist'`.
            Value::String(quoted.trim_end_matches('\'').replace("''", "'"))
        } else {
            serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()))
        };
        Ok(Self { path: path.split('/').map(str::to_owned).collect(), equal, value })
    }

    fn passes(&self, definition: &Value) -> bool {
        let found = self.path.iter().try_fold(definition, |value, name| value.get(name)).unwrap_or(&Value::Null);
        (*found == self.value) == self.equal
    }
}
