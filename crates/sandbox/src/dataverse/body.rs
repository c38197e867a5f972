//! Bodies of creates and updates: columns, lookups, what is dropped and what is refused.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::error::{Refusal, refusal};
use super::path::{decode, row_key};
use super::row;
use super::schema::{Kind, Table};
use super::store::{Changes, Store};
use super::value;

/// A body that was understood.
#[derive(Debug, Default)]
pub(super) struct Body {
    /// The primary key, when the body carries it.
    pub(super) id: Option<u128>,
    pub(super) changes: Changes,
}

/// Understands a body. Columns that exist and cannot be written are kept here and dropped by the write itself.
pub(super) fn parse(store: &Store, table: &Table, bytes: &[u8]) -> Result<Body, Refusal> {
    let unreadable = |_| Refusal::payload(&table.set, "Invalid JSON. The body of the request is not a JSON object.");
    let members: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(bytes).map_err(unreadable)?;
    let mut body = Body::default();
    for (name, raw) in &members {
        if let Some(navigation) = name.strip_suffix("@odata.bind") {
            body.changes.push(bind(store, table, navigation, raw)?);
            continue;
        }
        if name.contains('@') {
            // Annotations that a client sends back are ignored.
            continue;
        }
        let Some(at) = table.by_wire(name) else {
            body.changes.push(navigation(table, name, raw)?);
            continue;
        };
        let column = &table.columns[at];
        if column.kind == Kind::PrimaryKey {
            let cell = value::cell(table, column, raw)?;
            body.id = row::text(&cell).and_then(|id| row::parse_guid(&id));
        } else if column.kind == Kind::Lookup {
            let message =
                "CRM do not support direct update of Entity Reference properties, Use Navigation properties instead.";
            return Err(refusal(400, "0x80048d19", message));
        } else if column.create || column.update {
            body.changes.push((at, value::cell(table, column, raw)?));
        }
    }
    Ok(body)
}

/// A name that is no column: a lookup cleared by its navigation property, or an error.
fn navigation(table: &Table, name: &str, raw: &RawValue) -> Result<(usize, Vec<u8>), Refusal> {
    match table.navigation(name) {
        Some((at, _)) if raw.get().trim() == "null" => Ok((at, value::cleared(&table.columns[at])?)),
        Some(_) => Err(Refusal::not_imitated("deep inserts")),
        None => Err(Refusal::unknown_property(&table.set, &table.name, name)),
    }
}

/// `"parentcustomerid_account@odata.bind": "/accounts(...)"`.
pub(super) fn bind(
    store: &Store,
    table: &Table,
    navigation: &str,
    raw: &RawValue,
) -> Result<(usize, Vec<u8>), Refusal> {
    let undeclared = || {
        Refusal::payload(
            &table.set,
            &format!(
                "An undeclared property '{navigation}' which only has property annotations in the payload but no property value was found in the payload. In OData, only declared navigation properties and declared named streams can be represented as properties without values."
            ),
        )
    };
    let (at, _) = table.navigation(navigation).ok_or_else(undeclared)?;
    let reference: Option<String> = serde_json::from_str(raw.get())
        .map_err(|_| Refusal::payload(&table.set, "The value of an odata.bind annotation must be a text or null."))?;
    match reference {
        None => Ok((at, value::cleared(&table.columns[at])?)),
        Some(url) => Ok((at, target_cell(store, table, at, navigation, &url)?)),
    }
}

/// The cell of a lookup that leads to the row of a URL.
fn target_cell(store: &Store, table: &Table, at: usize, navigation: &str, url: &str) -> Result<Vec<u8>, Refusal> {
    let wrong = || Refusal::payload(&table.set, "The URI of an odata.bind annotation is not valid.");
    let last = url
        .trim_end_matches('/')
        .rsplit_once("/api/data/")
        .map_or(url, |(_, rest)| rest.split_once('/').map_or("", |(_, rest)| rest));
    let last = decode(last.trim_start_matches('/'))?;
    let (set, key) = last.split_once('(').ok_or_else(wrong)?;
    let key = key.strip_suffix(')').ok_or_else(wrong)?;
    let column = &table.columns[at];
    let target = column.targets.iter().position(|t| t.set == set && t.navigation == navigation).ok_or_else(|| {
        Refusal::payload(
            &table.set,
            &format!("The entity set '{set}' does not fit the navigation property '{navigation}'."),
        )
    })?;
    let Some(other) = store.schema.by_set(set) else {
        // Users, teams, currencies: there, but not as tables of the sandbox.
        return row::parse_guid(key).map(|id| row::reference_cell(id, target)).ok_or_else(wrong);
    };
    let key = row_key(other, key)?;
    let id = key.find(other, &store.read(other)).ok_or_else(|| key.missing(other))?;
    Ok(row::reference_cell(id, target))
}

/// Checks that state and status belong together, and sets the one that follows from the other.
pub(super) fn settle_status(table: &Table, current: Option<&[&[u8]]>, changes: &mut Changes) -> Result<(), Refusal> {
    let (Some(state), Some(status)) = (table.column("statecode"), table.column("statuscode")) else { return Ok(()) };
    let number = |at: usize, changes: &Changes| {
        let cell = changes.iter().rev().find(|(c, _)| *c == at).map(|(_, cell)| cell.as_slice());
        std::str::from_utf8(cell?).ok()?.parse::<i32>().ok()
    };
    let stored = |at: usize| -> Option<i32> { std::str::from_utf8(current?.get(at)?).ok()?.parse().ok() };
    let (new_state, new_status) = (number(state, changes), number(status, changes));
    let effective = new_state.or_else(|| stored(state)).unwrap_or(0);
    match (new_state, new_status) {
        (None, None) => {}
        (Some(_), None) if stored(state) == new_state => {}
        (Some(_), None) => {
            let follows = table.columns[status].choices.iter().find(|c| c.state == Some(effective));
            if let Some(choice) = follows {
                changes.push((status, choice.value.to_string().into_bytes()));
            }
        }
        (_, Some(value)) => {
            let fits = table.columns[status].choices.iter().any(|c| c.value == value && c.state == Some(effective));
            if !fits {
                let message =
                    format!("{value} is not a valid status code for state code {effective} on {}.", table.name);
                return Err(refusal(400, "0x80048408", message));
            }
        }
    }
    Ok(())
}
