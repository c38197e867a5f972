//! Everything around an engine: tables, destination, store, clock, and the processes that run the engine.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use record::Key;
use sync_core::engine::reader::PassNote;
use sync_core::traits::{
    BacklogStats, Class, DeadLetter, DeadLetterQuery, Observer, OwnerId, PassKind, Store, SyncEvent,
};
use sync_core::{EngineOptions, RunMode, RunReport, StreamConfig, StreamId, Tally, Workflow};
use timing::Clock;
use tokio_util::sync::CancellationToken;

use super::seat::{Seat, Watch};
use crate::Ground;
use crate::faults::Faults;
use crate::invariants::{self, Invariant, Violation};
use crate::parties::{
    CANARY, Chance, Mapping, Process, Table, TableSource, TableTarget, Target, TargetShape, TokenMode, Trace,
    VirtualClock, told_upto,
};
use crate::rare::{Path, Rare};
use crate::wrapped::WrappedStore;

/// What a world is like.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Tables; the first holds the parents of the others.
    pub tables: usize,
    /// The destination.
    pub target: TargetShape,
    /// What the source's tokens cover.
    pub tokens: TokenMode,
    /// The longest time an answer of the source takes.
    pub source_latency: Duration,
    /// How long the source says that positions are served.
    pub retention: Option<Duration>,
    /// The engine's settings.
    pub options: EngineOptions,
    /// Rows per page.
    pub page_rows: u32,
    /// How often the source is asked.
    pub poll_every: Duration,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            tables: 2,
            target: TargetShape::default(),
            tokens: TokenMode::CoversPaging,
            source_latency: Duration::from_millis(50),
            retention: None,
            options: EngineOptions { sweep_chunk: 2, ..EngineOptions::default() },
            page_rows: 3,
            poll_every: Duration::from_secs(30),
        }
    }
}

/// A world in which engines live and die.
#[derive(Debug)]
pub struct World {
    /// Its time.
    pub clock: VirtualClock,
    /// What is drawn for everything that is no fault.
    pub chance: Chance,
    /// What goes wrong.
    pub faults: Faults,
    /// Rare paths.
    pub rare: Rare,
    /// What happened.
    pub trace: Trace,
    /// The source.
    pub tables: Vec<Arc<Table>>,
    /// The destination.
    pub target: Arc<Target>,
    /// What it is like; may change between two runs.
    pub shape: Shape,
    /// The version of the mapping; may change between two runs.
    pub plan: u64,
    /// Who takes leases: a process of the same host takes over at once what another one left.
    pub host: Arc<str>,
    /// Records whose dead letter an operator dropped, with the version that was the newest then: nobody waits for that one.
    pub dropped: BTreeMap<(usize, Key), i64>,
    store: Arc<dyn Store>,
    watch: Arc<Watch>,
    living: Mutex<Vec<Arc<Process>>>,
    started: u64,
    spins: AtomicBool,
}

/// One run of the engine in a process of its own.
pub struct Engine {
    /// The process.
    pub process: Arc<Process>,
    stopper: CancellationToken,
    run: Run,
    seat: Arc<Seat>,
}

/// A run, or its end.
enum Run {
    Goes(Pin<Box<dyn Future<Output = RunReport> + Send>>),
    Ended(RunReport),
    Killed,
}

#[derive(Debug)]
struct Events {
    rare: Rare,
    watch: Arc<Watch>,
    trace: Trace,
    clock: VirtualClock,
    number: u64,
}

