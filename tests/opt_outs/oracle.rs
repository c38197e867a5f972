//! What may and must become of opt-outs, written anew from the requirements (7.12, D-7, D-8): it knows nothing of how the connector
//! decides, only in which order the rows of both sides changed, and by whom.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Direction, Outcome, PAIRS};

/// When runs began, as numbers of changes that had been made by then.
#[derive(Debug, Default)]
pub(super) struct Course {
    begun: Vec<usize>,
    /// Campaign's changes are heard of by a file.
    by_file: bool,
    /// From which change on ingress may have read an older state of the contact than there is: the beginning of each run, or of an earlier
    /// one that left something undone.
    read_from: Vec<usize>,
    /// Beginning and end of the runs that came to rest: what was there when one began is known to the ledger when it ends.
    rested: Vec<(usize, usize)>,
    came_to_rest: bool,
    /// From here on nothing is to be written.
    at_rest: Option<usize>,
}

impl Course {
    pub(super) fn new(by_file: bool) -> Self {
        Self { by_file, ..Self::default() }
    }

    pub(super) fn run_begins(&mut self, at: usize) {
        let earlier = self.read_from.last().copied();
        // All that was left before this run was done by the one before it, or there is none.
        let known = if self.came_to_rest || self.begun.is_empty() { at } else { earlier.unwrap_or(0) };
        self.begun.push(at);
        self.read_from.push(known);
        self.came_to_rest = false;
    }

    pub(super) fn run_is_idle(&mut self, at: usize) {
        self.came_to_rest = true;
        self.rested.extend(self.begun.last().map(|begun| (*begun, at)));
    }

    /// The change up to which the ledger knows everything at another change.
    fn known_at(&self, at: usize) -> Option<usize> {
        self.rested.iter().rev().find(|(_, end)| *end <= at).map(|(begin, _)| *begin)
    }

    pub(super) fn is_at_rest(&mut self, at: usize) {
        self.at_rest = Some(at);
    }

    fn run_of(&self, at: usize) -> usize {
        self.begun.iter().rposition(|begun| *begun <= at).unwrap_or(0)
    }
}

/// A row at one time, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Held {
    /// Each pair's value.
    opted_out: [Option<bool>; 2],
    /// When it changed, in whole seconds: the row in Dynamics 365, the attribute in Campaign.
    seconds: [Option<i64>; 2],
}

/// A change of one row.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// Its place in the order of all changes.
    at: usize,
    by_hand: bool,
    /// What the row was then; nothing if it was deleted.
    held: Option<Held>,
}

/// The life of a contact on both sides.
#[derive(Debug, Default)]
struct Life {
    d365: Vec<Step>,
    campaign: Vec<Step>,
}

impl Life {
    fn of(&self, side: usize) -> &[Step] {
        if side == 0 { &self.d365 } else { &self.campaign }
    }
}

fn seconds(value: &Value) -> Option<i64> {
    let time: DateTime<Utc> = value.as_str()?.parse().ok()?;
    Some(time.timestamp_millis().div_euclid(1000))
}

fn held(row: &Value, side: usize) -> Option<Held> {
    if row.is_null() {
        return None;
    }
    let mut held = Held::default();
    for (at, (column, attribute)) in PAIRS.iter().enumerate() {
        let name = if side == 0 { column } else { attribute };
        held.opted_out[at] = row[*name].as_bool();
        held.seconds[at] =
            if side == 0 { seconds(&row["modifiedon"]) } else { seconds(&row[format!("{name}LastModified")]) };
    }
    Some(held)
}

fn lives(history: &[Value]) -> BTreeMap<String, Life> {
    let mut lives: BTreeMap<String, Life> = BTreeMap::new();
    for (at, change) in history.iter().enumerate() {
        let side = usize::from(change["side"] == "campaign");
        let life = lives.entry(change["id"].as_str().unwrap_or_default().to_owned()).or_default();
        let step = Step { at, by_hand: change["by"] == "control", held: held(&change["row"], side) };
        if side == 0 { life.d365.push(step) } else { life.campaign.push(step) }
    }
    lives
}

