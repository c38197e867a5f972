//! A workflow with everything around it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sync_core::store::MemoryStore;
use sync_core::traits::{Backlog, BacklogStats, Class, DeadLetter, DeadLetterQuery, Observer, StateStore, SyncEvent};
use sync_core::{
    EngineOptions, RunMode, RunReport, StoreErrorKind, StreamConfig, StreamId, Tally, Workflow, WorkflowHandle,
};
use timing::{FixedEntropy, ManualClock};

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
}

pub(crate) fn stream() -> StreamId {
    StreamId::new("test/records")
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::auto_advancing();
        Self {
            store: MemoryStore::new(),
            source: Arc::new(FakeSource::new()),
            destination: Arc::new(FakeDestination::new(clock.clone())),
            events: Arc::default(),
            options: EngineOptions { sweep_chunk: 2, ..EngineOptions::default() },
            wire: Tripwire::never(),
            broken: None,
            apply_deletes: true,
            plan: 1,
            marked: false,
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
            class: Class::Live,
            source: self.source.clone(),
            transform: Arc::new(TextTransform { plan: self.plan, marked: self.marked }),
            destination: self.destination.clone(),
            poll_every: Duration::from_secs(30),
            apply_deletes: self.apply_deletes,
            page_rows: 3,
        }
    }

    pub(crate) fn workflow(&self) -> Workflow {
        self.workflow_of(vec![self.stream_config()])
    }

    pub(crate) fn workflow_of(&self, streams: Vec<StreamConfig>) -> Workflow {
        let store = WiredStore { inner: self.store.clone(), wire: self.wire.clone(), broken: self.broken };
        let builder = Workflow::builder("test")
            .store(Arc::new(store))
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
