//! Ingress: contacts and custom entities from Dynamics 365 to Campaign.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use campaign_client::{Addressing, CampaignClient, RecordApi, ResourceMeta};
use d365_client::{D365Client, EntityDef};
use mapping::{KeyFilterSpec, OptOutPair, Plan, TableSpec};
use sync_core::StreamId;
use sync_core::traits::{Destination, Source, Transform};

use super::opt_in_out::Consent;
use crate::adapters::addressing::{AddressingProof, Doubt};
use crate::adapters::campaign_destination::CampaignDestination;
use crate::adapters::dataverse_source::DataverseSource;
use crate::adapters::engine_calls::EngineCalls;
use crate::adapters::plan_transform::PlanTransform;
use crate::adapters::urgency::ByClass;
use crate::adapters::{campaign_schema, dataverse_schema};
use crate::config::Config;
use crate::error::Problem;
use crate::preflight::Name;

/// The workflow's name.
pub(crate) const NAME: &str = "ingress";

/// The stream of a table. What is known of its records holds for one resource and one key: with another target, it is another
/// stream, which begins at the beginning.
pub(crate) fn stream_id(spec: &TableSpec) -> StreamId {
    StreamId::new(format!("{NAME}/{}/{}.{}", spec.table, spec.resource, spec.key))
}

/// The table of a stream.
pub(crate) fn table_of(stream: &StreamId) -> &str {
    tables_of(stream).map_or(stream.as_str(), |(table, _)| table)
}

/// The Dataverse table and the Campaign resource of a stream that an event names; `None` for a stream of another making.
pub fn tables_of(stream: &StreamId) -> Option<(&str, &str)> {
    let (table, target) = stream.as_str().strip_prefix(NAME)?.strip_prefix('/')?.split_once('/')?;
    Some((table, target.split_once('.')?.0))
}

/// A table whose both sides are known and whose mapping is compiled.
#[derive(Debug)]
pub(crate) struct MappedTable {
    /// Its place in the configuration, such as `table[0]`.
    place: String,
    spec: TableSpec,
    rank: u32,
    plan: Arc<Plan>,
    def: Arc<EntityDef>,
    resource: campaign_client::Resource,
}

/// The parts of one stream.
#[derive(Debug)]
pub(crate) struct StreamParts {
    pub(crate) id: StreamId,
    pub(crate) rank: u32,
    pub(crate) apply_deletes: bool,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) transform: Arc<dyn Transform>,
    pub(crate) destination: Arc<dyn Destination>,
}

impl MappedTable {
    /// Asks both sides for their schemas and compiles the mapping; problems carry the table's place. `opt_outs` are the pairs that
    /// the opt-out workflow owns.
    pub(crate) async fn load(
        index: usize,
        spec: &TableSpec,
        rank: u32,
        opt_outs: &[OptOutPair],
        dataverse: &D365Client,
        campaign: &CampaignClient,
    ) -> Result<Self, Vec<Problem>> {
        let place = format!("table[{index}]");
        let mut problems = Vec::new();
        let def = match table(&format!("{place}.table"), &spec.table, dataverse).await {
            Ok(def) => {
                // The mapping is looked at all the same, so that everything that is wrong is told at once.
                problems.extend(untracked(&format!("{place}.table"), &def));
                Some(def)
            }
            Err(problem) => {
                problems.push(problem);
                None
            }
        };
        let meta = match published_resource(&format!("{place}.resource"), &spec.resource, campaign).await {
            Ok(meta) => Some(meta),
            Err(problem) => {
                problems.push(problem);
                None
            }
        };
        let (Some(def), Some(meta)) = (def, meta) else { return Err(problems) };
        // The pairs are columns of the contact.
        let opt_outs = if spec.table == "contact" { opt_outs } else { &[] };
        let (source, target) = (dataverse_schema::schema(&def), campaign_schema::schema(&meta));
        let compiled = mapping::compile_with_opt_outs(spec, &source, &target, opt_outs);
        match compiled {
            Ok(plan) if problems.is_empty() => {
                let (plan, def, resource) = (Arc::new(plan), def.shared(), meta.resource);
                Ok(Self { place, spec: spec.clone(), rank, plan, def, resource })
            }
            Ok(_) => Err(problems),
            Err(found) => {
                problems.extend(found.iter().map(|problem| {
                    let path = format!("{place}.{}", problem.path);
                    Problem::new(path, problem.message.clone(), problem.remedy.clone())
                        .found_by(Name::of_mapping(problem.kind))
                }));
                Err(problems)
            }
        }
    }

