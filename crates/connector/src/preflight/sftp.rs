//! The file exchange: its host, its key, the user, and every folder that is read.

use campaign_client::exchange::{Exchange, ExchangeError, ExchangeErrorKind, Folder};

use super::findings::Findings;
use super::name::Name;
use crate::adapters::exports;
use crate::config::{Config, EventSource};
use crate::error::Problem;

/// The steps of a connection, in their order.
const STEPS: [Name; 3] = [Name::SftpReachable, Name::SftpHostKey, Name::SftpUser];

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
    for source in config.events.sources() {
        let EventSource::Export { files, .. } = source else { continue };
        let listed = match Folder::new(files.folder.clone()) {
            Ok(folder) => exchange.list(&folder).await,
            Err(error) => Err(error),
        };
        findings.good(Name::SftpFolders, format!("{}.", files.folder));
        if let Err(error) = listed {
            let remedy = "Write the folder as the extract activity in Campaign names it, and let the user list it.";
            let problem = Problem::new("events.source.export.folder", format!("{}: {error}.", files.folder), remedy);
            findings.fault(Name::SftpFolders, problem);
        }
    }
    exchange.close().await;
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
