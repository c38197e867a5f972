//! What of the journal the public pages leave open or a provider decides.

use serde::Deserialize;

/// The journal. Everything has a default; unknown keys are errors.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JournalScenario {
    /// Form of the addresses in `Link`.
    pub links: LinkForm,
    /// Form of the events.
    pub envelope: EnvelopeForm,
    /// Events of a page for which no `limit` was asked. The service chooses by itself.
    pub page_size: u64,
    /// Days for which an event is kept.
    pub retention_days: u32,
}

impl Default for JournalScenario {
    fn default() -> Self {
        Self { links: LinkForm::Relative, envelope: EnvelopeForm::CloudEvents, page_size: 500, retention_days: 7 }
    }
}

/// Form of the addresses in `Link`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkForm {
    /// Path and query.
    Relative,
    /// Whole addresses.
    Absolute,
    /// Whole addresses when `x-adobe-io-events-url-links: true` asks for them.
    AsAsked,
    /// Addresses of another host.
    Foreign,
}

/// Form of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvelopeForm {
    /// CloudEvents 1.0.
    CloudEvents,
    /// The same with `event_id` and `recipient_client_id`, the spelling that is kept until the end of 2026.
    OldSpelling,
    /// What was there before: `event_id`, `recipient_client_id` and the payload under `event`.
    BeforeCloudEvents,
}