    /// The compiled mapping.
    pub(crate) fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// What is allowed, and worth a look.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> {
        self.plan.warnings().iter().map(|warning| format!("table {}: {warning}", self.spec.table))
    }

    /// Whether rows that are there are found by the key: a list and a read. An answer that says nothing is no fault.
    pub(crate) async fn prove_key(&self, campaign: &CampaignClient) -> Result<(), Problem> {
        match self.proof(campaign).settle(&self.records(campaign)).await {
            Err(Doubt::Refuted(refusal)) => {
                // The sentence begins with the place, for it is shown alone where a run fails.
                let text = refusal.to_string();
                let (place, message) = text.split_once(": ").unwrap_or((&self.place, &text));
                Err(Problem::new(place, message, refusal.remedy()).found_by(Name::KeyAddressesRows))
            }
            _ => Ok(()),
        }
    }

    fn proof(&self, campaign: &CampaignClient) -> AddressingProof {
        AddressingProof::new(campaign.clone(), self.place.clone(), self.plan.key_attribute().to_string())
    }

    fn records(&self, campaign: &CampaignClient) -> RecordApi {
        let resource = self.resource.clone();
        let records = match &self.spec.key_filter {
            None => campaign.records(resource),
            Some(KeyFilterSpec { name, parameter }) => {
                let by = Addressing::Filter { name: name.clone(), parameter: parameter.clone() };
                campaign.records_by(resource, by).verify_key(self.plan.key_attribute().to_string())
            }
        };
        // The engine repeats what has an unclear end, and looks at it once more later.
        records.without_repeats()
    }

    /// The engine's parts.
    pub(crate) fn stream(
        self,
        config: &Config,
        dataverse: &D365Client,
        retention: Option<Duration>,
        campaign: &CampaignClient,
        allowance: Option<Arc<EngineCalls>>,
        consent: Option<&Consent>,
    ) -> Result<StreamParts, d365_client::Error> {
        let source =
            DataverseSource::new(dataverse, &self.def, self.plan.source_columns(), config.dataverse.page_size)?
                .reading_ahead()
                .retaining(retention);
        let records =
            ByClass::try_new(|priority| Ok::<_, d365_client::Error>(self.records(&campaign.at_priority(priority))))?;
        let proof = self.proof(campaign);
        let of_contacts = self.spec.table == "contact" && self.spec.resource == "profile";
        let consent = consent.filter(|_| of_contacts).map(|consent| consent.guard(self.plan.clone()));
        let destination = CampaignDestination::new(records, proof, config.campaign.in_flight, config.campaign.settle)
            .within(allowance)
            .minding(consent);
        let streams = config.tables.iter().map(|spec| (spec.table.as_str().into(), stream_id(spec)));
        Ok(StreamParts {
            id: stream_id(&self.spec),
            rank: self.rank,
            apply_deletes: self.spec.apply_deletes,
            source: Arc::new(source),
            transform: Arc::new(PlanTransform::new(self.plan, streams.collect())),
            destination: Arc::new(destination),
        })
    }
}

/// The definition of a table whose changes can be read.
pub(super) async fn tracked_table(place: &str, name: &str, dataverse: &D365Client) -> Result<EntityDef, Problem> {
    let def = table(place, name, dataverse).await?;
    match untracked(place, &def) {
        None => Ok(def),
        Some(problem) => Err(problem),
    }
}

/// The definition of a table.
async fn table(place: &str, name: &str, dataverse: &D365Client) -> Result<EntityDef, Problem> {
    let def = dataverse.metadata().table(name).await.map_err(|error| match error.status() {
        // Whatever code the service puts beside it, 404 for a definition asked by its name has one meaning.
        Some(status) if status.as_u16() == 404 => Problem::new(
            place,
            format!("Dynamics 365 has no table called {name}."),
            "Write the table's logical name, such as contact or new_vehicle.",
        ),
        _ => Problem::new(place, format!("Dynamics 365: {error}."), error.remedy().to_owned()),
    });
    def.map_err(|problem| problem.found_by(Name::TableExists))
}

