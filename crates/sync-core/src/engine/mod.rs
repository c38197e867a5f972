//! Reader and writer: pure machines, and the drivers that perform their actions.

mod board;
mod lane;
mod operation;
mod options;
pub mod policy;
pub mod reader;
mod reader_driver;
pub mod writer;
mod writer_driver;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::traits::Lease;
use crate::workflow::Spec;

pub(crate) use board::{Board, Holder};
pub use options::{DeleteBrake, EngineOptions, RunMode};
pub(crate) use policy::store_reason;
pub(crate) use reader_driver::{in_first_snapshot, read_stream};
pub(crate) use writer_driver::{pause_name, write_streams};

/// What the tasks of one run share.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) spec: Arc<Spec>,
    pub(crate) lease: Lease,
    pub(crate) board: Arc<Board>,
    pub(crate) mode: RunMode,
    pub(crate) stop: CancellationToken,
}

impl Run {
    pub(crate) fn wall_ms(&self) -> i64 {
        self.spec.clock.now().timestamp_millis()
    }
}
