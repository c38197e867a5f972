//! A seeded generator of what happens at a source. The tables remember all of it, and so know the right end by themselves.

use std::sync::Arc;

use record::Key;
use uuid::Uuid;

use crate::faults::{Fault, Faults};
use crate::parties::{Chance, Content, Kind, Table, Target};

/// Makes changes.
#[derive(Debug)]
pub struct Workload {
    tables: Vec<Arc<Table>>,
    target: Arc<Target>,
    faults: Faults,
    chance: Chance,
    /// Keys of each table.
    keys: u64,
    number: u64,
}

/// What may happen to a row, with its weight.
const CHANGES: [(Change, u64); 10] = [
    (Change::Put, 50),
    (Change::Delete, 12),
    (Change::Touch, 6),
    (Change::Revert, 6),
    (Change::Kind(Kind::Filtered), 6),
    (Change::Kind(Kind::Kept), 3),
    (Change::Kind(Kind::Unmappable), 4),
    (Change::Kind(Kind::Panics), 2),
    (Change::Kind(Kind::Refused), 4),
    (Change::Late, 4),
];

#[derive(Debug, Clone, Copy)]
enum Change {
    Put,
    Delete,
    /// A new version of the same value.
    Touch,
    /// A value that it had before.
    Revert,
    Kind(Kind),
    /// A change in a transaction that ends later.
    Late,
}

impl Workload {
    /// A generator over so many keys of each table.
    pub fn new(tables: &[Arc<Table>], target: &Arc<Target>, faults: &Faults, chance: Chance, keys: u64) -> Self {
        Self {
            tables: tables.to_vec(),
            target: target.clone(),
            faults: faults.clone(),
            chance,
            keys: keys.max(1),
            number: 0,
        }
    }

    /// The n-th key of a table. Parents have text keys, some of them odd; of the others every second is a GUID.
    pub fn key(&self, table: usize, nth: u64) -> Key {
        match (table, nth % 4) {
            (0, 1) => {
                self.faults.note(Fault::OddKeys);
                Key::text(format!("p'{nth}/%27 ..&#+"))
            }
            (0, _) => Key::text(format!("p{nth}")),
            (_, 0 | 2) => Key::Guid(Uuid::from_u128(u128::from(nth) << 64 | 0x4000_8000_0000_0000_0000)),
            (_, _) => Key::text(format!("c{nth}")),
        }
    }

    /// A new value.
    pub fn fresh(&mut self, kind: Kind, parent: Option<Key>) -> Content {
        self.number += 1;
        if let Some(parent) = &parent {
            self.target.child_of(self.number, parent);
        }
        Content { number: self.number, kind, parent }
    }

    /// Rows that are there before anything else happens.
    pub fn fill(&mut self, rows: u64) {
        for _ in 0..rows {
            let table = usize::try_from(self.chance.below(self.tables.len() as u64)).unwrap_or(0);
            self.change(table, Change::Put);
        }
    }

    /// One change, now and then several of one row at once.
    pub fn step(&mut self) {
        let table = usize::try_from(self.chance.below(self.tables.len() as u64)).unwrap_or(0);
        let total: u64 = CHANGES.iter().map(|(_, weight)| weight).sum();
        let mut draw = self.chance.below(total);
        let mut change = Change::Put;
        for (candidate, weight) in CHANGES {
            if draw < weight {
                change = candidate;
                break;
            }
            draw -= weight;
        }
        if self.tables[table].paging() {
            self.faults.note(Fault::ChangeWhilePaging);
        }
        self.change(table, change);
    }

    /// Parents that children name are there and written in the end, and stay what they are.
    fn is_parent(&self, table: usize, key: &Key) -> bool {
        let named = |children: &Arc<Table>| {
            children.keys().iter().any(|child| {
                children
                    .history(child)
                    .iter()
                    .any(|past| past.content.as_ref().and_then(|content| content.parent.as_ref()) == Some(key))
            })
        };
        table == 0 && self.tables.iter().skip(1).any(named)
    }

