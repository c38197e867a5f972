//! Parents before children, whatever the order in which they come.

use std::sync::Arc;
use std::time::Duration;

use sync_core::traits::{Backlog, BacklogStats, Outcome, Rejection};
use sync_core::{RunMode, RunReport, StreamConfig, StreamId, Tally, WorkflowState};

use crate::parties::{FakeSource, Fault, key};
use crate::world::{World, end_of, until};

/// A second table of the same workflow that writes to the same destination.
struct Family {
    world: World,
    parents: Arc<FakeSource>,
}

fn parents() -> StreamId {
    StreamId::new("test/parents")
}

impl Family {
    fn new() -> Self {
        Self { world: World::new(), parents: Arc::new(FakeSource::new()) }
    }

    fn streams(&self) -> Vec<StreamConfig> {
        // Of one rank, so that nothing but the links orders them.
        let children = self.world.stream_config();
        let parents = StreamConfig { id: parents(), source: self.parents.clone(), ..children.clone() };
        vec![children, parents]
    }

    async fn run(&self) -> RunReport {
        end_of(self.world.workflow_of(self.streams()).start(RunMode::UntilIdle)).await
    }

    fn created(&self) -> Vec<String> {
        let calls = self.world.destination.state().calls.clone();
        calls.into_iter().filter_map(|call| call.strip_prefix("create ").map(str::to_owned)).collect()
    }

    fn assert_before(&self, earlier: &str, later: &str) {
        let created = self.created();
        let place = |name: &str| created.iter().position(|other| other == name);
        let (Some(earlier_at), Some(later_at)) = (place(earlier), place(later)) else {
            panic!("{earlier} or {later} is not there: {created:?}");
        };
        assert!(earlier_at < later_at, "{earlier} before {later}: {created:?}");
    }

    async fn stats(&self) -> BacklogStats {
        self.world.stats().await
    }
}

fn refusal() -> Fault {
    let rejection = Rejection { code: "too-long".into(), field: None, explanation: "Shorten it.".into() };
    Fault::Say(Outcome::Rejected(rejection))
}

#[tokio::test]
async fn children_wait_within_a_stream_and_across_streams_whatever_comes_first() {
    let family = Family::new();
    let source = &family.world.source;
    source.put("a", "child < test/records#z");
    source.put("b", "child < test/parents#p test/records#z");
    source.put("c", "grandchild < test/records#a test/records#b");
    source.put("z", "parent");
    family.parents.put("p", "parent");
    let report = family.run().await;
    assert_eq!(report.status.reason, None);
    for (earlier, later) in [("z", "a"), ("z", "b"), ("p", "b"), ("a", "c"), ("b", "c")] {
        family.assert_before(earlier, later);
    }
    assert_eq!(report.streams[0].tally, Tally { read: 4, inserted: 4, ..Tally::default() });
    assert_eq!(family.stats().await, BacklogStats::default());
}

#[tokio::test]
async fn a_run_ends_with_children_that_wait_and_the_parents_arrival_releases_them() {
    let family = Family::new();
    family.world.source.put("a", "child < test/parents#p");
    family.world.source.put("b", "alone");
    let report = family.run().await;
    assert_eq!((report.status.state, report.status.reason), (WorkflowState::Stopped, None));
    let stats = family.stats().await;
    assert_eq!((stats.waiting, stats.queued, stats.depth()), (1, 1, 1));
    assert_eq!(family.created(), ["b"], "its neighbour is not held up");
    family.parents.put("p", "parent");
    family.run().await;
    family.assert_before("p", "a");
    assert_eq!(family.stats().await.depth(), 0);
}

