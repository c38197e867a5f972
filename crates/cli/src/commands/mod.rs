//! One file per command.

pub(crate) mod consent;
pub(crate) mod dead_letters;
pub(crate) mod explain;
pub(crate) mod init;
pub(crate) mod preflight;
pub(crate) mod preview;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod status;
