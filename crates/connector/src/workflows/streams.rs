//! Which workflows a configuration has, and what their streams are called.

use sync_core::StreamId;

use super::{egress, ingress};
use crate::config::Config;

/// What an operator calls a stream.
#[derive(Debug, Clone)]
pub(crate) struct StreamLabel {
    pub(crate) id: StreamId,
    /// The Dynamics 365 side.
    pub(crate) table: String,
    /// The Campaign side.
    pub(crate) resource: String,
}

/// The streams of ingress.
pub(crate) fn of_ingress(config: &Config) -> Vec<StreamLabel> {
    let label = |spec: &mapping::TableSpec| StreamLabel {
        id: ingress::stream_id(spec),
        table: spec.table.clone(),
        resource: spec.resource.clone(),
    };
    config.tables.iter().map(label).collect()
}

/// The streams of egress; none where every kind of event is off.
pub(crate) fn of_egress(config: &Config) -> Vec<StreamLabel> {
    let sources = config.events.sources().filter(|_| config.events.is_on());
    let label = |source: &crate::config::EventSource| StreamLabel {
        id: egress::stream_id(source),
        table: "activitypointer".to_owned(),
        resource: egress::source_name(source).to_owned(),
    };
    sources.map(label).collect()
}

/// What an operator calls a stream, also one of an earlier configuration.
pub(crate) fn table_of(config: &Config, stream: &StreamId) -> String {
    let all = of(config).into_iter().flat_map(|(_, streams)| streams);
    let known = all.into_iter().find(|label| label.id == *stream);
    known.map_or_else(|| ingress::table_of(stream).to_owned(), |label| label.table)
}

/// Every workflow that is configured, in the order in which they are started.
pub(crate) fn of(config: &Config) -> Vec<(&'static str, Vec<StreamLabel>)> {
    let all = [(ingress::NAME, of_ingress(config)), (egress::NAME, of_egress(config))];
    all.into_iter().filter(|(_, streams)| !streams.is_empty()).collect()
}
