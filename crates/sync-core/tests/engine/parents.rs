//! Parents before children, whatever the order in which they come.

use std::sync::Arc;
use std::time::Duration;

use sync_core::traits::{Backlog, BacklogStats, Outcome, Rejection};
use sync_core::{EndpointErrorKind, RunMode, RunReport, StreamConfig, StreamId, Tally, WorkflowState};

use crate::parties::{Edit, FakeSource, Fault, key};
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

    fn ranked(&self) -> Vec<StreamConfig> {
        let mut streams = self.streams();
        streams[0].rank = 1;
        streams
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
    let stats = family.stats().await;
    assert_eq!(stats, BacklogStats { last: stats.last, ..BacklogStats::default() });
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

/// A child's delete that cannot go on for so long, and what becomes of its parent's meanwhile.
async fn deleted_while_the_childs_delete_waits(parent_wait: Duration) -> (Vec<String>, Vec<String>) {
    let mut family = Family::new();
    family.world.options.parent_wait = parent_wait;
    family.world.source.put("a", "child < test/parents#p");
    family.parents.put("p", "parent");
    let handle = family.world.workflow_of(family.ranked()).start(RunMode::Continuous);
    until(|| family.created().len() == 2).await;
    let wait = Some(Duration::from_secs(600));
    family.world.destination.fault("a", Fault::Say(Outcome::Retry { after: wait, code: "throttled".into() }));
    let calls = || family.world.destination.state().calls.clone();
    family.world.source.delete("a");
    until(|| calls().contains(&"delete a".to_owned())).await;
    family.parents.delete("p");
    family.parents.put("q", "another");
    family.world.let_pass(Duration::from_secs(300)).await;
    let meanwhile = calls().split_off(3);
    family.world.let_pass(Duration::from_secs(400)).await;
    handle.stop();
    end_of(handle).await;
    assert!(family.world.destination.state().records.keys().eq([&key("q")]));
    (meanwhile, calls().split_off(3))
}

#[tokio::test]
async fn a_parent_is_deleted_after_its_children_and_holds_up_nothing_else() {
    let (meanwhile, all) = deleted_while_the_childs_delete_waits(Duration::from_secs(24 * 3600)).await;
    assert_eq!(meanwhile, ["create q"]);
    assert_eq!(all, ["create q", "delete a", "delete p"]);
}

#[tokio::test]
async fn a_parents_delete_does_not_wait_for_ever() {
    let (meanwhile, all) = deleted_while_the_childs_delete_waits(Duration::from_secs(60)).await;
    assert_eq!(meanwhile, ["create q", "delete p"]);
    assert_eq!(all, ["create q", "delete p", "delete a"]);
}

/// The child goes when its source was read already, so that the run has to read it once more before the parent's delete may go.
#[tokio::test]
async fn a_run_until_idle_deletes_children_and_then_their_parents() {
    let family = Family::new();
    family.world.source.put("a", "child < test/parents#p");
    family.parents.put("p", "parent");
    let run = async || end_of(family.world.workflow_of(family.ranked()).start(RunMode::UntilIdle)).await;
    run().await;
    let before = family.world.destination.state().calls.len();
    let reads = family.world.source.state().reads;
    family.world.source.state().after_read.insert(reads + 1, vec![Edit::Delete("a")]);
    family.parents.delete("p");
    run().await;
    assert_eq!(family.world.destination.state().calls[before..], ["delete a", "delete p"]);
    // Without deletes, nothing is read once more.
    let reads = family.world.source.state().reads;
    family.parents.put("q", "another");
    run().await;
    assert_eq!(family.world.source.state().reads, reads + 1);
}

/// A run until idle ends with deletes that it cannot let go: a written child waits for a parent that does not come, and a record that
/// came back waits behind its delete.
#[tokio::test]
async fn a_run_until_idle_ends_with_deletes_that_have_to_wait() {
    let mut family = Family::new();
    family.world.options.parent_wait = Duration::from_secs(10 * 24 * 3600);
    family.world.source.put("a", "child < test/parents#p");
    family.parents.put("p", "parent");
    let before = timing::Clock::monotonic(&family.world.clock);
    let run = async |family: &Family| end_of(family.world.workflow_of(family.ranked()).start(RunMode::UntilIdle)).await;
    run(&family).await;
    family.world.source.put("a", "child < test/parents#q");
    family.parents.delete("p");
    run(&family).await;
    let held = async || family.world.store.stats(&parents()).await.unwrap();
    assert_eq!(held().await.held, 1);
    family.parents.put("p", "again");
    run(&family).await;
    assert_eq!((held().await.held, held().await.waiting), (1, 2));
    assert!(timing::Clock::monotonic(&family.world.clock) - before < Duration::from_secs(3600), "no run waits for it");
    family.parents.put("q", "another");
    run(&family).await;
    assert_eq!(held().await.depth(), 0);
    let calls = family.world.destination.state().calls.clone();
    assert_eq!(calls[2..], ["create q", "update a", "delete p", "create p"]);
}

/// A stream that has no children any more holds nothing back, what was held before included.
#[tokio::test]
async fn what_was_held_goes_where_there_are_no_children_any_more() {
    let family = Family::new();
    family.parents.put("p", "parent");
    let ranked = family.ranked();
    end_of(family.world.workflow_of(ranked.clone()).start(RunMode::UntilIdle)).await;
    family.parents.delete("p");
    let trouble = (EndpointErrorKind::Unavailable, Some(Duration::from_secs(600)));
    family.world.source.state().troubles.push_back(trouble);
    let handle = family.world.workflow_of(ranked.clone()).start(RunMode::Continuous);
    family.world.let_pass(Duration::from_secs(100)).await;
    assert_eq!(family.world.store.stats(&parents()).await.unwrap().held, 1);
    handle.stop();
    end_of(handle).await;
    let alone = ranked.into_iter().filter(|stream| stream.rank == 0).collect();
    end_of(family.world.workflow_of(alone).start(RunMode::UntilIdle)).await;
    assert!(family.world.destination.state().records.is_empty());
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
