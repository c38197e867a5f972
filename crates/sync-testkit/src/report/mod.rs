//! Runs everything at length and writes down what came of it.

mod render;
mod runs;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::crash::{Matrix, Phase};
use crate::defective::Kill;
use crate::faults::Fault;
use crate::invariants::{Invariant, Violation};
use crate::protocol::Row;
use crate::rare::Path;

pub use render::{render, render_kills, render_matrix, render_model, render_seeds};
pub use runs::{STORES, defects, matrix, one_case, simulate, stores};

/// What many seeds brought.
#[derive(Debug, Clone, Default)]
pub struct Seeds {
    /// The first seed.
    pub from: u64,
    /// How many.
    pub count: u64,
    /// Virtual time of all of them.
    pub time: Duration,
    /// How often each fault fired.
    pub faults: BTreeMap<Fault, u64>,
    /// How often each rare path was taken.
    pub rare: BTreeMap<Path, u64>,
    /// Requests that the destination saw.
    pub requests: u64,
    /// Changes at the source.
    pub changes: u64,
    /// What was broken, by seed.
    pub broken: BTreeMap<u64, Vec<Violation>>,
}

impl Seeds {
    /// Paths that no seed took: with one of them, the set proves nothing about it.
    pub fn never_taken(&self) -> Vec<Path> {
        Path::ALL.iter().copied().filter(|path| !self.rare.contains_key(path)).collect()
    }

    /// Faults that never fired.
    pub fn never_fired(&self) -> Vec<Fault> {
        Fault::ALL.iter().copied().filter(|fault| !self.faults.contains_key(fault)).collect()
    }

    /// Whether nothing was broken, and everything that is to be seen was seen.
    pub fn is_valid(&self) -> bool {
        self.broken.is_empty() && self.never_taken().is_empty() && self.never_fired().is_empty()
    }
}

/// The matrix of one store.
#[derive(Debug, Clone, Default)]
pub struct StoreMatrix {
    /// By phase and whether the destination has a unique key.
    pub parts: BTreeMap<(Phase, bool), Matrix>,
}

impl StoreMatrix {
    /// All parts together.
    pub fn whole(&self) -> Matrix {
        let mut whole = Matrix::default();
        self.parts.values().for_each(|part| whole.merge(part.clone()));
        whole
    }
}

/// Everything that the report tells.
#[derive(Debug, Default)]
pub struct Report {
    /// The command that made it.
    pub command: String,
    /// The commit it was made of, where that is known.
    pub commit: Option<String>,
    /// The day.
    pub date: String,
    /// The matrix, by store.
    pub matrix: BTreeMap<&'static str, StoreMatrix>,
    /// The simulator.
    pub seeds: Seeds,
    /// Planted defects: of stores, sources and destinations.
    pub kills: Vec<Kill>,
    /// The checked model.
    pub model: Vec<Row>,
}

impl Report {
    /// Whether nothing was broken, nothing was left out, and no defect survived.
    pub fn is_clean(&self) -> bool {
        self.seeds.is_valid()
            && self.matrix.values().all(|store| store.whole().broken.is_empty())
            && self.kills.iter().all(|kill| !kill.survived())
    }
}

/// How a violation is counted: lost, duplicated, out of order, stuck, or something else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Harm {
    /// Not there, or not counted.
    pub lost: u64,
    /// There twice.
    pub duplicated: u64,
    /// In the wrong order.
    pub out_of_order: u64,
    /// Never done.
    pub stuck: u64,
    /// Anything else.
    pub other: u64,
}

impl Harm {
    /// Counts violations.
    pub fn of<'a>(violations: impl Iterator<Item = &'a Violation>) -> Self {
        let mut harm = Self::default();
        for violation in violations {
            let count = match violation.invariant {
                Invariant::NoLoss | Invariant::Conservation | Invariant::DeadLetters => &mut harm.lost,
                Invariant::NoDuplicate | Invariant::NoBlindRepeat => &mut harm.duplicated,
                Invariant::NoRegress | Invariant::ParentsFirst | Invariant::OneInFlight => &mut harm.out_of_order,
                Invariant::Liveness => &mut harm.stuck,
                _ => &mut harm.other,
            };
            *count += 1;
        }
        harm
    }
}
