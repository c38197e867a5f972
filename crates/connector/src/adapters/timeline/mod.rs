//! Email events of Campaign as activities on the timeline of the contact.

pub(crate) mod activity;
pub(crate) mod destination;
pub(crate) mod event;
pub(crate) mod gaps_only;
mod gather;
pub(crate) mod journal_source;
