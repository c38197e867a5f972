//! `[events]`: which email events become activities, where they come from, and what the activities are called.

use std::time::Duration;

use campaign_client::{EventPointers, MailKind};
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use url::Url;

use super::export_files::{ExportFiles, export_files};
use super::parse::url;
use super::period::period;
use super::reader::{Document, Section};

/// Email events of Campaign as activities on the timeline of the contact.
#[derive(Debug, Clone)]
pub struct EventsConfig {
    /// Whether sends become activities.
    pub sends: bool,
    /// Whether opens do.
    pub opens: bool,
    /// Whether clicks do.
    pub clicks: bool,
    /// Whether hard bounces do; soft ones never do.
    pub bounces: bool,
    /// Where events are read.
    pub source: Option<EventSource>,
    /// Where else they are read, to tell what `source` no longer keeps.
    pub fill_gaps_from: Option<EventSource>,
    /// How long an event waits for its contact to appear in Dynamics 365.
    pub wait_for_contact: Duration,
    /// How long to wait between two polls that found nothing.
    pub poll: Duration,
    /// How activities are called in Dynamics 365.
    pub activities: Box<Activities>,
    /// Where an event of the journal says what.
    pub pointers: Box<EventPointers>,
}

/// Where events are read.
#[derive(Debug, Clone)]
pub enum EventSource {
    /// An I/O Events journal.
    Journal {
        /// The journal's URL, with organisation, integration and registration in its path.
        url: Url,
    },
    /// Log exports in a folder of the file exchange.
    Export {
        /// The files.
        files: Box<ExportFiles>,
        /// The kind of every row, where one export holds one log; by a column when absent.
        kind: Option<MailKind>,
    },
}

/// The tables and columns of the four activities.
#[derive(Debug, Clone)]
pub struct Activities {
    /// A message was sent.
    pub send: ActivityNames,
    /// A message was opened.
    pub open: ActivityNames,
    /// A link was clicked.
    pub click: ActivityNames,
    /// A message bounced for good.
    pub bounce: ActivityNames,
}

/// The table of one kind of activity and its columns. The names of Adobe's own solution are not published, so each can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityNames {
    /// The table's logical name.
    pub table: String,
    /// The column of the marketing campaign's id.
    pub campaign: String,
    /// The column of the delivery's id.
    pub delivery: String,
    /// The column of the time at which it happened.
    pub date: String,
    /// The column of the mirror page's URL.
    pub mirror_page: String,
    /// The column of the URL that was clicked.
    pub url: Option<String>,
    /// The navigation property of the contact; read from the table's definition when absent.
    pub regarding: Option<String>,
}

impl ActivityNames {
    fn new(table: &str, date: &str) -> Self {
        Self {
            table: table.to_owned(),
            campaign: "adobe_campaignname".to_owned(),
            delivery: "adobe_deliveryname".to_owned(),
            date: date.to_owned(),
            mirror_page: "adobe_mirrorpageurl".to_owned(),
            url: None,
            regarding: None,
        }
    }
}

impl Default for Activities {
    fn default() -> Self {
        let click = ActivityNames::new("adobe_campaignemailurlclick", "adobe_dateclicked");
        Self {
            send: ActivityNames::new("adobe_campaignemailsend", "adobe_datesent"),
            open: ActivityNames::new("adobe_campaignemailopen", "adobe_dateopened"),
            click: ActivityNames { url: Some("adobe_trackingurl".to_owned()), ..click },
            bounce: ActivityNames::new("adobe_campaignemailbounce", "adobe_datebounced"),
        }
    }
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self {
            sends: false,
            opens: false,
            clicks: false,
            bounces: false,
            source: None,
            fill_gaps_from: None,
            wait_for_contact: Duration::from_secs(24 * 3600),
            poll: Duration::from_secs(10),
            activities: Box::default(),
            pointers: Box::default(),
        }
    }
}

impl EventsConfig {
    /// Everywhere that events are read, the main source first.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &EventSource> {
        self.source.iter().chain(&self.fill_gaps_from)
    }

    /// Whether any kind of event becomes an activity.
    pub fn is_on(&self) -> bool {
        self.sends || self.opens || self.clicks || self.bounces
    }
}

