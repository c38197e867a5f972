//! The connector that a host builds, starts, watches and stops.

use std::sync::Arc;
use std::time::Duration;

use crate::adapters::client_metrics::Clients;
use crate::adapters::engine_calls::EngineCalls;
use crate::adapters::gates::{Gates, Lanes};
use crate::adapters::kept;
use crate::config::Config;
use crate::connect::{self, Services};
use crate::consent::Policy;
use crate::control::store_error;
use crate::error::{Error, ErrorKind, Problem};
use crate::logs::LogBuffer;
#[cfg(feature = "exchange")]
use crate::logs::upload::Uploader;
use crate::running::Running;
use crate::summary::Traffic;
use crate::wire::Wire;
use crate::workflows::egress::{self, JournalParts};
use crate::workflows::ingress::{self, StreamParts};
use crate::workflows::opt_in_out::{self, Consent, Surroundings};
use crate::workflows::streams::{self, StreamLabel};
use campaign_client::CampaignClient;
use d365_client::D365Client;
use mapping::TableSpec;
use sync_core::traits::{Class, NoObserver, Observer, Store};
use sync_core::{BuildError, DeleteBrake, EngineOptions, RunMode, StreamConfig, Workflow, WorkflowBuilder};
use sync_store_sqlite::{EncryptionKey, SqliteOptions, SqliteStore};
use timing::{Backoff, SharedClock, SystemClock};

/// Builds a [`Connector`].
#[derive(Debug)]
#[must_use]
pub struct ConnectorBuilder {
    config: Box<Config>,
    observer: Arc<dyn Observer>,
    clock: SharedClock,
    logs: Option<LogBuffer>,
    policy: Policy,
}

/// Both sides known, every mapping compiled, the store opened: ready to start.
#[derive(Debug)]
pub struct Connector {
    pub(crate) config: Box<Config>,
    pub(crate) members: Vec<Member>,
    pub(crate) dataverse: D365Client,
    pub(crate) campaign: CampaignClient,
    pub(crate) dataverse_wire: Arc<Wire>,
    pub(crate) campaign_wire: Arc<Wire>,
    pub(crate) allowance: Option<Arc<EngineCalls>>,
    /// Until it is started.
    pub(crate) gates: Option<Gates>,
    /// Until it is started.
    #[cfg(feature = "exchange")]
    pub(crate) uploader: Option<Uploader>,
    pub(crate) clock: SharedClock,
    /// Requests of both clients until here: definitions and discovery.
    pub(crate) set_up: Traffic,
    warnings: Vec<String>,
    pub(crate) consent: Option<Consent>,
}

/// One workflow, and what its streams are called.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) workflow: Workflow,
    pub(crate) streams: Vec<StreamLabel>,
}

impl ConnectorBuilder {
    /// Tells `observer` what happens.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Puts the log that is written into `logs` on the file exchange, where `sftp.export_logs` is on, from the start to the end of
    /// [`Running`](crate::Running).
    pub fn logs(mut self, logs: LogBuffer) -> Self {
        self.logs = Some(logs);
        self
    }

