//! The crash matrix: a process ends at every named point, on its first, second and third visit, in every phase, on every
//! store; the next process has to bring everything to the right end.
//!
//! The points stand in the parties and around the store ([`Process::reach`](crate::parties::Process::reach)). A run without an
//! end counts the visits to each, and so the matrix is enumerated, not drawn.

mod scene;

use std::collections::BTreeMap;
use std::fmt;

use crate::Ground;
use crate::invariants::Violation;
use crate::parties::Trace;

pub use scene::Phase;

/// So many visits of a point are tried.
pub const HITS: u32 = 3;

/// One run of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case {
    /// What goes on when the process ends.
    pub phase: Phase,
    /// Whether the destination refuses a second record of a key.
    pub unique_key: bool,
    /// Where it ends.
    pub point: &'static str,
    /// On which visit.
    pub hit: u32,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = if self.unique_key { "unique key" } else { "no unique key" };
        write!(f, "{:?}, {key}: end at {}, visit {}", self.phase, self.point, self.hit)
    }
}

/// What a part of the matrix brought.
#[derive(Debug, Clone, Default)]
pub struct Matrix {
    /// Runs, by point.
    pub runs: BTreeMap<&'static str, u64>,
    /// What was broken.
    pub broken: Vec<(Case, Violation)>,
}

impl Matrix {
    /// All runs.
    pub fn total(&self) -> u64 {
        self.runs.values().sum()
    }

    /// Both parts together.
    pub fn merge(&mut self, other: Self) {
        for (point, runs) in other.runs {
            *self.runs.entry(point).or_default() += runs;
        }
        self.broken.extend(other.broken);
    }
}

/// The cases of a phase.
pub fn cases(phase: Phase, unique_key: bool, ground: &dyn Ground) -> Vec<Case> {
    let visits = block_on(scene::visits(phase, unique_key, ground));
    let case = |(point, visits): (&'static str, u32)| {
        (1..=visits.min(HITS)).map(move |hit| Case { phase, unique_key, point, hit })
    };
    visits.into_iter().flat_map(case).collect()
}

/// Runs one case on a fresh store.
pub fn run(case: Case, ground: &dyn Ground) -> Vec<Violation> {
    block_on(scene::crash(case, ground, Trace::new(false)))
}

/// Runs one case on a fresh store, and keeps what happened.
pub fn run_kept(case: Case, ground: &dyn Ground) -> (Vec<Violation>, Vec<String>) {
    let trace = Trace::new(true);
    let broken = block_on(scene::crash(case, ground, trace.clone()));
    (broken, trace.lines())
}

/// Runs every case of a phase, each on a fresh store.
pub fn run_phase<G: Ground>(phase: Phase, unique_key: bool, ground: impl Fn() -> G) -> Matrix {
    let mut matrix = Matrix::default();
    for case in cases(phase, unique_key, &ground()) {
        *matrix.runs.entry(case.point).or_default() += 1;
        matrix.broken.extend(run(case, &ground()).into_iter().map(|violation| (case, violation)));
    }
    matrix
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(Box::pin(work))
}
