//! Egress: email events from Campaign to the timeline of the contact in Dynamics 365.

use std::sync::Arc;

use campaign_client::{EventPointers, Journal, JournalConfig, MailKind};
use d365_client::{BulkMessage, D365Client, DynamicEntity, EntityDef, ErrorKind};
use http_kit::Transport;
use sync_core::StreamId;
use sync_core::traits::{Destination, Source, Store, Transform};
use timing::SharedClock;

#[cfg(feature = "exchange")]
use crate::adapters::exports::{logs::LogRows, source::ExportSource};
use crate::adapters::timeline::activity::{ActivityPlan, ActivityTransform};
use crate::adapters::timeline::destination::{ActivityDestination, ActivityTable};
use crate::adapters::timeline::gaps_only::GapsOnly;
use crate::adapters::timeline::journal_source::JournalSource;
use crate::config::{ActivityNames, Config, EventSource, EventsConfig};
use crate::error::Problem;
use crate::preflight::Name;

/// The workflow's name.
pub(crate) const NAME: &str = "egress";

/// The stream of the events of a source.
pub(crate) fn stream_id(source: &EventSource) -> StreamId {
    StreamId::new(format!("{NAME}/{}", source_name(source)))
}

/// What a source is called.
pub(crate) fn source_name(source: &EventSource) -> &'static str {
    match source {
        EventSource::Journal { .. } => "journal",
        EventSource::Export { .. } => "export",
    }
}

/// The tables of the activities, found in order.
#[derive(Debug)]
pub(crate) struct Timeline {
    plans: Vec<ActivityPlan>,
    tables: Vec<ActivityTable>,
    /// What they are regarding.
    contact: Arc<EntityDef>,
}

/// The engine's parts.
#[derive(Debug)]
pub(crate) struct StreamParts {
    pub(crate) id: StreamId,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) transform: Arc<dyn Transform>,
    pub(crate) destination: Arc<dyn Destination>,
}

/// What the journal shares with Campaign's client.
pub(crate) struct JournalParts {
    pub(crate) campaign: campaign_client::CampaignConfig,
    pub(crate) client: campaign_client::CampaignClient,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) clock: SharedClock,
}

impl JournalParts {
    /// The reader of a journal.
    pub(crate) fn reader(&self, settings: JournalConfig) -> Result<Journal, Problem> {
        Journal::builder(settings, self.campaign.clone())
            .clock(self.clock.clone())
            .transport(self.transport.clone())
            .authenticator(self.client.authenticator())
            .build()
            .map_err(|error| Problem::new("events.source.journal", format!("{error}."), error.remedy().to_owned()))
    }
}

impl Timeline {
    /// Asks for the tables of the kinds that are switched on; every problem with its place.
    pub(crate) async fn load(events: &EventsConfig, dataverse: &D365Client) -> Result<Self, Vec<Problem>> {
        let all = &events.activities;
        let kinds = [
            (events.sends, MailKind::Send, "send", &all.send),
            (events.opens, MailKind::Open, "open", &all.open),
            (events.clicks, MailKind::Click, "click", &all.click),
            (events.bounces, MailKind::Bounce, "bounce", &all.bounce),
        ];
        let (mut plans, mut tables, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        for (_, kind, word, names) in kinds.into_iter().filter(|(on, ..)| *on) {
            match activity(&format!("events.activities.{word}"), kind, names, dataverse).await {
                Ok((plan, table)) => {
                    plans.push(plan);
                    tables.push(table);
                }
                Err(found) => problems.extend(found),
            }
        }
        match table_of("events", "contact", dataverse).await {
            Ok(contact) if problems.is_empty() => Ok(Self { plans, tables, contact: contact.shared() }),
            Ok(_) => Err(problems),
            Err(problem) => Err(problems.into_iter().chain([problem.found_by(Name::ActivityTables)]).collect()),
        }
    }

    /// The tables, and whether each takes many rows in one request.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (&str, bool)> {
        self.plans.iter().zip(&self.tables).map(|(plan, table)| (plan.names.table.as_str(), table.many))
    }

    /// The engine's parts, those of the main source first.
    pub(crate) fn streams(
        self,
        config: &Config,
        dataverse: &D365Client,
        journal: &JournalParts,
        store: &Arc<dyn Store>,
    ) -> Result<Vec<StreamParts>, Problem> {
        let destination =
            Arc::new(ActivityDestination::new(dataverse, self.tables, &self.contact, config.dataverse.in_flight));
        let transform = Arc::new(ActivityTransform::new(self.plans));
        let first = config.events.source.as_ref().map(stream_id);
        let part = |source: &EventSource| {
            let id = stream_id(source);
            let read = open(config, source, journal, store)?;
            // What the main source told is not written once more.
            let source: Arc<dyn Source> = match first.as_ref().filter(|first| **first != id) {
                Some(first) => Arc::new(GapsOnly::new(read, store.clone(), first.clone())),
                None => read,
            };
            Ok(StreamParts { id, source, transform: transform.clone(), destination: destination.clone() })
        };
        config.events.sources().map(part).collect()
    }
}

