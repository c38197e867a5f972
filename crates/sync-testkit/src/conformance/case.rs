//! What a case is, and how one is run.

/// How a case ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The promise holds.
    Passed,
    /// The case does not apply: why.
    Skipped(&'static str),
}

impl From<()> for Ending {
    fn from((): ()) -> Self {
        Self::Passed
    }
}

/// One promise that a `G` (the ground of a store, a source or a destination) has to keep.
#[derive(Debug, Clone, Copy)]
pub struct Case<G: ?Sized + 'static> {
    /// Group and name, such as `lease::the_fence_only_grows`.
    pub name: &'static str,
    /// Runs it on a fresh ground.
    ///
    /// # Panics
    /// When the promise is broken.
    pub run: fn(&G) -> Ending,
}

/// Runs a case on a runtime of its own.
///
/// # Panics
/// When the case fails.
pub fn run<E: Into<Ending>>(case: impl Future<Output = E>) -> Ending {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(case).into()
}

/// Says which case was skipped and why, where the output of a test is shown.
#[doc(hidden)]
#[expect(clippy::print_stderr, reason = "a suite shows what it skips")]
pub fn tell(name: &str, ending: Ending) {
    if let Ending::Skipped(reason) = ending {
        eprintln!("skipped: {name}: {reason}");
    }
}
