//! The sandbox program: prints where everything is as one line of JSON, and serves until SIGTERM or SIGINT.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, Sender};
use std::time::Duration;

use clap::Parser;
use sandbox::dataverse::Limits;
use sandbox::scenario::Scenario;
use sandbox::{Sandbox, SandboxConfig};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

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
    /// Address of the events journal.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    journal: SocketAddr,
    /// Address of the file exchange.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    sftp: SocketAddr,
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

async fn run(arguments: Arguments, stop: CancellationToken) -> Result<(), String> {
    let scenario = arguments.scenario.as_deref().map(Scenario::read).transpose().map_err(|e| e.to_string())?;
    let config = SandboxConfig {
        dataverse: arguments.dataverse,
        campaign: arguments.campaign,
        journal: arguments.journal,
        sftp: arguments.sftp,
        control: arguments.control,
        contacts: arguments.contacts,
        seed: arguments.seed,
        scenario: scenario.unwrap_or_default(),
        limits: arguments.limits.0,
        dataverse_latency: arguments.latency_ms.0,
        campaign_latency: arguments.latency_ms.1,
        tls: arguments.tls,
        ..SandboxConfig::default()
    };
    let sandbox = tokio::select! {
        started = Sandbox::start(config) => started.map_err(|e| e.to_string())?,
        () = stop.cancelled() => return Ok(()),
    };
    let mut line = sandbox.info().to_json().to_string();
    line.push('\n');
    let mut output = std::io::stdout().lock();
    output.write_all(line.as_bytes()).and_then(|()| output.flush()).map_err(|e| e.to_string())?;
    drop(output);
    stop.cancelled().await;
    sandbox.shutdown().await;
    Ok(())
}

/// How long the end may take in good order; then the process goes as it is.
const PATIENCE: Duration = Duration::from_secs(3);

/// Waits for SIGTERM and SIGINT on a thread of its own, with a runtime of its own: a worker that stalls, or all of them, keeps
/// nobody from hearing the signal, and the process ends in time even so. Returns when the signals are caught, before anything
/// listens, so that none of an impatient parent is lost. The sender that comes back says that the end was reached.
fn guard(stop: CancellationToken) -> Result<Sender<()>, String> {
    let (reached, end) = std::sync::mpsc::channel();
    let (ready, caught) = std::sync::mpsc::channel();
    let watch = move || {
        let signals = || -> std::io::Result<_> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let within = runtime.enter();
            let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            drop(within);
            Ok((runtime, terminate, interrupt))
        };
        let (runtime, mut terminate, mut interrupt) = match signals() {
            Ok(signals) => signals,
            Err(error) => {
                let _ = ready.send(Err(error.to_string()));
                return;
            }
        };
        let _ = ready.send(Ok(()));
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        stop.cancel();
        if end.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            std::process::exit(0);
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(watch).map_err(|e| e.to_string())?;
    caught.recv().map_err(|e| e.to_string())??;
    Ok(reached)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let stop = CancellationToken::new();
    let runtime = tokio::runtime::Runtime::new().map_err(|e| e.to_string());
    let (runtime, reached) = match (runtime, guard(stop.clone())) {
        (Ok(runtime), Ok(reached)) => (runtime, reached),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "no runtime");
            return ExitCode::from(1);
        }
    };
    let done = runtime.block_on(run(arguments, stop));
    // A request that hangs, or seeding under way, does not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    drop(reached);
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
