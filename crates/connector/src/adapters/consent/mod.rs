//! Opt-outs of both sides, looked at and written by the protocol of `docs/protocols/consent.md`.

pub(crate) mod campaign_source;
pub(crate) mod destination;
pub(crate) mod following;
pub(crate) mod inserts;
pub(crate) mod overdue;
pub(crate) mod sides;
pub(crate) mod transform;
pub(crate) mod turns;

use consent::{LedgerError, LedgerErrorKind};
use sync_core::{EndpointError, EndpointErrorKind};

/// A ledger that cannot be asked lets nothing be sent.
pub(crate) fn ledger_error(error: LedgerError) -> EndpointError {
    let kind = match error.kind() {
        LedgerErrorKind::Unavailable | LedgerErrorKind::Full => EndpointErrorKind::Unavailable,
        _ => EndpointErrorKind::Refused,
    };
    let code = super::kebab("consent", &format!("{:?}", error.kind()));
    EndpointError::new(kind, code, error.to_string(), error.remedy()).with_source(error)
}
