//! Rows in memory, small enough for a million of them: a row is one allocation that holds the cells that differ from their
//! defaults, and a unique key is an index of hashes that is checked against the row itself.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use xxhash_rust::xxh3::xxh3_64;

use super::schema::{Column, Resource, Schema};
use super::value;

/// One row: cells as column number, length and bytes, in the order of the columns.
#[derive(Debug, Clone)]
pub(super) struct Row {
    data: Box<[u8]>,
    /// Milliseconds since 1970.
    pub(super) created: i64,
    /// Milliseconds since 1970.
    pub(super) modified: i64,
}

impl Row {
    /// The cells that differ from their defaults.
    pub(super) fn cells(&self) -> Cells<'_> {
        Cells { rest: &self.data }
    }

    /// One cell.
    pub(super) fn get<'a>(&'a self, columns: &'a [Column], column: u8) -> &'a [u8] {
        self.cells()
            .find(|(at, _)| *at == column)
            .map(|(_, cell)| cell)
            .or_else(|| columns.get(usize::from(column)).map(|c| c.default.as_slice()))
            .unwrap_or_default()
    }

    /// All cells by column.
    pub(super) fn spread<'a>(&'a self, columns: &'a [Column]) -> Vec<&'a [u8]> {
        let mut all: Vec<&[u8]> = columns.iter().map(|c| c.default.as_slice()).collect();
        for (column, cell) in self.cells() {
            if let Some(place) = all.get_mut(usize::from(column)) {
                *place = cell;
            }
        }
        all
    }

    /// A row from all its cells.
    pub(super) fn build(columns: &[Column], cells: &[&[u8]], created: i64, modified: i64) -> Self {
        let kept = || {
            (0_u8..).zip(columns.iter().zip(cells)).filter(|(_, (column, cell))| column.default.as_slice() != **cell)
        };
        let size = kept().map(|(_, (_, cell))| 1 + size_of_length(cell.len()) + cell.len()).sum();
        let mut data = Vec::with_capacity(size);
        for (number, (_, cell)) in kept() {
            data.push(number);
            let mut length = cell.len();
            while length >= 0x80 {
                data.push((length & 0x7f) as u8 | 0x80);
                length >>= 7;
            }
            data.push((length & 0x7f) as u8);
            data.extend_from_slice(cell);
        }
        Self { data: data.into_boxed_slice(), created, modified }
    }
}

fn size_of_length(mut length: usize) -> usize {
    let mut size = 1;
    while length >= 0x80 {
        length >>= 7;
        size += 1;
    }
    size
}

/// Walks the cells of a row.
pub(super) struct Cells<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Cells<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (column, mut rest) = self.rest.split_first()?;
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let (byte, after) = rest.split_first()?;
            rest = after;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let (cell, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some((*column, cell))
    }
}

/// A hash that is its own hash.
#[derive(Debug, Default, Clone, Copy)]
struct Own(u64);

impl Hasher for Own {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// One unique key.
#[derive(Debug, Default)]
struct Unique {
    columns: Vec<u8>,
    slots: HashMap<u64, u32, BuildHasherDefault<Own>>,
    /// Keys whose hash another key has already: never more than a handful.
    collisions: Vec<(u64, u32)>,
}

/// The rows of one resource. A row's number is never used again.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Option<Row>>,
    live: u64,
    uniques: Vec<Unique>,
}

impl Table {
    fn new(resource: &Resource) -> Self {
        let unique = |columns: &Vec<u8>| Unique { columns: columns.clone(), ..Unique::default() };
        Self { rows: Vec::new(), live: 0, uniques: resource.uniques.iter().map(unique).collect() }
    }

    /// Rows, hidden ones included.
    pub(super) fn live(&self) -> u64 {
        self.live
    }

    /// A row by number.
    pub(super) fn row(&self, at: u32) -> Option<&Row> {
        self.rows.get(at as usize).and_then(Option::as_ref)
    }

    /// Rows from a number on.
    pub(super) fn rows_from(&self, from: usize) -> impl Iterator<Item = (u32, &Row)> {
        let rest = self.rows.get(from..).unwrap_or_default();
        rest.iter().zip(from..).filter_map(|(row, at)| Some((u32::try_from(at).ok()?, row.as_ref()?)))
    }

    /// The row with that value of a unique key.
    pub(super) fn find(&self, columns: &[Column], unique: usize, key: &[&[u8]]) -> Option<u32> {
        let index = self.uniques.get(unique)?;
        if key.iter().all(|part| part.is_empty()) {
            return None;
        }
        let hash = hash(key);
        let same = |at: u32| {
            let row = self.row(at)?;
            let equal = index.columns.iter().zip(key).all(|(column, part)| row.get(columns, *column) == *part);
            equal.then_some(at)
        };
        let first = index.slots.get(&hash).and_then(|at| same(*at));
        first.or_else(|| index.collisions.iter().filter(|(h, _)| *h == hash).find_map(|(_, at)| same(*at)))
    }

    /// The row that a custom key means, as it stands in a path.
    pub(super) fn by_key(&self, resource: &Resource, key: &str) -> Option<u32> {
        let (unique, column) = resource.key?;
        let cell = value::key(&resource.columns.get(usize::from(column))?.kind, key)?;
        self.find(&resource.columns, unique, &[&cell])
    }

