//! `CreateMultiple`, `UpdateMultiple`, `UpsertMultiple`: many rows of one table, all or none (learn.microsoft.com, "Use bulk
//! operation messages").

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::body::{self, Body};
use super::error::{Refusal, refusal};
use super::path::{RowKey, decode, resource};
use super::read::{Answer, Reader};
use super::row;
use super::schema::Table;
use super::store::{Changes, Rows};

/// What every name of a bound action begins with.
pub(super) const NAMESPACE: &str = "Microsoft.Dynamics.CRM.";

/// A message for many rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    Create,
    Update,
    Upsert,
}

impl Message {
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "CreateMultiple" => Self::Create,
            "UpdateMultiple" => Self::Update,
            "UpsertMultiple" => Self::Upsert,
            _ => return None,
        })
    }
}

/// One of the rows.
struct Target {
    /// How the row is named; `None` leaves its id to the service.
    key: Option<RowKey>,
    body: Body,
    /// Columns of an alternate key that the body carries too.
    repeated: bool,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "Targets", borrow)]
    targets: Option<Vec<&'a RawValue>>,
}

impl Reader<'_> {
    /// `POST {set}/Microsoft.Dynamics.CRM.{message}`.
    pub(super) fn multiple(&self, table: &Table, name: &str, bytes: &[u8]) -> Result<Answer, Refusal> {
        let message = match name {
            // It is there for elastic tables alone.
            "DeleteMultiple" => return Err(refusal(501, "0x8006088a", "DeleteMultiple has not yet been implemented.")),
            _ => Message::of(name)
                .ok_or_else(|| Refusal::not_imitated(&format!("the bound function or action {NAMESPACE}{name}")))?,
        };
        if self.switches.tables_without_multiple.contains(&table.name) {
            return Err(Refusal::no_such_segment(&format!("{NAMESPACE}{name}")));
        }
        let unreadable = || Refusal::payload(&table.set, "Invalid JSON. The body of the request is not a JSON object.");
        let wire: Wire<'_> = serde_json::from_slice(bytes).map_err(|_| unreadable())?;
        let given = wire.targets.filter(|targets| !targets.is_empty());
        let given = given.ok_or_else(|| refusal(400, "0x80040203", "The parameter Targets is missing or empty."))?;
        // Everything is read before the table is locked: lookups lead to other tables.
        let targets: Vec<Target> = given.into_iter().map(|raw| self.target(table, raw)).collect::<Result<_, _>>()?;
        let mut rows = self.store.write(table);
        rows.begin();
        match self.write_all(table, &mut rows, message, targets) {
            Ok(ids) => {
                rows.commit();
                Ok(self.all_written(message, &ids))
            }
            Err(refused) => {
                rows.roll_back(table);
                Err(refused)
            }
        }
    }

    fn all_written(&self, message: Message, ids: &[u128]) -> Answer {
        if message != Message::Create {
            return Answer { status: if self.switches.multiple_answers_200 { 200 } else { 204 }, ..Answer::default() };
        }
        let ids: Vec<String> = ids.iter().map(|id| row::guid(*id)).collect();
        let context = format!("{}$metadata#{NAMESPACE}CreateMultipleResponse", self.base);
        let body = json!({"@odata.context": context, "Ids": ids}).to_string().into_bytes();
        Answer { status: 200, body, ..Answer::default() }
    }

    fn target(&self, table: &Table, raw: &RawValue) -> Result<Target, Refusal> {
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(raw.get())
            .map_err(|_| Refusal::payload(&table.set, "Invalid JSON. A target is not a JSON object."))?;
        let text = |name: &str| -> Result<Option<String>, Refusal> {
            let Some(raw) = members.get(name) else { return Ok(None) };
            let text = serde_json::from_str(raw.get());
            text.map(Some).map_err(|_| Refusal::payload(&table.set, &format!("The value of '{name}' must be a text.")))
        };
        let kind = text("@odata.type")?.ok_or_else(|| {
            Refusal::payload(
                &table.set,
                "A type name was not found in a target: each needs the annotation 'odata.type', since the declared type is abstract.",
            )
        })?;
        if kind.trim_start_matches('#') != table.type_name() {
            return Err(Refusal::payload(&table.set, &format!("The type '{kind}' is not that of the entity set.")));
        }
        let mut body = body::parse(self.store, table, raw.get().as_bytes())?;
        let key = match text("@odata.id")? {
            Some(url) => {
                let last = url
                    .rsplit_once("/api/data/")
                    .map_or(url.as_str(), |(_, rest)| rest.split_once('/').map_or("", |(_, rest)| rest));
                let found = resource(&self.store.schema, &decode(last.trim_start_matches('/'))?)?;
                let fits = found.table.index == table.index;
                Some(found.key.filter(|_| fits).ok_or_else(|| {
                    Refusal::payload(&table.set, "The annotation 'odata.id' names no row of the entity set.")
                })?)
            }
            None => body.id.map(RowKey::Id),
        };
        let parts: &[(usize, Vec<u8>)] = match &key {
            Some(RowKey::Alternate { cells, .. }) => cells,
            _ => &[],
        };
        let is_part = |at: &usize| parts.iter().any(|(part, _)| part == at);
        let repeated = body.changes.iter().any(|(at, _)| is_part(at));
        body.changes.retain(|(at, _)| !is_part(at));
        Ok(Target { key, body, repeated })
    }

    fn write_all(
        &self,
        table: &Table,
        rows: &mut Rows,
        message: Message,
        targets: Vec<Target>,
    ) -> Result<Vec<u128>, Refusal> {
        let (mut ids, mut seen) = (Vec::with_capacity(targets.len()), BTreeSet::new());
        for Target { key, body, repeated } in targets {
            let found = key.as_ref().and_then(|key| key.find(table, rows));
            let id = match (message, key, found) {
                (Message::Create, _, _) => {
                    let id = body.id.unwrap_or_else(|| uuid::Uuid::new_v4().as_u128());
                    self.insert(table, rows, id, body.changes)?;
                    id
                }
                (Message::Update, None, _) => {
                    return Err(refusal(400, "0x80040203", "The id of a target must be specified for an update."));
                }
                (Message::Update, Some(key), None) => return Err(missing(table, &key)),
                (Message::Update | Message::Upsert, _, Some(id)) => {
                    if self.switches.repeated_targets_are_refused && !seen.insert(id) {
                        return Err(refusal(412, "0x80040237", "Cannot insert duplicate key."));
                    }
                    self.update(table, rows, id, body.changes)?;
                    id
                }
                (Message::Upsert, key, None) => {
                    if repeated {
                        return Err(Refusal::payload(
                            &table.set,
                            "A column of the alternate key is in the body of a target as well.",
                        ));
                    }
                    let (id, mut changes) = match key {
                        Some(RowKey::Id(id)) => (id, Changes::new()),
                        Some(RowKey::Alternate { cells, .. }) => (new_id(&body), cells),
                        None => (new_id(&body), Changes::new()),
                    };
                    changes.extend(body.changes);
                    self.insert(table, rows, id, changes)?;
                    seen.insert(id);
                    id
                }
            };
            ids.push(id);
        }
        Ok(ids)
    }
}

