//! Email events: the tables of their activities, and the journal they are read from.

use campaign_client::{JournalConfig, JournalRead, JournalStart};
use d365_client::D365Client;
use timing::SharedClock;

use super::findings::Findings;
use super::name::Name;
use crate::config::{Config, EventSource};
use crate::connect::Clients;
use crate::error::Problem;
use crate::workflows::egress::{JournalParts, Timeline};

/// The tables of the kinds that are switched on.
pub(super) async fn activities(config: &Config, client: &D365Client) -> Findings {
    let mut findings = Findings::default();
    let loaded = Timeline::load(&config.events, client).await;
    let timeline = match loaded {
        Ok(timeline) => timeline,
        Err(problems) => {
            // A table that is missing has no columns to look at; those of the others are in order unless complained about.
            findings.good(Name::ActivityTables, "");
            if !problems.iter().any(|problem| problem.check == Some(Name::ActivityTables)) {
                findings.good(Name::ActivityColumns, "");
                findings.good(Name::ActivityRegarding, "");
            }
            for problem in problems {
                findings.fault(Name::ActivityTables, problem);
            }
            return findings;
        }
    };
    for (table, many) in timeline.tables() {
        for name in [Name::ActivityTables, Name::ActivityColumns, Name::ActivityRegarding] {
            findings.good(name, format!("{table}."));
        }
        findings.good(Name::ActivityBulk, format!("{table}: many rows in one request."));
        if !many {
            let problem = Problem::new(
                "events.activities",
                format!("The table {table} takes rows one by one only: as right, and slower."),
                "Let the application user read the table sdkmessagefilter; tables that take no UpsertMultiple stay slow.",
            );
            findings.warning(Name::ActivityBulk, problem);
        }
    }
    findings
}

/// The oldest page of the journal.
pub(super) async fn journal(config: &Config, clients: &Clients, clock: &SharedClock) -> Findings {
    let mut findings = Findings::default();
    let url = config.events.sources().find_map(|source| match source {
        EventSource::Journal { url } => Some(url),
        EventSource::Export { .. } => None,
    });
    let Some(url) = url else { return findings };
    let parts = JournalParts {
        campaign: clients.campaign_settings.clone(),
        client: clients.campaign.clone(),
        transport: clients.campaign_wire.clone(),
        clock: clock.clone(),
    };
    let reader = match parts.reader(JournalConfig::new(url.as_str(), config.campaign.org_id.as_str())) {
        Ok(reader) => reader,
        Err(problem) => {
            findings.fault(Name::JournalReadable, problem);
            return findings;
        }
    };
    let place = "events.source.journal";
    let answer = reader.read(&JournalStart::Oldest).await;
    match answer {
        Ok(JournalRead::Page(page)) => {
            findings.good(Name::JournalReachable, "");
            findings.good(Name::JournalReadable, format!("The oldest page has {} events.", page.events.len()));
        }
        Ok(JournalRead::End { .. }) => {
            findings.good(Name::JournalReachable, "");
            findings.good(Name::JournalReadable, "It is empty.");
        }
        Ok(_) => {
            findings.good(Name::JournalReachable, "");
            let message = "The journal says of its oldest event that it is no longer kept.";
            findings.fault(
                Name::JournalReadable,
                Problem::new(place, message, "Ask again; if it repeats, look at the registration."),
            );
        }
        Err(error) if error.is_transient() => {
            let remedy = "Check the host in events.source.journal, the network and the proxy.";
            findings.fault(Name::JournalReachable, Problem::new(place, format!("The journal: {error}."), remedy));
        }
        Err(error) => {
            findings.good(Name::JournalReachable, "");
            let remedy = format!(
                "Copy the journal's URL of the registration in the Adobe Developer Console again; {}.",
                error.remedy().trim_end_matches('.')
            );
            findings.fault(Name::JournalReadable, Problem::new(place, format!("The journal: {error}."), remedy));
        }
    }
    findings
}
