//! Random histories find no difference where there is none, and find defects where there are, in few steps.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRng, TestRunner};
use sync_testkit::Ground;
use sync_testkit::certify::quietly;
use sync_testkit::defective::{Defect, DefectiveGround};
use sync_testkit::model::{Step, compare, compare_on, histories, shorten};

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_whole_store_answers_as_the_model_does(history in histories(160)) {
        compare_on(&DefectiveGround::whole_and_shared(), &history);
        compare(DefectiveGround::whole_and_exclusive().open(), &history);
    }
}

/// The shortest history that shows a defect.
fn shown(defect: Defect) -> Vec<Step> {
    let config = ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() };
    let algorithm = config.rng_algorithm;
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(algorithm));
    let found = runner.run(&histories(120), |history| {
        let compared = quietly(|| compare_on(&DefectiveGround::with(defect), &history));
        compared.map_err(TestCaseError::fail)
    });
    match found {
        Err(TestError::Fail(_, history)) => {
            shorten(history, |history| quietly(|| compare_on(&DefectiveGround::with(defect), history)).is_err())
        }
        other => panic!("{defect:?} is not shown: {other:?}"),
    }
}

#[test]
fn defects_are_shown_in_few_steps() {
    let defects = [
        Defect::DoubtForgotten,
        Defect::OldParentsKept,
        Defect::ReplayForgotten,
        Defect::GivesUpTooEarly,
        Defect::StaleAccepted,
        Defect::EndedLeaseRenewed,
        Defect::ReleasedNotTold,
        Defect::DropsTooYoung,
    ];
    for defect in defects {
        let history = shown(defect);
        println!("{defect:?}: {} steps", history.len());
        assert!(history.len() <= 6, "{defect:?} is shown in {} steps: {history:?}", history.len());
        let again = quietly(|| compare_on(&DefectiveGround::with(defect), &history));
        assert!(again.is_err(), "what is left of the history shows the defect");
        compare_on(&DefectiveGround::whole_and_shared(), &history);
    }
}
