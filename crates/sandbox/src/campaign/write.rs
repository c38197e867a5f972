//! Bodies: what a create or an update asks for, checked name by name, and carried out on a table.

use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_128;

use super::primary_key::{self, Decoded};
use super::refusal::Refusal;
use super::render::Family;
use super::schema::{Column, Input, Resource, Schema};
use super::table::{Row, Tables, key_of};
use super::value::{self, Problem};

/// New cells by column.
pub(super) type Changes = Vec<(u8, Vec<u8>)>;

/// Reads a body, or says what is wrong with it.
pub(super) fn changes(
    schema: &Schema,
    tables: &Tables,
    resource: &Resource,
    family: Family,
    of: Option<u32>,
    body: Map<String, Value>,
) -> Result<Changes, Refusal> {
    let mut out = Changes::with_capacity(body.len());
    for (name, value) in body {
        match resource.inputs.get(&name) {
            Some(Input::Column(column)) if family != Family::Plain || resource.slot(&name).is_some_and(|s| s.plain) => {
                cell(schema, resource, *column, value, &mut out)?;
            }
            Some(Input::Item(parts)) => match value {
                Value::Object(given) => {
                    for (part, value) in given {
                        let column = parts
                            .get(&part)
                            .ok_or_else(|| Refusal::unknown_field(resource, &format!("{name}.{part}")))?;
                        cell(schema, resource, *column, value, &mut out)?;
                    }
                }
                Value::Null if schema.switches.accept_null => {}
                other => return Err(Refusal::parameter(&other.to_string(), "item")),
            },
            Some(Input::ReadOnly) => return Err(Refusal::read_only(&name)),
            Some(Input::Link(link)) if family != Family::Plain => {
                link_change(schema, tables, resource, *link, &value, &mut out)?
            }
            Some(Input::Nothing) => {}
            Some(Input::Identity) => {
                let given = value.as_str().unwrap_or_default();
                match (primary_key::read(given), of) {
                    (Decoded::Row { resource: r, row }, Some(at)) if r == resource.index && row == at => {}
                    (Decoded::Gibberish, _) => return Err(Refusal::gibberish(given)),
                    _ => return Err(Refusal::unknown_primary_key(resource, given)),
                }
            }
            Some(Input::Column(_) | Input::Link(_)) | None => return Err(Refusal::unknown_field(resource, &name)),
        }
    }
    Ok(out)
}

fn cell(schema: &Schema, resource: &Resource, number: u8, value: Value, out: &mut Changes) -> Result<(), Refusal> {
    let Some(column) = resource.columns.get(usize::from(number)) else {
        return Ok(());
    };
    if column.read_only {
        return Err(Refusal::read_only(&column.path));
    }
    out.push((number, read(schema, resource, column, value)?));
    Ok(())
}

fn read(schema: &Schema, resource: &Resource, column: &Column, value: Value) -> Result<Vec<u8>, Refusal> {
    let switches = &schema.switches;
    if value.is_null() && switches.accept_null {
        return Ok(column.default.clone());
    }
    value::parse(&column.kind, column.policy, switches.too_long, value).map_err(|problem| match problem {
        Problem::Email { value } => {
            let field = column.path.rsplit('.').next().unwrap_or(&column.path);
            let text = switches.email_refusal_text.replace("{field}", field).replace("{value}", &value);
            Refusal::email(switches.email_refusal_status, &text)
        }
        problem => Refusal::value(resource, column, &problem),
    })
}