    fn change(&mut self, table: usize, change: Change) {
        let nth = self.chance.below(self.keys);
        let key = self.key(table, nth);
        let rows = self.tables[table].clone();
        if rows.held(&key) {
            return;
        }
        let present = rows.present(&key).and_then(|(_, content)| content);
        let ever = !rows.history(&key).is_empty();
        let parent = self.is_parent(table, &key);
        let content = match change {
            Change::Delete if parent => return,
            Change::Delete => {
                if present.is_some() {
                    let version = rows.set(&key, None);
                    self.target.note(format_args!("source: {table}/{} is deleted, v{version}", key.to_text()));
                }
                return;
            }
            Change::Touch => match present {
                Some(content) => content,
                None => return,
            },
            Change::Revert => {
                let past: Vec<Content> = rows.history(&key).into_iter().filter_map(|past| past.content).collect();
                if past.is_empty() || present.is_none() {
                    return;
                }
                let old = self.chance.pick(&past).clone();
                if parent && old.kind != Kind::Plain {
                    return;
                }
                old
            }
            Change::Kind(_) if parent => return,
            Change::Kind(kind) => {
                match kind {
                    Kind::Refused | Kind::Unmappable => self.faults.note(Fault::Poison),
                    Kind::Panics => self.faults.note(Fault::MappingPanics),
                    _ => {}
                }
                let parent = present.and_then(|content| content.parent);
                self.fresh(kind, parent)
            }
            Change::Put | Change::Late => {
                if present.is_none() && ever {
                    self.faults.note(Fault::Restored);
                }
                let parent = self.parent(table);
                self.fresh(Kind::Plain, parent)
            }
        };
        self.target.note(format_args!(
            "source: {table}/{} says {} {:?}, parent {:?}, v{}",
            key.to_text(),
            content.number,
            content.kind,
            content.parent.as_ref().map(Key::to_text),
            rows.version() + 1
        ));
        if matches!(change, Change::Late) && self.faults.possible(Fault::LateCommit) && !parent {
            self.faults.note(Fault::LateCommit);
            rows.begin(&key, Some(content));
        } else {
            rows.set(&key, Some(content));
        }
    }

    /// A parent for a child: one that is there, or one that comes later.
    fn parent(&mut self, table: usize) -> Option<Key> {
        if table == 0 || self.chance.hits(0.3) {
            return None;
        }
        let plain = |(key, _, content): (Key, i64, Content)| (content.kind == Kind::Plain).then_some(key);
        let there: Vec<Key> = self.tables[0].rows_after(None, usize::MAX).into_iter().filter_map(plain).collect();
        if !there.is_empty() && !self.faults.fires(Fault::LateParent) {
            return Some(self.chance.pick(&there).clone());
        }
        let nth = self.chance.below(self.keys);
        let key = self.key(0, nth);
        // A row that is something else already would have to be written against its will.
        (self.faults.possible(Fault::LateParent) && self.tables[0].history(&key).is_empty()).then_some(key)
    }

    /// What was begun is brought to its end: transactions end, and every parent that a child names is there.
    pub fn bring_to_an_end(&mut self) {
        self.tables.iter().for_each(|table| table.commit());
        let named: Vec<Key> = self
            .tables
            .iter()
            .skip(1)
            .flat_map(|children| children.rows_after(None, usize::MAX))
            .filter_map(|(_, _, content)| content.parent)
            .collect();
        for key in named {
            let there = self.tables[0].present(&key).and_then(|(_, content)| content);
            if there.is_none_or(|content| content.kind != Kind::Plain) {
                let content = self.fresh(Kind::Plain, None);
                self.tables[0].set(&key, Some(content));
            }
        }
    }

    /// Somebody mends a record: it gets a new value that can be written.
    pub fn mend(&mut self, table: usize, key: &Key) {
        let parent =
            self.tables[table].present(key).and_then(|(_, content)| content).and_then(|content| content.parent);
        let content = self.fresh(Kind::Plain, parent);
        self.tables[table].set(key, Some(content));
    }
}
