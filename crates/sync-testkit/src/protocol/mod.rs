//! The protocol of writes of unknown outcome as a model that is checked over all its runs.
//!
//! Two workers share a store and write to a server that may execute a create some time after it was sent, or lose it, or lose
//! its answer. Workers crash, start again, are stopped and go on. [`check`] visits every state that can be reached and says
//! whether a record was ever created twice, whether the store ever listened to somebody who had lost the lease, and whether
//! every run ends. [`truth_table`] does so for the protocol as it is meant and for each of its rules and assumptions left out:
//! what is found there is what the rule is for.
//!
//! [`check_late_writes`] does the same for changes and deletes over a unique key, and for the verifications that undo what comes
//! late.
//!
//! The model is of the protocol, not of the code. [`follow`] ties the two together: a store and the writer's machine take every
//! step of the model and must come to the same. `docs/protocols/unknown-outcomes.md` tells what is assumed, promised and shown.
//!
//! ```
//! use sync_testkit::protocol::{Parameters, check};
//!
//! let enough = check(Parameters { settle: 2, execution: 2, ..Parameters::default() });
//! assert!(enough.duplicate.is_none());
//! let too_short = check(Parameters { settle: 1, execution: 2, ..Parameters::default() });
//! assert!(too_short.duplicate.is_some());
//! ```

mod follow;
mod late_writes;
mod parameters;
mod properties;
mod state;
mod transitions;
mod truth_table;

pub use follow::follow;
pub use late_writes::{LateAction, LateFindings, LateState, LateWrites, check_late_writes};
pub use parameters::{Ownership, Parameters};
pub use properties::{Endless, Findings, Path, Protocol, check, every_run_ends};
pub use state::{Action, State};
pub use truth_table::{Row, truth_table};
