//! The rows of all tables, their versions, and what is remembered of deleted ones.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::error::{Refusal, refusal};
use super::page::Writer;
use super::query::Prefer;
use super::row::{self, Row};
use super::schema::{Kind, Schema, Table};
use super::transaction::Before;
use crate::history::{By, History};
use crate::service::Side;

/// What is left of a deleted row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tombstone {
    pub(super) id: u128,
    /// When the row was deleted.
    pub(super) at: i64,
}

/// When a write happens, and whether it may say otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    now: i64,
    /// The changes may carry `createdon` and `modifiedon`: a row as given, from the control interface.
    given: bool,
    /// A version that was set aside for this write; the next one otherwise.
    version: Option<i64>,
    by: By,
}

impl From<i64> for Stamp {
    fn from(now: i64) -> Self {
        Self { now, given: false, version: None, by: By::Request }
    }
}

impl Stamp {
    pub(super) fn as_given(now: i64) -> Self {
        Self { now, given: true, version: None, by: By::Control }
    }

    /// By the control interface.
    pub(super) fn by_control(self) -> Self {
        Self { by: By::Control, ..self }
    }

    /// With a version that was set aside.
    pub(super) fn at(self, version: Option<i64>) -> Self {
        Self { version, ..self }
    }
}

/// What of a store is a matter of switches.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Memory {
    /// The deletion of a row stays on record although the row came back.
    pub(super) recreated: bool,
    /// Which columns a write changed is remembered.
    pub(super) columns: bool,
}

/// Columns as bits; no table has more.
pub(super) type Mask = [u64; 4];

/// Sets a column's bit.
pub(super) fn mark(mask: &mut Mask, at: usize) {
    if let Some(word) = mask.get_mut(at / 64) {
        *word |= 1 << (at % 64);
    }
}

/// One table's rows. Ids are ordered as their text is.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) by_id: BTreeMap<u128, Row>,
    pub(super) by_version: BTreeMap<i64, u128>,
    pub(super) tombstones: BTreeMap<i64, Tombstone>,
    /// Versions of the tombstones by id.
    pub(super) gone: HashMap<u128, i64>,
    /// Versions at which a row changed, with the columns that did; empty unless asked for.
    pub(super) changed: HashMap<u128, Vec<(i64, Mask)>>,
    /// One index per alternate key.
    pub(super) keys: Vec<HashMap<Vec<u8>, u128>>,
    /// Rows as they were before each write of a transaction; nothing outside of one.
    pub(super) before: Option<Vec<Before>>,
}

/// New cells by column.
pub(super) type Changes = Vec<(usize, Vec<u8>)>;

/// Everything that is stored.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) schema: Schema,
    tables: Vec<RwLock<Rows>>,
    /// The version at which each table's definition changed last.
    defined: Vec<AtomicI64>,
    version: AtomicI64,
    /// Versions that were set aside and not written yet.
    reserved: Mutex<BTreeSet<i64>>,
    memory: Memory,
    history: Arc<History>,
    /// Held by every request, and by a transaction over several tables alone.
    pub(super) gate: RwLock<()>,
}

impl Store {
    pub(super) fn new(schema: Schema, memory: Memory, history: Arc<History>) -> Self {
        let empty = |table: &Table| {
            let keys = table.keys.iter().map(|_| HashMap::new()).collect();
            RwLock::new(Rows { keys, ..Rows::default() })
        };
        Self {
            tables: schema.tables.iter().map(empty).collect(),
            defined: schema.tables.iter().map(|_| AtomicI64::new(0)).collect(),
            schema,
            version: AtomicI64::new(1_000_000),
            reserved: Mutex::default(),
            memory,
            history,
            gate: RwLock::new(()),
        }
    }

