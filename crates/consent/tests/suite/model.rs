//! The protocol of `docs/protocols/consent.md` as a model that is checked over all its runs: one opt-out of one contact, a person on
//! each side who changes it at any time, and a worker that looks, decides by the real rule, records, writes and concludes. Requests are
//! executed within some ticks after they were sent or never; requests and answers are lost; the worker crashes and starts again.

use std::fmt;

use consent::{Direction, Party, Policy, Precision, Rule, Side, Stamp, decide};
use stateright::{Checker, Model, Property};

use Party::{Campaign, D365};

/// The world of a run, and which rules of the protocol are kept.
#[derive(Debug, Clone, Copy)]
struct World {
    direction: Direction,
    rule: Rule,
    /// Who changes the opt-out by hand: in Dynamics 365, in Campaign.
    writers: [bool; 2],
    /// So many changes by hand in one run.
    acts: u8,
    /// So many crashes, lost requests, lost answers and given up waits.
    faults: u8,
    /// A request is executed before so many ticks have passed, or never. At least 1.
    execution: u8,
    /// So many ticks pass before a contact is looked at again after an unknown outcome or a crash.
    wait: u8,
    /// Writes to Dynamics 365 carry the ETag that was read.
    if_match: bool,
    /// A write that was refused because of its ETag is followed by a look.
    look_after_conflict: bool,
    /// Both sides are read for every decision; otherwise Campaign's state is the one last known.
    read_afresh: bool,
    /// The decision is recorded before the write is sent; otherwise with its end.
    record_first: bool,
}

