//! Every case against every defect.

use std::sync::Mutex;

use super::endpoint_list::{DESTINATION_ALL, DestinationDefect, SOURCE_ALL, SourceDefect};
use super::{ALL, Defect, DefectiveGround, ShelfGround, TableGround};
use crate::certify;

/// What found a defect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// The defect's name.
    pub name: &'static str,
    /// The cases that must find it.
    pub planted_for: Vec<&'static str>,
    /// The cases that did.
    pub killed_by: Vec<&'static str>,
}

impl Kill {
    /// Whether nobody found it.
    pub fn survived(&self) -> bool {
        self.killed_by.is_empty()
    }
}

/// Runs every case for stores against every defect of a store, on as many threads as the machine has.
pub fn hunt() -> Vec<Kill> {
    of_each(ALL, |defect: Defect| certify::store(|| DefectiveGround::with(defect)).failed)
}

/// Runs every case for sources against every defect of a source.
pub fn hunt_sources() -> Vec<Kill> {
    of_each(SOURCE_ALL, |defect: SourceDefect| certify::source(|| TableGround::with(defect)).failed)
}

/// Runs every case for destinations against every defect of a destination.
pub fn hunt_destinations() -> Vec<Kill> {
    of_each(DESTINATION_ALL, |defect: DestinationDefect| certify::destination(|| ShelfGround::with(defect)).failed)
}

/// The kills of a list of defects, in its order.
fn of_each<D: Copy + Sync>(
    all: &'static [(D, &'static str, &'static [&'static str])],
    failed: impl Fn(D) -> Vec<(&'static str, String)> + Sync,
) -> Vec<Kill> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = Mutex::new(all.iter().enumerate());
    let kills = Mutex::new(Vec::with_capacity(all.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some((at, (defect, name, planted_for))) = next.lock().unwrap().next() else { return };
                    let killed_by = failed(*defect).into_iter().map(|(case, _)| case).collect();
                    let kill = Kill { name, planted_for: planted_for.to_vec(), killed_by };
                    kills.lock().unwrap().push((at, kill));
                }
            });
        }
    });
    let mut kills = kills.into_inner().unwrap();
    kills.sort_unstable_by_key(|(at, _)| *at);
    kills.into_iter().map(|(_, kill)| kill).collect()
}
