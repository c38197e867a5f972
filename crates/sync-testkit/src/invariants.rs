//! What must hold of every run, as pure functions over what happened. None of them knows how the engine works.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use record::Key;
use sync_core::Tally;
use sync_core::traits::{BacklogStats, DeadLetter};

use crate::parties::{Content, Effect, Effected, Held, Kind, Operation, Sent, Table, TargetHistory, TargetShape};

macro_rules! invariants {
    ($($name:ident $id:literal $what:literal,)+) => {
        /// Something that must hold.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Invariant {
            $(#[doc = $what] $name,)+
        }

        impl Invariant {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Its id.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id),+ }
            }

            /// What it says.
            pub const fn what(self) -> &'static str {
                match self { $(Self::$name => $what),+ }
            }
        }
    };
}

invariants! {
    NoLoss "I1" "At rest the destination holds what the source says, for every record that is no dead letter.",
    NoDuplicate "I2" "There is one record of a key at most.",
    NoRegress "I3" "The states sent of a record follow the order of its versions at the source.",
    Conservation "I5" "What was read is settled or in the backlog, to the last record.",
    Fence "I6" "Nothing is done under a lease that was given away since.",
    OneInFlight "I7" "Two writes of one record are never under way together.",
    NoBlindRepeat "I8" "Where nothing refuses a second record, an open create is repeated only after the settle time and a lookup.",
    ParentsFirst "I10" "No child is written before its parent was there.",
    DeleteNeedsEvidence "I11" "Nothing is deleted that the source did not delete or filter out.",
    PausesObeyed "I12" "No request starts during a pause that the destination ordered.",
    Bounded "I13" "Without faults a change costs one request at most.",
    Liveness "I14" "Once the faults stop, everything is done within a bounded time.",
    DeadLetters "I15" "A dead letter stands for a record that cannot be written, and every such record has one.",
    Canary "I16" "No value of a record is seen in an event, a log or an error.",
    Determinism "I17" "The same seed gives the same run.",
}

/// One invariant, broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// What happened.
    pub text: String,
}

impl Violation {
    /// A violation.
    pub fn new(invariant: Invariant, text: String) -> Self {
        Self { invariant, text }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant.id(), self.text)
    }
}

/// What the source says of a record, against what the destination holds and what became a dead letter. Of records in `dropped`
/// nobody expects anything while they are at that version; those in `behind` somebody else deleted, and they may be missing.
pub fn at_rest(
    tables: &[Arc<Table>],
    records: &BTreeMap<(usize, Key), Vec<Held>>,
    letters: &[(usize, DeadLetter)],
    dropped: &BTreeMap<(usize, Key), i64>,
    behind: &BTreeSet<(usize, Key)>,
) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut broken = |invariant, text: String| found.push(Violation::new(invariant, text));
    for ((table, key), held) in records {
        if held.len() > 1 {
            broken(Invariant::NoDuplicate, format!("{table}/{} is there {} times", key.to_text(), held.len()));
        }
        if tables.get(*table).is_none_or(|table| table.present(key).is_none()) {
            broken(Invariant::NoLoss, format!("{table}/{} is there and never was at the source", key.to_text()));
        }
    }
    let none = Vec::new();
    for (number, table) in tables.iter().enumerate() {
        for key in table.keys() {
            let held = records.get(&(number, key.clone())).unwrap_or(&none);
            let letter =
                letters.iter().find(|(of, letter)| *of == number && letter.key == key).map(|(_, letter)| letter);
            let present = table.present(&key);
            if let (Some(version), Some((now, _))) = (dropped.get(&(number, key.clone())), &present)
                && version == now
            {
                continue;
            }
            let content = present.and_then(|(_, content)| content);
            let name = format!("{number}/{}", key.to_text());
            if let Some(letter) = letter {
                if !justified(letter, content.as_ref()) {
                    let text =
                        format!("{name} is a dead letter ({}) although it says {content:?}", letter.rejection.code);
                    broken(Invariant::DeadLetters, text);
                }
                continue;
            }
            let numbers: Vec<u64> = held.iter().map(|held| held.number).collect();
            match content {
                None => {
                    if !numbers.is_empty() {
                        broken(Invariant::NoLoss, format!("{name} was deleted and is still there: {numbers:?}"));
                    }
                }
                Some(Content { kind: Kind::Filtered, .. }) => {
                    if !numbers.is_empty() {
                        broken(Invariant::NoLoss, format!("{name} was filtered out and is still there: {numbers:?}"));
                    }
                }
                Some(Content { kind: Kind::Kept, .. }) => {}
                Some(Content { kind: Kind::Plain, number: wanted, .. }) => {
                    let missing = numbers.is_empty() && behind.contains(&(number, key.clone()));
                    if !missing && !numbers.contains(&wanted) {
                        broken(
                            Invariant::NoLoss,
                            format!("{name} says {wanted}, and the destination holds {numbers:?}"),
                        );
                    }
                }
                Some(Content { kind, .. }) => {
                    broken(Invariant::DeadLetters, format!("{name} is {kind:?} and no dead letter"));
                }
            }
        }
    }
    found
}

