use std::fmt;

use serde::Deserialize;
use serde_json::Value;

/// One entry of a journal: the envelope read, the data left as JSON. `Debug` shows no data.
///
/// Three envelopes are known (developer.adobe.com, "CloudEvents"): CloudEvents 1.0; the same with the id of the journal spelled
/// `event_id`; and the older one, which has `event_id` and the data under `event`.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct JournalEvent {
    /// Where the entry stands: opaque, and for [`JournalStart::Since`](crate::JournalStart::Since).
    pub position: String,
    /// What the event is known by: the same for each delivery of it. The provider's `id`, else the journal's own.
    pub id: Option<String>,
    /// The `type` of the envelope, which is the event code of the provider.
    pub kind: Option<String>,
    /// The `data`, or what stands in its place.
    pub data: Value,
}

impl fmt::Debug for JournalEvent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("JournalEvent")
            .field("position", &self.position)
            .field("id", &self.id)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
pub(super) struct WirePage {
    pub(super) events: Vec<WireEntry>,
    #[serde(default, rename = "_page")]
    pub(super) page: WireBounds,
}

#[derive(Default, Deserialize)]
pub(super) struct WireBounds {
    #[serde(default)]
    pub(super) last: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct WireEntry {
    position: String,
    event: Value,
}

impl From<WireEntry> for JournalEvent {
    fn from(entry: WireEntry) -> Self {
        let mut event = entry.event;
        let text = |name: &str| event.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let id = ["id", "eventid", "event_id"].iter().find_map(|name| text(name)).map(str::to_owned);
        let kind = text("type").map(str::to_owned);
        let data = ["data", "event"].iter().find_map(|name| event.get_mut(*name).map(Value::take));
        // An event without an envelope is its own data.
        Self { position: entry.position, id, kind, data: data.unwrap_or(event) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(event: Value) -> JournalEvent {
        JournalEvent::from(WireEntry { position: "p".to_owned(), event })
    }

    #[test]
    fn every_envelope_gives_the_same_event() {
        let data = json!({"eventType": "open"});
        let new = read(json!({"specversion": "1.0", "type": "t", "id": "i", "eventid": "e", "data": data}));
        assert_eq!((new.id.as_deref(), new.kind.as_deref(), &new.data), (Some("i"), Some("t"), &data));
        let respelled = read(json!({"type": "t", "event_id": "e", "recipient_client_id": "c", "data": data}));
        assert_eq!((respelled.id.as_deref(), &respelled.data), (Some("e"), &data));
        let before = read(json!({"event_id": "e", "recipient_client_id": "c", "event": data}));
        assert_eq!((before.id.as_deref(), before.kind, &before.data), (Some("e"), None, &data));
        let bare = read(data.clone());
        assert_eq!((bare.id, bare.data), (None, data));
    }

    #[test]
    fn debug_shows_no_data() {
        let event = read(json!({"id": "i", "data": {"email": "CANARY"}}));
        assert!(!format!("{event:?}").contains("CANARY"));
    }
}
