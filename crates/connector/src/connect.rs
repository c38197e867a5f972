//! From a configuration to clients, store and compiled mappings; every problem with its place and remedy.

use campaign_client::CampaignClient;
use d365_client::D365Client;
use secrecy::SecretString;
use timing::SharedClock;

use crate::config::Config;
use crate::error::{Error, ErrorKind, Problem};
use crate::workflows::ingress::{self, MappedTable};

/// Both services, asked and found in order.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) dataverse: D365Client,
    pub(crate) campaign: CampaignClient,
    pub(crate) tables: Vec<MappedTable>,
    pub(crate) checks: Vec<String>,
}

/// What is read before any service is asked.
pub(crate) struct Prepared {
    dataverse_secret: SecretString,
    campaign_secret: SecretString,
    ca_pem: Option<Vec<u8>>,
}

/// Reads secrets and certificates.
pub(crate) fn prepare(config: &Config) -> Result<Prepared, Error> {
    let mut problems = Vec::new();
    let mut keep = |result: Result<SecretString, Problem>| match result {
        Ok(secret) => Some(secret),
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    let dataverse = keep(config.dataverse.client_secret.read("dataverse.client_secret"));
    let campaign = keep(config.campaign.client_secret.read("campaign.client_secret"));
    let ca_pem = match config.tls.ca_file.as_ref().map(|file| (file, std::fs::read(file))) {
        None => None,
        Some((_, Ok(pem))) => Some(pem),
        Some((file, Err(error))) => {
            problems.push(Problem::new(
                "tls.ca_file",
                format!("The certificates in {} cannot be read: {}.", file.display(), error.kind()),
                "Name a readable PEM file.",
            ));
            None
        }
    };
    match (dataverse, campaign) {
        (Some(dataverse_secret), Some(campaign_secret)) if problems.is_empty() => {
            Ok(Prepared { dataverse_secret, campaign_secret, ca_pem })
        }
        _ => Err(Error::new(ErrorKind::Configuration, problems)),
    }
}

/// Builds both clients, proves their credentials, and compiles every mapping against the schemas of both sides.
pub(crate) async fn services(config: &Config, prepared: Prepared, clock: &SharedClock) -> Result<Services, Error> {
    let dataverse = dataverse_client(config, &prepared, clock)?;
    let campaign = campaign_client(config, &prepared, clock)?;
    let mut checks = Vec::new();
    let who = dataverse.who_am_i().await.map_err(|error| dataverse_error("dataverse", error))?;
    checks.push(format!("Dynamics 365 answers; organisation {}", who.organization_id));
    campaign.find_resource("profile").await.map_err(|error| campaign_error("campaign", error))?;
    checks.push("Campaign answers and publishes the profile".to_owned());
    let mut tables = Vec::new();
    let mut problems = Vec::new();
    for (index, (spec, rank)) in config.tables.iter().zip(ingress::ranks(&config.tables)).enumerate() {
        match MappedTable::load(index, spec, rank, &dataverse, &campaign).await {
            Ok(table) => {
                checks.push(table.describe());
                tables.push(table);
            }
            Err(found) => problems.extend(found),
        }
    }
    if !problems.is_empty() {
        return Err(Error::new(ErrorKind::Refused, problems));
    }
    Ok(Services { dataverse, campaign, tables, checks })
}

fn dataverse_client(config: &Config, prepared: &Prepared, clock: &SharedClock) -> Result<D365Client, Error> {
    let settings = &config.dataverse;
    let mut wire = d365_client::D365Config::new(
        settings.url.as_str(),
        settings.tenant.as_str(),
        settings.client_id.as_str(),
        prepared.dataverse_secret.clone(),
    )
    .page_size(settings.page_size);
    if let Some(authority) = &settings.authority {
        wire = wire.authority(authority.as_str());
    }
    wire.in_flight = settings.in_flight;
    if let Some(timeout) = settings.timeout {
        wire.attempt_timeout = timeout;
    }
    wire.ca_pem.clone_from(&prepared.ca_pem);
    D365Client::builder(wire).clock(clock.clone()).build().map_err(|error| {
        Error::one(ErrorKind::Configuration, Problem::new("dataverse", format!("{error}."), error.remedy().to_owned()))
            .with_source(error)
    })
}

fn campaign_client(config: &Config, prepared: &Prepared, clock: &SharedClock) -> Result<CampaignClient, Error> {
    let settings = &config.campaign;
    let mut wire = campaign_client::CampaignConfig::new(
        settings.url.as_str(),
        settings.client_id.as_str(),
        prepared.campaign_secret.clone(),
    );
    if let Some(ims) = &settings.ims_url {
        wire.ims_url = ims.as_str().to_owned();
    }
    if let Some(scopes) = &settings.scopes {
        wire.scopes.clone_from(scopes);
    }
    wire.org_id = Some(settings.org_id.clone());
    wire.in_flight = settings.in_flight;
    if let Some(timeout) = settings.timeout {
        wire.attempt_timeout = timeout;
    }
    wire.requests_per_second = settings.requests_per_second.map(f64::from);
    wire.ca_pem.clone_from(&prepared.ca_pem);
    CampaignClient::builder(wire).clock(clock.clone()).build().map_err(|error| {
        Error::one(ErrorKind::Configuration, Problem::new("campaign", format!("{error}."), error.remedy().to_owned()))
            .with_source(error)
    })
}

fn dataverse_error(place: &str, error: d365_client::Error) -> Error {
    let kind = if error.is_permanent() { ErrorKind::Refused } else { ErrorKind::Unavailable };
    let problem = Problem::new(place, format!("Dynamics 365: {error}."), error.remedy().to_owned());
    Error::one(kind, problem).with_source(error)
}

fn campaign_error(place: &str, error: campaign_client::Error) -> Error {
    let kind = if error.is_transient() { ErrorKind::Unavailable } else { ErrorKind::Refused };
    let problem = Problem::new(place, format!("Campaign: {error}."), error.remedy().to_owned());
    Error::one(kind, problem).with_source(error)
}