impl Observer for Events {
    fn on_event(&self, event: &SyncEvent) {
        match event {
            SyncEvent::Resnapshot { .. } => self.rare.took(Path::Resnapshot),
            SyncEvent::DeleteBrake { .. } => self.rare.took(Path::BrakeHeld),
            SyncEvent::DeadLettered { .. } => self.rare.took(Path::DeadLettered),
            SyncEvent::RequestDone { .. } => self.rare.took(Path::RequestDone),
            SyncEvent::PassComplete { kind: PassKind::Replay, .. } => self.rare.took(Path::Replayed),
            SyncEvent::PassComplete { reread, .. } => self.rare.add(Path::MissedFound, *reread),
            _ => {}
        }
        let shown = format!("{event:?}");
        if shown.contains(CANARY) {
            self.watch.broken(Violation::new(Invariant::Canary, format!("an event shows a value: {shown}")));
        }
        self.trace.note(self.clock.monotonic(), format_args!("#{} {shown}", self.number));
    }
}

/// The name of a table's stream.
pub fn stream(table: usize) -> StreamId {
    StreamId::new(format!("world/{table}"))
}

/// How a wait of the driver ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// What was waited for holds.
    Holds,
    /// The time is over.
    TimeOver,
    /// Nobody has anything more to do.
    Asleep,
}

impl World {
    /// An empty world over a store.
    pub fn new(shape: Shape, ground: &dyn Ground, clock: VirtualClock, faults: Faults, trace: Trace) -> Self {
        let rare = Rare::default();
        let chance = faults.chance().fork();
        let target = Target::new(shape.target, clock.clone(), rare.clone(), trace.clone());
        Self {
            tables: (0..shape.tables.max(1)).map(|_| Arc::new(Table::new())).collect(),
            target,
            store: ground.open(),
            watch: Arc::default(),
            living: Mutex::default(),
            started: 0,
            spins: AtomicBool::new(false),
            dropped: BTreeMap::new(),
            plan: 1,
            host: "first host".into(),
            clock,
            chance,
            faults,
            rare,
            trace,
            shape,
        }
    }

    /// The store, past every hook.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Opens the store again, after every process that had it open has ended.
    pub fn reopen(&mut self, ground: &dyn Ground) {
        self.store = Arc::new(sync_core::store::MemoryStore::new());
        self.store = ground.open();
    }

    /// Starts an engine in a process of its own.
    ///
    /// # Panics
    /// When the workflow cannot be built.
    pub fn start(&mut self, mode: RunMode) -> Engine {
        self.start_with(mode, |_| {})
    }

    /// As [`World::start`]; `prepare` sees the process before the engine starts.
    ///
    /// # Panics
    /// When the workflow cannot be built.
    pub fn start_with(&mut self, mode: RunMode, prepare: impl FnOnce(&Process)) -> Engine {
        self.started += 1;
        let process = Process::new(self.started, self.clock.clone());
        prepare(&process);
        self.living.lock().unwrap_or_else(PoisonError::into_inner).push(process.clone());
        let seat = Arc::new(Seat {
            process: process.clone(),
            clock: self.clock.clone(),
            faults: self.faults.clone(),
            rare: self.rare.clone(),
            trace: self.trace.clone(),
            watch: self.watch.clone(),
            inner: self.store.clone(),
            stopping: AtomicBool::new(false),
        });
        let store = WrappedStore::new(self.store.clone(), seat.clone());
        let events = Events {
            rare: self.rare.clone(),
            watch: self.watch.clone(),
            trace: self.trace.clone(),
            clock: self.clock.clone(),
            number: process.number,
        };
        let mut builder = Workflow::builder("world")
            .store(Arc::new(store))
            .owner(OwnerId(self.host.clone()))
            .clock(process.clock())
            .entropy(Arc::new(self.chance.fork()))
            .observer(Arc::new(events))
            .options(self.shape.options.clone());
        for table in 0..self.tables.len() {
            builder = builder.stream(self.stream_config(table, &process));
        }
        self.trace.note(self.clock.monotonic(), format_args!("#{} starts, {mode:?}", process.number));
        let handle = builder.build().unwrap().start(mode);
        Engine { process, stopper: handle.stopper(), run: Run::Goes(Box::pin(handle.join())), seat }
    }

