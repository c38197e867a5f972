use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The identity of a record within its table.
///
/// A key has one canonical byte form ([`Key::to_bytes`]) that stores index and compare; two keys are equal exactly when
/// their bytes are. A GUID costs 17 bytes there, never its 36 characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Key {
    /// A GUID, as Dataverse primary keys are.
    Guid(Uuid),
    /// Any text, compared byte for byte.
    Text(Box<str>),
}

/// Bytes that are no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no record key")]
pub struct KeyError;

impl Key {
    const GUID: u8 = 1;
    const TEXT: u8 = 2;

    /// A text key.
    pub fn text(text: impl Into<Box<str>>) -> Self {
        Self::Text(text.into())
    }

    /// The canonical byte form: a tag, then the content.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Guid(guid) => {
                let mut bytes = Vec::with_capacity(17);
                bytes.push(Self::GUID);
                bytes.extend_from_slice(guid.as_bytes());
                bytes
            }
            Self::Text(text) => {
                let mut bytes = Vec::with_capacity(1 + text.len());
                bytes.push(Self::TEXT);
                bytes.extend_from_slice(text.as_bytes());
                bytes
            }
        }
    }

    /// Reads the canonical byte form.
    ///
    /// # Errors
    /// [`KeyError`] when the bytes were not made by [`Key::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        match bytes.split_first() {
            Some((&Self::GUID, rest)) => Uuid::from_slice(rest).map(Self::Guid).map_err(|_| KeyError),
            Some((&Self::TEXT, rest)) => std::str::from_utf8(rest).map(Self::text).map_err(|_| KeyError),
            _ => Err(KeyError),
        }
    }

    /// The key as the text that both services show: a GUID in lower case with hyphens, a text as it is.
    pub fn to_text(&self) -> String {
        match self {
            Self::Guid(guid) => guid.hyphenated().to_string(),
            Self::Text(text) => text.to_string(),
        }
    }
}

/// A GUID is an opaque identifier and may be shown; a text key can be personal data (an e-mail address) and is not.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guid(guid) => write!(f, "Key({guid})"),
            Self::Text(text) => write!(f, "Key(text of {} bytes)", text.len()),
        }
    }
}

impl From<Uuid> for Key {
    fn from(guid: Uuid) -> Self {
        Self::Guid(guid)
    }
}
