//! The suites find every defect that is planted, and each by the cases it is planted for alone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

use std::collections::BTreeSet;

use sync_testkit::certify;
use sync_testkit::conformance::{DESTINATION, SOURCE, STORE};
use sync_testkit::defective::{DefectiveGround, Kill, ShelfGround, TableGround, hunt, hunt_destinations, hunt_sources};

/// No defect survives; none is found by a case it is not planted for; every case finds one.
fn assert_found(kills: &[Kill], cases: &[&str]) {
    let mut wrong = Vec::new();
    for kill in kills {
        let elsewhere = kill.killed_by.iter().any(|case| !kill.planted_for.contains(case));
        if kill.survived() || elsewhere {
            wrong.push(format!("{} is planted for {:?}, found by {:?}", kill.name, kill.planted_for, kill.killed_by));
        }
    }
    let killers: BTreeSet<&str> = kills.iter().flat_map(|kill| kill.killed_by.iter().copied()).collect();
    let idle = cases.iter().filter(|case| !killers.contains(*case));
    wrong.extend(idle.map(|case| format!("{case} finds no defect")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_defect_of_a_store_is_found() {
    let cases: Vec<&str> = STORE.iter().map(|case| case.name).collect();
    assert_found(&hunt(), &cases);
}

#[test]
fn without_a_defect_everything_holds() {
    for (ground, skipped) in
        [(DefectiveGround::whole_and_shared as fn() -> DefectiveGround, 1), (DefectiveGround::whole_and_exclusive, 6)]
    {
        let certificate = certify::store(ground);
        assert!(certificate.holds(), "{certificate}");
        assert_eq!(certificate.skipped.len(), skipped, "{certificate}");
    }
}

#[test]
fn every_defect_of_a_source_is_found() {
    let cases: Vec<&str> = SOURCE.iter().map(|case| case.name).collect();
    assert_found(&hunt_sources(), &cases);
    for (ground, skipped) in [(TableGround::default as fn() -> TableGround, 1), (TableGround::without_scan, 3)] {
        let certificate = certify::source(ground);
        assert!(certificate.holds(), "{certificate}");
        assert_eq!(certificate.skipped.len(), skipped, "{certificate}");
    }
}

#[test]
fn every_defect_of_a_destination_is_found() {
    let cases: Vec<&str> = DESTINATION.iter().map(|case| case.name).collect();
    assert_found(&hunt_destinations(), &cases);
    let certificate = certify::destination(ShelfGround::default);
    assert!(certificate.holds() && certificate.skipped.is_empty(), "{certificate}");
}
