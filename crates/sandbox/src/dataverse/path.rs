//! Paths: entity sets, keys, properties.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::value::RawValue;

use super::error::{Refusal, refusal};
use super::row;
use super::schema::{Kind, Schema, Table};
use super::store::{Changes, Rows};
use super::value;

/// What stays as it is in the key of a URL; a header can carry nothing else either.
const IN_KEY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'=')
    .remove(b',')
    .remove(b'\'')
    .remove(b'@');

/// How a path names a row.
#[derive(Debug, Clone)]
pub(super) enum RowKey {
    Id(u128),
    /// Which alternate key, its cells, and the text between the brackets as it came.
    Alternate {
        key: usize,
        cells: Changes,
        text: String,
    },
}

/// A set and perhaps a key.
#[derive(Debug)]
pub(super) struct Resource<'a> {
    pub(super) table: &'a Table,
    pub(super) key: Option<RowKey>,
}

/// Understands the first segment behind the version, which was decoded.
pub(super) fn resource<'a>(schema: &'a Schema, first: &str) -> Result<Resource<'a>, Refusal> {
    let (set, key) = match first.split_once('(') {
        None => (first, None),
        Some((set, rest)) => {
            let key = rest.strip_suffix(')').filter(|key| !key.trim().is_empty());
            (set, Some(key.ok_or_else(|| Refusal::request("Bad Request - Error in query syntax."))?))
        }
    };
    let table = schema.by_set(set).ok_or_else(|| Refusal::no_such_segment(set))?;
    let key = key.map(|key| row_key(table, key)).transpose()?;
    Ok(Resource { table, key })
}

pub(super) fn decode(segment: &str) -> Result<String, Refusal> {
    let decoded = percent_decode_str(segment).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| Refusal::request("The path is not valid UTF-8."))
}

/// The text between the brackets.
pub(super) fn row_key(table: &Table, text: &str) -> Result<RowKey, Refusal> {
    if let Some(id) = row::parse_guid(text.trim()) {
        return Ok(RowKey::Id(id));
    }
    let not_a_key = || {
        Refusal::request(format!(
            "The key in the request URI is not valid for resource '{}'. Ensure that the names and number of key properties match the declared or alternate key properties for the resource '{}'.",
            table.type_name(),
            table.type_name()
        ))
    };
    let mut cells: Changes = Vec::new();
    for part in outside_quotes(text) {
        let (name, literal) = part.split_once('=').ok_or_else(not_a_key)?;
        let (name, literal) = (name.trim(), literal.trim());
        let at = table.by_wire(name).or_else(|| table.column(name)).ok_or_else(not_a_key)?;
        let column = &table.columns[at];
        let cell = match (literal.strip_prefix('\'').and_then(|l| l.strip_suffix('\'')), column.kind) {
            (Some(text), Kind::Text { .. }) => {
                let text = text.replace("''", "'");
                // The service's front end takes these for parts of a path, encoded or not (learn.microsoft.com, "Use an alternate
                // key to reference a record").
                if text.contains(['/', '<', '>', '*', '%', '&', ':', '\\', '?', '+']) {
                    return Err(Refusal::request("Bad Request - Error in query syntax."));
                }
                row::text_cell(&text)
            }
            (Some(_), _) | (None, Kind::Text { .. }) => {
                return Err(Refusal::request("Bad Request - Error in query syntax."));
            }
            (None, Kind::Lookup) => row::reference_cell(row::parse_guid(literal).ok_or_else(not_a_key)?, 0),
            (None, Kind::PrimaryKey) => return row::parse_guid(literal).map(RowKey::Id).ok_or_else(not_a_key),
            (None, Kind::DateTime { .. } | Kind::DateOnly) => raw_cell(table, at, &format!("\"{literal}\""))?,
            (None, _) => raw_cell(table, at, literal)?,
        };
        cells.push((at, cell));
    }
    let mut named: Vec<usize> = cells.iter().map(|(at, _)| *at).collect();
    named.sort_unstable();
    let same = |columns: &[usize]| {
        let mut own = columns.to_vec();
        own.sort_unstable();
        own == named
    };
    let key = table.keys.iter().position(|key| same(&key.columns)).ok_or_else(not_a_key)?;
    Ok(RowKey::Alternate { key, cells, text: text.to_owned() })
}

fn raw_cell(table: &Table, at: usize, json: &str) -> Result<Vec<u8>, Refusal> {
    let syntax = || Refusal::request("Bad Request - Error in query syntax.");
    let raw = RawValue::from_string(json.to_owned()).map_err(|_| syntax())?;
    value::cell(table, &table.columns[at], &raw)
}

fn outside_quotes(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            '\'' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

impl RowKey {
    /// The row, if there is one.
    pub(super) fn find(&self, table: &Table, rows: &Rows) -> Option<u128> {
        match self {
            Self::Id(id) => rows.by_id.contains_key(id).then_some(*id),
            Self::Alternate { key, cells, .. } => {
                let mut all: Vec<&[u8]> = table.columns.iter().map(|c| c.default.as_slice()).collect();
                for (at, cell) in cells {
                    all[*at] = cell;
                }
                rows.find(*key, &Rows::key_bytes(table, *key, &all)?)
            }
        }
    }

    /// The refusal when there is none.
    pub(super) fn missing(&self, table: &Table) -> Refusal {
        match self {
            Self::Id(id) => Refusal::no_such_row(&table.name, *id),
            Self::Alternate { .. } => refusal(
                404,
                "0x80060891",
                format!("A record with the specified key values does not exist in {} entity", table.name),
            ),
        }
    }

    /// As it stands in a URL.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Id(id) => row::guid(*id),
            Self::Alternate { text, .. } => utf8_percent_encode(text, IN_KEY).to_string(),
        }
    }
}
