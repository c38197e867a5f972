use std::time::Duration;

use super::{Lane, next_claim};
use crate::traits::{Class, Entry, EntryBody, Verdict};
use crate::{PlanVersion, Seq};

const NOW: Duration = Duration::from_secs(100);

fn lanes() -> Vec<Lane> {
    vec![Lane::new(1, 4), Lane::new(0, 4), Lane::new(1, 4)]
}

fn claims(lanes: &[Lane]) -> Option<usize> {
    next_claim(lanes, NOW, |_| false)
}

#[test]
fn parents_claim_before_children() {
    let mut lanes = lanes();
    assert_eq!(claims(&lanes), Some(1));
    lanes[1].claiming = true;
    assert_eq!(claims(&lanes), None, "children wait for the answer");
    lanes[1].claiming = false;
    lanes[1].hungry = false;
    assert_eq!(claims(&lanes), Some(0));
    lanes[1].in_flight = 1;
    assert_eq!(claims(&lanes), None, "a parent is with the destination");
    lanes[1].in_flight = 0;
    lanes[0].hungry = false;
    assert_eq!(claims(&lanes), Some(2), "streams of one rank do not wait for each other");
    assert_eq!(next_claim(&lanes, NOW, |lane| lane == 1), None, "the parents are not all read");
    assert_eq!(next_claim(&lanes, NOW, |lane| lane == 0), Some(2));
}

#[test]
fn a_replay_of_the_parents_holds_no_child_up() {
    let mut lanes = lanes();
    lanes[0].hungry = true;
    let replayed = Entry { class: Class::Replay, ..entry() };
    lanes[1].claimed(1, 1, vec![replayed.clone()], 512, NOW);
    assert!(lanes[1].hungry && !lanes[1].buffer.is_empty());
    lanes[1].claiming = true;
    assert_eq!(claims(&lanes), Some(0), "what is written again is there");
    lanes[1].claimed(2, 2, vec![replayed, entry()], 512, NOW);
    lanes[1].claiming = true;
    assert_eq!(claims(&lanes), None, "a change of a parent goes first");
}

#[test]
fn a_paused_lane_claims_nothing_until_the_pause_is_over() {
    let mut lane = Lane::new(0, 4);
    lane.paused_until = Some(NOW + Duration::from_secs(1));
    assert!(!lane.wants(NOW));
    assert!(lane.wants(NOW + Duration::from_secs(1)));
}

#[test]
fn settlements_wait_for_company_but_not_long() {
    let linger = Duration::from_millis(5);
    let mut lane = Lane::new(0, 4);
    assert!(!lane.flush(3, linger, NOW), "nothing ended");
    lane.in_flight = 1;
    lane.end(Seq(1), Verdict::Released, NOW);
    assert!(!lane.flush(3, linger, NOW), "another is on its way");
    assert!(lane.flush(3, linger, NOW + linger));
    lane.end(Seq(2), Verdict::Released, NOW);
    lane.end(Seq(3), Verdict::Released, NOW);
    assert!(lane.flush(3, linger, NOW), "a full batch");
    lane.settling = 3;
    assert!(!lane.flush(3, linger, NOW), "one batch at a time");
    lane.settling = 0;
    lane.ended.truncate(1);
    lane.in_flight = 0;
    assert!(lane.flush(3, linger, NOW), "nobody else will come");
}

#[test]
fn a_claim_is_as_large_as_what_is_written_in_a_tenth_of_a_second() {
    let mut lane = Lane::new(0, 4);
    let claims = |lane: &mut Lane, every: Duration| {
        let mut now = NOW;
        for _ in 0..12 {
            now += every;
            let entries = vec![entry(); lane.batch];
            lane.claimed(entries.len(), entries.len(), entries, 512, now);
        }
        lane.claimed_at = None;
        lane.batch
    };
    assert_eq!(lane.batch, 8, "at first what is in flight, and as many that wait");
    assert_eq!(claims(&mut lane, Duration::from_millis(10)), 512, "fast");
    assert_eq!(claims(&mut lane, Duration::from_millis(100)), 512, "right");
    assert_eq!(claims(&mut lane, Duration::from_secs(1)), 8, "slow");
    lane.claimed(8, 1, vec![entry()], 512, NOW);
    assert_eq!((lane.batch, lane.hungry), (8, false), "the end of the backlog says nothing about the rate");
}

fn entry() -> Entry {
    Entry {
        seq: Seq(1),
        key: record::Key::text("k"),
        body: EntryBody::Delete,
        version: None,
        attempt: 1,
        appended_ms: 0,
        unknown: false,
        class: Class::Live,
        replay: false,
        verification: false,
        plan: PlanVersion(1),
        bound: true,
        written: None,
    }
}
