//! Destinations that say that what a record refers to is not there yet.

use std::time::Duration;

use sync_core::traits::{Outcome, SyncEvent};
use sync_core::{RunMode, Tally, WorkflowState};
use timing::{Backoff, Clock};

use crate::parties::Fault;
use crate::world::{World, end_of};

fn not_yet() -> Fault {
    Fault::Say(Outcome::NotYet { code: "no-contact".into() })
}

#[tokio::test]
async fn it_holds_up_neither_others_nor_the_end_of_a_run_and_is_written_in_a_later_one() {
    let world = World::new();
    world.fill(5);
    world.destination.fault("k001", not_yet());
    let report = world.run().await;
    assert_eq!((report.status.state, report.status.reason), (WorkflowState::Stopped, None));
    assert_eq!(report.streams[0].tally, Tally { read: 5, inserted: 4, ..Tally::default() });
    assert_eq!((world.stats().await.queued, world.stats().await.depth()), (1, 1));
    assert_eq!(world.events.count(|event| matches!(event, SyncEvent::PauseBegun { .. })), 0);
    world.run().await;
    assert_eq!(world.stats().await.depth(), 0);
    world.assert_equal();
}

#[tokio::test]
async fn no_number_of_such_answers_gives_a_record_up_and_its_age_does() {
    let mut world = World::new();
    world.options.poison_threshold = 2;
    world.options.parent_wait = Duration::from_secs(1200);
    world.options.record_backoff = Backoff::new(Duration::from_secs(60), 1.0, Duration::from_secs(60));
    world.poll_every = Duration::from_secs(3600);
    world.fill(2);
    for _ in 0..100 {
        world.destination.fault("k001", not_yet());
    }
    let begun_ms = world.clock.now().timestamp_millis();
    let handle = world.workflow().start(RunMode::Continuous);
    let asked = || world.destination.state().calls.iter().filter(|call| *call == "create k001").count();
    world.let_pass(Duration::from_secs(900)).await;
    assert!(asked() >= 20, "{} answers", asked());
    assert_eq!(handle.tallies()[0].1.dead, 0);
    world.let_pass(Duration::from_secs(400)).await;
    assert_eq!(handle.tallies()[0].1.dead, 1);
    handle.stop();
    end_of(handle).await;
    let letters = world.dead().await;
    assert_eq!((letters[0].rejection.code.as_str(), letters.len()), ("no-contact", 1));
    assert!(letters[0].at_ms - begun_ms >= 1_200_000, "not before its time");
    assert_eq!(world.stats().await.depth(), 0);
}

#[tokio::test]
async fn more_of_them_than_the_high_water_mark_do_not_keep_the_rest_from_being_read() {
    let mut world = World::new();
    world.options.high_water = 4;
    world.fill(20);
    for number in 0..12 {
        for _ in 0..3 {
            world.destination.fault(&format!("k{number:03}"), not_yet());
        }
    }
    let report = world.run().await;
    assert_eq!(report.status.reason, None);
    assert_eq!(report.streams[0].tally.read, 20);
    assert!(report.streams[0].tally.inserted >= 8);
}
