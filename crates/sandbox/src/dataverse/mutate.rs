//! What the control interface does to rows: seeded changes, rows as given, rows as lines.

use std::sync::Arc;

use super::page::Writer;
use super::query::Prefer;
use super::row::{self, guid, is_null, parse_guid};
use super::schema::{Kind, Table};
use super::seed::{Seeder, TRIES, Targets, toggle};
use super::service::DataverseService;
use super::store::{Changes, Stamp};
use crate::prng::Prng;

/// Seeded changes of one table.
#[derive(Debug, Clone, Default)]
pub struct DataverseMutationPlan {
    /// Logical name of the table.
    pub table: String,
    /// New rows.
    pub create: usize,
    /// Changed rows.
    pub update: usize,
    /// Deleted rows.
    pub delete: usize,
    /// Columns of which each update changes at least one; empty means the default ones.
    pub fields: Vec<String>,
    /// Seed.
    pub seed: u64,
}

/// What was done, by id; the lists have no id in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataverseMutation {
    /// New rows.
    pub created: Vec<String>,
    /// Rows with a changed value.
    pub updated: Vec<String>,
    /// Rows that are gone.
    pub deleted: Vec<String>,
}

const DEFAULT_FIELDS: [&str; 7] =
    ["firstname", "lastname", "emailaddress1", "telephone1", "birthdate", "gendercode", "address1_city"];

/// Lines of this many rows are made under one lock.
const LINES_AT_ONCE: usize = 1000;

impl DataverseService {
    /// Logical names of the tables.
    pub fn tables(&self) -> Vec<&str> {
        self.store.schema.tables.iter().map(|t| t.name.as_str()).collect()
    }

    fn table(&self, name: &str) -> Result<&Table, String> {
        self.store.schema.by_name(name).ok_or_else(|| format!("no table {name}"))
    }

    /// Creates, updates and deletes so many rows.
    ///
    /// # Errors
    /// An unknown table or column, or fewer rows than are to be changed.
    pub fn mutate(&self, plan: &DataverseMutationPlan) -> Result<DataverseMutation, String> {
        let _among = self.store.among();
        let table = self.table(&plan.table)?;
        let fields = self.fields(table, &plan.fields)?;
        let now = self.shared.clock.now_seconds();
        let mut seeder = Seeder::new(plan.seed, &format!("mutate {}", plan.table), Targets::of(&self.store, table));
        let chosen =
            chosen(&self.store.read(table).by_id.keys().copied().collect::<Vec<_>>(), plan, &mut seeder.draws)?;
        let (updates, deletes) = chosen.split_at(plan.update);
        // All updates are worked out before anything is written: a plan that cannot be carried out leaves everything as it was.
        let mut planned = Vec::with_capacity(updates.len());
        for id in updates {
            let Some(row) = self.store.read(table).by_id.get(id).cloned() else { continue };
            let mut cells = Vec::new();
            row.spread(&table.columns, &mut cells);
            planned.push((*id, changes(table, &fields, &cells, plan.fields.is_empty(), &mut seeder)?));
        }
        let mut done = DataverseMutation::default();
        for number in 0..plan.create {
            let mut rows = self.store.write(table);
            let mut id = seeder.draws.guid();
            while rows.used(id) {
                id = seeder.draws.guid();
            }
            let number = rows.by_id.len() as u64 + number as u64;
            seeder.insert(&self.store, &mut rows, table, (id, number), now)?;
            done.created.push(guid(id));
        }
        let stamp = Stamp::from(now).by_control();
        for (id, planned) in planned {
            let mut rows = self.store.write(table);
            let Some(row) = rows.by_id.get(&id).cloned() else { continue };
            let mut cells = Vec::new();
            row.spread(&table.columns, &mut cells);
            // A request may have written the same value since, or another row may have the key.
            let mut next = Some(planned).filter(|planned| differs(table, planned, &cells));
            let mut outcome = Ok(());
            for _ in 0..TRIES {
                let changes = match next.take() {
                    Some(planned) => planned,
                    None => changes(table, &fields, &cells, plan.fields.is_empty(), &mut seeder)?,
                };
                outcome = self.store.update(&mut rows, table, id, changes, stamp).map_err(|refusal| refusal.message);
                if outcome.is_ok() {
                    break;
                }
            }
            outcome?;
            done.updated.push(guid(id));
        }
        for id in deletes {
            self.store.delete(&mut self.store.write(table), table, *id, stamp);
            done.deleted.push(guid(*id));
        }
        Ok(done)
    }

