use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use sync_core::store::MemoryStore;
use sync_core::traits::{LetterFilter, ReplayStart, Request, Store};
use sync_core::{DeleteBrake, RunMode, WorkflowState};
use timing::Clock;

use super::{Engine, Plan, World};
use crate::Ground;
use crate::faults::{Fault, Faults};
use crate::invariants::{Invariant, Violation};
use crate::parties::{Chance, Trace, VirtualClock};
use crate::rare::Path;
use crate::workload::Workload;

/// Once the faults have stopped, everything is to be done after this much virtual time.
const PATIENCE: Duration = Duration::from_secs(3 * 24 * 3600);

/// What a seed brought.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What was broken.
    pub violations: Vec<Violation>,
    /// A number that stands for everything that happened.
    pub trace: u64,
    /// Virtual time that passed.
    pub time: Duration,
    /// How often each fault fired.
    pub faults: BTreeMap<Fault, u64>,
    /// How often each rare path was taken.
    pub rare: BTreeMap<Path, u64>,
    /// Requests that the destination saw.
    pub requests: u64,
    /// Changes at the source.
    pub changes: u64,
}

/// A seed that broke something.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What it brought.
    pub outcome: Outcome,
    /// What happened, line by line.
    pub lines: Vec<String>,
}

#[derive(Debug)]
struct Memory(MemoryStore);

impl Ground for Memory {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }
}

/// Runs one seed.
pub fn simulate(seed: u64) -> Outcome {
    run(seed, Trace::new(false))
}

/// Runs one seed, and keeps what happened.
pub fn simulate_kept(seed: u64) -> Finding {
    let trace = Trace::new(true);
    let outcome = run(seed, trace.clone());
    Finding { outcome, lines: trace.lines() }
}

fn run(seed: u64, trace: Trace) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(Box::pin(Simulation::new(seed, trace).run()))
}

struct Simulation {
    seed: u64,
    chance: Chance,
    plan: Plan,
    world: World,
    workload: Workload,
    found: Vec<Violation>,
    /// How often something happened from outside that may cost a request.
    interruptions: u64,
}

impl Simulation {
    fn new(seed: u64, trace: Trace) -> Self {
        let chance = Chance::new(seed);
        let plan = Plan::draw(&chance);
        let clock = VirtualClock::new(chance.fork());
        let faults = Faults::with_rates(chance.fork(), plan.rates.clone());
        let ground = Memory(MemoryStore::with_clock(clock.shared()));
        trace.note(Duration::ZERO, format_args!("seed {seed}: {plan:?}"));
        let world = World::new(plan.shape.clone(), &ground, clock, faults, trace);
        let workload = Workload::new(&world.tables, &world.target, &world.faults, chance.fork(), plan.keys);
        Self { seed, chance, plan, world, workload, found: Vec::new(), interruptions: 0 }
    }

    async fn run(mut self) -> Outcome {
        self.workload.fill(self.plan.rows);
        let mut engine = Some(self.world.start(RunMode::Continuous));
        let faulty = !self.plan.rates.is_empty();
        for _ in 0..self.plan.steps {
            for _ in 0..self.chance.below(4) {
                self.workload.step();
            }
            if faulty {
                engine = self.disturb(engine).await;
            }
            let span = *self.chance.pick(&[10, 500, 5_000, 20_000, 40_000, 200_000]);
            self.world.pass(self.chance.span(Duration::ZERO, Duration::from_millis(span))).await;
            if self.world.spins() {
                return self.finish().await;
            }
            engine = Some(self.revive(engine).await);
        }
        self.drain(engine).await;
        self.finish().await
    }

    /// A run that has ended by itself is started again, as a host does.
    async fn revive(&mut self, engine: Option<Engine>) -> Engine {
        let Some(mut engine) = engine else { return self.world.start(RunMode::Continuous) };
        if !engine.is_over() {
            return engine;
        }
        self.world.end_of(engine, Duration::ZERO).await;
        self.world.start(RunMode::Continuous)
    }

