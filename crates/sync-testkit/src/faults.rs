//! The faults that the parties of a test inject, each with its id, a rate, and a count of how often it fired.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::parties::Chance;

macro_rules! faults {
    ($($name:ident $id:literal $what:literal,)+) => {
        /// A fault. Its id is what reports call it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault {
            $(#[doc = $what] $name,)+
        }

        impl Fault {
            /// Every fault.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Its id in the list of faults.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id),+ }
            }

            /// What it does.
            pub const fn what(self) -> &'static str {
                match self { $(Self::$name => $what),+ }
            }
        }
    };
}

faults! {
    ConnectRefused "N1" "The destination cannot be reached; nothing is sent.",
    ResetBeforeEffect "N5" "The connection breaks before the request takes effect.",
    ResetAfterEffect "N6" "The request takes effect and its answer is lost.",
    NoAnswer "N8" "No answer comes; the caller gives up, and the request may have taken effect.",
    DeliveredTwice "N11" "A proxy delivers the request twice, and the second answer comes back.",
    Throttled "H1" "The destination refuses for now and says how long to wait.",
    ThrottledRecord "H2" "The destination refuses one request for now without saying how long.",
    FailedNotApplied "H3" "A server error, without effect.",
    FailedApplied "H4" "A server error after the effect.",
    RefusedOnce "H7" "One record is refused for good, whatever it is.",
    Conflict "H9" "One record is in conflict for now.",
    LateExecution "T1" "The caller gives up, and the request takes effect later.",
    ReadLag "T2" "A lookup by key does not see what was created a moment ago.",
    DeletedBehind "T8" "The record is deleted behind our back.",
    ChangeWhilePaging "S1" "A row changes while the table is paged through.",
    TokenAfterPaging "S2" "The token at the end of a snapshot does not cover changes made while paging.",
    PageLeadsToItself "S3" "A page leads to itself.",
    EmptyPage "S4" "A page is empty and leads on.",
    TokenExpired "S5" "The source no longer serves the position.",
    UnknownDelete "S7" "The deletion of a record that was never seen.",
    Restored "S8" "A deleted record comes back.",
    RowsAgain "S9" "Rows are sent again.",
    StaleRows "S9b" "An older state of a row is sent again.",
    LinkExpired "S11" "The link to the next page is no longer served.",
    LateCommit "S12" "A long transaction shows an older version after newer ones.",
    SourceDown "N1s" "The source cannot be reached.",
    SourceThrottled "H1s" "The source refuses for now and says how long to wait.",
    StoreCallFails "D1" "A call of the store fails without effect.",
    CommitUnknown "D2" "A call of the store takes effect and is answered with an error.",
    Killed "P1" "The process ends at once.",
    Suspended "P2" "The process stands still for longer than its lease.",
    MappingPanics "P4" "The mapping panics on a record.",
    SlowStop "P5" "A stop is asked for while requests are under way.",
    OtherPlan "P6" "A run with another version of the mapping.",
    CalendarJumps "C1" "The calendar jumps by up to an hour.",
    TwoClaimants "L2" "Two processes want the same workflow.",
    Poison "X1" "A record that can never be written.",
    OddKeys "X4" "Keys with quotes, slashes, percent signs and dots.",
    LateParent "X8" "A child comes before its parent.",
    StopAndStart "O1" "Stop and start at any time.",
    ReplayBesideLive "O2" "A replay is asked for while changes go on.",
}

#[derive(Debug)]
struct Book {
    rates: BTreeMap<Fault, f64>,
    fired: BTreeMap<Fault, u64>,
    /// Occasions, counted, and those at which a fault fires whatever its rate.
    occasions: BTreeMap<Fault, u64>,
    script: BTreeSet<(Fault, u64)>,
    quiet: bool,
}

/// Rates and counts of every fault, shared by the parties of one world.
#[derive(Debug, Clone)]
pub struct Faults {
    book: Arc<Mutex<Book>>,
    chance: Chance,
}

impl Faults {
    /// No fault at all.
    pub fn none(chance: Chance) -> Self {
        Self::with_rates(chance, BTreeMap::new())
    }

    /// Each fault at its rate for every occasion; what has no rate never fires by itself.
    pub fn with_rates(chance: Chance, rates: BTreeMap<Fault, f64>) -> Self {
        let book =
            Book { rates, fired: BTreeMap::new(), occasions: BTreeMap::new(), script: BTreeSet::new(), quiet: false };
        Self { book: Arc::new(Mutex::new(book)), chance }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the fault fires on this occasion; it is counted then.
    pub fn fires(&self, fault: Fault) -> bool {
        let mut book = self.book();
        let occasion = book.occasions.entry(fault).or_default();
        *occasion += 1;
        let occasion = (fault, *occasion);
        let scripted = !book.quiet && book.script.remove(&occasion);
        let rate = if book.quiet { 0.0 } else { book.rates.get(&fault).copied().unwrap_or(0.0) };
        let fires = scripted || (rate > 0.0 && self.chance.hits(rate));
        if fires {
            *book.fired.entry(fault).or_default() += 1;
        }
        fires
    }

    /// The fault fires on its `nth` next occasion (1 is the next).
    pub fn script(&self, fault: Fault, nth: u64) {
        let mut book = self.book();
        let occasion = book.occasions.get(&fault).copied().unwrap_or(0).saturating_add(nth);
        book.script.insert((fault, occasion));
    }

    /// Whether the fault may fire at all.
    pub fn possible(&self, fault: Fault) -> bool {
        self.book().rates.get(&fault).is_some_and(|rate| *rate > 0.0)
    }

    /// Counts a fault that somebody brought about in another way.
    pub fn note(&self, fault: Fault) {
        *self.book().fired.entry(fault).or_default() += 1;
    }

    /// From now on nothing fires: what was begun is brought to its end.
    pub fn quiet(&self) {
        self.book().quiet = true;
    }

    /// How often each fired.
    pub fn fired(&self) -> BTreeMap<Fault, u64> {
        self.book().fired.clone()
    }

    /// The generator that the faults draw from.
    pub fn chance(&self) -> &Chance {
        &self.chance
    }
}