    fn fields(&self, table: &Table, wanted: &[String]) -> Result<Vec<usize>, String> {
        let writable = |at: &usize| table.columns[*at].update && table.columns[*at].kind != Kind::PrimaryKey;
        if wanted.is_empty() {
            let mut found: Vec<usize> = DEFAULT_FIELDS.iter().filter_map(|name| table.column(name)).collect();
            if found.len() < DEFAULT_FIELDS.len() {
                // Another table than contact: its name.
                found = vec![table.primary_name];
            }
            return Ok(found);
        }
        let of = |name: &String| {
            let at = table.by_wire(name).or_else(|| table.column(name)).filter(writable);
            at.ok_or_else(|| format!("table {} has no column {name} that can be changed", table.name))
        };
        wanted.iter().map(of).collect()
    }

    /// The ids of a table's rows in their order, each with the text of one column: empty where there is none.
    ///
    /// # Errors
    /// An unknown table or column.
    pub(crate) fn ids_with(&self, table: &str, column: &str) -> Result<Vec<(u128, String)>, String> {
        let table = self.table(table)?;
        let at = table.column(column).ok_or_else(|| format!("table {} has no column {column}", table.name))?;
        let rows = self.store.read(table);
        let text = |row: &row::Row| row::text(row.get(&table.columns, at)).unwrap_or_default();
        Ok(rows.by_id.iter().map(|(id, row)| (*id, text(row))).collect())
    }

    /// Sets the next row versions aside: rows that are put or deleted with them later become visible out of order, as those of
    /// a long transaction do.
    pub fn reserve_versions(&self, count: u32) -> Vec<i64> {
        self.store.reserve(count)
    }

    /// One row as given: wire names and values; what is not named has its default. The row gets the next version, or one that
    /// was set aside.
    ///
    /// # Errors
    /// An unknown table or column, a value that does not fit, a version that is not set aside or older than the row's own.
    pub fn put_record(
        &self,
        table: &str,
        id: &str,
        row: &serde_json::Map<String, serde_json::Value>,
        version: Option<i64>,
    ) -> Result<(), String> {
        let table = self.table(table)?;
        let id = parse_guid(id).ok_or_else(|| "the id is no GUID".to_owned())?;
        let _among = self.store.among();
        self.reader("", None).put_row(table, id, row, version).map_err(|refusal| refusal.message)
    }

    /// Changes some columns of a row, as a request would.
    ///
    /// # Errors
    /// An unknown table or column, no such row, a value that does not fit.
    pub fn patch_record(
        &self,
        table: &str,
        id: &str,
        fields: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<(), String> {
        let table = self.table(table)?;
        let id = parse_guid(id).ok_or_else(|| "the id is no GUID".to_owned())?;
        let _among = self.store.among();
        let body = serde_json::to_vec(fields).map_err(|error| error.to_string())?;
        self.reader("", None).patch_row(table, id, &body).map_err(|refusal| refusal.message)
    }

    /// Deletes one row, under the next version or one that was set aside.
    ///
    /// # Errors
    /// An unknown table, no such row, a version as for [`DataverseService::put_record`].
    pub fn delete_record(&self, table: &str, id: &str, version: Option<i64>) -> Result<(), String> {
        let table = self.table(table)?;
        let id = parse_guid(id).ok_or_else(|| "the id is no GUID".to_owned())?;
        let _among = self.store.among();
        let mut rows = self.store.write(table);
        if version.is_some_and(|version| !self.store.take_reserved(&rows, id, version)) {
            return Err("the version is none of those set aside, or the row has a newer one".to_owned());
        }
        let stamp = Stamp::from(self.shared.clock.now_seconds()).at(version).by_control();
        let deleted = self.store.delete(&mut rows, table, id, stamp);
        if deleted { Ok(()) } else { Err(format!("{} has no such row", table.name)) }
    }

    /// Counts as a change of a table's definition, though nothing in it differs: delta tokens from before have expired.
    ///
    /// # Errors
    /// An unknown table.
    pub fn change_definition(&self, table: &str) -> Result<(), String> {
        self.store.redefine(self.table(table)?);
        Ok(())
    }

    /// Every live row by id, as lines of JSON, in blocks.
    pub fn records(self: &Arc<Self>, table: &str) -> Option<DataverseLines> {
        let index = self.store.schema.by_name(table)?.index;
        Some(DataverseLines { service: self.clone(), index, after: None, done: false })
    }
}

/// Blocks of lines; each block is made under one lock.
#[derive(Debug)]
pub struct DataverseLines {
    service: Arc<DataverseService>,
    index: usize,
    after: Option<u128>,
    done: bool,
}

impl Iterator for DataverseLines {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.done {
            return None;
        }
        let store = &self.service.store;
        let _among = store.among();
        let table = store.schema.tables.get(self.index)?;
        let mut writer = Writer::new(store, table, None, &Prefer::default());
        writer.etag = false;
        let rows = store.read(table);
        let from = self.after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let (mut block, mut count) = (Vec::new(), 0);
        let mut cells = Vec::new();
        for (id, row) in rows.by_id.range((from, std::ops::Bound::Unbounded)).take(LINES_AT_ONCE) {
            row.spread(&table.columns, &mut cells);
            writer.write(*id, row, &cells, "", &mut block);
            block.push(b'\n');
            self.after = Some(*id);
            count += 1;
        }
        self.done = count < LINES_AT_ONCE;
        Some(escaped(&block))
    }
}

