//! One request carried out: path, key, body, table, answer. Knows nothing of HTTP connections, tokens or counters.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde_json::{Map, Value};

use super::metadata;
use super::primary_key::{self, Decoded};
use super::query::{self, Condition, Listing, Parameters};
use super::refusal::{Refusal, Reply};
use super::render::{Family, View};
use super::route::{self, Located, Misplaced, Place, Tail};
use super::schema::{Collection, Filter, Resource, Schema, Slot};
use super::table::{Row, Tables};
use super::write::{self, Created};
use crate::history::{By, History};
use crate::injection::PendingFault;
use crate::service::Side;

/// The resources and their rows.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) schema: Schema,
    tables: RwLock<Tables>,
    history: Arc<History>,
}

/// A request, as far as it concerns the engine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) method: &'a str,
    pub(super) query: &'a str,
    pub(super) body: &'a [u8],
    /// `http://host/acme/campaign/`
    pub(super) base: &'a str,
    /// Milliseconds since 1970.
    pub(super) now: i64,
    /// A fault that the answer is to show.
    pub(super) fault: Option<&'a PendingFault>,
}

impl Call<'_> {
    /// Whether a look-up does not see a row that is there, since a fault says so.
    fn misses(&self, row: &Row) -> bool {
        self.fault.is_some_and(|fault| fault.misses(self.now.saturating_sub(row.created)))
    }
}

impl Engine {
    /// Empty tables for a compiled scenario.
    pub(super) fn new(schema: Schema, history: Arc<History>) -> Self {
        let tables = RwLock::new(Tables::new(&schema));
        Self { schema, tables, history }
    }

    /// The tables to read. A writer that panicked left whole rows only, so a poisoned lock is taken as it is.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tables to change.
    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out a request whose path was read.
    pub(super) fn answer(&self, call: &Call<'_>, located: Result<Located<'_>, Misplaced>) -> Reply {
        let outcome = match located {
            Err(Misplaced::Uri) => return Reply::oops(500),
            Err(Misplaced::Path) => Err(Refusal::path()),
            Err(Misplaced::Stray) => Err(Refusal::stray()),
            Ok(located) => self.place(call, &located),
        };
        outcome.unwrap_or_else(|refusal| refusal.reply(&self.schema.switches))
    }

    /// Removes a row.
    pub(super) fn remove(&self, tables: &mut Tables, resource: &Resource, at: u32, by: By) {
        let id = self.history.is_kept().then(|| key_text(tables, resource, at)).flatten();
        tables.of_mut(resource).remove(&resource.columns, at);
        if let Some(id) = id {
            self.history.note(Side::Campaign, &resource.name, &id, by, None);
        }
    }

    /// Notes what became of a row that has a key.
    pub(super) fn note(&self, tables: &Tables, resource: &Resource, at: u32, by: By) {
        if !self.history.is_kept() {
            return;
        }
        let (Some(id), Some(row)) = (key_text(tables, resource, at), tables.of(resource).row(at)) else { return };
        let family = Family::of(resource);
        let place = place(family, resource);
        let call = Call { method: "", query: "", body: b"", base: "", now: row.modified, fault: None };
        let mut out = Vec::with_capacity(2560);
        self.view(&call, tables, family, resource, &place, &place).record(&mut out, at, row, false);
        self.history.note(Side::Campaign, &resource.name, &id, by, Some(&out));
    }

