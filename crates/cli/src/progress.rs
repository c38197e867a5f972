//! Progress on the way: bars on a terminal, plain lines elsewhere, objects for programs.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use d365_campaign::{Observer, StreamId, SyncEvent, Tally, tables_of};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use tokio::time::Instant;

use crate::{Format, output};

/// How often a stream reports where there are no bars.
const EVERY: Duration = Duration::from_secs(1);

/// Shows what the engine says.
#[derive(Debug)]
pub(crate) struct Progress {
    format: Format,
    bars: MultiProgress,
    state: Mutex<BTreeMap<String, Line>>,
}

#[derive(Debug)]
struct Line {
    bar: ProgressBar,
    tally: Tally,
    backlog: u64,
    shown: Option<Instant>,
}

impl Progress {
    /// For text, bars appear when standard error is a terminal.
    pub(crate) fn new(format: Format) -> Self {
        let target = if format == Format::Text && std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr_with_hz(10)
        } else {
            ProgressDrawTarget::hidden()
        };
        Self { format, bars: MultiProgress::with_draw_target(target), state: Mutex::default() }
    }

    /// A sentence for the operator.
    pub(crate) fn note(&self, text: &str) {
        match self.format {
            Format::Json => output::json(&serde_json::json!({ "event": "note", "message": text })),
            Format::Text => self.say(text),
        }
    }

    /// Takes the bars away.
    pub(crate) fn finish(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for line in state.values() {
            line.bar.finish_and_clear();
        }
    }

    fn say(&self, text: &str) {
        if self.bars.is_hidden() {
            let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), format!("{text}\n").as_bytes());
        } else {
            // A terminal that cannot be written shows nothing; the run goes on.
            let _ = self.bars.println(text);
        }
    }

    fn count(&self, stream: &StreamId, tally: &Tally, backlog: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let line = state.entry(stream.as_str().to_owned()).or_insert_with(|| Line {
            bar: self.bars.add(bar(stream)),
            tally: Tally::default(),
            backlog: 0,
            shown: None,
        });
        line.tally += *tally;
        line.backlog = backlog;
        line.bar.set_length(line.tally.read.max(1));
        line.bar.set_position(line.tally.read.saturating_sub(backlog));
        line.bar.set_message(format!("backlog {backlog}, dead {}", line.tally.dead));
        let now = Instant::now();
        if line.shown.is_some_and(|shown| now.duration_since(shown) < EVERY) {
            return;
        }
        line.shown = Some(now);
        match self.format {
            Format::Json => output::json(&serde_json::json!({
                "event": "progress", "stream": stream.as_str(), "table": tables_of(stream).map(|(table, _)| table),
                "backlog": backlog, "counts": line.tally,
            })),
            Format::Text if self.bars.is_hidden() => {
                let (read, dead) = (line.tally.read, line.tally.dead);
                self.say(&format!("{}: read {read}, backlog {backlog}, dead {dead}", name(stream)));
            }
            Format::Text => {}
        }
    }
}

/// A stream as an operator calls it.
fn name(stream: &StreamId) -> String {
    match tables_of(stream) {
        Some((table, resource)) => format!("{table} -> {resource}"),
        None => stream.to_string(),
    }
}

fn bar(stream: &StreamId) -> ProgressBar {
    let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        // A bar that cannot be drawn shows nothing.
        let _ = write!(out, "{:.0}/s", state.per_sec());
    };
    let style = ProgressStyle::with_template("{prefix:28} [{bar:30}] {pos}/{len} {rate:>8} {msg}")
        .map_or_else(|_| ProgressStyle::default_bar(), |style| style.with_key("rate", rate).progress_chars("=> "));
    ProgressBar::new(1).with_style(style).with_prefix(name(stream))
}

impl Observer for Progress {
    fn on_event(&self, event: &SyncEvent) {
        match event {
            SyncEvent::PageRead { stream, tally, backlog, .. } | SyncEvent::Settled { stream, tally, backlog } => {
                self.count(stream, tally, *backlog);
            }
            SyncEvent::Status(status) => match self.format {
                Format::Json => output::json(&serde_json::json!({
                    "event": "status", "status": status.state, "reason": status.reason,
                })),
                Format::Text => {}
            },
            SyncEvent::Retrying { stream, code, reason, delay_ms } => match self.format {
                Format::Json => output::json(&serde_json::json!({
                    "event": "retrying", "stream": stream.as_str(), "code": code, "reason": reason, "delay_ms": delay_ms,
                })),
                Format::Text => self.say(&format!("{}: {reason} ({code}), again in {delay_ms} ms", name(stream))),
            },
            SyncEvent::DeadLettered { stream, rejection } => match self.format {
                Format::Json => output::json(&serde_json::json!({
                    "event": "dead-letter", "stream": stream.as_str(), "reason": rejection.code, "field": rejection.field,
                })),
                Format::Text => {}
            },
            SyncEvent::Resnapshot { stream, generation } => self.note(&format!(
                "{}: the service no longer serves the position; the whole table is read again (generation {generation})",
                name(stream)
            )),
            SyncEvent::DeleteBrake { stream, candidates, allowed } => self.note(&format!(
                "{}: {candidates} records are missing at the source, more than sync.delete_brake allows ({allowed}); none was deleted",
                name(stream)
            )),
            SyncEvent::PassComplete { stream, kind, scanned, reread, missing } => match self.format {
                Format::Json => output::json(&serde_json::json!({
                    "event": "pass", "stream": stream.as_str(), "kind": kind, "scanned": scanned, "reread": reread,
                    "missing": missing,
                })),
                Format::Text => self.say(&format!(
                    "{}: {} pass over the whole table done: {scanned} rows met, {reread} read again, {missing} missing",
                    name(stream),
                    kind.as_str()
                )),
            },
            SyncEvent::RequestDone { id } => self.note(&format!("request {id} is carried out")),
            SyncEvent::RequestRefused { id, code } => {
                self.note(&format!("request {id} cannot be carried out ({code}) and is forgotten"));
            }
            _ => {}
        }
    }
}
