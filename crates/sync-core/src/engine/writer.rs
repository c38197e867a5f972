//! The writing of one claimed entry as a pure machine: what to ask of the destination next, and how the entry is settled.

use std::time::Duration;

use timing::Backoff;

use super::policy::{Concern, concern, delay, millis};
use crate::traits::{Action, Effect, Entry, EntryBody, Outcome, Rejection, Update, Verdict};

/// So often may a destination answer *exists* and *missing* in turn before the record is put aside for a while.
const TURNS: u32 = 3;
/// So often is an unknown write repeated at once by its key.
const REPEATS: u32 = 2;
/// After so many unknown outcomes a look tells whether the destination answers at all.
const LOOK_AFTER: u32 = 2;

/// How a destination's entries are written.
#[derive(Debug, Clone, PartialEq)]
pub struct WritePolicy {
    /// Whether the destination refuses a second record of one key.
    pub unique_key: bool,
    /// How long after it was sent a write may still take effect.
    pub settle: Duration,
    /// Waits between attempts at a record.
    pub record_backoff: Backoff,
    /// Waits between attempts at a service.
    pub service_backoff: Backoff,
    /// Refusals of a record after which it is given up.
    pub poison_threshold: u32,
    /// Unknown outcomes after which an entry is given up. Only those count at which the destination answered otherwise.
    pub unknown_rounds: u32,
    /// How old an entry may become whose destination answers that something is not there yet.
    pub parent_wait: Duration,
}

/// What earlier claims of an entry brought, as far as this run knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct History {
    /// Refusals that concern the record alone.
    pub refusals: u32,
    /// Answers that something is not there yet.
    pub not_yet: u32,
    /// Unknown outcomes.
    pub open: u32,
    /// Those of them at which the destination answered otherwise: an outage is no fault of the record.
    pub unknown: u32,
    /// Whether other records were written since the last unknown outcome of this one.
    pub others_written: bool,
    /// Whether the writes of the stream end unknown one after the other at present.
    pub outage: bool,
}

/// The time and a random number at a step.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Milliseconds since 1970 (UTC).
    pub now_ms: i64,
    /// A random number in `[0, 1)`.
    pub unit: f64,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum WriterInput {
    /// The destination's outcome for the operation.
    Outcome(Outcome),
    /// Nothing was dispatched.
    NotDispatched {
        /// When the service wants to be asked again.
        after: Option<Duration>,
        /// A stable code.
        code: String,
    },
}

/// What is to be done.
#[derive(Debug, Clone)]
pub enum WriterAction {
    /// Write.
    Apply(Action),
    /// Ask whether the record is there.
    Resolve(Action),
    /// The entry has ended.
    Settle(Ending),
}

/// How an entry ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// What the store is told; `None` puts the entry back among the claimed ones, because nothing happened to it.
    pub verdict: Option<Verdict>,
    /// What the next claim of the entry is to know.
    pub history: History,
    /// Set when the service as a whole refused for now: the lane pauses.
    pub pause: Option<Pause>,
}

/// A service refused for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// The service's own wish.
    pub after: Option<Duration>,
    /// A stable code.
    pub code: String,
}

/// The machine of one claimed entry.
#[derive(Debug)]
pub struct EntryMachine {
    entry: Entry,
    history: History,
    action: Action,
    /// Whether an attempt of this entry may have taken effect without our knowing.
    in_doubt: bool,
    resolving: bool,
    /// A look, or a create that was refused because of it, found the record, and an attempt at it may have taken effect: whatever
    /// becomes of this entry, the index does not know what the destination holds.
    found: bool,
    /// The destination answered a look.
    answers: bool,
    turns: u32,
    repeats: u32,
}

impl EntryMachine {
    /// The machine with its first action.
    pub fn start(entry: Entry, history: History, policy: &WritePolicy) -> (Self, WriterAction) {
        let in_doubt = entry.unknown;
        let mut machine = Self {
            entry,
            history,
            action: Action::Delete,
            in_doubt,
            resolving: false,
            found: false,
            answers: false,
            turns: 0,
            repeats: 0,
        };
        let first = machine.first(policy);
        (machine, first)
    }

    fn first(&mut self, policy: &WritePolicy) -> WriterAction {
        let (digest, create) = match &self.entry.body {
            EntryBody::Upsert { insert, digest, .. } => (Some(*digest), Action::Create(insert.clone())),
            EntryBody::Delete => (None, Action::Delete),
        };
        let equal = digest.is_some() && self.entry.bound && self.entry.written == digest;
        let only_creates = matches!(&self.entry.body, EntryBody::Upsert { update: Update::Impossible(_), .. });
        if equal && self.entry.verification && only_creates {
            // There is no body to write once more, and no other state of this plan that a late attempt could bring.
            let done = Verdict::Done { effect: Effect::Unchanged, verify_at_ms: None };
            return WriterAction::Settle(self.ending(Some(done)));
        }
        if equal && !self.in_doubt && !self.entry.verification && !self.entry.replay {
            let done = Verdict::Done { effect: Effect::Unchanged, verify_at_ms: None };
            return WriterAction::Settle(self.ending(Some(done)));
        }
        if self.in_doubt && self.history.unknown > policy.unknown_rounds {
            return WriterAction::Settle(self.dead(
                "unknown-outcome",
                "The destination left open again and again whether the record was written. Look at the record there, then \
                 queue it again.",
            ));
        }
        // Where the destination does not refuse a second record of a key, only a look tells whether to create it.
        let blind = !policy.unique_key && digest.is_some() && (self.in_doubt || !self.entry.bound);
        if blind || (self.in_doubt && self.history.open >= LOOK_AFTER) {
            self.resolving = true;
            self.action = create;
            return WriterAction::Resolve(self.action.clone());
        }
        self.write(self.entry.bound)
    }