    /// Decides about opt-outs in both directions by another rule than Adobe's, or grants clocks a difference. What another rule gives up is told in
    /// [`Rule`](crate::consent::Rule).
    pub fn opt_out_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Takes time from `clock` instead of the system.
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.clock = clock;
        self
    }

    /// Reads the secrets, opens the store, asks both services and compiles the mappings.
    ///
    /// # Errors
    /// Everything that is wrong, with place and remedy. Nothing was written then, and a store that was not there is not
    /// there now.
    pub async fn connect(self) -> Result<Connector, Error> {
        let Self { config, observer, clock, logs, policy } = self;
        let prepared = connect::prepare(&config)?;
        let unheard = logs.is_none() && config.sftp.as_ref().is_some_and(|sftp| sftp.export_logs);
        #[cfg(feature = "exchange")]
        let uploader = match logs {
            None => None,
            Some(logs) => {
                let uploader = Uploader::new(&config, logs, clock.clone());
                uploader.map_err(|problem| Error::one(ErrorKind::Configuration, problem))?
            }
        };
        // A store that is there is opened before anybody is asked; a new one is made only once all else is in order.
        let key = prepared.key.clone();
        let existing = if config.store.sqlite.exists() { Some(open_store(&config, key.clone())?) } else { None };
        let services = connect::services(&config, prepared, existing.as_ref(), &clock).await?;
        let Services { dataverse, campaign, dataverse_wire, campaign_wire, tables, retention, .. } = services;
        let store = match existing {
            Some(store) => store,
            None => open_store(&config, key)?,
        };
        kept::keep_retention(&store, retention).await;
        kept::keep_organization(&store, &services.organization).await;
        kept::keep_settings(&store, &config).await;
        let consent = match &services.preferences {
            Some(_) => {
                let ledger = crate::consent::open(&config, &store, &clock).await?;
                Some(Consent::new(ledger, clock.clone(), policy))
            }
            None => None,
        };
        let lanes = Lanes { dataverse: dataverse.lane().clone(), campaign: campaign.lane().clone() };
        let gates = Gates::open(store.clone(), lanes).await;
        let allowance = match config.campaign.engine_calls_per_day {
            None => None,
            Some(limit) => {
                let account = EngineCalls::open(limit, &campaign, store.clone(), clock.clone()).await;
                Some(Arc::new(account.map_err(|error| store_error(&config, error))?))
            }
        };
        let beyond = mapping::Guardrails::none().review(&config.tables).unwrap_or_default();
        let table_warnings: Vec<String> =
            tables.iter().flat_map(|table| table.warnings()).chain(beyond.iter().map(ToString::to_string)).collect();
        let duplicate_risk = duplicate_risk(&config);
        let streams = tables
            .into_iter()
            .map(|table| table.stream(&config, &dataverse, retention, &campaign, allowance.clone(), consent.as_ref()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| {
                Error::one(ErrorKind::Refused, Problem::new("table", format!("{error}."), error.remedy().to_owned()))
            })?;
        let set_up = Traffic { dataverse: dataverse.stats().sent, campaign: campaign.stats().sent };
        let mut warnings = Vec::new();
        if config.store.encryption_key.is_none() {
            warnings.push(format!("payloads in {} are not encrypted", config.store.sqlite.display()));
        }
        if unheard {
            warnings.push("sftp.export_logs: this program hands over no log, so none is put there".to_owned());
        }
        warnings.extend(services.warnings);
        warnings.extend(duplicate_risk);
        warnings.extend(table_warnings);
        let clients = Arc::new(Clients { dataverse: dataverse.clone(), campaign: campaign.clone() });
        let parts = Parts { config: &config, store: &store, observer: &observer, clients: &clients, clock: &clock };
        let mut members = vec![ingress(&parts, streams)?];
        if let Some(timeline) = services.timeline {
            let journal = JournalParts {
                campaign: services.campaign_settings,
                client: campaign.clone(),
                transport: campaign_wire.clone(),
                clock: clock.clone(),
            };
            let streams = timeline.streams(&config, &dataverse, &journal, &store);
            members.push(egress(&parts, streams.map_err(|problem| Error::one(ErrorKind::Refused, problem))?)?);
        }
        if let (Some(preferences), Some(consent)) = (services.preferences, &consent) {
            let around = Surroundings { allowance: allowance.clone(), store: &store, clock: &clock };
            let streams = preferences.streams(&config, &dataverse, &campaign, consent, around);
            let streams = streams.map_err(|problem| Error::one(ErrorKind::Refused, problem))?;
            members.push(opt_in_out(&parts, streams)?);
        }
        Ok(Connector {
            config,
            members,
            dataverse,
            campaign,
            dataverse_wire,
            campaign_wire,
            allowance,
            gates: Some(gates),
            #[cfg(feature = "exchange")]
            uploader,
            clock,
            set_up,
            warnings,
            consent,
        })
    }
}