#[tokio::test]
async fn a_parent_that_is_refused_or_filtered_out_keeps_its_child_waiting_until_it_comes_after_all() {
    let family = Family::new();
    family.world.source.put("a", "child < test/parents#p");
    family.world.source.put("b", "child < test/parents#q");
    family.parents.put("p", "refused");
    family.parents.put("q", "skip this");
    family.world.destination.fault("p", refusal());
    family.run().await;
    assert_eq!(family.stats().await.waiting, 2);
    assert!(family.created().iter().all(|name| name == "p"));
    family.parents.put("p", "mended");
    family.parents.put("q", "wanted");
    family.run().await;
    family.assert_before("q", "b");
    family.assert_before("p", "a");
    assert_eq!(family.stats().await.depth(), 0);
    assert!(family.world.dead().await.is_empty());
}

#[tokio::test]
async fn what_is_given_up_waiting_is_queued_again_when_the_parent_comes() {
    let mut family = Family::new();
    family.world.options.parent_wait = Duration::from_secs(600);
    family.world.source.put("a", "child < test/parents#p");
    family.world.source.put("b", "grandchild < test/records#a");
    family.run().await;
    family.world.clock.advance(Duration::from_secs(700));
    let handle = family.world.workflow_of(family.streams()).start(RunMode::Continuous);
    until(|| handle.tallies()[0].1.dead == 2).await;
    handle.stop();
    end_of(handle).await;
    let letters = family.world.dead().await;
    assert!(letters.iter().all(|letter| letter.rejection.code == "parent-missing"), "{letters:?}");
    assert_eq!(family.stats().await.depth(), 0);
    family.parents.put("p", "parent");
    let report = family.run().await;
    family.assert_before("p", "a");
    family.assert_before("a", "b");
    assert!(family.world.dead().await.is_empty());
    assert_eq!(report.streams[0].tally, Tally { read: 2, inserted: 2, ..Tally::default() }, "read once more each");
}

#[tokio::test]
async fn a_circle_is_broken_by_the_record_that_closes_it() {
    let family = Family::new();
    let source = &family.world.source;
    source.put("a", "x < test/records#b");
    source.put("b", "x < test/records#a");
    source.put("c", "x < test/records#c");
    source.put("d", "x < test/parents#e");
    source.put("f", "x < test/records#a");
    family.parents.put("e", "x < test/records#d");
    let report = family.run().await;
    assert_eq!(report.status.reason, None);
    family.assert_before("b", "a");
    family.assert_before("a", "f");
    assert_eq!(family.created().len(), 6, "each once: {:?}", family.created());
    assert_eq!((family.world.dead().await.len(), family.stats().await.depth()), (0, 0));
}

#[tokio::test]
async fn a_parent_deleted_meanwhile_makes_new_children_wait_and_written_ones_stay() {
    let family = Family::new();
    family.parents.put("p", "parent");
    family.world.source.put("a", "child < test/parents#p");
    family.run().await;
    family.parents.delete("p");
    family.run().await;
    family.world.source.put("b", "child < test/parents#p");
    family.run().await;
    assert_eq!(family.stats().await.waiting, 1);
    assert!(family.world.destination.state().records.contains_key(&key("a")));
    // A child that needs its parent no more goes on by itself, and one that is gone needs nothing.
    family.world.source.put("b", "alone now");
    family.world.source.put("c", "child < test/parents#p");
    family.run().await;
    family.world.source.delete("c");
    family.run().await;
    assert_eq!(family.stats().await.depth(), 0);
    assert!(family.world.destination.state().records.contains_key(&key("b")));
    assert!(!family.world.destination.state().records.contains_key(&key("c")));
}

#[tokio::test]
async fn more_waiting_children_than_the_high_water_mark_do_not_keep_their_parents_from_being_read() {
    let mut family = Family::new();
    family.world.options.high_water = 4;
    for number in 0..12 {
        family.world.source.put(&format!("a{number:02}"), "child < test/records#z");
    }
    family.world.source.put("z", "parent");
    let report = family.run().await;
    assert_eq!(report.status.reason, None);
    assert_eq!(report.streams[0].tally, Tally { read: 13, inserted: 13, ..Tally::default() });
    assert_eq!(family.created()[0], "z");
    assert_eq!(family.world.store.stats(&parents()).await.unwrap().depth(), 0);
}
