//! Filters: which records take part.
//!
//! An empty value (null, an empty text, an empty selection) satisfies `is_empty`, and it differs from every value, so it
//! satisfies `not_equals`, `not_in` and `not_contains`; every other comparison with it is false. Text is compared without
//! regard to case, character by character in Unicode lower case (no locale, accents count). Numbers are compared by what
//! they count, whatever their kinds; choices by their technical value.

use record::{Value, ValueKind};

use crate::comparison::{order, same};
use crate::{Compare, Operator};

/// The compiled filter.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    pub(crate) operator: Operator,
    pub(crate) delete_filtered_out: bool,
    pub(crate) rules: Vec<Rule>,
}

/// One compiled rule.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// Position in the plan's source columns.
    pub(crate) column: usize,
    pub(crate) path: String,
    pub(crate) compare: Compare,
    /// What to compare with; texts in lower case.
    pub(crate) with: Vec<Value>,
}

impl Filter {
    /// Whether a record takes part. `value` gives the value of a source column.
    pub(crate) fn passes<'v>(&self, value: impl Fn(usize) -> &'v Value) -> bool {
        let mut rules = self.rules.iter().map(|rule| rule.holds(value(rule.column)));
        match self.operator {
            _ if self.rules.is_empty() => true,
            Operator::And => rules.all(|holds| holds),
            Operator::Or => rules.any(|holds| holds),
        }
    }
}

impl Rule {
    /// Whether the rule holds for a value.
    pub(crate) fn holds(&self, value: &Value) -> bool {
        let any = |test: fn(&Value, &Value) -> bool| self.with.iter().any(|with| test(value, with));
        let compared = |test: fn(std::cmp::Ordering) -> bool| {
            self.with.first().and_then(|with| order(value, with)).is_some_and(test)
        };
        if is_empty(value) {
            return matches!(
                self.compare,
                Compare::IsEmpty | Compare::NotEquals | Compare::NotIn | Compare::NotContains
            );
        }
        match self.compare {
            Compare::IsEmpty => false,
            Compare::IsNotEmpty => true,
            Compare::Equals | Compare::In => any(alike),
            Compare::NotEquals | Compare::NotIn => !any(alike),
            Compare::Contains => any(contains),
            Compare::NotContains => !any(contains),
            Compare::BeginsWith => any(|value, with| edge(value, with, |text, with| text.starts_with(with))),
            Compare::EndsWith => any(|value, with| edge(value, with, |text, with| text.ends_with(with))),
            Compare::Greater => compared(std::cmp::Ordering::is_gt),
            Compare::GreaterOrEqual => compared(std::cmp::Ordering::is_ge),
            Compare::Less => compared(std::cmp::Ordering::is_lt),
            Compare::LessOrEqual => compared(std::cmp::Ordering::is_le),
        }
    }
}

/// Whether columns of a kind have a comparison.
pub(crate) fn allowed(kind: ValueKind, compare: Compare) -> bool {
    use Compare as C;
    match compare {
        C::Equals | C::NotEquals | C::IsEmpty | C::IsNotEmpty => kind != ValueKind::Null,
        C::In | C::NotIn => !matches!(kind, ValueKind::List | ValueKind::Null),
        C::Contains | C::NotContains => matches!(kind, ValueKind::Text | ValueKind::List),
        C::BeginsWith | C::EndsWith => kind == ValueKind::Text,
        C::Greater | C::GreaterOrEqual | C::Less | C::LessOrEqual => matches!(
            kind,
            ValueKind::Int | ValueKind::Decimal | ValueKind::Float | ValueKind::Date | ValueKind::DateTime
        ),
    }
}

/// Text as it is compared: each character in lower case.
pub(crate) fn lower(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_lowercase() } else { text.chars().flat_map(char::to_lowercase).collect() }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Text(text) => text.is_empty(),
        Value::List(items) => items.is_empty(),
        _ => false,
    }
}

fn alike(value: &Value, with: &Value) -> bool {
    match (value, with) {
        (Value::Text(text), Value::Text(with)) if text.is_ascii() && with.is_ascii() => text.eq_ignore_ascii_case(with),
        (Value::Text(text), Value::Text(with)) => text.chars().flat_map(char::to_lowercase).eq(with.chars()),
        _ => same(value, with),
    }
}

fn contains(value: &Value, with: &Value) -> bool {
    match (value, with) {
        (Value::List(items), Value::List(wanted)) => {
            wanted.iter().all(|wanted| items.iter().any(|item| same(item, wanted)))
        }
        _ => edge(value, with, |text, with| text.contains(with)),
    }
}

fn edge(value: &Value, with: &Value, test: fn(&str, &str) -> bool) -> bool {
    match (value, with) {
        (Value::Text(text), Value::Text(with)) => test(&lower(text), with),
        _ => false,
    }
}