    fn place(&self, call: &Call<'_>, located: &Located<'_>) -> Result<Reply, Refusal> {
        let family = located.family;
        match (&located.place, call.method) {
            (Place::Discovery, "GET") => Ok(json(&metadata::discovery(&self.schema, family, call.base))),
            (Place::Metadata(resource), "GET") => {
                Ok(json(&metadata::resource(&self.schema, resource, family, call.base)))
            }
            (Place::Filters(resource), "GET") => Ok(json(&metadata::filters(resource, family))),
            (Place::Collection { resource, filters, tail }, "GET") => self.list(call, family, resource, filters, *tail),
            (Place::Collection { resource, filters, tail: Tail::Rows }, "POST") if filters.is_empty() => {
                self.create(call, family, resource, &place(family, resource), None)
            }
            (Place::Collection { resource, filters, tail: Tail::Rows }, "PATCH")
                if filters.is_empty() && self.schema.switches.collection_upsert =>
            {
                self.update_by_body(call, family, resource)
            }
            (Place::Item { resource, key, field }, "GET") => self.item(call, family, resource, key, *field),
            (Place::Item { resource, key, field: None }, "PATCH") => {
                let tables = self.write();
                let at = find(&self.schema, &tables, resource, key)?;
                self.update(call, family, resource, tables, at, &place(family, resource))
            }
            (Place::Item { key, field: None, .. }, "DELETE")
                if !self.schema.switches.delete_by_key && !key.starts_with('@') =>
            {
                Err(Refusal::method())
            }
            (Place::Item { resource, key, field: None }, "DELETE") => {
                let mut tables = self.write();
                let at = find(&self.schema, &tables, resource, key)?;
                self.remove(&mut tables, resource, at, By::Request);
                Ok(Reply::empty(self.schema.switches.delete_status))
            }
            // What public clients run into when they put something behind the collection's address.
            (Place::Item { .. }, "POST") => Err(Refusal::path()),
            (Place::Nested { resource, key, collection, item, tail }, _) => {
                self.nested(call, family, resource, key, collection, item.as_deref(), *tail)
            }
            _ => Err(Refusal::method()),
        }
    }

    fn list(
        &self,
        call: &Call<'_>,
        family: Family,
        resource: &Resource,
        filters: &[&Filter],
        tail: Tail<'_>,
    ) -> Result<Reply, Refusal> {
        let parameters = Parameters::read(call.query);
        let conditions = query::conditions(&self.schema, resource, filters, &parameters)?;
        let names: Vec<&str> = filters.iter().map(|f| f.name.as_str()).collect();
        let place = place(family, resource);
        let names = names.join("/");
        let tables = self.read();
        let listing = Listing {
            view: self.view(call, &tables, family, resource, &place, &format!("{place}/{names}")),
            conditions,
            parameters: &parameters,
            place: place.clone(),
            filters: names.clone(),
            fault: call.fault.filter(|_| !filters.is_empty()),
        };
        let mut out = Vec::with_capacity(4096);
        let rows = listing.write(&mut out, tail)?;
        Ok(Reply::json(200, out).holding(rows))
    }

    fn item(
        &self,
        call: &Call<'_>,
        family: Family,
        resource: &Resource,
        key: &str,
        field: Option<&Slot>,
    ) -> Result<Reply, Refusal> {
        let tables = self.read();
        let at = find(&self.schema, &tables, resource, key)?;
        let row = row(&tables, resource, at)?;
        if call.misses(row) {
            return Err(Refusal::not_found(resource, key, true));
        }
        let place = place(family, resource);
        let view = self.view(call, &tables, family, resource, &place, &place);
        let mut out = Vec::with_capacity(2560);
        match field {
            Some(slot) => view.value(&mut out, slot, at, row, &row.spread(&resource.columns)),
            None => view.record(&mut out, at, row, self.schema.switches.item_href),
        }
        Ok(Reply::json(200, out).holding(1))
    }

    fn create(
        &self,
        call: &Call<'_>,
        family: Family,
        resource: &Resource,
        place: &str,
        parent: Option<(u8, Vec<u8>)>,
    ) -> Result<Reply, Refusal> {
        let body = body(call.body)?;
        let mut tables = self.write();
        let mut changes = write::changes(&self.schema, &tables, resource, family, None, body)?;
        changes.extend(parent);
        let (at, status) = match write::create(&self.schema, &mut tables, resource, changes, call.now)? {
            Created::New(at) => (at, 201),
            Created::Exists(at, changes) => {
                write::update(&mut tables, resource, at, &changes, call.now)?;
                (at, 200)
            }
        };
        self.note(&tables, resource, at, By::Request);
        let row = row(&tables, resource, at)?;
        let mut out = Vec::with_capacity(2560);
        self.view(call, &tables, family, resource, place, place).record(&mut out, at, row, true);
        Ok(Reply::json(status, out))
    }

