//! The names in the code, the names in the documents, and the names that a run shows are the same.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::telemetry::names::metric::METRICS;
use sync_core::telemetry::names::{TraceName, event, span};
use tracing_subscriber::layer::SubscriberExt;

use crate::capture::{Capture, Seen};
use crate::walk::{World, walk};

/// What the walk cannot bring about, and why.
const UNSEEN: [(&str, &str); 0] = [];

/// Lines that stand for no event.
const LINES_ALONE: [&str; 2] = ["sync.lease_not_released", "sync.status_not_kept"];

fn expected(names: &[TraceName]) -> Seen {
    let fields = |name: &TraceName| name.fields.iter().map(ToString::to_string).collect();
    names
        .iter()
        .filter(|name| UNSEEN.iter().all(|(unseen, _)| *unseen != name.name))
        .map(|name| (name.name.to_owned(), (name.level.to_string(), fields(name))))
        .collect()
}

#[tokio::test]
async fn a_walk_through_everything_shows_every_name_with_its_level_and_fields() {
    let capture = Capture::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(capture.clone()));
    let mut world = World::new();
    let aside = walk(&mut world).await;
    let log = capture.take();
    assert_eq!(log.spans, expected(span::ALL));
    assert_eq!(log.lines, expected(event::ALL));

    let told: BTreeSet<&str> =
        event::ALL.iter().map(|name| name.name).filter(|name| !LINES_ALONE.contains(name)).collect();
    assert_eq!(world.events.names(), told, "each line but those two stands for an event");

    let types: BTreeMap<&str, &str> =
        aside.prometheus.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let names: BTreeMap<&str, &str> = METRICS.iter().map(|metric| (metric.name, metric.kind.as_str())).collect();
    assert_eq!(types, names);
    for line in aside.prometheus.lines().filter(|line| !line.starts_with('#')) {
        assert_sample(line);
    }
}

/// `name{label="value",...} number`, with the labels of the name and no others.
fn assert_sample(line: &str) {
    let (name, rest) = line.split_once('{').unwrap();
    let (labels, value) = rest.rsplit_once("} ").unwrap();
    let metric = METRICS.iter().find(|metric| metric.name == name).unwrap();
    let labels: Vec<&str> = labels.split(',').map(|label| label.split_once('=').unwrap().0).collect();
    assert_eq!(labels, metric.labels, "{line}");
    assert!(value.parse::<f64>().is_ok_and(|value| value >= 0.0), "{line}");
}

/// The rows of the document: name, what it is, level or kind, fields or labels, meaning.
fn documented() -> Vec<[String; 5]> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/telemetry.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `sync"));
    rows.map(|line| {
        let cells: Vec<String> = line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
        cells.try_into().unwrap_or_else(|cells| panic!("five cells, not {cells:?}"))
    })
    .collect()
}

#[test]
fn the_table_of_the_documents_is_that_of_the_code() {
    let traces = |what: &'static str, names: &'static [TraceName]| {
        names
            .iter()
            .map(move |name| [name.name.to_owned(), what.to_owned(), name.level.to_string(), name.fields.join(", ")])
    };
    let metrics = METRICS.iter().map(|metric| {
        let unit = unit(metric.name).to_owned();
        [
            metric.name.to_owned(),
            "metric".to_owned(),
            format!("{}, {unit}", metric.kind.as_str()),
            metric.labels.join(", "),
        ]
    });
    let code: Vec<[String; 4]> = traces("span", span::ALL).chain(traces("event", event::ALL)).chain(metrics).collect();
    let rows = documented();
    let documents: Vec<[String; 4]> = rows.iter().map(|[a, b, c, d, _]| [a, b, c, d].map(String::clone)).collect();
    assert_eq!(documents, code);
    assert!(rows.iter().all(|row| row[4].len() > 10), "each name has a meaning");
    for metric in METRICS {
        let row = rows.iter().find(|row| row[0] == metric.name).unwrap();
        assert_eq!(row[4], metric.help, "{}", metric.name);
    }
}

/// The unit that a metric's name ends with.
fn unit(name: &str) -> &str {
    let name = name.strip_suffix("_total").unwrap_or(name);
    for (suffix, unit) in
        [("_per_second", "records per second"), ("_seconds", "seconds"), ("_ratio", "share"), ("_records", "records")]
    {
        if name.ends_with(suffix) {
            return unit;
        }
    }
    for suffix in ["entries", "requests", "retries", "pauses", "renewals", "outcomes"] {
        if name.ends_with(suffix) {
            return suffix;
        }
    }
    assert!(
        ["sync_workflow_state", "sync_store_readable", "sync_client_breaker_open"].contains(&name),
        "{name}: no unit"
    );
    "0 or 1"
}
