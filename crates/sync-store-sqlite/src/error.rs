//! SQLite's errors as the store's.

use rusqlite::ErrorCode;
use sync_core::{StoreError, StoreErrorKind};

/// What an error of SQLite means for the caller. Texts of SQLite name tables and columns, never values.
pub(crate) fn store_error(error: rusqlite::Error) -> StoreError {
    use rusqlite::Error as E;
    if matches!(error, E::FromSqlConversionFailure(..) | E::IntegralValueOutOfRange(..) | E::InvalidColumnType(..)) {
        // Its text may quote the value; it is not kept.
        return damaged();
    }
    let code = match &error {
        E::SqlInputError { error, .. } => Some(error.code),
        error => error.sqlite_error_code(),
    };
    let (kind, message, remedy) = match code {
        Some(ErrorCode::DiskFull) => (
            StoreErrorKind::Full,
            "The store is full: the disk, or the page limit, leaves no room.",
            "Free space on its disk, or raise store.max_pages, and start again; nothing was lost.",
        ),
        // Every statement of this program fits the layout, and none breaks a constraint, in a file that is whole.
        Some(
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation | ErrorCode::Unknown,
        ) => (
            StoreErrorKind::Corrupt,
            "The store file is damaged, or is no store of this program.",
            "Put the file aside and restore a backup, or name another file: everything is then read again.",
        ),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            StoreErrorKind::InUse,
            "The store is held by another process.",
            "Stop the other process, or give this one a store of its own.",
        ),
        _ => (
            StoreErrorKind::Unavailable,
            "The store file cannot be read or written.",
            "See that its folder exists, is on a local disk and may be written by this user.",
        ),
    };
    StoreError::new(kind, message, remedy).with_source(error)
}

/// A lease that is not the newest.
pub(crate) fn fenced() -> StoreError {
    StoreError::new(
        StoreErrorKind::Fenced,
        "Another run has taken over this workflow.",
        "Nothing is to be done if that was meant; run only one process per store.",
    )
}

/// A checkpoint that moved meanwhile.
pub(crate) fn conflict() -> StoreError {
    StoreError::new(
        StoreErrorKind::Conflict,
        "The read position was moved by somebody else.",
        "Nothing is to be done: the position is loaded again.",
    )
}

/// Something in the file that this program did not write.
pub(crate) fn damaged() -> StoreError {
    StoreError::new(
        StoreErrorKind::Corrupt,
        "The store file holds something that this program did not write.",
        "Put the file aside and restore a backup, or name another file: everything is then read again.",
    )
}
