//! Conditions.

use std::fmt;

use super::literal::write_quoted;
use super::{Literal, Name};
use crate::error::Error;

/// The column that a condition looks at: of the row itself, or of a row that a single-valued navigation property leads
/// to (`primarycontactid/fullname`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    via: Option<Name>,
    name: Name,
}

impl Column {
    /// A column of the row itself. Lookups are compared by their `_x_value` name.
    ///
    /// # Errors
    /// A name that is no identifier.
    pub fn new<N: TryInto<Name>>(name: N) -> Result<Self, Error>
    where
        Error: From<N::Error>,
    {
        Ok(Self { via: None, name: name.try_into()? })
    }

    /// A column of the row behind a single-valued navigation property.
    ///
    /// # Errors
    /// A name that is no identifier.
    pub fn via<V: TryInto<Name>, N: TryInto<Name>>(navigation: V, name: N) -> Result<Self, Error>
    where
        Error: From<V::Error> + From<N::Error>,
    {
        Ok(Self { via: Some(navigation.try_into()?), name: name.try_into()? })
    }

    /// `column eq value`; for text the service compares without regard to case.
    #[must_use]
    pub fn eq(self, value: impl Into<Literal>) -> Filter {
        self.compare(Comparison::Equal, value)
    }

    /// `column ne value`.
    #[must_use]
    pub fn ne(self, value: impl Into<Literal>) -> Filter {
        self.compare(Comparison::NotEqual, value)
    }

    /// `column gt value`.
    #[must_use]
    pub fn gt(self, value: impl Into<Literal>) -> Filter {
        self.compare(Comparison::Greater, value)
    }

    /// `column ge value`.
    #[must_use]
    pub fn ge(self, value: impl Into<Literal>) -> Filter {
        self.compare(Comparison::GreaterOrEqual, value)
    }

    /// `column lt value`.
    #[must_use]
    pub fn lt(self, value: impl Into<Literal>) -> Filter {
        self.compare(Comparison::Less, value)
    }

    /// `column le value`.
    #[must_use]
    pub fn le(self, value: impl Into<Literal>) -> Filter {
        self.compare(Comparison::LessOrEqual, value)
    }

    /// `column eq null`.
    #[must_use]
    pub fn is_null(self) -> Filter {
        self.compare(Comparison::Equal, Literal::Null)
    }

    /// Any comparison.
    #[must_use]
    pub fn compare(self, comparison: Comparison, value: impl Into<Literal>) -> Filter {
        Filter(Node::Compare(self, comparison, value.into()))
    }

    /// `contains(column,text)`, the text taken literally.
    #[must_use]
    pub fn contains(self, text: impl Into<String>) -> Filter {
        Filter(Node::Text("contains", self, text.into()))
    }

    /// `startswith(column,text)`, the text taken literally.
    #[must_use]
    pub fn starts_with(self, text: impl Into<String>) -> Filter {
        Filter(Node::Text("startswith", self, text.into()))
    }

    /// `endswith(column,text)`, the text taken literally.
    #[must_use]
    pub fn ends_with(self, text: impl Into<String>) -> Filter {
        Filter(Node::Text("endswith", self, text.into()))
    }

    /// The column equals one of the values.
    ///
    /// Written with the function `Microsoft.Dynamics.CRM.In`; when a member is a text holding quotes, brackets or
    /// backslashes (whose escaping inside the function's list is not documented) the same condition is written as a
    /// chain of `eq`.
    ///
    /// # Errors
    /// An empty list (it would match nothing: leave the request out instead), a null among the values, or a column
    /// behind a navigation property, which the function cannot name.
    pub fn is_in<V: Into<Literal>>(self, values: impl IntoIterator<Item = V>) -> Result<Filter, Error> {
        let values: Vec<Literal> = values.into_iter().map(Into::into).collect();
        if values.is_empty() {
            return Err(Error::validation("a list of values to compare with is empty"));
        }
        if values.contains(&Literal::Null) {
            return Err(Error::validation("null cannot be a member of a list of values"));
        }
        if self.via.is_some() {
            return Err(Error::validation("a list of values cannot be compared with a column of a related row"));
        }
        Ok(Filter(Node::In(self.name, values)))
    }

