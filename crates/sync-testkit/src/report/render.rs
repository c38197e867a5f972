use std::fmt::Write;

use super::{Harm, Report, Seeds, StoreMatrix};
use crate::crash::HITS;
use crate::defective::Kill;
use crate::faults::Fault;
use crate::invariants::Invariant;
use crate::protocol::Row;
use crate::rare::Path;

/// What is left, in plain words.
const RESIDUAL: &str = "\
- **R1, a stop just before a send.** A process that stands still between its last look at the lease and the first byte of a request, for longer than its
  lease, sends that request when it goes on, although another process owns the work by then. The destination may then hold an older state of one record
  until its next change, or, where it has no unique key, a second record. A unique key at the destination excludes the second record; a store that
  one process owns by a lock of the operating system excludes the whole case.
- **R2, a destination that is later than it says.** All waits rest on the time after which a request can take no effect any more
  (`DestinationCaps::settle`). If a create takes effect later than that, and the destination has no unique key, a second record can come of it: the model
  finds it, and no client can exclude it.
- **R3, other writers.** Somebody else who creates or changes the same records at the destination is not seen. Where the destination has no unique key, two
  records of one key can come of it; a change of theirs stays until the next change at the source or the next replay.
- **R4, a calendar that jumps between two runs.** Within a run, settle times are counted by a clock that no calendar moves. What a run left to be looked at
  once more is due by the calendar for the next one; where that run ends by itself, a jump ahead in between can make the look too early.
- **R5, a dropped letter.** With a dead letter that an operator drops, its version is forgotten: a source that sends an older state of that record again is
  believed.
";

/// The whole report, as Markdown.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    let commit = report.commit.as_deref().unwrap_or("unknown");
    let _ = write!(
        text,
        "# Reliability\n\n\
         Written by `{}` on {}, from commit {commit}. Do not edit it: run the command again.\n\n\
         What each part does, and how to run it alone:\n\n\
         | part | command |\n|---|---|\n\
         | the crash matrix | `cargo run --release -p sync-testkit -- matrix` |\n\
         | the simulator | `cargo run --release -p sync-testkit -- simulate --seeds N --from S` |\n\
         | one seed, line by line | `cargo run --release -p sync-testkit -- simulate --from S --seeds 1 --trace` |\n\
         | planted defects | `cargo run --release -p sync-testkit -- defects` |\n\
         | the checked model | `cargo run --release -p sync-testkit -- model` |\n\n\
         What whole workflows come to at length, against the sandbox, is on [a page of its own](RELIABILITY-FLOWS.md).\n\n",
        report.command, report.date
    );
    render_invariants(&mut text);
    text.push_str("## Crash matrix\n\n");
    text.push_str(
        "The process ends at a named point; the source changes further; the next process brings everything to its end. The runs are\n\
         enumerated: a run without an end counts the visits to each point, and each of the first three visits is an end of its own. Each phase is\n\
         run against a destination with a unique key and against one without. Answers are lost in every phase, before and after the effect.\n\n",
    );
    report.matrix.iter().for_each(|(store, matrix)| text.push_str(&render_matrix(store, matrix)));
    text.push_str(&render_seeds(&report.seeds));
    text.push_str(&render_kills(&report.kills));
    text.push_str(&render_model(&report.model));
    text.push_str("## What is left\n\n");
    text.push_str(RESIDUAL);
    text
}

fn render_invariants(text: &mut String) {
    text.push_str("## What must hold\n\n| id | invariant |\n|---|---|\n");
    for invariant in Invariant::ALL {
        let _ = writeln!(text, "| {} | {} |", invariant.id(), invariant.what());
    }
    text.push('\n');
}

