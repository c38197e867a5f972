use std::collections::BTreeMap;
use std::time::Duration;

use record::Key;
use sync_core::traits::{LetterFilter, ReplayStart, Request};
use sync_core::{DeleteBrake, EngineOptions, RunMode, WorkflowState};
use timing::Clock;

use super::Case;
use crate::Ground;
use crate::faults::{Fault, Faults};
use crate::invariants::{Invariant, Violation};
use crate::parties::{Chance, Content, Kind, TargetShape, TokenMode, Trace, VirtualClock};
use crate::sim::{Shape, World, stream};

const HOUR: Duration = Duration::from_secs(3600);

/// What goes on when the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The first reading of both tables.
    Snapshot,
    /// Changes of every kind after it.
    Live,
    /// All records are written again, and dead letters are queued again, while changes go on.
    Replay,
    /// The position expired: a new snapshot, the sweep that closes it, and the search for what vanished.
    Sweep,
    /// A stop in good order while requests are under way.
    Stop,
    /// A backlog that another version of the mapping made.
    OtherPlan,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 6] = [Self::Snapshot, Self::Live, Self::Replay, Self::Sweep, Self::Stop, Self::OtherPlan];
}

/// The two tables, as a script writes them.
struct Scene {
    world: World,
    number: u64,
}

fn parent(nth: u64) -> Key {
    Key::text(format!("p{nth}"))
}

fn child(nth: u64) -> Key {
    Key::text(format!("c{nth}"))
}

impl Scene {
    fn new(phase: Phase, unique_key: bool, ground: &dyn Ground, trace: Trace) -> Self {
        let chance = Chance::new(7);
        let clock = VirtualClock::new(chance.fork());
        let faults = Faults::none(chance.fork());
        let seconds = Duration::from_secs;
        let options = EngineOptions {
            claim_batch: 3,
            settle_batch: 2,
            sweep_chunk: 2,
            brake: DeleteBrake { rows: 100, share: 1.0 },
            audit_every: None,
            dead_letter_retention: None,
            ..EngineOptions::default()
        };
        let target = TargetShape {
            unique_key,
            settle: seconds(60),
            late: seconds(55),
            latency: Duration::from_millis(40),
            in_flight: 2,
            ..TargetShape::default()
        };
        let tokens = if phase == Phase::Sweep { TokenMode::AfterPaging } else { TokenMode::CoversPaging };
        let shape = Shape { target, tokens, options, ..Shape::default() };
        Self { world: World::new(shape, ground, clock, faults, trace), number: 0 }
    }

    fn put(&mut self, table: usize, key: &Key, kind: Kind, parent: Option<Key>) {
        self.number += 1;
        if let Some(parent) = &parent {
            self.world.target.child_of(self.number, parent);
        }
        let content = Content { number: self.number, kind, parent };
        self.world.tables[table].set(key, Some(content));
    }

    fn fill(&mut self) {
        for nth in 0..5 {
            self.put(0, &parent(nth), Kind::Plain, None);
        }
        self.put(0, &parent(12), Kind::Plain, None);
        self.put(0, &parent(5), Kind::Filtered, None);
        self.put(0, &parent(6), Kind::Unmappable, None);
        self.put(0, &parent(7), Kind::Refused, None);
        for nth in 0..4 {
            self.put(1, &child(nth), Kind::Plain, (nth > 0).then(|| parent(nth)));
        }
    }

    /// Changes of every kind.
    fn change(&mut self) {
        self.put(0, &parent(0), Kind::Plain, None);
        self.world.tables[0].set(&parent(4), None);
        self.put(0, &parent(12), Kind::Filtered, None);
        self.put(0, &parent(6), Kind::Plain, None);
        self.put(0, &parent(8), Kind::Plain, None);
        self.put(0, &parent(9), Kind::Refused, None);
        self.put(0, &parent(10), Kind::Filtered, None);
        self.put(1, &child(0), Kind::Plain, Some(parent(8)));
        self.world.tables[1].set(&child(1), None);
        self.put(1, &child(4), Kind::Plain, Some(parent(8)));
        self.put(1, &child(5), Kind::Unmappable, None);
    }

    /// What happens between the end of the process and the next one.
    fn change_again(&mut self) {
        self.put(0, &parent(0), Kind::Plain, None);
        self.world.tables[0].set(&parent(2), None);
        self.put(0, &parent(11), Kind::Plain, None);
        self.put(1, &child(6), Kind::Plain, Some(parent(11)));
        self.put(1, &child(2), Kind::Plain, None);
    }