    fn write(&self, out: &mut String) {
        if let Some(via) = &self.via {
            out.push_str(via.as_str());
            out.push('/');
        }
        out.push_str(self.name.as_str());
    }
}

/// How a column is compared with a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum Comparison {
    /// `eq`
    Equal,
    /// `ne`
    NotEqual,
    /// `gt`
    Greater,
    /// `ge`
    GreaterOrEqual,
    /// `lt`
    Less,
    /// `le`
    LessOrEqual,
}

impl Comparison {
    fn word(self) -> &'static str {
        match self {
            Self::Equal => "eq",
            Self::NotEqual => "ne",
            Self::Greater => "gt",
            Self::GreaterOrEqual => "ge",
            Self::Less => "lt",
            Self::LessOrEqual => "le",
        }
    }
}

/// A condition on rows. One that compares with a text that holds control characters is refused when it is sent.
///
/// ```
/// use d365_client::odata::{Column, Filter};
/// let filter = Column::new("statecode")?.eq(0).and(Column::new("lastname")?.eq("O'Bryan"));
/// assert_eq!(filter.to_expression(), "(statecode eq 0) and (lastname eq 'O''Bryan')");
/// # Ok::<(), d365_client::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Filter(Node);

#[derive(Clone, PartialEq)]
enum Node {
    Compare(Column, Comparison, Literal),
    Text(&'static str, Column, String),
    In(Name, Vec<Literal>),
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
}

impl Filter {
    /// Both conditions.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match self.0 {
            Node::And(mut all) => {
                all.push(other);
                Self(Node::And(all))
            }
            first => Self(Node::And(vec![Self(first), other])),
        }
    }

    /// At least one of the conditions.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match self.0 {
            Node::Or(mut any) => {
                any.push(other);
                Self(Node::Or(any))
            }
            first => Self(Node::Or(vec![Self(first), other])),
        }
    }

    /// The opposite. (A method of its own name rather than the operator, to read like `and` and `or`.)
    #[must_use]
    pub fn negate(self) -> Self {
        Self(Node::Not(Box::new(self)))
    }

    /// All of the conditions; `None` for an empty list, which means "no condition".
    #[must_use]
    pub fn all(filters: impl IntoIterator<Item = Self>) -> Option<Self> {
        filters.into_iter().reduce(Self::and)
    }

    /// One of the conditions; `None` for an empty list.
    #[must_use]
    pub fn any(filters: impl IntoIterator<Item = Self>) -> Option<Self> {
        filters.into_iter().reduce(Self::or)
    }

    /// The OData text of the condition before percent-encoding. It holds the compared values: record data perhaps.
    #[must_use]
    pub fn to_expression(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    /// Whether a compared text holds control characters. Line breaks and their kind get lost or change on the way
    /// through gateways and logs, so that the condition would not be the one that was meant.
    pub(crate) fn has_control_characters(&self) -> bool {
        let literal = |value: &Literal| matches!(value, Literal::Text(text) if text.contains(char::is_control));
        match &self.0 {
            Node::Compare(_, _, value) => literal(value),
            Node::Text(_, _, text) => text.contains(char::is_control),
            Node::In(_, values) => values.iter().any(literal),
            Node::And(parts) | Node::Or(parts) => parts.iter().any(Self::has_control_characters),
            Node::Not(inner) => inner.has_control_characters(),
        }
    }

    fn write(&self, out: &mut String) {
        match &self.0 {
            Node::Compare(column, comparison, value) => {
                column.write(out);
                out.push(' ');
                out.push_str(comparison.word());
                out.push(' ');
                value.write(out);
            }
            Node::Text(function, column, text) => {
                out.push_str(function);
                out.push('(');
                column.write(out);
                out.push(',');
                write_quoted(&literal_pattern(text), out);
                out.push(')');
            }
            Node::In(name, values) => write_in(name, values, out),
            Node::And(parts) => write_joined(parts, " and ", out),
            Node::Or(parts) => write_joined(parts, " or ", out),
            Node::Not(inner) => {
                out.push_str("not (");
                inner.write(out);
                out.push(')');
            }
        }
    }
}

