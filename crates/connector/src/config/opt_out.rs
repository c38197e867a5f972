//! `[opt_out]`: which preferences are kept in step, in which direction, and where Campaign's changes come from.

use std::collections::BTreeSet;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::export_files::{ExportFiles, export_files};
use super::period::period;
use super::reader::{Document, Section};

/// Privacy preferences of contacts and profiles.
#[derive(Debug, Clone, Default)]
pub struct OptOutConfig {
    /// Who tells whom.
    pub direction: Direction,
    /// Where Campaign's changes are read.
    pub source: Option<OptOutSource>,
    /// The columns and attributes that say the same.
    pub pairs: Vec<OptOutPair>,
    /// The workflow in Campaign that writes the export file; started again when no file came in time.
    pub workflow: Option<String>,
    /// How long after the last file the next one is expected at the latest.
    pub expect_file_within: Option<Duration>,
    /// How long to wait between two polls that found nothing.
    pub poll: Option<Duration>,
}

/// Who tells whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Nobody.
    #[default]
    Disabled,
    /// Dynamics 365 tells Campaign.
    D365ToCampaign,
    /// Campaign tells Dynamics 365.
    CampaignToD365,
    /// Each tells the other.
    Bidirectional,
}

impl Direction {
    /// Whether Campaign's changes are read.
    pub fn reads_campaign(self) -> bool {
        matches!(self, Self::CampaignToD365 | Self::Bidirectional)
    }

    /// Whether changes in Dynamics 365 are read.
    pub fn reads_d365(self) -> bool {
        matches!(self, Self::D365ToCampaign | Self::Bidirectional)
    }
}

/// Where Campaign's changes are read.
#[derive(Debug, Clone)]
pub enum OptOutSource {
    /// Export files in a folder of the file exchange.
    Export {
        /// The files. Their columns are `external_id`, each opt-out attribute, and its name with `LastModified`.
        files: ExportFiles,
    },
    /// A published filter on the time of the last change.
    Filter {
        /// The filter.
        name: String,
        /// Its parameter.
        parameter: String,
    },
}

/// A column and an attribute that say the same; `true` is opted out on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptOutPair {
    /// A boolean column of the contact.
    pub d365: String,
    /// An opt-out attribute of the profile, under its name on the wire.
    pub campaign: String,
}

/// Files of opt-outs, where nothing else is said.
const PATTERN: &str = "optout*";

/// How long after one daily file the next is expected, where nothing else is said.
const DAILY: Duration = Duration::from_secs(26 * 3600);

/// Columns of an opt-out file that may have other names.
const COLUMNS: [&str; 17] = [
    "external_id",
    "denyList",
    "denyListLastModified",
    "denyListEmail",
    "denyListEmailLastModified",
    "denyListFax",
    "denyListFaxLastModified",
    "denyListMobile",
    "denyListMobileLastModified",
    "denyListPhone",
    "denyListPhoneLastModified",
    "denyListPostalMail",
    "denyListPostalMailLastModified",
    "denyListPushnotification",
    "denyListPushnotificationLastModified",
    "ccpaOptOut",
    "ccpaOptOutLastModified",
];

/// Reads the section.
pub(super) fn opt_out<'t>(document: &mut Document<'t>, root: &DeTable<'t>) -> OptOutConfig {
    let mut config = OptOutConfig::default();
    let Some(mut section) = Section::of(document, root, "opt_out") else { return config };
    let directions = [
        ("disabled", Direction::Disabled),
        ("d365_to_campaign", Direction::D365ToCampaign),
        ("campaign_to_d365", Direction::CampaignToD365),
        ("bidirectional", Direction::Bidirectional),
    ];
    config.direction = section.word(document, "direction", &directions).unwrap_or_default();
    if let Some(value) = section.value("source") {
        config.source = source(document, section.place("source"), value);
    } else if config.direction.reads_campaign() {
        let forms = "{ export = { folder = \"...\" } } or { filter = { name = \"...\", parameter = \"...\" } }";
        section.missing(document, "source", forms);
    }
    for (place, value) in section.list(document, "pairs") {
        config.pairs.extend(pair(document, place, value));
    }
    twice(document, &config.pairs, section.value("pairs").map_or(0, |value| value.span().start));
    if config.direction != Direction::Disabled && section.value("pairs").is_none() {
        section.missing(document, "pairs", "pairs = [ { d365 = \"donotemail\", campaign = \"denyListEmail\" } ]");
    }
    config.workflow = section.text(document, "workflow");
    let daily = matches!(config.source, Some(OptOutSource::Export { .. })).then_some(DAILY);
    config.expect_file_within = period(document, &mut section, "expect_file_within").or(daily);
    config.poll = section.integer(document, "poll_seconds", 1..=86_400).map(Duration::from_secs);
    section.finish(document);
    config
}

