//! The change feed: snapshot, changes, waits and trouble.

use std::time::Duration;

use record::Key;
use sync_core::engine::reader::{
    Context, Parents, PassNote, ReaderAction as A, ReaderConfig, ReaderInput as I, ReaderMachine,
};
use sync_core::traits::{PassKind, Phase, PositionState};
use sync_core::{EndpointErrorKind, PlanVersion};

use crate::support::{IDLE, PLAN, checkpoint, config, drafts, loaded, page, show, tells_feed_read, trouble};

#[test]
fn a_first_load_reads_ahead_by_one_page_and_finishes_when_a_source_has_no_change() {
    let (mut machine, first) = loaded(config(true), None, PassNote::default());
    assert_eq!(first, ["read start 10"]);
    let actions = machine.step(IDLE, page(2, "p1", Phase::Snapshot, true));
    assert_eq!(show(&actions), ["read p1 10", "append 2 to p1 v0 g1 Snapshot seen None"]);
    let actions = machine.step(IDLE, page(1, "d0", Phase::Snapshot, false));
    assert_eq!(show(&actions), Vec::<String>::new(), "one append at a time");
    let actions = machine.step(IDLE, I::Stored(checkpoint(1, 1, Phase::Snapshot, Some("p1"))));
    assert_eq!(show(&actions), ["append 1 to d0 v1 g1 Incremental seen None"]);
    let actions = machine.step(IDLE, I::Stored(checkpoint(2, 1, Phase::Incremental, Some("d0"))));
    assert_eq!(show(&actions), ["complete", "read d0 10"]);
    let actions = machine.step(IDLE, page(1, "d1", Phase::Incremental, false));
    assert_eq!(show(&actions), ["append 1 to d1 v2 g1 Incremental seen None"]);
    let actions = machine.step(IDLE, I::Stored(checkpoint(3, 1, Phase::Incremental, Some("d1"))));
    assert_eq!(show(&actions), ["read d1 10"], "a change was there: it is asked again");
    let actions = machine.step(IDLE, page(0, "d1", Phase::Incremental, false));
    assert_eq!(show(&actions), ["finish"], "an unmoved position is not written");
}

#[test]
fn rows_that_are_known_already_do_not_keep_a_run_from_ending() {
    let (mut machine, first) =
        loaded(config(true), Some(checkpoint(5, 1, Phase::Incremental, Some("d1"))), PassNote::default());
    assert_eq!(first, ["read d1 10"]);
    let actions = machine.step(IDLE, page(1, "d2", Phase::Incremental, false));
    assert_eq!(show(&actions), ["append 1 to d2 v5 g1 Incremental seen None"]);
    let actions = machine.step(IDLE, I::StoredQuiet(checkpoint(6, 1, Phase::Incremental, Some("d2"))));
    assert_eq!(show(&actions), ["finish"]);
}

#[test]
fn an_empty_answer_with_a_new_position_is_kept() {
    let (mut machine, first) =
        loaded(config(true), Some(checkpoint(5, 1, Phase::Incremental, Some("d1"))), PassNote::default());
    assert_eq!(first, ["read d1 10"]);
    let actions = machine.step(IDLE, page(0, "d2", Phase::Incremental, false));
    assert_eq!(show(&actions), ["append 0 to d2 v5 g1 Incremental seen None"]);
    let actions = machine.step(IDLE, I::Stored(checkpoint(6, 1, Phase::Incremental, Some("d2"))));
    assert_eq!(show(&actions), ["finish"]);
}

#[test]
fn a_continuous_reader_polls() {
    let (mut machine, _) =
        loaded(config(false), Some(checkpoint(5, 1, Phase::Incremental, Some("d1"))), PassNote::default());
    let actions = machine.step(IDLE, page(0, "d1", Phase::Incremental, false));
    assert_eq!(show(&actions), ["wait 30000ms"]);
    let early = Context { now: Duration::from_secs(10), ..IDLE };
    assert_eq!(show(&machine.step(early, I::Woken)), ["wait 20000ms"], "it was woken for something else");
    let due = Context { now: Duration::from_secs(30), ..IDLE };
    assert_eq!(show(&machine.step(due, I::Woken)), ["read d1 10"]);
}

