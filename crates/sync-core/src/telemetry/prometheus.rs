//! Metrics in the text format that Prometheus reads (version 0.0.4).

use std::fmt::Write;
use std::time::Duration;

use super::metrics::{ClientMetrics, LaneMetrics, Metrics, StreamMetrics};
use super::names::{MetricName, metric};
use crate::{Tally, WorkflowState};

impl Metrics {
    /// The metrics in the Prometheus text format. Labels are names of the configuration, stable codes, and nothing else.
    pub fn to_prometheus(&self) -> String {
        let mut text = Text { out: String::new(), workflow: &self.workflow };
        for state in WorkflowState::ALL {
            let value = if state == self.state { 1.0 } else { 0.0 };
            text.sample(&metric::STATE, &[state.as_str()], Some(value));
        }
        let readable = self.streams.iter().all(|stream| stream.backlog.is_some());
        text.sample(&metric::STORE_READABLE, &[], Some(if readable { 1.0 } else { 0.0 }));
        text.sample(&metric::LATE_RENEWALS, &[], Some(count(self.late_renewals)));
        for (name, value) in GAUGES {
            for stream in &self.streams {
                text.sample(name, &[stream.stream.as_str()], value(stream));
            }
        }
        for stream in &self.streams {
            for (code, value) in effects(&stream.tally) {
                text.sample(&metric::SETTLED, &[stream.stream.as_str(), code], Some(count(value)));
            }
        }
        for (name, codes) in BY_CODE {
            for stream in &self.streams {
                for (code, value) in codes(stream) {
                    text.sample(name, &[stream.stream.as_str(), code], Some(count(*value)));
                }
            }
        }
        for (name, value) in CLIENTS {
            for client in &self.clients {
                text.sample(name, &[&client.client], value(client));
            }
        }
        text.out
    }
}

type OfStream = (&'static MetricName, fn(&StreamMetrics) -> Option<f64>);
type OfCodes = (&'static MetricName, fn(&StreamMetrics) -> &std::collections::BTreeMap<String, u64>);
type OfClient = (&'static MetricName, fn(&ClientMetrics) -> Option<f64>);

const GAUGES: &[OfStream] = &[
    (&metric::BACKLOG, |stream| stream.backlog.map(|stats| count(stats.depth()))),
    (&metric::IN_FLIGHT, |stream| stream.backlog.map(|stats| count(stats.in_flight))),
    (&metric::WAITING, |stream| stream.backlog.map(|stats| count(stats.waiting))),
    (&metric::UNKNOWN, |stream| stream.backlog.map(|stats| count(stats.unknown))),
    (&metric::VERIFICATIONS, |stream| stream.backlog.map(|stats| count(stats.verifications))),
    (&metric::DEAD, |stream| stream.backlog.map(|stats| count(stats.dead))),
    (&metric::OLDEST, |stream| stream.backlog.map(|_| stream.oldest_age.unwrap_or_default().as_secs_f64())),
    (&metric::POSITION_AGE, |stream| stream.position_age.map(seconds)),
    (&metric::LAG, |stream| stream.lag().map(seconds)),
    (&metric::READ_RATE, |stream| Some(stream.read_per_second)),
    (&metric::WRITE_RATE, |stream| Some(stream.written_per_second)),
    (&metric::READ, |stream| Some(count(stream.tally.read))),
    (&metric::PAUSES, |stream| Some(count(stream.pauses))),
    (&metric::PAUSE_SECONDS, |stream| Some(seconds(stream.paused))),
];

const BY_CODE: &[OfCodes] = &[
    (&metric::RETRIES, |stream| &stream.retries),
    (&metric::DEAD_LETTERED, |stream| &stream.dead_lettered),
    (&metric::UNKNOWN_OUTCOMES, |stream| &stream.unknown_outcomes),
];

const CLIENTS: &[OfClient] = &[
    (&metric::TOKEN_AGE, |client| client.token_age.map(seconds)),
    (&metric::LANE_LIMIT, |client| lane(client, |lane| count(lane.limit))),
    (&metric::LANE_IN_FLIGHT, |client| lane(client, |lane| count(lane.in_flight))),
    (&metric::LANE_WINDOW, |client| client.lane.and_then(|lane| lane.window_used)),
    (&metric::LANE_PAUSES, |client| lane(client, |lane| count(lane.pauses))),
    (&metric::LANE_THROTTLED, |client| lane(client, |lane| count(lane.throttled))),
    (&metric::LANE_BREAKER, |client| lane(client, |lane| if lane.breaker_open { 1.0 } else { 0.0 })),
];

fn lane(client: &ClientMetrics, value: impl Fn(LaneMetrics) -> f64) -> Option<f64> {
    client.lane.map(value)
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "every value is a 64-bit float in the format")]
fn count(count: u64) -> f64 {
    count as f64
}

fn effects(tally: &Tally) -> [(&'static str, u64); 8] {
    [
        ("inserted", tally.inserted),
        ("updated", tally.updated),
        ("deleted", tally.deleted),
        ("unchanged", tally.unchanged),
        ("filtered", tally.filtered),
        ("superseded", tally.superseded),
        ("ignored", tally.ignored),
        ("dead", tally.dead),
    ]
}

struct Text<'a> {
    out: String,
    workflow: &'a str,
}

impl Text<'_> {
    /// One sample, with the head of its metric before the first. `labels` are those after the workflow, in the metric's order.
    fn sample(&mut self, name: &MetricName, labels: &[&str], value: Option<f64>) {
        let Some(value) = value else { return };
        let head = format!("# TYPE {} {}\n", name.name, name.kind.as_str());
        if !self.out.contains(&head) {
            // Writing to a string does not fail.
            let _ = write!(self.out, "# HELP {} {}\n{head}", name.name, name.help);
        }
        self.out.push_str(name.name);
        let values = std::iter::once(self.workflow).chain(labels.iter().copied());
        for (place, (label, value)) in name.labels.iter().zip(values).enumerate() {
            let mark = if place == 0 { '{' } else { ',' };
            let _ = write!(self.out, "{mark}{label}=\"{}\"", escaped(value));
        }
        let _ = writeln!(self.out, "}} {value}");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
