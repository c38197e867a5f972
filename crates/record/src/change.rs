use crate::{Key, Record};

/// One change of one record at the source.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The record's identity at the source.
    pub key: Key,
    /// The source's own row version; within one key a larger number is a later state. `None` where the source has none.
    pub version: Option<i64>,
    /// What happened.
    pub body: ChangeBody,
}

/// What happened to a record.
#[derive(Debug, Clone, PartialEq)]
pub enum ChangeBody {
    /// The record exists with these fields: the whole state of all fields that were asked for, not a difference.
    Upsert(Record),
    /// The record is gone.
    Delete,
    /// The record arrived, but a field could not be read; the state is unknown.
    Unreadable {
        /// The field at fault.
        field: crate::FieldName,
        /// What was expected there.
        error: crate::ValueError,
    },
}
