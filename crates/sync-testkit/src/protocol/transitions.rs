//! What may happen in a state, and what it leads to.

use super::parameters::{Ownership, Parameters};
use super::state::{Action, Ending, Entry, Held, Lease, Post, State, Step, WORKERS, Worker};

/// Everything is queued, nobody holds the lease, nothing is under way.
pub(super) fn start(parameters: &Parameters) -> State {
    let keys = usize::from(parameters.keys);
    State {
        entries: vec![Entry::Queued { rounds: 0 }; keys],
        server: vec![Held::default(); keys],
        posts: Vec::new(),
        lease: Lease { fence: 0, holder: 0, left: 0 },
        workers: [Worker { step: Step::Idle, fence: 0, stopped: false }; WORKERS],
        faults: parameters.faults,
        stale_settlement: false,
    }
}

/// Everything that may happen. Nothing does once all is settled and nothing is under way.
pub(super) fn actions(parameters: &Parameters, state: &State, actions: &mut Vec<Action>) {
    if state.is_over() {
        return;
    }
    for (number, worker) in (0_u8..).zip(&state.workers) {
        of_worker(parameters, state, number, worker, actions);
    }
    for (post, under_way) in (0_u8..).zip(&state.posts) {
        actions.push(Action::Execute { post, answered: true });
        if state.faults > 0 {
            if under_way.awaited_by.is_some() {
                actions.push(Action::Execute { post, answered: false });
            }
            actions.push(Action::Refuse { post });
            actions.push(Action::LoseRequest { post });
        }
    }
    if may_tick(parameters, state) {
        actions.push(Action::Tick);
    }
}

fn of_worker(parameters: &Parameters, state: &State, number: u8, worker: &Worker, actions: &mut Vec<Action>) {
    let faulty = state.faults > 0;
    if worker.step == Step::Down {
        actions.push(Action::Restart { worker: number });
        return;
    }
    // A worker on standby has nothing to lose: its faults would change nothing.
    if faulty && worker.fence > 0 {
        actions.push(Action::Crash { worker: number });
    }
    if worker.stopped {
        actions.push(Action::Resume { worker: number });
        return;
    }
    if faulty && worker.fence > 0 {
        actions.push(Action::Stop { worker: number });
    }
    match worker.step {
        Step::Down => {}
        Step::Idle if worker.fence == 0 => {
            if state.lease.left == 0 {
                actions.push(Action::Acquire { worker: number });
            }
        }
        Step::Idle => {
            // The oldest first, as the store hands them out.
            let due = |entry: &Entry| matches!(entry, Entry::Queued { .. } | Entry::Unknown { due: 0, .. });
            if let Some((key, _)) = (0_u8..).zip(&state.entries).find(|(_, entry)| due(entry)) {
                actions.push(Action::Claim { worker: number, key });
            }
        }
        Step::Claimed { .. } if parameters.read_back && !parameters.unique_key => {
            actions.push(Action::Look { worker: number });
            if faulty {
                actions.push(Action::LookFails { worker: number });
            }
        }
        Step::Claimed { .. } | Step::Absent { .. } => actions.push(Action::Check { worker: number }),
        Step::Armed { .. } => actions.push(Action::Send { worker: number }),
        Step::Sent { .. } => {
            // While the request or its answer is under way, to give up is a choice; afterwards it is all that is left.
            let hopeless = !state.posts.iter().any(|post| post.awaited_by == Some(number));
            if faulty || hopeless {
                actions.push(Action::GiveUp { worker: number });
            }
        }
        Step::Ended { .. } => actions.push(Action::Settle { worker: number }),
        Step::Fenced => actions.push(Action::StepDown { worker: number }),
    }
}

/// Time passes when somebody counts it, and not beyond what a bound allows: the server executes in time, and a worker sends as
/// soon after its check as is assumed of it.
fn may_tick(parameters: &Parameters, state: &State) -> bool {
    let server_is_late = state.posts.iter().any(|post| post.left <= 1);
    let worker_is_late = state.workers.iter().any(|worker| match worker.step {
        Step::Armed { left, .. } => !worker.stopped || left == 0,
        _ => false,
    });
    let counted = !state.posts.is_empty()
        || state.server.iter().any(|held| held.hidden > 0)
        || state.entries.iter().any(|entry| matches!(entry, Entry::Unknown { due: 1.., .. }))
        || state
            .workers
            .iter()
            .any(|worker| matches!(worker.step, Step::Ended { ending: Ending::Unknown { due: 1.. }, .. }))
        || (state.lease.left > 0 && !is_renewed(parameters, state));
    counted && !server_is_late && !worker_is_late
}

/// Whether the lease lasts over the next tick: its holder runs and renews it, or the lock's process is there at least.
fn is_renewed(parameters: &Parameters, state: &State) -> bool {
    let lock = parameters.ownership == Ownership::Lock;
    state
        .workers
        .get(usize::from(state.lease.holder))
        .is_some_and(|worker| worker.fence == state.lease.fence && (lock || !worker.stopped))
}

