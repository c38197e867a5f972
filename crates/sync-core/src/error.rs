//! Errors of the parts that a host brings, and of the store.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// An error of a source or destination as a whole (never of a single record). Its text is shown to operators and must hold
/// neither a secret nor a value of a record. The error beneath may hold anything: it is not shown, not even by `Debug`.
pub struct EndpointError {
    kind: EndpointErrorKind,
    code: String,
    message: String,
    remedy: String,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What the engine is to do about an [`EndpointError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointErrorKind {
    /// Cannot be reached or answers that it is overloaded: tried again, for as long as it takes.
    Unavailable,
    /// The position is no longer served: a new snapshot.
    Expired,
    /// Refused for good (credentials, permissions, configuration, a link to another origin): the workflow fails.
    Refused,
}

impl EndpointError {
    /// An error with a stable code in kebab case, a sentence that says what happened and one that says how to mend it.
    pub fn new(
        kind: EndpointErrorKind,
        code: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            code: code.into(),
            message: message.into(),
            remedy: remedy.into(),
            retry_after: None,
            source: None,
        }
    }

    /// When the service wants to be asked again.
    #[must_use]
    pub fn with_retry_after(mut self, after: Option<Duration>) -> Self {
        self.retry_after = after;
        self
    }

    /// The error beneath.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What to do about it.
    pub fn kind(&self) -> EndpointErrorKind {
        self.kind
    }

    /// The stable code.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// How to mend it.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }

    /// When the service wants to be asked again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointError")
            .field("kind", &self.kind)
            .field("code", &self.code)
            .field("message", &self.message)
            .field("remedy", &self.remedy)
            .field("retry_after", &self.retry_after)
            .finish_non_exhaustive()
    }
}

impl StdError for EndpointError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// An error of the store. The error beneath may hold anything: it is not shown, not even by `Debug`.
pub struct StoreError {
    kind: StoreErrorKind,
    message: String,
    remedy: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What is wrong with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The lease is not the newest one: step down.
    Fenced,
    /// The checkpoint moved meanwhile: reload.
    Conflict,
    /// Another process has the store open.
    InUse,
    /// No space is left (or the page limit is reached); nothing was stored.
    Full,
    /// The store was made by a newer version.
    TooNew,
    /// The store is damaged.
    Corrupt,
    /// The store cannot be reached, opened or written.
    Unavailable,
}

impl StoreError {
    /// An error with a sentence that says what happened and one that says how to mend it.
    pub fn new(kind: StoreErrorKind, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { kind, message: message.into(), remedy: remedy.into(), source: None }
    }

    /// The error beneath.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What is wrong.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// How to mend it.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreError")
            .field("kind", &self.kind)
            .field("message", &self.message)
            .field("remedy", &self.remedy)
            .finish_non_exhaustive()
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