#[test]
fn reading_pauses_above_the_high_water_mark_and_resumes_at_half() {
    let full = Context { backlog: 101, unit: 0.0, ..IDLE };
    let (mut machine, _) = loaded(config(true), None, PassNote::default());
    let actions = machine.step(full, page(1, "p1", Phase::Snapshot, true));
    assert_eq!(show(&actions), ["append 1 to p1 v0 g1 Snapshot seen None"], "nothing is read ahead");
    let actions = machine.step(full, I::Stored(checkpoint(1, 1, Phase::Snapshot, Some("p1"))));
    assert_eq!(show(&actions), ["drain 50"]);
    let above_half = Context { backlog: 51, unit: 0.0, ..IDLE };
    assert_eq!(show(&machine.step(above_half, I::Woken)), ["drain 50"]);
    let half = Context { backlog: 50, unit: 0.0, ..IDLE };
    assert_eq!(show(&machine.step(half, I::Woken)), ["read p1 10"]);
}

#[test]
fn trouble_of_the_service_is_waited_out_and_shown() {
    let (mut machine, _) = loaded(config(true), None, PassNote::default());
    let actions = machine.step(IDLE, I::ReadFailed(trouble(EndpointErrorKind::Unavailable, None)));
    assert_eq!(show(&actions), ["retrying 2000ms", "trouble down", "back off 2000ms"]);
    assert_eq!(show(&machine.step(IDLE, I::Woken)), ["read start 10"]);
    let wish = Some(Duration::from_secs(7));
    let actions = machine.step(IDLE, I::ReadFailed(trouble(EndpointErrorKind::Unavailable, wish)));
    assert_eq!(show(&actions), ["retrying 7000ms", "trouble down", "back off 7000ms"], "never earlier than asked for");
    assert_eq!(show(&machine.step(IDLE, I::Woken)), ["read start 10"]);
    let actions = machine.step(IDLE, page(1, "d0", Phase::Snapshot, false));
    assert_eq!(show(&actions), ["trouble none", "append 1 to d0 v0 g1 Incremental seen None"]);
}

#[test]
fn a_refusal_fails_the_workflow() {
    let (mut machine, _) = loaded(config(true), None, PassNote::default());
    let actions = machine.step(IDLE, I::ReadFailed(trouble(EndpointErrorKind::Refused, None)));
    assert_eq!(show(&actions), ["fail down"]);
    assert_eq!(show(&machine.step(IDLE, I::Woken)), Vec::<String>::new(), "nothing comes after that");
}

#[test]
fn a_page_that_leads_to_itself_is_trouble() {
    let (mut machine, _) =
        loaded(config(true), Some(checkpoint(1, 1, Phase::Snapshot, Some("p1"))), PassNote::default());
    let actions = machine.step(IDLE, page(3, "p1", Phase::Snapshot, true));
    assert_eq!(show(&actions), ["retrying 2000ms", "trouble position-stuck", "back off 2000ms"]);
}

#[test]
fn a_moved_checkpoint_is_loaded_again_once_the_read_ahead_is_in() {
    let (mut machine, _) = loaded(config(true), None, PassNote::default());
    machine.step(IDLE, page(2, "p1", Phase::Snapshot, true));
    assert_eq!(show(&machine.step(IDLE, I::Conflict)), Vec::<String>::new());
    assert_eq!(show(&machine.step(IDLE, page(2, "p2", Phase::Snapshot, true))), ["load"]);
    let moved = checkpoint(9, 1, Phase::Snapshot, Some("p7"));
    let actions =
        machine.step(IDLE, I::Loaded { checkpoint: Some(moved), note: PassNote::default(), plan: Some(PLAN) });
    assert_eq!(show(&actions), ["read p7 10"]);
}