    /// The unique key, and the other row, that cells would break.
    pub(super) fn conflict(&self, columns: &[Column], cells: &[&[u8]], except: Option<u32>) -> Option<(usize, u32)> {
        (0..self.uniques.len()).find_map(|unique| {
            let key = key_of(&self.uniques[unique].columns, cells);
            let found = self.find(columns, unique, &key)?;
            (Some(found) != except).then_some((unique, found))
        })
    }

    /// Adds a row whose keys are free.
    pub(super) fn insert(&mut self, columns: &[Column], row: Row) -> Option<u32> {
        let at = u32::try_from(self.rows.len()).ok()?;
        self.index(columns, &row, at);
        self.rows.push(Some(row));
        self.live += 1;
        Some(at)
    }

    /// Replaces a row.
    pub(super) fn replace(&mut self, columns: &[Column], at: u32, row: Row) {
        let Some(old) = self.rows.get_mut(at as usize).and_then(Option::take) else {
            return;
        };
        if self.uniques.iter().any(|u| u.columns.iter().any(|c| old.get(columns, *c) != row.get(columns, *c))) {
            self.forget(columns, &old, at);
            self.index(columns, &row, at);
        }
        self.rows[at as usize] = Some(row);
    }

    /// Removes a row.
    pub(super) fn remove(&mut self, columns: &[Column], at: u32) -> bool {
        let Some(old) = self.rows.get_mut(at as usize).and_then(Option::take) else {
            return false;
        };
        self.forget(columns, &old, at);
        self.live -= 1;
        true
    }

    fn index(&mut self, columns: &[Column], row: &Row, at: u32) {
        for unique in &mut self.uniques {
            let key: Vec<&[u8]> = unique.columns.iter().map(|c| row.get(columns, *c)).collect();
            if key.iter().all(|part| part.is_empty()) {
                continue;
            }
            let hash = hash(&key);
            match unique.slots.entry(hash) {
                std::collections::hash_map::Entry::Vacant(slot) => {
                    slot.insert(at);
                }
                std::collections::hash_map::Entry::Occupied(_) => unique.collisions.push((hash, at)),
            }
        }
    }

    fn forget(&mut self, columns: &[Column], row: &Row, at: u32) {
        for unique in &mut self.uniques {
            let key: Vec<&[u8]> = unique.columns.iter().map(|c| row.get(columns, *c)).collect();
            let hash = hash(&key);
            if unique.slots.get(&hash) == Some(&at) {
                unique.slots.remove(&hash);
                if let Some(next) = unique.collisions.iter().position(|(h, _)| *h == hash) {
                    let (hash, at) = unique.collisions.swap_remove(next);
                    unique.slots.insert(hash, at);
                }
            } else {
                unique.collisions.retain(|entry| *entry != (hash, at));
            }
        }
    }
}

/// The parts of a key among all cells.
pub(super) fn key_of<'a>(key: &[u8], cells: &[&'a [u8]]) -> Vec<&'a [u8]> {
    key.iter().map(|column| cells.get(usize::from(*column)).copied().unwrap_or_default()).collect()
}

fn hash(key: &[&[u8]]) -> u64 {
    let hash = match key {
        [one] => xxh3_64(one),
        many => xxh3_64(&many.join(&0x1f)),
    };
    // The unit tests squeeze every key into four hashes, so that what never happens otherwise happens all the time.
    if cfg!(test) { hash & 3 } else { hash }
}

/// Every table; what is behind the service's lock.
#[derive(Debug)]
pub(super) struct Tables {
    tables: Vec<Table>,
    /// Seeded mutations that were made, so that none repeats the keys of another.
    pub(super) mutations: u64,
}

impl Tables {
    /// Empty tables.
    pub(super) fn new(schema: &Schema) -> Self {
        Self { tables: schema.resources.iter().map(Table::new).collect(), mutations: 0 }
    }

    /// The rows of a resource.
    pub(super) fn of(&self, resource: &Resource) -> &Table {
        &self.tables[resource.index]
    }

    /// As `of`, to change them.
    pub(super) fn of_mut(&mut self, resource: &Resource) -> &mut Table {
        &mut self.tables[resource.index]
    }

    /// The row that a link of a row leads to.
    pub(super) fn follow<'s>(
        &self,
        schema: &'s Schema,
        resource: &Resource,
        link: usize,
        row: &Row,
    ) -> Option<(&'s Resource, u32)> {
        let link = resource.links.get(link)?;
        let target = schema.resources.get(link.target)?;
        let value = row.get(&resource.columns, link.column);
        let found = self.tables[link.target].find(&target.columns, link.target_unique, &[value])?;
        Some((target, found))
    }

    /// Whether a row takes part: each of its "1 cardinality" links finds something. The join is an inner one, so a row without
    /// its counterpart is kept, holds its unique key, and is not seen (experienceleague.adobe.com, "Notices and recommendations").
    pub(super) fn visible(&self, schema: &Schema, resource: &Resource, row: &Row) -> bool {
        if !schema.switches.hidden_children {
            return true;
        }
        resource.links.iter().enumerate().all(|(at, link)| {
            !link.hides
                || (!schema.switches.empty_join_hides && row.get(&resource.columns, link.column).is_empty())
                || self.follow(schema, resource, at, row).is_some()
        })
    }
}

#[cfg(test)]
mod tests;
