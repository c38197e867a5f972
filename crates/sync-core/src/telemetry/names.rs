//! Every name that telemetry uses. `docs/telemetry.md` lists the same, and a test holds the two together.

use tracing::Level;

/// A span or a log line: its name, level and fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceName {
    /// The name, never changed once published.
    pub name: &'static str,
    /// The level.
    pub level: Level,
    /// The fields, in the order of the code.
    pub fields: &'static [&'static str],
}

/// How a metric is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// A value at this moment.
    Gauge,
    /// A sum since the run began.
    Counter,
}

impl MetricKind {
    /// The name in the Prometheus text format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
        }
    }
}

/// A metric: its name, which ends with its unit, and what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricName {
    /// The name, never changed once published.
    pub name: &'static str,
    /// Gauge or counter.
    pub kind: MetricKind,
    /// The labels.
    pub labels: &'static [&'static str],
    /// What it says, one sentence.
    pub help: &'static str,
}

macro_rules! traces {
    ($(#[$all_doc:meta])* $all:ident: $($(#[$doc:meta])* $id:ident = $name:literal, $level:ident, [$($field:literal),*];)*) => {
        $($(#[$doc])* pub const $id: TraceName =
            TraceName { name: $name, level: Level::$level, fields: &[$($field),*] };)*
        $(#[$all_doc])*
        pub const $all: &[TraceName] = &[$($id),*];
    };
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $id:ident = $name:literal, $kind:ident, [$($label:literal),*], $help:literal;)*) => {
        $($(#[$doc])* #[doc = $help] pub const $id: MetricName =
            MetricName { name: $name, kind: MetricKind::$kind, labels: &[$($label),*], help: $help };)*
        /// All metrics.
        pub const METRICS: &[MetricName] = &[$($id),*];
    };
}

/// Spans.
pub mod span {
    use super::{Level, TraceName};

    traces! {
        /// All spans.
        ALL:
        /// One run of a workflow.
        WORKFLOW = "sync.workflow", INFO, ["workflow"];
        /// The reader of a stream, as long as the run.
        READER = "sync.reader", INFO, ["stream"];
        /// The writer of all streams, as long as the run.
        WRITER = "sync.writer", INFO, [];
        /// A pass over a whole table.
        PASS = "sync.pass", INFO, ["stream", "kind", "number"];
        /// Carrying out a request of an operator, or handing it to the streams that do.
        REQUEST = "sync.request", INFO, ["id", "kind"];
        /// One question to a source for changes.
        READ = "sync.read", DEBUG, ["stream", "class", "rows", "records", "code"];
        /// One question to a source for a page of the whole table.
        SCAN = "sync.scan", DEBUG, ["stream", "class", "rows", "records", "code"];
        /// One question to a source for single records.
        FETCH = "sync.fetch", DEBUG, ["stream", "keys", "code"];
        /// One append of a page.
        APPEND = "sync.append", DEBUG, ["stream", "class", "records"];
        /// One claim.
        CLAIM = "sync.claim", DEBUG, ["stream", "most", "claimed"];
        /// One settlement of a batch.
        SETTLE = "sync.settle", DEBUG, ["stream", "records"];
        /// One operation at a destination.
        WRITE = "sync.write", TRACE, ["stream", "seq", "key", "attempt", "class", "action", "outcome", "code"];
    }
}

/// Log lines, one for each kind of [`SyncEvent`](crate::traits::SyncEvent).
pub mod event {
    use super::{Level, TraceName};

    traces! {
        /// All log lines.
        ALL:
        /// The status changed.
        STATUS = "sync.status", INFO, ["state", "code"];
        /// A page was appended.
        PAGE_READ = "sync.page_read", DEBUG, ["stream", "read", "snapshot", "backlog"];
        /// A snapshot ended.
        SNAPSHOT_COMPLETE = "sync.snapshot_complete", INFO, ["stream"];
        /// A new snapshot starts.
        RESNAPSHOT = "sync.resnapshot", WARN, ["stream", "generation"];
        /// A pass starts or goes on.
        PASS_STARTED = "sync.pass_started", INFO, ["stream", "kind", "resumed"];
        /// A pass ended.
        PASS_COMPLETE = "sync.pass_complete", INFO, ["stream", "kind", "scanned", "reread", "missing"];
        /// The position's age has another state.
        POSITION_AGE = "sync.position_age", WARN, ["stream", "state"];
        /// A stream does not read on before its backlog is smaller.
        BACKLOG_FULL = "sync.backlog_full", DEBUG, ["stream", "backlog"];
        /// Entries wait for a parent and nothing else is left to do.
        WAITING_FOR_PARENTS = "sync.waiting_for_parents", INFO, ["stream", "count"];
        /// Deletes wait for those of children.
        DELETES_HELD = "sync.deletes_held", DEBUG, ["stream", "count"];
        /// Entries wait for a parent no more.
        RELEASED = "sync.released", DEBUG, ["stream"];
        /// Entries were settled.
        SETTLED = "sync.settled", DEBUG, ["stream", "inserted", "updated", "deleted", "unchanged", "dead", "backlog"];
        /// An outcome is unknown.
        UNKNOWN_OUTCOME = "sync.unknown_outcome", DEBUG, ["stream", "count", "code"];
        /// A record became a dead letter.
        DEAD_LETTERED = "sync.dead_lettered", DEBUG, ["stream", "code"];
        /// Dead letters were dropped because an operator asked for it.
        DEAD_LETTERS_DROPPED = "sync.dead_letters_dropped", INFO, ["stream", "count"];
        /// Dead letters were kept for their time.
        DEAD_LETTERS_FORGOTTEN = "sync.dead_letters_forgotten", WARN, ["stream", "count"];
        /// Dead letters were read again because an operator asked for it.
        DEAD_LETTERS_REQUEUED = "sync.dead_letters_requeued", INFO, ["stream", "count"];
        /// Something failed for now.
        RETRYING = "sync.retrying", WARN, ["stream", "code", "delay_ms"];
        /// Writing pauses.
        PAUSE_BEGUN = "sync.pause_begun", INFO, ["stream", "code", "pause_ms"];
        /// Writing goes on.
        PAUSE_ENDED = "sync.pause_ended", INFO, ["stream", "lasted_ms"];
        /// The brake holds deletions.
        DELETE_BRAKE = "sync.delete_brake", WARN, ["stream", "candidates", "allowed"];
        /// An operator's request is taken up.
        REQUEST_BEGUN = "sync.request_begun", INFO, ["id", "kind"];
        /// An operator's request was carried out.
        REQUEST_DONE = "sync.request_done", INFO, ["id"];
        /// An operator's request cannot be carried out.
        REQUEST_REFUSED = "sync.request_refused", WARN, ["id", "code"];
        /// The lease was renewed so late that writing had to wait for it.
        LEASE_RENEWED_LATE = "sync.lease_renewed_late", WARN, ["late_ms"];
        /// The lease is somebody else's.
        LEASE_LOST = "sync.lease_lost", ERROR, [];
        /// A graceful stop begins.
        STOP_BEGUN = "sync.stop_begun", INFO, ["deadline_ms"];
        /// The lease could not be given back.
        LEASE_NOT_RELEASED = "sync.lease_not_released", DEBUG, ["code"];
        /// The status could not be kept for other processes.
        STATUS_NOT_KEPT = "sync.status_not_kept", DEBUG, ["code"];
    }
}

/// Metrics. The label `code` is a stable code or one of a fixed list; `client` is the name of a client of the configuration.
pub mod metric {
    use super::{MetricKind, MetricName};

    metrics! {
        STATE = "sync_workflow_state", Gauge, ["workflow", "code"], "1 for the state that the workflow is in.";
        STORE_READABLE = "sync_store_readable", Gauge, ["workflow"], "1 when the store answered; 0 when what it holds is left out.";
        LATE_RENEWALS = "sync_lease_late_renewals_total", Counter, ["workflow"], "Renewals of the lease that came so late that writing had to wait.";
        BACKLOG = "sync_backlog_entries", Gauge, ["workflow", "stream"], "Unsettled entries.";
        IN_FLIGHT = "sync_in_flight_entries", Gauge, ["workflow", "stream"], "Claimed entries.";
        WAITING = "sync_waiting_entries", Gauge, ["workflow", "stream"], "Entries that wait for a parent, or are held until children are deleted.";
        UNKNOWN = "sync_unknown_entries", Gauge, ["workflow", "stream"], "Entries whose outcome is unknown.";
        VERIFICATIONS = "sync_verification_entries", Gauge, ["workflow", "stream"], "Second looks after unknown outcomes, waiting or claimed.";
        DEAD = "sync_dead_letter_records", Gauge, ["workflow", "stream"], "Dead letters kept.";
        OLDEST = "sync_oldest_entry_age_seconds", Gauge, ["workflow", "stream"], "Age of the oldest unsettled entry; 0 when there is none.";
        POSITION_AGE = "sync_position_age_seconds", Gauge, ["workflow", "stream"], "Time since the last page was appended.";
        LAG = "sync_lag_seconds", Gauge, ["workflow", "stream"], "How far the destination may be behind: the greater of the ages of the oldest entry and of the position.";
        READ_RATE = "sync_read_records_per_second", Gauge, ["workflow", "stream"], "Changes read, over the last minute.";
        WRITE_RATE = "sync_written_records_per_second", Gauge, ["workflow", "stream"], "Records created, changed or deleted, over the last minute.";
        READ = "sync_read_records_total", Counter, ["workflow", "stream"], "Changes read.";
        SETTLED = "sync_settled_records_total", Counter, ["workflow", "stream", "code"], "What became of changes, by the names of the counts of a run.";
        RETRIES = "sync_retries_total", Counter, ["workflow", "stream", "code"], "Repetitions of reading or writing because a service had trouble.";
        PAUSES = "sync_pauses_total", Counter, ["workflow", "stream"], "Pauses of writing.";
        PAUSE_SECONDS = "sync_pause_seconds_total", Counter, ["workflow", "stream"], "Time in pauses of writing, one under way included.";
        DEAD_LETTERED = "sync_dead_lettered_records_total", Counter, ["workflow", "stream", "code"], "Records that became dead letters.";
        UNKNOWN_OUTCOMES = "sync_unknown_outcomes_total", Counter, ["workflow", "stream", "code"], "Unknown outcomes.";
        TOKEN_AGE = "sync_client_token_age_seconds", Gauge, ["workflow", "client"], "Age of the client's access token.";
        LANE_LIMIT = "sync_client_limit_requests", Gauge, ["workflow", "client"], "The most requests in flight at present.";
        LANE_IN_FLIGHT = "sync_client_in_flight_requests", Gauge, ["workflow", "client"], "Requests in flight.";
        LANE_WINDOW = "sync_client_window_used_ratio", Gauge, ["workflow", "client"], "Share of the service's allowance used in the present window, 0 to 1.";
        LANE_PAUSES = "sync_client_pauses_total", Counter, ["workflow", "client"], "Pauses that the service ordered.";
        LANE_THROTTLED = "sync_client_throttled_requests_total", Counter, ["workflow", "client"], "Requests answered with a wish for less pace.";
        LANE_BREAKER = "sync_client_breaker_open", Gauge, ["workflow", "client"], "1 while nothing is sent because the service is down.";
    }
}
