//! Creates, updates, upserts, deletes (learn.microsoft.com, "Perform conditional operations using the Web API", "Upsert a table row").

use std::sync::RwLockWriteGuard;

use http::HeaderMap;
use serde_json::value::RawValue;

use super::body::{self, Body};
use super::error::{Refusal, refusal};
use super::path::RowKey;
use super::query::{Options, Prefer};
use super::read::{Answer, Reader, etag, version_mismatch};
use super::row;
use super::schema::{Column, Kind, Place, Table, Target};
use super::store::{Changes, Rows, Stamp};

/// `If-Match` and `If-None-Match` of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    None,
    /// `If-Match: *`: never create.
    Exists,
    /// `If-None-Match: *`: never update.
    Absent,
    /// `If-Match: W/"v"`.
    Version(String),
}

impl Condition {
    fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
        match (text("if-match"), text("if-none-match")) {
            (Some("*"), _) => Self::Exists,
            (Some(version), _) => Self::Version(version.to_owned()),
            (None, Some("*")) => Self::Absent,
            _ => Self::None,
        }
    }
}

/// What the answer to a write is to be. Read before anything is written: a request that is refused leaves no trace.
struct Wish {
    select: Option<Vec<usize>>,
    prefer: Prefer,
}

impl Wish {
    fn of(table: &Table, query: &str, headers: &HeaderMap) -> Result<Self, Refusal> {
        let options = Options::parse(query)?;
        options.only_for_one()?;
        Ok(Self { select: options.select(table)?, prefer: Prefer::parse(headers) })
    }
}

