//! Keeps Dynamics 365 and Adobe Campaign Standard in step.
//!
//! A [`Config`] names both services, the store and the mappings; [`Connector::builder`] reads the secrets, asks both services
//! for their schemas, compiles the mappings and opens the store; [`Connector::start`] runs. [`control`] looks at a store from
//! outside, beside a running process, and leaves requests of operators in it.
//!
//! The guide `docs/embedding.md` has programs that compile; `docs/configuration.md` explains every key.

mod adapters;
mod config;
mod connect;
mod connector;
pub mod consent;
pub mod control;
mod error;
pub mod explain;
mod logs;
mod plain_http;
pub mod preflight;
pub mod preview;
mod reason;
mod running;
mod summary;
pub mod template;
mod trouble;
mod wire;
mod workflows;

pub use config::{
    Activities, ActivityNames, CampaignConfig, Config, DataverseConfig, DeleteBrake, Direction, EventSource,
    EventsConfig, ExportComplete, ExportFiles, OptOutConfig, OptOutPair, OptOutSource, SecretRef, SftpConfig,
    StoreConfig, Sweep, SyncConfig, TlsConfig,
};
pub use connector::{Connector, ConnectorBuilder};
pub use error::{Error, ErrorKind, Problem};
pub use logs::LogBuffer;
pub use mapping::TableSpec;
pub use running::{Running, Stopper};
pub use summary::{RunSummary, StatusView, TableSummary, Traffic, WorkflowSummary};
pub use sync_core::telemetry::{Metrics, hide_panic_messages};
pub use sync_core::traits::{Observer, SyncEvent};
pub use sync_core::{RunMode, StatusReason, StreamId, Tally, WorkflowState, WorkflowStatus};
pub use workflows::ingress::tables_of;

/// The programs of the guide, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/embedding.md")]
mod embedding_guide {}

/// The program of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}
