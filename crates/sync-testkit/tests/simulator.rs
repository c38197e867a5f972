//! The simulator over many seeds.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the parties of a test may break it")]

use sync_testkit::faults::Fault;
use sync_testkit::rare::Path;
use sync_testkit::sim;

/// Seeds of one test.
const SEEDS: u64 = 250;

/// Runs seeds; the first that breaks something is shown with the command that runs it again.
fn clean(part: u64) {
    let mut rare = std::collections::BTreeSet::new();
    for seed in part * SEEDS..(part + 1) * SEEDS {
        let outcome = sim::simulate(seed);
        let shown: Vec<String> = outcome.violations.iter().map(ToString::to_string).collect();
        assert!(
            shown.is_empty(),
            "seed {seed}: {shown:#?}\nrun it again: cargo run --release -p sync-testkit -- simulate --from {seed} --seeds 1 --trace"
        );
        rare.extend(outcome.rare.into_keys());
    }
    let never: Vec<&str> = Path::ALL.iter().filter(|path| !rare.contains(path)).map(|path| path.text()).collect();
    assert!(never.is_empty(), "no seed came to: {never:?}");
}

macro_rules! parts {
    ($($name:ident $part:literal,)+) => {
        $(
            #[test]
            fn $name() {
                clean($part);
            }
        )+
    };
}

parts! {
    the_first_part_of_the_seeds 0,
    the_second_part_of_the_seeds 1,
    the_third_part_of_the_seeds 2,
    the_fourth_part_of_the_seeds 3,
    the_fifth_part_of_the_seeds 4,
    the_sixth_part_of_the_seeds 5,
    the_seventh_part_of_the_seeds 6,
    the_eighth_part_of_the_seeds 7,
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..60 {
        let (first, second) = (sim::simulate(seed), sim::simulate(seed));
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!(first.rare, second.rare, "seed {seed}");
    }
}

#[test]
fn other_seeds_give_other_runs() {
    let traces: std::collections::BTreeSet<u64> = (0..30).map(|seed| sim::simulate(seed).trace).collect();
    assert_eq!(traces.len(), 30);
}

#[test]
fn every_fault_fires() {
    let mut fired = std::collections::BTreeSet::new();
    for seed in 0..SEEDS {
        fired.extend(sim::simulate(seed).faults.into_keys());
    }
    let never: Vec<&str> = Fault::ALL.iter().filter(|fault| !fired.contains(fault)).map(|fault| fault.id()).collect();
    assert!(never.is_empty(), "never fired: {never:?}");
}
