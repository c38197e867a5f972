//! Which workflows a configuration has, and what their streams are called.

use sync_core::StreamId;

use super::{egress, ingress, opt_in_out};
use crate::config::{Config, OptOutSource};

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

/// The streams of opt-in and opt-out; none where the direction is disabled.
pub(crate) fn of_opt_in_out(config: &Config) -> Vec<StreamLabel> {
    let opt_out = &config.opt_out;
    let d365 = opt_out.direction.reads_d365().then(|| (opt_in_out::d365_stream(), "profile"));
    let by = match &opt_out.source {
        Some(OptOutSource::Export { .. }) => "profile, by export",
        _ => "profile, by filter",
    };
    let campaign = opt_out.direction.reads_campaign().then(|| (opt_in_out::campaign_stream(), by));
    let label = |(id, resource): (StreamId, &str)| StreamLabel {
        id,
        table: "contact".to_owned(),
        resource: resource.to_owned(),
    };
    d365.into_iter().chain(campaign).map(label).collect()
}

/// Every workflow that is configured, in the order in which they are started.
pub(crate) fn of(config: &Config) -> Vec<(&'static str, Vec<StreamLabel>)> {
    let all = [
        (ingress::NAME, of_ingress(config)),
        (egress::NAME, of_egress(config)),
        (opt_in_out::NAME, of_opt_in_out(config)),
    ];
    all.into_iter().filter(|(_, streams)| !streams.is_empty()).collect()
}