/// Characters above U+007F as `\uXXXX`. They occur within JSON texts only.
fn escaped(json: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(json);
    let mut out = Vec::with_capacity(json.len());
    let mut units = [0_u16; 2];
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c as u8);
        } else {
            for unit in c.encode_utf16(&mut units) {
                out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
            }
        }
    }
    out
}

/// Rows to change and to delete, none twice: the start of a shuffle.
fn chosen(ids: &[u128], plan: &DataverseMutationPlan, draws: &mut Prng) -> Result<Vec<u128>, String> {
    let wanted = plan.update.saturating_add(plan.delete);
    if wanted > ids.len() {
        return Err(format!("{wanted} rows are to be changed, and {} has {}", plan.table, ids.len()));
    }
    let mut ids = ids.to_vec();
    for at in 0..wanted {
        let other = at + usize::try_from(draws.below((ids.len() - at) as u64)).unwrap_or(0);
        ids.swap(at, other);
    }
    ids.truncate(wanted);
    Ok(ids)
}

/// New values for one to three of the fields, at least one of them different from what is there.
fn changes(
    table: &Table,
    fields: &[usize],
    cells: &[&[u8]],
    defaults: bool,
    seeder: &mut Seeder,
) -> Result<Changes, String> {
    let mut changes = Changes::new();
    if defaults
        && seeder.draws.one_in(10)
        && let Some(state) = table.column("statecode")
    {
        toggle(table, cells.get(state).is_some_and(|c| *c == b"0"), &mut changes);
    }
    // The toggle comes on top: one of the fields changes with it as without it.
    let toggled = changes.len();
    let several = 1 + seeder.draws.below(3);
    // A field may have one possible value only, so try until one changed; the bound ends it where none can.
    for attempt in 0..200_u64 {
        if attempt >= several && changes.len() > toggled {
            break;
        }
        let Some(at) = seeder.draws.pick(fields).copied() else { break };
        let column = &table.columns[at];
        if changes.iter().any(|(own, _)| *own == at) {
            continue;
        }
        if matches!(column.kind, Kind::State | Kind::Status) {
            let state = table.column("statecode").and_then(|at| cells.get(at)).is_some_and(|c| *c == b"0");
            toggle(table, state, &mut changes);
            continue;
        }
        let nullable = column.required == "None" || column.required == "Recommended";
        let clear = nullable && column.kind != Kind::Boolean && seeder.draws.one_in(8);
        let cell = match (clear, column.kind) {
            (true, Kind::Lookup) => Vec::new(),
            (true, _) => b"null".to_vec(),
            (false, _) => seeder.cell(table, column, attempt),
        };
        // A lookup that nothing can be found for comes as null, which a required one cannot be.
        let refused = !nullable && is_null(column.kind, &cell);
        if !refused && !same(column.kind, cells, at, &cell) {
            changes.push((at, cell));
        }
    }
    if changes.len() == toggled {
        return Err(format!("no field of {} could be given another value", table.name));
    }
    Ok(changes)
}

fn same(kind: Kind, cells: &[&[u8]], at: usize, cell: &[u8]) -> bool {
    cells.get(at).is_some_and(|old| *old == cell || (is_null(kind, old) && is_null(kind, cell)))
}

/// Whether changes still change a field, state and status apart.
fn differs(table: &Table, changes: &Changes, cells: &[&[u8]]) -> bool {
    let only_state = changes.iter().all(|(at, _)| matches!(table.columns[*at].kind, Kind::State | Kind::Status));
    changes.iter().any(|(at, cell)| {
        let kind = table.columns[*at].kind;
        (only_state || !matches!(kind, Kind::State | Kind::Status)) && !same(kind, cells, *at, cell)
    })
}
