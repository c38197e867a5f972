use std::collections::BTreeMap;

use chrono::FixedOffset;

use super::columns::ColumnMap;
use super::row::{Row, RowError, RowErrorKind};
use super::time::FileTime;
use crate::exchange::error::{ExchangeError, ExchangeErrorKind};

/// What happened to a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LogKind {
    /// Sent.
    Send,
    /// Opened.
    Open,
    /// A link in it was followed.
    Click,
    /// It came back.
    Bounce,
}

/// A field of a log row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LogField {
    /// Kind of the event. Default column `eventType`.
    Kind,
    /// When it happened. Default column `timestamp`.
    At,
    /// External id of the profile. Default column `externalId`.
    ExternalId,
    /// Campaign's own id of the profile. Default column `recipientId`.
    RecipientId,
    /// Address. Default column `email`.
    Email,
    /// Name of the campaign. Default column `campaignName`.
    CampaignName,
    /// Name of the delivery, `DM190`. Default column `deliveryName`.
    DeliveryName,
    /// Label of the delivery. Default column `deliveryLabel`.
    DeliveryLabel,
    /// Id of the delivery log. Default column `broadLogId`.
    BroadLogId,
    /// Id of the tracking log. Default column `trackingLogId`.
    TrackingLogId,
    /// Address of the link that was followed. Default column `url`.
    Url,
    /// Address of the mirror page. Default column `mirrorPageUrl`.
    MirrorPageUrl,
    /// `hard` or `soft`. Default column `bounceType`.
    BounceType,
    /// Why it came back. Default column `reason`.
    Reason,
}

const DEFAULTS: [(LogField, &str); 13] = [
    (LogField::ExternalId, "externalId"),
    (LogField::RecipientId, "recipientId"),
    (LogField::Email, "email"),
    (LogField::CampaignName, "campaignName"),
    (LogField::DeliveryName, "deliveryName"),
    (LogField::DeliveryLabel, "deliveryLabel"),
    (LogField::BroadLogId, "broadLogId"),
    (LogField::TrackingLogId, "trackingLogId"),
    (LogField::Url, "url"),
    (LogField::MirrorPageUrl, "mirrorPageUrl"),
    (LogField::BounceType, "bounceType"),
    (LogField::Reason, "reason"),
    (LogField::Kind, "eventType"),
];

/// How the kind of a row is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogKindRule {
    /// Every row of the file is of this kind, as where one workflow exports one log.
    Fixed(LogKind),
    /// By the word in the column of [`LogField::Kind`].
    Words {
        /// Words and what they mean.
        words: BTreeMap<String, LogKind>,
        /// Whether a row with another word is left out; else it is refused.
        ignore_others: bool,
    },
}

impl Default for LogKindRule {
    /// The words `send`, `open`, `click` and `bounce`; others are refused.
    fn default() -> Self {
        let words =
            [("send", LogKind::Send), ("open", LogKind::Open), ("click", LogKind::Click), ("bounce", LogKind::Bounce)];
        Self::Words { words: words.map(|(word, kind)| (word.to_owned(), kind)).into(), ignore_others: false }
    }
}

/// The layout of a log file. The extract activity writes the columns that its author chose, so all of it can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLayout {
    /// The columns. By default those that [`LogField`] names: the time is required, the others may be missing.
    pub columns: ColumnMap<LogField>,
    /// The kind.
    pub kind: LogKindRule,
    /// Offset of times that name none. Default UTC.
    pub offset: FixedOffset,
}

impl Default for LogLayout {
    fn default() -> Self {
        let time = ColumnMap::default().with(LogField::At, "timestamp");
        let columns = DEFAULTS.into_iter().fold(time, |map, (field, column)| map.with_optional(field, column));
        Self { columns, kind: LogKindRule::default(), offset: super::utc() }
    }
}

/// A mail event as a log file tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    /// Line of the file.
    pub line: u64,
    /// What happened.
    pub kind: LogKind,
    /// When.
    pub at: FileTime,
    fields: BTreeMap<LogField, String>,
}

impl LogRow {
    /// A text field; `None` where the file has no column for it, or the value is empty.
    #[must_use]
    pub fn get(&self, field: LogField) -> Option<&str> {
        self.fields.get(&field).map(String::as_str)
    }
}

/// Makes mail events of rows.
#[derive(Debug, Clone)]
pub struct LogDecoder {
    places: BTreeMap<LogField, usize>,
    at: usize,
    at_column: String,
    kind: LogKindRule,
    offset: FixedOffset,
}

impl LogDecoder {
    /// Finds the columns in a header.
    ///
    /// # Errors
    /// [`ExchangeErrorKind::Layout`] when a required column is missing, or that of the kind where words tell it.
    pub fn new(header: &[String], layout: &LogLayout) -> Result<Self, ExchangeError> {
        let mut places = layout.columns.resolve(header)?;
        let lacks =
            |what: &str| ExchangeError::because(ExchangeErrorKind::Layout, format!("the header lacks the {what}"));
        let at = places.remove(&LogField::At).ok_or_else(|| lacks("column of the time"))?;
        if matches!(layout.kind, LogKindRule::Words { .. }) && !places.contains_key(&LogField::Kind) {
            return Err(lacks("column of the kind"));
        }
        let at_column = header.get(at).cloned().unwrap_or_default();
        Ok(Self { places, at, at_column, kind: layout.kind.clone(), offset: layout.offset })
    }

    /// Makes a typed row; `None` for one that the rule of the kind leaves out.
    ///
    /// # Errors
    /// A kind that is not known, a time that cannot be read.
    pub fn decode(&self, row: &Row) -> Result<Option<LogRow>, RowError> {
        let refused = |kind| RowError { line: row.line(), kind };
        let value = |column: usize| row.get(column).unwrap_or_default();
        let kind = match &self.kind {
            LogKindRule::Fixed(kind) => *kind,
            LogKindRule::Words { words, ignore_others } => {
                let word = self.places.get(&LogField::Kind).map(|column| value(*column)).unwrap_or_default();
                match words.get(word) {
                    Some(kind) => *kind,
                    None if *ignore_others => return Ok(None),
                    None => return Err(refused(RowErrorKind::UnknownKind)),
                }
            }
        };
        let at = FileTime::parse(value(self.at), self.offset)
            .ok_or_else(|| refused(RowErrorKind::NotTime { column: self.at_column.clone() }))?;
        let texts = self.places.iter().map(|(field, column)| (*field, value(*column)));
        let fields = texts.filter(|(_, text)| !text.is_empty()).map(|(field, text)| (field, text.to_owned())).collect();
        Ok(Some(LogRow { line: row.line(), kind, at, fields }))
    }
}
