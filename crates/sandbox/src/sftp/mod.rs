//! The file exchange: an SFTP server with files in memory, where Campaign's exports are put and connectors leave their logs.

pub(crate) mod control;
mod faults;
mod files;
mod service;
mod session;

pub use control::MailEvents;
pub use faults::{SftpFaultBook, SftpFaultCount, SftpFaultKind, SftpFaultRule, SftpSide};
pub use files::{FileLine, Files};
pub use service::{EXPORTS, LOGS, SftpInfo, SftpService};