/// Opens a source of events.
fn open(
    config: &Config,
    source: &EventSource,
    journal: &JournalParts,
    store: &Arc<dyn Store>,
) -> Result<Arc<dyn Source>, Problem> {
    let read: Arc<dyn Source> = match source {
        EventSource::Journal { url } => {
            let settings = JournalConfig::new(url.as_str(), config.campaign.org_id.as_str());
            let reader = journal.reader(settings)?;
            let pointers = EventPointers::clone(&config.events.pointers);
            Arc::new(JournalSource::new(
                reader,
                url.to_string(),
                Arc::new(pointers),
                store.clone(),
                journal.clock.clone(),
            ))
        }
        #[cfg(feature = "exchange")]
        EventSource::Export { files, kind } => {
            let filler = config.events.fill_gaps_from.as_ref().is_some_and(|filler| std::ptr::eq(filler, source));
            let place = if filler { "events.fill_gaps_from.export" } else { "events.source.export" };
            let sftp = config
                .sftp
                .as_ref()
                .ok_or_else(|| Problem::new(place, "There is no file exchange to read exports from.", "Add [sftp]."))?;
            let layout = Arc::new(LogRows::new(files, *kind, &config.events.pointers));
            Arc::new(ExportSource::new(sftp, files, place, layout, journal.clock.clone())?)
        }
        #[cfg(not(feature = "exchange"))]
        EventSource::Export { .. } => {
            return Err(Problem::new(
                "events.source.export",
                "This program was built without the file exchange.",
                "Build it with the cargo feature exchange.",
            ));
        }
    };
    Ok(read)
}

async fn activity(
    place: &str,
    kind: MailKind,
    names: &ActivityNames,
    dataverse: &D365Client,
) -> Result<(ActivityPlan, ActivityTable), Vec<Problem>> {
    let def = table(&format!("{place}.table"), &names.table, dataverse).await.map_err(|problem| vec![problem])?;
    let mut problems = Vec::new();
    let columns = [
        ("campaign", Some(&names.campaign)),
        ("delivery", Some(&names.delivery)),
        ("date", Some(&names.date)),
        ("mirror_page", Some(&names.mirror_page)),
        ("url", names.url.as_ref()),
    ];
    for (key, name) in columns {
        if let Some(name) = name.filter(|name| def.attribute(name).is_none()) {
            let message = format!("The table {} has no column called {name}.", names.table);
            problems.push(
                Problem::new(
                    format!("{place}.{key}"),
                    message,
                    "Write the column's logical name, as the solution that brought the table calls it.",
                )
                .found_by(Name::ActivityColumns),
            );
        }
    }
    let regarding = match &names.regarding {
        Some(name) => Some(name.clone()),
        None => {
            match dataverse.metadata().navigation_property(&names.table, "regardingobjectid", "contact").await {
                Ok(Some(name)) => Some(name.to_string()),
                Ok(None) => {
                    problems.push(Problem::new(
                    format!("{place}.regarding"),
                    format!("A row of {} cannot be regarding a contact.", names.table),
                    "Let the table be an activity that may be regarding contacts, or name the navigation property.",
                ).found_by(Name::ActivityRegarding));
                    None
                }
                Err(error) => {
                    problems.push(
                        Problem::new(
                            format!("{place}.regarding"),
                            format!("Dynamics 365: {error}."),
                            error.remedy().to_owned(),
                        )
                        .found_by(Name::ActivityRegarding),
                    );
                    None
                }
            }
        }
    };
    let def = def.shared();
    let api = dataverse.entity_with::<DynamicEntity>(def.clone());
    // Without the right to ask, rows are written one by one: slower, and as right.
    let many = api.takes(BulkMessage::Upsert).await.unwrap_or(false);
    match regarding {
        Some(regarding) if problems.is_empty() => {
            Ok((ActivityPlan { kind, names: names.clone(), regarding }, ActivityTable { kind, def, many }))
        }
        _ => Err(problems),
    }
}

/// A table's definition.
async fn table_of(place: &str, name: &str, dataverse: &D365Client) -> Result<EntityDef, Problem> {
    dataverse.metadata().table(name).await.map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::UnknownTable => Problem::new(
            place,
            format!("Dynamics 365 has no table called {name}."),
            "Install the solution that brings the activities of Campaign, or write the names of tables that are there.",
        ),
        _ => Problem::new(place, format!("Dynamics 365: {error}."), error.remedy().to_owned()),
    })
}

/// The table of an activity.
async fn table(place: &str, name: &str, dataverse: &D365Client) -> Result<EntityDef, Problem> {
    let def = table_of(place, name, dataverse).await.map_err(|problem| problem.found_by(Name::ActivityTables))?;
    if !def.is_activity() {
        return Err(Problem::new(
            place,
            format!("The table {name} is no activity, so that its rows are on no timeline."),
            "Name the table of an activity.",
        )
        .found_by(Name::ActivityTables));
    }
    Ok(def)
}
