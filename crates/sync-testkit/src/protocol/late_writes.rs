//! Writes of unknown outcome where the key is unique, and the verifications that undo what they may do later.
//!
//! One record is created, changed, deleted and created again. A write whose answer is lost is repeated at once, so the record
//! goes on; the first attempt may take effect meanwhile, or over a newer state. One process at a time works on a locked store:
//! who crashes is succeeded at once.

use std::fmt;

use stateright::{Checker, Model, Property};

use super::properties::{Endless, Path, ends, shortest};

/// The states of the record at the source, in order.
const HISTORY: [Option<u8>; 4] = [Some(1), Some(2), None, Some(3)];

const NEWEST_STAYS: &str = "where nothing is under way or waits, the newest state is there";
const UNDONE: &str = "a late write hides a newer state, until it is verified";

/// The world of a run; times are in ticks, as in [`Parameters`](super::Parameters).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LateWrites {
    /// How long after the end of an entry that was in doubt its state is written once more; `None` for never.
    pub verify_after: Option<u8>,
    /// A write is executed within so many ticks after its last byte, or never. At least 1.
    pub execution: u8,
    /// How many faults happen in one run: crash, lost request, lost answer, given up waiting.
    pub faults: u8,
}

/// What the search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateFindings {
    /// Different states that were visited.
    pub states: usize,
    /// A run after which an older state stays in the place of the newest.
    pub regress: Option<Path<LateAction>>,
    /// Whether in some run a late write hid a newer state for a while.
    pub undone: bool,
    /// Whether every run ends once its faults are used up, whatever the record is then.
    pub ends: Result<usize, Endless>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Write {
    Create(u8),
    Change(u8),
    Delete,
}

/// The write that brings a state about, given whether the record is there.
fn write(wanted: Option<u8>, there: bool) -> Write {
    match wanted {
        None => Write::Delete,
        Some(state) if there => Write::Change(state),
        Some(state) => Write::Create(state),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Down,
    Idle,
    /// It sends next.
    Ready {
        write: Write,
        in_doubt: bool,
    },
    /// It waits for the answer.
    Sent {
        write: Write,
        in_doubt: bool,
    },
    /// The record is as wanted; it tells the store next.
    Done {
        in_doubt: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Post {
    write: Write,
    left: u8,
    awaited: bool,
}

/// The state of a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LateState {
    /// So many states of the history are in the backlog or settled.
    appended: usize,
    /// So many are settled.
    settled: usize,
    /// Whether the record is there, as far as the store knows.
    bound: bool,
    /// The oldest entry is in flight.
    claimed: bool,
    /// An attempt at the oldest entry may yet take effect.
    in_doubt: bool,
    /// The oldest entry is a verification.
    verifying: bool,
    /// A verification waits for so many more ticks.
    verification: Option<u8>,
    server: Option<u8>,
    /// Sorted, so that equal states are equal.
    posts: Vec<Post>,
    step: Step,
    faults: u8,
}

impl LateState {
    fn newest(&self) -> Option<u8> {
        self.settled.checked_sub(1).and_then(|last| HISTORY.get(last).copied().flatten())
    }

    /// All that was appended is written.
    fn is_written(&self) -> bool {
        self.settled == self.appended && !self.verifying
    }

    fn is_quiet(&self) -> bool {
        self.is_written() && self.verification.is_none() && self.posts.is_empty()
    }

    fn is_over(&self) -> bool {
        self.is_quiet() && self.appended == HISTORY.len()
    }

    /// The state of the record that the oldest entry wants.
    fn wanted(&self) -> Option<u8> {
        if self.verifying { self.newest() } else { HISTORY.get(self.settled).copied().flatten() }
    }
}

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "`Display` says what each one is")]
pub enum LateAction {
    Tick,
    Append,
    Claim,
    Send,
    GiveUp,
    Settle,
    Crash,
    Restart,
    Execute { post: usize, answered: bool },
    LoseRequest { post: usize },
}

impl fmt::Display for LateAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tick => write!(f, "a tick passes"),
            Self::Append => write!(f, "the next state of the record is appended"),
            Self::Claim => write!(f, "the oldest entry, or a verification that is due, is claimed"),
            Self::Send => write!(f, "the write is sent"),
            Self::GiveUp => write!(f, "the worker gives up waiting for the answer"),
            Self::Settle => write!(f, "the worker settles"),
            Self::Crash => write!(f, "the worker crashes"),
            Self::Restart => write!(f, "another takes over"),
            Self::Execute { post, answered: true } => {
                write!(f, "the server executes write {post} under way and answers")
            }
            Self::Execute { post, answered: false } => {
                write!(f, "the server executes write {post} under way, and nobody hears the answer")
            }
            Self::LoseRequest { post } => write!(f, "write {post} under way is lost"),
        }
    }
}

impl Model for LateWrites {
    type State = LateState;
    type Action = LateAction;

    fn init_states(&self) -> Vec<LateState> {
        vec![LateState {
            appended: 0,
            settled: 0,
            bound: false,
            claimed: false,
            in_doubt: false,
            verifying: false,
            verification: None,
            server: None,
            posts: Vec::new(),
            step: Step::Idle,
            faults: self.faults,
        }]
    }

