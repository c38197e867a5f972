//! Reader and writer: pure machines, and the drivers that perform their actions.

mod board;
mod clerk;
mod held;
mod lane;
mod operation;
mod options;
mod passing;
pub mod policy;
pub mod reader;
mod reader_driver;
pub mod writer;
mod writer_driver;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::StreamId;
use crate::traits::Lease;
use crate::workflow::Spec;

pub(crate) use board::{Board, Holder};
pub(crate) use clerk::Clerk;
pub use options::{DeleteBrake, EngineOptions, RunMode};
pub(crate) use policy::{FENCED, store_reason};
pub use reader_driver::draft;
pub(crate) use reader_driver::{in_first_snapshot, read_stream};
pub use writer_driver::pause_name;
pub(crate) use writer_driver::write_streams;

/// What the tasks of one run share.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) spec: Arc<Spec>,
    pub(crate) lease: Lease,
    pub(crate) board: Arc<Board>,
    pub(crate) mode: RunMode,
    pub(crate) stop: CancellationToken,
    /// Until when the lease holds, in milliseconds of the monotonic clock; `u64::MAX` where it does not end by itself.
    pub(crate) holds_until: AtomicU64,
}

impl Run {
    /// The lease was asked for, or renewed, at `now`: from then on its time is counted, so that the store never counts
    /// less.
    pub(crate) fn hold_until(&self, now: Duration) {
        let until = self.lease.ttl.map_or(u64::MAX, |ttl| u64::try_from((now + ttl).as_millis()).unwrap_or(u64::MAX));
        self.holds_until.store(until, Ordering::Release);
    }

    /// Whether an operation may begin: the lease holds longer than an operation may take.
    pub(crate) fn may_start(&self, now: Duration) -> bool {
        let margin = self.lease.ttl.map_or(Duration::ZERO, |ttl| ttl / 3);
        let now = u64::try_from((now + margin).as_millis()).unwrap_or(u64::MAX);
        now < self.holds_until.load(Ordering::Acquire)
    }

    pub(crate) fn stream_at(&self, index: usize) -> Option<&StreamId> {
        self.spec.streams.get(index).map(|stream| &stream.id)
    }

    /// The streams of a higher rank: those that may hold children.
    pub(crate) fn children_of(&self, index: usize) -> Vec<usize> {
        self.ranked(index, |other, own| other > own)
    }

    /// The streams of a lower rank.
    pub(crate) fn parents_of(&self, index: usize) -> Vec<usize> {
        self.ranked(index, |other, own| other < own)
    }

    fn ranked(&self, index: usize, wanted: impl Fn(u32, u32) -> bool) -> Vec<usize> {
        let streams = &self.spec.streams;
        let Some(own) = streams.get(index).map(|stream| stream.rank) else { return Vec::new() };
        streams.iter().enumerate().filter(|(_, other)| wanted(other.rank, own)).map(|(other, _)| other).collect()
    }

    pub(crate) fn wall_ms(&self) -> i64 {
        self.spec.clock.now().timestamp_millis()
    }
}
