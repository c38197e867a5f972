//! Opt-in and opt-out: privacy preferences of contacts and profiles, kept in step.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use campaign_client::{Addressing, CampaignClient, ChangedSince, RecordApi, Resource, ResourceMeta};
use chrono::DateTime;
use consent::{Party, Policy, SharedLedger, Source as Led};
use d365_client::{D365Client, DynamicEntity, EntityDef};
use mapping::{KeyFilterSpec, OptOutPair, Plan, SourceColumn};
use record::{FieldName, ValueKind};
use sync_core::traits::{Destination, Source, Store, Transform};
use sync_core::{Position, StreamId};
use timing::SharedClock;

use super::ingress;
use crate::adapters::consent::campaign_source::{self, ProfileSource};
use crate::adapters::consent::destination::ConsentDestination;
use crate::adapters::consent::following::Following;
use crate::adapters::consent::inserts::{ConsentGuard, Looks, Origin};
#[cfg(feature = "exchange")]
use crate::adapters::consent::overdue::Expectation;
use crate::adapters::consent::sides::{Attribute, MODIFIED, Sides};
use crate::adapters::consent::transform::LookTransform;
use crate::adapters::consent::turns::Turns;
use crate::adapters::dataverse_source::{self, DataverseSource};
use crate::adapters::engine_calls::EngineCalls;
#[cfg(feature = "exchange")]
use crate::adapters::exports::{
    opt_outs::{OptOutFiles, OptOutRows},
    source::ExportSource,
    watch::FileWatch,
};
use crate::adapters::urgency::ByClass;
use crate::adapters::{campaign_schema, dataverse_schema};
use crate::config::{Config, Direction, OptOutSource};
use crate::error::Problem;
use crate::preflight::Name;

/// The workflow's name.
pub(crate) const NAME: &str = "opt-in-out";

const CONTACT: &str = "contact";
const PROFILE: &str = "profile";

/// The stream of the changes in Dynamics 365.
pub(crate) fn d365_stream() -> StreamId {
    StreamId::new(format!("{NAME}/d365"))
}

/// The stream of Campaign's changes.
pub(crate) fn campaign_stream() -> StreamId {
    StreamId::new(format!("{NAME}/campaign"))
}

/// The direction as the rule knows it.
fn direction(direction: Direction) -> consent::Direction {
    match direction {
        Direction::Disabled => consent::Direction::Disabled,
        Direction::D365ToCampaign => consent::Direction::D365ToCampaign,
        Direction::CampaignToD365 => consent::Direction::CampaignToD365,
        Direction::Bidirectional => consent::Direction::Bidirectional,
    }
}

/// Both sides' names of the preferences, found in order.
#[derive(Debug)]
pub(crate) struct Preferences {
    def: Arc<EntityDef>,
    resource: Resource,
    attributes: Vec<Attribute>,
    /// The attribute of the profile that holds the contact's id, and the filter that finds it, if one does.
    key: String,
    key_filter: Option<KeyFilterSpec>,
    changed: Option<ChangedSince>,
    pairs: Vec<OptOutPair>,
}

/// The ledger, and the turns at its contacts.
#[derive(Debug, Clone)]
pub(crate) struct Consent {
    pub(crate) ledger: SharedLedger,
    pub(crate) turns: Arc<Turns>,
    looks: Looks,
    origin: Origin,
    policy: Policy,
    feeds: Arc<OnceLock<Vec<Arc<Following>>>>,
}

impl Consent {
    pub(crate) fn new(ledger: SharedLedger, clock: SharedClock, policy: Policy) -> Self {
        let (turns, origin) = (Arc::new(Turns::new()), Origin::new(clock));
        Self { ledger, turns, looks: Looks::default(), origin, policy, feeds: Arc::default() }
    }

    /// Tells the ledger how far changes are followed, when all workflows have ended.
    pub(crate) async fn close(&self) {
        for feed in self.feeds.get().into_iter().flatten() {
            feed.tell().await;
        }
    }

