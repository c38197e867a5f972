use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use http::{Method, StatusCode};
pub use http_kit::Delivery;

use crate::refusal::Refusal;

/// What went wrong, as far as the reaction depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is missing or impossible; nothing was sent.
    Configuration,
    /// A key that must not stand in a URL, and was not sent there; or one that the service read as something else than a key.
    HostileKey,
    /// A record with the same unique key exists.
    Exists,
    /// No record has the key.
    NotFound,
    /// A link in the body names a record that does not exist.
    LinkNotFound,
    /// A `PKey` that the service does not know, or no longer.
    InvalidPKey,
    /// The resource or family does not exist, or the path is malformed.
    UnknownResource,
    /// The body names an attribute that the resource lacks.
    UnknownField,
    /// A value is not one of the names of the enumeration.
    InvalidEnum,
    /// The body names an attribute that cannot be written.
    ReadOnly,
    /// A value does not fit the type of its attribute.
    WrongType,
    /// The body changes the key by which the record is addressed.
    KeyChange,
    /// Any other refusal of the application (codes RST, XTK, PGS, BAS, or words alone), or a bad request.
    Validation,
    /// The database gave up this one statement in favour of another; nothing was written.
    Deadlock,
    /// More than one record matches a filter that stands for a key.
    Ambiguous,
    /// The token is not valid (401), also after one renewal.
    Unauthorized,
    /// The identity service refused the client id, the secret or the scopes.
    Credentials,
    /// The API key is not valid.
    ApiKey,
    /// The technical account has no access to this organisation.
    ProfileNotValid,
    /// Any other 403.
    Forbidden,
    /// The organisation in the URL does not answer, and never did to this client.
    UnknownOrganisation,
    /// The gateway could not reach the instance, or not in time.
    Gateway,
    /// A server error that says nothing about its cause.
    Server,
    /// The service asks for less pace.
    Throttled,
    /// The connection failed or took too long.
    Transport,
    /// A link of the service leads outside the configured organisation, or came twice.
    ForeignLink,
    /// An answer that cannot be read as what it should be.
    Decode,
    /// The value given to this library cannot be written as JSON; nothing was sent.
    Encode,
    /// The call was given up on purpose.
    Cancelled,
}