    /// Something happens from outside.
    async fn disturb(&mut self, engine: Option<Engine>) -> Option<Engine> {
        let engine = engine?;
        self.interruptions += 1;
        match self.chance.below(16) {
            0 | 1 => {
                self.world.faults.note(Fault::Killed);
                self.world.kill(engine).await;
                if self.chance.hits(0.3) {
                    self.plan_changes();
                }
                self.world.pass(self.chance.span(Duration::ZERO, Duration::from_secs(100))).await;
                None
            }
            2 => {
                self.world.faults.note(Fault::StopAndStart);
                let unanswered = self.world.target.history().sent.iter().any(|sent| sent.ended.is_none());
                if unanswered || !self.world.target.is_still() {
                    self.world.faults.note(Fault::SlowStop);
                    self.world.rare.took(Path::StoppedInFlight);
                }
                if self.world.stop(engine, Duration::from_secs(3600)).await.is_none() {
                    self.found.push(Violation::new(Invariant::Liveness, "a stop did not end in an hour".to_owned()));
                }
                if self.chance.hits(0.3) {
                    self.plan_changes();
                }
                None
            }
            3 => {
                self.world.faults.note(Fault::CalendarJumps);
                let seconds = i64::try_from(self.chance.below(7200)).unwrap_or(0) - 3600;
                self.world.trace.note(self.world.clock.monotonic(), format_args!("the calendar jumps by {seconds} s"));
                self.world.clock.skew(TimeDelta::seconds(seconds));
                Some(engine)
            }
            4 if self.world.faults.possible(Fault::TokenExpired) => {
                self.world.faults.note(Fault::TokenExpired);
                self.chance.pick(&self.world.tables).expire();
                Some(engine)
            }
            5 => {
                self.world.tables.iter().for_each(|table| table.commit());
                Some(engine)
            }
            6 => {
                self.operator().await;
                Some(engine)
            }
            7 => Some(self.second_process(engine).await),
            _ => Some(engine),
        }
    }

    /// An operator asks for something.
    async fn operator(&mut self) {
        let table = usize::try_from(self.chance.below(self.world.tables.len() as u64)).unwrap_or(0);
        let stream = super::stream(table);
        let request = match self.chance.below(4) {
            0 | 1 => {
                self.world.faults.note(Fault::ReplayBesideLive);
                let when = *self.chance.pick(&[ReplayStart::Now, ReplayStart::NextStart]);
                Request::Replay { stream, when }
            }
            2 => Request::Requeue(LetterFilter { stream: Some(stream), ..LetterFilter::default() }),
            _ => {
                let letters = self.world.dead_letters().await;
                let Some((table, letter)) = letters.first().filter(|(table, _)| *table > 0) else { return };
                let version = self.world.tables[*table].present(&letter.key).map_or(0, |(version, _)| version);
                self.world.dropped.insert((*table, letter.key.clone()), version);
                Request::Drop(LetterFilter { ids: vec![letter.id], ..LetterFilter::default() })
            }
        };
        let now_ms = self.world.clock.now().timestamp_millis();
        let id = self.world.store().leave_request(&request, now_ms).await.unwrap();
        self.world.trace.note(self.world.clock.monotonic(), format_args!("request {id}: {request:?}"));
    }

    /// Another host wants the workflow too, while the process that has it may stand still for longer than its lease.
    async fn second_process(&mut self, mut first: Engine) -> Engine {
        let host = self.world.host.clone();
        self.world.host = format!("host {}", self.interruptions).into();
        self.world.faults.note(Fault::TwoClaimants);
        let suspended = self.chance.hits(0.7);
        if suspended {
            self.world.faults.note(Fault::Suspended);
            self.world.trace.note(self.world.clock.monotonic(), format_args!("#{} is stopped", first.process.number));
            first.process.stop();
        }
        let mut second = self.world.start(RunMode::Continuous);
        let ttl = self.world.shape.options.lease_ttl;
        self.world.pass(self.chance.span(Duration::ZERO, ttl * 3)).await;
        for _ in 0..self.chance.below(4) {
            self.workload.step();
        }
        first.process.go_on();
        self.world.trace.note(self.world.clock.monotonic(), format_args!("#{} goes on", first.process.number));
        self.world.pass(self.chance.span(Duration::ZERO, ttl)).await;
        // Whoever lost the lease ends by itself; of two that still run, one waits for the other.
        if first.is_over() {
            self.world.rare.took(Path::TakenOver);
            self.world.end_of(first, Duration::ZERO).await;
            return second;
        }
        if second.is_over() || self.chance.hits(0.5) {
            self.world.kill(second).await;
            self.world.host = host;
            return first;
        }
        self.world.kill(first).await;
        // What the dead one held ends with its lease.
        self.world.pass(ttl).await;
        second
    }

    fn plan_changes(&mut self) {
        self.world.faults.note(Fault::OtherPlan);
        self.world.plan = self.chance.between(1, 3);
    }

