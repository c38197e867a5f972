//! What is asked of the model, and the search for the answers.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;

use stateright::{Checker, Model, Property};

use super::Parameters;
use super::state::{self, Action, Ending, State, Step};
use super::transitions;

const ONE_CREATE: &str = "at most one create of a key takes effect";
const CURRENT_FENCE: &str = "only the holder of the lease settles";
const NOTHING_STUCK: &str = "where nothing can happen any more, everything is settled";
const FOUND: &str = "an unknown create is found";
const ABSENT: &str = "an unknown create is found to be absent";
const FENCED: &str = "who lost the lease is refused";
const DEAD: &str = "an entry is given up with its outcome open";

/// The model under some parameters.
#[derive(Debug, Clone, Copy)]
pub struct Protocol(pub Parameters);

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![transitions::start(&self.0)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        transitions::actions(&self.0, state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        transitions::next(&self.0, last, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_CREATE, |_, state| !has_duplicate(state)),
            Property::always(CURRENT_FENCE, |_, state: &State| !state.stale_settlement),
            Property::always(NOTHING_STUCK, |model, state| !is_stuck(model, state)),
            Property::sometimes(FOUND, |_, state: &State| {
                at(state, |step| matches!(step, Step::Ended { ending: Ending::Found, .. }))
            }),
            Property::sometimes(ABSENT, |_, state: &State| {
                at(state, |step| matches!(step, Step::Absent { in_doubt: true, .. }))
            }),
            Property::sometimes(FENCED, |_, state: &State| at(state, |step| step == Step::Fenced)),
            Property::sometimes(DEAD, |_, at: &State| at.entries.contains(&state::Entry::Dead)),
        ]
    }
}

fn at(state: &State, is: fn(Step) -> bool) -> bool {
    state.workers.iter().any(|worker| is(worker.step))
}

fn has_duplicate(state: &State) -> bool {
    state.server.iter().any(|held| held.creates > 1)
}

fn is_stuck(model: &Protocol, state: &State) -> bool {
    let mut actions = Vec::new();
    model.actions(state, &mut actions);
    actions.is_empty() && !state.all_settled()
}

/// How a run came to a state: one of the shortest ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path<A = Action>(pub Vec<A>);

impl<A: fmt::Display> fmt::Display for Path<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, action) in (1..).zip(&self.0) {
            writeln!(f, "{number:3}. {action}")?;
        }
        Ok(())
    }
}

/// What the search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// Different states that were visited: all that can be reached.
    pub states: usize,
    /// A run in which a record was created twice.
    pub duplicate: Option<Path>,
    /// A run in which the store accepted a settlement under an old fence.
    pub stale_settlement: Option<Path>,
    /// A run that cannot go on although not everything is settled.
    pub stuck: Option<Path>,
    /// Whether in some run a create of unknown outcome was looked for and was there.
    pub unknown_found: bool,
    /// Whether in some run a create of unknown outcome was looked for and was not there.
    pub unknown_absent: bool,
    /// Whether in some run the store refused a worker that had lost its lease.
    pub zombie_fenced: bool,
    /// Whether in some run an entry was given up with its outcome open.
    pub given_up: bool,
}

impl Findings {
    /// Whether nothing went wrong in any run.
    pub fn holds(&self) -> bool {
        self.duplicate.is_none() && self.stale_settlement.is_none() && self.stuck.is_none()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.holds() {
            return f.write_str("holds");
        }
        let wrong = [
            ("duplicate", &self.duplicate),
            ("settled under an old fence", &self.stale_settlement),
            ("stuck", &self.stuck),
        ];
        let mut before = "";
        for (name, path) in wrong {
            if let Some(path) = path {
                write!(f, "{before}{name} in {} steps", path.0.len())?;
                before = "; ";
            }
        }
        Ok(())
    }
}

/// Visits all states that can be reached.
pub fn check(parameters: Parameters) -> Findings {
    let model = Protocol(parameters);
    let checker = model.checker().spawn_bfs().join();
    let found = checker.discoveries();
    // The path that the checker keeps is the last it met, and so one of the longest; people read a short one.
    let path = |name, wrong: fn(&Protocol, &State) -> bool| {
        found.get(name).map(|long| shortest(&model, wrong).unwrap_or_else(|| Path(long.clone().into_actions())))
    };
    Findings {
        states: checker.unique_state_count(),
        duplicate: path(ONE_CREATE, |_, state| has_duplicate(state)),
        stale_settlement: path(CURRENT_FENCE, |_, state| state.stale_settlement),
        stuck: path(NOTHING_STUCK, is_stuck),
        unknown_found: found.contains_key(FOUND),
        unknown_absent: found.contains_key(ABSENT),
        zombie_fenced: found.contains_key(FENCED),
        given_up: found.contains_key(DEAD),
    }
}

