//! What the quickstart shows: bars on the way, a table at the end.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use d365_campaign::{Observer, SyncEvent, Tally, tables_of};
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use serde_json::Value;

/// One bar a table.
#[derive(Debug, Default)]
pub(crate) struct Bars {
    all: MultiProgress,
    bars: Mutex<BTreeMap<String, (ProgressBar, u64)>>,
}

impl Bars {
    pub(crate) fn finish(&self) {
        for (bar, _) in self.bars.lock().unwrap_or_else(PoisonError::into_inner).values() {
            bar.finish();
        }
    }
}

impl Observer for Bars {
    fn on_event(&self, event: &SyncEvent) {
        let (SyncEvent::PageRead { stream, tally, backlog, .. } | SyncEvent::Settled { stream, tally, backlog }) =
            event
        else {
            return;
        };
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        let (bar, read) = bars.entry(stream.as_str().to_owned()).or_insert_with(|| {
            let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                // A bar that cannot be drawn shows nothing.
                let _ = write!(out, "{:.0}/s", state.per_sec());
            };
            let style = ProgressStyle::with_template("{prefix:21} [{bar:36}] {pos}/{len} {rate:>8} {msg}").map_or_else(
                |_| ProgressStyle::default_bar(),
                |style| style.with_key("rate", rate).progress_chars("=> "),
            );
            let tables = tables_of(stream).map(|(table, resource)| format!("{table} -> {resource}"));
            let name = tables.unwrap_or_else(|| stream.as_str().to_owned());
            (self.all.add(ProgressBar::new(1).with_style(style).with_prefix(name)), 0)
        });
        *read += tally.read;
        bar.set_length((*read).max(1));
        bar.set_position(read.saturating_sub(*backlog));
        bar.set_message(format!("backlog {backlog}"));
    }
}

/// The counts of all runs, the traffic that the sandbox counted, and the pace.
pub(crate) fn table(tables: &BTreeMap<String, Tally>, counters: &Value, seconds: f64) -> String {
    let mut text = format!(
        "{:<22}{:>8}{:>10}{:>9}{:>9}{:>11}{:>10}{:>12}{:>9}{:>6}\n",
        "table", "read", "inserted", "updated", "deleted", "unchanged", "filtered", "superseded", "ignored", "dead"
    );
    let mut read = 0;
    for (name, t) in tables {
        read += t.read;
        text.push_str(&format!(
            "{name:<22}{:>8}{:>10}{:>9}{:>9}{:>11}{:>10}{:>12}{:>9}{:>6}\n",
            t.read, t.inserted, t.updated, t.deleted, t.unchanged, t.filtered, t.superseded, t.ignored, t.dead
        ));
    }
    for side in ["dataverse", "campaign"] {
        text.push_str(&format!("\nrequests to {side}\n"));
        for (route, count) in counters[side]["requests"].as_object().into_iter().flatten() {
            text.push_str(&format!("  {route:<60}{count:>10}\n"));
        }
    }
    text.push_str("\nengine calls\n");
    for (kind, count) in counters["campaign"]["engine_calls"].as_object().into_iter().flatten() {
        text.push_str(&format!("  {kind:<60}{count:>10}\n"));
    }
    let memory = peak_memory_mib().map_or_else(|| "not told by this system".to_owned(), |mib| format!("{mib:.0} MiB"));
    text.push_str(&format!(
        "\n{:.0} records/s over {seconds:.1} s; peak memory {memory} (connector and sandbox together)\n",
        read as f64 / seconds
    ));
    text
}

fn peak_memory_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}
