//! Tables and columns that a scenario adds, checked: what does not fit together does not start.

use super::scenario::{ChoiceScenario, ColumnScenario, ColumnType, TableScenario};
use super::schema::{Choice, Column, Kind, Table, Target};

/// First segments of a path that mean something else than a set.
const TAKEN: [&str; 7] = [
    "WhoAmI",
    "EntityDefinitions",
    "RelationshipDefinitions",
    "GlobalOptionSetDefinitions",
    "RetrieveTotalRecordCount",
    "organizations",
    "systemusers",
];

/// A table that is not there yet, without its own columns.
pub(super) fn custom(wanted: &TableScenario, others: usize) -> Result<Table, String> {
    let pk = format!("{}id", wanted.name);
    let name = wanted.primary_name.clone().unwrap_or_else(|| "new_name".to_owned());
    let schema_name = wanted.schema_name.clone().unwrap_or_else(|| wanted.name.clone());
    let set = wanted.set.clone().unwrap_or_else(|| format!("{}s", wanted.name));
    for word in [&wanted.name, &set, &name, &schema_name] {
        if word.is_empty() || !word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(format!("table {}: '{word}' is no name: letters, digits and _", wanted.name));
        }
    }
    if TAKEN.contains(&set.as_str()) {
        return Err(format!("table {}: the set cannot be called {set}", wanted.name));
    }
    let code = 10_000 + u32::try_from(others).unwrap_or(0);
    Ok(Table::new(&wanted.name, &set, &schema_name, code, super::builtin::custom(&pk, &name)))
}

pub(super) fn extend(tables: &mut [Table], at: usize, wanted: &TableScenario) -> Result<(), String> {
    let sets: Vec<(String, String)> = tables.iter().map(|t| (t.name.clone(), t.set.clone())).collect();
    let table = &mut tables[at];
    if let Some(tracking) = wanted.change_tracking {
        table.change_tracking = tracking;
    }
    if let Some(rows) = wanted.rows {
        table.rows = Some(rows);
    }
    for (nth, column) in wanted.columns.iter().enumerate() {
        if wanted.columns.iter().take(nth).any(|other| other.name == column.name) {
            return Err(format!("table {}: the column {} is there twice", wanted.name, column.name));
        }
        let made = made(column, &sets)
            .map_err(|problem| format!("table {}, column {}: {problem}", wanted.name, column.name))?;
        match table.column(&column.name) {
            Some(place) if matches!(table.columns[place].kind, Kind::State | Kind::Status | Kind::Version) => {
                return Err(format!("table {}: {} is the service's own column", wanted.name, column.name));
            }
            Some(place) if place == table.primary_name && !matches!(made.kind, Kind::Text { .. }) => {
                return Err(format!("table {}: the primary name {} must be a text", wanted.name, column.name));
            }
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

/// What a column says that its type has no use for, or that cannot be.
fn check(wanted: &ColumnScenario) -> Result<(), String> {
    use ColumnType as T;
    let number = matches!(wanted.kind, T::Integer | T::Decimal | T::Money | T::Double);
    let text = matches!(wanted.kind, T::String | T::Memo);
    let choice = matches!(wanted.kind, T::Picklist | T::MultiSelectPicklist);
    let given = [
        ("min", wanted.min.is_some(), number),
        ("max", wanted.max.is_some(), number),
        ("max_length", wanted.max_length.is_some(), text),
        ("choices", !wanted.choices.is_empty(), choice),
        ("global", wanted.global.is_some(), choice),
        ("targets", !wanted.targets.is_empty(), wanted.kind == T::Lookup),
    ];
    if let Some((key, ..)) = given.iter().find(|(_, given, fits)| *given && !*fits) {
        return Err(format!("{key} means nothing for this type"));
    }
    let longest = if wanted.kind == T::Memo { 1_048_576 } else { 4000 };
    if wanted.max_length.is_some_and(|length| length == 0 || length > longest) {
        return Err(format!("max_length is from 1 to {longest}"));
    }
    let (min, max) = (wanted.min.unwrap_or(f64::MIN), wanted.max.unwrap_or(f64::MAX));
    if min.is_nan() || max.is_nan() || min > max {
        return Err("min is greater than max".to_owned());
    }
    if [wanted.min, wanted.max].into_iter().flatten().any(|bound| bound.abs() > 1e15) {
        return Err("min and max go up to 1e15".to_owned());
    }
    let beyond = |bound: Option<f64>| bound.is_some_and(|b| b < f64::from(i32::MIN) || b > f64::from(i32::MAX));
    if wanted.kind == T::Integer && (beyond(wanted.min) || beyond(wanted.max)) {
        return Err("an integer has 32 bits".to_owned());
    }
    if wanted.kind == T::Integer && min.ceil() > max.floor() {
        return Err("there is no whole number between min and max".to_owned());
    }
    for (nth, choice) in wanted.choices.iter().enumerate() {
        if wanted.choices.iter().take(nth).any(|other| other.value == choice.value) {
            return Err(format!("the choice {} is there twice", choice.value));
        }
    }
    Ok(())
}

fn made(wanted: &ColumnScenario, sets: &[(String, String)]) -> Result<Column, String> {
    check(wanted)?;
    #[expect(clippy::cast_possible_truncation, reason = "a bound beyond 32 bits means no bound")]
    let whole = |bound: Option<f64>, other: i64| bound.map_or(other, |b| b as i64);
    let (least, greatest) = (wanted.min.map(f64::ceil), wanted.max.map(f64::floor));
    let real = |bound: Option<f64>, other: f64| bound.unwrap_or(other);
    let kind = match wanted.kind {
        ColumnType::String => Kind::Text { max: wanted.max_length.unwrap_or(100) },
        ColumnType::Memo => Kind::Memo { max: wanted.max_length.unwrap_or(2000) },
        ColumnType::Integer => {
            Kind::Integer { min: whole(least, i64::from(i32::MIN)), max: whole(greatest, i64::from(i32::MAX)) }
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