/// Tables whose rows are found by a filter: no metadata tells whether their key is unique in Campaign, so this is said instead of
/// refused. Where it is unique, Campaign itself refuses a second row.
fn duplicate_risk(config: &Config) -> Vec<String> {
    if config.campaign.accept_duplicate_risk {
        return Vec::new();
    }
    let filtered = config.tables.iter().enumerate().filter(|(_, spec)| spec.key_filter.is_some());
    let warning = |(index, spec): (usize, &TableSpec)| {
        format!(
            "table[{index}].key_filter: nothing tells whether {} is a unique key of {}; where it is not, a write whose answer is \
             lost may leave a row there twice. Make it unique in Campaign, and set campaign.accept_duplicate_risk = true to \
             silence this warning.",
            spec.key, spec.resource
        )
    };
    filtered.map(warning).collect()
}

pub(crate) fn store_options(config: &Config) -> SqliteOptions {
    SqliteOptions::default().cache_mib(config.store.cache_mib).max_page_count(config.store.max_pages)
}

fn open_store(config: &Config, key: Option<EncryptionKey>) -> Result<Arc<dyn Store>, Error> {
    let options = store_options(config).encryption_key(key);
    let store: Arc<dyn Store> =
        SqliteStore::open(&config.store.sqlite, options).map_err(|error| store_error(config, error))?;
    Ok(store)
}

fn engine_options(config: &Config) -> EngineOptions {
    let brake = config.sync.delete_brake;
    EngineOptions {
        brake: DeleteBrake { rows: brake.rows, share: brake.share },
        audit_every: config.sync.sweep.every(),
        dead_letter_retention: Some(config.sync.dead_letters_kept),
        ..EngineOptions::default()
    }
}

/// The longest time between two looks for a contact that an event waits for.
const LOOKED_FOR_AGAIN: Duration = Duration::from_secs(300);

/// What every workflow is built with.
struct Parts<'p> {
    config: &'p Config,
    store: &'p Arc<dyn Store>,
    observer: &'p Arc<dyn Observer>,
    clients: &'p Arc<Clients>,
    clock: &'p SharedClock,
}

impl Parts<'_> {
    fn workflow(&self, name: &'static str, options: EngineOptions) -> WorkflowBuilder {
        Workflow::builder(name)
            .store(self.store.clone())
            .clock(self.clock.clone())
            .observer(self.observer.clone())
            .metric_source(self.clients.clone())
            .options(options)
    }
}

/// A workflow whose streams cannot stand together.
fn unbuildable(place: &'static str, error: BuildError) -> Error {
    let problem = Problem::new(place, format!("{error}."), "Map at least one table, and each only once.");
    Error::one(ErrorKind::Configuration, problem).with_source(error)
}

fn egress(parts: &Parts<'_>, streams: Vec<egress::StreamParts>) -> Result<Member, Error> {
    let config = parts.config;
    let options = EngineOptions {
        // An event that waits for its contact waits as long as a record that waits for its parent.
        parent_wait: config.events.wait_for_contact,
        // Nothing tells that the contact has come: it is looked for now and then.
        record_backoff: Backoff::new(Duration::from_secs(5), 3.0, LOOKED_FOR_AGAIN),
        ..engine_options(config)
    };
    let mut workflow = parts.workflow(egress::NAME, options);
    for stream in streams {
        workflow = workflow.stream(StreamConfig {
            class: Class::Live,
            id: stream.id,
            rank: 0,
            source: stream.source,
            transform: stream.transform,
            destination: stream.destination,
            poll_every: config.events.poll,
            apply_deletes: false,
            page_rows: 1000,
        });
    }
    let workflow = workflow.build().map_err(|error| unbuildable("events", error))?;
    Ok(Member { workflow, streams: streams::of_egress(config) })
}

fn ingress(parts: &Parts<'_>, streams: Vec<StreamParts>) -> Result<Member, Error> {
    let config = parts.config;
    let mut workflow = parts.workflow(ingress::NAME, engine_options(config));
    for stream in streams {
        workflow = workflow.stream(StreamConfig {
            class: Class::Live,
            id: stream.id,
            rank: stream.rank,
            source: stream.source,
            transform: stream.transform,
            destination: stream.destination,
            poll_every: config.dataverse.poll,
            apply_deletes: stream.apply_deletes,
            page_rows: config.dataverse.page_size,
        });
    }
    let workflow = workflow.build().map_err(|error| unbuildable("table", error))?;
    Ok(Member { workflow, streams: streams::of_ingress(config) })
}