/// The state after an action; `None` for an action that is not offered in it.
pub(super) fn next(parameters: &Parameters, state: &State, action: Action) -> Option<State> {
    let mut next = state.clone();
    match action {
        Action::Tick => tick(parameters, &mut next),
        Action::Acquire { worker } => acquire(parameters, &mut next, worker)?,
        Action::Claim { worker, key } => claim(parameters, &mut next, worker, key)?,
        Action::Look { worker } => look(&mut next, worker)?,
        Action::LookFails { worker } => {
            next.faults = next.faults.checked_sub(1)?;
            let at = next.workers.get_mut(usize::from(worker))?;
            let Step::Claimed { key, in_doubt } = at.step else { return None };
            at.step = Step::Ended { key, ending: without_effect(parameters, in_doubt) };
        }
        Action::Check { worker } => check(parameters, &mut next, worker)?,
        Action::Send { worker } => {
            let at = next.workers.get_mut(usize::from(worker))?;
            let Step::Armed { key, in_doubt, .. } = at.step else { return None };
            at.step = Step::Sent { key, in_doubt };
            next.posts.push(Post { key, left: parameters.execution, awaited_by: Some(worker) });
        }
        Action::GiveUp { worker } => {
            let hopeless = !next.posts.iter().any(|post| post.awaited_by == Some(worker));
            next.faults = next.faults.checked_sub(u8::from(!hopeless))?;
            forget(&mut next, worker);
            let at = next.workers.get_mut(usize::from(worker))?;
            let Step::Sent { key, .. } = at.step else { return None };
            at.step = Step::Ended { key, ending: Ending::Unknown { due: parameters.settle } };
        }
        Action::Settle { worker } => settle(parameters, &mut next, worker)?,
        Action::StepDown { worker } => {
            let at = next.workers.get_mut(usize::from(worker))?;
            *at = Worker { step: Step::Idle, fence: 0, stopped: false };
        }
        Action::Crash { worker } => {
            next.faults = next.faults.checked_sub(1)?;
            forget(&mut next, worker);
            let at = next.workers.get_mut(usize::from(worker))?;
            if parameters.ownership == Ownership::Lock && at.fence == next.lease.fence {
                next.lease.left = 0;
            }
            *at = Worker { step: Step::Down, fence: 0, stopped: false };
        }
        Action::Restart { worker } => next.workers.get_mut(usize::from(worker))?.step = Step::Idle,
        Action::Stop { worker } => {
            next.faults = next.faults.checked_sub(1)?;
            next.workers.get_mut(usize::from(worker))?.stopped = true;
        }
        Action::Resume { worker } => next.workers.get_mut(usize::from(worker))?.stopped = false,
        Action::Execute { post, answered } => execute(parameters, &mut next, post, answered)?,
        Action::Refuse { post } => {
            next.faults = next.faults.checked_sub(1)?;
            let refused = take(&mut next, post)?;
            answer(&mut next, refused, |in_doubt| without_effect(parameters, in_doubt));
        }
        Action::LoseRequest { post } => {
            next.faults = next.faults.checked_sub(1)?;
            take(&mut next, post)?;
        }
    }
    next.posts.sort_unstable();
    Some(next)
}

fn tick(parameters: &Parameters, state: &mut State) {
    state.lease.left =
        if is_renewed(parameters, state) { parameters.ownership.ticks() } else { state.lease.left.saturating_sub(1) };
    for post in &mut state.posts {
        post.left = post.left.saturating_sub(1);
    }
    for held in &mut state.server {
        held.hidden = held.hidden.saturating_sub(1);
    }
    for entry in &mut state.entries {
        if let Entry::Unknown { due, .. } = entry {
            *due = due.saturating_sub(1);
        }
    }
    for worker in &mut state.workers {
        match &mut worker.step {
            Step::Armed { left, .. } => *left = left.saturating_sub(1),
            Step::Ended { ending: Ending::Unknown { due }, .. } => *due = due.saturating_sub(1),
            _ => {}
        }
    }
}

/// A new fence makes every older one void, and whatever was in flight under an older one is unknown.
fn acquire(parameters: &Parameters, state: &mut State, worker: u8) -> Option<()> {
    let fence = state.lease.fence + 1;
    state.lease = Lease { fence, holder: worker, left: parameters.ownership.ticks() };
    state.workers.get_mut(usize::from(worker))?.fence = fence;
    for entry in &mut state.entries {
        match *entry {
            Entry::InFlight { rounds, .. } => *entry = Entry::Unknown { due: parameters.takeover_wait, rounds },
            // Its settle time was counted by a clock that nobody remembers.
            Entry::Unknown { due, rounds } => {
                *entry = Entry::Unknown { due: due.max(parameters.takeover_wait), rounds }
            }
            _ => {}
        }
    }
    Some(())
}