    /// One table's rows. Nobody holds the lock of one table while asking for that of another.
    pub(super) fn read(&self, table: &Table) -> RwLockReadGuard<'_, Rows> {
        self.tables[table.index].read().unwrap_or_else(PoisonError::into_inner)
    }

    /// One table's rows to change, under the same rule.
    pub(super) fn write(&self, table: &Table) -> RwLockWriteGuard<'_, Rows> {
        self.tables[table.index].write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The primary name of a row that a lookup leads to. Takes the lock of its table.
    pub(super) fn name_of(&self, table: &str, id: u128) -> Option<String> {
        let table = self.schema.by_name(table)?;
        row::text(self.read(table).by_id.get(&id)?.get(&table.columns, table.primary_name))
    }

    /// The newest version of any row of the organization. Read under a table's lock it bounds what the table shows.
    pub(super) fn version(&self) -> i64 {
        self.version.load(Ordering::SeqCst)
    }

    /// The version at which a table's definition changed last.
    pub(super) fn defined(&self, table: &Table) -> i64 {
        self.defined.get(table.index).map_or(0, |version| version.load(Ordering::SeqCst))
    }

    /// Counts as a change of a table's definition: delta tokens that are older have expired.
    pub(super) fn redefine(&self, table: &Table) {
        // Under the table's lock, as any change of it: no token is made meanwhile.
        let _rows = self.write(table);
        if let Some(version) = self.defined.get(table.index) {
            version.store(self.next_version(), Ordering::SeqCst);
        }
    }

    /// Sets the next versions aside, for writes that become visible after later ones.
    pub(super) fn reserve(&self, count: u32) -> Vec<i64> {
        let versions: Vec<i64> = (0..count).map(|_| self.next_version()).collect();
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner).extend(&versions);
        versions
    }

    /// Takes one version of those that were set aside, for a row whose own version is older. `false`: it is none of them.
    pub(super) fn take_reserved(&self, rows: &Rows, id: u128, version: i64) -> bool {
        let own = rows.by_id.get(&id).map(|row| row.version).or_else(|| rows.gone.get(&id).copied());
        own.is_none_or(|own| own < version)
            && self.reserved.lock().unwrap_or_else(PoisonError::into_inner).remove(&version)
    }

    fn version_of(&self, stamp: Stamp) -> i64 {
        stamp.version.unwrap_or_else(|| self.next_version())
    }

    fn next_version(&self) -> i64 {
        self.version.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// A new row from cells for all columns; columns that are not among `cells` have their defaults.
    pub(super) fn insert(
        &self,
        rows: &mut Rows,
        table: &Table,
        id: u128,
        changes: Changes,
        stamp: Stamp,
    ) -> Result<(), Refusal> {
        if rows.by_id.contains_key(&id) {
            return Err(refusal(412, "0x80040237", "Cannot insert duplicate key."));
        }
        let mut cells: Vec<Vec<u8>> = table.columns.iter().map(|c| c.default.clone()).collect();
        let own = |name: &str| stamp.given.then(|| last(table, &changes, name)).flatten();
        let (created, modified) = (own("createdon"), own("modifiedon"));
        for (at, cell) in changes {
            if let Some(place) = cells.get_mut(at) {
                *place = cell;
            }
        }
        let moment = row::text_cell(&crate::clock::iso_seconds(stamp.now));
        let overridden = table.column("overriddencreatedon").map(|at| cells[at].clone()).filter(|c| c != b"null");
        fill(table, &mut cells, "createdon", created.or(overridden).unwrap_or_else(|| moment.clone()));
        fill(table, &mut cells, "modifiedon", modified.unwrap_or(moment));
        compute(table, &mut cells);
        rows.check_keys(table, &cells, id)?;
        rows.keep(id);
        rows.index_keys(table, &cells, id);
        let version = self.version_of(stamp);
        rows.by_id.insert(id, Row::build(&table.columns, &cells, version));
        rows.by_version.insert(version, id);
        // A row that came back is a live row: its tombstone would make a reader delete it.
        if !self.memory.recreated
            && let Some(gone) = rows.gone.remove(&id)
        {
            rows.tombstones.remove(&gone);
        }
        if self.memory.columns {
            rows.changed.entry(id).or_default().push((version, [u64::MAX; 4]));
        }
        self.note(rows, table, id, stamp);
        Ok(())
    }

    /// Changes an existing row.
    pub(super) fn update(
        &self,
        rows: &mut Rows,
        table: &Table,
        id: u128,
        changes: Changes,
        stamp: Stamp,
    ) -> Result<(), Refusal> {
        let Some(old) = rows.by_id.get(&id).cloned() else {
            return Err(Refusal::no_such_row(&table.name, id));
        };
        let mut before = Vec::new();
        old.spread(&table.columns, &mut before);
        let mut cells: Vec<Vec<u8>> = before.iter().map(|c| c.to_vec()).collect();
        let modified = stamp.given.then(|| last(table, &changes, "modifiedon")).flatten();
        for (at, cell) in changes {
            if let Some(place) = cells.get_mut(at) {
                *place = cell;
            }
        }
        let moment = || row::text_cell(&crate::clock::iso_seconds(stamp.now));
        fill(table, &mut cells, "modifiedon", modified.unwrap_or_else(moment));
        compute(table, &mut cells);
        rows.check_keys(table, &cells, id)?;
        rows.keep(id);
        rows.forget_keys(table, &before, id);
        rows.index_keys(table, &cells, id);
        let version = self.version_of(stamp);
        if self.memory.columns {
            let mut mask = Mask::default();
            for (at, (old, new)) in before.iter().zip(&cells).enumerate() {
                if *old != new.as_slice() || table.columns[at].kind == Kind::Version {
                    mark(&mut mask, at);
                }
            }
            rows.changed.entry(id).or_default().push((version, mask));
        }
        rows.by_version.remove(&old.version);
        rows.by_version.insert(version, id);
        rows.by_id.insert(id, Row::build(&table.columns, &cells, version));
        self.note(rows, table, id, stamp);
        Ok(())
    }

    /// Removes a row and leaves a tombstone.
    pub(super) fn delete(&self, rows: &mut Rows, table: &Table, id: u128, stamp: Stamp) -> bool {
        if !rows.by_id.contains_key(&id) {
            return false;
        }
        rows.keep(id);
        let Some(old) = rows.by_id.remove(&id) else { return false };
        let mut cells = Vec::new();
        old.spread(&table.columns, &mut cells);
        rows.forget_keys(table, &cells, id);
        rows.by_version.remove(&old.version);
        let version = self.version_of(stamp);
        rows.tombstones.insert(version, Tombstone { id, at: stamp.now });
        // One deletion a row is on record, the latest.
        if let Some(earlier) = rows.gone.insert(id, version) {
            rows.tombstones.remove(&earlier);
        }
        rows.changed.remove(&id);
        self.note(rows, table, id, stamp);
        true
    }

    /// Notes what became of a row. What a transaction writes is not noted: it may be taken back.
    fn note(&self, rows: &Rows, table: &Table, id: u128, stamp: Stamp) {
        if !self.history.is_kept() || rows.before.is_some() {
            return;
        }
        let shown = rows.by_id.get(&id).map(|row| {
            let (mut cells, mut out) = (Vec::new(), Vec::new());
            row.spread(&table.columns, &mut cells);
            Writer::new(self, table, None, &Prefer::default()).write(id, row, &cells, "", &mut out);
            out
        });
        self.history.note(Side::Dataverse, &table.name, &row::guid(id), stamp.by, shown.as_deref());
    }
}

