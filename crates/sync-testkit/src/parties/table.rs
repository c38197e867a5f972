use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use record::Key;

use super::{Content, Kind};

/// One state that a row had. The last one is the present one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// The version at which it began.
    pub version: i64,
    /// What it said; `None` while the row was absent.
    pub content: Option<Content>,
    /// Whether readers see it. A long transaction shows its rows later than their versions say.
    pub visible: bool,
}

/// A table of the source, with everything that it ever held: what is right in the end is known from here alone.
#[derive(Debug)]
pub struct Table {
    state: Mutex<State>,
    paging: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    rows: BTreeMap<Key, Vec<Past>>,
    version: i64,
    /// Positions made before this version are no longer served, and deletions from before it are not told of.
    oldest: i64,
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

impl Table {
    /// An empty table.
    pub fn new() -> Self {
        Self { state: Mutex::default(), paging: AtomicBool::new(false) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody is in the middle of paging through it.
    pub fn paging(&self) -> bool {
        self.paging.load(Ordering::Relaxed)
    }

    pub(super) fn set_paging(&self, paging: bool) {
        self.paging.store(paging, Ordering::Relaxed);
    }

    /// Sets a row, or deletes it with `None`; answers the new version.
    pub fn set(&self, key: &Key, content: Option<Content>) -> i64 {
        self.write(key, content, true)
    }

    /// As [`Table::set`], in a transaction that readers see only after [`Table::commit`].
    pub fn begin(&self, key: &Key, content: Option<Content>) -> i64 {
        self.write(key, content, false)
    }

    fn write(&self, key: &Key, content: Option<Content>, visible: bool) -> i64 {
        let mut state = self.state();
        state.version += 1;
        let version = state.version;
        state.rows.entry(key.clone()).or_default().push(Past { version, content, visible });
        version
    }

    /// Ends every open transaction.
    pub fn commit(&self) {
        let mut state = self.state();
        state.rows.values_mut().flatten().for_each(|past| past.visible = true);
    }

    /// The rows that an open transaction holds; nobody else changes them.
    pub fn held(&self, key: &Key) -> bool {
        self.state().rows.get(key).is_some_and(|pasts| pasts.iter().any(|past| !past.visible))
    }

    /// Expires every position given so far.
    pub fn expire(&self) {
        let mut state = self.state();
        state.version += 1;
        state.oldest = state.version;
    }

    /// The newest version.
    pub fn version(&self) -> i64 {
        self.state().version
    }

    /// The oldest version whose positions are served.
    pub fn oldest(&self) -> i64 {
        self.state().oldest
    }

    /// The present state of a row: its version, and what it says, if it is there.
    pub fn present(&self, key: &Key) -> Option<(i64, Option<Content>)> {
        let state = self.state();
        let past = state.rows.get(key)?.iter().rev().find(|past| past.visible)?;
        Some((past.version, past.content.clone()))
    }

    /// Every state that a row had.
    pub fn history(&self, key: &Key) -> Vec<Past> {
        self.state().rows.get(key).cloned().unwrap_or_default()
    }

    /// Every key that ever was, in order.
    pub fn keys(&self) -> Vec<Key> {
        self.state().rows.keys().cloned().collect()
    }

    /// Rows that are there, after a key, in the order of keys.
    pub fn rows_after(&self, after: Option<&Key>, limit: usize) -> Vec<(Key, i64, Content)> {
        let state = self.state();
        let visible = |(key, pasts): (&Key, &Vec<Past>)| {
            let past = pasts.iter().rev().find(|past| past.visible)?;
            past.content.clone().map(|content| (key.clone(), past.version, content))
        };
        let rows = state.rows.iter().filter(|(key, _)| after.is_none_or(|after| *key > after));
        rows.filter_map(visible).take(limit).collect()
    }

    /// The net changes after one version up to another, by version: each row once, in its present state. Rows that changed
    /// again after `upto` belong to a later answer. Deletions from before the oldest position are not told of.
    pub fn changes(&self, since: i64, upto: i64) -> Vec<(i64, Key, Option<Content>)> {
        let state = self.state();
        let mut changes: Vec<_> = state
            .rows
            .iter()
            .filter_map(|(key, pasts)| {
                let past = pasts.iter().rev().find(|past| past.visible)?;
                let told = past.content.is_some() || past.version > state.oldest;
                let within = past.version > since && past.version <= upto && told;
                within.then(|| (past.version, key.clone(), past.content.clone()))
            })
            .collect();
        changes.sort_by_key(|(version, ..)| *version);
        changes
    }

    /// An older state of a row that has been written in every state since: whoever knows a newer one is to refuse it.
    pub fn stale(&self, key: &Key, nth: usize) -> Option<(i64, Content)> {
        let state = self.state();
        let pasts = state.rows.get(key)?;
        let plain =
            |past: &Past| past.visible && past.content.as_ref().is_some_and(|content| content.kind == Kind::Plain);
        if pasts.len() < 2 || !pasts.iter().all(plain) {
            return None;
        }
        let past = &pasts[nth % (pasts.len() - 1)];
        past.content.clone().map(|content| (past.version, content))
    }
}
