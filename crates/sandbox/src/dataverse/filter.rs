//! `$filter`: parsed against the table's columns, then asked of each row (learn.microsoft.com, "Filter rows using OData").

use std::cmp::Ordering;
use std::collections::HashMap;

use super::error::Refusal;
use super::pattern::like;
use super::row;
use super::schema::{Kind, Table};
use super::token::{Token, tokens};
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

#[derive(Debug, Clone)]
enum Operand {
    Column(usize),
    Value(Scalar),
}

#[derive(Debug, Clone)]
pub(super) enum Filter {
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
    Compare(Operand2, Operator),
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

/// Both sides of a comparison.
#[derive(Debug, Clone)]
pub(super) struct Operand2(Operand, Operand);

impl Filter {
    /// Parses a filter. `aliases` are the `@p` parameters of the query.
    pub(super) fn parse(table: &Table, text: &str, aliases: &HashMap<String, String>) -> Result<Self, Refusal> {
        let tokens = tokens(text)?;
        let mut parser = Parser { table, tokens, at: 0, aliases, text, depth: 0 };
        let filter = parser.either()?;
        match parser.peek() {
            None => Ok(filter),
            Some(_) => Err(parser.syntax()),
        }
    }

    /// Whether a row's cells pass.
    pub(super) fn passes(&self, table: &Table, id: u128, cells: &[&[u8]], version: i64, ne_finds_null: bool) -> bool {
        let again = |filter: &Self| filter.passes(table, id, cells, version, ne_finds_null);
        let value = |at: usize| read(table, at, id, cells, version);
        match self {
            Self::And(a, b) => again(a) && again(b),
            Self::Or(a, b) => again(a) || again(b),
            Self::Not(a) => !again(a),
            Self::Compare(Operand2(left, right), operator) => {
                let of = |operand: &Operand| match operand {
                    Operand::Column(at) => value(*at),
                    Operand::Value(scalar) => scalar.clone(),
                };
                compare(&of(left), *operator, &of(right), ne_finds_null)
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

    /// The one row that can pass, when the filter says so.
    pub(super) fn only_id(&self) -> Option<u128> {
        match self {
            Self::Compare(Operand2(Operand::Column(0), Operand::Value(Scalar::Guid(id))), Operator::Eq) => Some(*id),
            Self::And(a, b) => a.only_id().or_else(|| b.only_id()),
            _ => None,
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
        (_, Place::Composite) => Scalar::Null,
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
    let order = left.order(right);
    match operator {
        Operator::Eq => order == Some(Ordering::Equal),
        Operator::Ne => order != Some(Ordering::Equal),
        Operator::Gt => order == Some(Ordering::Greater),
        Operator::Ge => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        Operator::Lt => order == Some(Ordering::Less),
        Operator::Le => matches!(order, Some(Ordering::Less | Ordering::Equal)),
    }
}

struct Parser<'a> {
    table: &'a Table,
    tokens: Vec<Token>,
    at: usize,
    aliases: &'a HashMap<String, String>,
    text: &'a str,
    depth: u32,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(w)) if w == word)
    }

    fn expect(&mut self, wanted: &Token) -> Result<(), Refusal> {
        if self.next().as_ref() == Some(wanted) { Ok(()) } else { Err(self.syntax()) }
    }

    fn syntax(&self) -> Refusal {
        let at = self.at.min(self.tokens.len());
        Refusal::request(format!("Syntax error at token {at} in '{}'.", self.text))
    }

    fn either(&mut self) -> Result<Filter, Refusal> {
        self.depth += 1;
        if self.depth > 100 {
            return Err(Refusal::request("The filter is nested too deeply."));
        }
        let mut left = self.both()?;
        while self.word("or") {
            self.at += 1;
            left = Filter::Or(Box::new(left), Box::new(self.both()?));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn both(&mut self) -> Result<Filter, Refusal> {
        let mut left = self.single()?;
        while self.word("and") {
            self.at += 1;
            left = Filter::And(Box::new(left), Box::new(self.single()?));
        }
        Ok(left)
    }

    fn single(&mut self) -> Result<Filter, Refusal> {
        let mut negations = 0;
        while self.word("not") {
            self.at += 1;
            negations += 1;
        }
        let filter = self.bare()?;
        Ok(if negations % 2 == 1 { Filter::Not(Box::new(filter)) } else { filter })
    }

    fn bare(&mut self) -> Result<Filter, Refusal> {
        if self.peek() == Some(&Token::Open) {
            self.at += 1;
            let inner = self.either()?;
            self.expect(&Token::Close)?;
            return Ok(inner);
        }
        if let (Some(Token::Word(name)), Some(Token::Open)) = (self.peek(), self.tokens.get(self.at + 1)) {
            let name = name.clone();
            self.at += 2;
            return self.function(&name);
        }
        let left = self.next().ok_or_else(|| self.syntax())?;
        let operator = match self.next() {
            Some(Token::Word(word)) => match word.as_str() {
                "eq" => Operator::Eq,
                "ne" => Operator::Ne,
                "gt" => Operator::Gt,
                "ge" => Operator::Ge,
                "lt" => Operator::Lt,
                "le" => Operator::Le,
                _ => return Err(self.syntax()),
            },
            _ => return Err(self.syntax()),
        };
        let right = self.next().ok_or_else(|| self.syntax())?;
        self.comparison(&left, operator, &right)
    }

    fn comparison(&self, left: &Token, operator: Operator, right: &Token) -> Result<Filter, Refusal> {
        let (left_column, right_column) = (self.column(left)?, self.column(right)?);
        let sides = match (left_column, right_column) {
            (Some(a), Some(b)) => Operand2(Operand::Column(a), Operand::Column(b)),
            (Some(a), None) => Operand2(Operand::Column(a), Operand::Value(self.value(a, right, operator)?)),
            (None, Some(b)) => Operand2(Operand::Value(self.value(b, left, operator)?), Operand::Column(b)),
            (None, None) => return Err(Refusal::request("A comparison needs a column.")),
        };
        Ok(Filter::Compare(sides, operator))
    }

    /// The column that a word names; `None` for a literal.
    fn column(&self, token: &Token) -> Result<Option<usize>, Refusal> {
        let Token::Word(word) = token else { return Ok(None) };
        if matches!(word.as_str(), "null" | "true" | "false")
            || word.starts_with('@')
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
        let literal = match token {
            Token::Word(name) if name.starts_with('@') => {
                let value = self
                    .aliases
                    .get(name)
                    .ok_or_else(|| Refusal::request(format!("The parameter alias '{name}' has no value.")))?;
                match tokens(value)?.as_slice() {
                    [one] => one.clone(),
                    _ => {
                        return Err(Refusal::request(format!(
                            "The value of the parameter alias '{name}' is not a literal."
                        )));
                    }
                }
            }
            other => other.clone(),
        };
        literal_scalar(kind, &literal).ok_or_else(|| {
            let own = match &literal {
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

    fn function(&mut self, name: &str) -> Result<Filter, Refusal> {
        if let Some(name) = name.strip_prefix("Microsoft.Dynamics.CRM.") {
            return self.own_function(name);
        }
        if !matches!(name, "contains" | "startswith" | "endswith") {
            return Err(Refusal::request(format!("An unknown function with name '{name}' was found.")));
        }
        let subject = self.next().ok_or_else(|| self.syntax())?;
        let column = self.column(&subject)?.ok_or_else(|| self.syntax())?;
        self.expect(&Token::Comma)?;
        let Some(Token::Text(text)) = self.next() else { return Err(self.syntax()) };
        self.expect(&Token::Close)?;
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
        Ok(Filter::Like(column, pattern))
    }

    /// The service's own functions: named parameters, the property as a quoted name.
    fn own_function(&mut self, name: &str) -> Result<Filter, Refusal> {
        let mut column = None;
        let mut values = Vec::new();
        while let Some(token) = self.next() {
            match token {
                Token::Close => break,
                Token::Comma => continue,
                Token::Word(parameter) => {
                    self.expect(&Token::Equals)?;
                    match (parameter.as_str(), self.next()) {
                        ("PropertyName", Some(Token::Text(property))) => {
                            let found = self.table.by_wire(&property).or_else(|| self.table.column(&property));
                            column = Some(found.ok_or_else(|| Refusal::no_such_column(&self.table.name, &property))?);
                        }
                        ("PropertyValues", Some(Token::List(list))) => values = list,
                        ("PropertyValue", Some(Token::Text(value))) => values = vec![value],
                        _ => return Err(self.syntax()),
                    }
                }
                _ => return Err(self.syntax()),
            }
        }
        let column = column.ok_or_else(|| self.syntax())?;
        let kind = self.table.columns[column].kind;
        let scalars = || -> Result<Vec<Scalar>, Refusal> {
            let of = |value: &String| {
                let found = literal_scalar(kind, &Token::Text(value.clone()))
                    .or_else(|| literal_scalar(kind, &Token::Word(value.clone())));
                found.ok_or_else(|| Refusal::request(format!("The value of '{name}' does not fit the property.")))
            };
            values.iter().map(of).collect()
        };
        let end = |scalars: &[Scalar], at: usize, operator| -> Result<Filter, Refusal> {
            let value =
                scalars.get(at).cloned().ok_or_else(|| Refusal::request(format!("'{name}' needs more values.")))?;
            Ok(Filter::Compare(Operand2(Operand::Column(column), Operand::Value(value)), operator))
        };
        Ok(match name {
            "In" => Filter::In { column, values: scalars()?, negated: false },
            "NotIn" => Filter::In { column, values: scalars()?, negated: true },
            "Between" | "NotBetween" => {
                let bounds = scalars()?;
                let low = end(&bounds, 0, Operator::Ge)?;
                let both = Filter::And(Box::new(low), Box::new(end(&bounds, 1, Operator::Le)?));
                if name == "Between" { both } else { Filter::Not(Box::new(both)) }
            }
            "OnOrAfter" => end(&scalars()?, 0, Operator::Ge)?,
            "OnOrBefore" => end(&scalars()?, 0, Operator::Le)?,
            "ContainValues" => Filter::Contains { column, values, negated: false },
            "DoesNotContainValues" => Filter::Contains { column, values, negated: true },
            other => return Err(Refusal::not_imitated(&format!("the function {other}"))),
        })
    }
}

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
