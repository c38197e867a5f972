//! `$filter`: parsed against the table's columns, then asked of each row (learn.microsoft.com, "Filter rows using OData").

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

use super::error::Refusal;
use super::expression::{Expression, Words};
use super::pattern::like;
use super::row;
use super::schema::{Kind, Table};
use super::token::Token;
use super::value::{Scalar, date_time, decimal, edm, is_date, scalar};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
}

impl Operator {
    pub(super) fn named(word: &str) -> Option<Self> {
        Some(match word {
            "eq" => Self::Eq,
            "ne" => Self::Ne,
            "gt" => Self::Gt,
            "ge" => Self::Ge,
            "lt" => Self::Lt,
            "le" => Self::Le,
            _ => return None,
        })
    }

    /// Whether the operator holds for two values of an order; `equal` where they have none.
    pub(super) fn holds(self, order: Option<Ordering>, equal: bool) -> bool {
        match self {
            Self::Eq => equal || order == Some(Ordering::Equal),
            Self::Ne => !equal && order != Some(Ordering::Equal),
            Self::Gt => order == Some(Ordering::Greater),
            Self::Ge => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
            Self::Lt => order == Some(Ordering::Less),
            Self::Le => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        }
    }
}

#[derive(Debug, Clone)]
enum Operand {
    Column(usize),
    Value(Scalar),
}

/// A filter on rows.
#[derive(Debug, Clone)]
pub(super) struct Filter(Expression<Condition>);

#[derive(Debug, Clone)]
enum Condition {
    Compare(Operand, Operator, Operand),
    /// From the first value on, and before the second; either may be missing.
    Within {
        column: usize,
        from: Option<Scalar>,
        before: Option<Scalar>,
    },
    Between {
        column: usize,
        low: Scalar,
        high: Scalar,
        negated: bool,
    },
    /// Column, SQL pattern in lower case.
    Like(usize, String),
    In {
        column: usize,
        values: Vec<Scalar>,
        negated: bool,
    },
    /// Any of these choices is among a multi-select column's.
    Contains {
        column: usize,
        values: Vec<String>,
        negated: bool,
    },
}

impl Filter {
    /// Parses a filter. `aliases` are the `@p` parameters of the query; `now` is what relative dates start from.
    pub(super) fn parse(
        table: &Table,
        text: &str,
        aliases: &HashMap<String, String>,
        now: i64,
    ) -> Result<Self, Refusal> {
        let condition = |words: &mut Words<'_>| Parser { table, words, now }.condition();
        Ok(Self(Expression::parse(text, aliases, &condition)?))
    }

    /// Whether a row's cells pass.
    pub(super) fn passes(&self, table: &Table, id: u128, cells: &[&[u8]], version: i64, ne_finds_null: bool) -> bool {
        self.0.passes(&|condition: &Condition| condition.holds(table, id, cells, version, ne_finds_null))
    }

    /// The rows that can pass, when the filter names them by their primary keys; each of them has to be asked all the same.
    pub(super) fn only_ids(&self) -> Option<BTreeSet<u128>> {
        fn only(expression: &Expression<Condition>) -> Option<BTreeSet<u128>> {
            match expression {
                Expression::Condition(Condition::Compare(
                    Operand::Column(0),
                    Operator::Eq,
                    Operand::Value(Scalar::Guid(id)),
                )) => Some(BTreeSet::from([*id])),
                Expression::Condition(Condition::In { column: 0, values, negated: false }) => {
                    values.iter().map(|value| if let Scalar::Guid(id) = value { Some(*id) } else { None }).collect()
                }
                Expression::And(a, b) => only(a).or_else(|| only(b)),
                Expression::Or(a, b) => {
                    let mut all = only(a)?;
                    all.extend(only(b)?);
                    Some(all)
                }
                _ => None,
            }
        }
        only(&self.0)
    }
}