/// A link is set by its target's PKey or key; attributes without one are ignored without an error
/// (experienceleague.adobe.com, "Campaign Standard and v8 REST API limitations").
fn link_change(
    schema: &Schema,
    tables: &Tables,
    resource: &Resource,
    link: usize,
    value: &Value,
    out: &mut Changes,
) -> Result<(), Refusal> {
    let (Some(link), given) = (resource.links.get(link), value.get("PKey").and_then(Value::as_str)) else {
        return Ok(());
    };
    let Some(target) = schema.resources.get(link.target) else {
        return Ok(());
    };
    let found = match given {
        None if value.is_null() => {
            out.push((link.column, Vec::new()));
            return Ok(());
        }
        None => return Ok(()),
        Some(key) if key.starts_with('@') => match primary_key::read(key) {
            Decoded::Row { resource, row } if resource == target.index => Some(row),
            Decoded::Gibberish => return Err(Refusal::gibberish(key)),
            Decoded::Row { .. } | Decoded::Unknown => return Err(Refusal::unknown_primary_key(target, key)),
        },
        Some(key) if !schema.switches.link_by_key => return Err(Refusal::unknown_primary_key(target, key)),
        Some(key) => tables.of(target).by_key(target, key),
    };
    match found.and_then(|at| tables.of(target).row(at)) {
        Some(row) => out.push((link.column, row.get(&target.columns, link.target_column).to_vec())),
        None => return Err(Refusal::not_found(target, given.unwrap_or_default(), false)),
    }
    Ok(())
}

/// A create that is free, or the row that it meets.
pub(super) enum Created {
    /// The new row.
    New(u32),
    /// The row that has the key already, and the changes that were not made.
    Exists(u32, Changes),
}

/// Adds a row.
pub(super) fn create(
    schema: &Schema,
    tables: &mut Tables,
    resource: &Resource,
    mut changes: Changes,
    now: i64,
) -> Result<Created, Refusal> {
    let columns = &resource.columns;
    for (number, column) in (0_u8..).zip(columns) {
        if column.mandatory && !changes.iter().any(|(at, cell)| *at == number && !cell.is_empty()) {
            return Err(Refusal::mandatory(resource, column));
        }
    }
    if let Some(column) = resource.known.acs_id {
        let mut seed = now.to_le_bytes().to_vec();
        seed.extend_from_slice(&tables.of(resource).live().to_le_bytes());
        changes.push((column, uuid::Uuid::from_u128(xxh3_128(&seed)).to_string().into_bytes()));
    }
    let mut cells: Vec<&[u8]> = columns.iter().map(|c| c.default.as_slice()).collect();
    let stamp = now.to_le_bytes();
    apply(columns, &mut cells, &changes, &stamp);
    if let Some((unique, found)) = tables.of(resource).conflict(columns, &cells, None) {
        let parts = resource.uniques.get(unique).map(|key| key_of(key, &cells)).unwrap_or_default();
        if schema.switches.collection_upsert && resource.key.is_some_and(|(key, _)| key == unique) {
            return Ok(Created::Exists(found, changes));
        }
        return Err(Refusal::duplicate(resource, unique, &parts));
    }
    let row = Row::build(columns, &cells, now, now);
    tables.of_mut(resource).insert(columns, row).map(Created::New).ok_or_else(Refusal::stray)
}

/// Changes a row that is there.
pub(super) fn update(
    tables: &mut Tables,
    resource: &Resource,
    at: u32,
    changes: &Changes,
    now: i64,
) -> Result<(), Refusal> {
    let columns = &resource.columns;
    let stamp = now.to_le_bytes();
    let new = {
        let table = tables.of(resource);
        let Some(row) = table.row(at) else {
            return Err(Refusal::not_found(resource, "", true));
        };
        let mut cells = row.spread(columns);
        let keys = || resource.uniques.iter().flatten();
        for (number, cell) in changes {
            let old = cells.get(usize::from(*number)).copied().unwrap_or_default();
            if !old.is_empty() && old != cell.as_slice() && keys().any(|key| key == number) {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                return Err(Refusal::changed_key(resource, &text(old), &text(cell)));
            }
        }
        apply(columns, &mut cells, changes, &stamp);
        if let Some((unique, _)) = table.conflict(columns, &cells, Some(at)) {
            let parts = resource.uniques.get(unique).map(|key| key_of(key, &cells)).unwrap_or_default();
            return Err(Refusal::duplicate(resource, unique, &parts));
        }
        Row::build(columns, &cells, row.created, now)
    };
    tables.of_mut(resource).replace(columns, at, new);
    Ok(())
}