impl Reader<'_> {
    /// `POST {set}`.
    pub(super) fn create(
        &self,
        table: &Table,
        query: &str,
        headers: &HeaderMap,
        bytes: &[u8],
    ) -> Result<Answer, Refusal> {
        let wish = Wish::of(table, query, headers)?;
        let parsed = body::parse(self.store, table, bytes)?;
        let id = parsed.id.unwrap_or_else(|| uuid::Uuid::new_v4().as_u128());
        let mut rows = self.store.write(table);
        self.insert(table, &mut rows, id, parsed.changes)?;
        self.written(table, rows, (id, &RowKey::Id(id)), true, &wish)
    }

    pub(super) fn insert(&self, table: &Table, rows: &mut Rows, id: u128, mut changes: Changes) -> Result<(), Refusal> {
        changes.retain(|(at, _)| table.columns[*at].create);
        body::settle_status(table, None, &mut changes)?;
        self.store.insert(rows, table, id, changes, self.now.into())
    }

    pub(super) fn update(&self, table: &Table, rows: &mut Rows, id: u128, changes: Changes) -> Result<(), Refusal> {
        self.update_by(table, rows, id, changes, self.now.into())
    }

    fn update_by(
        &self,
        table: &Table,
        rows: &mut Rows,
        id: u128,
        mut changes: Changes,
        stamp: Stamp,
    ) -> Result<(), Refusal> {
        changes.retain(|(at, _)| table.columns[*at].update);
        if let Some(row) = rows.by_id.get(&id) {
            let mut cells = Vec::new();
            row.spread(&table.columns, &mut cells);
            if self.switches.inactive_rows_are_read_only {
                inactive(table, &cells, &changes)?;
            }
            body::settle_status(table, Some(&cells), &mut changes)?;
        }
        self.store.update(rows, table, id, changes, stamp)
    }

    /// `PATCH {set}({key})`: update, or create where nothing forbids it.
    pub(super) fn patch(
        &self,
        table: &Table,
        key: &RowKey,
        query: &str,
        headers: &HeaderMap,
        bytes: &[u8],
    ) -> Result<Answer, Refusal> {
        let wish = Wish::of(table, query, headers)?;
        let parsed = body::parse(self.store, table, bytes)?;
        let condition = Condition::of(headers);
        let mut rows = self.store.write(table);
        match key.find(table, &rows) {
            Some(id) => {
                match &condition {
                    Condition::Absent => {
                        let code = if self.switches.empty_precondition_code { "" } else { "0x80040237" };
                        return Err(refusal(412, code, "A record with matching key values already exists."));
                    }
                    Condition::Version(wanted) if rows.by_id.get(&id).is_some_and(|row| etag(row) != *wanted) => {
                        return Err(version_mismatch());
                    }
                    _ => {}
                }
                let mut changes = parsed.changes;
                // A key cannot be changed by an upsert through itself.
                if let RowKey::Alternate { cells, .. } = key {
                    changes.retain(|(at, _)| !cells.iter().any(|(part, _)| part == at));
                }
                self.update(table, &mut rows, id, changes)?;
                self.written(table, rows, (id, key), false, &wish)
            }
            None => {
                if matches!(condition, Condition::Exists | Condition::Version(_)) {
                    return Err(key.missing(table));
                }
                let Body { id: own, changes: given } = parsed;
                let (id, mut changes) = match key {
                    RowKey::Id(id) => (*id, Changes::new()),
                    RowKey::Alternate { cells, .. } => {
                        (own.unwrap_or_else(|| uuid::Uuid::new_v4().as_u128()), cells.clone())
                    }
                };
                // What the body says comes later and wins over the key in the URL.
                changes.extend(given);
                self.insert(table, &mut rows, id, changes)?;
                self.written(table, rows, (id, key), true, &wish)
            }
        }
    }

    /// The answer to a write that was done, made under the lock that it was done under: what it shows is what was written.
    fn written(
        &self,
        table: &Table,
        rows: RwLockWriteGuard<'_, Rows>,
        (id, key): (u128, &RowKey),
        created: bool,
        wish: &Wish,
    ) -> Result<Answer, Refusal> {
        let entity_id = format!("{}{}({})", self.base, table.set, key.shown());
        if !wish.prefer.representation {
            return Ok(Answer { status: 204, headers: vec![("odata-entityid", entity_id)], ..Answer::default() });
        }
        let row = rows.by_id.get(&id).cloned().ok_or_else(|| Refusal::no_such_row(&table.name, id))?;
        drop(rows);
        let mut answer = self.entity(table, id, &row, wish.select.as_deref(), &wish.prefer);
        answer.headers.push(("preference-applied", "return=representation".to_owned()));
        if created {
            answer.status = 201;
            if self.switches.entity_id_on_created {
                answer.headers.push(("odata-entityid", entity_id));
            }
        }
        Ok(answer)
    }

    /// `DELETE {set}({key})`.
    pub(super) fn delete(
        &self,
        table: &Table,
        key: &RowKey,
        query: &str,
        headers: &HeaderMap,
    ) -> Result<Answer, Refusal> {
        Options::parse(query)?.only_for_one()?;
        let mut rows = self.store.write(table);
        let id = key.find(table, &rows).ok_or_else(|| key.missing(table))?;
        if let Condition::Version(wanted) = Condition::of(headers)
            && rows.by_id.get(&id).is_some_and(|row| etag(row) != wanted)
        {
            return Err(version_mismatch());
        }
        self.store.delete(&mut rows, table, id, self.now.into());
        Ok(Answer { status: 204, ..Answer::default() })
    }

    /// `PUT {set}({key})/{property}` with `{"value":...}`, and `DELETE` of the same, which clears it.
    pub(super) fn set_property(
        &self,
        table: &Table,
        key: &RowKey,
        property: &str,
        bytes: Option<&[u8]>,
    ) -> Result<Answer, Refusal> {
        let at = table.by_wire(property).ok_or_else(|| self.no_such_navigation(table, property))?;
        let column = &table.columns[at];
        if !column.update || column.kind == Kind::Lookup {
            return Err(Refusal::request(format!("The property '{property}' cannot be set alone.")));
        }
        let cell = match bytes {
            None => super::value::cleared(column)?,
            Some(bytes) => super::value::cell(table, column, &member(table, bytes, "value")?)?,
        };
        self.change_one(table, key, (at, cell))
    }

    /// `PUT {set}({key})/{navigation}/$ref` with `{"@odata.id":...}`, and `DELETE` of the same.
    pub(super) fn set_reference(
        &self,
        table: &Table,
        key: &RowKey,
        navigation: &str,
        bytes: Option<&[u8]>,
    ) -> Result<Answer, Refusal> {
        let (at, _) = table.navigation(navigation).ok_or_else(|| Refusal::no_such_segment(navigation))?;
        let change = match bytes {
            None => (at, super::value::cleared(&table.columns[at])?),
            Some(bytes) => body::bind(self.store, table, navigation, &member(table, bytes, "@odata.id")?)?,
        };
        self.change_one(table, key, change)
    }

    fn change_one(&self, table: &Table, key: &RowKey, change: (usize, Vec<u8>)) -> Result<Answer, Refusal> {
        let mut rows = self.store.write(table);
        let id = key.find(table, &rows).ok_or_else(|| key.missing(table))?;
        self.update(table, &mut rows, id, vec![change])?;
        Ok(Answer { status: 204, ..Answer::default() })
    }

    /// Some columns of one row, for the control interface.
    pub(super) fn patch_row(&self, table: &Table, id: u128, bytes: &[u8]) -> Result<(), Refusal> {
        let changes = body::parse(self.store, table, bytes)?.changes;
        let mut rows = self.store.write(table);
        self.update_by(table, &mut rows, id, changes, Stamp::from(self.now).by_control())
    }

    /// One row as given, for the control interface: columns that are not named fall back to their defaults.
    pub(super) fn put_row(
        &self,
        table: &Table,
        id: u128,
        row_values: &serde_json::Map<String, serde_json::Value>,
        version: Option<i64>,
    ) -> Result<(), Refusal> {
        let mut given = Changes::new();
        for (name, value) in row_values {
            let at = table.by_wire(name).ok_or_else(|| Refusal::no_such_column(&table.name, name))?;
            let column = &table.columns[at];
            // What follows from other columns, and from the write itself, is not stored.
            if column.kind == Kind::Version || column.place != Place::Stored {
                continue;
            }
            let raw = RawValue::from_string(value.to_string()).map_err(|_| Refusal::request("Not JSON."))?;
            let cell = match column.kind {
                Kind::PrimaryKey => {
                    if super::value::cell(table, column, &raw)? != row::text_cell(&row::guid(id)) {
                        return Err(Refusal::request(format!("{name} is not the id in the path.")));
                    }
                    continue;
                }
                Kind::Lookup if value.is_null() => super::value::cleared(column)?,
                Kind::Lookup => {
                    let target = value.as_str().and_then(row::parse_guid);
                    let target = target.ok_or_else(|| Refusal::request(format!("The value of {name} is no GUID.")))?;
                    row::reference_cell(target, self.place_of(column, target))
                }
                _ => super::value::cell(table, column, &raw)?,
            };
            given.push((at, cell));
        }
        settle_given(table, &mut given)?;
        let mut changes: Changes =
            table.columns.iter().enumerate().skip(1).map(|(at, c)| (at, c.default.clone())).collect();
        let stamp = Stamp::as_given(self.now).at(version);
        let mut rows = self.store.write(table);
        if version.is_some_and(|version| !self.store.take_reserved(&rows, id, version)) {
            return Err(Refusal::request("The version is none of those set aside, or the row has a newer one."));
        }
        if rows.by_id.contains_key(&id) {
            // A row that was there keeps the day it was made, unless another is given.
            changes.retain(|(at, _)| table.columns[*at].name != "createdon");
            changes.extend(given);
            self.store.update(&mut rows, table, id, changes, stamp)
        } else {
            changes.extend(given);
            self.store.insert(&mut rows, table, id, changes, stamp)
        }
    }

    /// The target that an id belongs to; the first where no table has it.
    fn place_of(&self, column: &Column, id: u128) -> usize {
        let has = |target: &Target| {
            let table = self.store.schema.by_name(&target.table);
            table.is_some_and(|table| self.store.read(table).by_id.contains_key(&id))
        };
        column.targets.iter().position(has).unwrap_or(0)
    }
}

