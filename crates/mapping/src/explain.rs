//! What happens to each field of one record, for people.

use record::{Change, ChangeBody, Value, json};

use crate::convert::{as_text, select};
use crate::plan::{Field, Outcome, Plan, Role, key_value, parent_of};
use crate::{Compare, Decision, Mode, Operator, Parent, Rejection};

/// Every step of the mapping of one record.
///
/// **It contains the record's values.** Show it to the person who asked for it; never log or store it.
#[derive(Clone, PartialEq)]
pub struct Explanation {
    /// The key as text.
    pub key: String,
    /// How the rules are joined.
    pub operator: Operator,
    /// Each filter rule, in the order of the specification.
    pub rules: Vec<RuleStep>,
    /// Each field and link, in the order of the body; empty when the record was deleted or could not be read.
    pub fields: Vec<FieldStep>,
    /// What is decided for a live change.
    pub decision: Result<Decision, Rejection>,
}

/// One filter rule.
#[derive(Clone, PartialEq)]
pub struct RuleStep {
    /// Its place in the specification.
    pub path: String,
    /// The source column.
    pub field: String,
    /// The comparison.
    pub compare: Compare,
    /// What it is compared with, each as JSON; texts as they are compared, in lower case.
    pub with: Vec<String>,
    /// The column's value as JSON.
    pub value: String,
    /// Whether it holds.
    pub holds: bool,
}

/// One field.
#[derive(Clone, PartialEq)]
pub struct FieldStep {
    /// Its place in the specification.
    pub path: String,
    /// The source column.
    pub from: String,
    /// The target attribute.
    pub to: String,
    /// The source's value as JSON.
    pub source: String,
    /// The label or technical value that stands for it; `None` when it is nothing or has no label.
    pub selected: Option<String>,
    /// The replacement that applied, by its place in the specification.
    pub replacement: Option<String>,
    /// What the null policy does where the value stands for nothing.
    pub empty: Option<Emptied>,
    /// The record that a link refers to.
    pub parent: Option<Parent>,
    /// What an update writes, as JSON; `None` when it writes nothing.
    pub written: Result<Option<String>, Rejection>,
    /// Whether an insert carries the field.
    pub in_insert: bool,
    /// Whether an update carries the field.
    pub in_update: bool,
}

/// What becomes of an attribute whose source value stands for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emptied {
    /// It keeps what it has.
    Kept,
    /// An update empties it.
    Cleared,
}

macro_rules! opaque {
    ($($name:ident),*) => {$(
        /// Shows nothing of the content, which is personal data.
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}
opaque!(Explanation, RuleStep, FieldStep);

impl Plan {
    /// Explains the mapping of one record, step by step. Slow, and **the answer contains the record's values**: it is for
    /// a person who asked for this record.
    pub fn explain(&self, change: &Change) -> Explanation {
        let mut explanation = Explanation {
            key: change.key.to_text(),
            operator: self.filter.operator,
            rules: Vec::new(),
            fields: Vec::new(),
            decision: self.decide(change, Mode::Live),
        };
        let ChangeBody::Upsert(record) = &change.body else { return explanation };
        let key = key_value(&change.key);
        let Ok(values) = self.values(record, &key) else { return explanation };
        let value = |column: usize| values.get(column).copied().unwrap_or(&Value::Null);
        explanation.rules.extend(self.filter.rules.iter().map(|rule| RuleStep {
            path: rule.path.clone(),
            field: self.columns.get(rule.column).map(|column| column.name.to_string()).unwrap_or_default(),
            compare: rule.compare,
            with: rule.with.iter().map(json::print).collect(),
            value: json::print(value(rule.column)),
            holds: rule.holds(value(rule.column)),
        }));
        for slot in &self.slots {
            let field = match &slot.role {
                Role::Key => continue,
                Role::Field(field) => field,
                Role::OptOut(column) => {
                    explanation.fields.push(FieldStep {
                        path: slot.path.clone(),
                        from: slot.from.to_string(),
                        to: slot.to.to_string(),
                        source: json::print(value(*column)),
                        selected: None,
                        replacement: None,
                        empty: None,
                        parent: None,
                        written: Ok(None),
                        in_insert: *value(*column) == Value::Bool(true),
                        in_update: false,
                    });
                    continue;
                }
            };
            let source = value(field.column);
            let mut out = Vec::new();
            let outcome = field.convert(source, self.technical, &mut out);
            let in_insert = matches!(outcome, Ok(Outcome::Encoded | Outcome::Replaced(_)));
            let empty = match outcome {
                Ok(Outcome::Nothing) if field.keep_on_null || !field.apply_updates => Some(Emptied::Kept),
                Ok(Outcome::Nothing) => Some(Emptied::Cleared),
                _ => None,
            };
            let written = written(field, outcome, out).map_err(|misfit| slot.rejection(misfit));
            explanation.fields.push(FieldStep {
                path: slot.path.clone(),
                from: slot.from.to_string(),
                to: slot.to.to_string(),
                source: json::print(source),
                selected: select(source, self.technical, &field.options)
                    .ok()
                    .filter(|_| !source.is_null())
                    .map(|selected| as_text(&selected).into_owned()),
                replacement: field
                    .replacements
                    .iter()
                    .find(|replacement| replacement.matches(source, &field.options))
                    .map(|replacement| replacement.path.clone()),
                empty,
                parent: field.parent.as_ref().and_then(|table| parent_of(source, table)),
                in_insert,
                in_update: field.apply_updates && matches!(written, Ok(Some(_))),
                written,
            });
        }
        explanation
    }
}

fn written(
    field: &Field,
    outcome: Result<Outcome<'_>, crate::convert::Misfit>,
    mut out: Vec<u8>,
) -> Result<Option<String>, crate::convert::Misfit> {
    match outcome? {
        Outcome::Replaced(encoded) => out = encoded.to_vec(),
        Outcome::Encoded => {}
        Outcome::Nothing if field.keep_on_null || !field.apply_updates => return Ok(None),
        Outcome::Nothing => field.target.nothing(&mut out)?,
    }
    Ok(Some(String::from_utf8_lossy(&out).into_owned()))
}
