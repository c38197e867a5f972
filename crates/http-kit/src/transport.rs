//! One exchange with a server: nothing is repeated, nothing is followed, nothing is unbounded.

use std::fmt;
use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, header};
use url::Url;

use crate::error::{Delivery, Error, ErrorKind};
use crate::redact::{self, VisibleHeaders};

/// Sends one request and reads the whole answer.
#[async_trait]
pub trait Transport: Debug + Send + Sync {
    /// Sends `request` once.
    ///
    /// Dropping the future abandons the exchange; the server may have acted.
    ///
    /// # Errors
    /// See [`TransportError`]; a status is never an error.
    async fn send(&self, request: TransportRequest) -> Result<TransportResponse, TransportError>;
}

/// A request with its credentials, ready to be sent.
#[derive(Clone)]
#[non_exhaustive]
pub struct TransportRequest {
    /// The method.
    pub method: Method,
    /// The URL, checked against the client's origins.
    pub url: Url,
    /// All headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The time from the start to the last byte of the answer.
    pub timeout: Duration,
    /// The most decoded bytes of a body with a status under 400.
    pub max_body: usize,
    /// The most decoded bytes of any other body. One that is larger, or that breaks off, counts as empty.
    pub max_error_body: usize,
}

impl TransportRequest {
    pub(crate) fn new(method: Method, url: Url, headers: HeaderMap, body: Bytes, timeout: Duration) -> Self {
        Self { method, url, headers, body, timeout, max_body: usize::MAX, max_error_body: usize::MAX }
    }
}

impl Debug for TransportRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TransportRequest")
            .field("method", &self.method)
            .field("headers", &VisibleHeaders(&self.headers))
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// A complete answer.
#[derive(Clone)]
pub struct TransportResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The decoded body.
    pub body: Bytes,
}

impl Debug for TransportResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TransportResponse")
            .field("status", &self.status)
            .field("headers", &VisibleHeaders(&self.headers))
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

/// How an exchange failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// The request could not be built; the next try would fail too.
    Request,
    /// No connection.
    Connect,
    /// No complete answer in time.
    Timeout,
    /// The connection broke, or the answer could not be decoded.
    Broken,
    /// The answer, with a status under 400, is larger than the limit.
    BodyTooLarge,
}

/// An exchange without a complete answer. Holds a scrubbed text of its cause.
#[derive(Debug, Clone)]
pub struct TransportError {
    /// How it failed.
    pub kind: TransportErrorKind,
    /// Whether the server may have acted.
    pub delivery: Delivery,
    /// The status, if the head of the answer had arrived.
    pub status: Option<StatusCode>,
    cause: String,
}

impl TransportError {
    /// An error whose `cause` is scrubbed and cut here.
    #[must_use]
    pub fn new(kind: TransportErrorKind, delivery: Delivery, cause: &str) -> Self {
        Self { kind, delivery, status: None, cause: redact::scrub(cause, &[]) }
    }

    pub(crate) fn into_error(self) -> Error {
        let (kind, message) = match self.kind {
            TransportErrorKind::Request => (ErrorKind::Configuration, "the request could not be built"),
            TransportErrorKind::Connect => (ErrorKind::Connect, "no connection to the server"),
            TransportErrorKind::Timeout => (ErrorKind::Timeout, "the server did not answer in time"),
            TransportErrorKind::Broken => (ErrorKind::Transport, "the connection broke or the answer was unreadable"),
            TransportErrorKind::BodyTooLarge => (ErrorKind::BodyTooLarge, "the answer is larger than the limit"),
        };
        let error = Error::new(kind, message).with_delivery(self.delivery).with_cause(&self);
        match self.status {
            Some(status) => error.with_status(status),
            None => error,
        }
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.cause)
    }
}

impl std::error::Error for TransportError {}

/// The transport over the network.
#[derive(Clone)]
pub struct NetworkTransport {
    client: reqwest::Client,
}

/// What a [`NetworkTransport`] is built from.
#[derive(Debug, Clone)]
pub struct NetworkOptions {
    /// The time to connect, TLS included.
    pub connect_timeout: Duration,
    /// The longest silence of the server.
    pub read_timeout: Duration,
    /// Idle connections that are kept; at least the concurrency of the lane.
    pub pool_size: usize,
    /// Certificates in PEM to trust besides those of the system.
    pub extra_roots_pem: Option<Vec<u8>>,
    /// The value of `User-Agent`.
    pub user_agent: String,
    /// Whether proxies are taken from the environment.
    pub proxies: bool,
}