/// State and status of a row as given: one follows from the other.
fn settle_given(table: &Table, given: &mut Changes) -> Result<(), Refusal> {
    let (Some(state), Some(status)) = (table.column("statecode"), table.column("statuscode")) else { return Ok(()) };
    if !given.iter().any(|(at, _)| *at == state)
        && let Some((_, cell)) = given.iter().find(|(at, _)| *at == status)
    {
        let value: Option<i32> = std::str::from_utf8(cell).ok().and_then(|text| text.parse().ok());
        let choice = table.columns[status].choices.iter().find(|choice| Some(choice.value) == value);
        if let Some(follows) = choice.and_then(|choice| choice.state) {
            given.push((state, follows.to_string().into_bytes()));
        }
    }
    body::settle_status(table, None, given)
}

/// Refuses changes of an inactive row that do not activate it.
fn inactive(table: &Table, cells: &[&[u8]], changes: &Changes) -> Result<(), Refusal> {
    let Some(state) = table.column("statecode") else { return Ok(()) };
    let is_inactive = cells.get(state).is_some_and(|cell| *cell == b"1");
    if is_inactive && !changes.iter().any(|(at, _)| *at == state) && !changes.is_empty() {
        return Err(refusal(400, "0x80040203", format!("The {} is inactive and cannot be changed.", table.name)));
    }
    Ok(())
}

/// One member of a small body.
fn member(table: &Table, bytes: &[u8], name: &str) -> Result<Box<RawValue>, Refusal> {
    let members: std::collections::BTreeMap<String, Box<RawValue>> =
        serde_json::from_slice(bytes).map_err(|_| Refusal::payload(&table.set, "Invalid JSON."))?;
    members
        .into_iter()
        .find(|(n, _)| n == name)
        .map(|(_, raw)| raw)
        .ok_or_else(|| Refusal::payload(&table.set, &format!("'{name}' is missing.")))
}
