//! A sync engine with durable checkpoints and backlog that knows neither product.
//!
//! A [`Workflow`] keeps destinations in step with sources, stream by stream. Two halves work at the same time:
//!
//! - a *reader* per stream pulls pages from a [`Source`](traits::Source), lets a [`Transform`](traits::Transform) decide what
//!   each change means, and appends the outcome to the durable [`Backlog`](traits::Backlog) **together with the read
//!   position**, in one step;
//! - one *writer* claims entries of all streams, writes them through a [`Destination`](traits::Destination) and settles them
//!   together with the [`RecordIndex`](traits::RecordIndex), in one step.
//!
//! The backlog between them keeps the newest state per record, the order per record, and what is in flight. Both halves are
//! pure machines ([`engine::reader`], [`engine::writer`]) that say what to do next; drivers do it.
//!
//! # The promise
//!
//! *At-least-once delivery, idempotent effect.* A change that was read is never lost: the position moves only with the
//! entries that stand for it. It may be written twice after a crash or a lost answer, and ends in the same state: writes go
//! by key, one at a time for each key, in order. Where the destination refuses a second record of a key
//! ([`DestinationCaps::unique_key`](traits::DestinationCaps::unique_key)), a write of unknown outcome is repeated at once and
//! verified later; where it does not, the engine waits, asks, and only then writes again. A record that cannot be written
//! becomes a dead letter and holds up nothing else.
//!
//! # Example
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::{Arc, Mutex};
//! use std::time::Duration;
//!
//! use async_trait::async_trait;
//! use record::{Change, ChangeBody, FieldName, Key, Record, Value};
//! use sync_core::store::MemoryStore;
//! use sync_core::traits::*;
//! use sync_core::{Digest, EndpointError, Payload, PlanVersion, Position};
//! use sync_core::{RunMode, StreamConfig, StreamId, Workflow, WorkflowState};
//!
//! /// A table of two names, which never change.
//! #[derive(Debug)]
//! struct Names;
//!
//! #[async_trait]
//! impl Source for Names {
//!     fn capabilities(&self) -> SourceCaps {
//!         SourceCaps { deletes: true, ..SourceCaps::default() }
//!     }
//!     async fn read(&self, after: Option<&Position>, _: BatchLimit) -> Result<ChangeBatch, EndpointError> {
//!         let next = Position::new("the end");
//!         if after.is_some() {
//!             return Ok(ChangeBatch { changes: vec![], next, phase: Phase::Incremental, more: false });
//!         }
//!         let change = |name: &str| {
//!             let mut record = Record::default();
//!             record.set(FieldName::from("name"), Value::Text(name.into()));
//!             Change { key: Key::text(name), version: Some(1), body: ChangeBody::Upsert(record) }
//!         };
//!         let changes = vec![change("Ada"), change("Grace")];
//!         Ok(ChangeBatch { changes, next, phase: Phase::Snapshot, more: false })
//!     }
//!     async fn fetch(&self, _: &[Key]) -> Result<Vec<Change>, EndpointError> {
//!         Ok(vec![])
//!     }
//! }
//!
//! #[derive(Debug)]
//! struct Greet;
//!
//! impl Transform for Greet {
//!     fn decide(&self, change: &Change) -> Result<Decision, Rejection> {
//!         let ChangeBody::Upsert(record) = &change.body else { return Ok(Decision::Delete) };
//!         let Some(Value::Text(name)) = record.get("name") else { return Ok(Decision::Ignore) };
//!         let body = Payload(format!("Hello {name}").into_bytes().into());
//!         // Use a real hash of the body here: equal digests cost no call.
//!         let digest = Digest([name.len() as u8; 16]);
//!         Ok(Decision::Upsert { insert: body.clone(), update: body.into(), digest })
//!     }
//!     fn version(&self) -> PlanVersion {
//!         PlanVersion(1)
//!     }
//! }
//!
//! #[derive(Debug, Default)]
//! struct Greetings(Mutex<BTreeMap<Key, Payload>>);
//!
//! #[async_trait]
//! impl Destination for Greetings {
//!     fn capabilities(&self) -> DestinationCaps {
//!         DestinationCaps { unique_key: true, settle: Duration::ZERO, in_flight: 4 }
//!     }
//!     async fn apply(&self, _: &Attempt, ops: &[WriteOp], report: &mut Report) -> Result<(), EndpointError> {
//!         let mut held = self.0.lock().unwrap();
//!         for (index, op) in ops.iter().enumerate() {
//!             let there = held.contains_key(&op.key);
//!             report.set(index, match (&op.action, there) {
//!                 (Action::Create(_), true) => Outcome::Exists,
//!                 (Action::Update(_) | Action::Delete, false) => Outcome::Missing,
//!                 (Action::Create(body) | Action::Update(body), _) => {
//!                     held.insert(op.key.clone(), body.clone());
//!                     Outcome::Applied
//!                 }
//!                 (Action::Delete, true) => {
//!                     held.remove(&op.key);
//!                     Outcome::Applied
//!                 }
//!             });
//!         }
//!         Ok(())
//!     }
//!     async fn resolve(&self, _: &Attempt, ops: &[WriteOp], report: &mut Report) -> Result<(), EndpointError> {
//!         let held = self.0.lock().unwrap();
//!         for (index, op) in ops.iter().enumerate() {
//!             let there = held.contains_key(&op.key);
//!             report.set(index, if there { Outcome::Exists } else { Outcome::Missing });
//!         }
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let greetings = Arc::new(Greetings::default());
//! let workflow = Workflow::builder("greetings")
//!     .store(Arc::new(MemoryStore::new()))
//!     .stream(StreamConfig {
//!         id: StreamId::new("greetings/names"),
//!         rank: 0,
//!         class: Class::Live,
//!         source: Arc::new(Names),
//!         transform: Arc::new(Greet),
//!         destination: greetings.clone(),
//!         poll_every: Duration::from_secs(30),
//!         apply_deletes: true,
//!         page_rows: 500,
//!     })
//!     .build()?;
//!
//! let report = workflow.start(RunMode::UntilIdle).join().await;
//! assert_eq!(report.status.state, WorkflowState::Stopped);
//! assert_eq!(report.streams[0].tally.inserted, 2);
//! assert_eq!(greetings.0.lock().unwrap().len(), 2);
//!
//! // Nothing changed: nothing is written.
//! let report = workflow.start(RunMode::UntilIdle).join().await;
//! assert_eq!(report.streams[0].tally.read, 0);
//! # Ok(())
//! # }
//! ```

mod accept;
pub mod engine;
mod error;
mod ids;
mod status;
pub mod store;
pub mod telemetry;
pub mod traits;
mod workflow;

pub use accept::{Acceptance, KeyState, PendingEntry, accept};
pub use engine::{DeleteBrake, EngineOptions, RunMode};
pub use error::{EndpointError, EndpointErrorKind, StoreError, StoreErrorKind};
pub use ids::{Digest, Payload, PlanVersion, Position, Seq, StreamId, Tally};
pub use status::{StatusReason, WorkflowState, WorkflowStatus};
pub use workflow::{BuildError, RunReport, StreamConfig, StreamReport, Workflow, WorkflowBuilder, WorkflowHandle};
