//! Runs that bring about everything that a workflow can tell of.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sync_core::store::MemoryStore;
use sync_core::telemetry::{ClientMetrics, LaneMetrics, MetricSource};
use sync_core::traits::{Class, LeaseStore, LetterFilter, Outcome, OwnerId, ReplayStart, Request, StateStore};
use sync_core::{
    DeleteBrake, EndpointErrorKind, EngineOptions, RunMode, RunReport, StreamConfig, StreamId, Workflow,
    WorkflowHandle, WorkflowState,
};
use timing::{Clock, FixedEntropy, ManualClock};

use crate::capture::{Events, panics_heard};
use crate::parties::{CANARY, Fault, Shown, Sink, Table, Texts};
use crate::store::Told;

/// Long enough for positions and dead letters to grow old.
const LONG: Duration = Duration::from_secs(600);

/// A client that tells all there is to tell.
#[derive(Debug)]
pub(crate) struct Talkative;

impl MetricSource for Talkative {
    fn clients(&self) -> Vec<ClientMetrics> {
        let mut client = ClientMetrics::new("crm");
        client.token_age = Some(Duration::from_millis(1500));
        let mut lane = LaneMetrics::default();
        (lane.limit, lane.in_flight, lane.window_used, lane.pauses, lane.throttled) = (8, 3, Some(0.5), 2, 4);
        client.lane = Some(lane);
        vec![client]
    }
}

pub(crate) struct World {
    pub(crate) clock: ManualClock,
    pub(crate) shown: Shown,
    pub(crate) store: Arc<Told>,
    pub(crate) sink: Arc<Sink>,
    pub(crate) events: Arc<Events>,
    pub(crate) options: EngineOptions,
}

fn parents() -> StreamId {
    StreamId::new("test/parents")
}

fn children() -> StreamId {
    StreamId::new("test/children")
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::auto_advancing();
        let shown = Shown::default();
        let inner = MemoryStore::with_clock(clock.shared());
        let (slow, broken) = (Mutex::default(), Mutex::default());
        let store = Told { inner, shown: shown.clone(), clock: clock.clone(), slow, broken };
        Self {
            store: Arc::new(store),
            sink: Arc::new(Sink::new(&shown)),
            events: Arc::default(),
            options: EngineOptions { dead_letter_retention: None, ..EngineOptions::default() },
            shown,
            clock,
        }
    }

    /// A workflow over two tables.
    pub(crate) fn workflow(&self, parents_table: Arc<Table>, children_table: Arc<Table>) -> Workflow {
        let stream = |id: StreamId, source: Arc<Table>| StreamConfig {
            rank: u32::from(id == children()),
            id,
            class: Class::Live,
            source,
            transform: Arc::new(Texts { parents: parents(), shown: self.shown.clone() }),
            destination: self.sink.clone(),
            poll_every: Duration::from_secs(30),
            apply_deletes: true,
            page_rows: 3,
        };
        Workflow::builder("test")
            .store(self.store.clone())
            .clock(self.clock.shared())
            .entropy(FixedEntropy::shared(0.5))
            .observer(self.events.clone())
            .metric_source(Arc::new(Talkative))
            .options(self.options.clone())
            .stream(stream(parents(), parents_table))
            .stream(stream(children(), children_table))
            .build()
            .unwrap()
    }
}

/// The end of a run. The bound is real time and only ends a test that would hang.
async fn end_of(handle: WorkflowHandle) -> RunReport {
    tokio::time::timeout(Duration::from_secs(30), handle.join()).await.unwrap_or_else(|_| panic!("the run goes on"))
}

/// Lets the others run until something holds. The bound is real time and only ends a test that would hang.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    let came = tokio::time::timeout(Duration::from_secs(30), wait).await;
    assert!(came.is_ok(), "it never came to that: {what}");
}

/// What the walk saw that neither a layer nor an observer sees.
pub(crate) struct Aside {
    pub(crate) text: String,
    pub(crate) prometheus: String,
}