impl Condition {
    fn holds(&self, table: &Table, id: u128, cells: &[&[u8]], version: i64, ne_finds_null: bool) -> bool {
        let value = |at: usize| read(table, at, id, cells, version);
        match self {
            Self::Compare(left, operator, right) => {
                let of = |operand: &Operand| match operand {
                    Operand::Column(at) => value(*at),
                    Operand::Value(scalar) => scalar.clone(),
                };
                compare(&of(left), *operator, &of(right), ne_finds_null)
            }
            Self::Within { column, from, before } => {
                let own = value(*column);
                own != Scalar::Null
                    && from.as_ref().is_none_or(|from| Operator::Ge.holds(own.order(from), false))
                    && before.as_ref().is_none_or(|before| Operator::Lt.holds(own.order(before), false))
            }
            Self::Between { column, low, high, negated } => {
                let own = value(*column);
                let inside = Operator::Ge.holds(own.order(low), false) && Operator::Le.holds(own.order(high), false);
                (own != Scalar::Null && inside) != *negated
            }
            Self::Like(column, pattern) => match value(*column) {
                Scalar::Text(text) => like(&text, pattern),
                _ => false,
            },
            Self::In { column, values, negated } => {
                let own = value(*column);
                (own != Scalar::Null && values.contains(&own)) != *negated
            }
            Self::Contains { column, values, negated } => match value(*column) {
                Scalar::Text(text) => text.split(',').any(|part| values.iter().any(|v| v == part)) != *negated,
                _ => *negated,
            },
        }
    }
}

/// What a column of a row compares as.
pub(super) fn read(table: &Table, at: usize, id: u128, cells: &[&[u8]], version: i64) -> Scalar {
    use super::schema::Place;
    let Some(column) = table.columns.get(at) else { return Scalar::Null };
    match (column.kind, column.place) {
        (Kind::PrimaryKey, _) => Scalar::Guid(id),
        (Kind::Version, _) => Scalar::Number(version.into()),
        (kind, Place::SameAs(other)) => cells.get(other).map_or(Scalar::Null, |cell| scalar(kind, cell)),
        (kind, Place::Composite) => scalar(kind, &super::page::composite(table, cells)),
        (kind, Place::Stored) => cells.get(at).map_or(Scalar::Null, |cell| scalar(kind, cell)),
    }
}

fn compare(left: &Scalar, operator: Operator, right: &Scalar, ne_finds_null: bool) -> bool {
    let nulls = (*left == Scalar::Null, *right == Scalar::Null);
    match (operator, nulls) {
        (Operator::Eq, (true, true)) | (Operator::Ge | Operator::Le, (true, true)) => return operator == Operator::Eq,
        (Operator::Ne, (true, true)) => return false,
        // `x ne null` asks for rows that have a value.
        (Operator::Ne, (false, true)) => return true,
        (Operator::Ne, (true, false)) => return ne_finds_null,
        (_, (true, _) | (_, true)) => return false,
        _ => {}
    }
    operator.holds(left.order(right), false)
}

struct Parser<'p, 'w> {
    table: &'p Table,
    words: &'p mut Words<'w>,
    now: i64,
}

impl Parser<'_, '_> {
    fn syntax(&self) -> Refusal {
        self.words.syntax()
    }

    fn condition(&mut self) -> Result<Condition, Refusal> {
        if let Some(name) = self.words.function() {
            return match name.strip_prefix("Microsoft.Dynamics.CRM.") {
                Some(own) => self.own_function(own),
                None => self.function(&name),
            };
        }
        let left = self.words.next().ok_or_else(|| self.syntax())?;
        let operator = match self.words.next() {
            Some(Token::Word(word)) => Operator::named(&word).ok_or_else(|| self.syntax())?,
            _ => return Err(self.syntax()),
        };
        let right = self.words.next().ok_or_else(|| self.syntax())?;
        let (left_column, right_column) = (self.column(&left)?, self.column(&right)?);
        Ok(match (left_column, right_column) {
            (Some(a), Some(b)) => Condition::Compare(Operand::Column(a), operator, Operand::Column(b)),
            (Some(a), None) => {
                let value = self.value(a, &right, operator)?;
                Condition::Compare(Operand::Column(a), operator, Operand::Value(value))
            }
            (None, Some(b)) => {
                let value = self.value(b, &left, operator)?;
                Condition::Compare(Operand::Value(value), operator, Operand::Column(b))
            }
            (None, None) => return Err(Refusal::request("A comparison needs a column.")),
        })
    }

