//! From a configuration to clients, store and compiled mappings; every problem with its place and remedy.

use std::sync::Arc;
use std::time::Duration;

use campaign_client::CampaignClient;
use d365_client::D365Client;
use secrecy::SecretString;
use sync_core::traits::Store;
use sync_store_sqlite::EncryptionKey;
use timing::SharedClock;
use url::Url;

use crate::adapters::gates::{self, Lanes};
use crate::adapters::kept;
use crate::config::{Config, Direction, certificates};
use crate::control::store_error;
use crate::error::{Error, ErrorKind, Problem};
use crate::preflight::Name;
use crate::trouble;
use crate::wire::{Wire, WireOptions};
use crate::workflows::egress::Timeline;
use crate::workflows::ingress::{self, MappedTable};
use crate::workflows::opt_in_out::Preferences;

/// How the connector calls itself to both services.
const AGENT: &str = concat!("d365-campaign/", env!("CARGO_PKG_VERSION"));

/// Both services, asked and found in order.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) dataverse: D365Client,
    pub(crate) campaign: CampaignClient,
    pub(crate) dataverse_wire: Arc<Wire>,
    pub(crate) campaign_wire: Arc<Wire>,
    pub(crate) tables: Vec<MappedTable>,
    /// Where events become activities, if any do.
    pub(crate) timeline: Option<Timeline>,
    /// What the opt-out workflow keeps in step, if it is on.
    pub(crate) preferences: Option<Preferences>,
    /// What other clients of Campaign's identity are built with.
    pub(crate) campaign_settings: campaign_client::CampaignConfig,
    /// The organisation of Dynamics 365.
    pub(crate) organization: String,
    /// How long Dynamics 365 serves a read position, where it tells.
    pub(crate) retention: Option<Duration>,
    /// What is allowed, and worth a look.
    pub(crate) warnings: Vec<String>,
}

/// What is read before any service is asked.
pub(crate) struct Prepared {
    dataverse_secret: SecretString,
    campaign_secret: SecretString,
    /// Of the store.
    pub(crate) key: Option<EncryptionKey>,
    ca_pem: Option<Vec<u8>>,
    rehearsal: bool,
}