/// What a row was right before a change.
fn before(steps: &[Step], at: usize) -> Option<Held> {
    steps.iter().rev().find(|step| step.at < at).and_then(|step| step.held)
}

/// What a row was at any time from one change on until right before another.
fn between(steps: &[Step], from: usize, to: usize) -> Vec<Option<Held>> {
    let within = steps.iter().filter(|step| (from..to).contains(&step.at)).map(|step| step.held);
    std::iter::once(before(steps, from)).chain(within).collect()
}

/// Campaign changed the attribute later than Dynamics 365 changed the row (R-OPT-9, R-OPT-10): by whole seconds, which is what
/// Dynamics 365 tells.
fn campaign_is_newer(d365: Held, campaign: Held, pair: usize) -> bool {
    matches!((d365.seconds[pair], campaign.seconds[pair]), (Some(row), Some(attribute)) if attribute > row)
}

/// The value that both sides have in the end (R-OPT-5, R-OPT-9 to R-OPT-11).
fn demanded(direction: Direction, d365: Held, campaign: Held, pair: usize) -> Option<bool> {
    let (row, attribute) = (d365.opted_out[pair], campaign.opted_out[pair]);
    match direction {
        Direction::Disabled => None,
        Direction::D365ToCampaign => row,
        Direction::CampaignToD365 => attribute,
        Direction::Bidirectional if campaign_is_newer(d365, campaign, pair) => attribute,
        Direction::Bidirectional => Some(row == Some(true) || attribute == Some(true)),
    }
}

/// Judges a whole history, and counts what is in it.
pub(super) fn judge(direction: Direction, course: &Course, history: &[Value], outcome: &mut Outcome) {
    for (id, life) in lives(history) {
        let mut broken = Vec::new();
        outcome.by_hand += life.d365.iter().chain(&life.campaign).filter(|step| step.by_hand).count() as u64;
        inserts(direction, course, &life, outcome, &mut broken);
        for pair in 0..PAIRS.len() {
            for side in [0, 1] {
                writes(direction, course, &life, (side, pair), outcome, &mut broken);
            }
            in_the_end(direction, course, &life, pair, &mut broken);
        }
        if !broken.is_empty() {
            broken.push(told(&life, course));
        }
        outcome.broken.extend(broken.into_iter().map(|line| format!("{id}: {line}")));
    }
}

/// A life in one line, for whoever has to find out what happened: the number of the change, which side, by whom, and both opt-outs
/// with the second of their change.
fn told(life: &Life, course: &Course) -> String {
    let mut steps: Vec<(usize, String)> = course.begun.iter().map(|at| (*at, "run".to_owned())).collect();
    for (side, name) in ["D", "C"].into_iter().enumerate() {
        for step in life.of(side) {
            let by = if step.by_hand { "hand" } else { "us" };
            let held = step.held.map_or_else(
                || "gone".to_owned(),
                |held| {
                    let one = |pair: usize| {
                        let value = if held.opted_out[pair] == Some(true) { "T" } else { "F" };
                        let second = held.seconds[pair].map_or_else(String::new, |second| (second % 1000).to_string());
                        format!("{value}{second}")
                    };
                    format!("{} {}", one(0), one(1))
                },
            );
            steps.push((step.at, format!("{} {name} {by} {held}", step.at)));
        }
    }
    steps.sort();
    steps.into_iter().map(|(_, step)| step).collect::<Vec<_>>().join("; ")
}

