//! What a run counts beside its tallies. Everything follows from the events.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::code_label;
use super::rate::Rate;
use crate::StreamId;
use crate::traits::SyncEvent;

/// So many codes of one stream are counted one by one; all others together, so that a destination that makes codes up does not
/// grow the metrics without end.
const MOST_CODES: usize = 32;

/// Counts by code.
pub(super) type ByCode = BTreeMap<String, u64>;

/// The counts of all streams of a run.
#[derive(Debug)]
pub(crate) struct Counts {
    streams: Vec<(StreamId, Mutex<StreamCounts>)>,
    late_renewals: AtomicU64,
}

#[derive(Debug)]
pub(super) struct StreamCounts {
    pub(super) read: Rate,
    pub(super) written: Rate,
    pub(super) retries: ByCode,
    pub(super) dead_lettered: ByCode,
    pub(super) unknown: ByCode,
    pub(super) pauses: u64,
    /// Pauses that ended.
    paused: Duration,
    paused_since: Option<Duration>,
}

impl StreamCounts {
    fn new(now: Duration) -> Self {
        Self {
            read: Rate::new(now),
            written: Rate::new(now),
            retries: ByCode::new(),
            dead_lettered: ByCode::new(),
            unknown: ByCode::new(),
            pauses: 0,
            paused: Duration::ZERO,
            paused_since: None,
        }
    }

    /// Time in pauses, one under way included.
    pub(super) fn paused(&self, now: Duration) -> Duration {
        self.paused + self.paused_since.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }

    fn note(&mut self, event: &SyncEvent, now: Duration) {
        match event {
            SyncEvent::PageRead { tally, .. } => self.read.add(now, tally.read),
            SyncEvent::Settled { tally, .. } => {
                self.written.add(now, tally.inserted + tally.updated + tally.deleted);
            }
            SyncEvent::Retrying { code, .. } => add(&mut self.retries, code, 1),
            SyncEvent::DeadLettered { rejection, .. } => add(&mut self.dead_lettered, &rejection.code, 1),
            SyncEvent::UnknownOutcome { code, count, .. } => add(&mut self.unknown, code, *count),
            SyncEvent::PauseBegun { .. } => {
                self.pauses += 1;
                self.paused_since.get_or_insert(now);
            }
            SyncEvent::PauseEnded { .. } => {
                self.paused = self.paused(now);
                self.paused_since = None;
            }
            _ => {}
        }
    }
}

fn add(counts: &mut ByCode, code: &str, count: u64) {
    let label = code_label(code);
    let label = if counts.contains_key(label) || counts.len() < MOST_CODES { label } else { "other" };
    *counts.entry(label.to_owned()).or_default() += count;
}

impl Counts {
    pub(crate) fn new(streams: &[StreamId], now: Duration) -> Self {
        let streams = streams.iter().map(|id| (id.clone(), Mutex::new(StreamCounts::new(now)))).collect();
        Self { streams, late_renewals: AtomicU64::new(0) }
    }

    pub(crate) fn note(&self, event: &SyncEvent, now: Duration) {
        if matches!(event, SyncEvent::LeaseRenewedLate { .. }) {
            self.late_renewals.fetch_add(1, Ordering::Relaxed);
        }
        if let Some((_, counts)) = event.stream().and_then(|id| self.streams.iter().find(|(known, _)| known == id)) {
            counts.lock().unwrap_or_else(PoisonError::into_inner).note(event, now);
        }
    }

    pub(super) fn late_renewals(&self) -> u64 {
        self.late_renewals.load(Ordering::Relaxed)
    }

    /// Looks at the counts of the stream at a place.
    pub(super) fn with<T>(&self, place: usize, look: impl FnOnce(&StreamCounts) -> T) -> Option<T> {
        let (_, counts) = self.streams.get(place)?;
        Some(look(&counts.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_without_end_are_counted_together() {
        let mut counts = ByCode::new();
        for number in 0..1_000 {
            add(&mut counts, &format!("made-up-{number}"), 1);
        }
        assert_eq!(counts.len(), MOST_CODES + 1);
        assert_eq!(counts.values().sum::<u64>(), 1_000);
        add(&mut counts, "Ada Lovelace", 1);
        assert_eq!(counts["other"], 1_000 - MOST_CODES as u64 + 1);
    }

    #[test]
    fn a_pause_under_way_counts_as_far_as_it_is() {
        let counts = Counts::new(&[StreamId::new("a")], Duration::ZERO);
        let stream = StreamId::new("a");
        let begun = SyncEvent::PauseBegun { stream: stream.clone(), code: "throttled".into(), pause_ms: 9_000 };
        counts.note(&begun, Duration::from_secs(10));
        let paused = |at| counts.with(0, |counts| (counts.pauses, counts.paused(Duration::from_secs(at)).as_secs()));
        assert_eq!(paused(14), Some((1, 4)));
        counts.note(&SyncEvent::PauseEnded { stream, lasted_ms: 9_000 }, Duration::from_secs(19));
        assert_eq!(paused(50), Some((1, 9)));
    }
}
