use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::{Error, ErrorKind};

/// Longest key, in bytes before encoding: Campaign's key fields are strings of at most 255.
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
    /// `HostileKey` for an empty key, `.` and `..` (URL parsers drop them), a leading `@` (the service
    /// would take it for a `PKey`), control characters, and more than [`MAX_KEY`] bytes.
    pub fn new(value: impl Into<Box<str>>) -> Result<Self, Error> {
        let value = value.into();
        let why = if value.is_empty() {
            "the key is empty"
        } else if value.len() > MAX_KEY {
            "the key is longer than 255 bytes"
        } else if matches!(&*value, "." | "..") {
            "the key is a dot segment of a URL"
        } else if value.starts_with('@') {
            "the key begins with '@', as a PKey does"
        } else if value.chars().any(char::is_control) {
            "the key holds a control character"
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