/// Whether a letter's reason is still true of its record.
fn justified(letter: &DeadLetter, content: Option<&Content>) -> bool {
    let kind = content.map(|content| content.kind);
    match letter.rejection.code.as_str() {
        "unmappable" => kind == Some(Kind::Unmappable),
        "mapping-panicked" => kind == Some(Kind::Panics),
        "refused-value" => kind == Some(Kind::Refused),
        // What the destination did once, or again and again, says nothing about the record.
        "refused-once"
        | "conflict"
        | "unknown-outcome"
        | "hidden-or-conflicting"
        | "unexpected-outcome"
        | "parent-missing" => true,
        _ => false,
    }
}

/// I5.
pub fn conservation(table: usize, totals: &Tally, stats: &BacklogStats) -> Vec<Violation> {
    let unsettled = totals.unsettled();
    if unsettled == stats.depth() {
        return Vec::new();
    }
    let text =
        format!("table {table}: {unsettled} unsettled by the counts, {} in the backlog; {totals:?}", stats.depth());
    vec![Violation::new(Invariant::Conservation, text)]
}

/// Everything that the whole history of a destination shows.
pub fn of_history(
    history: &TargetHistory,
    shape: &TargetShape,
    tables: &[Arc<Table>],
    dropped: &BTreeMap<(usize, Key), i64>,
) -> Vec<Violation> {
    let mut by_record: BTreeMap<(usize, &Key), Vec<(usize, &Sent)>> = BTreeMap::new();
    for (number, sent) in history.sent.iter().enumerate() {
        by_record.entry((sent.table, &sent.key)).or_default().push((number, sent));
    }
    let mut found = Vec::new();
    for ((table, key), sent) in &by_record {
        let past = tables.get(*table).map(|table| table.history(key)).unwrap_or_default();
        let name = format!("{table}/{}", key.to_text());
        let numbers: Vec<u64> =
            past.iter().filter_map(|past| past.content.as_ref().map(|content| content.number)).collect();
        // With a letter that an operator drops, its version is forgotten: an older state that is sent again is news.
        if !dropped.contains_key(&(*table, (*key).clone())) {
            found.extend(no_regress(&name, sent, &numbers, history));
        }
        found.extend(one_in_flight(&name, sent));
        if !shape.unique_key {
            found.extend(no_blind_repeat(&name, sent, history, shape.settle));
        }
        let gone =
            |past: &crate::parties::Past| past.content.as_ref().is_none_or(|content| content.kind == Kind::Filtered);
        let deleted = history.effects.iter().filter(|effect| effect.result == Effect::Applied);
        let deleted = deleted.filter_map(|effect| sent.iter().find(|(number, _)| *number == effect.request));
        if deleted.filter(|(_, sent)| sent.operation == Operation::Delete).count() > 0 && !past.iter().any(gone) {
            found.push(Violation::new(Invariant::DeleteNeedsEvidence, format!("{name} was deleted for no reason")));
        }
    }
    for number in &history.before_parent {
        if let Some(sent) = history.sent.get(*number) {
            let text = format!("{}/{} was sent at {:?} before its parent", sent.table, sent.key.to_text(), sent.at);
            found.push(Violation::new(Invariant::ParentsFirst, text));
        }
    }
    for pause in &history.pauses {
        let during = |sent: &&Sent| {
            sent.process == pause.process && sent.table == pause.table && sent.at > pause.at && sent.at < pause.until
        };
        if let Some(sent) = history.sent.iter().find(during) {
            let text =
                format!("a request started at {:?} in the pause from {:?} to {:?}", sent.at, pause.at, pause.until);
            found.push(Violation::new(Invariant::PausesObeyed, text));
        }
    }
    found
}

