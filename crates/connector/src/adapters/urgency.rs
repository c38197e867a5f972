//! The engine's classes as priorities of the clients.

use http_kit::Priority;
use sync_core::traits::Class;

/// One of something for each class.
#[derive(Debug)]
pub(crate) struct ByClass<T> {
    opt_out: T,
    live: T,
    replay: T,
    backfill: T,
}

impl<T> ByClass<T> {
    /// Makes one for each.
    ///
    /// # Errors
    /// The first that fails.
    pub(crate) fn try_new<E>(make: impl Fn(Priority) -> Result<T, E>) -> Result<Self, E> {
        Ok(Self {
            opt_out: make(Priority::OptOut)?,
            live: make(Priority::Live)?,
            replay: make(Priority::Replay)?,
            backfill: make(Priority::Backfill)?,
        })
    }

    /// The one for a class.
    pub(crate) fn of(&self, class: Class) -> &T {
        match class {
            Class::OptOut => &self.opt_out,
            Class::Live => &self.live,
            Class::Replay => &self.replay,
            Class::Backfill => &self.backfill,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

    use super::*;

    #[test]
    fn each_class_has_its_priority() {
        let priorities = ByClass::try_new(Ok::<_, ()>).unwrap();
        let of: Vec<Priority> = Class::ALL.iter().map(|class| *priorities.of(*class)).collect();
        assert_eq!(of, Priority::ALL);
    }
}
