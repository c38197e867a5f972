//! `$filter` on definitions: comparisons joined by `and`, `or` and `not`; functions are not served, as at the service
//! (learn.microsoft.com, "Query schema definitions using the Web API").

use std::cmp::Ordering;
use std::collections::HashMap;

use serde_json::Value;

use super::error::Refusal;
use super::expression::{Expression, Words};
use super::filter::Operator;
use super::row;
use super::token::Token;

/// A filter that was understood.
#[derive(Debug)]
pub(super) struct DefinitionFilter(Expression<Condition>);

#[derive(Debug, Clone)]
struct Condition {
    left: Operand,
    operator: Operator,
    right: Operand,
}

#[derive(Debug, Clone)]
enum Operand {
    /// Names from the definition inwards: `CanChangeTrackingBeEnabled/Value`.
    Path(Vec<String>),
    Literal(Value),
}

impl DefinitionFilter {
    /// `known` says whether the definitions have a property.
    pub(super) fn parse(
        text: &str,
        aliases: &HashMap<String, String>,
        known: &dyn Fn(&str) -> bool,
    ) -> Result<Self, Refusal> {
        let condition = |words: &mut Words<'_>| {
            if words.function().is_some() {
                return Err(Refusal::not_imitated("functions in filters on definitions"));
            }
            let mut operand = || -> Result<Operand, Refusal> {
                let token = words.next().ok_or_else(|| words.syntax())?;
                operand(&token, known)?.ok_or_else(|| words.syntax())
            };
            let left = operand()?;
            let operator = match words.next() {
                Some(Token::Word(word)) => Operator::named(&word).ok_or_else(|| words.syntax())?,
                _ => return Err(words.syntax()),
            };
            let token = words.next().ok_or_else(|| words.syntax())?;
            let right = self::operand(&token, known)?.ok_or_else(|| words.syntax())?;
            Ok(Condition { left, operator, right })
        };
        Ok(Self(Expression::parse(text, aliases, &condition)?))
    }

    pub(super) fn passes(&self, definition: &Value) -> bool {
        self.0.passes(&|condition: &Condition| {
            let (left, right) = (condition.left.of(definition), condition.right.of(definition));
            condition.operator.holds(order(left, right), left == right)
        })
    }
}

impl Operand {
    fn of<'v>(&'v self, definition: &'v Value) -> &'v Value {
        match self {
            Self::Path(path) => path.iter().try_fold(definition, |value, name| value.get(name)).unwrap_or(&Value::Null),
            Self::Literal(value) => value,
        }
    }
}

fn operand(token: &Token, known: &dyn Fn(&str) -> bool) -> Result<Option<Operand>, Refusal> {
    let word = match token {
        // An enumeration's member compares as its name: `Microsoft.Dynamics.CRM.AttributeTypeCode'Picklist'`.
        Token::Text(text) | Token::Typed(_, text) => return Ok(Some(Operand::Literal(text.clone().into()))),
        Token::Word(word) => word,
        _ => return Ok(None),
    };
    if let Some(id) = row::parse_guid(word) {
        return Ok(Some(Operand::Literal(row::guid(id).into())));
    }
    if let Ok(literal) = serde_json::from_str::<Value>(word) {
        return Ok(Some(Operand::Literal(literal)));
    }
    if !known(word) {
        return Err(Refusal::no_such_column("MetadataBase", word));
    }
    Ok(Some(Operand::Path(word.split('/').map(str::to_owned).collect())))
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    }
}