    /// A run that nothing disturbs.
    async fn quiet_run(&mut self) -> Option<Violation> {
        let engine = self.world.start(RunMode::UntilIdle);
        let report = self.world.end_of(engine, 24 * HOUR).await;
        let status = report.map(|report| report.status);
        match &status {
            Some(status) if status.state == WorkflowState::Stopped => None,
            _ => Some(Violation::new(Invariant::Liveness, format!("a quiet run did not end well: {status:?}"))),
        }
    }

    async fn ask(&self, request: Request) {
        let now_ms = self.world.clock.now().timestamp_millis();
        self.world.store().leave_request(&request, now_ms).await.unwrap();
    }

    /// Everything that comes before the run whose process ends.
    async fn prepare(&mut self, phase: Phase) -> Option<Violation> {
        self.fill();
        let mut broken = None;
        if phase != Phase::Snapshot {
            broken = self.quiet_run().await;
            self.change();
        }
        let faults = &self.world.faults;
        match phase {
            Phase::Snapshot | Phase::Live => {}
            Phase::Replay => {
                for table in 0..2 {
                    self.ask(Request::Replay { stream: stream(table), when: ReplayStart::Now }).await;
                }
                self.ask(Request::Requeue(LetterFilter::default())).await;
                let filter = LetterFilter { code: Some("nothing-of-the-kind".to_owned()), ..LetterFilter::default() };
                self.ask(Request::Drop(filter)).await;
            }
            Phase::Sweep => {
                // Deleted before the position expired: no feed tells of them any more.
                self.world.tables[0].expire();
                self.world.tables[1].expire();
            }
            Phase::Stop => {}
            Phase::OtherPlan => {
                faults.script(Fault::Throttled, 1);
                let engine = self.world.start(RunMode::Continuous);
                self.world.pass(Duration::from_secs(2)).await;
                self.world.stop(engine, HOUR).await;
                self.world.plan = 2;
            }
        }
        // Answers are lost in every phase: one before the effect, one after it, and one comes far too late.
        let faults = &self.world.faults;
        faults.script(Fault::ResetAfterEffect, 1);
        faults.script(Fault::ResetBeforeEffect, 3);
        faults.script(Fault::LateExecution, 3);
        broken
    }

    /// The run whose process ends.
    async fn disturbed_run(
        &mut self,
        phase: Phase,
        end: Option<(&'static str, u32)>,
    ) -> (BTreeMap<&'static str, u32>, bool) {
        let mode = if phase == Phase::Stop { RunMode::Continuous } else { RunMode::UntilIdle };
        let engine = self.world.start_with(mode, |process| {
            if let Some((point, hit)) = end {
                process.end_at(point, hit);
            }
        });
        let process = engine.process.clone();
        if phase == Phase::Stop {
            let tripped = process.clone();
            self.world.run_until(Duration::from_millis(130), || tripped.tripped()).await;
            self.world.stop(engine, HOUR).await;
        } else {
            self.world.end_of(engine, 24 * HOUR).await;
        }
        (process.reached(), process.tripped())
    }

    /// The processes after it bring everything to its end.
    async fn recover(&mut self) -> Vec<Violation> {
        let mut broken = Vec::new();
        self.world.faults.quiet();
        for _ in 0..6 {
            broken.extend(self.quiet_run().await);
            if self.world.is_quiet().await && self.world.differences().await.is_empty() {
                break;
            }
            // What is to be verified or looked up waits for its time.
            self.world.pass(Duration::from_secs(200)).await;
        }
        if !self.world.is_quiet().await {
            let stats = self.world.stats().await;
            broken.push(Violation::new(Invariant::Liveness, format!("something is left to do: {stats:?}")));
        }
        broken.extend(self.world.differences().await);
        broken.extend(self.world.violations().await);
        broken
    }
}

/// How often a run that nothing ends visits each point.
pub(super) async fn visits(phase: Phase, unique_key: bool, ground: &dyn Ground) -> BTreeMap<&'static str, u32> {
    let mut scene = Scene::new(phase, unique_key, ground, Trace::new(false));
    scene.prepare(phase).await;
    scene.disturbed_run(phase, None).await.0
}

/// A process ends at a point, and the next ones go on.
pub(super) async fn crash(case: Case, ground: &dyn Ground, trace: Trace) -> Vec<Violation> {
    let mut scene = Scene::new(case.phase, case.unique_key, ground, trace);
    let mut broken: Vec<Violation> = scene.prepare(case.phase).await.into_iter().collect();
    let (_, tripped) = scene.disturbed_run(case.phase, Some((case.point, case.hit))).await;
    if !tripped {
        let text = "a run that came to this point did not come to it again".to_owned();
        broken.push(Violation::new(Invariant::Determinism, text));
    }
    scene.world.reopen(ground);
    scene.change_again();
    broken.extend(scene.recover().await);
    broken
}