#[test]
fn what_another_plan_made_is_asked_for_again_before_anything_is_read() {
    let mut machine = ReaderMachine::new(config(true));
    machine.start();
    let at = || Some(checkpoint(5, 1, Phase::Incremental, Some("d1")));
    let loaded = I::Loaded { checkpoint: at(), note: PassNote::default(), plan: Some(PlanVersion(6)) };
    assert_eq!(show(&machine.step(IDLE, loaded)), ["plan None"], "the note of the other plan holds no more");
    assert_eq!(show(&machine.step(IDLE, I::PlanMarked)), ["outdated false 2"]);
    let keys = |names: &[&str]| I::Outdated(names.iter().map(|name| Key::text(*name)).collect());
    assert_eq!(show(&machine.step(IDLE, keys(&["a", "b"]))), ["refetch 2"]);
    let failed = machine.step(IDLE, I::FetchFailed(trouble(EndpointErrorKind::Unavailable, None)));
    assert_eq!(show(&failed), ["retrying 2000ms", "trouble down", "back off 2000ms"]);
    assert_eq!(show(&machine.step(IDLE, I::Woken)), ["refetch 2"]);
    let fetched = machine.step(IDLE, I::Fetched(drafts(2)));
    assert_eq!(show(&fetched), ["trouble none", "append 2 to d1 v5 g1 Incremental seen None refresh"]);
    let stored = machine.step(IDLE, I::Stored(checkpoint(6, 1, Phase::Incremental, Some("d1"))));
    assert_eq!(show(&stored), ["outdated true 2"]);
    assert_eq!(show(&machine.step(IDLE, keys(&[]))), ["plan Some(7)"]);
    assert_eq!(show(&machine.step(IDLE, I::PlanMarked)), ["read d1 10"]);
}

#[test]
fn a_new_store_only_notes_its_plan_and_an_expired_one_reads_a_page_first() {
    let start = |at| {
        let mut machine = ReaderMachine::new(config(true));
        machine.start();
        let actions = machine.step(IDLE, I::Loaded { checkpoint: at, note: PassNote::default(), plan: None });
        (machine, show(&actions))
    };
    assert_eq!(start(None).1, ["plan Some(7)"]);
    let (mut machine, actions) = start(Some(checkpoint(9, 2, Phase::Snapshot, None)));
    assert_eq!(actions, ["read start 10"]);
    let actions = machine.step(IDLE, page(2, "p1", Phase::Snapshot, true));
    assert_eq!(show(&actions), ["append 2 to p1 v9 g2 Snapshot seen Some(2) refresh"], "and no page is read ahead");
    let actions = machine.step(IDLE, I::Stored(checkpoint(10, 2, Phase::Snapshot, Some("p1"))));
    assert_eq!(show(&actions), ["outdated false 2"]);
}

#[test]
fn a_source_that_always_expires_is_asked_with_waits_in_between() {
    let (mut machine, _) = loaded(config(true), None, PassNote::default());
    let actions = machine.step(IDLE, I::ReadFailed(trouble(EndpointErrorKind::Expired, None)));
    assert_eq!(show(&actions), ["retrying 2000ms", "trouble down", "back off 2000ms"], "no position was given");
}

