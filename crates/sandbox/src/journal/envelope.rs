//! Events as a journal wraps them (developer.adobe.com, "CloudEvents").

use serde_json::{Value, json};

use super::mail_log::{MailRecord, iso_millis};
use super::switches::EnvelopeForm;

/// The provider of the events: Adobe does not publish that of Campaign.
const PROVIDER: &str = "urn:uuid:7a1c6c1e-2f0b-4d3c-9e54-5d0c9a1b2e3f";

/// One event in its envelope.
pub(super) fn wrap(event: &MailRecord, form: EnvelopeForm, client_id: &str) -> Value {
    let (payload, id) = (event.payload(), event.id.as_str());
    // The id that the journal gives, beside the provider's own.
    let own = format!("e{}", id.get(1..).unwrap_or_default());
    if form == EnvelopeForm::BeforeCloudEvents {
        return json!({"event_id": id, "recipient_client_id": client_id, "event": payload});
    }
    let (event_id, recipient) = match form {
        EnvelopeForm::OldSpelling => ("event_id", "recipient_client_id"),
        EnvelopeForm::CloudEvents | EnvelopeForm::BeforeCloudEvents => ("eventid", "recipientclientid"),
    };
    json!({
        "specversion": "1.0",
        "type": format!("campaign_standard_email_{}", event.kind.word()),
        "source": PROVIDER,
        "id": id,
        "time": iso_millis(event.at),
        "datacontenttype": "application/json",
        event_id: own,
        recipient: client_id,
        "data": payload,
    })
}
