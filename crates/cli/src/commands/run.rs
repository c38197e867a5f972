use std::path::PathBuf;
use std::sync::Arc;

use d365_campaign::{Config, Connector, LogBuffer, RunMode, RunSummary, WorkflowState};

use crate::exit::Exit;
use crate::progress::Progress;
use crate::signals::{Signal, Signals};
use crate::{Format, output};

/// Runs the workflows.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Which workflow to run; every one that is configured when absent.
    #[arg(long, value_name = "NAME", value_parser = ["ingress", "egress", "opt-in-out"])]
    workflow: Vec<String>,
    /// Ends once every source has no change left and the backlog is empty.
    #[arg(long)]
    until_idle: bool,
}

/// `logs` gets what the log holds, for the file exchange.
pub(crate) async fn run(arguments: Run, format: Format, logs: LogBuffer) -> Exit {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return Exit::failed(&format!("Signals cannot be received: {error}.")),
    };
    let config = match Config::load_with_references(&arguments.config) {
        Ok(config) => config,
        Err(error) => return Exit::from_error(&error),
    };
    let progress = Arc::new(Progress::new(format));
    let connecting = Connector::builder(config).observer(progress.clone()).logs(logs).connect();
    let connector = tokio::select! {
        connected = connecting => match connected {
            Ok(connector) => connector,
            Err(error) => return Exit::from_error(&error),
        },
        signal = signals.next() => return Exit::code(stopped(signal)),
    };
    for warning in connector.warnings() {
        progress.note(warning);
    }
    let mode = if arguments.until_idle { RunMode::UntilIdle } else { RunMode::Continuous };
    let started = if arguments.workflow.is_empty() {
        Ok(connector.start(mode))
    } else {
        connector.start_only(&arguments.workflow, mode)
    };
    let running = match started {
        Ok(running) => running,
        Err(error) => return Exit::from_error(&error),
    };
    let mut signal = None;
    let stop = running.stopper();
    let joined = running.join();
    tokio::pin!(joined);
    let summary = loop {
        tokio::select! {
            summary = &mut joined => break summary,
            received = signals.next(), if signal.is_none() => {
                signal = Some(received);
                progress.note("stopping: requests in flight are finished first");
                stop.stop();
            }
        }
    };
    progress.finish();
    report(&summary, format);
    finish(&summary, signal).summarised()
}

fn stopped(signal: Signal) -> u8 {
    match signal {
        Signal::Terminate => Exit::DONE,
        Signal::Interrupt => Exit::INTERRUPTED,
    }
}

fn finish(summary: &RunSummary, signal: Option<Signal>) -> Exit {
    let failed = summary.workflows.iter().find(|workflow| workflow.status.status == WorkflowState::Failed);
    if let Some(workflow) = failed {
        let message = match &workflow.status.reason {
            Some(reason) => {
                format!("The workflow {} failed: {} Remedy: {}", workflow.workflow, reason.message, reason.remedy)
            }
            None => format!("The workflow {} failed.", workflow.workflow),
        };
        return Exit::failed(&message);
    }
    if let Some(signal) = signal {
        return Exit::code(stopped(signal));
    }
    let dead = summary.total().dead;
    if dead > 0 {
        return Exit::with_message(
            Exit::DEAD_LETTERS,
            &format!("{dead} records could not be written; `d365-campaign dead-letters list` says why."),
        );
    }
    Exit::code(Exit::DONE)
}

fn report(summary: &RunSummary, format: Format) {
    match format {
        Format::Json => output::summary(summary),
        Format::Text => output::line(&text(summary)),
    }
}

fn text(summary: &RunSummary) -> String {
    let mut rows = Vec::new();
    for workflow in &summary.workflows {
        for table in &workflow.tables {
            let t = table.tally;
            let mut row = vec![format!("{} -> {}", table.table, table.resource)];
            row.extend(
                [t.read, t.inserted, t.updated, t.deleted, t.unchanged, t.filtered, t.superseded, t.ignored, t.dead]
                    .map(|count| count.to_string()),
            );
            rows.push(row);
        }
    }
    let header =
        ["table", "read", "inserted", "updated", "deleted", "unchanged", "filtered", "superseded", "ignored", "dead"];
    format!(
        "{}\nrequests: dataverse {}, campaign {}; set-up: dataverse {}, campaign {}; {:.1} s",
        output::table(&header, &rows),
        summary.requests.dataverse,
        summary.requests.campaign,
        summary.setup_requests.dataverse,
        summary.setup_requests.campaign,
        summary.elapsed_ms as f64 / 1000.0,
    )
}