fn new_id(body: &Body) -> u128 {
    body.id.unwrap_or_else(|| uuid::Uuid::new_v4().as_u128())
}

/// The refusal of an update of many rows, which speaks of rows in the plural.
fn missing(table: &Table, key: &RowKey) -> Refusal {
    match key {
        RowKey::Id(id) => {
            refusal(404, "0x80040217", format!("{} With Ids = {} Do Not Exist", table.schema_name, row::guid(*id)))
        }
        RowKey::Alternate { .. } => key.missing(table),
    }
}

/// `GET sdkmessagefilters`, as far as it tells whether a table takes a message.
pub(super) fn message_filters(reader: &Reader<'_>, filter: Option<&str>) -> Result<Answer, Refusal> {
    let unserved = || Refusal::not_imitated("sdkmessagefilters without the filter by message and table");
    let (mut name, mut table) = (None, None);
    for part in filter.ok_or_else(unserved)?.split(" and ") {
        let (column, value) = part.trim().split_once(" eq ").ok_or_else(unserved)?;
        let value = value.trim().strip_prefix('\'').and_then(|value| value.strip_suffix('\'')).ok_or_else(unserved)?;
        match column.trim() {
            "sdkmessageid/name" => name = Some(value),
            "primaryobjecttypecode" => table = Some(value),
            _ => return Err(unserved()),
        }
    }
    let (Some(name), Some(table)) = (name, table) else { return Err(unserved()) };
    let known = reader.store.schema.by_name(table);
    let open = |known: &&Table| !reader.switches.tables_without_multiple.contains(&known.name);
    let takes = Message::of(name).is_some() && known.filter(open).is_some();
    let id = super::definitions::metadata_id(&format!("filter {name} {table}"));
    let value = if takes { json!([{"@odata.etag": "W/\"1000\"", "sdkmessagefilterid": id}]) } else { json!([]) };
    let context = format!("{}$metadata#sdkmessagefilters(sdkmessagefilterid)", reader.base);
    let body = json!({"@odata.context": context, "value": value}).to_string().into_bytes();
    Ok(Answer { status: 200, body, ..Answer::default() })
}