fn claim(parameters: &Parameters, state: &mut State, worker: u8, key: u8) -> Option<()> {
    let at = state.workers.get_mut(usize::from(worker))?;
    if parameters.fenced && at.fence != state.lease.fence {
        at.step = Step::Fenced;
        return Some(());
    }
    let entry = state.entries.get_mut(usize::from(key))?;
    at.step = Step::Claimed { key, in_doubt: matches!(entry, Entry::Unknown { .. }) };
    if parameters.intent {
        *entry = Entry::InFlight { fence: at.fence, rounds: entry.rounds() };
    }
    Some(())
}

fn look(state: &mut State, worker: u8) -> Option<()> {
    let at = state.workers.get_mut(usize::from(worker))?;
    let Step::Claimed { key, in_doubt } = at.step else { return None };
    let held = state.server.get(usize::from(key))?;
    let seen = held.creates > 0 && held.hidden == 0;
    at.step = match (seen, in_doubt) {
        (true, true) => Step::Ended { key, ending: Ending::Found },
        (true, false) => Step::Ended { key, ending: Ending::Done },
        (false, _) => Step::Absent { key, in_doubt },
    };
    Some(())
}

/// The last check before a send, against the worker's own clock. Who fails it lets go of its lease: what it claimed is inherited.
fn check(parameters: &Parameters, state: &mut State, worker: u8) -> Option<()> {
    let at = state.workers.get_mut(usize::from(worker))?;
    let (key, in_doubt) = match at.step {
        Step::Claimed { key, in_doubt } => (key, in_doubt),
        // The settle time has passed: what was open is known now.
        Step::Absent { key, .. } => (key, false),
        _ => return None,
    };
    let lasts = at.fence == state.lease.fence && state.lease.left > parameters.ownership.margin();
    if lasts {
        at.step = Step::Armed { key, in_doubt, left: parameters.stall };
    } else {
        *at = Worker { step: Step::Idle, fence: 0, stopped: false };
    }
    Some(())
}

fn settle(parameters: &Parameters, state: &mut State, worker: u8) -> Option<()> {
    let at = state.workers.get_mut(usize::from(worker))?;
    let Step::Ended { key, ending } = at.step else { return None };
    let stale = at.fence != state.lease.fence;
    if stale && parameters.fenced {
        at.step = Step::Fenced;
        return Some(());
    }
    at.step = Step::Idle;
    let entry = state.entries.get_mut(usize::from(key))?;
    let rounds = entry.rounds();
    let open = match entry {
        Entry::InFlight { fence, .. } => !parameters.fenced || *fence == at.fence,
        // Without the mark of a claim there is nothing to tell who may settle.
        Entry::Queued { .. } | Entry::Unknown { .. } => !parameters.intent,
        Entry::Done | Entry::Dead => false,
    };
    if !open {
        return Some(());
    }
    state.stale_settlement |= stale;
    *entry = match ending {
        Ending::Done | Ending::Found => Entry::Done,
        Ending::Retry => Entry::Queued { rounds },
        Ending::Unknown { .. } if rounds >= parameters.unknown_rounds => Entry::Dead,
        Ending::Unknown { due } => Entry::Unknown { due, rounds: rounds + 1 },
    };
    Some(())
}

fn execute(parameters: &Parameters, state: &mut State, post: u8, answered: bool) -> Option<()> {
    let executed = take(state, post)?;
    let held = state.server.get_mut(usize::from(executed.key))?;
    if held.creates == 0 {
        held.creates = 1;
        // The tick in which it happens does not count: it may end at once.
        held.hidden = if parameters.read_lag > 0 { parameters.read_lag + 1 } else { 0 };
    } else if !parameters.unique_key {
        held.creates = 2;
    }
    if answered {
        // Created, or refused as existing and then brought up to date by its key, which may be repeated at will.
        answer(state, executed, |_| Ending::Done);
    } else {
        state.faults = state.faults.checked_sub(1)?;
    }
    Some(())
}

fn take(state: &mut State, post: u8) -> Option<Post> {
    let post = usize::from(post);
    (post < state.posts.len()).then(|| state.posts.remove(post))
}

fn answer(state: &mut State, post: Post, ending: impl FnOnce(bool) -> Ending) {
    let waiting = post.awaited_by.and_then(|worker| state.workers.get_mut(usize::from(worker)));
    if let Some(worker) = waiting
        && let Step::Sent { key, in_doubt } = worker.step
    {
        worker.step = Step::Ended { key, ending: ending(in_doubt) };
    }
}

/// What changed nothing leaves open what was open before. Here it counts as an unknown outcome like any other, so that an entry
/// is given up sooner than by the writer.
fn without_effect(parameters: &Parameters, in_doubt: bool) -> Ending {
    if in_doubt { Ending::Unknown { due: parameters.settle } } else { Ending::Retry }
}

/// Nobody waits any more for what this worker sent; it goes on all the same.
fn forget(state: &mut State, worker: u8) {
    for post in state.posts.iter_mut().filter(|post| post.awaited_by == Some(worker)) {
        post.awaited_by = None;
    }
}
