//! Tables and columns as the service knows them.

use std::collections::HashMap;

use super::scenario::{ChoiceScenario, ColumnScenario, ColumnType, DataverseScenario, TableScenario};

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

#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) index: usize,
    pub(super) name: String,
    pub(super) set: String,
    pub(super) schema_name: String,
    pub(super) primary_name: usize,
    pub(super) type_code: u32,
    pub(super) change_tracking: bool,
    pub(super) columns: Vec<Column>,
    pub(super) keys: Vec<Key>,
    /// Rows that the start seeds; `None` leaves it to the command line.
    pub(super) rows: Option<u64>,
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
            columns,
            keys: Vec::new(),
            rows: Some(0),
            by_name: HashMap::new(),
            by_wire: HashMap::new(),
        };
        table.number();
        table
    }

    fn number(&mut self) {
        let named = |pick: fn(&Column) -> &String| {
            self.columns.iter().enumerate().map(|(at, column)| (pick(column).clone(), at)).collect()
        };
        self.by_name = named(|c| &c.name);
        self.by_wire = named(|c| &c.wire);
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
        for wanted in &scenario.tables {
            match tables.iter().position(|t| t.name == wanted.name) {
                Some(at) => extend(&mut tables, at, wanted)?,
                None => {
                    let pk = format!("{}id", wanted.name);
                    let name = wanted.primary_name.clone().unwrap_or_else(|| "new_name".to_owned());
                    let schema_name = wanted.schema_name.clone().unwrap_or_else(|| wanted.name.clone());
                    let set = wanted.set.clone().unwrap_or_else(|| format!("{}s", wanted.name));
                    let code = 10_000 + u32::try_from(tables.len()).unwrap_or(0);
                    let columns = super::builtin::custom(&pk, &name);
                    tables.push(Table::new(&wanted.name, &set, &schema_name, code, columns));
                    let at = tables.len() - 1;
                    extend(&mut tables, at, wanted)?;
                }
            }
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

fn extend(tables: &mut [Table], at: usize, wanted: &TableScenario) -> Result<(), String> {
    let sets: Vec<(String, String)> = tables.iter().map(|t| (t.name.clone(), t.set.clone())).collect();
    let table = &mut tables[at];
    if let Some(tracking) = wanted.change_tracking {
        table.change_tracking = tracking;
    }
    if let Some(rows) = wanted.rows {
        table.rows = Some(rows);
    }
    for column in &wanted.columns {
        let made = made(column, &sets)
            .map_err(|problem| format!("table {}, column {}: {problem}", wanted.name, column.name))?;
        match table.column(&column.name) {
            Some(place) if place > 0 => table.columns[place] = made,
            Some(_) => return Err(format!("table {}: the primary key cannot be redefined", wanted.name)),
            None => table.columns.push(made),
        }
        table.number();
        if table.columns.len() > 250 {
            return Err(format!("table {}: more than 250 columns", wanted.name));
        }
    }
    for key in &wanted.keys {
        table.add_key(&key.name, &key.columns)?;
    }
    Ok(())
}

fn made(wanted: &ColumnScenario, sets: &[(String, String)]) -> Result<Column, String> {
    #[expect(clippy::cast_possible_truncation, reason = "a bound beyond 32 bits means no bound")]
    let whole = |bound: Option<f64>, other: i64| bound.map_or(other, |b| b as i64);
    let real = |bound: Option<f64>, other: f64| bound.unwrap_or(other);
    let kind = match wanted.kind {
        ColumnType::String => Kind::Text { max: wanted.max_length.unwrap_or(100) },
        ColumnType::Memo => Kind::Memo { max: wanted.max_length.unwrap_or(2000) },
        ColumnType::Integer => {
            Kind::Integer { min: whole(wanted.min, i64::from(i32::MIN)), max: whole(wanted.max, i64::from(i32::MAX)) }
        }
        ColumnType::BigInt => Kind::BigInt,
        ColumnType::Decimal | ColumnType::Money => Kind::Decimal {
            min: real(wanted.min, -100_000_000_000.0),
            max: real(wanted.max, 100_000_000_000.0),
            money: wanted.kind == ColumnType::Money,
        },
        ColumnType::Double => {
            Kind::Double { min: real(wanted.min, -100_000_000_000.0), max: real(wanted.max, 100_000_000_000.0) }
        }
        ColumnType::Boolean => Kind::Boolean,
        ColumnType::DateTime => Kind::DateTime { zoneless: false },
        ColumnType::DateTimeZoneless => Kind::DateTime { zoneless: true },
        ColumnType::DateOnly => Kind::DateOnly,
        ColumnType::Picklist => Kind::Picklist,
        ColumnType::MultiSelectPicklist => Kind::MultiSelect,
        ColumnType::Lookup => Kind::Lookup,
        ColumnType::Guid => Kind::Guid,
    };
    let mut column = Column::new(&wanted.name, kind);
    if let Some(name) = &wanted.schema_name {
        column.schema_name.clone_from(name);
    }
    let choice = |c: &ChoiceScenario| Choice { value: c.value, label: c.label.clone(), state: None };
    column.choices = wanted.choices.iter().map(choice).collect();
    column.global.clone_from(&wanted.global);
    if matches!(kind, Kind::Picklist | Kind::MultiSelect) && column.choices.is_empty() {
        return Err("a picklist needs choices".to_owned());
    }
    if kind == Kind::Lookup && wanted.targets.is_empty() {
        return Err("a lookup needs targets".to_owned());
    }
    for target in &wanted.targets {
        let (table, set) = sets
            .iter()
            .find(|(name, _)| name == target)
            .ok_or_else(|| format!("there is no table {target} (name tables before the lookups that lead to them)"))?;
        let several = wanted.targets.len() > 1;
        let navigation = if several { format!("{}_{target}", column.schema_name) } else { column.schema_name.clone() };
        column.targets.push(Target { table: table.clone(), set: set.clone(), navigation });
    }
    Ok(column)
}
