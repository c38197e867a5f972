//! The entries of one stream, in the orders in which they are asked for.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use record::Key;

use super::row::Row;
use crate::Seq;
use crate::traits::{Class, Parent};

/// Unsettled entries. Only the oldest entry of a key is ever ready.
#[derive(Debug, Default)]
pub(super) struct Queue {
    rows: BTreeMap<Seq, Row>,
    /// The entries of a key, oldest first; none where there is none.
    of_key: HashMap<Key, Vec<Seq>>,
    /// Unclaimed, due, waiting for nothing, and the oldest of their key.
    ready: BTreeSet<(u8, Seq)>,
    /// Unclaimed, with a time of their own.
    due: BTreeSet<(i64, Seq)>,
    /// Who waits for which parent.
    waiting: BTreeSet<(Parent, Seq)>,
}

impl Queue {
    pub(super) fn get(&self, seq: Seq) -> Option<&Row> {
        self.rows.get(&seq)
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (Seq, &Row)> {
        self.rows.iter().map(|(seq, row)| (*seq, row))
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        self.of_key.contains_key(key)
    }

    /// The entries of a key, oldest first.
    pub(super) fn of(&self, key: &Key) -> impl DoubleEndedIterator<Item = (Seq, &Row)> {
        let seqs = self.of_key.get(key).into_iter().flatten();
        seqs.filter_map(|seq| self.rows.get(seq).map(|row| (*seq, row)))
    }

    pub(super) fn seqs_of(&self, key: &Key) -> Vec<Seq> {
        self.of_key.get(key).cloned().unwrap_or_default()
    }

    pub(super) fn insert(&mut self, seq: Seq, row: Row) {
        self.of_key.entry(row.key.clone()).or_default().push(seq);
        self.rows.insert(seq, row);
        self.file(seq);
    }

    pub(super) fn remove(&mut self, seq: Seq) -> Option<Row> {
        self.unfile(seq);
        let row = self.rows.remove(&seq)?;
        let of_key = self.of_key.get_mut(&row.key)?;
        of_key.retain(|other| *other != seq);
        match of_key.first().copied() {
            Some(next) => self.file(next),
            None => {
                self.of_key.remove(&row.key);
            }
        }
        Some(row)
    }

    /// Changes an entry and files it anew. `None` when there is no such entry.
    pub(super) fn change<T>(&mut self, seq: Seq, change: impl FnOnce(&mut Row) -> T) -> Option<T> {
        self.unfile(seq);
        let answer = change(self.rows.get_mut(&seq)?);
        self.file(seq);
        Some(answer)
    }

    fn unfile(&mut self, seq: Seq) {
        if let Some(row) = self.rows.get(&seq) {
            self.ready.remove(&(row.content.class.rank(), seq));
            self.due.remove(&(row.due_ms, seq));
            for parent in &row.waiting {
                self.waiting.remove(&(parent.clone(), seq));
            }
        }
    }

    fn file(&mut self, seq: Seq) {
        let Some(row) = self.rows.get(&seq) else { return };
        self.waiting.extend(row.waiting.iter().map(|parent| (parent.clone(), seq)));
        if row.holder.is_some() {
            return;
        }
        let oldest = self.of_key.get(&row.key).is_some_and(|seqs| seqs.first() == Some(&seq));
        if row.due_ms > 0 {
            self.due.insert((row.due_ms, seq));
        } else if oldest && row.waiting.is_empty() && row.held.is_none() {
            self.ready.insert((row.content.class.rank(), seq));
        }
    }

    /// Entries that wait for this parent.
    pub(super) fn waiting_for(&self, parent: &Parent) -> Vec<Seq> {
        let from = (parent.clone(), Seq(0));
        self.waiting.range(from..).take_while(|(at, _)| at == parent).map(|(_, seq)| *seq).collect()
    }

    /// What is due once stays due, even when the calendar jumps back.
    pub(super) fn ripen(&mut self, now_ms: i64) {
        while let Some((due_ms, seq)) = self.due.first().copied().filter(|(due_ms, _)| *due_ms <= now_ms) {
            self.due.remove(&(due_ms, seq));
            self.change(seq, |row| row.due_ms = 0);
        }
    }

    /// The ready entries that a claim of `max` takes, by the rule of [`claim`](crate::traits::Backlog::claim): by class and
    /// age, but a quarter for those that would be left behind.
    pub(super) fn pick(&self, max: usize, fits: impl Fn(&Row) -> bool) -> Vec<Seq> {
        let fits = |(_, seq): &&(u8, Seq)| self.rows.get(seq).is_some_and(&fits);
        let mut taken: Vec<(u8, Seq)> = self.ready.iter().filter(fits).take(max).copied().collect();
        let urgent = taken.iter().map(|(rank, _)| *rank).find(|rank| *rank != Class::OptOut.rank());
        let Some(urgent) = urgent.filter(|_| taken.len() == max) else {
            return taken.into_iter().map(|(_, seq)| seq).collect();
        };
        let lesser = taken.iter().filter(|(rank, _)| *rank > urgent).count();
        let mut behind: Vec<(u8, Seq)> = Vec::new();
        for class in Class::ALL.into_iter().filter(|class| class.rank() > urgent) {
            let of_class = self.ready.range((class.rank(), Seq(0))..(class.rank() + 1, Seq(0)));
            let waiting = of_class.filter(fits).filter(|at| !taken.contains(at));
            behind.extend(waiting.take(max / 4));
        }
        behind.sort_unstable_by_key(|(_, seq)| *seq);
        // They take the places of the youngest of the urgent class.
        for at in behind.into_iter().take((max / 4).saturating_sub(lesser)) {
            let Some(place) = taken.iter().rposition(|(rank, _)| *rank == urgent) else { break };
            taken.remove(place);
            taken.push(at);
        }
        taken.sort_unstable();
        taken.into_iter().map(|(_, seq)| seq).collect()
    }

    /// Whether an entry is a delete that is held, or came after one of its key.
    pub(super) fn is_held_back(&self, key: &Key, seq: Seq) -> bool {
        self.of(key).any(|(at, row)| at <= seq && row.held.is_some())
    }

    /// When the next unclaimed entry is due that waits for no parent and is not held.
    pub(super) fn next_due_ms(&self) -> Option<i64> {
        let free = |(seq, row): &(Seq, &Row)| {
            row.holder.is_none() && !row.verification && row.waiting.is_empty() && !self.is_held_back(&row.key, *seq)
        };
        self.rows().filter(free).map(|(_, row)| row.due_ms).min()
    }
}
