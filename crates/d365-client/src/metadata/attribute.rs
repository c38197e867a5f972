//! Columns.

use serde::Deserialize;

use super::choice::{BooleanLabels, Choices, Label, WireLabel, WireOptionSet, read_option_sets};

/// The type of a column, by `AttributeTypeName` (learn.microsoft.com, "Column (attribute) metadata").
///
/// `AttributeType` alone is not enough: images, files and multi-select choices all call themselves `Virtual` there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AttributeType {
    /// A line of text.
    String,
    /// A long text.
    Memo,
    /// A whole number of 32 bits.
    Integer,
    /// A whole number of 64 bits, such as `versionnumber`.
    BigInt,
    /// A decimal number.
    Decimal,
    /// A double.
    Double,
    /// An amount of money; exact like a decimal.
    Money,
    /// Yes or no.
    Boolean,
    /// A date or an instant: see [`DateTimeBehavior`].
    DateTime,
    /// One option of a set.
    Choice,
    /// `statecode`.
    State,
    /// `statuscode`.
    Status,
    /// Several options of a set, on the wire a text of numbers parted by commas.
    MultiSelectChoice,
    /// A reference to a row.
    Lookup,
    /// A reference to an account or a contact.
    Customer,
    /// A reference to a user or a team.
    Owner,
    /// The parties of an activity.
    PartyList,
    /// A GUID that is no reference, such as the primary key.
    UniqueIdentifier,
    /// The logical name of a table.
    EntityName,
    /// A picture.
    Image,
    /// A file.
    File,
    /// A column computed from others, such as the label of a choice; it cannot be selected.
    Virtual,
    /// A flag of solution packaging.
    ManagedProperty,
    /// Calendar rules.
    CalendarRules,
    /// Anything else, by the service's name; empty when the answer did not tell.
    Other(String),
}

impl AttributeType {
    /// Reads `AttributeTypeName.Value`, else the `@odata.type` of the column, else the older `AttributeType`.
    fn read(type_name: Option<&str>, odata_type: Option<&str>, older: Option<&str>) -> Self {
        let name = match (type_name, odata_type, older) {
            (Some(name), _, _) => name.strip_suffix("Type").unwrap_or(name),
            (None, Some(name), _) => {
                let name = name.rsplit('.').next().unwrap_or(name);
                name.strip_suffix("AttributeMetadata").unwrap_or(name)
            }
            (None, None, Some(name)) => name,
            (None, None, None) => "",
        };
        match name {
            "String" => Self::String,
            "Memo" => Self::Memo,
            "Integer" => Self::Integer,
            "BigInt" => Self::BigInt,
            "Decimal" => Self::Decimal,
            "Double" => Self::Double,
            "Money" => Self::Money,
            "Boolean" => Self::Boolean,
            "DateTime" => Self::DateTime,
            "Picklist" => Self::Choice,
            "State" => Self::State,
            "Status" => Self::Status,
            "MultiSelectPicklist" => Self::MultiSelectChoice,
            "Lookup" => Self::Lookup,
            "Customer" => Self::Customer,
            "Owner" => Self::Owner,
            "PartyList" => Self::PartyList,
            "Uniqueidentifier" | "UniqueIdentifier" => Self::UniqueIdentifier,
            "EntityName" => Self::EntityName,
            "Image" => Self::Image,
            "File" => Self::File,
            "Virtual" => Self::Virtual,
            "ManagedProperty" => Self::ManagedProperty,
            "CalendarRules" => Self::CalendarRules,
            other => Self::Other(other.to_owned()),
        }
    }

    /// Whether the column refers to a row and is read as `_name_value`.
    #[must_use]
    pub fn is_lookup(&self) -> bool {
        matches!(self, Self::Lookup | Self::Customer | Self::Owner)
    }

    /// Whether the column's values are options of a set.
    #[must_use]
    pub fn is_choice(&self) -> bool {
        matches!(self, Self::Choice | Self::State | Self::Status | Self::MultiSelectChoice)
    }
}

/// What the values of a date column mean (learn.microsoft.com, "Behavior and format of the date and time column").
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DateTimeBehavior {
    /// An instant, shown to each user in the own time zone.
    UserLocal,
    /// A calendar day: `1990-05-01` on the wire.
    DateOnly,
    /// A reading of the wall clock, the same for all; with `Z` on the wire although it is no instant.
    TimeZoneIndependent,
    /// A behaviour of a later version.
    Other(String),
}

