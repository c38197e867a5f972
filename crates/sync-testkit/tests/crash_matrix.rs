//! The whole crash matrix, on both stores.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the parties of a test may break it")]

use std::sync::Arc;

use sync_core::store::MemoryStore;
use sync_core::traits::Store;
use sync_testkit::crash::{self, Phase};
use sync_testkit::{Ground, SqliteGround};

#[derive(Default)]
struct Memory(MemoryStore);

impl Ground for Memory {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }
}

fn clean<G: Ground>(phase: Phase, ground: impl Fn() -> G) {
    for unique_key in [true, false] {
        let matrix = crash::run_phase(phase, unique_key, &ground);
        let shown: Vec<String> = matrix.broken.iter().map(|(case, violation)| format!("{case}: {violation}")).collect();
        assert!(shown.is_empty(), "{} of {} runs: {shown:#?}", shown.len(), matrix.total());
        let (points, runs) = size_of(phase);
        let (reached, made) = (matrix.runs.len(), matrix.total());
        assert!(
            reached >= points && made >= runs,
            "{phase:?}: only {reached} of {points} points, {made} of {runs} runs"
        );
    }
}

/// The different points that a phase comes to on either store and with either kind of key, and the runs that it is enumerated to.
fn size_of(phase: Phase) -> (usize, u64) {
    match phase {
        Phase::Snapshot => (38, 96),
        Phase::Live => (25, 62),
        Phase::Replay => (39, 101),
        Phase::Sweep => (41, 107),
        Phase::Stop => (25, 59),
        Phase::OtherPlan => (30, 68),
    }
}

macro_rules! matrix {
    ($($phase:ident $memory:ident $sqlite:ident,)+) => {
        $(
            #[test]
            fn $memory() {
                clean(Phase::$phase, Memory::default);
            }

            #[test]
            fn $sqlite() {
                clean(Phase::$phase, SqliteGround::new);
            }
        )+
    };
}

matrix! {
    Snapshot snapshot_in_memory snapshot_on_sqlite,
    Live live_in_memory live_on_sqlite,
    Replay replay_in_memory replay_on_sqlite,
    Sweep sweep_in_memory sweep_on_sqlite,
    Stop stop_in_memory stop_on_sqlite,
    OtherPlan other_plan_in_memory other_plan_on_sqlite,
}
