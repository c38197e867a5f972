//! Whether both services answer this configuration: one question to each tells most of it.

use campaign_client::CampaignClient;
use d365_client::D365Client;

use super::findings::Findings;
use super::name::Name;
use crate::adapters::kept;
use crate::config::{Config, Direction};
use crate::connect::{self, Clients};
use crate::control;
use crate::error::{Error, Problem};
use crate::trouble;

pub(super) async fn dataverse(config: &Config, client: &D365Client) -> Findings {
    let answer = client.who_am_i().await.map_err(|error| trouble::dataverse(&config.dataverse, error));
    let messages = match &answer {
        Ok(who) => format!("It is user {} of organisation {}.", who.user_id, who.organization_id),
        Err(_) => String::new(),
    };
    let organization = answer.as_ref().ok().map(|who| who.organization_id.to_string());
    let mut findings = chain(&Name::OF_DATAVERSE, answer.err(), &messages);
    if let Some(organization) = organization {
        findings.merge(same_organization(config, &organization).await);
    }
    findings
}

/// Whether the store, where there is one that can be read, is of this organisation.
async fn same_organization(config: &Config, organization: &str) -> Findings {
    let mut findings = Findings::default();
    let made_for = if config.store.sqlite.exists() {
        // What is wrong with a store is told by its own check.
        let Ok(store) = control::open(config) else { return findings };
        kept::organization(&store).await.ok().flatten()
    } else {
        None
    };
    findings.good(Name::SameOrganization, if made_for.is_some() { "" } else { "The store knows of none yet." });
    if let Some(problem) = connect::foreign(config, made_for.as_deref(), organization) {
        findings.fault(Name::SameOrganization, problem);
    }
    findings
}

pub(super) async fn campaign(config: &Config, client: &CampaignClient) -> Findings {
    let answer = client.find_resource("profile").await.map_err(|error| trouble::campaign(&config.campaign, error));
    chain(&Name::OF_CAMPAIGN, answer.err(), "The profile is published.")
}

/// A clock that is off by more than this.
const SKEW_SECONDS: i64 = 300;

/// By so much the clocks of the services may differ where a later change wins: they name their time in seconds, and on its way.
const APART_SECONDS: i64 = 10;

/// This machine's clock beside those of the services that answered, and theirs beside each other.
pub(super) fn clocks(config: &Config, clients: &Clients) -> Findings {
    let mut findings = Findings::default();
    let sides = [
        ("Dynamics 365", "dataverse.url", &config.dataverse.url, &clients.dataverse_wire),
        ("Campaign", "campaign.url", &config.campaign.url, &clients.campaign_wire),
    ];
    for (side, place, url, wire) in sides {
        let Some(ahead) = wire.ahead_seconds() else { continue };
        findings.good(Name::ClockSkew, format!("{side} is {} s {}.", ahead.abs(), word(ahead)));
        if ahead.abs() > SKEW_SECONDS {
            let host = url.host_str().unwrap_or_default();
            let message =
                format!("The clock of {side} ({host}) is {} s {} of this machine's.", ahead.abs(), word(ahead));
            let remedy =
                "Let this machine keep its clock by a time server: tokens and the ages of what was read go by it.";
            findings.fault(Name::ClockSkew, Problem::new(place, message, remedy));
        }
    }
    if let (Direction::Bidirectional, Some(dataverse), Some(campaign)) =
        (config.opt_out.direction, clients.dataverse_wire.ahead_seconds(), clients.campaign_wire.ahead_seconds())
    {
        let ahead = campaign - dataverse;
        if ahead.abs() > APART_SECONDS {
            let message = format!(
                "The clock of Campaign is {} s {} of that of Dynamics 365, and of two changes of an opt-out the later one counts.",
                ahead.abs(),
                word(ahead)
            );
            let remedy = "Ask the makers of the services which of them is right; until then, look at opt-outs that changed on both \
                          sides within that time.";
            findings.warning(Name::ClockSkew, Problem::new("opt_out.direction", message, remedy));
        }
    }
    findings
}

fn word(ahead: i64) -> &'static str {
    if ahead < 0 { "behind" } else { "ahead" }
}

/// One question passes the steps in their order: those before the one at which it failed are in order, and nothing is known of
/// those behind it.
fn chain(steps: &[Name], error: Option<Error>, end: &str) -> Findings {
    let mut findings = Findings::default();
    let Some(last) = steps.last().copied() else { return findings };
    let failed = error.as_ref().map(|error| error.problems().iter().find_map(|problem| problem.check).unwrap_or(last));
    for step in steps.iter().take_while(|step| Some(**step) != failed) {
        findings.good(*step, if *step == last { end } else { "" });
    }
    for problem in error.iter().flat_map(Error::problems) {
        findings.fault(last, problem.clone());
    }
    findings
}

pub(super) async fn organization(client: &D365Client) -> Findings {
    let mut findings = Findings::default();
    match connect::retention(client).await {
        (Some(retention), _) => {
            let days = retention.as_secs() / (24 * 3600);
            findings.good(Name::OrganizationReadable, format!("Changes are served for {days} days."));
        }
        (None, warning) => {
            let problem = Problem::new(
                "dataverse",
                format!("{}.", warning.unwrap_or_default()),
                "Give the application user read access to the table organization.",
            );
            findings.warning(Name::OrganizationReadable, problem);
        }
    }
    findings
}
