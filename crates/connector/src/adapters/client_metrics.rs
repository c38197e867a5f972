//! What both clients tell of themselves, for the metrics of the workflow.

use std::time::Duration;

use campaign_client::CampaignClient;
use d365_client::D365Client;
use http_kit::Lane;
use http_kit::pace::{BreakerState, LaneStats, WindowUse};
use sync_core::telemetry::{ClientMetrics, LaneMetrics, MetricSource};

/// Both clients.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) dataverse: D365Client,
    pub(crate) campaign: CampaignClient,
}

impl MetricSource for Clients {
    fn clients(&self) -> Vec<ClientMetrics> {
        vec![
            client("dataverse", self.dataverse.token_age(), self.dataverse.lane()),
            client("campaign", self.campaign.token_age(), self.campaign.lane()),
        ]
    }
}

fn client(name: &str, token_age: Option<Duration>, lane: &Lane) -> ClientMetrics {
    let mut metrics = ClientMetrics::new(name);
    metrics.token_age = token_age;
    metrics.lane = Some(lane_metrics(&lane.stats()));
    metrics
}

fn lane_metrics(stats: &LaneStats) -> LaneMetrics {
    let mut metrics = LaneMetrics::default();
    metrics.limit = stats.limit as u64;
    metrics.in_flight = stats.in_flight as u64;
    metrics.window_used = stats.window.as_ref().map(used);
    metrics.pauses = stats.pauses;
    metrics.throttled = stats.throttled;
    metrics.breaker_open = stats.breaker != BreakerState::Closed;
    metrics
}

/// The fuller of the two windows.
#[expect(clippy::cast_precision_loss, reason = "a share of a count of thousands")]
fn used(window: &WindowUse) -> f64 {
    let requests = window.requests as f64 / window.request_limit.max(1) as f64;
    let busy = window.busy.as_secs_f64() / window.busy_limit.as_secs_f64().max(f64::MIN_POSITIVE);
    requests.max(busy)
}