/// Reads the section.
pub(super) fn events<'t>(document: &mut Document<'t>, root: &DeTable<'t>) -> EventsConfig {
    let mut config = EventsConfig::default();
    let Some(mut section) = Section::of(document, root, "events") else { return config };
    let kinds = [
        ("sends", &mut config.sends),
        ("opens", &mut config.opens),
        ("clicks", &mut config.clicks),
        ("bounces", &mut config.bounces),
    ];
    for (key, on) in kinds {
        *on = section.boolean(document, key).unwrap_or(false);
    }
    if let Some(value) = section.value("source") {
        config.source = source(document, section.place("source"), value);
    } else if config.is_on() {
        section.missing(document, "source", "{ journal = { url = \"...\" } } or { export = { folder = \"...\" } }");
    }
    if let Some(value) = section.value("fill_gaps_from") {
        config.fill_gaps_from = source(document, section.place("fill_gaps_from"), value);
        let journal = matches!(config.source, Some(EventSource::Journal { .. }));
        if !journal || !matches!(config.fill_gaps_from, None | Some(EventSource::Export { .. })) {
            let message = "Only the gaps of a journal are filled, and only from exports.";
            let remedy = "Write source = { journal = { ... } } and fill_gaps_from = { export = { ... } }.";
            document.problem(section.place("fill_gaps_from"), value.span().start, message, remedy);
        }
    }
    config.wait_for_contact = period(document, &mut section, "wait_for_contact").unwrap_or(config.wait_for_contact);
    config.poll = section.integer(document, "poll_seconds", 1..=86_400).map_or(config.poll, Duration::from_secs);
    if let Some(value) = section.value("activities") {
        activities(document, section.place("activities"), value, &mut config.activities);
    }
    if let Some(value) = section.value("pointers") {
        let offset = value.span().start;
        if let Some(pointers) = document.deserialize::<EventPointers>("events.pointers", value) {
            for problem in pointers.problems() {
                document.problem("events.pointers", offset, format!("{problem}."), "Write it as \"/name\".");
            }
            config.pointers = Box::new(pointers);
        }
    }
    section.finish(document);
    config
}

/// What the columns of a log export say.
const COLUMNS: [&str; 10] = [
    "kind",
    "instant",
    "recipient",
    "campaign",
    "delivery",
    "broad_log_id",
    "tracking_log_id",
    "url",
    "mirror_page",
    "bounce_type",
];

const KINDS: [(&str, MailKind); 4] =
    [("send", MailKind::Send), ("open", MailKind::Open), ("click", MailKind::Click), ("bounce", MailKind::Bounce)];

fn source<'t>(document: &mut Document<'t>, place: String, value: &Spanned<DeValue<'t>>) -> Option<EventSource> {
    const FORMS: &str = "Write one of journal, export.";
    let mut section = Section::at(document, value, place.clone())?;
    if section.len() != 1 {
        document.problem(place.clone(), value.span().start, "This must name one source.", FORMS);
    }
    let mut found = None;
    if let Some(value) = section.value("journal") {
        found = journal(document, format!("{place}.journal"), value);
    }
    if let Some(value) = section.value("export") {
        let mut export = Section::at(document, value, format!("{place}.export"))?;
        let files = Box::new(export_files(document, &mut export, "logs*", &COLUMNS));
        let kind = export.word(document, "kind", &KINDS);
        export.finish(document);
        found = Some(EventSource::Export { files, kind });
    }
    section.finish(document);
    found
}

/// Organisation and integration are parts of the URL; where they are written as well, they have to be the same.
fn journal<'t>(document: &mut Document<'t>, place: String, value: &Spanned<DeValue<'t>>) -> Option<EventSource> {
    let offset = value.span().start;
    let mut section = Section::at(document, value, place.clone())?;
    let text = section.required_text(document, "url", "the journal's URL, as the Developer Console shows it");
    let journal = (!text.is_empty()).then(|| url(document, &format!("{place}.url"), offset, &text)).flatten();
    for (key, before) in [("organization", "organizations"), ("integration", "integrations")] {
        let Some(id) = section.text(document, key) else { continue };
        let Some(url) = &journal else { continue };
        let mut parts = url.path_segments().into_iter().flatten();
        if parts.find(|part| *part == before).is_some() && parts.next() != Some(id.as_str()) {
            let message = format!("The journal's URL names another {key}.");
            document.problem(section.place(key), offset, message, "Copy the URL again, or remove this key.");
        }
    }
    section.finish(document);
    journal.map(|url| EventSource::Journal { url })
}

fn activities<'t>(document: &mut Document<'t>, place: String, value: &Spanned<DeValue<'t>>, all: &mut Activities) {
    let Some(mut section) = Section::at(document, value, place.clone()) else { return };
    let kinds =
        [("send", &mut all.send), ("open", &mut all.open), ("click", &mut all.click), ("bounce", &mut all.bounce)];
    for (kind, names) in kinds {
        let Some(value) = section.value(kind) else { continue };
        let Some(mut one) = Section::at(document, value, format!("{place}.{kind}")) else { continue };
        let columns = [
            ("table", &mut names.table),
            ("campaign", &mut names.campaign),
            ("delivery", &mut names.delivery),
            ("date", &mut names.date),
            ("mirror_page", &mut names.mirror_page),
        ];
        for (key, name) in columns {
            if let Some(text) = one.text(document, key) {
                *name = text;
            }
        }
        if kind == "click"
            && let Some(text) = one.text(document, "url")
        {
            names.url = Some(text);
        }
        names.regarding = one.text(document, "regarding");
        one.finish(document);
    }
    section.finish(document);
}
