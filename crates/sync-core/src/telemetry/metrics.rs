use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::Board;
use crate::traits::BacklogStats;
use crate::workflow::Spec;
use crate::{StreamId, Tally, WorkflowState};

/// Clients that a workflow works with, as far as they tell of themselves. What answers is asked at each reading of the metrics:
/// answer quickly, and without a request.
pub trait MetricSource: Debug + Send + Sync {
    /// The clients at this moment.
    fn clients(&self) -> Vec<ClientMetrics>;
}

/// One client at one moment. What it does not know, it leaves out.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ClientMetrics {
    /// Its name in the configuration, which tells it from the others.
    pub client: String,
    /// The age of its access token; never the token.
    pub token_age: Option<Duration>,
    /// Its way to the service.
    pub lane: Option<LaneMetrics>,
}

impl ClientMetrics {
    /// A client of which nothing is known yet.
    pub fn new(client: impl Into<String>) -> Self {
        Self { client: client.into(), ..Self::default() }
    }
}

/// The way of one identity to one service.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct LaneMetrics {
    /// The most requests in flight at present.
    pub limit: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Share of the service's allowance used in the present window, 0 to 1; `None` where no allowance is known.
    pub window_used: Option<f64>,
    /// How often the service ordered a pause.
    pub pauses: u64,
    /// How many requests were answered with a wish for less pace.
    pub throttled: u64,
    /// Whether nothing is sent at present because the service is down.
    pub breaker_open: bool,
}

/// A run at one moment. Nothing here is a value of a record.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Metrics {
    /// The workflow.
    pub workflow: String,
    /// Its state.
    pub state: WorkflowState,
    /// Renewals of the lease in this run that came so late that writing had to wait.
    pub late_renewals: u64,
    /// Its streams, in the order of the configuration.
    pub streams: Vec<StreamMetrics>,
    /// The clients that tell of themselves.
    pub clients: Vec<ClientMetrics>,
}

/// A stream at one moment. Counts are those of this run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StreamMetrics {
    /// The stream.
    pub stream: StreamId,
    /// Depth and verifications as the store has them; `None` when it did not answer.
    pub backlog: Option<BacklogStats>,
    /// The age of the oldest unsettled entry; `None` when there is none, or the store did not answer.
    pub oldest_age: Option<Duration>,
    /// The time since the last page was appended, an empty one included; `None` before the first, or when the store did not answer.
    pub position_age: Option<Duration>,
    /// Changes read per second, over the last minute.
    pub read_per_second: f64,
    /// Records created, changed or deleted per second, over the last minute.
    pub written_per_second: f64,
    /// What was counted.
    pub tally: Tally,
    /// Repetitions because a service had trouble, by code.
    pub retries: BTreeMap<String, u64>,
    /// Records that became dead letters, by code.
    pub dead_lettered: BTreeMap<String, u64>,
    /// Unknown outcomes, by code.
    pub unknown_outcomes: BTreeMap<String, u64>,
    /// Pauses of writing.
    pub pauses: u64,
    /// The time in pauses of writing, one under way included.
    pub paused: Duration,
}

impl StreamMetrics {
    /// How far the destination may be behind the source: the greater of the ages of the oldest entry and of the position. The
    /// engine does not know when a change was made at the source, only when it asked last; so this is a bound, not the age of a
    /// change. `None` before the first page.
    pub fn lag(&self) -> Option<Duration> {
        self.position_age.max(self.oldest_age)
    }
}

/// Reads a run's metrics at any time, from anywhere, also after the run has ended.
#[derive(Debug, Clone)]
pub struct Meter {
    spec: Arc<Spec>,
    board: Arc<Board>,
}

impl Meter {
    pub(crate) fn new(spec: Arc<Spec>, board: Arc<Board>) -> Self {
        Self { spec, board }
    }

    pub(crate) fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// The metrics at this moment. Two questions to the store for each stream; when it cannot answer, what it holds is left
    /// out.
    ///
    /// # Cancellation safety
    /// Dropping the future loses nothing.
    pub async fn read(&self) -> Metrics {
        let mut streams = Vec::new();
        for (index, (stream, tally)) in self.board.tallies().into_iter().enumerate() {
            let backlog = self.spec.store.stats(&stream).await.ok();
            let checkpoint = self.spec.store.load(&stream).await.ok().flatten();
            let now = self.spec.clock.monotonic();
            let now_ms = self.spec.clock.now().timestamp_millis();
            // The calendar may jump back: then what lies ahead of it has no age.
            let age = |at_ms: i64| Duration::from_millis(u64::try_from(now_ms.saturating_sub(at_ms)).unwrap_or(0));
            let read = checkpoint.filter(|at| at.position.is_some());
            streams.extend(self.board.counts().with(index, |counts| StreamMetrics {
                stream,
                backlog,
                oldest_age: backlog.and_then(|stats| stats.oldest_ms).map(age),
                position_age: read.map(|at| age(at.at_ms)),
                read_per_second: counts.read.per_second(now),
                written_per_second: counts.written.per_second(now),
                tally,
                retries: counts.retries.clone(),
                dead_lettered: counts.dead_lettered.clone(),
                unknown_outcomes: counts.unknown.clone(),
                pauses: counts.pauses,
                paused: counts.paused(now),
            }));
        }
        Metrics {
            workflow: self.spec.name.to_string(),
            state: self.board.status().state,
            late_renewals: self.board.counts().late_renewals(),
            streams,
            clients: self.spec.clients.iter().flat_map(|source| source.clients()).collect(),
        }
    }
}