/// What is wrong with a table whose changes nobody tells.
fn untracked(place: &str, def: &EntityDef) -> Option<Problem> {
    let problem = || {
        Problem::new(
            place,
            format!("Change tracking is off for the table {}.", def.logical_name()),
            "Switch it on: Power Apps, table properties, advanced options, track changes.",
        )
        .found_by(Name::ChangeTrackingOn)
    };
    (!def.change_tracking()).then(problem)
}

/// The metadata of a resource that Campaign publishes.
pub(super) async fn published_resource(
    place: &str,
    name: &str,
    campaign: &CampaignClient,
) -> Result<ResourceMeta, Problem> {
    let problem = |error: campaign_client::Error| match error.kind() {
        campaign_client::ErrorKind::UnknownResource => Problem::new(
            place,
            format!("Campaign publishes no resource called {name}."),
            "Publish the resource with the Profiles & Services Ext API, and write its id, such as profile or cusVehicle.",
        ),
        _ => Problem::new(place, format!("Campaign: {error}."), error.remedy().to_owned()),
    };
    let problem = |error| problem(error).found_by(Name::ResourcePublished);
    let resource = campaign.find_resource(name).await.map_err(problem)?;
    campaign.resource_metadata(&resource).await.map_err(problem)
}

/// How deep below the tables without parents each table stands: parents are written before children. Tables that refer to each
/// other in a circle stand equally deep; among them, each record waits for its own parents.
pub(crate) fn ranks(tables: &[TableSpec]) -> Vec<u32> {
    let place: BTreeMap<&str, usize> = tables.iter().zip(0..).map(|(spec, at)| (spec.table.as_str(), at)).collect();
    let parents: Vec<BTreeSet<usize>> = tables
        .iter()
        .map(|spec| spec.links.iter().filter_map(|link| place.get(link.parent.as_str()).copied()).collect())
        .collect();
    let mut above = parents.clone();
    // As many rounds as there are tables reach every depth.
    for _ in tables {
        for at in 0..above.len() {
            let further: Vec<usize> = above
                .iter()
                .enumerate()
                .filter(|(next, _)| above[at].contains(next))
                .flat_map(|(_, set)| set.clone())
                .collect();
            above[at].extend(further);
        }
    }
    let of_one_circle =
        |one: usize, other: usize| one == other || (above[one].contains(&other) && above[other].contains(&one));
    let mut ranks = vec![0; tables.len()];
    for _ in tables {
        for at in 0..tables.len() {
            let members = (0..tables.len()).filter(|member| of_one_circle(at, *member));
            let outside = members.flat_map(|member| &parents[member]).filter(|parent| !of_one_circle(at, **parent));
            ranks[at] = outside.map(|parent| ranks[*parent] + 1).max().unwrap_or(0);
        }
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::ranks;

    fn table(name: &str, parents: &[&str]) -> mapping::TableSpec {
        let link = |parent: &&str| mapping::LinkSpec {
            from: format!("to_{parent}"),
            to: format!("cus_{parent}"),
            parent: (*parent).to_owned(),
            mode: mapping::LinkMode::Key,
        };
        mapping::TableSpec {
            table: name.to_owned(),
            resource: format!("cus{name}"),
            key: "key".to_owned(),
            key_filter: None,
            apply_deletes: false,
            technical_values: false,
            fields: Vec::new(),
            replacements: Vec::new(),
            filter: mapping::FilterSpec::default(),
            links: parents.iter().map(link).collect(),
        }
    }

    #[test]
    fn parents_stand_above_children_and_circles_together() {
        let chain = [table("c", &["b", "a"]), table("b", &["a"]), table("a", &[]), table("d", &["c"])];
        assert_eq!(ranks(&chain), [2, 1, 0, 3]);
        let own = [table("a", &["a"]), table("b", &["a", "b"])];
        assert_eq!(ranks(&own), [0, 1]);
        let circle = [
            table("x", &["y", "root"]),
            table("y", &["z"]),
            table("z", &["x"]),
            table("root", &[]),
            table("leaf", &["z"]),
        ];
        assert_eq!(ranks(&circle), [1, 1, 1, 0, 2]);
    }
}