/// A column.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Attribute {
    /// The name in conditions and metadata: `parentcustomerid`.
    pub logical_name: String,
    /// The name in its original casing: `ParentCustomerId`.
    pub schema_name: Option<String>,
    /// What people call the column.
    pub display_name: Label,
    /// The type.
    pub kind: AttributeType,
    /// The column that this one only decorates (`gendercodename` of `gendercode`); such a column cannot be selected.
    pub attribute_of: Option<String>,
    /// Whether it identifies the row.
    pub is_primary_id: bool,
    /// Whether it names the row.
    pub is_primary_name: bool,
    /// Whether it can be read.
    pub is_valid_for_read: bool,
    /// Whether a create may set it; the service drops it silently otherwise.
    pub is_valid_for_create: bool,
    /// Whether an update may set it; the service drops it silently otherwise.
    pub is_valid_for_update: bool,
    /// `None`, `Recommended`, `ApplicationRequired` or `SystemRequired`.
    pub required_level: Option<String>,
    /// Texts: the greatest number of characters.
    pub max_length: Option<u32>,
    /// Decimals and doubles: digits after the point that the service keeps. Money: the same where the column has a
    /// precision of its own; it may also follow the organisation or the currency, which this does not tell. Values on
    /// the wire carry more digits, zeros mostly (`1234.5600000000`).
    pub precision: Option<u32>,
    /// Dates: what a value means.
    pub date_time_behavior: Option<DateTimeBehavior>,
    /// Choices: the options.
    pub choices: Option<Choices>,
    /// Yes/no columns: the labels.
    pub boolean_labels: Option<BooleanLabels>,
    /// Lookups: the tables that may be referred to.
    pub targets: Vec<String>,
}

impl Attribute {
    /// A column known by hand, readable and writable, with nothing else said of it.
    #[must_use]
    pub fn new(logical_name: impl Into<String>, kind: AttributeType) -> Self {
        Self {
            logical_name: logical_name.into(),
            schema_name: None,
            display_name: Label::default(),
            kind,
            attribute_of: None,
            is_primary_id: false,
            is_primary_name: false,
            is_valid_for_read: true,
            is_valid_for_create: true,
            is_valid_for_update: true,
            required_level: None,
            max_length: None,
            precision: None,
            date_time_behavior: None,
            choices: None,
            boolean_labels: None,
            targets: Vec::new(),
        }
    }

    /// The name under which rows carry the column: `_parentcustomerid_value` for a lookup, the logical name otherwise.
    #[must_use]
    pub fn property_name(&self) -> String {
        if self.kind.is_lookup() { format!("_{}_value", self.logical_name) } else { self.logical_name.clone() }
    }

    /// Whether a query may select the column.
    #[must_use]
    pub fn is_selectable(&self) -> bool {
        self.is_valid_for_read
            && self.attribute_of.is_none()
            && !matches!(
                self.kind,
                AttributeType::Virtual
                    | AttributeType::PartyList
                    | AttributeType::ManagedProperty
                    | AttributeType::CalendarRules
            )
    }

    /// Takes over what a typed cast of the same column told.
    pub(super) fn refine(&mut self, other: Self) {
        self.max_length = self.max_length.or(other.max_length);
        self.precision = self.precision.or(other.precision);
        self.date_time_behavior = self.date_time_behavior.take().or(other.date_time_behavior);
        self.choices = self.choices.take().or(other.choices);
        self.boolean_labels = self.boolean_labels.take().or(other.boolean_labels);
        if self.targets.is_empty() {
            self.targets = other.targets;
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Valued {
    value: Option<String>,
}

/// A column on the wire: plain or any cast.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct WireAttribute {
    #[serde(rename = "@odata.type")]
    odata_type: Option<String>,
    logical_name: String,
    schema_name: Option<String>,
    display_name: Option<WireLabel>,
    attribute_type: Option<String>,
    attribute_type_name: Option<Valued>,
    attribute_of: Option<String>,
    is_primary_id: Option<bool>,
    is_primary_name: Option<bool>,
    is_valid_for_read: Option<bool>,
    is_valid_for_create: Option<bool>,
    is_valid_for_update: Option<bool>,
    required_level: Option<Valued>,
    max_length: Option<i64>,
    precision: Option<i64>,
    date_time_behavior: Option<Valued>,
    targets: Option<Vec<String>>,
    option_set: Option<WireOptionSet>,
    global_option_set: Option<WireOptionSet>,
}

impl WireAttribute {
    pub(super) fn read(self) -> Attribute {
        let type_name = self.attribute_type_name.and_then(|name| name.value);
        let (choices, boolean_labels) = read_option_sets(self.option_set, self.global_option_set);
        let behavior = |name: String| match name.as_str() {
            "UserLocal" => DateTimeBehavior::UserLocal,
            "DateOnly" => DateTimeBehavior::DateOnly,
            "TimeZoneIndependent" => DateTimeBehavior::TimeZoneIndependent,
            _ => DateTimeBehavior::Other(name),
        };
        Attribute {
            kind: AttributeType::read(type_name.as_deref(), self.odata_type.as_deref(), self.attribute_type.as_deref()),
            logical_name: self.logical_name,
            schema_name: self.schema_name,
            display_name: self.display_name.map(WireLabel::read).unwrap_or_default(),
            attribute_of: self.attribute_of,
            is_primary_id: self.is_primary_id.unwrap_or(false),
            is_primary_name: self.is_primary_name.unwrap_or(false),
            is_valid_for_read: self.is_valid_for_read.unwrap_or(true),
            is_valid_for_create: self.is_valid_for_create.unwrap_or(true),
            is_valid_for_update: self.is_valid_for_update.unwrap_or(true),
            required_level: self.required_level.and_then(|level| level.value),
            max_length: self.max_length.and_then(|length| u32::try_from(length).ok()),
            precision: self.precision.and_then(|digits| u32::try_from(digits).ok()),
            date_time_behavior: self.date_time_behavior.and_then(|name| name.value).map(behavior),
            choices,
            boolean_labels,
            targets: self.targets.unwrap_or_default(),
        }
    }
}
