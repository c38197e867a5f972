//! No statement that runs again and again looks at every row of a deep backlog.

use rusqlite::{Connection, params_from_iter};

use crate::{backlog, claim, schema};

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
    let oldest = claim::oldest_statement();
    let statements = [
        claim::DUE,
        claim::WAITING,
        &oldest,
        backlog::IN_FLIGHT,
        backlog::UNKNOWN,
        backlog::VERIFICATIONS,
        backlog::NEXT_DUE,
    ];
    for statement in statements {
        let steps = steps(&connection, statement);
        let found = |step: &&String| !step.contains("SCAN") && !step.contains("TEMP B-TREE");
        assert!(steps.iter().all(|step| found(&step)), "{statement}: {steps:#?}");
        assert!(steps.iter().any(|step| step.contains("INDEX")), "{statement}: {steps:#?}");
    }
    let whole = steps(&connection, "SELECT count(*) FROM entry WHERE at_ms > ?1");
    assert!(whole.iter().any(|step| step.contains("SCAN")), "the words that are looked for: {whole:?}");
}
