//! The guide names every case for stores, and nothing that is none.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

use std::collections::BTreeSet;

use sync_testkit::conformance::STORE;

const GUIDE: &str = include_str!("../../../docs/certifying.md");

#[test]
fn every_number_has_a_row_and_every_case_is_named() {
    let numbers: Vec<&str> =
        GUIDE.lines().filter_map(|line| line.strip_prefix("| C")).map(|line| line.get(..2).unwrap()).collect();
    let wanted: Vec<String> = (1..=46).filter(|number| *number != 9).map(|number| format!("{number:02}")).collect();
    assert_eq!(numbers, wanted, "the 45 cases, C09 was never given");
    let (_, cases) = GUIDE.split_once("## The 45 cases").unwrap();
    let named: BTreeSet<&str> = cases.split('`').filter(|word| word.contains("::")).collect();
    let all: BTreeSet<&str> = STORE.iter().map(|case| case.name).collect();
    assert_eq!(named, all);
}