    fn stream_config(&self, table: usize, process: &Arc<Process>) -> StreamConfig {
        StreamConfig {
            id: stream(table),
            rank: u32::try_from(table).unwrap_or(0).min(1),
            class: if table == 2 { Class::OptOut } else { Class::Live },
            source: Arc::new(TableSource {
                table: self.tables[table].clone(),
                process: process.clone(),
                faults: self.faults.clone(),
                tokens: self.shape.tokens,
                latency: self.shape.source_latency,
                retention: self.shape.retention,
                rare: self.rare.clone(),
            }),
            transform: Arc::new(Mapping { plan: self.plan, parents: (table > 0).then(|| stream(0)) }),
            destination: Arc::new(TableTarget {
                target: self.target.clone(),
                table,
                process: process.clone(),
                faults: self.faults.clone(),
                rare: self.rare.clone(),
            }),
            poll_every: self.shape.poll_every,
            apply_deletes: true,
            page_rows: self.shape.page_rows,
        }
    }

    fn activity(&self) -> u64 {
        let living = self.living.lock().unwrap_or_else(PoisonError::into_inner);
        living.iter().map(|process| process.passed()).sum::<u64>() + self.clock.asked()
    }

    /// Whether the engine was seen to go on and on without any time passing; nothing more is to be had of it.
    pub fn spins(&self) -> bool {
        let living = self.living.lock().unwrap_or_else(PoisonError::into_inner);
        let spins = living.iter().any(|process| process.spins());
        if spins && !self.spins.swap(true, Ordering::Relaxed) {
            let text = "the engine goes on and on without any time passing".to_owned();
            self.watch.broken(Violation::new(Invariant::Liveness, text));
        }
        spins || self.spins.load(Ordering::Relaxed)
    }

    /// Lets every task run until all of them wait for time.
    pub async fn settle(&self) {
        let mut seen = self.activity();
        let mut quiet = 0;
        while quiet < 2 {
            tokio::task::yield_now().await;
            let now = self.activity();
            quiet = if now == seen { quiet + 1 } else { 0 };
            seen = now;
        }
    }

    /// Moves time on until something holds, or for this long.
    pub async fn run_until(&self, span: Duration, mut holds: impl FnMut() -> bool) -> Waited {
        let limit = self.clock.monotonic().saturating_add(span);
        loop {
            self.settle().await;
            if holds() {
                return Waited::Holds;
            }
            if self.spins() {
                return Waited::TimeOver;
            }
            if !self.clock.wake_next(limit) {
                let asleep = self.clock.next().is_none();
                self.clock.move_to(limit);
                return if asleep { Waited::Asleep } else { Waited::TimeOver };
            }
        }
    }

    /// Lets time pass.
    pub async fn pass(&self, span: Duration) {
        self.run_until(span, || false).await;
    }

    /// Ends a process as SIGKILL does: nothing of it runs on, and its requests are where they are.
    pub async fn kill(&self, mut engine: Engine) {
        self.trace.note(self.clock.monotonic(), format_args!("#{} is killed", engine.process.number));
        engine.process.kill();
        engine.run = Run::Killed;
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        self.bury(&engine.process);
    }