/// I3: what was sent is a subsequence of what the source said. To write once more what the destination holds already
/// changes nothing, and may happen at any time.
fn no_regress(name: &str, sent: &[(usize, &Sent)], numbers: &[u64], history: &TargetHistory) -> Option<Violation> {
    let mut place = 0;
    for (index, request) in sent {
        let Some(number) = request.number else { continue };
        // Where answers take no time, the next request may have its effect in the same instant: it is no effect before this one.
        let earlier = |effect: &&Effected| effect.at <= request.at && effect.request < *index;
        let before = history.effects.iter().filter(|effect| effect.result == Effect::Applied).filter(earlier);
        let done: Vec<&(usize, &Sent)> =
            before.filter_map(|effect| sent.iter().find(|(at, _)| *at == effect.request)).collect();
        // What it holds, or held before an older request had its effect late: then this puts it right.
        let held = done.last().is_some_and(|(_, last)| last.number == Some(number));
        let newest = done.iter().max_by_key(|(at, _)| *at).is_some_and(|(_, last)| last.number == Some(number));
        // Asked first: the source may say the same once more, much later, and this is no step to there.
        if held || newest {
            continue;
        }
        if let Some(further) = numbers.iter().skip(place).position(|said| *said == number) {
            place += further;
        } else {
            let text = format!(
                "{name}: {number} was sent at {:?}; the source said {numbers:?}, and {place} of them were past",
                request.at
            );
            return Some(Violation::new(Invariant::NoRegress, text));
        }
    }
    None
}

/// When nobody waits for a request any more: it is answered, whether or not its process is awake, or its process has ended.
fn end(sent: &Sent) -> Option<Duration> {
    [sent.ended, sent.answered].into_iter().flatten().min()
}

/// I7.
fn one_in_flight(name: &str, sent: &[(usize, &Sent)]) -> Option<Violation> {
    sent.windows(2).find_map(|pair| {
        let (first, second) = (pair[0].1, pair[1].1);
        let overlaps = end(first).is_none_or(|end| end > second.at);
        overlaps.then(|| {
            let text = format!("{name}: sent at {:?} and again at {:?}", first.at, second.at);
            Violation::new(Invariant::OneInFlight, text)
        })
    })
}

/// I8.
fn no_blind_repeat(
    name: &str,
    sent: &[(usize, &Sent)],
    history: &TargetHistory,
    settle: Duration,
) -> Option<Violation> {
    let mut open: Option<Duration> = None;
    for (_, sent) in sent {
        if sent.operation != Operation::Create {
            // An update or a delete comes after a lookup that found something, or settles the matter itself.
            if sent.operation == Operation::Delete && sent.known {
                open = None;
            }
            continue;
        }
        if let Some(since) = open {
            // Found: the open create is known to have had its effect. Not found: only after the settle time.
            let looked = history.lookups.iter().any(|look| {
                let of_it = look.table == sent.table && look.key == sent.key && look.at <= sent.at;
                // Stores keep due times in whole milliseconds.
                let settled = look.at + Duration::from_millis(1) > since.saturating_add(settle);
                of_it && look.at >= since && (look.found || settled)
            });
            if !looked {
                let text = format!("{name}: a create open since {since:?} was repeated at {:?}", sent.at);
                return Some(Violation::new(Invariant::NoBlindRepeat, text));
            }
        }
        open = if sent.known { None } else { Some(end(sent).unwrap_or(sent.at)) };
    }
    None
}
