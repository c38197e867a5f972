//! The specification of a mapping as data: what a person writes, before any schema is known.

use serde::{Deserialize, Serialize};

use crate::Literal;

/// The mapping of one source table to one target resource: a `[[table]]` section of the configuration.
///
/// Unknown keys are refused. Defaults are the cautious ones: no deletes, labels instead of technical values, nothing
/// deleted because of a filter, updates applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// The source table by its logical name (`contact`).
    pub table: String,
    /// The target resource (`profile`).
    pub resource: String,
    /// The target attribute that holds the source's primary key (`externalId`).
    pub key: String,
    /// How a row is found where the resource cannot be addressed by its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_filter: Option<KeyFilterSpec>,
    /// Whether a record deleted at the source is deleted at the target.
    #[serde(default)]
    pub apply_deletes: bool,
    /// Whether a choice is sent as its number (`true`) or as its label (`false`).
    #[serde(default)]
    pub technical_values: bool,
    /// The fields to write, besides the key.
    pub fields: Vec<FieldSpec>,
    /// Values that are replaced on the way.
    #[serde(default)]
    pub replacements: Vec<ReplacementSpec>,
    /// Which records take part; all of them when there is no rule.
    #[serde(default)]
    pub filter: FilterSpec,
    /// References to records of another mapped table.
    #[serde(default)]
    pub links: Vec<LinkSpec>,
}

/// A filter of the target that finds a row by its key value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFilterSpec {
    /// The filter's name (`byCrmId`).
    pub name: String,
    /// The parameter that takes the key (`crmId_parameter`).
    pub parameter: String,
}

/// One field: from a source column to a target attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldSpec {
    /// The source column by its logical name.
    pub from: String,
    /// The target attribute; a nested one by its dotted path (`location.city`).
    pub to: String,
    /// Whether a later change of the source is written. When not, the field is written by an insert and by a replay only.
    #[serde(default = "yes")]
    pub apply_updates: bool,
    /// What an empty source value does.
    #[serde(default)]
    pub null: NullPolicy,
}

/// What an empty source value does to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NullPolicy {
    /// An update empties the attribute; an insert leaves it out.
    #[default]
    Clear,
    /// The attribute keeps what it has.
    Skip,
}

/// Replaces one source value by another before it is converted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplacementSpec {
    /// The source column; it has to be mapped.
    pub field: String,
    /// The source value, matched exactly and case-sensitively; of a choice the technical value unless `label` is set.
    pub value: Literal,
    /// What is written instead, converted to the target's type.
    pub with: Literal,
    /// Whether `value` is the label of a choice.
    #[serde(default)]
    pub label: bool,
}

/// Which records take part.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterSpec {
    /// How the rules are joined.
    #[serde(default)]
    pub operator: Operator,
    /// Whether a record that does not match (any more) is deleted at the target. Independent of `apply_deletes`.
    #[serde(default)]
    pub delete_filtered_out: bool,
    /// The rules; none lets every record through.
    #[serde(default)]
    pub rules: Vec<RuleSpec>,
}

/// How filter rules are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// Every rule has to hold.
    #[default]
    And,
    /// One rule is enough.
    Or,
}

/// One comparison of a source column, which need not be mapped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    /// The source column.
    pub field: String,
    /// The comparison.
    pub compare: Compare,
    /// What to compare with: a list for `in` and `not_in`, nothing for `is_empty` and `is_not_empty`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Literal>,
}

/// A comparison. Text is compared without regard to case, as Dataverse does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compare {
    /// The same value.
    Equals,
    /// Another value, or none.
    NotEquals,
    /// The text contains it; the multi-select choice has it selected.
    Contains,
    /// The opposite of `contains`; true for an empty value.
    NotContains,
    /// The text begins with it.
    BeginsWith,
    /// The text ends with it.
    EndsWith,
    /// Larger or later.
    Greater,
    /// Larger, later or the same.
    GreaterOrEqual,
    /// Smaller or earlier.
    Less,
    /// Smaller, earlier or the same.
    LessOrEqual,
    /// No value, or an empty text or selection.
    IsEmpty,
    /// Some value.
    IsNotEmpty,
    /// One of the list.
    In,
    /// None of the list; true for an empty value.
    NotIn,
}

impl Compare {
    /// Every comparison, in the order of the documentation.
    pub const ALL: [Self; 14] = [
        Self::Equals,
        Self::NotEquals,
        Self::Contains,
        Self::NotContains,
        Self::BeginsWith,
        Self::EndsWith,
        Self::Greater,
        Self::GreaterOrEqual,
        Self::Less,
        Self::LessOrEqual,
        Self::IsEmpty,
        Self::IsNotEmpty,
        Self::In,
        Self::NotIn,
    ];

    /// The word for it in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equals => "equals",
            Self::NotEquals => "not_equals",
            Self::Contains => "contains",
            Self::NotContains => "not_contains",
            Self::BeginsWith => "begins_with",
            Self::EndsWith => "ends_with",
            Self::Greater => "greater",
            Self::GreaterOrEqual => "greater_or_equal",
            Self::Less => "less",
            Self::LessOrEqual => "less_or_equal",
            Self::IsEmpty => "is_empty",
            Self::IsNotEmpty => "is_not_empty",
            Self::In => "in",
            Self::NotIn => "not_in",
        }
    }
}

/// A reference to a record of another mapped table; the row is written after the row it refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSpec {
    /// The source lookup column.
    pub from: String,
    /// The target attribute that receives the parent's key, or the link that is set.
    pub to: String,
    /// The source table that the lookup refers to; it has to be mapped as well.
    pub parent: String,
    /// How the reference is written.
    #[serde(default, skip_serializing_if = "LinkMode::is_key")]
    pub mode: LinkMode,
}

/// How a reference is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkMode {
    /// The parent's key, into an ordinary attribute that the target's link joins on. The parent need not be there.
    #[default]
    Key,
    /// The target's link itself, by the parent's key: `{"PKey": key}`. The parent has to be there.
    Link,
}

impl LinkMode {
    /// Whether it is the ordinary one.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
    fn is_key(&self) -> bool {
        *self == Self::Key
    }
}

fn yes() -> bool {
    true
}