    /// A PATCH of the collection: the key stands in the body.
    fn update_by_body(&self, call: &Call<'_>, family: Family, resource: &Resource) -> Result<Reply, Refusal> {
        let given = body(call.body)?;
        let column = resource.key.and_then(|(_, column)| resource.columns.get(usize::from(column)));
        let key = match column.and_then(|column| given.get(&column.path)) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => return Err(Refusal::method()),
        };
        let tables = self.write();
        let at = find(&self.schema, &tables, resource, &key)?;
        self.update(call, family, resource, tables, at, &place(family, resource))
    }

    fn update(
        &self,
        call: &Call<'_>,
        family: Family,
        resource: &Resource,
        mut tables: RwLockWriteGuard<'_, Tables>,
        at: u32,
        place: &str,
    ) -> Result<Reply, Refusal> {
        let body = body(call.body)?;
        let switches = &self.schema.switches;
        if body.is_empty() && switches.empty_patch_status == 204 {
            return Ok(Reply::empty(204));
        }
        if !body.is_empty() {
            let changes = write::changes(&self.schema, &tables, resource, family, Some(at), body)?;
            write::update(&mut tables, resource, at, &changes, call.now)?;
            self.note(&tables, resource, at, By::Request);
        }
        let mut out = Vec::with_capacity(320);
        let view = self.view(call, &tables, family, resource, place, place);
        out.extend_from_slice(b"{\"PKey\":\"");
        view.primary_key(&mut out, at);
        out.extend_from_slice(b"\",\"href\":\"");
        view.href(&mut out, at);
        out.extend_from_slice(b"\"}");
        Ok(Reply::json(200, out))
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a nested path, each used once")]
    fn nested(
        &self,
        call: &Call<'_>,
        family: Family,
        resource: &Resource,
        key: &str,
        collection: &Collection,
        item: Option<&str>,
        tail: Tail<'_>,
    ) -> Result<Reply, Refusal> {
        let tables = self.write();
        let parent = find(&self.schema, &tables, resource, key)?;
        let escaped = percent_encoding::utf8_percent_encode(key, query::PLAIN);
        let place = format!("{}/{escaped}/{}", place(family, resource), collection.name);
        let Some((child, link)) = collection.from.and_then(|(from, link)| {
            let child = self.schema.resources.get(from)?;
            Some((child, child.links.get(link)?))
        }) else {
            // Subscriptions are not imitated: nobody has one.
            return match (call.method, item) {
                ("GET", None) => Ok(empty_list(call.base, &place)),
                ("GET" | "PATCH" | "DELETE", Some(item)) => Err(Refusal::not_found(resource, item, true)),
                _ => Err(Refusal::method()),
            };
        };
        let value = row(&tables, resource, parent)?.get(&resource.columns, link.target_column).to_vec();
        let Some(item) = item else {
            return match (call.method, tail) {
                ("GET", _) => {
                    let parameters = Parameters::read(call.query);
                    let listing = Listing {
                        view: self.view(call, &tables, family, child, &place, &place),
                        // A parent without a value to join by has no children; rows without one are nobody's.
                        conditions: vec![match value.is_empty() {
                            true => Condition::Never,
                            false => Condition::Is(link.column, value),
                        }],
                        parameters: &parameters,
                        place: place.clone(),
                        filters: String::new(),
                        fault: None,
                    };
                    let mut out = Vec::new();
                    let rows = listing.write(&mut out, tail)?;
                    Ok(Reply::json(200, out).holding(rows))
                }
                ("POST", Tail::Rows) => {
                    drop(tables);
                    self.create(call, family, child, &place, Some((link.column, value)))
                }
                _ => Err(Refusal::method()),
            };
        };
        let at = find(&self.schema, &tables, child, item)?;
        let found = row(&tables, child, at)?;
        if value.is_empty() || found.get(&child.columns, link.column) != value.as_slice() {
            return Err(Refusal::not_found(child, item, true));
        }
        match call.method {
            "GET" => {
                let mut out = Vec::with_capacity(1024);
                self.view(call, &tables, family, child, &place, &place).record(
                    &mut out,
                    at,
                    found,
                    self.schema.switches.item_href,
                );
                Ok(Reply::json(200, out).holding(1))
            }
            "PATCH" => self.update(call, family, child, tables, at, &place),
            "DELETE" => {
                let mut tables = tables;
                self.remove(&mut tables, child, at, By::Request);
                Ok(Reply::empty(self.schema.switches.delete_status))
            }
            _ => Err(Refusal::method()),
        }
    }

    fn view<'a>(
        &'a self,
        call: &Call<'a>,
        tables: &'a Tables,
        family: Family,
        resource: &'a Resource,
        under: &'a str,
        reached_by: &str,
    ) -> View<'a> {
        View {
            schema: &self.schema,
            tables,
            resource,
            family,
            base: call.base,
            under,
            context: primary_key::context(reached_by),
            now: call.now,
        }
    }
}

