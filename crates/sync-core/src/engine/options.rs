use std::time::Duration;

use timing::Backoff;

use super::writer::WritePolicy;
use crate::traits::DestinationCaps;

/// The settings of a workflow's engine. [`EngineOptions::default`] suits production; tests make them small.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineOptions {
    /// Unsettled entries of one stream above which its reader pauses; it resumes at half of that.
    pub high_water: u64,
    /// Entries claimed at once at most. So many are claimed as are written in about a tenth of a second: a claimed entry is
    /// in doubt when the process ends, and costs a call more than it would have.
    pub claim_batch: usize,
    /// Settlements that are written at once.
    pub settle_batch: usize,
    /// How long a settlement waits at most for others to be written with.
    pub settle_linger: Duration,
    /// Keys looked at per step when records are asked for one by one: those that vanished, that a sweep found, or whose dead
    /// letters are queued again.
    pub sweep_chunk: usize,
    /// How many records may be deleted because a new snapshot did not meet them.
    pub brake: DeleteBrake,
    /// Waits between attempts at a service that cannot be reached, unlimited in number.
    pub service_backoff: Backoff,
    /// Waits between attempts at a single record.
    pub record_backoff: Backoff,
    /// Refusals of the same record after which it becomes a dead letter.
    pub poison_threshold: u32,
    /// Unknown outcomes of one entry after which it becomes a dead letter. Only those count between which the destination did
    /// other work, so that no outage gives a record up.
    pub unknown_rounds: u32,
    /// Unknown outcomes in a row after which writing pauses: the service has trouble, and each further request would only
    /// leave one more record in doubt.
    pub unknown_streak: u32,
    /// How often the whole table of a stream is passed over beside its changes, to find what was missed; `None` for never.
    pub audit_every: Option<Duration>,
    /// How long an entry waits for its parent before it becomes a dead letter (which the parent's arrival queues again), and
    /// for how long a destination may answer that what it refers to is not there yet. Counted from when it was appended.
    pub parent_wait: Duration,
    /// How long dead letters are kept; `None` for ever.
    pub dead_letter_retention: Option<Duration>,
    /// How long a lease holds when it is not renewed, where leases end by themselves. It is renewed after a third of that.
    pub lease_ttl: Duration,
    /// How long a graceful stop waits for requests in flight. What is not answered by then is left as unknown.
    pub stop_deadline: Duration,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            high_water: 100_000,
            claim_batch: 512,
            settle_batch: 512,
            settle_linger: Duration::from_millis(20),
            sweep_chunk: 100,
            brake: DeleteBrake::default(),
            service_backoff: Backoff::new(Duration::from_secs(1), 2.0, Duration::from_secs(60)),
            record_backoff: Backoff::new(Duration::from_secs(5), 3.0, Duration::from_secs(1800)),
            poison_threshold: 8,
            unknown_rounds: 3,
            unknown_streak: 16,
            audit_every: Some(Duration::from_secs(7 * 24 * 3600)),
            parent_wait: Duration::from_secs(24 * 3600),
            dead_letter_retention: Some(Duration::from_secs(30 * 24 * 3600)),
            lease_ttl: Duration::from_secs(30),
            stop_deadline: Duration::from_secs(30),
        }
    }
}

impl EngineOptions {
    /// How entries of a destination are written under these options.
    pub fn write_policy(&self, caps: DestinationCaps) -> WritePolicy {
        WritePolicy {
            unique_key: caps.unique_key,
            settle: caps.settle,
            record_backoff: self.record_backoff,
            service_backoff: self.service_backoff,
            poison_threshold: self.poison_threshold.max(1),
            unknown_rounds: self.unknown_rounds,
            parent_wait: self.parent_wait,
        }
    }
}

/// How many vanished records may be deleted at once: the larger of the two bounds. When there are more, none is deleted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeleteBrake {
    /// So many are always allowed.
    pub rows: u64,
    /// So large a share (0 to 1) of the records that the destination holds.
    pub share: f64,
}

impl Default for DeleteBrake {
    fn default() -> Self {
        Self { rows: 50, share: 0.005 }
    }
}

impl DeleteBrake {
    /// How many may go when `bound` are there.
    pub fn allowed(&self, bound: u64) -> u64 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a count; the cast saturates, and a record more or less does not matter"
        )]
        let share = (bound as f64 * self.share.clamp(0.0, 1.0)) as u64;
        share.max(self.rows)
    }
}

/// How long a workflow runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunMode {
    /// Until it is stopped.
    Continuous,
    /// Until each source answered without a change and nothing is left to be written. Dead letters and verifications do
    /// not hold it.
    UntilIdle,
}
