//! The model of the write protocol: what holds, what each rule and assumption is needed for, and that the code does the same.

use std::path::Path;
use std::sync::Arc;

use sync_core::store::MemoryStore;
use sync_core::traits::Store;
use sync_testkit::protocol::{
    Action, Endless, Findings, LateAction, LateWrites, Ownership, Parameters, Row, check, check_late_writes,
    every_run_ends, follow, truth_table,
};

const MEANT: Parameters = Parameters {
    keys: 1,
    settle: 2,
    takeover_wait: 2,
    execution: 2,
    read_lag: 0,
    unique_key: false,
    intent: true,
    read_back: true,
    fenced: true,
    ownership: Ownership::Lease { ticks: 2, margin: 1 },
    stall: 1,
    faults: 3,
    unknown_rounds: 2,
};
const UNIQUE: Parameters = Parameters { unique_key: true, settle: 0, takeover_wait: 0, ..MEANT };
const LOCKED: Parameters = Parameters { ownership: Ownership::Lock, ..MEANT };

fn count(run: &[Action], wanted: fn(&Action) -> bool) -> usize {
    run.iter().filter(|action| wanted(action)).count()
}

#[test]
fn no_record_is_created_twice_when_the_settle_time_covers_a_late_execution() {
    let Findings { states, duplicate, stale_settlement, stuck, .. } = check(Parameters { keys: 2, ..MEANT });
    println!("settle 2, execution 2: {states} states, all visited, no duplicate");
    assert_eq!((duplicate, stale_settlement, stuck), (None, None, None));
    assert!((100_000..1_000_000).contains(&states), "{states} states");
}

#[test]
fn a_duplicate_is_found_when_the_settle_time_is_shorter() {
    let findings = check(Parameters { keys: 2, settle: 1, ..MEANT });
    let run = findings.duplicate.unwrap();
    println!("settle 1, execution 2: {} states, and a duplicate:\n{run}", findings.states);
    assert_eq!(count(&run.0, |action| matches!(action, Action::Send { .. })), 2);
    assert_eq!(count(&run.0, |action| matches!(action, Action::Execute { .. })), 2);
    assert_eq!(count(&run.0, |action| matches!(action, Action::Look { .. })), 2, "each create follows a look");
    assert_eq!(count(&run.0, |action| matches!(action, Action::Tick)), 1, "after the settle time");
}

#[test]
fn the_rare_paths_are_taken() {
    for (ownership, can_lose_it_alive) in [(MEANT.ownership, true), (Ownership::Lock, false)] {
        let findings = check(Parameters { ownership, ..MEANT });
        assert!(findings.unknown_found && findings.unknown_absent && findings.given_up, "{ownership:?}");
        assert_eq!(findings.zombie_fenced, can_lose_it_alive, "{ownership:?}");
    }
}

#[test]
fn the_bounds_are_exact() {
    for execution in 1..=3 {
        for wait in 0..=execution + 1 {
            let covered = wait >= execution;
            let settle = check(Parameters { execution, settle: wait, takeover_wait: execution, ..MEANT });
            assert_eq!(settle.duplicate.is_none(), covered, "settle {wait}, execution {execution}");
            let restart = check(Parameters { execution, settle: execution, takeover_wait: wait, ..LOCKED });
            assert_eq!(restart.duplicate.is_none(), covered, "wait at a restart {wait}, execution {execution}");
        }
    }
}

#[test]
fn more_faults_find_no_more() {
    let many = check(Parameters { faults: 4, unknown_rounds: 3, ..MEANT });
    assert!(many.holds(), "{many}");
    let unique = check(Parameters { faults: 4, unknown_rounds: 3, ..UNIQUE });
    assert!(unique.holds(), "{unique}");
}

#[test]
fn every_run_ends_once_its_faults_are_used_up() {
    for parameters in [Parameters { keys: 2, faults: 2, ..MEANT }, Parameters { keys: 2, ..LOCKED }, MEANT, UNIQUE] {
        let states = every_run_ends(parameters);
        assert!(states.is_ok_and(|states| states > 10_000), "{parameters}: {states:?}");
    }
    assert_eq!(every_run_ends(Parameters { fenced: false, ..MEANT }), Err(Endless::Stuck));
}

/// What was found of a row: duplicate, settlement under an old fence, stuck.
fn wrong(row: &Row) -> [bool; 3] {
    let Findings { duplicate, stale_settlement, stuck, .. } = &row.findings;
    [duplicate.is_some(), stale_settlement.is_some(), stuck.is_some()]
}

#[test]
fn each_rule_and_each_assumption_is_needed() {
    const HOLDS: [bool; 3] = [false; 3];
    const DUPLICATE: [bool; 3] = [true, false, false];
    let table = truth_table();
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocols/unknown-outcomes.md"))
            .unwrap();
    for row in &table {
        println!("{row}");
    }
    let verdicts: Vec<_> = table.iter().map(|row| (row.name, wrong(row))).collect();
    assert_eq!(
        verdicts,
        [
            ("the waits cover the execution, shared store", HOLDS),
            ("the waits cover the execution, locked store", HOLDS),
            ("a settle time shorter than the execution", DUPLICATE),
            ("no wait at a takeover, shared store", DUPLICATE),
            ("a wait at a restart shorter than the execution, locked store", DUPLICATE),
            ("no intent before the first byte, locked store", DUPLICATE),
            ("no look before a create", DUPLICATE),
            ("lookups lag behind", DUPLICATE),
            ("lookups lag behind, and the waits cover that", HOLDS),
            ("a stop before the send that outlasts the lease (R1)", DUPLICATE),
            ("the same stop, and the waits cover it", HOLDS),
            ("the same stop, locked store", HOLDS),
            ("the same stop, unique key, no waits", HOLDS),
            ("unique key, no waits", HOLDS),
            ("unique key, no waits, no intent, lookups lag behind", HOLDS),
            ("a store that does not look at the fence", [true, true, true]),
            ("a store that does not look at the fence, unique key", [false, true, true]),
        ]
    );
    for row in &table {
        assert!(row.findings.states < 1_000_000, "{row}");
        assert!(page.contains(&row.to_string()), "the page is to hold the line\n{row}");
    }
}

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

#[test]
fn the_code_takes_every_step_of_the_model() {
    let two_faults = |parameters| Parameters { faults: 2, ..parameters };
    for parameters in [two_faults(MEANT), LOCKED, two_faults(UNIQUE), Parameters { keys: 2, faults: 1, ..MEANT }] {
        let walks = follow(&memory(), parameters);
        println!("{parameters}: {walks} walks");
        assert!(walks > 500, "{parameters}: {walks} walks");
    }
}

#[test]
fn a_verification_undoes_a_late_write_when_it_comes_after_it() {
    for execution in 1..=2 {
        for verify_after in [None, Some(0), Some(1), Some(2), Some(3)] {
            let found = check_late_writes(LateWrites { verify_after, execution, faults: 3 });
            let covered = verify_after.is_some_and(|wait| wait >= execution);
            println!("verified after {verify_after:?}, execution {execution}: {} states", found.states);
            assert_eq!(found.regress.is_none(), covered, "after {verify_after:?}, execution {execution}");
            assert!(found.undone, "after {verify_after:?}, execution {execution}");
            assert!(found.ends.is_ok(), "{:?}", found.ends);
            if let Some(run) = found.regress {
                println!("{run}");
                assert!(run.0.contains(&LateAction::GiveUp) || run.0.contains(&LateAction::Crash));
            }
        }
    }
}
