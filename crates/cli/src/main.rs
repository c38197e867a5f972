//! `d365-campaign`: the operator's command.

mod commands;
mod exit;
mod output;
mod progress;
mod signals;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use d365_campaign::LogBuffer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::exit::Exit;

/// Keeps Dynamics 365 and Adobe Campaign Standard in step.
#[derive(Debug, Parser)]
#[command(name = "d365-campaign", version, propagate_version = true)]
struct Arguments {
    /// How to answer: text for people, json (one object a line, the last one the summary) for programs.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(subcommand)]
    command: Command,
}

/// How to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people; progress bars on a terminal.
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes a commented configuration to start from.
    Init(commands::init::Init),
    /// Checks configuration, credentials, tables, columns and keys of both sides; writes nothing.
    Preflight(ConfigArgument),
    /// Runs the workflows until stopped, or until everything is in step.
    Run(commands::run::Run),
    /// Shows workflows, status, backlog and the last error; works beside a running process.
    Status(ConfigArgument),
    /// Has all records of a table written again: with the next start of the workflow, or at once.
    Replay(commands::replay::Replay),
    /// Shows the values of one record on their way, and what would be written for it; writes nothing.
    Preview(commands::preview::OneRecord),
    /// Shows what is recorded of one record; asks no service, and works beside a running process.
    Explain(commands::preview::OneRecord),
    /// Lists records that could not be written, has them tried again, or has them forgotten.
    #[command(subcommand)]
    DeadLetters(commands::dead_letters::DeadLetters),
    /// Asks the consent ledger whether a contact may be reached, verifies it, or marks persons as erased.
    #[command(subcommand)]
    Consent(commands::consent::Consent),
}

/// Where the configuration is.
#[derive(Debug, clap::Args)]
struct ConfigArgument {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Reads the arguments; a mistake in them ends with a summary too, where one was asked for.
fn arguments() -> Result<Arguments, ExitCode> {
    let error = match Arguments::try_parse() {
        Ok(arguments) => return Ok(arguments),
        Err(error) => error,
    };
    // Nobody is left to tell when the message itself cannot be written.
    let _ = error.print();
    if !error.use_stderr() {
        return Err(ExitCode::SUCCESS);
    }
    let mut given = std::env::args().skip_while(|argument| argument != "--format" && argument != "--format=json");
    if given.next().is_some_and(|first| first == "--format=json" || given.next().as_deref() == Some("json")) {
        output::json(&serde_json::json!({
            "event": "summary", "exit_code": Exit::USAGE, "problems": [{ "message": error.kind().to_string() }],
        }));
    }
    Err(ExitCode::from(Exit::USAGE))
}

/// What of the log is never exported: each export would make the next one longer.
const OF_THE_EXPORT: [&str; 2] = ["russh=warn", "russh_sftp=warn"];

/// Standard error gets the log; so does the file exchange, where that is wanted.
fn log_to(logs: LogBuffer) {
    let filter = |unless: &str| EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(unless));
    // Colours are for eyes: files and collectors get none.
    let shown = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let exported = fmt::layer().with_writer(move || logs.clone()).with_ansi(false);
    tracing_subscriber::registry()
        .with(shown.with_filter(filter("warn")))
        .with(exported.with_filter(exported_of(filter("info"))))
        .init();
}

fn exported_of(filter: EnvFilter) -> EnvFilter {
    OF_THE_EXPORT.iter().filter_map(|directive| directive.parse().ok()).fold(filter, EnvFilter::add_directive)
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    // A mapping that fails on a record would show its values.
    d365_campaign::hide_panic_messages();
    let logs = LogBuffer::new();
    log_to(logs.clone());
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return Exit::failed(&format!("The asynchronous runtime cannot start: {error}.")).finish(arguments.format);
        }
    };
    let format = arguments.format;
    let exit = runtime.block_on(async move {
        match arguments.command {
            Command::Init(init) => commands::init::run(init, format).await,
            Command::Preflight(at) => commands::preflight::run(&at.config, format).await,
            Command::Run(run) => commands::run::run(run, format, logs).await,
            Command::Status(at) => commands::status::run(&at.config, format).await,
            Command::Replay(replay) => commands::replay::run(replay, format).await,
            Command::Preview(of) => commands::preview::run(of, format).await,
            Command::Explain(of) => commands::explain::run(of, format).await,
            Command::DeadLetters(command) => commands::dead_letters::run(command, format).await,
            Command::Consent(command) => commands::consent::run(command, format).await,
        }
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    exit.finish(format)
}