    /// The column that a word names; `None` for a literal.
    fn column(&self, token: &Token) -> Result<Option<usize>, Refusal> {
        let Token::Word(word) = token else { return Ok(None) };
        if matches!(word.as_str(), "null" | "true" | "false")
            || !word.starts_with(|c: char| c.is_alphabetic() || c == '_')
        {
            return Ok(None);
        }
        if word.len() == 36 && row::parse_guid(word).is_some() {
            return Ok(None);
        }
        if word.contains('/') {
            return Err(Refusal::not_imitated("filters through navigation properties"));
        }
        match self.table.by_wire(word) {
            Some(at) => Ok(Some(at)),
            None => Err(Refusal::no_such_column(&self.table.name, word)),
        }
    }

    fn value(&self, column: usize, token: &Token, operator: Operator) -> Result<Scalar, Refusal> {
        let kind = self.table.columns[column].kind;
        literal_scalar(kind, token).ok_or_else(|| {
            let own = match token {
                Token::Text(_) => "Edm.String",
                Token::Word(w) if w == "true" || w == "false" => "Edm.Boolean",
                Token::Word(w) if row::parse_guid(w).is_some() => "Edm.Guid",
                _ => "Edm.Int32",
            };
            let name = match operator {
                Operator::Eq => "Equal",
                Operator::Ne => "NotEqual",
                Operator::Gt => "GreaterThan",
                Operator::Ge => "GreaterThanOrEqual",
                Operator::Lt => "LessThan",
                Operator::Le => "LessThanOrEqual",
            };
            Refusal::request(format!(
                "A binary operator with incompatible types was detected. Found operand types '{}' and '{own}' for operator kind '{name}'.",
                edm(kind)
            ))
        })
    }

    fn function(&mut self, name: &str) -> Result<Condition, Refusal> {
        if name.ends_with("/any") || name.ends_with("/all") {
            return Err(Refusal::not_imitated("lambda operators in filters"));
        }
        if !matches!(name, "contains" | "startswith" | "endswith") {
            return Err(Refusal::request(format!("An unknown function with name '{name}' was found.")));
        }
        let subject = self.words.next().ok_or_else(|| self.syntax())?;
        let column = self.column(&subject)?.ok_or_else(|| self.syntax())?;
        self.words.expect(&Token::Comma)?;
        let Some(Token::Text(text)) = self.words.next() else { return Err(self.syntax()) };
        self.words.expect(&Token::Close)?;
        if !matches!(self.table.columns[column].kind, Kind::Text { .. } | Kind::Memo { .. }) {
            return Err(Refusal::request(format!(
                "No function signature for the function with name '{name}' matches the specified arguments."
            )));
        }
        let text = text.to_lowercase();
        let pattern = match name {
            "contains" => format!("%{text}%"),
            "startswith" => format!("{text}%"),
            _ => format!("%{text}"),
        };
        Ok(Condition::Like(column, pattern))
    }

