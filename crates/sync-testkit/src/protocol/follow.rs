//! The code beside the model: a store and the writer's machine take every step that the model takes, and must come to the same.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use stateright::Model;
use sync_core::engine::writer::{EntryMachine, History, Moment, WritePolicy, WriterAction, WriterInput};
use sync_core::traits::{Action as Write, Lease, Outcome, OwnerId, Settlement, Store, Verdict};
use sync_core::{Seq, StoreErrorKind, StreamId};
use timing::Backoff;

use super::state::{Action, Ending, Entry, State, Step, WORKERS};
use super::{Parameters, Protocol, transitions};
use crate::book::{Book, TTL, WORKFLOW, state};

const TICK: Duration = Duration::from_secs(10);
const TICK_MS: i64 = 10_000;
const KEYS: [&str; 2] = ["a", "b"];

/// What one worker is at.
struct Hand {
    seq: Seq,
    machine: EntryMachine,
    next: WriterAction,
}

/// The code in the model's world: the server, the time and which process is alive are the model's.
struct Code {
    book: Book,
    policy: WritePolicy,
    takeover_wait_ms: i64,
    leases: [Option<Lease>; WORKERS],
    hands: [Option<Hand>; WORKERS],
}

impl Code {
    async fn new(store: Arc<dyn Store>, stream: StreamId, parameters: &Parameters) -> Self {
        let book = Book { stream, ..Book::of(store).await };
        for key in KEYS.into_iter().take(usize::from(parameters.keys)) {
            book.append(vec![(key, state("1"))]).await;
        }
        // The model's server has no moods: what it refused it may be asked at once again.
        let at_once = Backoff::new(Duration::ZERO, 1.0, Duration::ZERO);
        let policy = WritePolicy {
            unique_key: parameters.unique_key,
            settle: TICK * u32::from(parameters.settle),
            record_backoff: at_once,
            service_backoff: at_once,
            poison_threshold: 8,
            unknown_rounds: u32::from(parameters.unknown_rounds),
            parent_wait: Duration::MAX,
        };
        let takeover_wait_ms = TICK_MS * i64::from(parameters.takeover_wait);
        Self { book, policy, takeover_wait_ms, leases: [None, None], hands: [None, None] }
    }

    /// Takes a step that the model took.
    async fn step(&mut self, before: &State, action: Action, after: &State) {
        match action {
            Action::Tick => self.book.now_ms += TICK_MS,
            Action::Acquire { worker } => {
                let store = &self.book.store;
                let lease = store.acquire(WORKFLOW, &OwnerId("suite".into()), TTL).await.unwrap().unwrap();
                let due_ms = self.book.now_ms + self.takeover_wait_ms;
                store.inherit(&lease, &self.book.stream, due_ms).await.unwrap();
                self.leases[usize::from(worker)] = Some(lease);
            }
            Action::Claim { worker, .. } => self.claim(usize::from(worker), after).await,
            Action::Look { worker } => {
                let there = !matches!(after.workers[usize::from(worker)].step, Step::Absent { .. });
                self.hand(worker).looks();
                self.outcome(worker, if there { Outcome::Exists } else { Outcome::Missing });
                if there {
                    self.updates(worker);
                }
            }
            Action::LookFails { worker } => {
                self.hand(worker).looks();
                self.outcome(worker, unheard());
            }
            Action::Check { worker } => {
                if after.workers[usize::from(worker)].step == Step::Idle {
                    self.forgets(worker);
                }
            }
            Action::Send { worker } => self.hand(worker).creates(),
            Action::GiveUp { worker } => self.never_hears(worker),
            Action::Settle { worker } => self.settle(usize::from(worker), after).await,
            Action::StepDown { worker } | Action::Crash { worker } => self.forgets(worker),
            Action::Execute { post, answered: true } => {
                let post = before.posts[usize::from(post)];
                let Some(worker) = post.awaited_by else { return };
                let first = before.server[usize::from(post.key)].creates == 0;
                if first || !self.policy.unique_key {
                    self.outcome(worker, Outcome::Applied);
                } else {
                    self.outcome(worker, Outcome::Exists);
                    self.updates(worker);
                }
            }
            Action::Refuse { post } => {
                if let Some(worker) = before.posts[usize::from(post)].awaited_by {
                    self.outcome(worker, Outcome::Retry { after: None, code: "busy".to_owned() });
                }
            }
            Action::Execute { .. }
            | Action::LoseRequest { .. }
            | Action::Restart { .. }
            | Action::Stop { .. }
            | Action::Resume { .. } => {}
        }
        self.compare(after).await;
    }

