//! A workflow with everything around it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sync_core::store::MemoryStore;
use sync_core::traits::{
    Advance, Backlog, BacklogStats, Class, DeadLetter, DeadLetterQuery, Lease, Observer, OwnerId, Page, ReplayStart,
    Request, StateStore, SyncEvent,
};
use sync_core::{
    EngineOptions, PlanVersion, RunMode, RunReport, StoreErrorKind, StreamConfig, StreamId, Tally, Workflow,
    WorkflowHandle,
};
use timing::{Clock, FixedEntropy, ManualClock};

use crate::parties::{FakeDestination, FakeSource, TextTransform};
use crate::tripwire::{Tripwire, WiredStore};

#[derive(Debug, Default)]
pub(crate) struct Events(Mutex<Vec<SyncEvent>>);

impl Observer for Events {
    fn on_event(&self, event: &SyncEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Events {
    pub(crate) fn all(&self) -> Vec<SyncEvent> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, wanted: impl Fn(&SyncEvent) -> bool) -> usize {
        self.all().iter().filter(|event| wanted(event)).count()
    }
}

pub(crate) struct World {
    pub(crate) clock: ManualClock,
    pub(crate) store: MemoryStore,
    pub(crate) source: Arc<FakeSource>,
    pub(crate) destination: Arc<FakeDestination>,
    pub(crate) events: Arc<Events>,
    pub(crate) options: EngineOptions,
    pub(crate) wire: Arc<Tripwire>,
    pub(crate) broken: Option<StoreErrorKind>,
    pub(crate) apply_deletes: bool,
    pub(crate) plan: u64,
    pub(crate) marked: bool,
    /// A replay writes one thing more.
    pub(crate) again: bool,
    pub(crate) owner: &'static str,
    /// The lease of the run that is on.
    pub(crate) lease: Arc<Mutex<Option<Lease>>>,
    pub(crate) class: Class,
    pub(crate) poll_every: Duration,
}

pub(crate) fn stream() -> StreamId {
    StreamId::new("test/records")
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::auto_advancing();
        Self {
            store: MemoryStore::with_clock(clock.shared()),
            source: Arc::new(FakeSource::new()),
            destination: Arc::new(FakeDestination::new(clock.clone())),
            events: Arc::default(),
            options: EngineOptions { sweep_chunk: 2, ..EngineOptions::default() },
            wire: Tripwire::never(),
            broken: None,
            apply_deletes: true,
            plan: 1,
            marked: false,
            again: false,
            owner: "first",
            lease: Arc::default(),
            class: Class::Live,
            poll_every: Duration::from_secs(30),
            clock,
        }
    }

    /// Shapes the destination before the first run.
    pub(crate) fn destination(mut self, shape: impl FnOnce(&mut FakeDestination)) -> Self {
        shape(Arc::get_mut(&mut self.destination).unwrap());
        self
    }

    pub(crate) fn fill(&self, records: usize) {
        for number in 0..records {
            self.source.put(&format!("k{number:03}"), &format!("text {number}"));
        }
    }

    /// From now on everything goes through this wire.
    pub(crate) fn rewire(&mut self, wire: Arc<Tripwire>) {
        self.source = Arc::new(self.source.rewired(wire.clone()));
        self.destination = Arc::new(self.destination.rewired(wire.clone()));
        self.wire = wire;
    }

    pub(crate) fn stream_config(&self) -> StreamConfig {
        StreamConfig {
            id: stream(),
            rank: 0,
            class: self.class,
            source: self.source.clone(),
            transform: Arc::new(TextTransform { plan: self.plan, marked: self.marked, again: self.again }),
            destination: self.destination.clone(),
            poll_every: self.poll_every,
            apply_deletes: self.apply_deletes,
            page_rows: 3,
        }
    }

    pub(crate) fn workflow(&self) -> Workflow {
        self.workflow_of(vec![self.stream_config()])
    }

    pub(crate) fn workflow_of(&self, streams: Vec<StreamConfig>) -> Workflow {
        let store = WiredStore {
            inner: self.store.clone(),
            wire: self.wire.clone(),
            broken: self.broken,
            lease: self.lease.clone(),
        };
        let builder = Workflow::builder("test")
            .store(Arc::new(store))
            .owner(OwnerId(self.owner.into()))
            .clock(self.clock.shared())
            .entropy(FixedEntropy::shared(0.5))
            .observer(self.events.clone())
            .options(self.options.clone());
        streams.into_iter().fold(builder, sync_core::WorkflowBuilder::stream).build().unwrap()
    }

    pub(crate) async fn run(&self) -> RunReport {
        end_of(self.workflow().start(RunMode::UntilIdle)).await
    }

    pub(crate) async fn stats(&self) -> BacklogStats {
        self.store.stats(&stream()).await.unwrap()
    }

    pub(crate) async fn dead(&self) -> Vec<DeadLetter> {
        self.store.dead_letters(&DeadLetterQuery { limit: 1000, ..DeadLetterQuery::default() }).await.unwrap()
    }

    pub(crate) async fn totals(&self) -> Tally {
        self.store.load(&stream()).await.unwrap().unwrap().totals
    }

    /// Time passes, and everybody gets a turn meanwhile.
    pub(crate) async fn let_pass(&self, time: Duration) {
        let until = timing::Clock::monotonic(&self.clock) + time;
        while timing::Clock::monotonic(&self.clock) < until {
            self.clock.sleep(Duration::from_secs(1)).await;
        }
    }

    /// Leaves a request in the store.
    pub(crate) async fn request(&self, request: &Request) -> u64 {
        self.workflow().request(request).await.unwrap()
    }

    /// The checkpoint moves under the lease of the run that is on, as nobody should do.
    pub(crate) async fn disturb(&self) {
        let at = self.store.load(&stream()).await.unwrap().unwrap();
        let lease = self.lease.lock().unwrap().clone().expect("a run holds the lease");
        let page = Page {
            stream: stream(),
            plan: PlanVersion(self.plan),
            class: Class::Live,
            replay: false,
            drafts: Vec::new(),
            mark_seen: None,
            refresh: false,
            hold_deletes: false,
            now_ms: at.at_ms,
        };
        let (generation, phase) = (at.generation, at.phase);
        let advance = Advance { expected_version: at.version, generation, phase, position: at.position.unwrap() };
        self.store.append(&lease, page, advance).await.unwrap();
    }

    /// Both sides hold the same, once each.
    pub(crate) fn assert_equal(&self) {
        assert_eq!(self.destination.state().records, self.source.expected());
        assert!(!self.destination.state().overlapped, "two writes of one key were in flight together");
    }
}

/// The end of a run. The bound is real time and only ends a test that would hang.
pub(crate) async fn end_of(handle: WorkflowHandle) -> RunReport {
    tokio::time::timeout(Duration::from_secs(60), handle.join()).await.expect("the workflow ends")
}

/// Lets the other tasks run until something holds.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..100_000 {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never came to that");
}

pub(crate) fn sum(tally: Tally) -> u64 {
    tally.inserted
        + tally.updated
        + tally.deleted
        + tally.unchanged
        + tally.filtered
        + tally.superseded
        + tally.ignored
        + tally.dead
}

/// All records of the stream are to be written again, at once.
pub(crate) fn replay_now() -> Request {
    Request::Replay { stream: stream(), when: ReplayStart::Now }
}
