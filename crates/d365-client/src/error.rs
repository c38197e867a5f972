//! What went wrong, whether the request may have had an effect, and what to do about it.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use http::StatusCode;
use http_kit::{Delivery, Response};
use serde::Deserialize;

use crate::codes;

/// The kinds of failure that callers treat differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The row does not exist.
    NotFound,
    /// The row is not in the state that the precondition names: another version, or there when it should not be.
    PreconditionFailed,
    /// A row with the same identifier, alternate key or duplicate-detection match exists.
    Duplicate,
    /// The application user lacks a privilege.
    Forbidden,
    /// The application user does not exist in this environment, or is disabled.
    NotMember,
    /// The access token was refused, also after it was renewed.
    Unauthorized,
    /// The service asks for less pace; [`Error::retry_after`] tells for how long, if it said so.
    Throttled,
    /// The delta link is too old, or the table's definition changed since: only a full walk helps.
    TokenExpired,
    /// The table does not track changes.
    TrackingOff,
    /// The last page of a tracked walk had neither a next link nor a delta link.
    MissingLink,
    /// There is no such table or entity set.
    UnknownTable,
    /// There is no such column or navigation property.
    UnknownColumn,
    /// The service does not accept the request as it was put.
    BadRequest,
    /// The service could not read the columns of a write.
    Payload,
    /// A value was refused, by the service's rules or by this client before anything was sent.
    Validation,
    /// The service cannot answer at present; the same request may succeed later.
    ServiceUnavailable,
    /// No complete answer came: connection, time limit.
    Transport,
    /// The identity provider gave no token.
    Auth,
    /// The client cannot work as configured.
    Configuration,
    /// A link leads to another host than the configured ones; it was not followed.
    ForeignLink,
    /// The service does not accept a link that it once gave, for a reason that it does not tell: malformed, or gone.
    /// Only a full walk helps.
    LinkRefused,
    /// The answer is not of the documented shape.
    Decode,
    /// The host asked to stop.
    Cancelled,
    /// An answer that none of the other kinds describes.
    Unexpected,
}

impl ErrorKind {
    fn describe(self) -> &'static str {
        match self {
            Self::NotFound => "the row does not exist",
            Self::PreconditionFailed => "the row is not in the expected state",
            Self::Duplicate => "a row with the same key exists already",
            Self::Forbidden => "the application user lacks a privilege",
            Self::NotMember => "the application user is no enabled member of this environment",
            Self::Unauthorized => "the access token was refused",
            Self::Throttled => "the service asks for less pace",
            Self::TokenExpired => "the delta link has expired",
            Self::TrackingOff => "the table does not track changes",
            Self::MissingLink => "the last page has neither a next link nor a delta link",
            Self::UnknownTable => "there is no such table",
            Self::UnknownColumn => "there is no such column",
            Self::BadRequest => "the service does not accept the request",
            Self::Payload => "the service could not read the columns of the write",
            Self::Validation => "a value was refused",
            Self::ServiceUnavailable => "the service cannot answer at present",
            Self::Transport => "no complete answer came",
            Self::Auth => "no access token could be obtained",
            Self::Configuration => "the client cannot work as configured",
            Self::ForeignLink => "a link leads to another host than the configured ones",
            Self::LinkRefused => "the service does not accept a link that it gave",
            Self::Decode => "the answer is not of the documented shape",
            Self::Cancelled => "the call was given up because the host stops",
            Self::Unexpected => "the service gave an unexpected answer",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::NotFound => "nothing, if the row was deleted; otherwise check the identifier or key",
            Self::PreconditionFailed => "read the row again and decide anew",
            Self::Duplicate => "update the existing row, or choose another key",
            Self::Forbidden => "give the application user a security role with the missing privilege",
            Self::NotMember => "create and enable an application user for the app registration in this environment",
            Self::Unauthorized => "check that tenant, organisation URL and application user belong together",
            Self::Throttled => "wait, and lower the number of requests in flight if it happens often",
            Self::TokenExpired => "read the whole table again; poll more often than the environment keeps deletions",
            Self::TrackingOff => {
                "switch on change tracking for the table (maker portal: table properties, Track changes)"
            }
            Self::MissingLink => "read the whole table again; do not ask for annotations on tracked reads",
            Self::UnknownTable => "check the table's name; names are case-sensitive",
            Self::UnknownColumn => {
                "check the column's name; names are case-sensitive, and lookups are read as _name_value"
            }
            Self::BadRequest => "see the server's message",
            Self::Payload => "check the names and types of the columns that were written",
            Self::Validation => "correct the value",
            Self::ServiceUnavailable => "try again later; check the service health of the environment if it persists",
            Self::Transport => "check the network, the proxy and the organisation URL",
            Self::Auth => "check tenant, client id and client secret",
            Self::Configuration => "correct the configuration",
            Self::ForeignLink => {
                "nothing was sent to that host; check that the organisation URL is the one under which the environment answers (Power Platform admin center)"
            }
            Self::LinkRefused => "read the whole table again; see the server's message if it is refused once more",
            Self::Decode => "check that the URL leads to a Dataverse Web API and that no proxy changes answers",
            Self::Cancelled => "start again",
            Self::Unexpected => "see the status and the server's message",
        }
    }

    fn is_permanent(self) -> bool {
        !matches!(
            self,
            Self::Throttled
                | Self::ServiceUnavailable
                | Self::Transport
                | Self::Cancelled
                | Self::Unexpected
                | Self::Unauthorized
        )
    }
}

