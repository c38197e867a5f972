//! What became of the emails: each send, open, click and bounce once, whatever channel tells of it and how often.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

/// What happened to an email.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum MailKind {
    Send,
    Open,
    Click,
    HardBounce,
    SoftBounce,
}

impl MailKind {
    /// The word of the payload: both bounces have the same.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Open => "open",
            Self::Click => "click",
            Self::HardBounce | Self::SoftBounce => "bounce",
        }
    }
}

/// Name, label and campaign of the deliveries.
pub(super) const DELIVERIES: [(&str, &str, &str); 8] = [
    ("DM190", "Spring", "2026LoyaltyCamp"),
    ("DM191", "Spring, second wave", "2026LoyaltyCamp"),
    ("DM204", "Été à Paris", "CAMP2010"),
    ("DM211", "Newsletter", "CAMP2010"),
    ("DM230", "Welcome", "WelcomeSeries"),
    ("DM231", "Welcome; day 3", "WelcomeSeries"),
    ("DM240", "新製品", "2026Launch"),
    ("DM241", "Reminder", "2026Launch"),
];

/// Addresses that are clicked.
pub(super) const URLS: [&str; 5] = [
    "https://shop.example.org/p/1",
    "https://shop.example.org/p/2?utm_source=mail&utm_medium=email",
    "https://shop.example.org/s?q=caf%C3%A9%20au%20lait#top",
    "https://news.example.org/2026/02/spring",
    "https://account.example.org/preferences",
];

const HARD: [&str; 3] = ["unknown_user", "quarantined", "address_empty"];
const SOFT: [&str; 3] = ["mailbox_full", "unreachable", "invalid_domain"];

/// One who gets email.
#[derive(Debug, Clone)]
pub(super) struct Recipient {
    /// Id of the contact; none for a profile that came into Campaign otherwise.
    pub(super) external: Option<u128>,
    pub(super) email: String,
}

/// One event, with numbers in the place of names.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: u128,
    pub(super) at: i64,
    pub(super) broad_log: u32,
    /// Of opens and clicks; 0 otherwise.
    pub(super) tracking_log: u32,
    pub(super) recipient: u32,
    pub(super) kind: MailKind,
    pub(super) delivery: u8,
    pub(super) url: u8,
    /// Deliveries in the journal.
    pub(super) copies: u8,
}

/// One event in full.
#[derive(Debug, Clone)]
pub(crate) struct MailRecord {
    pub(crate) id: String,
    pub(crate) kind: MailKind,
    /// Milliseconds since 1970.
    pub(crate) at: i64,
    /// `""` for a profile without one.
    pub(crate) external_id: String,
    pub(crate) recipient_id: u64,
    pub(crate) email: String,
    pub(crate) campaign: &'static str,
    pub(crate) delivery: &'static str,
    pub(crate) delivery_label: &'static str,
    pub(crate) broad_log: u64,
    /// Of opens and clicks.
    pub(crate) tracking_log: Option<u64>,
    /// Of clicks.
    pub(crate) url: Option<&'static str>,
    /// Left out where the customer declined to have it.
    pub(crate) mirror_page: Option<String>,
    /// Of bounces.
    pub(crate) reason: Option<&'static str>,
    /// How often the journal delivers it.
    pub(crate) copies: u8,
}

impl MailRecord {
    /// `hard` or `soft` of a bounce.
    pub(crate) fn bounce_type(&self) -> Option<&'static str> {
        match self.kind {
            MailKind::HardBounce => Some("hard"),
            MailKind::SoftBounce => Some("soft"),
            MailKind::Send | MailKind::Open | MailKind::Click => None,
        }
    }

    /// The data of the event, as the journal delivers it.
    pub(crate) fn payload(&self) -> Value {
        json!({
            "eventType": self.kind.word(),
            "timestamp": iso_millis(self.at),
            "externalId": self.external_id,
            "recipientId": self.recipient_id,
            "email": self.email,
            "campaignName": self.campaign,
            "deliveryName": self.delivery,
            "deliveryLabel": self.delivery_label,
            "broadLogId": self.broad_log,
            "trackingLogId": self.tracking_log,
            "url": self.url,
            "mirrorPageUrl": self.mirror_page,
            "bounceType": self.bounce_type(),
            "reason": self.reason,
        })
    }
}

/// `2026-02-21T09:26:57.584Z`.
pub(super) fn iso_millis(at: i64) -> String {
    DateTime::from_timestamp_millis(at).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) recipients: Vec<Recipient>,
    pub(super) by_external: HashMap<u128, u32>,
    pub(super) entries: Vec<Entry>,
    /// Sends so far, phantom ones of which only the consequences are known included.
    pub(super) broad_logs: u32,
    pub(super) tracking_logs: u32,
}

/// All events that were made, in the order in which they were. The journal and the log exports tell of them.
#[derive(Debug, Default)]
pub(crate) struct MailLog {
    book: Mutex<Book>,
}

impl MailLog {
    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of events.
    pub(crate) fn len(&self) -> usize {
        self.book().entries.len()
    }

    /// Events by their numbers; what lies behind the last one is left out.
    pub(crate) fn records(&self, range: Range<usize>) -> Vec<MailRecord> {
        let book = self.book();
        range.map_while(|at| book.entries.get(at)).map(|entry| record(&book, entry)).collect()
    }

    /// Events by their numbers, in any order.
    pub(super) fn pick(&self, numbers: &[u32]) -> Vec<MailRecord> {
        let book = self.book();
        let entries = numbers.iter().filter_map(|at| book.entries.get(*at as usize));
        entries.map(|entry| record(&book, entry)).collect()
    }
}

fn record(book: &Book, entry: &Entry) -> MailRecord {
    let (delivery, delivery_label, campaign) =
        DELIVERIES.get(usize::from(entry.delivery)).copied().unwrap_or(("", "", ""));
    let recipient = book.recipients.get(entry.recipient as usize);
    let secret = xxh3_64(&entry.broad_log.to_le_bytes());
    let guid = |id: u128| uuid::Uuid::from_u128(id).hyphenated().to_string();
    let among = |reasons: [&'static str; 3]| reasons.get(entry.id as usize % 3).copied();
    MailRecord {
        id: guid(entry.id),
        kind: entry.kind,
        at: entry.at,
        external_id: recipient.and_then(|r| r.external).map(guid).unwrap_or_default(),
        recipient_id: 100_000 + u64::from(entry.recipient),
        email: recipient.map(|r| r.email.clone()).unwrap_or_default(),
        campaign,
        delivery,
        delivery_label,
        broad_log: u64::from(entry.broad_log),
        tracking_log: (entry.tracking_log > 0).then_some(u64::from(entry.tracking_log)),
        url: (entry.kind == MailKind::Click).then(|| URLS.get(usize::from(entry.url)).copied()).flatten(),
        mirror_page: (!secret.is_multiple_of(16))
            .then(|| format!("https://t.acme.example/nl/jsp/m.jsp?c={secret:016x}%3D")),
        reason: match entry.kind {
            MailKind::HardBounce => among(HARD),
            MailKind::SoftBounce => among(SOFT),
            MailKind::Send | MailKind::Open | MailKind::Click => None,
        },
        copies: entry.copies,
    }
}
