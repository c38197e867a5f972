//! From the row of a table to a change of the record that it tells of.

use std::fmt;

use campaign_client::exchange::ExchangeError;
use campaign_client::exchange::table::{Row, RowError, RowErrorKind};
use record::{Change, ChangeBody, FieldName, Key, ValueError};

use super::place::FileMark;
use crate::adapters::timeline::event::KEPT;

/// What the rows of a folder's files mean.
pub(crate) trait RowLayout: fmt::Debug + Send + Sync {
    /// Finds the columns in the header of one file.
    ///
    /// # Errors
    /// When the header lacks what is needed.
    fn decoder(&self, header: &[String]) -> Result<Box<dyn DecodeRow>, ExchangeError>;
}

/// Makes changes of the rows of one file.
pub(crate) trait DecodeRow: Send + Sync {
    /// The change that a row tells of; `None` for one that is passed over.
    ///
    /// # Errors
    /// A row that cannot be read: it becomes a dead letter, and the next one follows.
    fn decode(&self, row: &Row) -> Result<Option<Change>, Unusable>;
}

/// Why a row cannot be used. Holds no value of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unusable {
    /// The column, or what is wrong with the row as a whole.
    pub(crate) field: String,
    pub(crate) expected: &'static str,
}

impl From<RowError> for Unusable {
    fn from(error: RowError) -> Self {
        let expected = match &error.kind {
            RowErrorKind::ColumnCount { .. } => "as many values as there are columns",
            RowErrorKind::Nul => "a row without NUL characters",
            RowErrorKind::TooLong => "a shorter row",
            RowErrorKind::NotUtf8 => "a row in UTF-8",
            RowErrorKind::OpenQuote | RowErrorKind::StrayQuote => "quotes that end",
            RowErrorKind::NoKey => "an external id",
            RowErrorKind::NotBoolean { .. } => "0, 1, true or false",
            RowErrorKind::NotTime { .. } => "a date and time",
            RowErrorKind::UnknownKind => "a kind of event that is known",
            _ => "a row of another form",
        };
        let field = match error.kind {
            RowErrorKind::NotBoolean { column } | RowErrorKind::NotTime { column } => column,
            kind => kind.code().to_owned(),
        };
        Self { field, expected }
    }
}

/// The key of a row that cannot be used: its file and line, and the beginning of the file's hash.
pub(super) fn row_key(file: &FileMark, line: u64) -> Key {
    let hash = file.hash.get(..8).unwrap_or(&file.hash);
    Key::text(format!("{}:{line}:{hash}", file.name))
}

/// A row that cannot be used, as a change that becomes a dead letter.
pub(super) fn unusable(file: &FileMark, line: u64, why: Unusable) -> Change {
    let field = FieldName::from(why.field.as_str());
    let body = ChangeBody::Unreadable { field, error: ValueError { expected: why.expected } };
    Change { key: row_key(file, line), version: None, body }
}

/// What stands for a record of which no file that is still there tells.
pub(super) fn gone(key: &Key) -> Change {
    let error = ValueError { expected: KEPT };
    Change { key: key.clone(), version: None, body: ChangeBody::Unreadable { field: FieldName::from("file"), error } }
}