/// What changes say last of a column; nothing when that is null.
fn last(table: &Table, changes: &Changes, name: &str) -> Option<Vec<u8>> {
    let at = table.column(name)?;
    changes.iter().rev().find(|(own, _)| *own == at).map(|(_, cell)| cell.clone()).filter(|cell| cell != b"null")
}

fn fill(table: &Table, cells: &mut [Vec<u8>], name: &str, cell: Vec<u8>) {
    if let Some(place) = table.column(name).and_then(|at| cells.get_mut(at)) {
        *place = cell;
    }
}

/// Columns that follow from others.
fn compute(table: &Table, cells: &mut [Vec<u8>]) {
    let (Some(full), Some(first), Some(last)) =
        (table.column("fullname"), table.column("firstname"), table.column("lastname"))
    else {
        return;
    };
    let parts: Vec<String> = [first, last].iter().filter_map(|at| row::text(&cells[*at])).collect();
    cells[full] = row::text_cell(&parts.join(" "));
}

impl Rows {
    /// The key of a row in an alternate key's index; `None` when a part is null, for nulls are not unique.
    pub(super) fn key_bytes<T: AsRef<[u8]>>(table: &Table, key: usize, cells: &[T]) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for at in &table.keys.get(key)?.columns {
            let cell = cells.get(*at)?.as_ref();
            let kind = table.columns[*at].kind;
            if row::is_null(kind, cell) {
                return None;
            }
            match (kind, row::text(cell)) {
                (Kind::Text { .. }, Some(text)) => bytes.extend_from_slice(text.to_lowercase().as_bytes()),
                _ => bytes.extend_from_slice(cell),
            }
            bytes.push(0x1f);
        }
        Some(bytes)
    }

    /// Whether one of these columns changed after a version. True where nothing is remembered.
    pub(super) fn changed_since(&self, id: u128, version: i64, columns: &Mask) -> bool {
        let touches = |mask: &Mask| mask.iter().zip(columns).any(|(a, b)| a & b != 0);
        self.changed.get(&id).is_none_or(|all| all.iter().any(|(at, mask)| *at > version && touches(mask)))
    }

    /// Whether an id was ever used.
    pub(super) fn used(&self, id: u128) -> bool {
        self.by_id.contains_key(&id) || self.gone.contains_key(&id)
    }

    pub(super) fn find(&self, key: usize, bytes: &[u8]) -> Option<u128> {
        self.keys.get(key)?.get(bytes).copied()
    }

    fn check_keys(&self, table: &Table, cells: &[Vec<u8>], id: u128) -> Result<(), Refusal> {
        for (at, key) in table.keys.iter().enumerate() {
            let taken = Self::key_bytes(table, at, cells).and_then(|bytes| self.find(at, &bytes));
            if taken.is_some_and(|other| other != id) {
                let columns: Vec<&str> = key.columns.iter().map(|c| table.columns[*c].name.as_str()).collect();
                let columns = columns.join(",");
                let message = format!(
                    "Entity Key {} violated. A record with the same value for {columns} already exists. A duplicate record cannot be created. Select one or more unique values and try again.",
                    key.name
                );
                return Err(refusal(412, "0x80060892", message));
            }
        }
        Ok(())
    }

    pub(super) fn index_keys<T: AsRef<[u8]>>(&mut self, table: &Table, cells: &[T], id: u128) {
        for at in 0..table.keys.len() {
            if let Some(bytes) = Self::key_bytes(table, at, cells) {
                self.keys[at].insert(bytes, id);
            }
        }
    }

    pub(super) fn forget_keys(&mut self, table: &Table, cells: &[&[u8]], id: u128) {
        for at in 0..table.keys.len() {
            if let Some(bytes) = Self::key_bytes(table, at, cells)
                && self.keys[at].get(&bytes) == Some(&id)
            {
                self.keys[at].remove(&bytes);
            }
        }
    }
}
