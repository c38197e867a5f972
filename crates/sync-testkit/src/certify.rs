//! The suites in a program: which promises a store, a source or a destination keeps, and which it breaks.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use crate::conformance::{Case, DESTINATION, Ending, SOURCE, STORE};
use crate::{DestinationGround, Ground, SourceGround};

/// What came of a suite.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certificate {
    /// Cases whose promise is kept.
    pub passed: Vec<&'static str>,
    /// Cases that do not apply, and why.
    pub skipped: Vec<(&'static str, &'static str)>,
    /// Cases whose promise is broken, and what was found.
    pub failed: Vec<(&'static str, String)>,
}

impl Certificate {
    /// Whether no promise is broken.
    pub fn holds(&self) -> bool {
        self.failed.is_empty()
    }
}

/// A line for each case that was skipped or failed, and a line of numbers.
impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, reason) in &self.skipped {
            writeln!(f, "skipped: {name}: {reason}")?;
        }
        for (name, found) in &self.failed {
            writeln!(f, "FAILED: {name}: {found}")?;
        }
        let (passed, skipped, failed) = (self.passed.len(), self.skipped.len(), self.failed.len());
        write!(f, "{passed} cases passed, {skipped} skipped, {failed} failed")
    }
}

/// Runs every case for stores, each on a fresh ground.
pub fn store<G: Ground + 'static>(ground: impl Fn() -> G) -> Certificate {
    certify(STORE, |case| (case.run)(&ground()))
}

/// Runs every case for sources, each on a fresh ground.
pub fn source<G: SourceGround + 'static>(ground: impl Fn() -> G) -> Certificate {
    certify(SOURCE, |case| (case.run)(&ground()))
}

/// Runs every case for destinations, each on a fresh ground.
pub fn destination<G: DestinationGround + 'static>(ground: impl Fn() -> G) -> Certificate {
    certify(DESTINATION, |case| (case.run)(&ground()))
}

fn certify<G: ?Sized>(cases: &[Case<G>], run: impl Fn(&Case<G>) -> Ending) -> Certificate {
    let mut certificate = Certificate::default();
    for case in cases {
        match quietly(|| run(case)) {
            Ok(Ending::Passed) => certificate.passed.push(case.name),
            Ok(Ending::Skipped(reason)) => certificate.skipped.push((case.name, reason)),
            Err(found) => certificate.failed.push((case.name, found)),
        }
    }
    certificate
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs something that may panic; a panic of this thread is answered as its message, and not printed.
///
/// # Errors
/// The message of the panic.
pub fn quietly<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            if !QUIET.get() {
                before(panicked);
            }
        }));
    });
    let before = QUIET.replace(true);
    let answer = panic::catch_unwind(AssertUnwindSafe(run));
    QUIET.set(before);
    answer.map_err(|panicked| message(&*panicked))
}

fn message(panicked: &(dyn Any + Send)) -> String {
    let text = panicked.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panicked.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned()
}
