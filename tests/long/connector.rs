//! The connector as a process of its own, which can be killed: this very program, started once more.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use d365_campaign::{Config, Connector, RunMode};
use tokio::process::{Child, Command};

/// What it runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// The configuration.
    config: PathBuf,
    /// The workflow.
    workflow: String,
    /// Seconds that its clock is ahead.
    #[arg(long, default_value_t = 0)]
    ahead: u64,
}

/// Runs a workflow until nothing is left to be done.
pub(crate) async fn run(settings: &Settings) -> ExitCode {
    match attempt(settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            let _ = writeln!(io::stderr(), "{problem}");
            ExitCode::FAILURE
        }
    }
}

async fn attempt(settings: &Settings) -> Result<(), String> {
    let text = std::fs::read_to_string(&settings.config).map_err(|error| error.to_string())?;
    let folder = settings.config.parent().unwrap_or(Path::new("."));
    let config = Config::parse(&text, folder).map_err(|error| error.to_string())?;
    let clock = end_to_end_tests::clock_ahead(Duration::from_secs(settings.ahead));
    let connector = Connector::builder(config).clock(clock).connect().await.map_err(|error| error.to_string())?;
    let running = connector
        .start_only(std::slice::from_ref(&settings.workflow), RunMode::UntilIdle)
        .map_err(|error| error.to_string())?;
    let summary = running.join().await;
    let line = serde_json::to_string(&summary).map_err(|error| error.to_string())?;
    writeln!(io::stdout(), "{line}").map_err(|error| error.to_string())?;
    match summary.workflows.iter().find_map(|workflow| workflow.status.reason.as_ref()) {
        Some(reason) => Err(format!("{} {}", reason.message, reason.remedy)),
        None => Ok(()),
    }
}

/// Starts one with a clock that is ahead by so much. It ends with this process.
pub(crate) fn spawn(config: &Path, workflow: &str, ahead: Duration) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .arg("connector")
        .arg(config)
        .arg(workflow)
        .arg("--ahead")
        .arg(ahead.as_secs().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// The most memory that a process had so far, in bytes, where the system tells.
pub(crate) fn peak_memory(child: &Child) -> u64 {
    let Some(id) = child.id() else { return 0 };
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}
