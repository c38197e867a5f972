//! Rows of a log export as email events: the same as those of the journal, with the same ids.

use std::collections::BTreeMap;

use campaign_client::exchange::ExchangeError;
use campaign_client::exchange::table::{
    ColumnMap, LogDecoder, LogField, LogKind, LogKindRule, LogLayout, LogRow, Row, TimePrecision,
};
use campaign_client::{EventPointers, MailEvent, MailKind};
use record::Change;

use super::layout::{DecodeRow, RowLayout, Unusable};
use crate::adapters::timeline::event;
use crate::config::ExportFiles;

/// What is looked for, its word in the configuration, and the column that it has where nothing else is said.
const FIELDS: [(LogField, &str, &str); 10] = [
    (LogField::Kind, "kind", "eventType"),
    (LogField::At, "instant", "timestamp"),
    (LogField::ExternalId, "recipient", "externalId"),
    (LogField::CampaignName, "campaign", "campaignName"),
    (LogField::DeliveryName, "delivery", "deliveryName"),
    (LogField::BroadLogId, "broad_log_id", "broadLogId"),
    (LogField::TrackingLogId, "tracking_log_id", "trackingLogId"),
    (LogField::Url, "url", "url"),
    (LogField::MirrorPageUrl, "mirror_page", "mirrorPageUrl"),
    (LogField::BounceType, "bounce_type", "bounceType"),
];

/// The layout of log exports.
#[derive(Debug)]
pub(crate) struct LogRows {
    layout: LogLayout,
    /// Words for a hard bounce.
    hard: Vec<String>,
    columns: BTreeMap<LogField, String>,
}

impl LogRows {
    /// By the configured columns; the words for kinds and hard bounces are those of the journal.
    pub(crate) fn new(files: &ExportFiles, kind: Option<MailKind>, pointers: &EventPointers) -> Self {
        let mut columns = ColumnMap::default();
        let mut names = BTreeMap::new();
        for (field, word, default) in FIELDS {
            let given = files.columns.get(word);
            let name = given.map_or(default, String::as_str);
            names.insert(field, name.to_owned());
            // Without these there is no event; and what is configured is there.
            let needed = matches!(field, LogField::At | LogField::DeliveryName) || given.is_some();
            columns = if needed { columns.with(field, name) } else { columns.with_optional(field, name) };
        }
        let words = pointers.names.iter().map(|(word, kind)| (word.clone(), log_kind(*kind))).collect();
        let rule = match kind {
            Some(kind) => LogKindRule::Fixed(log_kind(kind)),
            None => LogKindRule::Words { words, ignore_others: true },
        };
        let layout = LogLayout { columns, kind: rule, offset: files.utc_offset };
        Self { layout, hard: pointers.hard.clone(), columns: names }
    }
}

impl RowLayout for LogRows {
    fn decoder(&self, header: &[String]) -> Result<Box<dyn DecodeRow>, ExchangeError> {
        let decoder = LogDecoder::new(header, &self.layout)?;
        Ok(Box::new(Decoder { decoder, hard: self.hard.clone(), columns: self.columns.clone() }))
    }
}

struct Decoder {
    decoder: LogDecoder,
    hard: Vec<String>,
    columns: BTreeMap<LogField, String>,
}

impl Decoder {
    fn missing(&self, field: LogField, expected: &'static str) -> Unusable {
        Unusable { field: self.columns.get(&field).cloned().unwrap_or_default(), expected }
    }

    fn event(&self, kind: MailKind, row: &LogRow) -> Result<MailEvent, Unusable> {
        let text = |field: LogField| row.get(field).map(str::to_owned);
        let delivery = row
            .get(LogField::DeliveryName)
            .ok_or_else(|| self.missing(LogField::DeliveryName, "the name of the delivery"))?;
        if row.at.precision == TimePrecision::Day {
            // With a day alone the event would be another one than the journal's.
            return Err(self.missing(LogField::At, "a time with seconds"));
        }
        let mut mail = MailEvent::new(kind, delivery, row.at.at);
        // As the journal's pointers have it: opens and clicks are in the tracking log, sends and bounces in the delivery log alone.
        let ordinal = text(LogField::TrackingLogId).or_else(|| text(LogField::BroadLogId));
        mail.ordinal = Some(ordinal.ok_or_else(|| self.missing(LogField::BroadLogId, "the id of the log's entry"))?);
        if kind == MailKind::Bounce {
            let given = row
                .get(LogField::BounceType)
                .ok_or_else(|| self.missing(LogField::BounceType, "the type of the bounce"))?;
            mail.hard = self.hard.iter().any(|word| given.eq_ignore_ascii_case(word));
        }
        if kind == MailKind::Click {
            mail.url = text(LogField::Url);
        }
        mail.campaign = text(LogField::CampaignName);
        mail.recipient = text(LogField::ExternalId);
        mail.mirror_page = text(LogField::MirrorPageUrl);
        Ok(mail)
    }
}

impl DecodeRow for Decoder {
    fn decode(&self, row: &Row) -> Result<Option<Change>, Unusable> {
        let Some(row) = self.decoder.decode(row)? else { return Ok(None) };
        let kind = match row.kind {
            LogKind::Send => MailKind::Send,
            LogKind::Open => MailKind::Open,
            LogKind::Click => MailKind::Click,
            LogKind::Bounce => MailKind::Bounce,
            _ => return Ok(None),
        };
        self.event(kind, &row).map(|mail| Some(event::change(&mail)))
    }
}

fn log_kind(kind: MailKind) -> LogKind {
    match kind {
        MailKind::Send => LogKind::Send,
        MailKind::Open => LogKind::Open,
        MailKind::Click => LogKind::Click,
        MailKind::Bounce => LogKind::Bounce,
    }
}
