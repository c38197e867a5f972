use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use crate::redact;

/// Whether the server may have acted on a request that did not end well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// No byte of the request reached the server: it can be repeated freely.
    NotSent,
    /// The server answered that it did not act: it can be repeated once the cause is gone.
    Refused,
    /// Nobody knows. Repeat only what may be applied twice; look up everything else first.
    MaybeApplied,
}

impl fmt::Display for Delivery {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotSent => "not sent",
            Self::Refused => "refused",
            Self::MaybeApplied => "may have been applied",
        })
    }
}

/// What went wrong, as far as a caller's reaction depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The client cannot work as configured. Permanent until somebody changes the configuration.
    Configuration,
    /// No token: the identity provider refused the credentials. Permanent until they change.
    Auth,
    /// No connection: name, network, proxy or TLS.
    Connect,
    /// The server did not answer within the time of one attempt.
    Timeout,
    /// The connection broke, or the answer could not be read.
    Transport,
    /// The server kept on answering with an error of its own (used for token endpoints).
    Unavailable,
    /// The server asks for a pause that is longer than this call may wait.
    Throttled,
    /// The decoded answer is larger than the limit.
    BodyTooLarge,
    /// A link or URL leads away from the configured origin.
    ForeignLink,
    /// A continuation link came for the second time: following it would never end.
    RepeatedLink,
    /// The lane was closed because the host stops.
    Cancelled,
    /// The time for the whole call is over.
    Deadline,
}

impl ErrorKind {
    fn remedy(self) -> &'static str {
        match self {
            Self::Configuration => "correct the configuration named in the message",
            Self::Auth => "check tenant, client id, client secret and scopes, and that the secret has not expired",
            Self::Connect => "check host name, network, proxy and TLS certificates",
            Self::Timeout => "try again later; raise the timeout if the server is known to be slow",
            Self::Transport => "try again later; check proxies and the network if it persists",
            Self::Unavailable => "try again later; check the status page of the service if it persists",
            Self::Throttled => "wait as long as the server asked, or lower the concurrency",
            Self::BodyTooLarge => "ask for smaller pages or fewer columns, or raise the body limit",
            Self::ForeignLink => {
                "nothing was sent to that address; check the configured base URL and, if a store was restored or edited, start over from a fresh position"
            }
            Self::RepeatedLink => "restart the query from its first page; report it to the service if it persists",
            Self::Cancelled => "start again when the host runs again",
            Self::Deadline => "try again later, or allow more time for the call",
        }
    }
}

/// Why a call failed. Opaque; `Display` and `Debug` carry neither URL, header, body nor secret.
///
/// Cheap to clone, so that many callers can share the failure of one token request.
#[derive(Clone)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    delivery: Delivery,
    message: Cow<'static, str>,
    operation: Option<Cow<'static, str>>,
    status: Option<StatusCode>,
    request_id: Option<Box<str>>,
    attempts: u32,
    retry_after: Option<Duration>,
    remedy: Option<Cow<'static, str>>,
    cause: Option<Arc<Cause>>,
    answer: Option<Bytes>,
}

/// The text of a foreign error, scrubbed: the original may hold URLs.
#[derive(Debug)]
struct Cause(String);

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Cause {}

impl Error {
    /// An error of `kind` with nothing sent. The message must hold neither secret nor payload.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            inner: Box::new(Inner {
                kind,
                delivery: Delivery::NotSent,
                message: message.into(),
                operation: None,
                status: None,
                request_id: None,
                attempts: 0,
                retry_after: None,
                remedy: None,
                cause: None,
                answer: None,
            }),
        }
    }

    /// Says whether the server may have acted.
    #[must_use]
    pub fn with_delivery(mut self, delivery: Delivery) -> Self {
        self.inner.delivery = delivery;
        self
    }

    /// Names the operation, by its route template.
    #[must_use]
    pub fn with_operation(mut self, operation: impl Into<Cow<'static, str>>) -> Self {
        self.inner.operation = Some(operation.into());
        self
    }

    /// Adds the status that the server answered with.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.inner.status = Some(status);
        self
    }

    /// Adds the server's own id of the request.
    #[must_use]
    pub fn with_request_id(mut self, id: Option<&str>) -> Self {
        self.inner.request_id = id.map(Into::into);
        self
    }

    /// Adds how many times the request went out.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.inner.attempts = attempts;
        self
    }

    /// Adds how long to wait before the next try.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.inner.retry_after = Some(after);
        self
    }

    /// Replaces the remedy that follows from the kind.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<Cow<'static, str>>) -> Self {
        self.inner.remedy = Some(remedy.into());
        self
    }

    /// Adds the text of a cause, scrubbed and cut.
    #[must_use]
    pub fn with_cause(mut self, cause: &(dyn std::error::Error + 'static)) -> Self {
        self.inner.cause = Some(Arc::new(Cause(redact::chain_text(cause))));
        self
    }

    /// Adds the body of the answer that this error stands for, for a client that reads a code of its service in it.
    #[must_use]
    pub fn with_answer(mut self, body: Bytes) -> Self {
        self.inner.answer = Some(body);
        self
    }

    /// What happened, in words that hold neither secret nor payload, without operation, status and ids.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// The body of the last answer, where one led to this error. It may hold record values: neither `Display` nor
    /// `Debug` shows it.
    #[must_use]
    pub fn answer(&self) -> Option<&Bytes> {
        self.inner.answer.as_ref()
    }

    /// What went wrong, as far as the reaction depends on it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// Whether the server may have acted, over all attempts of the call.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.inner.delivery
    }

    /// The status of the last answer, where there was one.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.inner.status
    }

    /// The server's id of the request, for a support case.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.inner.request_id.as_deref()
    }

    /// How many times the request was handed to the transport.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.inner.attempts
    }

    /// How long the server, or the pause of the lane, asks to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.inner.retry_after
    }

    /// What a person can do about it.
    #[must_use]
    pub fn remedy(&self) -> &str {
        self.inner.remedy.as_deref().unwrap_or_else(|| self.inner.kind.remedy())
    }

    /// The route template of the request, never its URL.
    #[must_use]
    pub fn operation(&self) -> Option<&str> {
        self.inner.operation.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.inner;
        if let Some(operation) = &inner.operation {
            write!(formatter, "{operation}: ")?;
        }
        formatter.write_str(&inner.message)?;
        if let Some(status) = inner.status {
            write!(formatter, " (status {})", status.as_u16())?;
        }
        if inner.attempts > 0 {
            write!(formatter, ", {}, attempts: {}", inner.delivery, inner.attempts)?;
        }
        if let Some(id) = &inner.request_id {
            write!(formatter, ", request id {id}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.inner;
        formatter
            .debug_struct("Error")
            .field("kind", &inner.kind)
            .field("delivery", &inner.delivery)
            .field("message", &inner.message)
            .field("operation", &inner.operation)
            .field("status", &inner.status)
            .field("request_id", &inner.request_id)
            .field("attempts", &inner.attempts)
            .field("retry_after", &inner.retry_after)
            .field("cause", &inner.cause)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.cause.as_deref().map(|cause| cause as _)
    }
}