#[test]
fn the_guardian_tells_when_a_position_grows_old_and_when_it_is_young_again() {
    let config = ReaderConfig { retention: Some(Duration::from_millis(1_000)), ..config(false) };
    let at = |now_ms| Context { now_ms, ..IDLE };
    let mut machine = ReaderMachine::new(config);
    machine.start();
    let old = checkpoint(5, 1, Phase::Incremental, Some("d1"));
    let loaded = I::Loaded { checkpoint: Some(old), note: PassNote::default(), plan: Some(PLAN) };
    assert_eq!(show(&machine.step(at(499), loaded)), ["read d1 10"]);
    let down = || I::ReadFailed(trouble(EndpointErrorKind::Unavailable, None));
    let told = |actions: Vec<String>| actions.into_iter().filter(|action| !action.contains("ms")).collect::<Vec<_>>();
    assert_eq!(told(show(&machine.step(at(500), down()))), ["guard none", "aging", "trouble down"]);
    machine.step(at(600), I::Woken);
    assert_eq!(told(show(&machine.step(at(750), down()))), ["guard position-at-risk", "at-risk", "trouble down"]);
    machine.step(at(800), I::Woken);
    assert_eq!(told(show(&machine.step(at(1_000), down()))), ["guard position-expired", "expired", "trouble down"]);
    machine.step(at(1_100), I::Woken);
    let actions = show(&machine.step(at(1_200), page(0, "d1", Phase::Incremental, false)));
    assert_eq!(told(actions), ["trouble none", "guard none", "fresh"]);
    assert!(PositionState::Expired > PositionState::AtRisk);
}

#[test]
fn the_end_of_the_feed_is_told_when_what_it_told_is_stored() {
    let (mut machine, _) = loaded(config(false), None, PassNote::default());
    let told = |actions: Vec<A>| tells_feed_read(&actions);
    assert!(!told(machine.step(IDLE, page(1, "d0", Phase::Snapshot, false))));
    let actions = machine.step(IDLE, I::Stored(checkpoint(1, 1, Phase::Incremental, Some("d0"))));
    assert!(!told(actions), "a snapshot tells of no deletes");
    assert!(!told(machine.step(IDLE, page(1, "d1", Phase::Incremental, true))));
    assert!(!told(machine.step(IDLE, I::Stored(checkpoint(2, 1, Phase::Incremental, Some("d1"))))), "more is to come");
    assert!(!told(machine.step(IDLE, page(1, "d2", Phase::Incremental, false))));
    assert!(told(machine.step(IDLE, I::Stored(checkpoint(3, 1, Phase::Incremental, Some("d2"))))));
    machine.step(Context { now: Duration::from_secs(60), ..IDLE }, I::Woken);
    assert!(told(machine.step(IDLE, page(0, "d2", Phase::Incremental, false))), "nothing is to be stored");
}

#[test]
fn the_feed_does_not_tell_of_everything_while_a_closing_sweep_is_to_come() {
    let told = |kind| {
        let note = PassNote { due: Some(kind), ..PassNote::default() };
        let at = |generation| Some(checkpoint(5, generation, Phase::Incremental, Some("d1")));
        [1, 2].map(|generation| {
            let (mut machine, _) = loaded(config(false), at(generation), note.clone());
            tells_feed_read(&machine.step(IDLE, page(0, "d1", Phase::Incremental, false)))
        })
    };
    assert_eq!(told(PassKind::Closing), [false, false]);
    assert_eq!(told(PassKind::Replay), [true, false], "after a new snapshot it is a closing sweep, too");
    assert_eq!(told(PassKind::Audit), [true, true]);
}

#[test]
fn a_run_until_idle_ends_after_those_of_parents_and_reads_once_more_for_their_deletes() {
    let (mut machine, _) =
        loaded(config(true), Some(checkpoint(5, 1, Phase::Incremental, Some("d1"))), PassNote::default());
    let reading = Context { parents: Parents::Reading, ..IDLE };
    let actions = machine.step(reading, page(0, "d1", Phase::Incremental, false));
    assert_eq!(show(&actions), ["wait for parents"]);
    let deleted = Context { parents: Parents::Deleted, ..IDLE };
    assert_eq!(show(&machine.step(deleted, I::Woken)), ["read d1 10"]);
    let actions = machine.step(IDLE, page(1, "d2", Phase::Incremental, false));
    assert_eq!(show(&actions), ["append 1 to d2 v5 g1 Incremental seen None"]);
    let actions = machine.step(IDLE, I::Stored(checkpoint(6, 1, Phase::Incremental, Some("d2"))));
    assert_eq!(show(&actions), ["read d2 10"]);
    assert_eq!(show(&machine.step(IDLE, page(0, "d2", Phase::Incremental, false))), ["finish"]);
}
