//! The engine alone: a source that makes rows up, a destination that takes everything at once, checkpoints on.
//!
//! `cargo bench -p benches --bench engine -- [--records N] [memory|sqlite]...`

#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use record::{Change, ChangeBody, Key, Record};
use sync_core::store::MemoryStore;
use sync_core::traits::{
    Attempt, BatchLimit, ChangeBatch, Class, Decision, Destination, DestinationCaps, Outcome, Phase, Rejection, Report,
    Source, SourceCaps, Store, Transform, WriteOp,
};
use sync_core::{
    Digest, EndpointError, Payload, PlanVersion, Position, RunMode, StreamConfig, StreamId, Workflow, WorkflowState,
};
use sync_store_sqlite::{SqliteOptions, SqliteStore};
use tokio::time::Instant;
use uuid::Uuid;

type Ending<T> = Result<T, Box<dyn Error>>;

/// Rows of a page, as a source answers them.
const PAGE: u32 = 5_000;
/// A body of the size of a profile with a few fields.
const BODY: &[u8] = &[b'x'; 220];

fn main() -> Ending<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let records: u64 = match arguments.iter().position(|argument| argument == "--records") {
        Some(at) => arguments.get(at + 1).ok_or("a number is missing")?.parse()?,
        None => 200_000,
    };
    let named = |name: &str| arguments.iter().any(|argument| argument == name);
    let all = !named("memory") && !named("sqlite");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("store | records | records/s");
    if all || named("memory") {
        let rate = runtime.block_on(run(Arc::new(MemoryStore::new()), records))?;
        println!("MemoryStore | {records} | {rate:.0}");
    }
    if all || named("sqlite") {
        let folder = tempfile::tempdir()?;
        let store = SqliteStore::open(&folder.path().join("store.db"), SqliteOptions::default())?;
        let rate = runtime.block_on(run(store, records))?;
        println!("SqliteStore | {records} | {rate:.0}");
    }
    Ok(())
}

async fn run(store: Arc<dyn Store>, records: u64) -> Ending<f64> {
    let stream = StreamConfig {
        id: StreamId::new("bench/records"),
        rank: 0,
        class: Class::Live,
        source: Arc::new(Rows(records)),
        transform: Arc::new(SameBody),
        destination: Arc::new(Null),
        poll_every: Duration::from_secs(30),
        apply_deletes: true,
        page_rows: PAGE,
    };
    let workflow = Workflow::builder("bench").store(store).stream(stream).build()?;
    let started = Instant::now();
    let report = workflow.start(RunMode::UntilIdle).join().await;
    let seconds = started.elapsed().as_secs_f64();
    let written = report.streams.first().map_or(0, |stream| stream.tally.inserted);
    if report.status.state != WorkflowState::Stopped || written != records {
        return Err(format!("{written} of {records} were written: {:?}", report.status).into());
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of records")]
    Ok(records as f64 / seconds)
}

/// So many rows, made when they are asked for.
#[derive(Debug)]
struct Rows(u64);

#[async_trait]
impl Source for Rows {
    fn capabilities(&self) -> SourceCaps {
        SourceCaps::default()
    }

    async fn read(&self, after: Option<&Position>, limit: BatchLimit) -> Result<ChangeBatch, EndpointError> {
        let from = match after.map(Position::as_str) {
            None => 0,
            Some(at) => at.parse().unwrap_or(self.0),
        };
        let to = self.0.min(from + u64::from(limit.rows));
        let row = |number: u64| Change {
            key: Key::Guid(Uuid::new_v5(&Uuid::NAMESPACE_OID, &number.to_be_bytes())),
            version: Some(1),
            body: ChangeBody::Upsert(Record::with_capacity(0)),
        };
        let phase = if after.is_some_and(|_| from == self.0) { Phase::Incremental } else { Phase::Snapshot };
        let next = Position::new(to.to_string());
        Ok(ChangeBatch { changes: (from..to).map(row).collect(), next, phase, more: to < self.0 })
    }

    async fn fetch(&self, _keys: &[Key]) -> Result<Vec<Change>, EndpointError> {
        Ok(Vec::new())
    }
}

/// The same body for every row, so that nothing is measured but the engine.
#[derive(Debug)]
struct SameBody;

impl Transform for SameBody {
    fn decide(&self, _change: &Change) -> Result<Decision, Rejection> {
        let body = Payload(Bytes::from_static(BODY));
        Ok(Decision::Upsert { insert: body.clone(), update: body.into(), digest: Digest([1; 16]) })
    }

    fn version(&self) -> PlanVersion {
        PlanVersion(1)
    }
}

/// Takes everything.
#[derive(Debug)]
struct Null;

#[async_trait]
impl Destination for Null {
    fn capabilities(&self) -> DestinationCaps {
        DestinationCaps { unique_key: true, settle: Duration::ZERO, in_flight: 64 }
    }

    async fn apply(&self, _at: &Attempt, ops: &[WriteOp], report: &mut Report) -> Result<(), EndpointError> {
        for index in 0..ops.len() {
            report.set(index, Outcome::Applied);
        }
        Ok(())
    }

    async fn resolve(&self, _at: &Attempt, _ops: &[WriteOp], _report: &mut Report) -> Result<(), EndpointError> {
        Ok(())
    }
}