impl Prepared {
    /// For clients that send nothing but reads: what they would write is kept by their wires.
    pub(crate) fn rehearsing(mut self) -> Self {
        self.rehearsal = true;
        self
    }
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
    let ca_pem = match config.tls.ca_file.as_ref().map(|file| certificates(file, "tls.ca_file")) {
        None => None,
        Some(Ok(pem)) => Some(pem),
        Some(Err(problem)) => {
            problems.push(problem);
            None
        }
    };
    let key = match config.store.key() {
        Ok(key) => key,
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    match (dataverse, campaign) {
        (Some(dataverse_secret), Some(campaign_secret)) if problems.is_empty() => {
            Ok(Prepared { dataverse_secret, campaign_secret, key, ca_pem, rehearsal: false })
        }
        _ => Err(Error::new(ErrorKind::Configuration, problems)),
    }
}

/// Both clients, which have asked nothing yet.
pub(crate) struct Clients {
    pub(crate) dataverse: D365Client,
    pub(crate) campaign: CampaignClient,
    pub(crate) dataverse_wire: Arc<Wire>,
    pub(crate) campaign_wire: Arc<Wire>,
    pub(crate) campaign_settings: campaign_client::CampaignConfig,
}

/// Builds both clients.
pub(crate) fn clients(config: &Config, prepared: &Prepared, clock: &SharedClock) -> Result<Clients, Error> {
    let campaign_settings = campaign_settings(config, prepared);
    let campaign = campaign_client(config, prepared, campaign_settings.clone(), clock);
    match (dataverse_client(config, prepared, clock), campaign) {
        (Ok((dataverse, dataverse_wire)), Ok((campaign, campaign_wire))) => {
            Ok(Clients { dataverse, campaign, dataverse_wire, campaign_wire, campaign_settings })
        }
        (dataverse, campaign) => Err(together([dataverse.err(), campaign.err()])),
    }
}

/// Builds both clients, proves their credentials, and compiles every mapping against the schemas of both sides. Pauses that
/// `store` remembers are waited for first.
pub(crate) async fn services(
    config: &Config,
    prepared: Prepared,
    store: Option<&Arc<dyn Store>>,
    clock: &SharedClock,
) -> Result<Services, Error> {
    let Clients { dataverse, campaign, dataverse_wire, campaign_wire, campaign_settings } =
        clients(config, &prepared, clock)?;
    if let Some(store) = store {
        let lanes = Lanes { dataverse: dataverse.lane().clone(), campaign: campaign.lane().clone() };
        gates::restore(store, &lanes, clock).await.map_err(|error| store_error(config, error))?;
    }
    // Both are asked although one may refuse, so that everything that is wrong is told at once.
    let organization = match tokio::join!(dataverse.who_am_i(), campaign.find_resource("profile")) {
        (Ok(who), Ok(_)) => who.organization_id.to_string(),
        (who, profile) => {
            return Err(together([
                who.err().map(|error| trouble::dataverse(&config.dataverse, error)),
                profile.err().map(|error| trouble::campaign(&config.campaign, error)),
            ]));
        }
    };
    if let Some(store) = store {
        let made_for = kept::organization(store.as_ref()).await.map_err(|error| store_error(config, error))?;
        if let Some(problem) = foreign(config, made_for.as_deref(), &organization) {
            return Err(Error::one(ErrorKind::Refused, problem));
        }
    }
    let (retention, warning) = retention(&dataverse).await;
    let mut tables = Vec::new();
    let mut problems = Vec::new();
    let preferences = if config.opt_out.direction == Direction::Disabled {
        None
    } else {
        match Preferences::load(config, &dataverse, &campaign).await {
            Ok(preferences) => Some(preferences),
            Err(found) => {
                problems.extend(found);
                None
            }
        }
    };
    let opt_outs = preferences.as_ref().map_or(&[][..], Preferences::pairs);
    for (index, (spec, rank)) in config.tables.iter().zip(ingress::ranks(&config.tables)).enumerate() {
        match MappedTable::load(index, spec, rank, opt_outs, &dataverse, &campaign).await {
            Ok(table) => tables.push(table),
            Err(found) => problems.extend(found),
        }
    }
    let timeline = if config.events.is_on() {
        match Timeline::load(&config.events, &dataverse).await {
            Ok(timeline) => Some(timeline),
            Err(found) => {
                problems.extend(found);
                None
            }
        }
    } else {
        None
    };
    if !problems.is_empty() {
        return Err(Error::new(ErrorKind::Refused, problems));
    }
    let warnings = warning.into_iter().collect();
    Ok(Services {
        dataverse,
        campaign,
        dataverse_wire,
        campaign_wire,
        tables,
        timeline,
        preferences,
        campaign_settings,
        organization,
        retention,
        warnings,
    })
}

/// What is wrong with a store that was made for another organisation: what it knows of records holds for that one.
pub(crate) fn foreign(config: &Config, made_for: Option<&str>, organization: &str) -> Option<Problem> {
    let made_for = made_for.filter(|made_for| *made_for != organization)?;
    let file = config.store.sqlite.display();
    let problem = Problem::new(
        "store.sqlite",
        format!(
            "The store {file} is of organisation {made_for}, and dataverse.url leads to organisation {organization}."
        ),
        "Correct dataverse.url, or give each organisation a store of its own.",
    );
    Some(problem.found_by(Name::SameOrganization))
}

/// How long Dynamics 365 serves a read position; a warning where that cannot be known.
pub(crate) async fn retention(dataverse: &D365Client) -> (Option<Duration>, Option<String>) {
    let why = match dataverse.change_tracking_days().await {
        Ok(Some(days)) if days > 0 => return (Some(Duration::from_secs(u64::from(days) * 24 * 3600)), None),
        Ok(_) => "the organisation does not tell".to_owned(),
        Err(error) => error.to_string(),
    };
    let warning = format!(
        "how long Dynamics 365 serves changes is not known ({why}), so that nothing warns before a read position grows too old; \
         give the application user read access to the table organization"
    );
    (None, Some(warning))
}

/// The problems of both sides as one error; a refusal weighs more than a service that is away.
fn together(errors: [Option<Error>; 2]) -> Error {
    let errors: Vec<Error> = errors.into_iter().flatten().collect();
    let weight = |kind: ErrorKind| match kind {
        ErrorKind::Configuration => 3,
        ErrorKind::Store => 2,
        ErrorKind::Refused => 1,
        ErrorKind::Unavailable => 0,
    };
    let kind = errors.iter().map(Error::kind).max_by_key(|kind| weight(*kind)).unwrap_or(ErrorKind::Refused);
    Error::new(kind, errors.iter().flat_map(|error| error.problems().to_vec()).collect())
}

type Client<C> = Result<(C, Arc<Wire>), Error>;

fn dataverse_client(config: &Config, prepared: &Prepared, clock: &SharedClock) -> Client<D365Client> {
    let settings = &config.dataverse;
    let refused = |error: d365_client::Error| {
        Error::one(ErrorKind::Configuration, Problem::new("dataverse", format!("{error}."), error.remedy().to_owned()))
            .with_source(error)
    };
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
    let network = network(prepared, &settings.url, &wire.authority, wire.attempt_timeout, wire.in_flight, clock)
        .map_err(|error| refused(error.into()))?;
    let client = D365Client::builder(wire).clock(clock.clone()).transport(network.clone()).build().map_err(refused)?;
    Ok((client, network))
}

/// The transport of one client, which counts what it sends.
fn network(
    prepared: &Prepared,
    service: &Url,
    identity: &str,
    attempt: Duration,
    in_flight: usize,
    clock: &SharedClock,
) -> Result<Arc<Wire>, http_kit::Error> {
    let identity = Url::parse(identity).unwrap_or_else(|_| service.clone());
    let ca_pem = prepared.ca_pem.as_ref();
    let rehearsal = prepared.rehearsal;
    Wire::new(&WireOptions {
        service,
        identity: &identity,
        attempt,
        in_flight,
        ca_pem,
        user_agent: AGENT,
        clock,
        rehearsal,
    })
}

fn campaign_settings(config: &Config, prepared: &Prepared) -> campaign_client::CampaignConfig {
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
    wire
}

fn campaign_client(
    config: &Config,
    prepared: &Prepared,
    wire: campaign_client::CampaignConfig,
    clock: &SharedClock,
) -> Client<CampaignClient> {
    let refused = |error: campaign_client::Error| {
        Error::one(ErrorKind::Configuration, Problem::new("campaign", format!("{error}."), error.remedy().to_owned()))
            .with_source(error)
    };
    let network = network(prepared, &config.campaign.url, &wire.ims_url, wire.attempt_timeout, wire.in_flight, clock)
        .map_err(|error| refused(error.into()))?;
    let client =
        CampaignClient::builder(wire).clock(clock.clone()).transport(network.clone()).build().map_err(refused)?;
    Ok((client, network))
}
