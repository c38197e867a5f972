//! `$orderby`: the rows of one page of a sorted result.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::filter::{Filter, read};
use super::read::Reader;
use super::row;
use super::schema::{Kind, Table};
use super::store::Rows;
use super::value::Scalar;

/// Columns and whether they descend.
pub(super) type Order = [(usize, bool)];

/// The ids that pass a filter, with what they are sorted by.
pub(super) struct Keyed {
    found: Vec<(Vec<Scalar>, u128)>,
    /// Targets of the lookups that are sorted by, by place in the order and id.
    led: HashMap<(usize, u128), usize>,
}

impl Reader<'_> {
    pub(super) fn keyed(&self, table: &Table, rows: &Rows, filter: Option<&Filter>, order: &Order) -> Keyed {
        let mut keyed = Keyed { found: Vec::new(), led: HashMap::new() };
        let mut cells = Vec::new();
        for (id, row) in &rows.by_id {
            if !self.passes(table, filter, *id, row, &mut cells) {
                continue;
            }
            row.spread(&table.columns, &mut cells);
            let mut keys = Vec::with_capacity(order.len());
            for (nth, (at, _)) in order.iter().enumerate() {
                if let Some((id, place)) = cells.get(*at).and_then(|cell| row::reference(cell))
                    && table.columns[*at].kind == Kind::Lookup
                {
                    keyed.led.insert((nth, id), place);
                }
                keys.push(read(table, *at, *id, &cells, row.version));
            }
            keyed.found.push((keys, *id));
        }
        keyed
    }

    /// Lookups sort by the primary name of the row that they lead to. Takes the locks of other tables.
    pub(super) fn with_names(&self, table: &Table, keyed: &mut Keyed, order: &Order) {
        let mut names = HashMap::with_capacity(keyed.led.len());
        for ((nth, id), place) in &keyed.led {
            let target = order.get(*nth).and_then(|(at, _)| table.columns[*at].targets.get(*place));
            let name = target.and_then(|target| self.store.name_of(&target.table, *id));
            names.insert((*nth, *id), name.map_or(Scalar::Null, |name| Scalar::Text(name.to_lowercase())));
        }
        for (keys, _) in &mut keyed.found {
            for (nth, key) in keys.iter_mut().enumerate() {
                if let Scalar::Guid(id) = key
                    && let Some(name) = names.get(&(nth, *id))
                {
                    *key = name.clone();
                }
            }
        }
    }
}

impl Keyed {
    /// Whether [`Reader::with_names`] has something to do.
    pub(super) fn leads_elsewhere(&self) -> bool {
        !self.led.is_empty()
    }

    /// The rows from `offset` up to `end`, and whether more follow. Only these are sorted; the others are merely parted from them.
    pub(super) fn page(self, order: &Order, offset: usize, end: usize) -> (Vec<u128>, bool) {
        let mut found = self.found;
        let by = |(a, a_id): &(Vec<Scalar>, u128), (b, b_id): &(Vec<Scalar>, u128)| {
            for ((a, b), (_, descending)) in a.iter().zip(b).zip(order) {
                let compared = a.order(b).unwrap_or(Ordering::Equal);
                let compared = if *descending { compared.reverse() } else { compared };
                if compared.is_ne() {
                    return compared;
                }
            }
            a_id.cmp(b_id)
        };
        let more = found.len() > end;
        if more {
            found.select_nth_unstable_by(end, by);
            found.truncate(end);
        }
        if offset > 0 && offset < found.len() {
            found.select_nth_unstable_by(offset, by);
        }
        let mut page = found.split_off(offset.min(found.len()));
        page.sort_unstable_by(by);
        (page.into_iter().map(|(_, id)| id).collect(), more)
    }
}
