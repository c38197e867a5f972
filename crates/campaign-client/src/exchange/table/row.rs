use std::fmt;

/// One row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub(super) line: u64,
    pub(super) text: String,
    pub(super) ends: Vec<usize>,
}

impl Row {
    /// The line it begins in, from 1; the header line counts.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }

    /// One value.
    #[must_use]
    pub fn get(&self, column: usize) -> Option<&str> {
        let end = *self.ends.get(column)?;
        let start = match column.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.text.get(start..end)
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no value; a row of a reader has at least one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All values in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|column| self.get(column))
    }
}

/// Why a row was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowErrorKind {
    /// More or fewer values than columns.
    ColumnCount {
        /// Columns of the table.
        expected: usize,
        /// Values of the row; where there are too many to count, the limit.
        found: usize,
    },
    /// A NUL among the characters.
    Nul,
    /// Longer than the limit.
    TooLong,
    /// Not UTF-8.
    NotUtf8,
    /// A quoted value does not end before the file does.
    OpenQuote,
    /// Text behind the end of a quoted value: a quote is missing, or the file has none and the values have.
    StrayQuote,
    /// The value that names the record is empty.
    NoKey,
    /// A value is no truth value: `0`, `1`, `true`, `false`.
    NotBoolean {
        /// Column.
        column: String,
    },
    /// A value is no date and time in a form that is known.
    NotTime {
        /// Column.
        column: String,
    },
    /// The word for the kind of the event is none of the configured ones.
    UnknownKind,
}

/// A row that was not taken, with its line. Holds no value of the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// The line the row begins in, from 1.
    pub line: u64,
    /// Why.
    pub kind: RowErrorKind,
}

impl RowErrorKind {
    /// A name for counters and reports.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::ColumnCount { .. } => "column_count",
            Self::Nul => "nul",
            Self::TooLong => "too_long",
            Self::NotUtf8 => "not_utf8",
            Self::OpenQuote => "open_quote",
            Self::StrayQuote => "stray_quote",
            Self::NoKey => "no_key",
            Self::NotBoolean { .. } => "not_boolean",
            Self::NotTime { .. } => "not_time",
            Self::UnknownKind => "unknown_kind",
        }
    }
}

impl fmt::Display for RowError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: ", self.line)?;
        match &self.kind {
            RowErrorKind::ColumnCount { expected, found } => {
                write!(formatter, "{found} values, and the table has {expected} columns")
            }
            RowErrorKind::Nul => formatter.write_str("a NUL character"),
            RowErrorKind::TooLong => formatter.write_str("longer than the limit"),
            RowErrorKind::NotUtf8 => formatter.write_str("not UTF-8"),
            RowErrorKind::OpenQuote => formatter.write_str("a quote that does not end"),
            RowErrorKind::StrayQuote => formatter.write_str("text behind the end of a quoted value"),
            RowErrorKind::NoKey => formatter.write_str("no external id"),
            RowErrorKind::NotBoolean { column } => write!(formatter, "column {column}: no truth value"),
            RowErrorKind::NotTime { column } => write!(formatter, "column {column}: no date and time of a known form"),
            RowErrorKind::UnknownKind => formatter.write_str("the kind of the event is not known"),
        }
    }
}

impl std::error::Error for RowError {}
