//! Tables and columns as the service knows them.

use std::collections::HashMap;

use super::custom::{custom, extend};
use super::scenario::DataverseScenario;

/// What a column holds, and where its value comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// The row's id.
    PrimaryKey,
    /// The row's version.
    Version,
    Guid,
    Text {
        max: u32,
    },
    Memo {
        max: u32,
    },
    Integer {
        min: i64,
        max: i64,
    },
    BigInt,
    Decimal {
        min: f64,
        max: f64,
        money: bool,
    },
    Double {
        min: f64,
        max: f64,
    },
    Boolean,
    DateTime {
        zoneless: bool,
    },
    DateOnly,
    Picklist,
    State,
    Status,
    MultiSelect,
    Lookup,
}

/// Where the value of a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the row's cells (or the row itself, for the id and the version).
    Stored,
    /// The same as another column: `_base` twins of money.
    SameAs(usize),
    /// The address lines joined.
    Composite,
}

#[derive(Debug, Clone)]
pub(super) struct Choice {
    pub(super) value: i32,
    pub(super) label: String,
    /// The state that a status belongs to.
    pub(super) state: Option<i32>,
}

/// Where a lookup may lead.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) table: String,
    pub(super) set: String,
    pub(super) navigation: String,
}

#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    /// Name on the wire: `_x_value` for a lookup.
    pub(super) wire: String,
    pub(super) schema_name: String,
    pub(super) kind: Kind,
    pub(super) place: Place,
    /// The cell of a row that has none.
    pub(super) default: Vec<u8>,
    pub(super) create: bool,
    pub(super) update: bool,
    pub(super) required: &'static str,
    pub(super) format: &'static str,
    pub(super) choices: Vec<Choice>,
    pub(super) global: Option<String>,
    pub(super) targets: Vec<Target>,
    /// `Lookup`, `Customer` or `Owner`.
    pub(super) lookup_type: &'static str,
    /// Labels of true and false.
    pub(super) truth: [&'static str; 2],
    /// A date alone that takes a date and time and keeps the date.
    pub(super) takes_time: bool,
    /// Auxiliary column of another: in the metadata, not in the data.
    pub(super) attribute_of: Option<String>,
}

impl Column {
    pub(super) fn new(name: &str, kind: Kind) -> Self {
        let wire = if kind == Kind::Lookup { format!("_{name}_value") } else { name.to_owned() };
        let default: &[u8] = match kind {
            Kind::Lookup => b"",
            Kind::Boolean => b"false",
            Kind::State => b"0",
            Kind::Status => b"1",
            _ => b"null",
        };
        Self {
            wire,
            schema_name: name.to_owned(),
            kind,
            place: Place::Stored,
            default: default.to_vec(),
            create: true,
            update: true,
            required: "None",
            format: if kind == Kind::DateOnly { "DateOnly" } else { "" },
            choices: Vec::new(),
            global: None,
            targets: Vec::new(),
            lookup_type: "Lookup",
            truth: ["Yes", "No"],
            takes_time: false,
            attribute_of: None,
            name: name.to_owned(),
        }
    }

    pub(super) fn read_only(mut self) -> Self {
        self.create = false;
        self.update = false;
        self
    }

    pub(super) fn on_create_only(mut self) -> Self {
        self.update = false;
        self
    }

    pub(super) fn required(mut self, level: &'static str) -> Self {
        self.required = level;
        self
    }

    pub(super) fn format(mut self, format: &'static str) -> Self {
        self.format = format;
        self
    }

    pub(super) fn schema_name(mut self, name: &str) -> Self {
        self.schema_name = name.to_owned();
        self
    }

    pub(super) fn choices(mut self, choices: &[(i32, &str)]) -> Self {
        self.choices = choices
            .iter()
            .map(|(value, label)| Choice { value: *value, label: (*label).to_owned(), state: None })
            .collect();
        self
    }

    pub(super) fn default_cell(mut self, default: &[u8]) -> Self {
        self.default = default.to_vec();
        self
    }

    pub(super) fn targets(mut self, lookup_type: &'static str, targets: &[(&str, &str, &str)]) -> Self {
        self.lookup_type = lookup_type;
        self.targets = targets
            .iter()
            .map(|(table, set, navigation)| Target {
                table: (*table).to_owned(),
                set: (*set).to_owned(),
                navigation: (*navigation).to_owned(),
            })
            .collect();
        self
    }

    /// Whether it can be read with the data.
    pub(super) fn selectable(&self) -> bool {
        self.attribute_of.is_none()
    }

    pub(super) fn label_of(&self, value: i32) -> Option<&str> {
        self.choices.iter().find(|c| c.value == value).map(|c| c.label.as_str())
    }
}

#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) columns: Vec<usize>,
}

const ADDRESS: [&str; 7] = [
    "address1_line1",
    "address1_line2",
    "address1_line3",
    "address1_postalcode",
    "address1_city",
    "address1_stateorprovince",
    "address1_country",
];