/// A failed call.
///
/// `Display` and `Debug` tell operation, kind, status, code and the service's id of the request. They carry neither secret nor record data; what the
/// server wrote, which may quote values of a row, is kept apart in [`Error::server_message`].
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    /// What was refused or expected, in our own words.
    detail: Cow<'static, str>,
    operation: Option<Cow<'static, str>>,
    status: Option<StatusCode>,
    code: Option<u32>,
    delivery: Delivery,
    retry_after: Option<Duration>,
    request_id: Option<Box<str>>,
    server_message: Option<Box<str>>,
    source: Option<http_kit::Error>,
}

/// The longest server message that is kept, in bytes.
const MAX_MESSAGE: usize = 4096;

impl Error {
    fn new(kind: ErrorKind, detail: impl Into<Cow<'static, str>>, delivery: Delivery) -> Self {
        Self(Box::new(Inner {
            kind,
            detail: detail.into(),
            operation: None,
            status: None,
            code: None,
            delivery,
            retry_after: None,
            request_id: None,
            server_message: None,
            source: None,
        }))
    }

    /// A value that this client refuses; nothing was sent.
    pub(crate) fn validation(detail: &'static str) -> Self {
        Self::new(ErrorKind::Validation, detail, Delivery::NotSent)
    }

    /// A configuration that cannot work; nothing was sent.
    pub(crate) fn configuration(detail: &'static str) -> Self {
        Self::new(ErrorKind::Configuration, detail, Delivery::NotSent)
    }

    /// As `source`, with the setting that led to it named.
    pub(crate) fn of_setting(setting: &'static str, source: http_kit::Error) -> Self {
        let detail = format!("{setting}: {}", source.message());
        let mut error = Self::from(source);
        error.0.detail = detail.into();
        error
    }

    /// An answer that is no JSON of the expected shape. Of serde's error only the place is kept: its text may quote values.
    pub(crate) fn decode(what: &'static str, error: &serde_json::Error) -> Self {
        let place = format!("expected {what}, failed at line {} column {}", error.line(), error.column());
        Self::new(ErrorKind::Decode, place, Delivery::MaybeApplied)
    }

    /// A row of an unexpected shape.
    pub(crate) fn row(at: usize, error: &serde_json::Error) -> Self {
        let place =
            format!("row {at} of the page has an unexpected shape at line {} column {}", error.line(), error.column());
        Self::new(ErrorKind::Decode, place, Delivery::MaybeApplied)
    }

    /// An answer that is not of the documented shape.
    pub(crate) fn shape(detail: &'static str) -> Self {
        Self::new(ErrorKind::Decode, detail, Delivery::MaybeApplied)
    }

    /// The end of a tracked walk without a link.
    pub(crate) fn missing_link() -> Self {
        Self::new(ErrorKind::MissingLink, "", Delivery::MaybeApplied)
    }

    /// A refusal of the service.
    pub(crate) fn refused(response: &Response, operation: &'static str) -> Self {
        Self::from_answer(response.status, &response.body).with_operation(operation).with_answer(response)
    }

