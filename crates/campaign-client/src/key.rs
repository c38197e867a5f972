use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::{Error, ErrorKind};

/// Longest key, in characters: Campaign's key fields are strings of at most 255.
pub const MAX_KEY: usize = 255;

/// The unreserved letters of RFC 3986 stay as they are, everything else is encoded.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The value of a custom identification key, which stands for the `PKey` in the URL of a record
/// (experienceleague.adobe.com, Campaign Standard API, "Must-read", custom keys).
///
/// It always is exactly one segment of a path, whatever it holds. `Debug` hides the value.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RecordKey {
    value: Box<str>,
}

impl RecordKey {
    /// Takes a key value.
    ///
    /// # Errors
    /// `HostileKey` for an empty key, control characters, more than [`MAX_KEY`] characters, and everything that the service
    /// would not take for a key where a key stands: `.` and `..` (URL parsers drop them), a leading `@` (a `PKey`), a leading
    /// `_` (`_count`), `metadata`, `by` with a capital behind it (a filter), the built-in filters that are called otherwise,
    /// and an ending `.json` or `.xml` (the form of the answer).
    pub fn new(value: impl Into<Box<str>>) -> Result<Self, Error> {
        let value = value.into();
        let why = if value.is_empty() {
            "the key is empty"
        } else if value.chars().nth(MAX_KEY).is_some() {
            "the key is longer than 255 characters"
        } else if value.chars().any(char::is_control) {
            "the key holds a control character"
        } else if let Some(why) = misread(&value) {
            why
        } else {
            return Ok(Self { value });
        };
        Err(Error::because(ErrorKind::HostileKey, why))
    }

    /// The key as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.value
    }

    /// The key as one segment of a URL path.
    #[must_use]
    pub fn path_segment(&self) -> String {
        encode(&self.value)
    }
}

/// Filters of the profile that do not begin with `by` (experienceleague.adobe.com, "Profile data model").
const FILTERS: [&str; 6] =
    ["birthday", "hasReceivedDelivery", "hasOpenedDelivery", "hasClickedDelivery", "profile", "subscribers"];

/// What the service reads a segment as, if not as a key.
fn misread(value: &str) -> Option<&'static str> {
    let ends = |with: &str| {
        value
            .len()
            .checked_sub(with.len())
            .and_then(|at| value.get(at..))
            .is_some_and(|end| end.eq_ignore_ascii_case(with))
    };
    let filter = value.strip_prefix("by").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()));
    Some(match value {
        "." | ".." => "the key is a dot segment of a URL",
        _ if value.starts_with('@') => "the key begins with '@', as a PKey does",
        _ if value.starts_with('_') => "the key begins with '_', as a command of the service does",
        _ if value.eq_ignore_ascii_case("metadata") => "the key asks the service for metadata",
        _ if ends(".json") || ends(".xml") => "the key ends like the name of a format",
        _ if filter || FILTERS.contains(&value) => "the key has the name of a filter",
        _ => return None,
    })
}

impl TryFrom<&str> for RecordKey {
    type Error = Error;

    fn try_from(value: &str) -> Result<Self, Error> {
        Self::new(value)
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RecordKey({} bytes)", self.value.len())
    }
}

/// Encodes everything but unreserved letters, for paths and queries alike: a space is `%20`, never `+`.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}
