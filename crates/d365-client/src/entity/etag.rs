//! Version tags and preconditions.

use std::fmt;

use crate::error::Error;

/// The version tag of a row, `W/"1893012"`, to be handed back as it came.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ETag(String);

impl ETag {
    /// Keeps a tag that the service gave.
    ///
    /// # Errors
    /// A text that cannot stand in a header.
    pub fn new(text: impl Into<String>) -> Result<Self, Error> {
        let text = text.into();
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            Ok(Self(text))
        } else {
            Err(Error::validation("a version tag holds a character that cannot stand in a header"))
        }
    }

    /// The tag of a row version (`versionnumber`), which is what tags of Dataverse are made of.
    #[must_use]
    pub fn of_version(version: i64) -> Self {
        Self(format!("W/\"{version}\""))
    }

    /// As it stands on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The state that a row must be in for an upsert to go through.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Precondition {
    /// Create the row or update it, whichever fits.
    #[default]
    None,
    /// `If-Match: *`: the row must exist; nothing is created.
    IfMatchAny,
    /// `If-Match` with a tag: the row must exist in this version.
    IfMatch(ETag),
    /// `If-None-Match: *`: the row must not exist; nothing is updated.
    IfNoneMatch,
}

/// The state that a row must be in for an update or a delete to go through. An update never creates.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Expect {
    /// Any version.
    #[default]
    Any,
    /// This version and no other.
    Version(ETag),
}