    /// What ingress asks before it writes a profile.
    pub(crate) fn guard(&self, plan: Arc<Plan>) -> ConsentGuard {
        ConsentGuard::new(self.ledger.clone(), self.turns.clone(), plan, self.looks.clone(), self.origin.clone())
    }
}

/// What the process shares with the workflow.
pub(crate) struct Surroundings<'s> {
    pub(crate) allowance: Option<Arc<EngineCalls>>,
    pub(crate) store: &'s Arc<dyn Store>,
    pub(crate) clock: &'s SharedClock,
}

/// The engine's parts of one stream.
#[derive(Debug)]
pub(crate) struct StreamParts {
    pub(crate) id: StreamId,
    pub(crate) poll_every: Duration,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) transform: Arc<dyn Transform>,
    pub(crate) destination: Arc<dyn Destination>,
}

impl Preferences {
    /// Asks both sides what they call the preferences; every problem with its place.
    pub(crate) async fn load(
        config: &Config,
        dataverse: &D365Client,
        campaign: &CampaignClient,
    ) -> Result<Self, Vec<Problem>> {
        let (def, meta) = tokio::join!(
            ingress::tracked_table("opt_out.pairs", CONTACT, dataverse),
            ingress::published_resource("opt_out.pairs", PROFILE, campaign),
        );
        let (def, meta) = match (def, meta) {
            (Ok(def), Ok(meta)) => (def, meta),
            (def, meta) => return Err(def.err().into_iter().chain(meta.err()).collect()),
        };
        let pairs: Vec<OptOutPair> = config
            .opt_out
            .pairs
            .iter()
            .map(|pair| OptOutPair { d365: pair.d365.clone(), campaign: pair.campaign.clone() })
            .collect();
        let mut problems = pair_problems(config, &pairs, &def, &meta);
        let mut changed = None;
        if config.opt_out.direction.reads_campaign()
            && let Some(OptOutSource::Filter { name, parameter }) = &config.opt_out.source
        {
            match changes_by(name, parameter, &meta.resource, campaign).await {
                Ok(found) => changed = Some(found),
                Err(problem) => problems.push(problem.found_by(Name::OptOutFilter)),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mapped = config.tables.iter().find(|spec| spec.table == CONTACT && spec.resource == PROFILE);
        Ok(Self {
            def: def.shared(),
            attributes: attributes(&meta, &pairs),
            resource: meta.resource,
            key: mapped.map_or("externalId", |spec| spec.key.as_str()).to_owned(),
            key_filter: mapped.and_then(|spec| spec.key_filter.clone()),
            changed,
            pairs,
        })
    }

    /// The pairs, checked.
    pub(crate) fn pairs(&self) -> &[OptOutPair] {
        &self.pairs
    }

    /// The engine's parts.
    pub(crate) fn streams(
        self,
        config: &Config,
        dataverse: &D365Client,
        campaign: &CampaignClient,
        consent: &Consent,
        around: Surroundings<'_>,
    ) -> Result<Vec<StreamParts>, Problem> {
        let Surroundings { allowance, store, clock } = around;
        let mut source_columns = Vec::new();
        for (name, kind) in
            self.pairs.iter().map(|pair| (pair.d365.as_str(), ValueKind::Bool)).chain([(MODIFIED, ValueKind::DateTime)])
        {
            source_columns.push(SourceColumn { name: FieldName::from(name), kind });
        }
        let refused =
            |error: d365_client::Error| Problem::new("opt_out", format!("{error}."), error.remedy().to_owned());
        let rows = ByClass::try_new(|priority| {
            Ok::<_, Problem>(dataverse.at_priority(priority).entity_with::<DynamicEntity>(self.def.clone()))
        })?;
        let records = ByClass::try_new(|priority| Ok::<_, Problem>(self.records(&campaign.at_priority(priority))))?;
        let sides = Sides::new(rows, records, self.attributes.clone(), allowance).map_err(refused)?;
        let sides = Arc::new(sides);
        let by_export = matches!(config.opt_out.source, Some(OptOutSource::Export { .. }));
        let destination = |source: Led| {
            Arc::new(ConsentDestination {
                sides: sides.clone(),
                ledger: consent.ledger.clone(),
                turns: consent.turns.clone(),
                policy: consent.policy,
                direction: direction(config.opt_out.direction),
                source,
                slow_campaign: by_export && config.opt_out.direction.reads_campaign(),
                clock: clock.clone(),
                in_flight: config.campaign.in_flight,
                settle: config.campaign.settle,
            })
        };
        consent.origin.follow(sides.clone(), config.opt_out.direction.reads_d365());
        // Polling finds created profiles by itself; nothing else does.
        if self.changed.is_none() {
            let _ = consent.looks.set(destination(Led::Request));
        }
        let transform: Arc<dyn Transform> =
            Arc::new(LookTransform::new(&format!("{:?} {:?}", config.opt_out.direction, self.attributes)));
        let following = |source: Arc<dyn Source>, at_end: fn(&Position) -> bool, party: Party, stream: StreamId| {
            let shared = (store.clone(), consent.ledger.clone(), clock.clone());
            Arc::new(Following::new(source, at_end, party, stream, shared))
        };
        let (mut streams, mut feeds) = (Vec::new(), Vec::new());
        if config.opt_out.direction.reads_d365() {
            let rows = config.dataverse.page_size;
            let source = DataverseSource::new(dataverse, &self.def, &source_columns, rows).map_err(refused)?;
            let source = following(Arc::new(source), dataverse_source::is_at_end, Party::D365, d365_stream());
            feeds.push(source.clone());
            streams.push(StreamParts {
                id: d365_stream(),
                poll_every: config.dataverse.poll,
                source,
                transform: transform.clone(),
                destination: destination(Led::D365Change),
            });
        }
        if config.opt_out.direction.reads_campaign() {
            let polled = self.changed.is_some();
            let (mut source, led) = self.campaign_source(config, campaign, store, clock)?;
            // A file tells of changes up to when it was written, which is not when it is read.
            if polled {
                let feed = following(source, campaign_source::is_at_end, Party::Campaign, campaign_stream());
                feeds.push(feed.clone());
                source = feed;
            }
            streams.push(StreamParts {
                id: campaign_stream(),
                poll_every: config.opt_out.poll.unwrap_or(config.dataverse.poll),
                source,
                transform,
                destination: destination(led),
            });
        }
        let _ = consent.feeds.set(feeds);
        Ok(streams)
    }

    /// Where Campaign's changes are read, and what the ledger calls it.
    fn campaign_source(
        self,
        config: &Config,
        campaign: &CampaignClient,
        #[cfg_attr(not(feature = "exchange"), expect(unused_variables, reason = "only files are watched over"))]
        store: &Arc<dyn Store>,
        clock: &SharedClock,
    ) -> Result<(Arc<dyn Source>, Led), Problem> {
        match (&config.opt_out.source, self.changed) {
            (_, Some(changed)) => {
                let observed = self.attributes.into_iter().map(|attribute| attribute.published).collect();
                let clients = ByClass::try_new(|priority| Ok::<_, Problem>(campaign.at_priority(priority)))?;
                let source = ProfileSource::new(clients, changed, self.key, observed, clock.clone());
                Ok((Arc::new(source), Led::CampaignPoll))
            }
            #[cfg(feature = "exchange")]
            (Some(OptOutSource::Export { files }), None) => {
                let place = "opt_out.source.export";
                let sftp = config.sftp.as_ref().ok_or_else(|| {
                    Problem::new(place, "There is no file exchange to read exports from.", "Add [sftp].")
                })?;
                let layout = Arc::new(OptOutRows::new(files, clock.clone()));
                let files = ExportSource::new(sftp, files, place, layout, clock.clone())?;
                let watch = Expectation::of(config)
                    .map(|expected| FileWatch::new(expected, campaign.workflows(), store.clone(), clock.clone()));
                Ok((Arc::new(OptOutFiles::new(files, watch, clock.clone())), Led::CampaignFile))
            }
            // The configuration refuses both before.
            _ => Err(Problem::new(
                "opt_out.source",
                "There is no source of Campaign's changes that this program can read.",
                "Name a source; export files need the cargo feature exchange.",
            )),
        }
    }

    fn records(&self, campaign: &CampaignClient) -> RecordApi {
        let resource = self.resource.clone();
        let records = match &self.key_filter {
            None => campaign.records(resource),
            Some(KeyFilterSpec { name, parameter }) => {
                let by = Addressing::Filter { name: name.clone(), parameter: parameter.clone() };
                campaign.records_by(resource, by).verify_key(self.key.clone())
            }
        };
        records.without_repeats()
    }
}

/// The pairs against both schemas: boolean columns that can be written where they are, and attributes that are there.
fn pair_problems(config: &Config, pairs: &[OptOutPair], def: &EntityDef, meta: &ResourceMeta) -> Vec<Problem> {
    let found = mapping::validate_pairs(pairs, &dataverse_schema::schema(def), &campaign_schema::schema(meta));
    let mut problems: Vec<Problem> = found
        .into_iter()
        .map(|problem| {
            let place = format!("opt_out.{}", problem.path);
            Problem::new(place, format!("{}.", problem.message), format!("{}.", problem.remedy))
        })
        .collect();
    if config.opt_out.direction.reads_campaign() {
        for (index, pair) in pairs.iter().enumerate() {
            if def.attribute(&pair.d365).is_some_and(|column| !column.is_valid_for_update) {
                problems.push(Problem::new(
                    format!("opt_out.pairs[{index}].d365"),
                    format!("The column {} cannot be written.", pair.d365),
                    "Name a boolean column that can be, or let Dynamics 365 lead: direction = \"d365_to_campaign\".",
                ));
            }
        }
    }
    problems
}

/// Tries the filter: nothing in the metadata tells whether it is published.
async fn changes_by(
    name: &str,
    parameter: &str,
    resource: &Resource,
    campaign: &CampaignClient,
) -> Result<ChangedSince, Problem> {
    let place = "opt_out.source.filter";
    let refused = |error: campaign_client::Error| {
        Problem::new(
            place,
            format!("The filter {name} of profiles cannot be used: {error}."),
            "Publish a filter of the profile on lastModified, on or after a parameter, and write both names.",
        )
    };
    let changed = ChangedSince::new(resource.clone(), name, parameter).map_err(refused)?;
    // A time of which nobody has changed anything yet: the question is whether it may be asked.
    let later = DateTime::from_timestamp(4_102_444_800, 0);
    let mut pass = campaign.changes(&changed, later).map_err(refused)?;
    match pass.next_page().await {
        Ok(_) => Ok(changed),
        Err(error) if error.is_transient() => {
            Err(Problem::new(place, format!("Campaign: {error}."), error.remedy().to_owned()))
        }
        Err(error) => Err(refused(error)),
    }
}

/// Every opt-out attribute of the profile, those without a column too: whoever asks whether somebody may be contacted wants to know
/// of each.
fn attributes(meta: &ResourceMeta, pairs: &[OptOutPair]) -> Vec<Attribute> {
    let mut attributes: Vec<Attribute> = Vec::new();
    for field in meta.fields.iter().filter(|field| mapping::is_opt_out(&field.name)) {
        let wire = mapping::wire_name(&field.name).into_owned();
        // Which of its names is written: the one of the data model, where an instance publishes several.
        let better = field.name == wire;
        if let Some(known) = attributes.iter_mut().find(|attribute| attribute.wire == wire) {
            if better {
                known.published.clone_from(&field.name);
            }
            continue;
        }
        let column = pairs.iter().find(|pair| mapping::wire_name(&pair.campaign) == wire);
        attributes.push(Attribute {
            published: field.name.clone(),
            times: Vec::new(),
            column: column.map(|pair| pair.d365.clone()),
            wire,
        });
    }
    for attribute in &mut attributes {
        let mut names = vec![format!("{}LastModified", attribute.published)];
        if attribute.wire == "blackList" {
            names.push(format!("{}AllLastModified", attribute.published));
        }
        let there = |name: &str| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        attribute.times = meta.fields.iter().map(|field| &field.name).filter(|name| there(name)).cloned().collect();
    }
    attributes
}