fn opt_in_out(parts: &Parts<'_>, streams: Vec<opt_in_out::StreamParts>) -> Result<Member, Error> {
    let config = parts.config;
    let mut workflow = parts.workflow(opt_in_out::NAME, engine_options(config));
    for stream in streams {
        workflow = workflow.stream(StreamConfig {
            class: Class::OptOut,
            id: stream.id,
            rank: 0,
            source: stream.source,
            transform: stream.transform,
            destination: stream.destination,
            poll_every: stream.poll_every,
            apply_deletes: false,
            page_rows: config.dataverse.page_size,
        });
    }
    let workflow = workflow.build().map_err(|error| unbuildable("opt_out", error))?;
    Ok(Member { workflow, streams: streams::of_opt_in_out(config) })
}

impl Connector {
    /// Starts to build a connector.
    pub fn builder(config: Config) -> ConnectorBuilder {
        ConnectorBuilder {
            config: Box::new(config),
            observer: Arc::new(NoObserver),
            clock: SystemClock::shared(),
            logs: None,
            policy: Policy::default(),
        }
    }

    /// What an operator should know before the start.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The workflows that are configured, in the order in which they are started.
    pub fn workflows(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.workflow.name())
    }

    /// Starts every workflow.
    pub fn start(self, mode: RunMode) -> Running {
        let names: Vec<String> = self.workflows().map(str::to_owned).collect();
        Running::begin(self, &names, mode)
    }

    /// Starts some of the workflows; the others can be started later.
    ///
    /// # Errors
    /// When a name is not that of a configured workflow; nothing is started then.
    pub fn start_only(self, names: &[String], mode: RunMode) -> Result<Running, Error> {
        let unknown = names.iter().find(|name| !self.workflows().any(|known| known == *name));
        if let Some(unknown) = unknown {
            let known: Vec<&str> = self.workflows().collect();
            let problem = Problem::new(
                "workflow",
                format!("The workflow {unknown} is not configured."),
                format!("Configured are: {}.", known.join(", ")),
            );
            return Err(Error::one(ErrorKind::Configuration, problem));
        }
        Ok(Running::begin(self, names, mode))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

    use super::*;

    /// Nobody waits a week in a test.
    #[test]
    fn the_engine_gets_its_settings() {
        let with = |lines: &str| {
            let text = crate::template::commented().replace("[sync]", &format!("[sync]\n{lines}"));
            engine_options(&Config::parse(&text, std::path::Path::new(".")).unwrap())
        };
        let days = |days: u64| Some(Duration::from_secs(days * 24 * 3600));
        let of = |lines: &str| (with(lines).audit_every, with(lines).dead_letter_retention);
        assert_eq!(of(""), (days(7), days(30)));
        assert_eq!(of("sweep = \"weekly\""), (days(7), days(30)));
        assert_eq!(of("sweep = \"daily\"\ndead_letter_days = 3"), (days(1), days(3)));
        assert_eq!(of("sweep = \"never\""), (None, days(30)));
        assert_eq!(of("sweep = \"off\""), (None, days(30)));
        let brake = with("delete_brake = { rows = 7, share = 0.25 }").brake;
        assert_eq!((brake.rows, brake.share), (7, 0.25));
    }

    /// The cache of a connection cannot be seen from outside.
    #[test]
    fn the_store_gets_its_settings() {
        let text = crate::template::commented();
        let with = |lines: &str| {
            let text = text.replace("[sync]", &format!("{lines}\n[sync]"));
            store_options(&Config::parse(&text, std::path::Path::new(".")).unwrap())
        };
        assert_eq!((with("").cache_mib, with("").max_page_count), (16, None));
        let set = with("cache_mib = 3\nmax_pages = 500");
        assert_eq!((set.cache_mib, set.max_page_count), (3, Some(500)));
    }
}
