//! An email event as a change of the record that stands for it: its activity.

use campaign_client::{DecodeError, DecodeFault, MailEvent, MailKind};
use record::{Change, ChangeBody, FieldName, Key, Record, Value, ValueError};
use uuid::Uuid;

/// The space of the activities' ids. It is never changed: with another one, every event that is told once more would be a second
/// activity.
const SPACE: Uuid = Uuid::from_u128(0x6d0f_3c1e_52b7_5c44_9a5e_8e1b_7f20_d3a9);

pub(crate) const KIND: &str = "kind";
pub(crate) const HARD: &str = "hard";
pub(crate) const DELIVERY: &str = "delivery";
pub(crate) const CAMPAIGN: &str = "campaign";
pub(crate) const RECIPIENT: &str = "recipient";
pub(crate) const INSTANT: &str = "instant";
pub(crate) const URL: &str = "url";
pub(crate) const MIRROR_PAGE: &str = "mirror_page";

/// The id of an event's activity: the same event has the same one, whoever tells of it, and however often.
///
/// The instant counts in whole seconds, since not every source tells fractions of them. Two events of one recipient, delivery, kind
/// and second are told apart by the number of their row in Campaign's log, which sources have to give alike.
pub(crate) fn activity_id(event: &MailEvent) -> Uuid {
    let recipient = event.recipient.as_deref().unwrap_or_default().to_ascii_lowercase();
    let ordinal = event.ordinal.as_deref().unwrap_or("0");
    // Each part with its length: no two events can read alike.
    let parts = [&event.delivery, &recipient, event.kind.name(), &event.instant.timestamp().to_string(), ordinal];
    let name = parts.iter().fold(String::new(), |name, part| format!("{name}{}:{part}", part.len()));
    Uuid::new_v5(&SPACE, name.as_bytes())
}

/// The change that an event is. Events have no versions: what is told again is equal.
pub(crate) fn change(event: &MailEvent) -> Change {
    let text = |text: &Option<String>| text.as_ref().map_or(Value::Null, |text| Value::text(text.as_str()));
    let mut record = Record::with_capacity(8);
    let fields = [
        (KIND, Value::text(event.kind.name())),
        (HARD, Value::Bool(event.hard)),
        (DELIVERY, Value::text(event.delivery.as_str())),
        (CAMPAIGN, text(&event.campaign)),
        (RECIPIENT, text(&event.recipient)),
        (INSTANT, Value::DateTime(event.instant)),
        (URL, text(&event.url)),
        (MIRROR_PAGE, text(&event.mirror_page)),
    ];
    for (name, value) in fields {
        record.push(FieldName::from(name), value);
    }
    Change { key: Key::Guid(activity_id(event)), version: None, body: ChangeBody::Upsert(record) }
}

/// An event that cannot be read: it becomes a dead letter with the place at fault, and holds up no other.
pub(crate) fn unreadable(id: &str, error: &DecodeError) -> Change {
    let expected = match error.fault {
        DecodeFault::Missing => "a value that is there",
        DecodeFault::NotText => "a text or a number",
        DecodeFault::NotATime => "a time",
        _ => "a value of another form",
    };
    let field = FieldName::from(error.pointer.as_str());
    Change { key: Key::text(id), version: None, body: ChangeBody::Unreadable { field, error: ValueError { expected } } }
}

/// What is expected of a record that is read once more.
pub(crate) const KEPT: &str = "a record that its source still keeps";

/// What stands for an event that its source does not keep any longer.
pub(crate) fn gone(key: &Key) -> Change {
    let error = ValueError { expected: KEPT };
    Change { key: key.clone(), version: None, body: ChangeBody::Unreadable { field: FieldName::from(KIND), error } }
}

/// Whether this is the error of [`gone`], or of a file that is gone.
pub(crate) fn is_gone(error: &ValueError) -> bool {
    error.expected == KEPT
}

/// The names of the kinds, which are parts of the ids.
pub(crate) trait Named {
    fn name(&self) -> &'static str;
}

impl Named for MailKind {
    fn name(&self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Open => "open",
            Self::Click => "click",
            Self::Bounce => "bounce",
        }
    }
}

/// The kind of that name.
pub(crate) fn kind_of(name: &str) -> Option<MailKind> {
    [MailKind::Send, MailKind::Open, MailKind::Click, MailKind::Bounce].into_iter().find(|kind| kind.name() == name)
}