    /// A refusal read from a status and a body, JSON or not.
    ///
    /// Public for callers that receive such answers by another way, for example inside a batch.
    #[must_use]
    pub fn from_answer(status: StatusCode, body: &[u8]) -> Self {
        let (code, message) = read_envelope(body);
        let kind = codes::classify(status.as_u16(), code, message.as_deref().unwrap_or_default());
        // A known refusal acted on nothing; a server's own failure tells nothing about the effect.
        let delivery = match kind {
            ErrorKind::ServiceUnavailable | ErrorKind::Unexpected if status != StatusCode::TOO_MANY_REQUESTS => {
                Delivery::MaybeApplied
            }
            _ => Delivery::Refused,
        };
        let mut error = Self::new(kind, "", delivery);
        error.0.status = Some(status);
        error.0.code = code;
        error.0.server_message = message.map(String::into_boxed_str);
        error
    }

    fn with_answer(mut self, response: &Response) -> Self {
        self.0.request_id = response.request_id().map(Into::into);
        self.0.retry_after = response.retry_after;
        if response.maybe_applied_before {
            self.0.delivery = Delivery::MaybeApplied;
        }
        self
    }

    /// As the answer inside of a batch that it is.
    pub(crate) fn with_part(
        mut self,
        request_id: Option<&str>,
        retry_after: Option<Duration>,
        maybe_applied_before: bool,
    ) -> Self {
        self.0.request_id = request_id.map(Into::into);
        self.0.retry_after = retry_after;
        if maybe_applied_before {
            self.0.delivery = Delivery::MaybeApplied;
        }
        self
    }

    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    pub(crate) fn with_operation(mut self, operation: impl Into<Cow<'static, str>>) -> Self {
        self.0.operation = Some(operation.into());
        self
    }

    /// What to treat this failure as.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The service's error code, `0x80040217` for example, if the answer had one.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        self.0.code
    }

    /// The status of the answer, if there was one.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.0.status
    }

    /// Whether the request may have had an effect. For reads it tells whether the request was sent.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.0.delivery
    }

    /// How long the service asked to wait, if it did.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after.or_else(|| self.0.source.as_ref().and_then(http_kit::Error::retry_after))
    }

    /// The service's own identifier of the request, for a support case.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref().or_else(|| self.0.source.as_ref().and_then(http_kit::Error::request_id))
    }

    /// What the server wrote, cut to 4 KiB. It may quote values of a row, hence personal data: show it to the operator
    /// who asked, never log it as a matter of course.
    #[must_use]
    pub fn server_message(&self) -> Option<&str> {
        self.0.server_message.as_deref()
    }

    /// What an operator can do, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &str {
        if let Some(remedy) = self.0.code.and_then(codes::remedy) {
            return remedy;
        }
        match (&self.0.source, self.0.kind) {
            (Some(source), ErrorKind::Auth | ErrorKind::Configuration | ErrorKind::Transport) => source.remedy(),
            (_, kind) => kind.remedy(),
        }
    }

    /// Whether the same request will fail again until something is changed.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.0.kind.is_permanent()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if let Some(operation) = &inner.operation {
            write!(f, "{operation}: ")?;
        }
        f.write_str(inner.kind.describe())?;
        if !inner.detail.is_empty() {
            write!(f, ": {}", inner.detail)?;
        }
        match (inner.status, inner.code) {
            (Some(status), Some(code)) => write!(f, " (status {}, code {code:#010x})", status.as_u16())?,
            (Some(status), None) => write!(f, " (status {})", status.as_u16())?,
            _ => {}
        }
        match self.request_id() {
            Some(id) => write!(f, ", request id {id}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        f.debug_struct("Error")
            .field("kind", &inner.kind)
            .field("detail", &inner.detail)
            .field("operation", &inner.operation)
            .field("status", &inner.status)
            .field("code", &inner.code.map(|code| format!("{code:#010x}")))
            .field("delivery", &inner.delivery)
            .field("retry_after", &inner.retry_after)
            .field("request_id", &inner.request_id)
            .field("source", &inner.source)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source as _)
    }
}

impl From<http_kit::Error> for Error {
    fn from(source: http_kit::Error) -> Self {
        use http_kit::ErrorKind as Kit;
        let (kind, detail) = match source.kind() {
            // The one place that says what is wrong, with the code of the identity provider. Safe to show by contract.
            Kit::Configuration => (ErrorKind::Configuration, Cow::Owned(source.message().to_owned())),
            Kit::Auth => (ErrorKind::Auth, Cow::Owned(source.message().to_owned())),
            kind => {
                let (kind, detail) = plain(kind);
                (kind, Cow::Borrowed(detail))
            }
        };
        let mut error = Self::new(kind, detail, source.delivery());
        error.0.operation = source.operation().map(|operation| Cow::Owned(operation.to_owned()));
        error.0.status = source.status();
        if let Some(body) = source.answer() {
            let (code, message) = read_envelope(body);
            error.0.code = code;
            error.0.server_message = message.map(String::into_boxed_str);
        }
        error.0.source = Some(source);
        error
    }
}

