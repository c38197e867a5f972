//! The sandbox program: prints where everything is as one line of JSON, and serves until SIGTERM or SIGINT.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use sandbox::dataverse::Limits;
use sandbox::scenario::Scenario;
use sandbox::{Sandbox, SandboxConfig};
use tokio::signal::unix::{SignalKind, signal};

/// Dynamics 365 (Dataverse) and Adobe Campaign Standard imitated over HTTP on loopback.
#[derive(Debug, Parser)]
#[command(name = "sandbox", version)]
struct Arguments {
    /// Address of Dataverse; port 0: a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    dataverse: SocketAddr,
    /// Address of Campaign and IMS.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    campaign: SocketAddr,
    /// Address of the events journal (not available yet).
    #[arg(long, value_name = "ADDR")]
    journal: Option<SocketAddr>,
    /// Address of the file exchange (not available yet).
    #[arg(long, value_name = "ADDR")]
    sftp: Option<SocketAddr>,
    /// Address of the control interface.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    control: SocketAddr,
    /// Seeded contacts.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    contacts: u64,
    /// Same seed, same data and same ids.
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,
    /// TOML file with tables, columns, resources, links, filters, row counts and switches.
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// https in place of http; the authority's certificate is written to DIR/ca.pem.
    #[arg(long, value_name = "DIR")]
    tls: Option<PathBuf>,
    /// Service protection limits: `real`, `off` or REQUESTS/SECONDS.
    #[arg(long, value_name = "LIMITS", default_value = "off", value_parser = limits)]
    limits: LimitChoice,
    /// Milliseconds before each answer, of Dataverse and of Campaign when one figure is given: D or D:C.
    #[arg(long, value_name = "D[:C]", default_value = "0", value_parser = latency)]
    latency_ms: Latency,
}

#[derive(Debug, Clone, Copy)]
struct LimitChoice(Option<Limits>);

#[derive(Debug, Clone, Copy)]
struct Latency(Duration, Duration);

fn limits(text: &str) -> Result<LimitChoice, String> {
    let figures = || {
        let (requests, seconds) = text.split_once('/')?;
        let (requests, seconds) = (requests.parse().ok()?, seconds.parse::<u64>().ok().filter(|s| *s > 0)?);
        Some(Limits::requests_in(requests, seconds))
    };
    match text {
        "off" => Ok(LimitChoice(None)),
        "real" => Ok(LimitChoice(Some(Limits::REAL))),
        _ => {
            figures().map(|limits| LimitChoice(Some(limits))).ok_or_else(|| "real, off or REQUESTS/SECONDS".to_owned())
        }
    }
}

fn latency(text: &str) -> Result<Latency, String> {
    let millis =
        |text: &str| text.parse().map(Duration::from_millis).map_err(|_| "D or D:C in milliseconds".to_owned());
    let (dataverse, campaign) = text.split_once(':').unwrap_or((text, text));
    Ok(Latency(millis(dataverse)?, millis(campaign)?))
}

async fn run(arguments: Arguments) -> Result<(), String> {
    for (given, name) in [(arguments.journal.is_some(), "--journal"), (arguments.sftp.is_some(), "--sftp")] {
        if given {
            return Err(format!("{name}: not available yet"));
        }
    }
    let scenario = arguments.scenario.as_deref().map(Scenario::read).transpose().map_err(|e| e.to_string())?;
    // Before anything listens, so that no signal of an impatient parent is lost.
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| e.to_string())?;
    let config = SandboxConfig {
        dataverse: arguments.dataverse,
        campaign: arguments.campaign,
        control: arguments.control,
        contacts: arguments.contacts,
        seed: arguments.seed,
        scenario: scenario.unwrap_or_default(),
        limits: arguments.limits.0,
        dataverse_latency: arguments.latency_ms.0,
        campaign_latency: arguments.latency_ms.1,
        tls: arguments.tls,
    };
    let sandbox = tokio::select! {
        started = Sandbox::start(config) => started.map_err(|e| e.to_string())?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let mut line = sandbox.info().to_json().to_string();
    line.push('\n');
    let mut output = std::io::stdout().lock();
    output.write_all(line.as_bytes()).and_then(|()| output.flush()).map_err(|e| e.to_string())?;
    drop(output);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    sandbox.shutdown().await;
    Ok(())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no runtime");
            return ExitCode::from(1);
        }
    };
    let done = runtime.block_on(run(arguments));
    // A request that hangs, or seeding under way, does not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            let _ = writeln!(std::io::stderr(), "sandbox: {problem}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_figure_is_for_both_and_two_are_for_each() {
        let read = |text: &str| latency(text).ok().map(|found| (found.0.as_millis(), found.1.as_millis()));
        assert_eq!(read("5"), Some((5, 5)));
        assert_eq!(read("5:7"), Some((5, 7)));
        assert_eq!(read("0:7"), Some((0, 7)));
        assert!(["", "x", "5:", ":7", "-1", "1:2:3"].iter().all(|wrong| read(wrong).is_none()));
    }
}
