//! What can go wrong with the consent file.

use std::fmt;
use std::sync::Arc;

use rusqlite::ErrorCode;

/// The sorts of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LedgerErrorKind {
    /// The file cannot be opened, read or written.
    Unavailable,
    /// The disk is full; nothing was recorded, so nothing may be sent.
    Full,
    /// The file holds something that this program did not write.
    Corrupt,
    /// Made with another key, or with one where none was given, or the other way round.
    WrongKey,
    /// Made by a newer version of this program.
    TooNew,
}

/// A failure of the consent file. Its text holds neither keys nor values of records.
#[derive(Debug, Clone)]
pub struct LedgerError {
    kind: LedgerErrorKind,
    message: &'static str,
    remedy: &'static str,
    source: Option<Arc<rusqlite::Error>>,
}

impl LedgerError {
    pub(crate) const fn new(kind: LedgerErrorKind, message: &'static str, remedy: &'static str) -> Self {
        Self { kind, message, remedy, source: None }
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> LedgerErrorKind {
        self.kind
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        self.remedy
    }
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)
    }
}

impl std::error::Error for LedgerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// What an error of SQLite means here. Its texts name tables and columns, never values, except where a value cannot be converted.
pub(crate) fn failed(error: rusqlite::Error) -> LedgerError {
    use rusqlite::Error as E;
    if matches!(error, E::FromSqlConversionFailure(..) | E::IntegralValueOutOfRange(..) | E::InvalidColumnType(..)) {
        return damaged();
    }
    let code = match &error {
        E::SqlInputError { error, .. } => Some(error.code),
        error => error.sqlite_error_code(),
    };
    let kind = match code {
        Some(ErrorCode::DiskFull) => LedgerError::new(
            LedgerErrorKind::Full,
            "The consent file cannot grow: the disk is full.",
            "Free space on its disk and start again; no opt-out was sent without its record.",
        ),
        Some(
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation | ErrorCode::Unknown,
        ) => damaged(),
        _ => LedgerError::new(
            LedgerErrorKind::Unavailable,
            "The consent file cannot be read or written.",
            "See that its folder exists, is on a local disk and may be written by this user.",
        ),
    };
    LedgerError { source: Some(Arc::new(error)), ..kind }
}

pub(crate) const fn damaged() -> LedgerError {
    LedgerError::new(
        LedgerErrorKind::Corrupt,
        "The consent file holds something that this program did not write.",
        "Have it verified, put it aside and restore a backup; until then nobody counts as contactable.",
    )
}

pub(crate) const fn gone() -> LedgerError {
    LedgerError::new(
        LedgerErrorKind::Unavailable,
        "It was not recorded: the writer of the consent file has ended, or a write beside it failed.",
        "Try again; what was acknowledged is durable. If it repeats, start again and check the disk.",
    )
}

pub(crate) const fn wrong_key() -> LedgerError {
    LedgerError::new(
        LedgerErrorKind::WrongKey,
        "The consent file was made with another key, or with none.",
        "Give the key that it was made with.",
    )
}