    async fn claim(&mut self, worker: usize, after: &State) {
        let lease = self.leases[worker].as_ref().unwrap();
        let claimed = self.book.store.claim(lease, self.book.want(1)).await;
        match after.workers[worker].step {
            Step::Claimed { key, in_doubt } => {
                let entry = claimed.unwrap().pop().unwrap();
                assert_eq!(entry.key.to_text(), KEYS[usize::from(key)]);
                assert_eq!(entry.unknown, in_doubt);
                // What a run remembers of earlier claims bounds how often it tries, not what is safe: none is remembered here.
                let seq = entry.seq;
                let (machine, next) = EntryMachine::start(entry, History::default(), &self.policy);
                self.hands[worker] = Some(Hand { seq, machine, next });
            }
            Step::Fenced => assert_eq!(claimed.unwrap_err().kind(), StoreErrorKind::Fenced),
            step => panic!("a claim leads to {step:?}"),
        }
    }

    async fn settle(&mut self, worker: usize, after: &State) {
        let Hand { seq, next, .. } = self.hands[worker].take().unwrap();
        let WriterAction::Settle(ending) = next else { panic!("the writer goes on: {next:?}") };
        let settlements = vec![Settlement { seq, verdict: ending.verdict.unwrap() }];
        let lease = self.leases[worker].as_ref().unwrap();
        let settled = self.book.store.settle(lease, &self.book.stream, settlements, self.book.now_ms).await;
        match after.workers[worker].step {
            Step::Idle => assert_eq!(settled.unwrap().passed_over, 0),
            Step::Fenced => assert_eq!(settled.unwrap_err().kind(), StoreErrorKind::Fenced),
            step => panic!("a settlement leads to {step:?}"),
        }
    }

    /// The machine and the store agree with the model.
    async fn compare(&self, model: &State) {
        for (worker, hand) in model.workers.iter().zip(&self.hands) {
            let next = hand.as_ref().map(|hand| &hand.next);
            let agreed = match worker.step {
                Step::Down | Step::Idle | Step::Fenced => next.is_none(),
                Step::Claimed { .. } => match next {
                    Some(WriterAction::Resolve(_)) => !self.policy.unique_key,
                    Some(WriterAction::Apply(Write::Create(_))) => self.policy.unique_key,
                    _ => false,
                },
                Step::Absent { .. } | Step::Armed { .. } | Step::Sent { .. } => {
                    matches!(next, Some(WriterAction::Apply(Write::Create(_))))
                }
                Step::Ended { ending, .. } => match next {
                    Some(WriterAction::Settle(settlement)) => agree(ending, settlement.verdict.as_ref()),
                    _ => false,
                },
            };
            assert!(agreed, "{worker:?} beside {next:?}");
        }
        let count = |wanted: fn(&Entry) -> bool| model.entries.iter().filter(|entry| wanted(entry)).count() as u64;
        let stats = self.book.stats().await;
        assert_eq!(stats.queued, count(|entry| matches!(entry, Entry::Queued { .. })));
        assert_eq!(stats.in_flight, count(|entry| matches!(entry, Entry::InFlight { .. })));
        assert_eq!(stats.unknown, count(|entry| matches!(entry, Entry::Unknown { .. })));
        let waits = model.entries.iter().filter_map(|entry| match entry {
            Entry::Queued { .. } => Some(0),
            Entry::Unknown { due, .. } => Some(TICK_MS * i64::from(*due)),
            _ => None,
        });
        let wait = stats.next_due_ms.map(|due_ms| (due_ms - self.book.now_ms).max(0));
        assert_eq!(wait, waits.min(), "{model:?}");
    }

    fn hand(&mut self, worker: u8) -> &mut Hand {
        self.hands[usize::from(worker)].as_mut().unwrap()
    }

    fn outcome(&mut self, worker: u8, outcome: Outcome) {
        let at = Moment { now_ms: self.book.now_ms, unit: 0.5 };
        let policy = self.policy.clone();
        let hand = self.hand(worker);
        hand.next = hand.machine.step(at, &policy, WriterInput::Outcome(outcome));
    }