/// The matrix of one store.
pub fn render_matrix(store: &str, matrix: &StoreMatrix) -> String {
    let whole = matrix.whole();
    let harm = Harm::of(whole.broken.iter().map(|(_, violation)| violation));
    let mut text = String::new();
    let _ = write!(
        text,
        "### {store}\n\n{} points x up to {HITS} visits x {} phases, as far as a phase comes to a point: **{} runs: lost {}, duplicated {}, out of order {}, stuck {}, \
         otherwise broken {}.**\n\n",
        whole.runs.len(),
        crate::crash::Phase::ALL.len(),
        whole.total(),
        harm.lost,
        harm.duplicated,
        harm.out_of_order,
        harm.stuck,
        harm.other,
    );
    text.push_str("| phase | unique key | runs | broken |\n|---|---|---|---|\n");
    for ((phase, unique_key), part) in &matrix.parts {
        let key = if *unique_key { "yes" } else { "no" };
        let _ = writeln!(text, "| {phase:?} | {key} | {} | {} |", part.total(), part.broken.len());
    }
    text.push_str("\n| point | runs |\n|---|---|\n");
    for (point, runs) in &whole.runs {
        let _ = writeln!(text, "| {point} | {runs} |");
    }
    text.push('\n');
    for (case, violation) in whole.broken.iter().take(20) {
        let _ = writeln!(text, "- {case}: {violation}");
    }
    text
}

/// What the seeds brought.
pub fn render_seeds(seeds: &Seeds) -> String {
    let mut text = String::new();
    let harm = Harm::of(seeds.broken.values().flatten());
    let days = seeds.time.as_secs_f64() / 86_400.0;
    let taken = |path| seeds.rare.get(&path).copied().unwrap_or(0);
    let _ = write!(
        text,
        "## Simulator\n\n\
         The engine on one thread and in virtual time, from one number: workload, faults, ends of processes, takeovers, calendar jumps, requests of \
         operators, and settings that are legal but rare. First under faults, then without: everything has to come right in bounded time, and a \
         further run has nothing to do.\n\n\
         **Seeds {} to {}: {} seeds, {days:.1} virtual days, {} changes at the source, {} requests, {} faults: lost {}, duplicated {}, out of order {}, stuck {}, otherwise \
         broken {}.** Unknown outcomes looked up: {} applied, {} absent.\n\n",
        seeds.from,
        (seeds.from + seeds.count).saturating_sub(1),
        seeds.count,
        seeds.changes,
        seeds.requests,
        seeds.faults.values().sum::<u64>(),
        harm.lost,
        harm.duplicated,
        harm.out_of_order,
        harm.stuck,
        harm.other,
        taken(Path::UnknownFound),
        taken(Path::UnknownAbsent),
    );
    for (seed, violations) in seeds.broken.iter().take(20) {
        for violation in violations.iter().take(3) {
            let _ = writeln!(text, "- seed {seed}: {violation}");
        }
    }
    text.push_str("\n| fault | what it does | fired |\n|---|---|---|\n");
    for fault in Fault::ALL {
        let fired = seeds.faults.get(fault).copied().unwrap_or(0);
        let _ = writeln!(text, "| {} | {} | {fired} |", fault.id(), fault.what());
    }
    text.push_str(
        "\nRare paths. A set of seeds that never took one of them is not valid.\n\n| path | taken |\n|---|---|\n",
    );
    for path in Path::ALL {
        let _ = writeln!(text, "| {} | {} |", path.text(), taken(*path));
    }
    text.push('\n');
    text
}

/// The planted defects.
pub fn render_kills(kills: &[Kill]) -> String {
    let mut text = String::new();
    let _ = write!(
        text,
        "## Planted defects\n\nStores, sources and destinations with one subtle defect each: {} of them. The suites have to find every one.\n\n",
        kills.len()
    );
    text.push_str("```text\n");
    for kill in kills.iter().filter(|kill| !kill.survived()) {
        let _ = writeln!(text, "{}: killed by {}", kill.name, kill.killed_by.join(", "));
    }
    text.push_str("```\n");
    let survivors: Vec<&str> = kills.iter().filter(|kill| kill.survived()).map(|kill| kill.name).collect();
    let _ = writeln!(text, "\nSurvived: {}", survivors.len());
    survivors.iter().for_each(|name| {
        let _ = writeln!(text, "- {name}");
    });
    text.push('\n');
    text
}

/// The model's truth table.
pub fn render_model(rows: &[Row]) -> String {
    let mut text = String::from(
        "## Checked model\n\nLease, intent and late writes as a state machine, searched to the end: which assumption each promise needs.\n\n\
         | run | parameters | states | verdict |\n|---|---|---|---|\n",
    );
    rows.iter().for_each(|row| {
        let _ = writeln!(text, "{row}");
    });
    text.push('\n');
    text
}