    fn bury(&self, process: &Arc<Process>) {
        self.living.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| !Arc::ptr_eq(other, process));
    }

    /// Asks a run to stop, and waits for its end.
    pub async fn stop(&self, engine: Engine, span: Duration) -> Option<RunReport> {
        engine.seat.stopping.store(true, Ordering::Relaxed);
        engine.stopper.cancel();
        self.end_of(engine, span).await
    }

    /// Waits for the end of a run; `None` when it does not end in time, and then it is killed.
    pub async fn end_of(&self, mut engine: Engine, span: Duration) -> Option<RunReport> {
        let process = engine.process.clone();
        self.run_until(span, || engine.is_over() || process.tripped()).await;
        let Run::Ended(report) = std::mem::replace(&mut engine.run, Run::Killed) else {
            self.kill(engine).await;
            return None;
        };
        self.trace.note(self.clock.monotonic(), format_args!("#{} ended, {:?}", process.number, report.status));
        if format!("{report:?}").contains(CANARY) {
            self.watch.broken(Violation::new(Invariant::Canary, format!("a report shows a value: {report:?}")));
        }
        self.bury(&process);
        Some(report)
    }

    /// Depth and age of every stream's backlog.
    ///
    /// # Panics
    /// When the store cannot be read.
    pub async fn stats(&self) -> Vec<BacklogStats> {
        let mut all = Vec::new();
        for table in 0..self.tables.len() {
            all.push(self.store.stats(&stream(table)).await.unwrap());
        }
        all
    }

    /// What was counted of every stream.
    ///
    /// # Panics
    /// When the store cannot be read.
    pub async fn totals(&self) -> Vec<Tally> {
        let mut all = Vec::new();
        for table in 0..self.tables.len() {
            all.push(self.store.load(&stream(table)).await.unwrap().map(|at| at.totals).unwrap_or_default());
        }
        all
    }

    /// Every dead letter, by table.
    ///
    /// # Panics
    /// When the store cannot be read.
    pub async fn dead_letters(&self) -> Vec<(usize, DeadLetter)> {
        let query = DeadLetterQuery { limit: usize::MAX >> 1, ..DeadLetterQuery::default() };
        let letters = self.store.dead_letters(&query).await.unwrap();
        let table = |id: &StreamId| (0..self.tables.len()).find(|table| stream(*table) == *id).unwrap_or(0);
        letters.into_iter().map(|letter| (table(&letter.stream), letter)).collect()
    }

    /// Whether a pass over a table is due or under way.
    async fn passes_are_open(&self) -> bool {
        for table in 0..self.tables.len() {
            let note = self.store.get(&PassNote::name(&stream(table))).await.unwrap();
            let note: PassNote = note.and_then(|note| serde_json::from_slice(&note).ok()).unwrap_or_default();
            if note.due.is_some() || note.running.is_some() {
                return true;
            }
        }
        false
    }

    /// Whether every feed has told everything.
    async fn all_is_told(&self) -> bool {
        for (number, table) in self.tables.iter().enumerate() {
            let position = self.store.load(&stream(number)).await.unwrap().and_then(|at| at.position);
            if position.and_then(|position| told_upto(&position)) != Some(table.version()) {
                return false;
            }
        }
        true
    }

    /// Everything is read, nothing is unsettled, nothing is to be looked at once more, no pass goes on, and no request may still
    /// take effect.
    pub async fn is_quiet(&self) -> bool {
        if !self.all_is_told().await {
            return false;
        }
        let quiet = self.stats().await.iter().all(|stats| stats.depth() == 0 && stats.verifications == 0);
        quiet && self.target.is_still() && !self.passes_are_open().await
    }

    /// What is not as it is to be, at rest.
    pub async fn differences(&self) -> Vec<Violation> {
        let letters = self.dead_letters().await;
        let behind = self.target.deleted_behind();
        invariants::at_rest(&self.tables, &self.target.records(), &letters, &self.dropped, &behind)
    }

    /// What was broken while it ran, and what the whole history shows.
    pub async fn violations(&self) -> Vec<Violation> {
        let mut found = self.watch.violations();
        found.extend(invariants::of_history(&self.target.history(), &self.target.shape, &self.tables, &self.dropped));
        for (table, (totals, stats)) in self.totals().await.into_iter().zip(self.stats().await).enumerate() {
            found.extend(invariants::conservation(table, &totals, &stats));
        }
        found
    }
}

impl Engine {
    /// Whether the run has ended.
    pub fn is_over(&mut self) -> bool {
        if let Run::Goes(run) = &mut self.run
            && let Poll::Ready(report) = run.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        {
            self.run = Run::Ended(report);
        }
        !matches!(self.run, Run::Goes(_))
    }

    /// Asks for the end in good order, and does not wait for it.
    pub fn ask_to_stop(&self) {
        self.stopper.cancel();
    }
}