/// D-8: a row is created with every opt-out that was known when it was written.
fn inserts(direction: Direction, course: &Course, life: &Life, outcome: &mut Outcome, broken: &mut Vec<String>) {
    for step in life.campaign.iter().filter(|step| !step.by_hand) {
        let (None, Some(created)) = (before(&life.campaign, step.at), step.held) else { continue };
        outcome.created += 1;
        if direction == Direction::Disabled {
            continue;
        }
        let read_from = course.read_from[course.run_of(step.at)];
        // A look sees nothing of a profile that is gone: known is what a run knew that was at rest before that.
        let gone = life.campaign.iter().rev().find(|gone| gone.at < step.at && gone.held.is_none());
        let known = gone.and_then(|gone| course.known_at(gone.at));
        for (pair, names) in PAIRS.iter().enumerate() {
            let opted_out = |held: &Option<Held>| held.is_some_and(|held| held.opted_out[pair] == Some(true));
            let in_d365: Vec<_> = between(&life.d365, read_from, step.at).into_iter().flatten().map(Some).collect();
            // What the profile held when it was deleted, if it held that ever since it was known.
            let in_campaign = known.filter(|_| direction.reads_campaign()).is_some_and(|known| {
                before(&life.campaign, known).is_some()
                    && between(&life.campaign, known, step.at).iter().filter(|held| held.is_some()).all(opted_out)
            });
            let said = in_d365.iter().all(opted_out) || in_campaign;
            if said && created.opted_out[pair] != Some(true) {
                broken.push(format!("created contactable by {} at {}", names.1, step.at));
            }
        }
    }
}

/// No write turns an opted-out person contactable without the rule's demand; no side is written that leads; there are no more writes
/// of a side than changes by hand.
fn writes(
    direction: Direction,
    course: &Course,
    life: &Life,
    (side, pair): (usize, usize),
    outcome: &mut Outcome,
    broken: &mut Vec<String>,
) {
    let names = [PAIRS[pair].0, PAIRS[pair].1];
    let value = |held: Option<Held>| held.and_then(|held| held.opted_out[pair]);
    let mut ours = 0;
    for step in life.of(side).iter().filter(|step| !step.by_hand) {
        let (Some(old), Some(new)) = (before(life.of(side), step.at), step.held) else { continue };
        if old.opted_out[pair] == new.opted_out[pair] {
            continue;
        }
        ours += 1;
        if course.at_rest.is_some_and(|at_rest| step.at >= at_rest) {
            broken.push(format!("{} is written at {}, although all was at rest", names[side], step.at));
        }
        let leads = match direction {
            Direction::Disabled => true,
            Direction::D365ToCampaign => side == 0,
            Direction::CampaignToD365 => side == 1,
            Direction::Bidirectional => false,
        };
        if leads {
            broken.push(format!("{} is written at {}, and must not be", names[side], step.at));
        }
        if new.opted_out[pair] == Some(true) {
            continue;
        }
        outcome.opted_in += 1;
        let allowed = match direction {
            Direction::Disabled => false,
            // Campaign takes no condition: what Dynamics 365 held in this run, or in the one before it that was cut off.
            Direction::D365ToCampaign => {
                let run = course.run_of(step.at).saturating_sub(1);
                let from = course.begun.get(run).copied().unwrap_or(0);
                between(&life.d365, from, step.at).into_iter().any(|held| value(held) == Some(false))
            }
            // The row is what it was when it was read; Campaign was read after that.
            Direction::CampaignToD365 | Direction::Bidirectional => {
                let row = life.d365.iter().rev().find(|earlier| earlier.at < step.at).map_or(0, |earlier| earlier.at);
                let by_rule = |held: &Held| {
                    held.opted_out[pair] == Some(false)
                        && (direction == Direction::CampaignToD365 || campaign_is_newer(old, *held, pair))
                };
                side == 0 && between(&life.campaign, row, step.at).iter().flatten().any(by_rule)
            }
        };
        if !allowed {
            broken.push(format!("{} becomes FALSE at {} without the rule's demand", names[side], step.at));
        }
    }
    outcome.written[side] += ours;
    let mut by_hand = 0;
    for steps in [&life.d365, &life.campaign] {
        let mut last = None;
        for step in steps.iter() {
            by_hand += u64::from(step.by_hand && value(step.held) != last);
            last = value(step.held);
        }
    }
    if ours > by_hand {
        broken.push(format!("{} is written {ours} times after {by_hand} changes by hand", names[side]));
    }
}