impl fmt::Debug for Filter {
    // The shape without the values, which may be record data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Node::Compare(column, comparison, _) => write!(f, "{} {} ..", column.name, comparison.word()),
            Node::Text(function, column, _) => write!(f, "{function}({}, ..)", column.name),
            Node::In(name, values) => write!(f, "{name} in [{} values]", values.len()),
            Node::And(parts) => f.debug_tuple("And").field(parts).finish(),
            Node::Or(parts) => f.debug_tuple("Or").field(parts).finish(),
            Node::Not(inner) => f.debug_tuple("Not").field(inner).finish(),
        }
    }
}

fn write_joined(parts: &[Filter], word: &str, out: &mut String) {
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            out.push_str(word);
        }
        out.push('(');
        part.write(out);
        out.push(')');
    }
}

fn write_in(name: &Name, values: &[Literal], out: &mut String) {
    let awkward = |value: &Literal| {
        matches!(value, Literal::Text(text)
            if text.contains(['\'', '"', '\\', '[', ']', '{', '}']) || text.contains(char::is_control))
    };
    if values.iter().any(awkward) {
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                out.push_str(" or ");
            }
            out.push('(');
            out.push_str(name.as_str());
            out.push_str(" eq ");
            value.write(out);
            out.push(')');
        }
        return;
    }
    out.push_str("Microsoft.Dynamics.CRM.In(PropertyName='");
    out.push_str(name.as_str());
    out.push_str("',PropertyValues=[");
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push('"');
        out.push_str(&value.plain());
        out.push('"');
    }
    out.push_str("])");
}

/// `contains` and its sisters read SQL wildcards; brackets make them literal
/// (learn.microsoft.com, "Filter rows using OData": wildcard characters).
fn literal_pattern(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '%' => out.push_str("[%]"),
            '_' => out.push_str("[_]"),
            '[' => out.push_str("[[]"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn column(name: &'static str) -> Column {
        Column::new(name).unwrap()
    }

    #[test]
    fn conditions_nest_in_parentheses() {
        let filter =
            column("a").eq(1).and(column("b").gt(2).or(column("c").is_null())).and(column("d").ne("x").negate());
        assert_eq!(filter.to_expression(), "(a eq 1) and ((b gt 2) or (c eq null)) and (not (d ne 'x'))");
        assert_eq!(Filter::all([column("a").le(1)]).unwrap().to_expression(), "a le 1");
        assert!(Filter::all([]).is_none());
        assert!(Filter::any([]).is_none());
    }

    #[test]
    fn related_columns_use_a_path() {
        let filter = Column::via("primarycontactid", "fullname").unwrap().eq("Ada");
        assert_eq!(filter.to_expression(), "primarycontactid/fullname eq 'Ada'");
    }

    #[test]
    fn wildcards_are_literal_in_text_functions_only() {
        assert_eq!(column("n").contains("50%_[x]").to_expression(), "contains(n,'50[%][_][[]x]')");
        assert_eq!(column("n").starts_with("O'").to_expression(), "startswith(n,'O''')");
        assert_eq!(column("n").ends_with("z").to_expression(), "endswith(n,'z')");
        assert_eq!(column("n").eq("50%").to_expression(), "n eq '50%'");
    }

    #[test]
    fn lists_use_the_function_and_fall_back_to_a_chain() {
        let ids = [Uuid::from_u128(1), Uuid::from_u128(2)];
        assert_eq!(
            column("contactid").is_in(ids).unwrap().to_expression(),
            "Microsoft.Dynamics.CRM.In(PropertyName='contactid',PropertyValues=[\
             \"00000000-0000-0000-0000-000000000001\",\"00000000-0000-0000-0000-000000000002\"])"
        );
        assert_eq!(
            column("n").is_in(["O'B", "x"]).unwrap().and(column("a").eq(1)).to_expression(),
            "((n eq 'O''B') or (n eq 'x')) and (a eq 1)"
        );
        assert!(column("n").is_in(Vec::<&str>::new()).is_err());
        assert!(column("n").is_in([Literal::Null]).is_err());
        assert!(Column::via("a", "b").unwrap().is_in([1]).is_err());
    }

    #[test]
    fn debug_shows_the_shape_without_values() {
        let shown = format!("{:?}", column("lastname").eq("Lovelace").and(column("n").is_in(["Ada"]).unwrap()));
        assert!(shown.contains("lastname eq"), "{shown}");
        assert!(!shown.contains("Lovelace") && !shown.contains("Ada"), "{shown}");
    }
}
