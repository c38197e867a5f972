//! The long forms of the end-to-end tests: sizes and seeds are arguments, and a difference ends in failure.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

mod connector;
mod events;
mod links;
mod optout;
mod page;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};
use timing::{Clock, SystemClock};

#[derive(Parser)]
#[command(name = "long", about = "Tests the flows at length, against the sandbox in this process")]
struct Arguments {
    /// Writes the result into its section of this page, too.
    #[arg(long, global = true, value_name = "FILE")]
    page: Option<PathBuf>,
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    /// Email events become activities, each once, while the connector is killed and the services fail.
    Events(events::Size),
    /// Linked rows are created, changed and deleted in random order.
    Links(links::Size),
    /// Opt-outs on both sides, seed after seed, while the services fail and the connector is stopped and cut off.
    Optout(optout::Size),
    /// The connector as a process of its own.
    #[command(hide = true)]
    Connector(connector::Settings),
}

/// What a run came to.
struct Verdict {
    /// The heading of its section.
    title: &'static str,
    /// The whole section, with figures.
    text: String,
    /// What was not as it has to be.
    broken: Vec<String>,
}

/// So many differences are shown.
const SHOWN: usize = 20;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let verdict = runtime.block_on(async {
        match arguments.part {
            Part::Events(size) => Ok(events::run(&size).await),
            Part::Links(size) => Ok(links::run(&size).await),
            Part::Optout(size) => Ok(optout::run(&size).await),
            Part::Connector(settings) => Err(connector::run(&settings).await),
        }
    });
    match verdict {
        Ok(verdict) => tell(&verdict, arguments.page.as_deref()).unwrap(),
        Err(code) => code,
    }
}

fn tell(verdict: &Verdict, page: Option<&std::path::Path>) -> io::Result<ExitCode> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let commit = commit().map_or_else(String::new, |commit| format!(", from commit {commit}"));
    let text = format!(
        "Written by `cargo run{} -p end-to-end-tests --bin long -- {}` on {}{commit}.\n\n{}",
        if cfg!(debug_assertions) { "" } else { " --release" },
        given.join(" "),
        SystemClock::new().now().format("%Y-%m-%d"),
        verdict.text,
    );
    writeln!(io::stdout(), "## {}\n\n{text}", verdict.title)?;
    for line in verdict.broken.iter().take(SHOWN) {
        writeln!(io::stderr(), "BROKEN {line}")?;
    }
    if let Some(page) = page {
        page::write_section(page, verdict.title, &text)?;
    }
    Ok(if verdict.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The commit of the checkout, where there is one.
fn commit() -> Option<String> {
    let answer = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let text = String::from_utf8(answer.stdout).ok()?;
    answer.status.success().then(|| text.trim().to_owned())
}
