//! All or nothing: what calls on many rows and change sets wrote is taken back when one of them is refused.

use std::sync::{PoisonError, RwLockReadGuard, RwLockWriteGuard};

use super::row::Row;
use super::schema::Table;
use super::store::{Mask, Rows, Store, Tombstone};

/// A row as it was before a write.
#[derive(Debug)]
pub(super) struct Before {
    id: u128,
    row: Option<Row>,
    /// The version of its tombstone, and the tombstone where it is on record.
    gone: Option<(i64, Option<Tombstone>)>,
    changed: Option<Vec<(i64, Mask)>>,
}

impl Rows {
    /// Keeps the row as it is now, if there is a transaction to take back.
    pub(super) fn keep(&mut self, id: u128) {
        if self.before.is_none() {
            return;
        }
        let before = Before {
            id,
            row: self.by_id.get(&id).cloned(),
            gone: self.gone.get(&id).map(|version| (*version, self.tombstones.get(version).copied())),
            changed: self.changed.get(&id).cloned(),
        };
        self.before.get_or_insert_default().push(before);
    }

    /// From here on writes can be taken back.
    pub(super) fn begin(&mut self) {
        self.before = Some(Vec::new());
    }

    /// What was written stays.
    pub(super) fn commit(&mut self) {
        self.before = None;
    }

    /// Everything is as it was at [`Rows::begin`], the versions that were given away excepted.
    pub(super) fn roll_back(&mut self, table: &Table) {
        for before in self.before.take().unwrap_or_default().into_iter().rev() {
            self.put_back(table, before);
        }
    }

    fn put_back(&mut self, table: &Table, before: Before) {
        let Before { id, row, gone, changed } = before;
        if let Some(now) = self.by_id.remove(&id) {
            let mut cells = Vec::new();
            now.spread(&table.columns, &mut cells);
            self.forget_keys(table, &cells, id);
            self.by_version.remove(&now.version);
        }
        if let Some(row) = row {
            let mut cells = Vec::new();
            row.spread(&table.columns, &mut cells);
            self.index_keys(table, &cells, id);
            self.by_version.insert(row.version, id);
            self.by_id.insert(id, row);
        }
        if let Some(version) = self.gone.remove(&id) {
            self.tombstones.remove(&version);
        }
        if let Some((version, tombstone)) = gone {
            self.gone.insert(id, version);
            if let Some(tombstone) = tombstone {
                self.tombstones.insert(version, tombstone);
            }
        }
        match changed {
            Some(changed) => self.changed.insert(id, changed),
            None => self.changed.remove(&id),
        };
    }
}

/// A request among others; held while it is carried out.
pub(super) type Among<'a> = RwLockReadGuard<'a, ()>;

/// A transaction over several tables: nobody else reads or writes. Dropped without [`Alone::commit`] it is taken back.
pub(super) struct Alone<'a> {
    store: &'a Store,
    committed: bool,
    _gate: RwLockWriteGuard<'a, ()>,
}

impl Store {
    /// Waits for the end of a transaction over several tables. Not to be asked for twice by one request.
    pub(super) fn among(&self) -> Among<'_> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a transaction over all tables, once every other request is done.
    pub(super) fn alone(&self) -> Alone<'_> {
        let gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        for table in &self.schema.tables {
            self.write(table).begin();
        }
        Alone { store: self, committed: false, _gate: gate }
    }
}

impl Alone<'_> {
    /// What was written stays.
    pub(super) fn commit(mut self) {
        for table in &self.store.schema.tables {
            self.store.write(table).commit();
        }
        self.committed = true;
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        if !self.committed {
            for table in &self.store.schema.tables {
                self.store.write(table).roll_back(table);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dataverse::DataverseScenario;
    use crate::dataverse::schema::Schema;
    use crate::dataverse::store::{Changes, Memory};

    fn shown(rows: &Rows) -> String {
        // Maps without an order are left out of the text and compared by what they lead to.
        let mut gone: Vec<_> = rows.gone.iter().collect();
        gone.sort_unstable();
        let mut changed: Vec<_> = rows.changed.iter().collect();
        changed.sort_unstable();
        let mut keys: Vec<_> = rows.keys.iter().flatten().collect();
        keys.sort_unstable();
        format!("{:?} {:?} {:?} {gone:?} {changed:?} {keys:?}", rows.by_id, rows.by_version, rows.tombstones)
    }

    #[test]
    fn every_kind_of_write_is_taken_back() {
        for (recreated, columns) in [(false, true), (true, false)] {
            let schema = Schema::build(&DataverseScenario::default()).unwrap();
            let store = Store::new(schema, Memory { recreated, columns }, Arc::default());
            let table = store.schema.by_name("account").unwrap();
            let number = table.column("accountnumber").unwrap();
            let with = |text: &str| -> Changes { vec![(number, format!("\"{text}\"").into_bytes())] };
            let insert = |rows: &mut Rows, id: u128, text: &str| store.insert(rows, table, id, with(text), 0.into());
            let mut rows = store.write(table);
            for id in 1..6 {
                insert(&mut rows, id, &format!("A{id}")).unwrap();
            }
            assert!(store.delete(&mut rows, table, 4, 0.into()));
            assert!(store.delete(&mut rows, table, 5, 0.into()));
            let before = shown(&rows);
            rows.begin();
            store.update(&mut rows, table, 1, with("B1"), 0.into()).unwrap();
            assert!(store.delete(&mut rows, table, 1, 0.into()));
            insert(&mut rows, 1, "C1").unwrap();
            store.update(&mut rows, table, 2, with("A1"), 0.into()).unwrap();
            assert!(store.delete(&mut rows, table, 3, 0.into()));
            insert(&mut rows, 4, "A3").unwrap();
            insert(&mut rows, 9, "A9").unwrap();
            assert!(insert(&mut rows, 10, "C1").is_err());
            assert_ne!(shown(&rows), before);
            rows.roll_back(table);
            assert_eq!(shown(&rows), before);
            // A transaction that went through leaves nothing to take back.
            rows.begin();
            insert(&mut rows, 11, "A11").unwrap();
            rows.commit();
            let after = shown(&rows);
            rows.roll_back(table);
            assert_eq!(shown(&rows), after);
        }
    }

    #[test]
    fn a_transaction_over_tables_that_is_dropped_leaves_nothing() {
        let store =
            Store::new(Schema::build(&DataverseScenario::default()).unwrap(), Memory::default(), Arc::default());
        let (contact, account) = (store.schema.by_name("contact").unwrap(), store.schema.by_name("account").unwrap());
        for commits in [false, true] {
            let alone = store.alone();
            store.insert(&mut store.write(contact), contact, 1, Changes::new(), 0.into()).unwrap();
            store.insert(&mut store.write(account), account, 2, Changes::new(), 0.into()).unwrap();
            if commits {
                alone.commit();
            } else {
                drop(alone);
            }
            assert_eq!(store.read(contact).by_id.contains_key(&1), commits);
            assert_eq!(store.read(account).by_id.contains_key(&2), commits);
        }
    }
}