    /// Brings the entry about, given whether the record is there.
    fn write(&mut self, there: bool) -> WriterAction {
        self.action = match &self.entry.body {
            EntryBody::Delete => Action::Delete,
            EntryBody::Upsert { insert, .. } if !there => Action::Create(insert.clone()),
            EntryBody::Upsert { update: Update::Body(body), .. } => Action::Update(body.clone()),
            EntryBody::Upsert { update: Update::Impossible(rejection), .. } => {
                return WriterAction::Settle(self.ending(Some(self.dead_verdict(rejection.clone()))));
            }
        };
        WriterAction::Apply(self.action.clone())
    }

    /// The claimed entry.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The claimed entry, at the end.
    pub fn into_entry(self) -> Entry {
        self.entry
    }

    /// One step.
    pub fn step(&mut self, at: Moment, policy: &WritePolicy, input: WriterInput) -> WriterAction {
        let outcome = match input {
            WriterInput::Outcome(outcome) => outcome,
            WriterInput::NotDispatched { after, code } => {
                let open = self.in_doubt || self.found;
                let verdict = open.then(|| self.unknown_verdict(at, policy, after, code.clone()));
                let pause = Some(Pause { after, code });
                return WriterAction::Settle(Ending { verdict, history: self.history, pause });
            }
        };
        if self.resolving {
            return self.resolved(at, policy, outcome);
        }
        match (outcome, &self.action) {
            (Outcome::Applied, _) => self.done(at, policy),
            (Outcome::Exists, Action::Create(_)) => self.turn(at, policy, true),
            (Outcome::Missing, Action::Update(_)) => self.turn(at, policy, false),
            (Outcome::Missing, Action::Delete) => {
                // In doubt, it was most likely our own earlier delete that took effect.
                let effect = if self.in_doubt { Effect::Deleted } else { Effect::Ignored };
                self.done_with(at, policy, effect)
            }
            (Outcome::Exists | Outcome::Missing, _) => self.refused(at, policy, None, "unexpected-outcome".to_owned()),
            (Outcome::Retry { after, code }, _) => self.refused(at, policy, after, code),
            (Outcome::NotYet { code }, _) => self.not_yet(at, policy, code),
            (Outcome::Rejected(rejection), _) => WriterAction::Settle(self.ending(Some(self.dead_verdict(rejection)))),
            (Outcome::Unknown { code }, _) => self.unknown(at, policy, code),
        }
    }

    fn resolved(&mut self, at: Moment, policy: &WritePolicy, outcome: Outcome) -> WriterAction {
        let there = match outcome {
            Outcome::Exists | Outcome::Applied => true,
            Outcome::Missing => false,
            Outcome::Rejected(rejection) => {
                return WriterAction::Settle(self.ending(Some(self.dead_verdict(rejection))));
            }
            Outcome::Retry { after, code } => return self.refused(at, policy, after, code),
            Outcome::NotYet { code } => return self.not_yet(at, policy, code),
            // A look changes nothing: what is open is open as before.
            Outcome::Unknown { code } if self.in_doubt => return self.left_open(at, policy, code),
            Outcome::Unknown { code } => return self.refused(at, policy, None, code),
        };
        self.resolving = false;
        self.answers = true;
        // Where there is no unique key, the settle time has passed: what was open is known now.
        // A look tells that the record is there, and not what it says.
        self.found = there && self.in_doubt;
        self.in_doubt &= policy.unique_key;
        self.write(there)
    }

    /// *Exists* turns a create into an update, *missing* an update into a create.
    fn turn(&mut self, at: Moment, policy: &WritePolicy, exists: bool) -> WriterAction {
        self.turns += 1;
        if self.turns > TURNS {
            return self.refused(at, policy, None, "hidden-or-conflicting".to_owned());
        }
        let only_creates = matches!(&self.entry.body, EntryBody::Upsert { update: Update::Impossible(_), .. });
        // An entry whose own create is in doubt finds that create: what is there is what it would write.
        let own = self.in_doubt && (self.repeats > 0 || self.entry.attempt > 1);
        if exists && only_creates && own {
            return self.done_with(at, policy, Effect::Inserted);
        }
        // What is there has our key, whatever becomes of this entry: a proxy may have delivered our create twice.
        self.found = exists && !self.entry.bound;
        self.write(exists)
    }