/// The row that a key of a path means, if it takes part.
fn find(schema: &Schema, tables: &Tables, resource: &Resource, key: &str) -> Result<u32, Refusal> {
    let at = if key.starts_with('@') {
        let token = key.strip_suffix(".json").unwrap_or(key);
        match primary_key::read(token) {
            Decoded::Row { resource: found, row } if found == resource.index => Some(row),
            Decoded::Row { .. } | Decoded::Unknown => return Err(Refusal::unknown_primary_key(resource, token)),
            Decoded::Gibberish => return Err(Refusal::gibberish(token)),
        }
    } else if resource.is_profile || schema.switches.custom_resource_keys {
        tables.of(resource).by_key(resource, key)
    } else {
        None
    };
    let seen = |at: &u32| tables.of(resource).row(*at).is_some_and(|row| tables.visible(schema, resource, row));
    at.filter(seen).ok_or_else(|| Refusal::not_found(resource, key, true))
}

/// The value of a row's custom key.
fn key_text(tables: &Tables, resource: &Resource, at: u32) -> Option<String> {
    let (_, column) = resource.key?;
    let cell = tables.of(resource).row(at)?.get(&resource.columns, column);
    Some(String::from_utf8_lossy(cell).into_owned())
}

fn row<'t>(tables: &'t Tables, resource: &Resource, at: u32) -> Result<&'t Row, Refusal> {
    tables.of(resource).row(at).ok_or_else(Refusal::stray)
}

fn place(family: Family, resource: &Resource) -> String {
    format!("{}/{}", family.path(), resource.name)
}

fn body(bytes: &[u8]) -> Result<Map<String, Value>, Refusal> {
    serde_json::from_slice(bytes).map_err(|_| Refusal::body())
}

fn json(value: &Value) -> Reply {
    Reply::json(200, value.to_string().into_bytes())
}

fn empty_list(base: &str, place: &str) -> Reply {
    let body = format!(
        r#"{{"content":[],"count":{{"href":"{base}{place}//_count","value":0}},"serverSidePagination":false}}"#
    );
    Reply::json(200, body.into_bytes())
}

/// Reads a path for this engine.
pub(super) fn locate<'e>(engine: &'e Engine, path: &str) -> Result<Located<'e>, Misplaced> {
    route::locate(&engine.schema, path)
}

/// Whether a path asks for a description, though nothing it names is there.
pub(super) fn describes(path: &str) -> bool {
    route::describes(path)
}
