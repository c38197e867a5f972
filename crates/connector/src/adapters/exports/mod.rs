//! Files of the file exchange as the engine's source: log exports, and what Campaign's daily workflow writes about opt-outs.

mod folder;
mod layout;
pub(crate) mod logs;
pub(crate) mod opt_outs;
mod place;
pub(crate) mod source;
pub(crate) mod trouble;
pub(crate) mod watch;

pub(crate) use folder::exchange;
