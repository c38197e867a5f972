//! What an event says about an email: read by JSON pointers, since Adobe does not publish the payload of Campaign's events.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::JournalEvent;
use crate::value::parse_datetime;

/// What happened to an email.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailKind {
    /// It was sent.
    Send,
    /// It was opened.
    Open,
    /// A link in it was followed.
    Click,
    /// It came back.
    Bounce,
}

impl fmt::Display for MailKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Send => "send",
            Self::Open => "open",
            Self::Click => "click",
            Self::Bounce => "bounce",
        })
    }
}

/// One event of one email. `Debug` shows what the delivery is, not whom it went to.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MailEvent {
    /// What happened.
    pub kind: MailKind,
    /// For a bounce, whether it is hard: the address will not work later either.
    pub hard: bool,
    /// The name of the delivery, `DM190`.
    pub delivery: String,
    /// The name of the campaign; `None` for a delivery without one.
    pub campaign: Option<String>,
    /// The external id of the recipient; `None` for a profile without one, whom no contact stands for.
    pub recipient: Option<String>,
    /// When it happened.
    pub instant: DateTime<Utc>,
    /// What tells apart two events that are equal otherwise: the id of the entry in Campaign's log.
    pub ordinal: Option<String>,
    /// The address that was followed.
    pub url: Option<String>,
    /// The mirror page of the email.
    pub mirror_page: Option<String>,
    /// The id of the event, where the envelope has one. Two deliveries of the event have the same.
    pub event_id: Option<String>,
}

impl MailEvent {
    /// An event of which nothing more is known.
    #[must_use]
    pub fn new(kind: MailKind, delivery: impl Into<String>, instant: DateTime<Utc>) -> Self {
        Self {
            kind,
            hard: false,
            delivery: delivery.into(),
            campaign: None,
            recipient: None,
            instant,
            ordinal: None,
            url: None,
            mirror_page: None,
            event_id: None,
        }
    }
}

impl fmt::Debug for MailEvent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MailEvent")
            .field("kind", &self.kind)
            .field("hard", &self.hard)
            .field("delivery", &self.delivery)
            .field("campaign", &self.campaign)
            .field("event_id", &self.event_id)
            .finish_non_exhaustive()
    }
}

/// Makes sense of events. Implement it for a provider whose events pointers cannot describe.
pub trait DecodeEvents: fmt::Debug + Send + Sync {
    /// Reads one event; `None` for one that is not about email, which is no fault.
    ///
    /// # Errors
    /// An event about email that lacks something. It will lack it the next time, too.
    fn decode(&self, event: &JournalEvent) -> Result<Option<MailEvent>, DecodeError>;
}

/// What is wrong with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecodeFault {
    /// It is not there, null or empty.
    Missing,
    /// It is neither text nor a number.
    NotText,
    /// It is not a time.
    NotATime,
}

impl fmt::Display for DecodeFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Missing => "is missing",
            Self::NotText => "is neither text nor a number",
            Self::NotATime => "is not a time",
        })
    }
}

/// An event about email that cannot be read. It names the place, never what stands there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {kind}: the {field} at {pointer} {fault}")]
pub struct DecodeError {
    /// The kind of event.
    pub kind: MailKind,
    /// What was looked for.
    pub field: &'static str,
    /// Where, as configured.
    pub pointer: String,
    /// What is wrong.
    pub fault: DecodeFault,
}

/// Where the kind of an event stands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KindSource {
    /// In the `type` of the envelope.
    Envelope,
    /// At this pointer into the data.
    Data(String),
}

/// Where the values of one kind of event stand: pointers of RFC 6901 into the data.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FieldPointers {
    /// The name of the delivery.
    pub delivery: String,
    /// The name of the campaign.
    pub campaign: String,
    /// The external id of the recipient.
    pub recipient: String,
    /// The time: text of ISO 8601, with `T` or a space, or a number of milliseconds since 1970.
    pub instant: String,
    /// The id of the entry in the log: the first of these that is there. Without a pointer, events have none.
    pub ordinal: Vec<String>,
    /// The address that was followed.
    pub url: String,
    /// The mirror page.
    pub mirror_page: String,
    /// Whether a bounce is hard.
    pub bounce_type: String,
}

impl Default for FieldPointers {
    fn default() -> Self {
        Self {
            delivery: "/deliveryName".to_owned(),
            campaign: "/campaignName".to_owned(),
            recipient: "/externalId".to_owned(),
            instant: "/timestamp".to_owned(),
            // Sends and bounces are in the delivery log, opens and clicks in the tracking log.
            ordinal: vec!["/trackingLogId".to_owned(), "/broadLogId".to_owned()],
            url: "/url".to_owned(),
            mirror_page: "/mirrorPageUrl".to_owned(),
            bounce_type: "/bounceType".to_owned(),
        }
    }
}

/// The usual [`DecodeEvents`]. The defaults read this payload, an assumption of this library, not a document of Adobe's:
///
/// ```json
/// {"eventType":"click","timestamp":"2026-02-21T09:26:57.584Z","externalId":"8c1f...","campaignName":"2026LoyaltyCamp",
///  "deliveryName":"DM190","broadLogId":98765,"trackingLogId":4242,"url":"https://shop.example.org/p/1",
///  "mirrorPageUrl":"https://t.acme.example/nl/jsp/m.jsp?c=..","bounceType":null}
/// ```
///
/// A missing delivery, time or ordinal makes an event unreadable; a missing campaign, recipient or address does not.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventPointers {
    /// Where the kind stands. Default: `/eventType` of the data.
    pub kind: KindSource,
    /// What stands there for which kind. Events of other kinds are passed over. Default: `send`, `open`, `click`, `bounce`.
    pub names: BTreeMap<String, MailKind>,
    /// What stands at `bounce_type` of a hard bounce; everything else is soft. Default: `hard`, in any letter case.
    pub hard: Vec<String>,
    /// Pointers of sends.
    pub send: FieldPointers,
    /// Pointers of opens.
    pub open: FieldPointers,
    /// Pointers of clicks.
    pub click: FieldPointers,
    /// Pointers of bounces.
    pub bounce: FieldPointers,
}