    /// The service's own functions: named parameters, the property as a quoted name, values quoted or bare.
    fn own_function(&mut self, name: &str) -> Result<Condition, Refusal> {
        let mut column = None;
        let mut values = Vec::new();
        loop {
            match self.words.next() {
                Some(Token::Close) => break,
                Some(Token::Comma) => {}
                Some(Token::Word(parameter)) => {
                    self.words.expect(&Token::Equals)?;
                    match (parameter.as_str(), self.words.next()) {
                        ("PropertyName", Some(Token::Text(property))) => {
                            let found = self.table.by_wire(&property).or_else(|| self.table.column(&property));
                            column = Some(found.ok_or_else(|| Refusal::no_such_column(&self.table.name, &property))?);
                        }
                        ("PropertyValues", Some(Token::List(list))) => values = list,
                        ("PropertyValue", Some(Token::Text(value) | Token::Word(value))) => values = vec![value],
                        _ => return Err(self.syntax()),
                    }
                }
                _ => return Err(self.syntax()),
            }
        }
        let column = column.ok_or_else(|| self.syntax())?;
        let kind = self.table.columns[column].kind;
        let misfit = || Refusal::request(format!("The value of '{name}' does not fit the property."));
        let scalars = || -> Result<Vec<Scalar>, Refusal> {
            let of = |value: &String| {
                let found = literal_scalar(kind, &Token::Text(value.clone()))
                    .or_else(|| literal_scalar(kind, &Token::Word(value.clone())));
                found.ok_or_else(misfit)
            };
            values.iter().map(of).collect()
        };
        let too_few = || Refusal::request(format!("'{name}' needs more values."));
        let first = || values.first().ok_or_else(too_few);
        // The functions on dates go by the day, whatever the time is.
        let start_of = |day: i64| match kind {
            Kind::DateTime { .. } => Ok(Scalar::Text(crate::clock::iso_seconds(day * DAY))),
            Kind::DateOnly => Ok(Scalar::Text(crate::clock::iso_seconds(day * DAY).chars().take(10).collect())),
            _ => Err(misfit()),
        };
        let day = || Ok::<_, Refusal>(date_time(first()?).ok_or_else(misfit)?.div_euclid(DAY));
        let within = |from: Option<i64>, until: Option<i64>| -> Result<Condition, Refusal> {
            let from = from.map(start_of).transpose()?;
            Ok(Condition::Within { column, from, before: until.map(|day| start_of(day + 1)).transpose()? })
        };
        Ok(match name {
            "In" => Condition::In { column, values: scalars()?, negated: false },
            "NotIn" => Condition::In { column, values: scalars()?, negated: true },
            "Between" | "NotBetween" => {
                let [low, high] = <[Scalar; 2]>::try_from(scalars()?).map_err(|_| too_few())?;
                Condition::Between { column, low, high, negated: name == "NotBetween" }
            }
            "On" => within(Some(day()?), Some(day()?))?,
            "OnOrAfter" => within(Some(day()?), None)?,
            "OnOrBefore" => within(None, Some(day()?))?,
            "Today" => within(Some(self.now.div_euclid(DAY)), Some(self.now.div_euclid(DAY)))?,
            // From the start of the day so many days ago up to this moment.
            "LastXDays" => {
                let days: i64 = first()?.parse().ok().filter(|days| (1..=36_500).contains(days)).ok_or_else(misfit)?;
                let from = Some(start_of(self.now.div_euclid(DAY) - days)?);
                let before = match kind {
                    Kind::DateOnly => start_of(self.now.div_euclid(DAY) + 1)?,
                    _ => Scalar::Text(crate::clock::iso_seconds(self.now + 1)),
                };
                Condition::Within { column, from, before: Some(before) }
            }
            "EqualUserId" | "NotEqualUserId" if kind == Kind::Lookup => {
                let negated = name == "NotEqualUserId";
                Condition::In { column, values: vec![Scalar::Guid(super::builtin::USER)], negated }
            }
            "ContainValues" => Condition::Contains { column, values, negated: false },
            "DoesNotContainValues" => Condition::Contains { column, values, negated: true },
            other => return Err(Refusal::not_imitated(&format!("the function {other}"))),
        })
    }
}

/// Seconds of a day.
const DAY: i64 = 86_400;

/// A literal as a value of a column's kind; `None` when it does not fit.
fn literal_scalar(kind: Kind, token: &Token) -> Option<Scalar> {
    match token {
        Token::Word(word) if word == "null" => Some(Scalar::Null),
        Token::Text(text) => match kind {
            Kind::Text { .. } | Kind::Memo { .. } | Kind::MultiSelect => Some(Scalar::Text(text.to_lowercase())),
            _ => None,
        },
        Token::Word(word) => match kind {
            Kind::PrimaryKey | Kind::Guid | Kind::Lookup => row::parse_guid(word).map(Scalar::Guid),
            Kind::Boolean => word.parse().ok().map(Scalar::Bool),
            Kind::Double { .. } => word.parse().ok().map(Scalar::Float),
            Kind::Integer { .. }
            | Kind::BigInt
            | Kind::Version
            | Kind::Decimal { .. }
            | Kind::Picklist
            | Kind::State
            | Kind::Status => decimal(word).map(Scalar::Number),
            Kind::DateTime { .. } => date_time(word).map(|s| Scalar::Text(crate::clock::iso_seconds(s))),
            Kind::DateOnly if is_date(word) => Some(Scalar::Text(word.clone())),
            Kind::DateOnly => {
                date_time(word).map(|s| Scalar::Text(crate::clock::iso_seconds(s).chars().take(10).collect()))
            }
            Kind::Text { .. } | Kind::Memo { .. } | Kind::MultiSelect => None,
        },
        _ => None,
    }
}