/// Brings everything about, one run after the other.
pub(crate) async fn walk(world: &mut World) -> Aside {
    drop(panics_heard());
    let text = Shown::default();
    let mut prometheus = String::new();
    let mut table = Table::new(&world.shown, true);
    table.retention = Some(LONG);
    let parents_table = Arc::new(table);
    let children_table = Arc::new(Table::new(&world.shown, false));
    let again = |world: &World| world.workflow(parents_table.clone(), children_table.clone());
    let tell = |report: &RunReport, state: WorkflowState| {
        assert_eq!(report.status.state, state, "{report:?}");
        text.show(report);
    };

    // A first run: more than a page, trouble of every kind, and a record whose parent is not there.
    for number in 0..8 {
        parents_table.put(&format!("p{number}"), &format!("text {number}"));
    }
    parents_table.put("worse", "bad");
    parents_table.put("worst", "panic");
    children_table.put("child", "of late");
    let say = |outcome| Fault::Say(outcome);
    world.sink.fault("p1", say(Outcome::Retry { after: Some(Duration::from_secs(9)), code: "throttled".into() }));
    world.sink.fault("p2", say(Outcome::Unknown { code: "reset".into() }));
    world.sink.fault("p3", say(Outcome::Retry { after: None, code: "record-locked".into() }));
    world.sink.fault("p4", Fault::Down(EndpointErrorKind::Unavailable, Some(Duration::from_secs(7))));
    for _ in 0..4 {
        // Often enough that repeating it at once leaves it unknown.
        world.sink.fault("p5", say(Outcome::Unknown { code: format!("{CANARY} is no code") }));
    }
    parents_table.state().troubles.push_back((EndpointErrorKind::Unavailable, Some(Duration::from_secs(5))));
    world.options.high_water = 4;
    let handle = again(world).start(RunMode::UntilIdle);
    let meter = handle.meter();
    tell(&end_of(handle).await, WorkflowState::Stopped);
    let metrics = meter.read().await;
    let stream = &metrics.streams[0];
    assert_eq!(stream.dead_lettered.get("bad-text"), Some(&1), "{metrics:?}");
    assert!(stream.unknown_outcomes.contains_key("other"), "what is no code is not shown: {metrics:?}");
    assert!(stream.pauses >= 1 && stream.paused >= Duration::from_secs(9), "{metrics:?}");
    assert_eq!(metrics.streams[1].backlog.unwrap().waiting, 1);
    prometheus.push_str(&metrics.to_prometheus());
    world.options.high_water = 1_000;
    parents_table.put("late", "here");
    tell(&end_of(again(world).start(RunMode::UntilIdle)).await, WorkflowState::Stopped);
    assert!(world.sink.holds("child"));

    // Rows go without a trace, more of them than the brake lets go.
    parents_table.delete("p0");
    parents_table.expire(&["p6", "p7"]);
    world.options.brake = DeleteBrake { rows: 1, share: 0.0 };
    tell(&end_of(again(world).start(RunMode::UntilIdle)).await, WorkflowState::Stopped);
    world.options.brake = DeleteBrake::default();

    // What operators ask for.
    let ask = async |request: Request| world.store.leave_request(&request, 0).await.unwrap();
    ask(Request::Replay { stream: parents(), when: ReplayStart::NextStart }).await;
    ask(Request::Replay { stream: children(), when: ReplayStart::NextStart }).await;
    ask(Request::Requeue(LetterFilter::default())).await;
    tell(&end_of(again(world).start(RunMode::UntilIdle)).await, WorkflowState::Stopped);
    let code = Some("bad-text".to_owned());
    ask(Request::Drop(LetterFilter { code, ..LetterFilter::default() })).await;
    tell(&end_of(again(world).start(RunMode::UntilIdle)).await, WorkflowState::Stopped);

    // Positions grow old while the source is away, and so do dead letters.
    world.options.dead_letter_retention = Some(LONG / 2);
    parents_table.state().troubles.extend([(EndpointErrorKind::Unavailable, Some(LONG)); 2]);
    let handle = again(world).start(RunMode::Continuous);
    let events = world.events.clone();
    until("old positions and letters", || events.has("sync.position_age") && events.has("sync.dead_letters_forgotten"))
        .await;
    // Then the store is slow, and the lease is nearly over.
    *world.store.slow.lock().unwrap() = Some(Duration::from_secs(25));
    until("a late renewal", || events.has("sync.lease_renewed_late")).await;
    let metrics = handle.metrics().await;
    text.show(&(&metrics, &handle));
    prometheus.push_str(&metrics.to_prometheus());
    handle.stop();
    tell(&end_of(handle).await, WorkflowState::Stopped);

    // The store fails, the client breaks, and at last somebody else takes over.
    let meter = {
        parents_table.put("p1", "another text");
        *world.store.broken.lock().unwrap() = true;
        let handle = again(world).start(RunMode::UntilIdle);
        let meter = handle.meter();
        tell(&end_of(handle).await, WorkflowState::Failed);
        meter
    };
    prometheus.push_str(&meter.read().await.to_prometheus());
    *world.store.broken.lock().unwrap() = false;
    world.clock.sleep(LONG).await;
    world.sink.fault("p1", Fault::Break);
    tell(&end_of(again(world).start(RunMode::UntilIdle)).await, WorkflowState::Failed);
    let handle = again(world).start(RunMode::Continuous);
    until("running", || handle.status().state == WorkflowState::Running).await;
    let owner = OwnerId(format!("process {}", std::process::id()).into());
    world.store.acquire("test", &owner, LONG).await.unwrap().unwrap();
    tell(&end_of(handle).await, WorkflowState::Failed);
    Aside { text: text.take(), prometheus }
}
