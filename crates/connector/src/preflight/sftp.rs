//! The file exchange: its host, its key, the user, and every folder that is read.

use std::sync::Arc;

use campaign_client::exchange::{Exchange, ExchangeError, ExchangeErrorKind, Folder};
use timing::SystemClock;

use super::findings::Findings;
use super::name::Name;
use crate::adapters::exports::opt_outs::OptOutRows;
use crate::adapters::exports::{self, source::ExportSource};
use crate::config::{Config, EventSource, ExportFiles, OptOutSource, SftpConfig};
use crate::error::Problem;

/// The steps of a connection, in their order.
const STEPS: [Name; 3] = [Name::SftpReachable, Name::SftpHostKey, Name::SftpUser];

/// Where the files of opt-outs stand in the configuration.
const OPT_OUTS: &str = "opt_out.source.export";

/// Connects as a run does, and lists the folders.
pub(super) async fn look(config: &Config) -> Findings {
    let mut findings = Findings::default();
    let Some(sftp) = &config.sftp else { return findings };
    let connected = match exports::exchange(sftp) {
        Ok(settings) => Exchange::connect(settings).await.map_err(|error| refused(&error)),
        Err(problem) => Err(problem.found_by(Name::SftpUser)),
    };
    let failed = connected.as_ref().err().and_then(|problem| problem.check);
    for step in STEPS.iter().take_while(|step| Some(**step) != failed) {
        findings.good(*step, "");
    }
    let exchange = match connected {
        Ok(exchange) => exchange,
        Err(problem) => {
            findings.fault(Name::SftpReachable, problem);
            return findings;
        }
    };
    for (place, files) in folders(config) {
        let listed = match Folder::new(files.folder.clone()) {
            Ok(folder) => exchange.list(&folder).await,
            Err(error) => Err(error),
        };
        findings.good(Name::SftpFolders, format!("{}.", files.folder));
        if let Err(error) = listed {
            let remedy = "Write the folder as the extract activity in Campaign names it, and let the user list it.";
            let problem = Problem::new(format!("{place}.folder"), format!("{}: {error}.", files.folder), remedy);
            findings.fault(Name::SftpFolders, problem);
        } else if place == OPT_OUTS {
            findings.merge(opt_outs(sftp, files, &exchange).await);
        }
    }
    exchange.close().await;
    findings
}

/// The folders that are read, each with its place in the configuration.
fn folders(config: &Config) -> Vec<(&'static str, &ExportFiles)> {
    let events = &config.events;
    let opt_out = &config.opt_out;
    let all = [
        ("events.source.export", events.source.as_ref().filter(|_| events.is_on())),
        ("events.fill_gaps_from.export", events.fill_gaps_from.as_ref().filter(|_| events.is_on())),
    ];
    let logs = all.into_iter().filter_map(|(place, source)| match source? {
        EventSource::Export { files, .. } => Some((place, files.as_ref())),
        EventSource::Journal { .. } => None,
    });
    let of_opt_outs = match &opt_out.source {
        Some(OptOutSource::Export { files }) if opt_out.direction.reads_campaign() => Some((OPT_OUTS, files)),
        _ => None,
    };
    logs.chain(of_opt_outs).collect()
}

/// Whether the newest file of opt-outs has the columns that are looked for.
async fn opt_outs(sftp: &SftpConfig, files: &ExportFiles, exchange: &Exchange) -> Findings {
    let mut findings = Findings::default();
    let clock = SystemClock::shared();
    let layout = Arc::new(OptOutRows::new(files, clock.clone()));
    let newest = match ExportSource::new(sftp, files, OPT_OUTS, layout, clock) {
        Ok(source) => source.newest_header(exchange).await,
        Err(problem) => {
            findings.fault(Name::OptOutFiles, problem);
            return findings;
        }
    };
    findings.good(
        Name::OptOutFiles,
        match &newest {
            Ok(Some(name)) => format!("{name} has the columns."),
            _ => "No file is there yet.".to_owned(),
        },
    );
    if let Err(error) = newest {
        let problem = Problem::new(OPT_OUTS, format!("The newest file: {error}."), error.remedy());
        findings.fault(Name::OptOutFiles, problem);
    }
    findings
}

fn refused(error: &ExchangeError) -> Problem {
    use ExchangeErrorKind as Kind;
    let (place, check) = match error.kind() {
        Kind::HostKey => ("sftp.host_key", Name::SftpHostKey),
        Kind::PrivateKey => ("sftp.private_key", Name::SftpUser),
        Kind::Authentication | Kind::Permission => ("sftp.user", Name::SftpUser),
        _ => ("sftp.host", Name::SftpReachable),
    };
    Problem::new(place, format!("The file exchange: {error}."), error.remedy()).found_by(check)
}
