//! Runs the crash matrix, the simulator, the hunt for planted defects and the checked model, and writes the report.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::time::Duration;

use clap::{Parser, Subcommand};
use sync_testkit::report::{self, Report, Seeds};
use sync_testkit::{protocol, sim};
use timing::{Clock, SystemClock};

#[derive(Parser)]
#[command(name = "sync-testkit", about = "Tests the sync engine at length")]
struct Arguments {
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    /// Runs seeds of the simulator.
    Simulate {
        /// How many.
        #[arg(long, default_value_t = 10_000)]
        seeds: u64,
        /// The first.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Shows everything that happens in each.
        #[arg(long)]
        trace: bool,
    },
    /// Runs the crash matrix on every store.
    Matrix {
        /// One case alone, step by step, as PHASE/POINT/VISIT.
        #[arg(long)]
        case: Option<String>,
        /// The store of that case.
        #[arg(long, default_value = "memory")]
        store: String,
        /// Its destination has no unique key.
        #[arg(long)]
        no_unique_key: bool,
    },
    /// Hunts the planted defects.
    Defects,
    /// Checks the model of the write protocol.
    Model,
    /// Runs everything and writes the report.
    Report {
        /// Seeds of the simulator.
        #[arg(long, default_value_t = 10_000)]
        seeds: u64,
        /// Where to write it.
        #[arg(long, default_value = "docs/RELIABILITY.md")]
        output: PathBuf,
    },
}

fn main() -> ExitCode {
    quiet_expected_panics();
    match run(Arguments::parse().part) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

/// A mapping that panics and a suite that fails are part of the runs: they are counted, not shown.
fn quiet_expected_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}

fn run(part: Part) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    match part {
        Part::Simulate { seeds, from, trace: true } => {
            let mut clean = true;
            for seed in from..from.saturating_add(seeds) {
                let finding = sim::simulate_kept(seed);
                finding.lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
                clean &= finding.outcome.violations.is_empty();
            }
            Ok(clean)
        }
        Part::Simulate { seeds, from, trace: false } => {
            let seeds = simulate(from, seeds);
            out.write_all(report::render_seeds(&seeds).as_bytes())?;
            tell_invalid(&seeds);
            Ok(seeds.is_valid())
        }
        Part::Matrix { case: Some(case), store, no_unique_key } => {
            let Some((broken, lines)) = report::one_case(&store, &case, !no_unique_key) else {
                tell("There is no such case; they are named PHASE/POINT/VISIT, such as Live/writer.after_send/1.");
                return Ok(false);
            };
            lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
            broken.iter().try_for_each(|violation| writeln!(out, "BROKEN {violation}"))?;
            Ok(broken.is_empty())
        }
        Part::Matrix { case: None, .. } => {
            let stores = report::stores(&tell);
            stores
                .iter()
                .try_for_each(|(store, matrix)| out.write_all(report::render_matrix(store, matrix).as_bytes()))?;
            Ok(stores.values().all(|matrix| matrix.whole().broken.is_empty()))
        }
        Part::Defects => {
            let kills = report::defects();
            out.write_all(report::render_kills(&kills).as_bytes())?;
            Ok(kills.iter().all(|kill| !kill.survived()))
        }
        Part::Model => {
            out.write_all(report::render_model(&protocol::truth_table()).as_bytes())?;
            Ok(true)
        }
        Part::Report { seeds, output } => {
            let command = format!("cargo run --release -p sync-testkit -- report --seeds {seeds}");
            let matrix = report::stores(&tell);
            let seeds = simulate(0, seeds);
            tell_invalid(&seeds);
            tell("planted defects");
            let kills = report::defects();
            tell("the model");
            let model = protocol::truth_table();
            let date = SystemClock::new().now().format("%Y-%m-%d").to_string();
            let report = Report { command, commit: commit(), date, matrix, seeds, kills, model };
            std::fs::write(&output, report::render(&report))?;
            writeln!(out, "{}", output.display())?;
            Ok(report.is_clean())
        }
    }
}

fn simulate(from: u64, count: u64) -> Seeds {
    let clock = SystemClock::new();
    let told = Mutex::new(Duration::ZERO);
    report::simulate(from, count, &|done| {
        let now = clock.monotonic();
        if let Ok(mut told) = told.lock()
            && (now.saturating_sub(*told) > Duration::from_secs(5) || done == count)
        {
            *told = now;
            tell(&format!("{done} of {count} seeds"));
        }
    })
}

fn tell_invalid(seeds: &Seeds) {
    for path in seeds.never_taken() {
        tell(&format!("never taken: {}", path.text()));
    }
    for fault in seeds.never_fired() {
        tell(&format!("never fired: {} {}", fault.id(), fault.what()));
    }
    for seed in seeds.broken.keys().take(20) {
        tell(&format!(
            "seed {seed} broke something: cargo run --release -p sync-testkit -- simulate --from {seed} --seeds 1 --trace"
        ));
    }
}

fn tell(what: &str) {
    let _ = writeln!(io::stderr(), "{what}");
}

/// The commit of the checkout, where there is one.
fn commit() -> Option<String> {
    let answer = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let text = String::from_utf8(answer.stdout).ok()?;
    answer.status.success().then(|| text.trim().to_owned())
}
