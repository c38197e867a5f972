use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use sync_core::store::MemoryStore;
use sync_core::traits::Store;

use super::{Seeds, StoreMatrix};
use crate::crash::{self, Phase};
use crate::defective::{self, Kill};
use crate::invariants::Violation;
use crate::sim;
use crate::{Ground, SqliteGround};

/// The stores that the matrix knows.
pub const STORES: [&str; 2] = ["memory", "SQLite"];

struct Memory(MemoryStore);

impl Ground for Memory {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs seeds on all threads of the machine; `tell` hears how many are done.
pub fn simulate(from: u64, count: u64, tell: &(dyn Fn(u64) + Sync)) -> Seeds {
    let next = AtomicU64::new(0);
    let seeds = Mutex::new(Seeds { from, count, ..Seeds::default() });
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= count {
                        return;
                    }
                    let outcome = sim::simulate(from + nth);
                    let mut seeds = seeds.lock().unwrap();
                    seeds.time += outcome.time;
                    seeds.requests += outcome.requests;
                    seeds.changes += outcome.changes;
                    outcome.faults.iter().for_each(|(fault, times)| *seeds.faults.entry(*fault).or_default() += times);
                    outcome.rare.iter().for_each(|(path, times)| *seeds.rare.entry(*path).or_default() += times);
                    if !outcome.violations.is_empty() {
                        seeds.broken.insert(outcome.seed, outcome.violations);
                    }
                    drop(seeds);
                    tell(nth + 1);
                }
            });
        }
    });
    seeds.into_inner().unwrap()
}

/// Runs the matrix over one store, a phase to a thread; `tell` hears what is done.
pub fn matrix(store: &str, tell: &(dyn Fn(&str) + Sync)) -> StoreMatrix {
    let jobs: Vec<(Phase, bool)> = Phase::ALL.into_iter().flat_map(|phase| [(phase, true), (phase, false)]).collect();
    let next = Mutex::new(jobs.into_iter());
    let parts = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                loop {
                    let Some((phase, unique_key)) = next.lock().unwrap().next() else { return };
                    let part = match store {
                        "memory" => crash::run_phase(phase, unique_key, || Memory(MemoryStore::new())),
                        _ => crash::run_phase(phase, unique_key, SqliteGround::new),
                    };
                    let key = if unique_key { "unique key" } else { "no unique key" };
                    tell(&format!("{store}, {phase:?}, {key}: {} runs", part.total()));
                    parts.lock().unwrap().insert((phase, unique_key), part);
                }
            });
        }
    });
    StoreMatrix { parts: parts.into_inner().unwrap() }
}

/// Runs one case of the matrix, given as `PHASE/POINT/VISIT`, and shows what happened; `None` when there is no such case.
pub fn one_case(store: &str, name: &str, unique_key: bool) -> Option<(Vec<Violation>, Vec<String>)> {
    let ground = || -> Box<dyn Ground> {
        match store {
            "memory" => Box::new(Memory(MemoryStore::new())),
            _ => Box::new(SqliteGround::new()),
        }
    };
    let mut parts = name.split('/');
    let (phase, point, hit) = (parts.next()?, parts.next()?, parts.next()?.parse::<u32>().ok()?);
    let phase = Phase::ALL.into_iter().find(|known| format!("{known:?}").eq_ignore_ascii_case(phase))?;
    let cases = crash::cases(phase, unique_key, ground().as_ref());
    let case = cases.into_iter().find(|case| case.point == point && case.hit == hit)?;
    Some(crash::run_kept(case, ground().as_ref()))
}

/// Runs the matrix over every store.
pub fn stores(tell: &(dyn Fn(&str) + Sync)) -> BTreeMap<&'static str, StoreMatrix> {
    STORES.into_iter().map(|store| (store, matrix(store, tell))).collect()
}

/// Hunts every planted defect.
pub fn defects() -> Vec<Kill> {
    let mut kills = defective::hunt();
    kills.extend(defective::hunt_sources());
    kills.extend(defective::hunt_destinations());
    kills
}