/// The state before, and what led on from it; `None` at the start.
type Before<M> = Option<(<M as Model>::Action, <M as Model>::State)>;

/// A shortest run to a state that is wanted, breadth first.
pub(super) fn shortest<M: Model>(model: &M, wanted: fn(&M, &M::State) -> bool) -> Option<Path<M::Action>>
where
    M::State: Clone + Eq + Hash,
    M::Action: Clone,
{
    let mut queue: VecDeque<M::State> = model.init_states().into();
    let mut from: HashMap<M::State, Before<M>> = queue.iter().map(|state| (state.clone(), None)).collect();
    while let Some(state) = queue.pop_front() {
        if wanted(model, &state) {
            let mut actions = Vec::new();
            let mut at = state;
            while let Some(Some((action, before))) = from.get(&at) {
                actions.push(action.clone());
                at = before.clone();
            }
            actions.reverse();
            return Some(Path(actions));
        }
        for (action, next) in model.next_steps(&state) {
            if let Entry::Vacant(vacant) = from.entry(next) {
                queue.push_back(vacant.key().clone());
                vacant.insert(Some((action, state.clone())));
            }
        }
    }
    None
}

/// Whether every run of the protocol comes to an end at which everything is settled, once its faults are used up. Answers the
/// number of states.
///
/// # Errors
/// What goes wrong.
pub fn every_run_ends(parameters: Parameters) -> Result<usize, Endless> {
    ends(&Protocol(parameters), State::all_settled)
}

/// Why not every run ends well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endless {
    /// Some run cannot go on although not everything is settled.
    Stuck,
    /// So many states are on, or lie behind, a way that leads back to where it came from.
    Circles(usize),
}

/// Every run ends well when none can come back to a state it left, and no state without a way out is a bad one. The model
/// checker's own *eventually* is not enough for this: it passes over runs that go round in circles.
pub(super) fn ends<M: Model>(model: &M, well: fn(&M::State) -> bool) -> Result<usize, Endless>
where
    M::State: Clone + Eq + Hash,
{
    let mut ways_in: HashMap<M::State, usize> = model.init_states().into_iter().map(|state| (state, 0)).collect();
    let mut open: Vec<M::State> = ways_in.keys().cloned().collect();
    while let Some(state) = open.pop() {
        let following = model.next_states(&state);
        if following.is_empty() && !well(&state) {
            return Err(Endless::Stuck);
        }
        for next in following {
            let ways = ways_in.entry(next).or_insert_with_key(|next| {
                open.push(next.clone());
                0
            });
            *ways += 1;
        }
    }
    // Taking away states to which no way leads takes away all of them, unless some lie on a circle.
    let mut left = ways_in.len();
    let mut free: Vec<M::State> =
        ways_in.iter().filter(|(_, ways)| **ways == 0).map(|(state, _)| state.clone()).collect();
    while let Some(state) = free.pop() {
        left -= 1;
        for next in model.next_states(&state) {
            if let Some(ways) = ways_in.get_mut(&next) {
                *ways -= 1;
                if *ways == 0 {
                    free.push(next);
                }
            }
        }
    }
    if left == 0 { Ok(ways_in.len()) } else { Err(Endless::Circles(left)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ways between numbered states, from state 0 on.
    struct Graph(&'static [(u8, u8)]);

    impl Model for Graph {
        type State = u8;
        type Action = u8;

        fn init_states(&self) -> Vec<u8> {
            vec![0]
        }

        fn actions(&self, state: &u8, actions: &mut Vec<u8>) {
            actions.extend(self.0.iter().filter(|(from, _)| from == state).map(|(_, to)| *to));
        }

        fn next_state(&self, _: &u8, action: u8) -> Option<u8> {
            Some(action)
        }
    }

    #[test]
    fn ends_are_told_from_circles_and_dead_ends() {
        let well = |state: &u8| *state == 9;
        let two_ways = Graph(&[(0, 1), (0, 2), (1, 9), (2, 9)]);
        assert_eq!(ends(&two_ways, well), Ok(4));
        let dead_end = Graph(&[(0, 1), (0, 9)]);
        assert_eq!(ends(&dead_end, well), Err(Endless::Stuck));
        let circle = Graph(&[(0, 1), (1, 2), (2, 1), (2, 9)]);
        assert_eq!(ends(&circle, well), Err(Endless::Circles(3)), "1, 2, and 9 behind them");
    }
}
