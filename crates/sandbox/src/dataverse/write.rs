//! Creates, updates, upserts, deletes (learn.microsoft.com, "Perform conditional operations using the Web API", "Upsert a table row").

use http::HeaderMap;
use serde_json::value::RawValue;

use super::body::{self, Body};
use super::error::{Refusal, refusal};
use super::path::RowKey;
use super::query::{Options, Prefer};
use super::read::{Answer, Reader, etag, version_mismatch};
use super::row;
use super::schema::{Kind, Table};
use super::store::{Changes, Rows};

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

impl Reader<'_> {
    /// `POST {set}`.
    pub(super) fn create(
        &self,
        table: &Table,
        query: &str,
        headers: &HeaderMap,
        bytes: &[u8],
    ) -> Result<Answer, Refusal> {
        let parsed = body::parse(self.store, table, bytes)?;
        let id = parsed.id.unwrap_or_else(|| uuid::Uuid::new_v4().as_u128());
        let mut rows = self.store.write(table);
        self.insert(table, &mut rows, id, parsed.changes)?;
        self.written(table, rows, id, &RowKey::Id(id), true, query, headers)
    }

    fn insert(&self, table: &Table, rows: &mut Rows, id: u128, mut changes: Changes) -> Result<(), Refusal> {
        changes.retain(|(at, _)| table.columns[*at].create);
        body::settle_status(table, None, &mut changes)?;
        self.store.insert(rows, table, id, changes, self.now)
    }

    fn update(&self, table: &Table, rows: &mut Rows, id: u128, mut changes: Changes) -> Result<(), Refusal> {
        changes.retain(|(at, _)| table.columns[*at].update);
        if let Some(row) = rows.by_id.get(&id) {
            let mut cells = Vec::new();
            row.spread(&table.columns, &mut cells);
            body::settle_status(table, Some(&cells), &mut changes)?;
        }
        self.store.update(rows, table, id, changes, self.now)
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
                self.written(table, rows, id, key, false, query, headers)
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
                self.written(table, rows, id, key, true, query, headers)
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the answer depends on all of these, and nothing else does")]
    fn written(
        &self,
        table: &Table,
        rows: std::sync::RwLockWriteGuard<'_, Rows>,
        id: u128,
        key: &RowKey,
        created: bool,
        query: &str,
        headers: &HeaderMap,
    ) -> Result<Answer, Refusal> {
        let prefer = Prefer::parse(headers);
        let entity_id = format!("{}{}({})", self.base, table.set, key.shown());
        if !prefer.representation {
            return Ok(Answer { status: 204, headers: vec![("odata-entityid", entity_id)], ..Answer::default() });
        }
        drop(rows);
        let select = Options::parse(query)?.select(table)?;
        let rows = self.store.read(table);
        let mut answer = self.entity(table, &rows, id, select.as_deref(), &prefer)?;
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
    pub(super) fn delete(&self, table: &Table, key: &RowKey, headers: &HeaderMap) -> Result<Answer, Refusal> {
        let mut rows = self.store.write(table);
        let id = key.find(table, &rows).ok_or_else(|| key.missing(table))?;
        if let Condition::Version(wanted) = Condition::of(headers)
            && rows.by_id.get(&id).is_some_and(|row| etag(row) != wanted)
        {
            return Err(version_mismatch());
        }
        self.store.delete(&mut rows, table, id);
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
        let at = table.by_wire(property).ok_or_else(|| Refusal::no_such_segment(property))?;
        let column = &table.columns[at];
        if !column.update || column.kind == Kind::Lookup {
            return Err(Refusal::request(format!("The property '{property}' cannot be set alone.")));
        }
        let cell = match bytes {
            None => b"null".to_vec(),
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
            None => (at, Vec::new()),
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

    /// One row as given, for the control interface: columns that are not named fall back to their defaults.
    pub(super) fn put_row(
        &self,
        table: &Table,
        id: u128,
        row_values: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<(), Refusal> {
        let mut changes: Changes =
            table.columns.iter().enumerate().skip(1).map(|(at, c)| (at, c.default.clone())).collect();
        for (name, given) in row_values {
            let at = table.by_wire(name).ok_or_else(|| Refusal::no_such_column(&table.name, name))?;
            let column = &table.columns[at];
            let cell = match column.kind {
                Kind::PrimaryKey | Kind::Version => continue,
                Kind::Lookup => match given.as_str().and_then(row::parse_guid) {
                    Some(id) => row::reference_cell(id, 0),
                    None => Vec::new(),
                },
                _ => {
                    let raw = RawValue::from_string(given.to_string()).map_err(|_| Refusal::request("Not JSON."))?;
                    super::value::cell(table, column, &raw)?
                }
            };
            changes.push((at, cell));
        }
        let mut rows = self.store.write(table);
        if rows.by_id.contains_key(&id) {
            let kept = |at: usize| matches!(table.columns[at].name.as_str(), "createdon");
            changes.retain(|(at, cell)| !kept(*at) || cell != b"null");
            self.store.update(&mut rows, table, id, changes, self.now)
        } else {
            self.store.insert(&mut rows, table, id, changes, self.now)
        }
    }
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