fn source<'t>(document: &mut Document<'t>, place: String, value: &Spanned<DeValue<'t>>) -> Option<OptOutSource> {
    const FORMS: &str = "Write one of export, filter.";
    let mut section = Section::at(document, value, place.clone())?;
    if section.len() != 1 {
        document.problem(place.clone(), value.span().start, "This must name one source.", FORMS);
    }
    let mut found = None;
    if let Some(value) = section.value("export") {
        let mut export = Section::at(document, value, format!("{place}.export"))?;
        let files = export_files(document, &mut export, PATTERN, &COLUMNS);
        timed(document, &files, &format!("{place}.export"), value.span().start);
        export.finish(document);
        found = Some(OptOutSource::Export { files });
    }
    if let Some(value) = section.value("filter") {
        let mut filter = Section::at(document, value, format!("{place}.filter"))?;
        let name = filter.required_text(document, "name", "the published filter, such as \"byLastModified\"");
        let parameter =
            filter.required_text(document, "parameter", "its parameter, such as \"lastModified_parameter\"");
        filter.finish(document);
        found = Some(OptOutSource::Filter { name, parameter });
    }
    section.finish(document);
    found
}

/// A time says nothing without the value that it is the time of.
fn timed(document: &mut Document<'_>, files: &ExportFiles, place: &str, offset: usize) {
    let times = files.columns.keys().filter_map(|name| Some((*name, name.strip_suffix("LastModified")?)));
    for (time, _) in times.filter(|(_, value)| !files.columns.contains_key(value)) {
        let message = "This is the time of an attribute whose column is not named.";
        let remedy = "Name the column of the attribute too.";
        document.problem(format!("{place}.columns.{time}"), offset, message, remedy);
    }
}

fn pair<'t>(document: &mut Document<'t>, place: String, value: &Spanned<DeValue<'t>>) -> Option<OptOutPair> {
    let offset = value.span().start;
    let mut section = Section::at(document, value, place.clone())?;
    let d365 = section.required_text(document, "d365", "a boolean column of the contact, such as \"donotemail\"");
    let written = section.required_text(document, "campaign", "an opt-out attribute, such as \"denyListEmail\"");
    section.finish(document);
    if !written.is_empty() && !mapping::is_opt_out(&written) {
        document.problem(
            format!("{place}.campaign"),
            offset,
            "This is no opt-out attribute of a profile.",
            "Write denyList, denyListEmail, denyListFax, denyListMobile, denyListPhone, denyListPostalMail, \
             denyListPushnotification or ccpaOptOut.",
        );
        return None;
    }
    let campaign = mapping::wire_name(&written).into_owned();
    (!d365.is_empty() && !campaign.is_empty()).then_some(OptOutPair { d365, campaign })
}

/// Two columns that say different things of one attribute could never both be right.
fn twice(document: &mut Document<'_>, pairs: &[OptOutPair], offset: usize) {
    let mut columns = BTreeSet::new();
    let mut attributes = BTreeSet::new();
    for (index, pair) in pairs.iter().enumerate() {
        for (key, name, seen) in [("d365", &pair.d365, &mut columns), ("campaign", &pair.campaign, &mut attributes)] {
            if !seen.insert(name.clone()) {
                let place = format!("opt_out.pairs[{index}].{key}");
                let message = format!("{name} stands in two pairs.");
                document.problem(place, offset, message, "Remove one of them.");
            }
        }
    }
}