impl ErrorKind {
    /// Whether the same call may succeed later with nothing changed by a person.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Deadlock | Self::Gateway | Self::Server | Self::Throttled | Self::Transport)
    }

    /// Whether the trouble is that of one record; others may go on.
    #[must_use]
    pub fn is_of_record(self) -> bool {
        matches!(
            self,
            Self::HostileKey
                | Self::Exists
                | Self::NotFound
                | Self::LinkNotFound
                | Self::InvalidPKey
                | Self::InvalidEnum
                | Self::WrongType
                | Self::KeyChange
                | Self::Validation
                | Self::Ambiguous
        )
    }

    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::Configuration => "the configuration cannot be used",
            Self::HostileKey => "the key cannot stand in a URL",
            Self::Exists => "a record with this key exists",
            Self::NotFound => "no record has this key",
            Self::LinkNotFound => "a link names a record that does not exist",
            Self::InvalidPKey => "the service does not know this PKey",
            Self::UnknownResource => "the resource does not exist",
            Self::UnknownField => "the resource lacks a field of the body",
            Self::InvalidEnum => "a value is not in its enumeration",
            Self::ReadOnly => "a field of the body is read-only",
            Self::WrongType => "a value has the wrong type",
            Self::KeyChange => "the body changes the key of the record",
            Self::Validation => "the service refuses the request",
            Self::Deadlock => "the database gave up the statement",
            Self::Ambiguous => "more than one record matches the key",
            Self::Unauthorized => "the access token is not accepted",
            Self::Credentials => "the identity service refuses the credentials",
            Self::ApiKey => "the API key is not valid",
            Self::ProfileNotValid => "the technical account has no access to this organisation",
            Self::Forbidden => "access is refused",
            Self::UnknownOrganisation => "the organisation in the URL does not answer",
            Self::Gateway => "the gateway got no answer from the instance",
            Self::Server => "the server failed without a reason",
            Self::Throttled => "the service asks for less pace",
            Self::Transport => "the connection failed",
            Self::ForeignLink => "a link of the service cannot be followed",
            Self::Decode => "the answer could not be read",
            Self::Encode => "the value cannot be written as JSON",
            Self::Cancelled => "the call was given up",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Configuration => "correct the campaign settings",
            Self::HostileKey => {
                "give the record a key of 1 to 255 characters that the service cannot take for a PKey ('@'), a command ('_', 'metadata'), a filter ('byName') or a format ('.json')"
            }
            Self::Exists => "update the record instead of creating it",
            Self::NotFound => "create the record, or check that the key field is an identification key in Campaign",
            Self::LinkNotFound => "write the linked record first, or clear the link",
            Self::InvalidPKey => "read the record again: a PKey holds only for the path it came from",
            Self::UnknownResource => {
                "check the resource name, and that Campaign publishes it with the Profiles & Services Ext API"
            }
            Self::UnknownField => "correct the field name, or publish the extended resource in Campaign",
            Self::InvalidEnum => "send one of the enumeration names that the metadata lists",
            Self::ReadOnly => "take the field out of the mapping",
            Self::WrongType => "convert the value to the type of the Campaign field",
            Self::KeyChange => "leave the key field out of updates",
            Self::Validation => "correct the record by the message of the server",
            Self::Deadlock | Self::Server | Self::Transport => "try again later",
            Self::Ambiguous => "make the field a unique key in Campaign, or the filter an exact comparison",
            Self::Unauthorized => {
                "check that the token comes from the identity service of this organisation, and the clock"
            }
            Self::Credentials => "check client id, client secret and scopes in the Adobe Developer Console",
            Self::ApiKey => "check the client id, which is also the API key",
            Self::ProfileNotValid => {
                "give the technical account a Campaign product profile of this organisation, and check the organisation in the URL"
            }
            Self::Forbidden => "check the product profiles of the technical account",
            Self::UnknownOrganisation => {
                "check the organisation in the Campaign URL, https://mc.adobe.io/<organisation>"
            }
            Self::Gateway => "try again later; ask Adobe if it lasts",
            Self::Throttled => "wait, or lower the number of requests in flight",
            Self::ForeignLink => "check the Campaign URL: the service links to another address than the configured one",
            Self::Decode => "check the Campaign URL, and report the answer if it is the right one",
            Self::Encode => "correct the type that is written",
            Self::Cancelled => "start the call again",
        }
    }
}