    fn done(&mut self, at: Moment, policy: &WritePolicy) -> WriterAction {
        let effect = match &self.action {
            Action::Create(_) => Effect::Inserted,
            // Found there after an open create of our own: it was that create.
            Action::Update(_) if self.in_doubt && !self.entry.bound && self.turns > 0 => Effect::Inserted,
            Action::Update(_) => Effect::Updated,
            Action::Delete => Effect::Deleted,
        };
        self.done_with(at, policy, effect)
    }

    fn done_with(&mut self, at: Moment, policy: &WritePolicy, effect: Effect) -> WriterAction {
        let verify = self.in_doubt && !policy.settle.is_zero();
        let verify_at_ms = verify.then(|| at.now_ms.saturating_add(millis(policy.settle)));
        WriterAction::Settle(self.ending(Some(Verdict::Done { effect, verify_at_ms })))
    }

    /// It certainly had no effect.
    fn refused(&mut self, at: Moment, policy: &WritePolicy, after: Option<Duration>, code: String) -> WriterAction {
        let of_record = concern(&code) == Concern::Record;
        if of_record {
            self.history.refusals = self.history.refusals.saturating_add(1);
            // The history is this run's; the attempts are durable, and bound a record that fails over many restarts.
            let often = self.history.refusals >= policy.poison_threshold
                || self.entry.attempt >= policy.poison_threshold.saturating_mul(3);
            if often {
                return WriterAction::Settle(self.dead(
                    &code,
                    "The destination refused the record again and again. It may be hidden or in conflict with another \
                     record there: look at it, then queue it again.",
                ));
            }
        }
        let pause = (!of_record).then(|| Pause { after, code: code.clone() });
        let backoff = if of_record { &policy.record_backoff } else { &policy.service_backoff };
        let number = if of_record { self.history.refusals } else { self.entry.attempt };
        let due_ms = at.now_ms.saturating_add(millis(delay(backoff, number, after, at.unit)));
        let verdict = match (self.in_doubt, self.found) {
            (true, _) => self.unknown_verdict(at, policy, after, code),
            // Nothing may still take effect, but the index does not know of the record.
            (false, true) => Verdict::Unknown { due_ms, code },
            (false, false) => Verdict::Retry { due_ms, code },
        };
        WriterAction::Settle(Ending { verdict: Some(verdict), history: self.history, pause })
    }

    /// It certainly had no effect, and is no fault of the record: only its age gives it up.
    fn not_yet(&mut self, at: Moment, policy: &WritePolicy, code: String) -> WriterAction {
        let age_ms = at.now_ms.saturating_sub(self.entry.appended_ms);
        if age_ms > millis(policy.parent_wait) {
            return WriterAction::Settle(self.dead(
                &code,
                "Something that the record refers to did not come to the destination in time. Once it is there, queue the \
                 record again.",
            ));
        }
        self.history.not_yet = self.history.not_yet.saturating_add(1);
        let wait = delay(&policy.record_backoff, self.history.not_yet, None, at.unit);
        let due_ms = at.now_ms.saturating_add(millis(wait));
        let in_doubt = self.in_doubt || self.found;
        WriterAction::Settle(self.ending(Some(Verdict::NotYet { due_ms, code, in_doubt })))
    }

    fn unknown(&mut self, at: Moment, policy: &WritePolicy, code: String) -> WriterAction {
        self.in_doubt = true;
        if policy.unique_key && self.repeats < REPEATS {
            self.repeats += 1;
            return WriterAction::Apply(self.action.clone());
        }
        self.left_open(at, policy, code)
    }

    fn left_open(&mut self, at: Moment, policy: &WritePolicy, code: String) -> WriterAction {
        self.history.open = self.history.open.saturating_add(1);
        if self.history.others_written || (self.answers && !self.history.outage) {
            self.history.unknown = self.history.unknown.saturating_add(1);
        }
        let verdict = self.unknown_verdict(at, policy, None, code);
        WriterAction::Settle(self.ending(Some(verdict)))
    }

    fn unknown_verdict(&self, at: Moment, policy: &WritePolicy, after: Option<Duration>, code: String) -> Verdict {
        let backoff = delay(&policy.service_backoff, self.entry.attempt, after, at.unit);
        let wait = if policy.unique_key { backoff } else { policy.settle.max(backoff) };
        Verdict::Unknown { due_ms: at.now_ms.saturating_add(millis(wait)), code }
    }

    fn dead(&self, code: &str, explanation: &str) -> Ending {
        let rejection = Rejection { code: code.to_owned(), field: None, explanation: explanation.to_owned() };
        self.ending(Some(self.dead_verdict(rejection)))
    }

    fn dead_verdict(&self, rejection: Rejection) -> Verdict {
        // A state that was to be written once more may have been overwritten by an older one: it compares equal no more.
        Verdict::Dead { rejection, in_doubt: self.in_doubt || self.found || self.entry.verification }
    }

    fn ending(&self, verdict: Option<Verdict>) -> Ending {
        Ending { verdict, history: self.history, pause: None }
    }
}
