use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::redact::{self, VisibleHeaders};

/// A complete answer of the server, whatever its status.
#[derive(Clone)]
#[non_exhaustive]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers, unfiltered: they may hold record ids and cookies.
    pub headers: HeaderMap,
    /// The decoded body, within the client's limits.
    pub body: Bytes,
    /// How many times the request was handed to the transport.
    pub attempts: u32,
    /// An earlier attempt of this call ended without a clear answer and may have been applied: a
    /// "not found" for a DELETE or a "precondition failed" may be the echo of our own success.
    pub maybe_applied_before: bool,
    /// How long the `Retry-After` header asks to wait; see [`retry_after`](crate::retry::retry_after).
    pub retry_after: Option<Duration>,
}

impl Response {
    /// The server's id of the request, for a support case.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        redact::request_id(&self.headers)
    }

    /// A header as text, if it is there and readable.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Response")
            .field("status", &self.status)
            .field("headers", &VisibleHeaders(&self.headers))
            .field("body_bytes", &self.body.len())
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}