    /// The record is there and is brought up to date, which the model leaves out: it creates nothing and may be repeated.
    fn updates(&mut self, worker: u8) {
        let next = &self.hand(worker).next;
        assert!(matches!(next, WriterAction::Apply(Write::Update(_))), "{next:?}");
        self.outcome(worker, Outcome::Applied);
    }

    /// Where the key is unique, the machine repeats the create itself; the model does so in a claim of its own. These
    /// repetitions reach nobody.
    fn never_hears(&mut self, worker: u8) {
        self.outcome(worker, unheard());
        while self.policy.unique_key && !matches!(self.hand(worker).next, WriterAction::Settle(_)) {
            self.hand(worker).creates();
            self.outcome(worker, unheard());
        }
    }

    fn forgets(&mut self, worker: u8) {
        self.hands[usize::from(worker)] = None;
        self.leases[usize::from(worker)] = None;
    }
}

impl Hand {
    fn looks(&self) {
        assert!(matches!(self.next, WriterAction::Resolve(_)), "{:?}", self.next);
    }

    fn creates(&self) {
        assert!(matches!(self.next, WriterAction::Apply(Write::Create(_))), "{:?}", self.next);
    }
}

fn unheard() -> Outcome {
    Outcome::Unknown { code: "no-answer".to_owned() }
}

fn agree(ending: Ending, verdict: Option<&Verdict>) -> bool {
    match ending {
        Ending::Done | Ending::Found => matches!(verdict, Some(Verdict::Done { .. })),
        Ending::Retry => matches!(verdict, Some(Verdict::Retry { .. })),
        Ending::Unknown { .. } => matches!(verdict, Some(Verdict::Unknown { .. })),
    }
}

/// Walks from the start that together take every step of the model at least once.
fn walks(model: &Protocol) -> Vec<Vec<Action>> {
    let mut way_to: HashMap<State, Vec<Action>> = HashMap::new();
    let mut order = model.init_states();
    way_to.extend(order.iter().map(|state| (state.clone(), Vec::new())));
    let mut at = 0;
    while let Some(state) = order.get(at).cloned() {
        at += 1;
        let way = way_to.get(&state).cloned().unwrap_or_default();
        for (action, next) in model.next_steps(&state) {
            if !way_to.contains_key(&next) {
                way_to.insert(next.clone(), [way.as_slice(), &[action]].concat());
                order.push(next);
            }
        }
    }
    let mut untaken: HashMap<&State, Vec<(Action, State)>> =
        order.iter().map(|state| (state, model.next_steps(state))).collect();
    let mut walks = Vec::new();
    for from in &order {
        while untaken.get(from).is_some_and(|steps| !steps.is_empty()) {
            let mut walk = way_to.get(from).cloned().unwrap_or_default();
            let mut state = from.clone();
            while let Some((action, next)) = untaken.get_mut(&state).and_then(Vec::pop) {
                walk.push(action);
                state = next;
            }
            walks.push(walk);
        }
    }
    walks
}

/// Has a fresh store, with the machine that writes, take every step that the model takes under these parameters, each at least once,
/// and compares after each: who is refused, what is claimed, whether it is in doubt, what is sent, how it ends, what waits and
/// until when. Each walk through the model uses a stream of its own. Answers the number of walks.
///
/// The parameters say what the server does and how long waits are; the rules are the code's own, so `intent`, `read_back` and
/// `fenced` must be set. How often an entry is tried is left out: the writer counts that per run, the model per entry.
///
/// # Panics
/// Where code and model differ.
pub fn follow(store: &Arc<dyn Store>, parameters: Parameters) -> usize {
    assert!(parameters.intent && parameters.read_back && parameters.fenced, "the code keeps these rules");
    let parameters = Parameters { unknown_rounds: parameters.faults + 1, ..parameters };
    let model = Protocol(parameters);
    let walks = walks(&model);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (number, walk) in walks.iter().enumerate() {
        let stream = StreamId::new(format!("workflow/walk-{number}"));
        runtime.block_on(async {
            let mut code = Code::new(store.clone(), stream, &parameters).await;
            let mut before = transitions::start(&parameters);
            for action in walk {
                let after = transitions::next(&parameters, &before, *action).unwrap();
                code.step(&before, *action, &after).await;
                before = after;
            }
        });
    }
    walks.len()
}
