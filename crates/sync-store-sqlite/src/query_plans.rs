//! No statement that runs again and again looks at every row of a deep backlog.

use rusqlite::{Connection, params_from_iter};

use crate::{claim, held, life, ready, schema, stats, waits};

/// How SQLite means to find the rows of a statement.
fn steps(connection: &Connection, statement: &str) -> Vec<String> {
    let mut explained = connection.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
    let values = vec![1_i64; explained.parameter_count()];
    let rows = explained.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
    rows.collect::<Result<Vec<_>, _>>().unwrap()
}

#[test]
fn claims_and_counts_use_their_indexes() {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(schema::LAYOUT).unwrap();
    let statements = [
        (claim::DUE, "entry_due"),
        (claim::DUE_VERIFICATIONS, "verification_due"),
        (claim::CLAIMED, "INTEGER PRIMARY KEY"),
        (ready::OF_PLAN, "entry_ready (stream=? AND class=? AND <expr>=?)"),
        (ready::DELETES, "entry_ready (stream=? AND class=? AND <expr>=?)"),
        (stats::IN_FLIGHT, "entry_one_in_flight"),
        (stats::UNKNOWN, "entry_unknown"),
        (stats::WAITING, "entry_waiting"),
        (stats::VERIFICATIONS, "entry_verification"),
        (stats::OLDEST, "entry_age"),
        (stats::HELD, "entry_held"),
        (stats::BEHIND, "entry_key (stream=? AND key=? AND seq>?)"),
        (held::UNSETTLED_TO, "entry_age (stream=? AND seq<?)"),
        (held::RELEASE, "entry_held (stream=? AND waiting>? AND waiting<?)"),
        (stats::READY, "entry_ready"),
        (stats::BLOCKED, "entry_blocked"),
        (stats::NEXT_DUE, "entry_due"),
        (life::ENTRIES, "entry_key (stream=? AND key=?)"),
        (life::LETTER, "dead_1 (stream=? AND key=?)"),
        (life::PARENTS, "waits_child (child=?)"),
        (life::CHILDREN, "PRIMARY KEY (pstream=? AND pkey=?)"),
        (waits::AWAITED, "waits_child"),
        (waits::CHILDREN, "PRIMARY KEY (pstream=? AND pkey=?)"),
        (waits::LATE, "entry_waiting (stream=? AND at_ms<?)"),
    ];
    for (statement, index) in statements {
        let steps = steps(&connection, statement);
        let found = |step: &&String| !step.contains("SCAN") && !step.contains("TEMP B-TREE");
        assert!(steps.iter().all(|step| found(&step)), "{statement}: {steps:#?}");
        assert!(steps.iter().any(|step| step.contains(index)), "{statement}: {steps:#?}");
    }
    let whole = steps(&connection, "SELECT count(*) FROM entry WHERE at_ms > ?1");
    assert!(whole.iter().any(|step| step.contains("SCAN")), "the words that are looked for: {whole:?}");
}
