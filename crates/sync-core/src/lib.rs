//! A sync engine with durable checkpoints and backlog that knows neither product.
//!
//! A *reader* pulls pages from a [`Source`](traits::Source), lets a [`Transform`](traits::Transform) decide, and appends the
//! outcome to the durable [`Backlog`](traits::Backlog) together with the read position. A *writer* claims entries, writes
//! them through a [`Destination`](traits::Destination) and settles them together with the record index. Both are pure
//! machines; the driver performs their actions.

mod accept;
pub mod engine;
mod error;
mod ids;
mod status;
pub mod store;
pub mod traits;
mod workflow;

pub use accept::{Acceptance, KeyState, PendingEntry, accept};
pub use engine::{DeleteBrake, EngineOptions, RunMode};
pub use error::{EndpointError, EndpointErrorKind, StoreError, StoreErrorKind};
pub use ids::{Digest, Payload, PlanVersion, Position, Seq, StreamId, Tally};
pub use status::{StatusReason, WorkflowState, WorkflowStatus};
pub use workflow::{BuildError, RunReport, StreamConfig, StreamReport, Workflow, WorkflowBuilder, WorkflowHandle};