#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) index: usize,
    pub(super) name: String,
    pub(super) set: String,
    pub(super) schema_name: String,
    pub(super) primary_name: usize,
    pub(super) type_code: u32,
    pub(super) change_tracking: bool,
    pub(super) is_activity: bool,
    pub(super) columns: Vec<Column>,
    pub(super) keys: Vec<Key>,
    /// Rows that the start seeds; `None` leaves it to the command line.
    pub(super) rows: Option<u64>,
    /// The parts of `address1_composite`, as they stand in it.
    pub(super) address: Vec<usize>,
    by_name: HashMap<String, usize>,
    by_wire: HashMap<String, usize>,
}

impl Table {
    pub(super) fn new(name: &str, set: &str, schema_name: &str, type_code: u32, columns: Vec<Column>) -> Self {
        let mut table = Self {
            index: 0,
            name: name.to_owned(),
            set: set.to_owned(),
            schema_name: schema_name.to_owned(),
            primary_name: 1,
            type_code,
            change_tracking: true,
            is_activity: false,
            columns,
            keys: Vec::new(),
            rows: Some(0),
            address: Vec::new(),
            by_name: HashMap::new(),
            by_wire: HashMap::new(),
        };
        table.number();
        table
    }

    /// Finds the columns anew.
    pub(super) fn number(&mut self) {
        let named = |pick: fn(&Column) -> &String| {
            self.columns.iter().enumerate().map(|(at, column)| (pick(column).clone(), at)).collect()
        };
        self.by_name = named(|c| &c.name);
        self.by_wire = named(|c| &c.wire);
        self.address = ADDRESS.iter().filter_map(|name| self.column(name)).collect();
    }

    /// Column 0 of every table is its primary key.
    pub(super) fn primary_key(&self) -> &Column {
        &self.columns[0]
    }

    /// By logical name.
    pub(super) fn column(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// By the name that data carries.
    pub(super) fn by_wire(&self, name: &str) -> Option<usize> {
        self.by_wire.get(name).copied().filter(|at| self.columns[*at].selectable())
    }

    /// The lookup column and the target behind a navigation property.
    pub(super) fn navigation(&self, name: &str) -> Option<(usize, usize)> {
        self.columns.iter().enumerate().find_map(|(at, column)| {
            let target = column.targets.iter().position(|t| t.navigation == name)?;
            Some((at, target))
        })
    }

    pub(super) fn add_key(&mut self, name: &str, columns: &[String]) -> Result<(), String> {
        let found: Option<Vec<usize>> = columns.iter().map(|c| self.column(c)).collect();
        let columns = found.filter(|c| !c.is_empty());
        let columns =
            columns.ok_or_else(|| format!("table {}: key {name} names a column that does not exist", self.name))?;
        self.keys.push(Key { name: name.to_owned(), columns });
        Ok(())
    }

    /// The `$metadata` type.
    pub(super) fn type_name(&self) -> String {
        format!("Microsoft.Dynamics.CRM.{}", self.name)
    }
}

/// All tables.
#[derive(Debug, Clone)]
pub(super) struct Schema {
    pub(super) tables: Vec<Table>,
}

impl Schema {
    /// The built-in tables with what a scenario adds.
    pub(super) fn build(scenario: &DataverseScenario) -> Result<Self, String> {
        let mut tables = super::builtin::tables();
        tables.extend(super::activity::tables(&scenario.activities)?);
        for wanted in &scenario.tables {
            let at = match tables.iter().position(|t| t.name == wanted.name) {
                Some(at) => {
                    let renamed = [
                        ("set", wanted.set.is_some()),
                        ("schema_name", wanted.schema_name.is_some()),
                        ("primary_name", wanted.primary_name.is_some()),
                    ];
                    if let Some((key, _)) = renamed.iter().find(|(_, given)| *given) {
                        return Err(format!("table {} is there already, and its {key} cannot be changed", wanted.name));
                    }
                    at
                }
                None => {
                    tables.push(custom(wanted, tables.len())?);
                    tables.len() - 1
                }
            };
            if let Some(twice) = tables.iter().position(|t| t.set == tables[at].set).filter(|first| *first != at) {
                let (set, other) = (&tables[at].set, &tables[twice].name);
                return Err(format!("table {}: the set {set} is that of {other} already", wanted.name));
            }
            extend(&mut tables, at, wanted)?;
        }
        for (index, table) in tables.iter_mut().enumerate() {
            table.index = index;
            for column in table.columns.iter_mut().filter(|column| column.kind == Kind::DateOnly) {
                column.takes_time = scenario.switches.date_only_takes_time;
            }
        }
        Ok(Self { tables })
    }

    pub(super) fn by_set(&self, set: &str) -> Option<&Table> {
        self.tables.iter().find(|t| t.set == set)
    }

    pub(super) fn by_name(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|t| t.name == name)
    }
}
