//! Linked tables at length.

use std::fmt::Write as _;

use end_to_end_tests::linked::{self, DEPTH};
use timing::{Clock, SystemClock};

use crate::Verdict;

/// How much of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Size {
    /// Rows at the beginning.
    #[arg(long, default_value_t = 50_000)]
    rows: usize,
    /// Rows that are changed, moved, deleted with all below them, or added after that; a tenth of the rows unless given.
    #[arg(long)]
    changes: Option<usize>,
    /// Tables that lie above each other.
    #[arg(long, default_value_t = DEPTH)]
    depth: usize,
    /// What is drawn depends on this alone.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The services fail now and then.
    #[arg(long)]
    faults: bool,
}

pub(crate) async fn run(size: &Size) -> Verdict {
    let clock = SystemClock::new();
    let changes = size.changes.unwrap_or(size.rows / 10);
    let plan = linked::Size { rows: size.rows, depth: size.depth, changes, seed: size.seed, faults: size.faults };
    let outcome = linked::run(plan).await;
    let seconds = clock.monotonic().as_secs_f64();
    let mut text = format!(
        "{} rows of {} linked tables, put into Dynamics 365 in random order while the connector runs, then {changes} changes: rows added, \
         renamed, given another parent, deleted with all below them. Faults of both services go on until all is written. Meanwhile \
         Campaign's rows are looked at again and again.\n\n| what | count |\n|---|---|\n",
        size.rows, size.depth,
    );
    let lists = [
        ("children without their parent in any look", outcome.hidden.len()),
        ("children that Campaign had before their parents", outcome.too_early.len()),
        ("rows that differ at the end", outcome.different.len()),
    ];
    let counts = [
        ("rows at the end", outcome.rows as u64),
        ("rows deleted", outcome.deleted as u64),
        ("faults that fired", outcome.faults),
        ("looks at all rows", outcome.looks),
        ("dead letters", outcome.dead),
    ];
    let lists = lists.map(|(what, count)| (what, count as u64));
    for (what, count) in counts.into_iter().chain(lists) {
        let _ = writeln!(text, "| {what} | {count} |");
    }
    let _ = writeln!(text, "\nTime: {seconds:.0} s, two cores shared by the connector, the sandbox and the test.");
    let mut broken = Vec::new();
    if outcome.dead > 0 {
        broken.push(format!("{} dead letters", outcome.dead));
    }
    if size.faults && outcome.faults == 0 {
        broken.push("no fault fired".to_owned());
    }
    broken.extend([outcome.hidden, outcome.too_early, outcome.different].concat());
    Verdict { title: "Linked tables", text, broken }
}