/// Why a call failed. `Display` and `Debug` carry no record value, URL, header or secret.
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    kind: ErrorKind,
    delivery: Delivery,
    message: Option<Cow<'static, str>>,
    operation: Option<Cow<'static, str>>,
    status: Option<StatusCode>,
    code: Option<String>,
    server_message: Option<String>,
    request_id: Option<String>,
    attempts: u32,
    retry_after: Option<Duration>,
    source: Option<http_kit::Error>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self {
            inner: Box::new(Inner {
                kind,
                delivery: Delivery::NotSent,
                message: None,
                operation: None,
                status: None,
                code: None,
                server_message: None,
                request_id: None,
                attempts: 0,
                retry_after: None,
                source: None,
            }),
        }
    }

    pub(crate) fn because(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        let mut error = Self::new(kind);
        error.inner.message = Some(message.into());
        error
    }

    /// As `source`, with the setting that led to it named.
    pub(crate) fn of_setting(setting: &'static str, source: http_kit::Error) -> Self {
        let message = format!("{}: {setting}: {}", ErrorKind::Configuration.message(), source.message());
        let mut error = Self::from(source);
        error.inner.message = Some(message.into());
        error
    }

    pub(crate) fn with_delivery(mut self, delivery: Delivery) -> Self {
        self.inner.delivery = delivery;
        self
    }

    pub(crate) fn with_operation(mut self, operation: impl Into<Cow<'static, str>>) -> Self {
        self.inner.operation = Some(operation.into());
        self
    }

    pub(crate) fn with_answer(mut self, response: &http_kit::Response) -> Self {
        self.inner.status = Some(response.status);
        self.inner.request_id = response.request_id().map(str::to_owned);
        self.inner.attempts = response.attempts;
        self.inner.retry_after = response.retry_after;
        self
    }

    pub(crate) fn with_server_text(mut self, code: Option<String>, message: Option<String>) -> Self {
        self.inner.code = code;
        self.inner.server_message = message;
        self
    }

    pub(crate) fn into_kind(mut self, kind: ErrorKind) -> Self {
        self.inner.kind = kind;
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// Whether the service may have acted, over all attempts of the call.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.inner.delivery
    }

    /// Whether the same call may succeed later with nothing changed by a person.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.inner.kind.is_transient()
    }

    /// The code of the service: `PGS-220000`, `RST-360011`, or that of the gateway, `403023`.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.inner.code.as_deref()
    }

    /// What the service said, cut to 4096 bytes.
    ///
    /// **It may hold personal data**: the application quotes field values and keys. Show it to people
    /// who may see the record; keep it out of logs.
    #[must_use]
    pub fn server_message(&self) -> Option<&str> {
        self.inner.server_message.as_deref()
    }

    /// The status of the last answer, where there was one.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.inner.status
    }

    /// The service's id of the request, if it gives one.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.inner.request_id.as_deref()
    }

    /// How many times the request went out.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.inner.attempts
    }

    /// How long to wait before the next try, where the service or the lane says so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.inner.retry_after
    }

    /// The route template of the request, never its URL.
    #[must_use]
    pub fn operation(&self) -> Option<&str> {
        self.inner.operation.as_deref()
    }

    /// What a person can do about it.
    #[must_use]
    pub fn remedy(&self) -> &str {
        match &self.inner.source {
            Some(source) if self.inner.kind == ErrorKind::Configuration => source.remedy(),
            _ => self.inner.kind.remedy(),
        }
    }
}

impl From<http_kit::Error> for Error {
    fn from(source: http_kit::Error) -> Self {
        use http_kit::ErrorKind as Http;
        let kind = match source.kind() {
            Http::Configuration => ErrorKind::Configuration,
            Http::Auth => ErrorKind::Credentials,
            Http::Unavailable => ErrorKind::Gateway,
            Http::Throttled => ErrorKind::Throttled,
            Http::BodyTooLarge => ErrorKind::Decode,
            Http::ForeignLink | Http::RepeatedLink => ErrorKind::ForeignLink,
            Http::Cancelled => ErrorKind::Cancelled,
            _ => ErrorKind::Transport,
        };
        let mut error = match kind {
            // The one place that says what is wrong, with the code of the identity service. Safe to show by contract.
            ErrorKind::Configuration | ErrorKind::Credentials => {
                Self::because(kind, format!("{}: {}", kind.message(), source.message()))
            }
            _ => Self::new(kind),
        };
        if let (Some(status), Some(body)) = (source.status(), source.answer()) {
            let refusal = Refusal::read(&Method::GET, status, body, true);
            error = error.with_server_text(refusal.code, refusal.message);
        }
        error.inner.delivery = source.delivery();
        error.inner.status = source.status();
        error.inner.request_id = source.request_id().map(str::to_owned);
        error.inner.attempts = source.attempts();
        error.inner.retry_after = source.retry_after();
        error.inner.operation = source.operation().map(|operation| operation.to_owned().into());
        error.inner.source = Some(source);
        error
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.inner;
        if let Some(operation) = &inner.operation {
            write!(formatter, "{operation}: ")?;
        }
        formatter.write_str(inner.message.as_deref().unwrap_or(inner.kind.message()))?;
        match (inner.status, &inner.code) {
            (Some(status), Some(code)) => write!(formatter, " (status {}, code {code})", status.as_u16())?,
            (Some(status), None) => write!(formatter, " (status {})", status.as_u16())?,
            (None, _) => {}
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
            .field("code", &inner.code)
            .field("request_id", &inner.request_id)
            .field("attempts", &inner.attempts)
            .field("source", &inner.source)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source.as_ref().map(|source| source as _)
    }
}
