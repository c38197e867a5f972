//! Adobe I/O Events' journal imitated (developer.adobe.com, "Journaling API"): the sends, opens, clicks and bounces of email, at
//! least once and in any order, each kept for seven days.
//!
//! What happened is in `MailLog`, each event once; the journal lists deliveries of it. The payload is the sandbox's own: Adobe
//! does not publish that of Campaign.

mod calls;
mod envelope;
mod feed;
pub(crate) mod mail_log;
mod maker;
mod position;
mod service;
mod switches;

pub(crate) use calls::{configure, list, make};
pub(crate) use service::{JournalAddress, JournalService};
pub use switches::{EnvelopeForm, JournalScenario, LinkForm};
