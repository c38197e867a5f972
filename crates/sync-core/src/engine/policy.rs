//! Pure policies: what kind of trouble a code means, how long to wait, what an operator is told.

use std::time::Duration;

use timing::Backoff;

use crate::{EndpointError, EndpointErrorKind, StatusReason, StoreError, StoreErrorKind};

/// Whom a refusal that may pass concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concern {
    /// The service as a whole: the writer pauses, and no record is ever given up for it.
    Service,
    /// This record alone: it is given up after a number of refusals.
    Record,
}

/// Whom a retry code concerns. A code that is not known concerns the service: to wait longer than needed is mended by
/// itself, a record given up in an outage is not.
pub fn concern(code: &str) -> Concern {
    const OF_RECORD: [&str; 7] = [
        "conflict",
        "deadlock",
        "locked",
        "precondition-failed",
        "unexpected-outcome",
        "hidden-or-conflicting",
        "parent-missing",
    ];
    // A destination may put its own name in front, such as `campaign-conflict`.
    let known = OF_RECORD
        .iter()
        .any(|known| code.strip_suffix(known).is_some_and(|before| before.is_empty() || before.ends_with('-')));
    if known || code.starts_with("record-") { Concern::Record } else { Concern::Service }
}

/// How long to wait before attempt `number` (1 for the first repetition): never shorter than the service asked for.
pub fn delay(backoff: &Backoff, number: u32, wish: Option<Duration>, unit: f64) -> Duration {
    let own = backoff.delay(number.saturating_sub(1), unit);
    wish.map_or(own, |wish| wish.max(own))
}

/// Milliseconds, saturating.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Trouble with a source or destination, in the form that the machines work with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What to do about it.
    pub kind: EndpointErrorKind,
    /// Code, sentence and remedy.
    pub reason: StatusReason,
    /// When the service wants to be asked again.
    pub retry_after: Option<Duration>,
}

impl From<EndpointError> for Trouble {
    fn from(error: EndpointError) -> Self {
        Self {
            kind: error.kind(),
            reason: StatusReason {
                code: error.code().to_owned(),
                message: error.to_string(),
                remedy: error.remedy().to_owned(),
            },
            retry_after: error.retry_after(),
        }
    }
}

/// The code of a lost lease.
pub(crate) const FENCED: &str = "store-fenced";

/// What an operator is told about an error of the store.
pub(crate) fn store_reason(error: &StoreError) -> StatusReason {
    let code = match error.kind() {
        StoreErrorKind::Fenced => FENCED,
        StoreErrorKind::Conflict => "store-conflict",
        StoreErrorKind::InUse => "store-in-use",
        StoreErrorKind::Full => "store-full",
        StoreErrorKind::TooNew => "store-too-new",
        StoreErrorKind::Corrupt => "store-corrupt",
        StoreErrorKind::Unavailable => "store-unavailable",
    };
    StatusReason { code: code.to_owned(), message: error.to_string(), remedy: error.remedy().to_owned() }
}