/// At rest both sides are equal, and hold what the rule demands of the states before the last run.
fn in_the_end(direction: Direction, course: &Course, life: &Life, pair: usize, broken: &mut Vec<String>) {
    if direction == Direction::Disabled {
        return;
    }
    let quiet = course.begun.last().copied().unwrap_or(0);
    let name = PAIRS[pair].1;
    let (Some(d365), Some(campaign)) = (before(&life.d365, usize::MAX), before(&life.campaign, usize::MAX)) else {
        broken.push("a contact has no profile in the end".to_owned());
        return;
    };
    let last = |steps: &[Step], hand_only: bool| {
        let steps = steps.iter().rev().filter(|step| !hand_only || step.by_hand);
        steps.map(|step| step.at).next().unwrap_or(0)
    };
    // A file tells of profiles whose opt-outs changed, and of no others.
    let told = |steps: &[Step]| {
        let pairs = steps.windows(2).rev().filter_map(|two| Some((two.first()?, two.last()?)));
        let news = |(before, now): &(&Step, &Step)| now.by_hand && (!course.by_file || before.held != now.held);
        pairs.filter(news).map(|(_, now)| now.at).next().unwrap_or(0)
    };
    // In one direction, nobody looks because the side changed that does not count.
    let looked_at = match direction {
        Direction::D365ToCampaign => last(&life.d365, true) > last(&life.campaign, true),
        Direction::CampaignToD365 => told(&life.campaign) > last(&life.d365, true),
        _ => true,
    };
    if looked_at && d365.opted_out[pair] != campaign.opted_out[pair] {
        broken
            .push(format!("{name} differs in the end: {:?} and {:?}", d365.opted_out[pair], campaign.opted_out[pair]));
    }
    let states = (before(&life.d365, quiet), before(&life.campaign, quiet));
    if let ((Some(row), Some(profile)), true) = (states, looked_at) {
        let wanted = demanded(direction, row, profile, pair);
        if wanted != d365.opted_out[pair] && d365.opted_out[pair] == campaign.opted_out[pair] {
            broken.push(format!("{name} is {:?} in the end, and the rule demands {wanted:?}", d365.opted_out[pair]));
        }
    }
    if direction == Direction::Bidirectional && d365.opted_out[pair] == Some(false) {
        taken_back(course, life, pair, broken);
    }
}

/// Whoever opted out by hand and is contactable in the end took it back by hand: on the same side, or in Campaign at a later time. What
/// was deleted by hand in Campaign before anybody could know of it is not lost by us.
fn taken_back(course: &Course, life: &Life, pair: usize, broken: &mut Vec<String>) {
    let turns = |side: usize, to: bool| -> BTreeSet<usize> {
        let mut last = None;
        let mut turns = BTreeSet::new();
        for step in life.of(side) {
            let value = step.held.and_then(|held| held.opted_out[pair]);
            // A value that is set by hand is said anew, whatever it was.
            if step.by_hand && value == Some(to) && value != last {
                turns.insert(step.at);
            }
            last = value;
        }
        turns
    };
    for side in [0, 1] {
        for out in turns(side, true) {
            let later = |side: usize| turns(side, false).iter().any(|back| *back > out);
            let gone = life.campaign.iter().find(|step| step.at > out && step.held.is_none());
            let unknown =
                side == 1 && gone.is_some_and(|gone| course.known_at(gone.at).is_none_or(|known| known <= out));
            if !later(side) && !later(1) && !unknown {
                broken.push(format!("{} of change {out} is lost", [PAIRS[pair].0, PAIRS[pair].1][side]));
            }
        }
    }
}