/// Puts changes over cells; a changed opt-out takes its time along.
fn apply<'a>(columns: &[Column], cells: &mut [&'a [u8]], changes: &'a Changes, stamp: &'a [u8]) {
    let mut stamped: Vec<u8> = Vec::new();
    for (number, cell) in changes {
        let Some(place) = cells.get_mut(usize::from(*number)) else {
            continue;
        };
        if *place != cell.as_slice() {
            *place = cell;
            stamped.extend(columns.get(usize::from(*number)).map(|c| c.stamps.as_slice()).unwrap_or_default());
        }
    }
    for column in stamped {
        // A timestamp that the same body wrote stays as it was written.
        if let Some(place) = cells.get_mut(usize::from(column)).filter(|_| !changes.iter().any(|(at, _)| *at == column))
        {
            *place = stamp;
        }
    }
}

/// Puts a whole row as the control interface gives it: every column may be set, read-only ones too, and what is not named takes
/// its default.
pub(super) fn put(
    schema: &Schema,
    tables: &mut Tables,
    resource: &Resource,
    key: &str,
    row: Map<String, Value>,
    now: i64,
) -> Result<(), String> {
    let (unique, key_column) = resource.key.ok_or_else(|| format!("{} has no key of one column", resource.name))?;
    let columns = &resource.columns;
    let mut changes = Changes::new();
    let (mut created, mut modified) = (None, None);
    let mut set = |number: u8, value: Value| -> Result<(), String> {
        let column = columns.get(usize::from(number)).ok_or("no such column")?;
        changes.push((number, read(schema, resource, column, value).map_err(|refusal| refusal.text)?));
        Ok(())
    };
    for (name, value) in row {
        match resource.inputs.get(&name) {
            Some(Input::Column(column)) => set(*column, value)?,
            Some(Input::Item(parts)) => {
                for (part, value) in value.as_object().cloned().unwrap_or_default() {
                    let column =
                        parts.get(&part).ok_or_else(|| format!("{}: no column {name}.{part}", resource.name))?;
                    set(*column, value)?;
                }
            }
            Some(Input::ReadOnly) if name == "created" => created = value.as_str().and_then(value::parse_datetime),
            Some(Input::ReadOnly) if name == "lastModified" => {
                modified = value.as_str().and_then(value::parse_datetime)
            }
            Some(_) => {}
            None if name == "_hidden" => {}
            None => return Err(format!("{}: no column {name}", resource.name)),
        }
    }
    changes.retain(|(column, _)| *column != key_column);
    let kind = &columns[usize::from(key_column)];
    let cell = read(schema, resource, kind, Value::String(key.to_owned())).map_err(|refusal| refusal.text)?;
    let found = tables.of(resource).find(columns, unique, &[&cell]);
    changes.push((key_column, cell));
    let mut cells: Vec<&[u8]> = columns.iter().map(|c| c.default.as_slice()).collect();
    for (number, cell) in &changes {
        cells[usize::from(*number)] = cell;
    }
    if tables.of(resource).conflict(columns, &cells, found).is_some() {
        return Err(format!("{}: another row has one of the unique keys", resource.name));
    }
    let old = found.and_then(|at| tables.of(resource).row(at)).map(|row| row.created);
    let row = Row::build(columns, &cells, created.or(old).unwrap_or(now), modified.unwrap_or(now));
    match found {
        Some(at) => tables.of_mut(resource).replace(columns, at, row),
        None => {
            tables.of_mut(resource).insert(columns, row).ok_or_else(|| format!("{} is full", resource.name))?;
        }
    }
    Ok(())
}