impl Default for EventPointers {
    fn default() -> Self {
        let kinds = [MailKind::Send, MailKind::Open, MailKind::Click, MailKind::Bounce];
        Self {
            kind: KindSource::Data("/eventType".to_owned()),
            names: kinds.into_iter().map(|kind| (kind.to_string(), kind)).collect(),
            hard: vec!["hard".to_owned()],
            send: FieldPointers::default(),
            open: FieldPointers::default(),
            click: FieldPointers::default(),
            bounce: FieldPointers::default(),
        }
    }
}

impl EventPointers {
    /// The pointers of one kind.
    #[must_use]
    pub fn of(&self, kind: MailKind) -> &FieldPointers {
        match kind {
            MailKind::Send => &self.send,
            MailKind::Open => &self.open,
            MailKind::Click => &self.click,
            MailKind::Bounce => &self.bounce,
        }
    }

    /// What is wrong with the pointers, one sentence each: a pointer begins with `/`.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |name: String, pointer: &str| {
            if !pointer.starts_with('/') {
                problems.push(format!("{name}: a JSON pointer begins with '/'"));
            }
        };
        if let KindSource::Data(pointer) = &self.kind {
            check("kind".to_owned(), pointer);
        }
        for kind in [MailKind::Send, MailKind::Open, MailKind::Click, MailKind::Bounce] {
            let own = self.of(kind);
            for (field, pointer) in [
                ("delivery", &own.delivery),
                ("campaign", &own.campaign),
                ("recipient", &own.recipient),
                ("instant", &own.instant),
                ("url", &own.url),
                ("mirror_page", &own.mirror_page),
                ("bounce_type", &own.bounce_type),
            ] {
                check(format!("{kind}.{field}"), pointer);
            }
            for pointer in &own.ordinal {
                check(format!("{kind}.ordinal"), pointer);
            }
        }
        problems
    }
}

impl DecodeEvents for EventPointers {
    fn decode(&self, event: &JournalEvent) -> Result<Option<MailEvent>, DecodeError> {
        let name = match &self.kind {
            KindSource::Envelope => event.kind.as_deref(),
            KindSource::Data(pointer) => event.data.pointer(pointer).and_then(Value::as_str),
        };
        let Some(kind) = name.and_then(|name| self.names.get(name)).copied() else { return Ok(None) };
        let pointers = self.of(kind);
        let reader = Reader { kind, data: &event.data };
        let bounce_type = match kind {
            MailKind::Bounce => Some(reader.required("bounce type", &pointers.bounce_type)?),
            MailKind::Send | MailKind::Open | MailKind::Click => None,
        };
        let hard = bounce_type.is_some_and(|given| self.hard.iter().any(|word| given.eq_ignore_ascii_case(word)));
        let url = match kind {
            MailKind::Click => reader.optional("url", &pointers.url)?,
            MailKind::Send | MailKind::Open | MailKind::Bounce => None,
        };
        Ok(Some(MailEvent {
            kind,
            hard,
            delivery: reader.required("delivery name", &pointers.delivery)?,
            campaign: reader.optional("campaign name", &pointers.campaign)?,
            recipient: reader.optional("external id", &pointers.recipient)?,
            instant: reader.instant(&pointers.instant)?,
            ordinal: reader.ordinal(&pointers.ordinal)?,
            url,
            mirror_page: reader.optional("mirror page", &pointers.mirror_page)?,
            event_id: event.id.clone(),
        }))
    }
}

struct Reader<'e> {
    kind: MailKind,
    data: &'e Value,
}

impl Reader<'_> {
    fn fault(&self, field: &'static str, pointer: &str, fault: DecodeFault) -> DecodeError {
        DecodeError { kind: self.kind, field, pointer: pointer.to_owned(), fault }
    }

    fn optional(&self, field: &'static str, pointer: &str) -> Result<Option<String>, DecodeError> {
        match self.data.pointer(pointer) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
                Err(self.fault(field, pointer, DecodeFault::NotText))
            }
        }
    }

    fn required(&self, field: &'static str, pointer: &str) -> Result<String, DecodeError> {
        self.optional(field, pointer)?.ok_or_else(|| self.fault(field, pointer, DecodeFault::Missing))
    }

    fn ordinal(&self, pointers: &[String]) -> Result<Option<String>, DecodeError> {
        let Some(first) = pointers.first() else { return Ok(None) };
        for pointer in pointers {
            if let Some(found) = self.optional("log id", pointer)? {
                return Ok(Some(found));
            }
        }
        Err(self.fault("log id", first, DecodeFault::Missing))
    }

    fn instant(&self, pointer: &str) -> Result<DateTime<Utc>, DecodeError> {
        let text = self.required("time", pointer)?;
        let millis = self.data.pointer(pointer).and_then(Value::as_i64);
        let instant = match millis {
            Some(millis) => DateTime::from_timestamp_millis(millis),
            None => parse_datetime(&text),
        };
        instant.ok_or_else(|| self.fault("time", pointer, DecodeFault::NotATime))
    }
}
