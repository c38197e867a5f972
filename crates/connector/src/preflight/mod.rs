//! Looks for whatever would make a run fail or do the wrong thing, before anything is written: every check with its remedy.
//!
//! The questions are those that a run asks at its start, asked by the same code, so that both agree. All of them only read.

mod findings;
mod mappings;
mod name;
mod opt_out;
mod privileges;
mod services;
#[cfg(feature = "exchange")]
mod sftp;
mod store;
mod timeline;

use timing::SystemClock;

pub use findings::{Check, Report, Status};
pub(crate) use name::Name;
pub use name::Side;

use self::findings::Findings;
use crate::config::Config;
use crate::connect::{self, Clients};
use crate::error::{Error, ErrorKind, Problem};

/// Makes every check that the configuration asks for; those that do not need each other at the same time.
///
/// Nothing is written, neither to a service nor to the store. A service that is away is a failed check, after the usual
/// repetitions.
///
/// # Errors
/// [`ErrorKind::Configuration`] when secrets or certificates cannot be read, or clients cannot be built of the configuration: no
/// check is made then.
///
/// # Cancellation safety
/// Dropping the future leaves nothing behind.
pub async fn preflight(config: &Config) -> Result<Report, Error> {
    let clock = SystemClock::shared();
    let prepared = connect::prepare(config)?;
    let clients = connect::clients(config, &prepared, &clock)?;
    let mut findings = store::look(config);
    findings.merge(opt_out::unasked(config));
    let dataverse = Box::pin(services::dataverse(config, &clients.dataverse));
    let campaign = Box::pin(services::campaign(config, &clients.campaign));
    #[cfg(feature = "exchange")]
    let exchange = Box::pin(sftp::look(config));
    #[cfg(not(feature = "exchange"))]
    let exchange = std::future::ready(Findings::default());
    let (dataverse, campaign, exchange) = tokio::join!(dataverse, campaign, exchange);
    findings.merge(services::clocks(config, &clients));
    findings.merge(exchange);
    findings.merge(dataverse);
    findings.merge(campaign);
    let dataverse = findings.passed(Name::DataverseApplicationUser);
    let campaign = findings.passed(Name::ExtApiPublished);
    let token = findings.passed(Name::CampaignCredentials);
    let (organization, privileges, mappings, workflow, activities, journal) = tokio::join!(
        when(dataverse, Box::pin(services::organization(&clients.dataverse))),
        when(dataverse, Box::pin(privileges::look(config, &clients.dataverse))),
        when(dataverse && campaign, Box::pin(mappings(config, &clients))),
        when(campaign, Box::pin(opt_out::workflow(config, &clients.campaign))),
        when(dataverse && config.events.is_on(), Box::pin(timeline::activities(config, &clients.dataverse))),
        when(token && config.events.is_on(), Box::pin(timeline::journal(config, &clients, &clock))),
    );
    for found in [organization, privileges, mappings, workflow, activities, journal] {
        findings.merge(found);
    }
    Ok(findings.report())
}

/// The opt-outs, and the tables whose new rows carry them.
async fn mappings(config: &Config, clients: &Clients) -> Findings {
    let (mut findings, pairs) = opt_out::preferences(config, clients).await;
    findings.merge(mappings::look(config, clients, &pairs).await);
    findings
}

/// What a look finds that can be taken; nothing otherwise.
async fn when(possible: bool, look: impl Future<Output = Findings>) -> Findings {
    if possible { look.await } else { Findings::default() }
}

/// The problems of a report as the error that a command ends with.
impl From<&Report> for Error {
    fn from(report: &Report) -> Self {
        let problems: Vec<Problem> = report.problems().cloned().collect();
        Self::new(ErrorKind::Refused, problems)
    }
}
