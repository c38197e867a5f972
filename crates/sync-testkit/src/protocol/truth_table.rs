use std::fmt;

use super::{Findings, Ownership, Parameters, check};

/// One line: what differs from the protocol as it is meant, and what came of it.
#[derive(Debug, Clone)]
pub struct Row {
    /// What is changed.
    pub name: &'static str,
    /// Under which parameters.
    pub parameters: Parameters,
    /// What the search found.
    pub findings: Findings,
}

impl fmt::Display for Row {
    /// A line of a Markdown table with the columns run, parameters, states, verdict.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, parameters, findings } = self;
        write!(f, "| {name} | {parameters} | {} | {findings} |", findings.states)
    }
}

/// Checks the protocol as it is meant, and with each assumption and each rule left out in turn: some 700,000 states.
pub fn truth_table() -> Vec<Row> {
    rows().into_iter().map(|(name, parameters)| Row { name, parameters, findings: check(parameters) }).collect()
}

fn rows() -> Vec<(&'static str, Parameters)> {
    let lease = Parameters::default();
    let lock = Parameters { ownership: Ownership::Lock, ..lease };
    let unique = Parameters { unique_key: true, settle: 0, takeover_wait: 0, ..lease };
    vec![
        ("the waits cover the execution, shared store", Parameters { keys: 2, ..lease }),
        ("the waits cover the execution, locked store", Parameters { keys: 2, ..lock }),
        ("a settle time shorter than the execution", Parameters { keys: 2, settle: 1, ..lease }),
        ("no wait at a takeover, shared store", Parameters { takeover_wait: 0, ..lease }),
        ("a wait at a restart shorter than the execution, locked store", Parameters { takeover_wait: 1, ..lock }),
        ("no intent before the first byte, locked store", Parameters { intent: false, ..lock }),
        ("no look before a create", Parameters { read_back: false, ..lease }),
        ("lookups lag behind", Parameters { read_lag: 1, ..lease }),
        (
            "lookups lag behind, and the waits cover that",
            Parameters { read_lag: 1, settle: 3, takeover_wait: 3, ..lease },
        ),
        ("a stop before the send that outlasts the lease (R1)", Parameters { stall: 3, ..lease }),
        ("the same stop, and the waits cover it", Parameters { stall: 3, settle: 3, takeover_wait: 3, ..lease }),
        ("the same stop, locked store", Parameters { stall: 3, ..lock }),
        ("the same stop, unique key, no waits", Parameters { stall: 3, ..unique }),
        ("unique key, no waits", unique),
        ("unique key, no waits, no intent, lookups lag behind", Parameters { intent: false, read_lag: 1, ..unique }),
        ("a store that does not look at the fence", Parameters { fenced: false, ..lease }),
        ("a store that does not look at the fence, unique key", Parameters { fenced: false, ..unique }),
    ]
}
