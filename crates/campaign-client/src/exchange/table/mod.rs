//! Tables as text: what Campaign's extract activity writes, and what connectors write for others.
//!
//! [`TableReader`] reads rows as they come: separator and quotes from the header or as configured, with or without byte order mark,
//! LF or CR LF. A row that cannot be taken is one [`RowError`] with its line, and the next row follows. [`OptOutDecoder`] and
//! [`LogDecoder`] make typed rows of it by the names of the columns.

mod columns;
mod form;
mod log_row;
mod opt_out;
mod reader;
mod row;
mod time;
mod writer;

pub use columns::ColumnMap;
pub use form::{Quotes, Separator, TableLimits, TextForm};
pub use log_row::{LogDecoder, LogField, LogKind, LogKindRule, LogLayout, LogRow};
pub use opt_out::{OptOutAttribute, OptOutColumns, OptOutDecoder, OptOutLayout, OptOutRow};
pub use reader::TableReader;
pub use row::{Row, RowError, RowErrorKind};
pub use time::{FileTime, TimePrecision};
pub use writer::{HumanWriter, TableWriter, WriteForm};

fn utc() -> chrono::FixedOffset {
    chrono::Offset::fix(&chrono::Utc)
}