/// Connections idle for longer are closed by us, so that a request seldom meets one that the server
/// closes at the same moment.
const IDLE: Duration = Duration::from_secs(20);

impl NetworkTransport {
    /// A transport with its own connections.
    ///
    /// HTTP/1.1 only: one request per connection at a time keeps the question "was it sent" simple.
    ///
    /// # Errors
    /// `Configuration` if the certificates cannot be read or TLS cannot be set up.
    pub fn new(options: &NetworkOptions) -> Result<Self, Error> {
        let mut builder = reqwest::Client::builder()
            .user_agent(&options.user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            .tcp_nodelay(true)
            .connect_timeout(options.connect_timeout)
            .read_timeout(options.read_timeout)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(options.pool_size);
        if !options.proxies {
            builder = builder.no_proxy();
        }
        if let Some(pem) = &options.extra_roots_pem {
            let bad = "the extra certificates are not readable PEM";
            let roots = reqwest::Certificate::from_pem_bundle(pem)
                .map_err(|error| Error::new(ErrorKind::Configuration, bad).with_cause(&error))?;
            if roots.is_empty() {
                return Err(Error::new(ErrorKind::Configuration, bad));
            }
            builder = builder.tls_certs_merge(roots);
        }
        let client = builder.build().map_err(|error| {
            Error::new(ErrorKind::Configuration, "TLS could not be set up").with_cause(&error.without_url())
        })?;
        Ok(Self { client })
    }
}

impl Debug for NetworkTransport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("NetworkTransport")
    }
}

#[async_trait]
impl Transport for NetworkTransport {
    async fn send(&self, request: TransportRequest) -> Result<TransportResponse, TransportError> {
        let mut outgoing = reqwest::Request::new(request.method, request.url);
        *outgoing.headers_mut() = request.headers;
        *outgoing.timeout_mut() = Some(request.timeout);
        if !request.body.is_empty() {
            *outgoing.body_mut() = Some(request.body.into());
        }
        let mut answer = self.client.execute(outgoing).await.map_err(translate)?;
        let status = answer.status();
        let limit = if status.as_u16() < 400 { request.max_body } else { request.max_error_body };
        let headers = std::mem::take(answer.headers_mut());
        let body = match read(&mut answer, &headers, limit).await {
            Ok(body) => body,
            // What the status says must not be lost with a body that explains it: a 429 or 401 counts without one.
            Err(_) if status.as_u16() >= 400 => Bytes::new(),
            Err(error) => return Err(TransportError { status: Some(status), ..error }),
        };
        Ok(TransportResponse { status, headers, body })
    }
}

/// Reads decoded bytes up to `limit` and stops there, however much more the server would send.
async fn read(answer: &mut reqwest::Response, headers: &HeaderMap, limit: usize) -> Result<Bytes, TransportError> {
    let too_large = || TransportError::new(TransportErrorKind::BodyTooLarge, Delivery::MaybeApplied, "limit reached");
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    // The announced length is a hint of the server: believed up to a page, not further.
    let mut whole = BytesMut::new();
    let mut first: Option<Bytes> = None;
    while let Some(chunk) = answer.chunk().await.map_err(translate)? {
        let so_far = whole.len() + first.as_ref().map_or(0, Bytes::len);
        if so_far + chunk.len() > limit {
            return Err(too_large());
        }
        match first.take() {
            // Most answers are one chunk, which needs no copy.
            None if whole.is_empty() => first = Some(chunk),
            Some(head) => {
                whole.reserve(announced.unwrap_or(0).clamp(head.len() + chunk.len(), limit.max(1)).min(1 << 20));
                whole.extend_from_slice(&head);
                whole.extend_from_slice(&chunk);
            }
            None => whole.extend_from_slice(&chunk),
        }
    }
    Ok(first.unwrap_or_else(|| whole.freeze()))
}

fn translate(error: reqwest::Error) -> TransportError {
    let error = error.without_url();
    let (kind, delivery) = if error.is_builder() {
        (TransportErrorKind::Request, Delivery::NotSent)
    } else if error.is_connect() {
        (TransportErrorKind::Connect, Delivery::NotSent)
    } else if error.is_timeout() {
        (TransportErrorKind::Timeout, Delivery::MaybeApplied)
    } else {
        (TransportErrorKind::Broken, Delivery::MaybeApplied)
    };
    TransportError::new(kind, delivery, &redact::chain_text(&error))
}
