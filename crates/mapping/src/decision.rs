//! What a change of the source means for the target.

use record::{FieldName, Key, TableName, ValueKind};

/// What to do about a change.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// The record belongs at the target with this content.
    Write(Write),
    /// The filter does not let the record through.
    FilteredOut {
        /// Whether a row that was written earlier is to be deleted.
        delete: bool,
    },
    /// The record is gone at the source.
    Delete {
        /// Whether the target's row is to be deleted too.
        apply: bool,
    },
}

/// The content of a record in the target's wire form.
#[derive(Clone, PartialEq, Eq)]
pub struct Write {
    /// The key as text, as it stands in the key attribute: a GUID in lower case with hyphens.
    pub key_text: String,
    /// The JSON object for a create: key and fields, empty values left out.
    pub insert: Vec<u8>,
    /// The JSON object for a change: without the key and, unless it is a replay, without fields that do not apply updates.
    /// `Err` where a change cannot be said: a value has to be cleared, and its target has nothing that stands for nothing. The
    /// record can be created all the same, since a create leaves empty values out.
    pub update: Result<Vec<u8>, Rejection>,
    /// Identifies the live update body (the same for a live change and for a replay of the same record).
    pub digest: [u8; 16],
    /// Records of other tables that have to be at the target before this one.
    pub parents: Vec<Parent>,
}

/// Shows sizes, never the content: bodies are personal data.
impl std::fmt::Debug for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Write")
            .field("insert_bytes", &self.insert.len())
            .field("update_bytes", &self.update.as_ref().map(Vec::len))
            .field("parents", &self.parents.len())
            .finish_non_exhaustive()
    }
}

/// A record that another one refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// Its source table.
    pub table: TableName,
    /// Its key there.
    pub key: Key,
}

/// Why a change is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The source changed, or the engine reads again by itself.
    #[default]
    Live,
    /// A person asked for a replay: fields that do not apply updates are written as well.
    Replay,
}

/// A record that cannot be mapped. Carries the place and the reason, never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {explanation} ({code})")]
pub struct Rejection {
    /// A stable word for the reason, in kebab-case; see [`code`].
    pub code: &'static str,
    /// The field in the specification (`fields[3]`), or `key`.
    pub path: String,
    /// The source column, where it is about one.
    pub field: Option<FieldName>,
    /// One sentence for people.
    pub explanation: String,
}

/// The reasons for a [`Rejection`]. They are stored with dead letters, so they never change their meaning.
pub mod code {
    /// The source sent a value of another form than its schema promises.
    pub const UNREADABLE_VALUE: &str = "unreadable-value";
    /// The record arrived without a column that was asked for.
    pub const MISSING_VALUE: &str = "missing-value";
    /// The text has more characters than the target takes.
    pub const TEXT_TOO_LONG: &str = "text-too-long";
    /// The value is no name of the target's enumeration.
    pub const NOT_IN_ENUMERATION: &str = "not-in-enumeration";
    /// The target has no value that stands for nothing.
    pub const CANNOT_CLEAR: &str = "cannot-clear";
    /// The value is not a number.
    pub const NOT_A_NUMBER: &str = "not-a-number";
    /// The value has a fraction, and the target takes whole numbers.
    pub const NOT_A_WHOLE_NUMBER: &str = "not-a-whole-number";
    /// The number or date is outside of what the target can hold.
    pub const OUT_OF_RANGE: &str = "out-of-range";
    /// The value is neither true nor false.
    pub const NOT_A_BOOLEAN: &str = "not-a-boolean";
    /// The value is not a date.
    pub const NOT_A_DATE: &str = "not-a-date";
    /// The value is not an instant.
    pub const NOT_AN_INSTANT: &str = "not-an-instant";
    /// The choice has an option that the schema does not name.
    pub const UNKNOWN_LABEL: &str = "unknown-label";
    /// The key is empty or too long for the key attribute.
    pub const UNSUITABLE_KEY: &str = "unsuitable-key";
    /// A person has opted out in a way that the target has no attribute for.
    pub const UNKNOWN_OPT_OUT: &str = "unknown-opt-out";
}

/// A column that the source has to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceColumn {
    /// Its logical name.
    pub name: FieldName,
    /// The kind of its values.
    pub kind: ValueKind,
}