const MEANT: World = World {
    direction: Direction::Bidirectional,
    rule: Rule::Adobe,
    writers: [true, true],
    acts: 3,
    faults: 2,
    execution: 2,
    wait: 2,
    if_match: true,
    look_after_conflict: true,
    read_afresh: true,
    record_first: true,
};
const TO_CAMPAIGN: World = World { direction: Direction::D365ToCampaign, writers: [true, false], ..MEANT };
const TO_D365: World = World { direction: Direction::CampaignToD365, writers: [false, true], ..MEANT };

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Cell {
    value: bool,
    /// Of the row in Dynamics 365, of the attribute in Campaign.
    time: u8,
    /// The ETag in Dynamics 365.
    version: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Post {
    to: usize,
    value: bool,
    /// The version of the side that the decision rests on.
    read: u8,
    left: u8,
    awaited: bool,
}

/// Sides as indices.
const SIDES: [Party; 2] = [D365, Campaign];
const D: usize = 0;
const C: usize = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Down,
    Idle,
    /// Dynamics 365 was read.
    HalfRead(Cell),
    /// Recorded; it sends next.
    Decided {
        to: usize,
        value: bool,
        read: u8,
    },
    Sent {
        to: usize,
        value: bool,
    },
    Ended(End, usize, bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum End {
    Written,
    Conflict,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Wrong {
    /// FALSE was written over a TRUE that was not the state that the rule saw.
    Undemanded,
    /// More requests than changes by hand and faults call for.
    PingPong,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    now: u8,
    cells: [Cell; 2],
    /// An entry waits that says: look at the contact.
    due: bool,
    hold: u8,
    step: Step,
    posts: Vec<Post>,
    acts: u8,
    faults: u8,
    /// The ledger: what both sides held when they were last read or written, and what is under way.
    known: [Option<bool>; 2],
    pending: Option<bool>,
    /// What only the checker knows: an opt-out by hand on this side that nothing took back.
    standing: [bool; 2],
    /// What the worker has read or decided last, whether recorded or not: TRUE anywhere.
    worker_saw_true: bool,
    sent: u8,
    /// Changes of a value by our writes, for each side.
    flips: [u8; 2],
    wrong: Option<Wrong>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Tick,
    /// Somebody changes the opt-out by hand.
    Set(usize),
    /// Somebody changes another column of the row in Dynamics 365.
    Edit,
    Look,
    ReadCampaign,
    Send,
    Execute {
        post: usize,
        answered: bool,
    },
    Lose {
        post: usize,
    },
    GiveUp,
    Conclude,
    Crash,
    Restart,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(side) => write!(f, "a person changes {:?}", SIDES[*side]),
            other => write!(f, "{other:?}"),
        }
    }
}

fn side(cell: Cell, of: usize) -> Side {
    let at_ms = i64::from(cell.time) * 1000;
    let stamp = match of {
        D => Stamp::record(at_ms, Precision::Second),
        _ => Stamp::attribute(at_ms + 7, Precision::Millisecond),
    };
    Side::new(cell.value, Some(if of == D { Stamp { level: consent::Level::Attribute, ..stamp } } else { stamp }))
}

impl World {
    /// The rule with these states. Under the last writer's rule the row's time is the attribute's, as an audit tells it.
    fn verdict(&self, d365: Cell, campaign: Cell) -> consent::Verdict {
        let policy = Policy { rule: self.rule, tolerance_ms: 0 };
        decide(policy, self.direction, side(d365, D), side(campaign, C), None)
    }

    /// Whose changes lead to a look.
    fn heard(&self, of: usize) -> bool {
        match self.direction {
            Direction::Disabled => false,
            Direction::D365ToCampaign => of == D,
            Direction::CampaignToD365 => of == C,
            Direction::Bidirectional => true,
        }
    }
}

impl State {
    fn at_rest(&self) -> bool {
        self.step == Step::Idle && !self.due && self.posts.is_empty()
    }

    fn gate_is_open(&self) -> bool {
        self.known == [Some(false); 2] && self.pending.is_none()
    }

    fn unheard(&mut self) {
        self.posts.iter_mut().for_each(|post| post.awaited = false);
        self.posts.sort_unstable();
    }

    fn change(&mut self, of: usize, value: bool) {
        let cell = &mut self.cells[of];
        if cell.value != value || of == D {
            cell.time = self.now;
            cell.version += 1;
        }
        cell.value = value;
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let start = |value| State {
            now: 1,
            cells: [Cell { value, time: 0, version: 0 }; 2],
            due: true,
            hold: 0,
            step: Step::Idle,
            posts: Vec::new(),
            acts: 0,
            faults: 0,
            known: [None; 2],
            pending: None,
            standing: [value && self.heard(D), value && self.heard(C)],
            worker_saw_true: false,
            sent: 0,
            flips: [0; 2],
            wrong: None,
        };
        vec![start(false), start(true)]
    }

    fn actions(&self, s: &State, actions: &mut Vec<Action>) {
        if s.wrong.is_some() {
            return;
        }
        let (acts, faults) = (s.acts < self.acts, s.faults < self.faults);
        let stamped = s.cells.iter().any(|cell| cell.time == s.now);
        let waits = s.hold > 0 || !s.posts.is_empty() || (acts && stamped);
        if waits && s.posts.iter().all(|post| post.left > 0) {
            actions.push(Action::Tick);
        }
        if acts {
            actions.extend([D, C].into_iter().filter(|side| self.writers[*side]).map(Action::Set));
            actions.push(Action::Edit);
        }
        match s.step {
            Step::Down => actions.push(Action::Restart),
            Step::Idle if s.due && s.hold == 0 => actions.push(Action::Look),
            Step::Idle => {}
            Step::HalfRead(_) => actions.push(Action::ReadCampaign),
            Step::Decided { .. } => actions.push(Action::Send),
            Step::Sent { .. } => {
                if faults || !s.posts.iter().any(|post| post.awaited) {
                    actions.push(Action::GiveUp);
                }
            }
            Step::Ended(..) => actions.push(Action::Conclude),
        }
        for (post, request) in s.posts.iter().enumerate() {
            actions.push(Action::Execute { post, answered: true });
            if faults && request.awaited {
                actions.push(Action::Execute { post, answered: false });
            }
            if faults {
                actions.push(Action::Lose { post });
            }
        }
        if faults && s.step != Step::Down {
            actions.push(Action::Crash);
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut s = before.clone();
        match action {
            Action::Tick => {
                s.now += 1;
                s.hold = s.hold.saturating_sub(1);
                s.posts.iter_mut().for_each(|post| post.left -= 1);
            }
            Action::Set(of) => {
                let value = !s.cells[of].value;
                if of == C && !value && s.now > s.cells[D].time {
                    // Newer than the row: by the rule this takes back what was said there before.
                    s.standing[D] = false;
                }
                s.standing[of] = value;
                s.change(of, value);
                s.due |= self.heard(of);
                s.acts += 1;
            }
            Action::Edit => {
                let value = s.cells[D].value;
                s.change(D, value);
                s.due |= self.heard(D);
                s.acts += 1;
            }
            Action::Look => {
                s.due = false;
                s.step = Step::HalfRead(s.cells[D]);
            }
            Action::ReadCampaign => {
                let Step::HalfRead(d365) = s.step else { return None };
                let mut campaign = s.cells[C];
                if let (false, Some(value)) = (self.read_afresh, s.known[C]) {
                    campaign.value = value;
                }
                let verdict = self.verdict(d365, campaign);
                s.worker_saw_true = d365.value || campaign.value;
                if self.record_first || !verdict.writes() {
                    s.known = [Some(d365.value), Some(campaign.value)];
                    s.pending = verdict.writes().then_some(verdict.value);
                }
                s.step = match (verdict.write_d365, verdict.write_campaign) {
                    (true, true) => return None,
                    (true, false) => Step::Decided { to: D, value: verdict.value, read: d365.version },
                    (false, true) => Step::Decided { to: C, value: verdict.value, read: campaign.version },
                    (false, false) => Step::Idle,
                };
            }
            Action::Send => {
                let Step::Decided { to, value, read } = s.step else { return None };
                s.posts.push(Post { to, value, read, left: self.execution - 1, awaited: true });
                s.posts.sort_unstable();
                s.step = Step::Sent { to, value };
                s.sent += 1;
                if s.sent > s.acts + s.faults {
                    s.wrong = Some(Wrong::PingPong);
                }
            }
            Action::Execute { post, answered } => {
                let post = s.posts.remove(post);
                let unchanged = post.read == s.cells[post.to].version;
                let refused = post.to == D && self.if_match && !unchanged;
                if !refused {
                    let old = s.cells[post.to];
                    // A change of the other side after the read is one after the decision: it has a look of its own. A change of
                    // this side must not be lost, unless the rule takes it back too.
                    if old.value && !post.value && !unchanged && self.verdict(s.cells[D], s.cells[C]).value {
                        s.wrong = Some(Wrong::Undemanded);
                    }
                    s.flips[post.to] += u8::from(old.value != post.value);
                    s.change(post.to, post.value);
                    s.due |= self.heard(post.to);
                }
                s.faults += u8::from(!answered);
                if post.awaited
                    && answered
                    && let Step::Sent { to, value } = s.step
                {
                    s.step = Step::Ended(if refused { End::Conflict } else { End::Written }, to, value);
                }
            }
            Action::Lose { post } => {
                s.posts.remove(post);
                s.faults += 1;
            }
            Action::GiveUp => {
                let Step::Sent { to, value } = s.step else { return None };
                s.faults += u8::from(s.posts.iter().any(|post| post.awaited));
                s.unheard();
                s.step = Step::Ended(End::Unknown, to, value);
            }
            Action::Conclude => {
                let Step::Ended(end, to, value) = s.step else { return None };
                match end {
                    End::Written => {
                        s.pending = None;
                        s.known[to] = Some(value);
                        if !self.record_first {
                            s.known = [Some(value); 2];
                        }
                    }
                    End::Conflict => s.due |= self.look_after_conflict,
                    End::Unknown => {
                        s.due = true;
                        s.hold = self.wait;
                    }
                }
                s.worker_saw_true &= end != End::Written || value;
                s.step = Step::Idle;
            }
            Action::Crash => {
                // The entry that it worked at is still in the backlog.
                s.due |= s.step != Step::Idle;
                s.step = Step::Down;
                s.unheard();
                s.faults += 1;
            }
            Action::Restart => {
                s.step = Step::Idle;
                s.due |= s.pending.is_some();
                s.hold = self.wait;
            }
        }
        Some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("equal at rest", |_, s: &State| !s.at_rest() || s.cells[D].value == s.cells[C].value),
            Property::always("no opt-out is lost", |_, s: &State| {
                !s.at_rest() || s.cells[D].value || s.cells[C].value || s.standing == [false; 2]
            }),
            Property::always("FALSE only where demanded", |_, s: &State| s.wrong != Some(Wrong::Undemanded)),
            Property::always("no ping-pong", |_, s: &State| s.wrong != Some(Wrong::PingPong)),
            Property::always("one write per side and change", |_, s: &State| {
                s.flips.iter().all(|flips| *flips <= s.acts)
            }),
            Property::always("the gate is closed on what was read", |_, s: &State| {
                !(s.gate_is_open() && (s.worker_saw_true || s.posts.iter().any(|post| post.awaited)))
            }),
            Property::always("nothing is stuck", |model: &Self, s: &State| {
                let mut actions = Vec::new();
                model.actions(s, &mut actions);
                !actions.is_empty() || s.at_rest() || s.wrong.is_some()
            }),
            Property::sometimes("a conflict", |_, s: &State| matches!(s.step, Step::Ended(End::Conflict, ..))),
            Property::sometimes("a late request", |_, s: &State| {
                s.step == Step::Idle && s.posts.iter().any(|post| !post.awaited)
            }),
        ]
    }
}

/// What is found wrong, by name, and the number of states.
fn check(world: World) -> (Vec<&'static str>, Vec<&'static str>, usize) {
    let checker = world.checker().spawn_bfs().join();
    let found = checker.discoveries();
    let names = |wanted: &[&'static str]| wanted.iter().copied().filter(|name| found.contains_key(name)).collect();
    let wrong = names(&[
        "equal at rest",
        "no opt-out is lost",
        "FALSE only where demanded",
        "no ping-pong",
        "one write per side and change",
        "the gate is closed on what was read",
        "nothing is stuck",
    ]);
    for name in &wrong {
        println!("{name}:");
        for (number, action) in (1..).zip(found[name].clone().into_actions()) {
            println!("{number:3}. {action}");
        }
    }
    (wrong, names(&["a conflict", "a late request"]), checker.unique_state_count())
}

/// The page has the row, as it is found today.
fn is_on_the_page(row: &str) {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocols/consent.md");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.lines().any(|line| line == row), "docs/protocols/consent.md lacks this line:\n{row}");
}

fn holds(name: &str, world: World, rare: &[&str]) {
    let (wrong, taken, states) = check(world);
    let row = format!("| {name} | {states} | holds |");
    println!("{row}");
    assert_eq!((wrong.as_slice(), taken.as_slice()), (&[][..], rare), "{world:?}");
    is_on_the_page(&row);
}

#[test]
fn the_protocol_holds_in_both_directions() {
    holds("both directions", MEANT, &["a conflict", "a late request"]);
}

#[test]
fn the_protocol_holds_in_one_direction() {
    holds("Dynamics 365 to Campaign", TO_CAMPAIGN, &["a late request"]);
    holds("Campaign to Dynamics 365", TO_D365, &["a conflict", "a late request"]);
}

/// Leaving out one rule, one finds a run that goes wrong.
fn bites(name: &str, world: World, wanted: &[&str]) {
    let (wrong, _, states) = check(world);
    let row = format!("| {name} | {states} | {} |", wrong.join("; "));
    println!("{row}");
    assert_eq!(wrong, wanted, "{world:?}");
    is_on_the_page(&row);
}

const SMALL: World = World { faults: 1, ..MEANT };
const TO_CAMPAIGN_SMALL: World = World { faults: 1, ..TO_CAMPAIGN };
const TO_D365_SMALL: World = World { faults: 1, ..TO_D365 };

#[test]
fn the_wait_is_needed() {
    let wait = World { wait: 1, ..TO_CAMPAIGN_SMALL };
    let wrong = ["equal at rest", "FALSE only where demanded", "one write per side and change"];
    bites("Dynamics 365 to Campaign, a wait shorter than the execution", wait, &wrong);
    let wait = World { wait: 0, ..MEANT };
    bites("both directions, no wait", wait, &["no ping-pong"]);
}

#[test]
fn the_etag_is_needed() {
    let wrong = ["FALSE only where demanded"];
    bites("both directions, no If-Match", World { if_match: false, ..SMALL }, &wrong);
    bites("Campaign to Dynamics 365, no If-Match", World { if_match: false, ..TO_D365_SMALL }, &wrong);
}

#[test]
fn the_look_after_a_conflict_is_needed() {
    let deaf = World { look_after_conflict: false, ..TO_D365_SMALL };
    bites("Campaign to Dynamics 365, no look after a 412", deaf, &["equal at rest"]);
}

#[test]
fn reading_afresh_is_needed() {
    let stale = World { read_afresh: false, ..SMALL };
    bites("both directions, Campaign not read afresh", stale, &["equal at rest", "no opt-out is lost"]);
}

#[test]
fn the_record_before_the_first_byte_is_needed() {
    let late = World { record_first: false, ..SMALL };
    bites("both directions, recorded after the write", late, &["the gate is closed on what was read"]);
}

#[test]
fn the_last_writers_rule_can_lose_an_opt_out_in_campaign() {
    let last = World { rule: Rule::LastWriter, ..SMALL };
    bites("both directions, last writer wins", last, &["no opt-out is lost", "FALSE only where demanded"]);
}