    fn actions(&self, state: &LateState, actions: &mut Vec<LateAction>) {
        if state.is_over() {
            return;
        }
        let faulty = state.faults > 0;
        if state.appended < HISTORY.len() {
            actions.push(LateAction::Append);
        }
        let waiting = state.posts.iter().any(|post| post.awaited);
        match state.step {
            Step::Down => actions.push(LateAction::Restart),
            Step::Idle if !state.is_written() || state.verification == Some(0) => actions.push(LateAction::Claim),
            Step::Idle => {}
            Step::Ready { .. } => actions.push(LateAction::Send),
            Step::Sent { .. } if faulty || !waiting => actions.push(LateAction::GiveUp),
            Step::Sent { .. } => {}
            Step::Done { .. } => actions.push(LateAction::Settle),
        }
        if faulty && state.claimed && state.step != Step::Down {
            actions.push(LateAction::Crash);
        }
        for (post, under_way) in state.posts.iter().enumerate() {
            actions.push(LateAction::Execute { post, answered: true });
            if faulty && under_way.awaited {
                actions.push(LateAction::Execute { post, answered: false });
            }
            if faulty {
                actions.push(LateAction::LoseRequest { post });
            }
        }
        let counted = !state.posts.is_empty() || state.verification.is_some_and(|due| due > 0);
        if counted && state.posts.iter().all(|post| post.left > 1) {
            actions.push(LateAction::Tick);
        }
    }

    fn next_state(&self, last: &LateState, action: LateAction) -> Option<LateState> {
        let mut next = last.clone();
        match action {
            LateAction::Tick => {
                next.verification = next.verification.map(|due| due.saturating_sub(1));
                next.posts.iter_mut().for_each(|post| post.left = post.left.saturating_sub(1));
            }
            LateAction::Append => next.appended += 1,
            LateAction::Claim => {
                if next.is_written() {
                    // No entry of the key is unsettled: the verification becomes one.
                    next.verification = None;
                    next.verifying = true;
                }
                next.claimed = true;
                next.step = Step::Ready { write: write(next.wanted(), next.bound), in_doubt: next.in_doubt };
            }
            LateAction::Send => {
                let Step::Ready { write, in_doubt } = next.step else { return None };
                next.posts.push(Post { write, left: self.execution, awaited: true });
                next.step = Step::Sent { write, in_doubt };
            }
            LateAction::GiveUp => {
                let Step::Sent { write, .. } = next.step else { return None };
                let waiting = next.posts.iter().any(|post| post.awaited);
                next.faults = next.faults.checked_sub(u8::from(waiting))?;
                forget(&mut next);
                next.step = Step::Ready { write, in_doubt: true };
            }
            LateAction::Settle => {
                let Step::Done { in_doubt } = next.step else { return None };
                next.bound = next.wanted().is_some();
                if next.verifying {
                    next.verifying = false;
                } else {
                    next.settled += 1;
                }
                if in_doubt {
                    next.verification = self.verify_after.or(next.verification);
                }
                next.claimed = false;
                next.in_doubt = false;
                next.step = Step::Idle;
            }
            LateAction::Crash => {
                next.faults = next.faults.checked_sub(1)?;
                forget(&mut next);
                next.step = Step::Down;
            }
            LateAction::Restart => {
                // What is in flight is inherited: an attempt at it may yet take effect.
                next.in_doubt |= next.claimed;
                next.claimed = false;
                next.step = Step::Idle;
            }
            LateAction::Execute { post, answered } => {
                next.faults = next.faults.checked_sub(u8::from(!answered))?;
                execute(&mut next, post, answered)?;
            }
            LateAction::LoseRequest { post } => {
                next.faults = next.faults.checked_sub(1)?;
                (post < next.posts.len()).then(|| next.posts.remove(post))?;
            }
        }
        next.posts.sort_unstable();
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NEWEST_STAYS, |_, state| !is_regress(state)),
            Property::sometimes(UNDONE, |_, state: &LateState| {
                state.is_written() && state.posts.is_empty() && state.server != state.newest()
            }),
        ]
    }
}

fn is_regress(state: &LateState) -> bool {
    state.is_quiet() && state.server != state.newest()
}

fn forget(state: &mut LateState) {
    state.posts.iter_mut().for_each(|post| post.awaited = false);
}

fn execute(state: &mut LateState, post: usize, answered: bool) -> Option<()> {
    let Post { write: executed, awaited, .. } = (post < state.posts.len()).then(|| state.posts.remove(post))?;
    let there = state.server.is_some();
    let effect = match executed {
        Write::Create(_) => !there,
        Write::Change(_) | Write::Delete => there,
    };
    if effect {
        state.server = match executed {
            Write::Create(written) | Write::Change(written) => Some(written),
            Write::Delete => None,
        };
    }
    if let Step::Sent { in_doubt, .. } = state.step
        && awaited
        && answered
    {
        // *Exists* turns a create into a change, *missing* a change into a create; a delete that finds nothing is done.
        let turned = match executed {
            Write::Create(wanted) => Write::Change(wanted),
            Write::Change(wanted) => Write::Create(wanted),
            Write::Delete => Write::Delete,
        };
        let done = effect || executed == Write::Delete;
        state.step = if done { Step::Done { in_doubt } } else { Step::Ready { write: turned, in_doubt } };
    }
    Some(())
}

/// Visits all states that can be reached.
pub fn check_late_writes(world: LateWrites) -> LateFindings {
    let checker = world.checker().spawn_bfs().join();
    let found = checker.discoveries();
    LateFindings {
        states: checker.unique_state_count(),
        regress: found.contains_key(NEWEST_STAYS).then(|| shortest(&world, |_, state| is_regress(state))).flatten(),
        undone: found.contains_key(UNDONE),
        ends: ends(&world, LateState::is_over),
    }
}