    /// The faults have stopped: everything is to come right by itself, in bounded time.
    async fn drain(&mut self, engine: Option<Engine>) {
        self.world.faults.quiet();
        self.workload.bring_to_an_end();
        // An operator looks after what is held: deletions beyond the brake, and dead letters that parents have become.
        self.world.shape.options.brake = DeleteBrake { rows: u64::MAX, share: 1.0 };
        // What no feed tells of is found by the next audit.
        self.world.shape.options.audit_every = Some(Duration::from_secs(600));
        let letters = self.world.dead_letters().await;
        if let Some(engine) = engine {
            self.world.stop(engine, Duration::from_secs(3600)).await;
            if self.world.target.history().sent.iter().any(|sent| !sent.known) {
                // What a stop leaves in doubt is asked for once more.
                self.interruptions += 1;
            }
        }
        let mut engine = self.world.start(RunMode::Continuous);
        let mut waited = Duration::ZERO;
        let mut differences;
        let mut step = Duration::from_secs(60);
        loop {
            self.world.pass(step).await;
            waited += step;
            step *= 2;
            let mended = self.mend().await;
            differences = self.world.differences().await;
            if self.world.spins() {
                return;
            }
            // What an ended process left of its lease has to be over before anybody has worked.
            let leased = waited > self.world.shape.options.lease_ttl;
            if (!mended && leased && differences.is_empty() && self.world.is_quiet().await) || waited >= PATIENCE {
                break;
            }
            if engine.is_over() {
                let report = self.world.end_of(engine, Duration::ZERO).await;
                let text = format!("a run without faults ended: {:?}", report.map(|report| report.status));
                self.found.push(Violation::new(Invariant::Liveness, text));
                return;
            }
        }
        let left = self.world.dead_letters().await;
        let closed = letters.iter().filter(|(_, letter)| left.iter().all(|(_, other)| other.id != letter.id)).count();
        self.world.rare.add(Path::DeadLetterClosed, closed as u64);
        if !self.world.is_quiet().await {
            let text = format!("after {waited:?} there is still something to do: {:?}", self.world.stats().await);
            self.found.push(Violation::new(Invariant::Liveness, text));
        }
        self.found.extend(differences);
        if self.world.stop(engine, Duration::from_secs(3600)).await.is_none() {
            self.found.push(Violation::new(Invariant::Liveness, "a stop did not end in an hour".to_owned()));
        }
        self.rest().await;
    }

    /// Nothing changes any more: a further run finds nothing to write.
    async fn rest(&mut self) {
        let before = self.world.target.requests();
        // An audit that falls due now may find what waits for one; here nothing is to be found.
        self.world.shape.options.audit_every = None;
        let engine = self.world.start(RunMode::UntilIdle);
        let report = self.world.end_of(engine, PATIENCE).await;
        match report {
            Some(report) if report.status.state == WorkflowState::Stopped => {}
            other => {
                let text = format!("a run at rest did not end well: {:?}", other.map(|report| report.status));
                self.found.push(Violation::new(Invariant::Liveness, text));
            }
        }
        self.found.extend(self.world.differences().await);
        let more = self.world.target.requests() - before;
        if more > 0 && self.found.is_empty() {
            self.found.push(Violation::new(Invariant::Bounded, format!("a run at rest sent {more} requests")));
        }
    }

    /// Parents that became dead letters hold up their children until somebody mends them.
    async fn mend(&mut self) -> bool {
        let mut mended = false;
        for (table, letter) in self.world.dead_letters().await {
            let kind = self.world.tables[table].present(&letter.key).and_then(|(_, content)| content);
            if table == 0 && kind.is_some_and(|content| content.kind == crate::parties::Kind::Plain) {
                self.workload.mend(table, &letter.key);
                mended = true;
            }
        }
        mended
    }

    async fn finish(mut self) -> Outcome {
        self.found.extend(self.world.violations().await);
        let changes = self.world.tables.iter().map(|table| u64::try_from(table.version()).unwrap_or(0)).sum();
        let requests = self.world.target.requests() as u64;
        self.found.extend(self.amplification(requests).await);
        self.found.dedup();
        for violation in &self.found {
            self.world.trace.note(self.world.clock.monotonic(), format_args!("BROKEN {violation}"));
        }
        Outcome {
            seed: self.seed,
            trace: self.world.trace.hash(),
            time: self.world.clock.monotonic(),
            faults: self.world.faults.fired(),
            rare: self.world.rare.taken(),
            violations: self.found,
            requests,
            changes,
        }
    }

    /// I13: where nothing went wrong, each write that was counted cost one request.
    async fn amplification(&self, requests: u64) -> Option<Violation> {
        if !self.plan.rates.is_empty() || self.interruptions > 0 {
            return None;
        }
        let written: u64 = self
            .world
            .totals()
            .await
            .iter()
            .map(|tally| tally.inserted + tally.updated + tally.deleted + tally.ignored + tally.dead)
            .sum();
        (requests > written).then(|| {
            Violation::new(Invariant::Bounded, format!("{requests} requests for {written} writes without a fault"))
        })
    }
}
