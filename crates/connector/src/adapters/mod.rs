//! The two products as the engine's source, transform and destination.

pub(crate) mod addressing;
pub(crate) mod campaign_destination;
pub(crate) mod campaign_schema;
pub(crate) mod client_metrics;
pub(crate) mod consent;
pub(crate) mod dataverse_schema;
pub(crate) mod dataverse_source;
pub(crate) mod engine_calls;
#[cfg(feature = "exchange")]
pub(crate) mod exports;
pub(crate) mod gates;
pub(crate) mod kept;
pub(crate) mod plan_transform;
pub(crate) mod timeline;
pub(crate) mod urgency;

use sync_core::EndpointError;
use sync_core::traits::{Outcome, Report};

/// How a call ends whose operation at `index` could not be sent: where it is the first, nothing was, and the call failed; otherwise the
/// call as a whole was made, and what is left of it had no effect and is tried again.
fn unsent(report: &mut Report, index: usize, operations: usize, error: EndpointError) -> Result<(), EndpointError> {
    if index == 0 {
        return Err(error);
    }
    for rest in index..operations {
        report.set(rest, Outcome::Retry { after: error.retry_after(), code: error.code().to_owned() });
    }
    Ok(())
}

/// A stable code: the side, then the kind's name in kebab case.
fn kebab(side: &str, name: &str) -> String {
    let mut code = String::from(side);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            code.push('-');
        }
        code.push(letter.to_ascii_lowercase());
    }
    code
}
