//! Files over SFTP, and the tables in them: what Campaign's workflows write for others to fetch (cargo feature `exchange`).
//!
//! [`Exchange`] talks to the server: one pinned host key, key authentication, strict names, links refused, complete files only
//! ([`Completeness`]), streaming with transparent gzip and limits against bombs, uploads that show when they are whole.
//! [`table`] reads and writes the text forms of Campaign's extract activity, row by row, with one error for each row that is refused.

mod config;
mod connection;
mod download;
mod error;
mod ledger;
mod listing;
mod name;
pub mod table;
mod upload;

pub use config::{ExchangeConfig, ExchangeLimits, PrivateKeySource};
pub use connection::Exchange;
pub use download::FileReader;
pub use error::{ExchangeError, ExchangeErrorKind, Limit};
pub use ledger::FileLedgerKey;
pub use listing::{CompleteWhen, Completeness, FileEntry, Listing};
pub use name::{FileName, Folder};
