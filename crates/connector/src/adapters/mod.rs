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
