//! Both services imitated over HTTP on loopback: an independent opinion of the protocol.
//!
//! [`Sandbox::start`] brings up Dataverse (with Entra's token endpoint), Adobe Campaign Standard (with IMS), the events journal of
//! Adobe I/O and a control interface.
//! The program of the same name does that from the command line; `docs/sandbox.md` describes its options, the scenario file, the
//! controls and the faults.

mod bomb;
pub mod campaign;
pub mod clock;
pub mod connection;
mod control;
pub mod counters;
pub mod dataverse;
pub mod faults;
pub mod history;
mod injection;
pub mod journal;
pub mod oauth;
pub mod prng;
pub mod route;
mod sandbox;
pub mod scenario;
pub mod service;
pub mod sftp;
mod tls;
mod token_endpoints;

pub use sandbox::{CampaignInfo, DataverseInfo, JournalInfo, Sandbox, SandboxConfig, SandboxError, SandboxInfo};