/// Failures whose kind says all that is known of them.
const fn plain(kind: http_kit::ErrorKind) -> (ErrorKind, &'static str) {
    use http_kit::ErrorKind as Kit;
    match kind {
        Kit::Connect => (ErrorKind::Transport, "the server could not be reached"),
        Kit::Timeout => (ErrorKind::Transport, "no answer within the time limit"),
        Kit::Unavailable => (ErrorKind::ServiceUnavailable, ""),
        Kit::Throttled => (ErrorKind::Throttled, ""),
        Kit::BodyTooLarge => (ErrorKind::Decode, "the answer is larger than the limit"),
        Kit::ForeignLink => (ErrorKind::ForeignLink, ""),
        Kit::RepeatedLink => (ErrorKind::Decode, "the service repeated a link"),
        Kit::Cancelled => (ErrorKind::Cancelled, ""),
        Kit::Deadline => (ErrorKind::Transport, "the time for the whole call is over"),
        _ => (ErrorKind::Transport, ""),
    }
}

/// Reads `{"error":{"code":…,"message":…}}`; anything else gives nothing, for gateways answer in HTML.
fn read_envelope(body: &[u8]) -> (Option<u32>, Option<String>) {
    #[derive(Deserialize)]
    struct Body {
        error: Detail,
    }
    #[derive(Deserialize)]
    struct Detail {
        code: Option<serde_json::Value>,
        message: Option<serde_json::Value>,
    }
    let Ok(Body { error }) = serde_json::from_slice(body) else { return (None, None) };
    let code = match error.code {
        Some(serde_json::Value::String(text)) => codes::parse_code(&text),
        Some(serde_json::Value::Number(number)) => codes::parse_code(&number.to_string()),
        _ => None,
    };
    let message = match error.message {
        Some(serde_json::Value::String(mut text)) => {
            let mut end = text.len().min(MAX_MESSAGE);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
            Some(text)
        }
        _ => None,
    };
    (code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_become_kinds_and_stay_silent_about_values() {
        let body = br#"{"error":{"code":"0x80060892","message":"A record that has the attribute values ada@example.org already exists."}}"#;
        let error = Error::from_answer(StatusCode::PRECONDITION_FAILED, body);
        assert_eq!(error.kind(), ErrorKind::Duplicate);
        assert_eq!(error.code(), Some(0x8006_0892));
        assert_eq!(error.delivery(), Delivery::Refused);
        assert!(error.is_permanent());
        assert!(error.server_message().unwrap().contains("ada@example.org"));
        assert_eq!(error.to_string(), "a row with the same key exists already (status 412, code 0x80060892)");
        assert!(!format!("{error:?}").contains("ada@"));
    }

    #[test]
    fn bodies_that_are_no_json_are_judged_by_their_status() {
        for body in [&b""[..], b"<html>gateway</html>", b"{\"error\":\"x\"}", b"[]"] {
            let error = Error::from_answer(StatusCode::BAD_GATEWAY, body);
            assert_eq!(error.kind(), ErrorKind::ServiceUnavailable);
            assert_eq!(error.delivery(), Delivery::MaybeApplied);
            assert_eq!((error.code(), error.server_message()), (None, None));
            assert!(!error.is_permanent());
        }
    }

    #[test]
    fn a_missing_application_user_has_its_own_remedy() {
        let body = br#"{"error":{"code":"0x80072560","message":"The user is not a member of the organization."}}"#;
        let error = Error::from_answer(StatusCode::FORBIDDEN, body);
        assert_eq!(error.kind(), ErrorKind::NotMember);
        assert!(error.remedy().contains("application user"));
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let body = serde_json::json!({"error": {"code": "", "message": "é".repeat(5000)}}).to_string();
        let error = Error::from_answer(StatusCode::BAD_REQUEST, body.as_bytes());
        assert!(error.server_message().unwrap().len() <= MAX_MESSAGE);
    }
}
