//! The parties of a test: a source and a destination in memory that behave as badly as real ones do, on a clock of their own.

mod chance;
mod clock;
mod content;
mod feed;
mod process;
mod table;
mod target;
mod target_client;
mod trace;

pub use chance::Chance;
pub use clock::VirtualClock;
pub use content::{CANARY, Content, Kind, Mapping};
pub use feed::{TableSource, TokenMode, told_upto};
pub use process::Process;
pub use table::{Past, Table};
pub use target::{Effect, Effected, Held, Lookup, Operation, Ordered, Sent, Target, TargetHistory, TargetShape};
pub use target_client::TableTarget;
pub use trace::Trace;
