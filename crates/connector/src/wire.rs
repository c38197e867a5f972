//! The network beneath both clients, with a count of the requests that the clients do not count: those for tokens.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::DateTime;
use http_kit::transport::{NetworkOptions, NetworkTransport};
use http_kit::{
    Bytes, HeaderMap, HeaderValue, Method, Origin, StatusCode, Transport, TransportError, TransportRequest,
    TransportResponse, header,
};
use timing::SharedClock;
use url::Url;

const CONNECT: Duration = Duration::from_secs(10);
/// Token requests are few at a time.
const TOKEN_CONNECTIONS: usize = 2;

/// Sends everything of one side, and counts what goes to the identity provider.
pub(crate) struct Wire {
    service: NetworkTransport,
    identity: NetworkTransport,
    tokens: AtomicU64,
    clock: SharedClock,
    /// How far the service's clock is ahead, by its last answer: seconds.
    ahead: Mutex<Option<i64>>,
    /// Whether nothing but reads leaves this process, and what would have.
    rehearsal: Option<Mutex<Vec<Rehearsed>>>,
}

/// A request of a rehearsal. It holds a record's values, so that it is not shown by accident.
#[derive(Clone)]
pub(crate) struct Rehearsed {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) body: Bytes,
}

impl fmt::Debug for Rehearsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rehearsed").field("method", &self.method).finish_non_exhaustive()
    }
}

/// What a [`Wire`] is made for.
pub(crate) struct WireOptions<'a> {
    pub(crate) service: &'a Url,
    pub(crate) identity: &'a Url,
    pub(crate) attempt: Duration,
    pub(crate) in_flight: usize,
    pub(crate) ca_pem: Option<&'a Vec<u8>>,
    pub(crate) user_agent: &'a str,
    pub(crate) clock: &'a SharedClock,
    /// Whether requests that write are kept instead of sent.
    pub(crate) rehearsal: bool,
}

impl Wire {
    /// A wire without connections yet.
    ///
    /// # Errors
    /// When the certificates cannot be read or TLS cannot be set up.
    pub(crate) fn new(options: &WireOptions<'_>) -> Result<Arc<Self>, http_kit::Error> {
        let network = |url: &Url, pool_size: usize| {
            NetworkTransport::new(&NetworkOptions {
                connect_timeout: CONNECT,
                read_timeout: options.attempt,
                pool_size,
                extra_roots_pem: options.ca_pem.cloned(),
                user_agent: options.user_agent.to_owned(),
                // Nothing on this machine is behind a proxy.
                proxies: !Origin::parse(url.as_str())?.is_loopback(),
            })
        };
        Ok(Arc::new(Self {
            service: network(options.service, options.in_flight + 2)?,
            identity: network(options.identity, TOKEN_CONNECTIONS)?,
            tokens: AtomicU64::new(0),
            clock: options.clock.clone(),
            ahead: Mutex::default(),
            rehearsal: options.rehearsal.then(Mutex::default),
        }))
    }

    /// How many requests went to the identity provider, repetitions included.
    pub(crate) fn token_requests(&self) -> u64 {
        self.tokens.load(Ordering::Relaxed)
    }

    /// How far the clock of the service is ahead of this machine's, in seconds, by the last answer that named a time.
    pub(crate) fn ahead_seconds(&self) -> Option<i64> {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_time(&self, headers: &HeaderMap) {
        let time = headers.get(header::DATE).and_then(|date| date.to_str().ok());
        if let Some(time) = time.and_then(|text| DateTime::parse_from_rfc2822(text).ok()) {
            let ahead = time.timestamp() - self.clock.now().timestamp();
            *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = Some(ahead);
        }
    }

    /// What a rehearsal has asked since it was last looked at, and would have sent, in order.
    pub(crate) fn rehearsed(&self) -> Vec<Rehearsed> {
        let kept = self.rehearsal.as_ref().map(|kept| kept.lock().unwrap_or_else(PoisonError::into_inner));
        kept.map(|mut kept| std::mem::take(&mut *kept)).unwrap_or_default()
    }
}

#[async_trait]
impl Transport for Wire {
    async fn send(&self, request: TransportRequest) -> Result<TransportResponse, TransportError> {
        // Every request carries a token but the one that asks for it.
        if request.headers.contains_key(header::AUTHORIZATION) {
            if let Some(kept) = &self.rehearsal {
                let (method, url, body) = (request.method.clone(), request.url.clone(), request.body.clone());
                let reads = method == Method::GET;
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(Rehearsed { method, url, body });
                if !reads {
                    return Ok(taken_for_done());
                }
            }
            let response = self.service.send(request).await?;
            self.note_time(&response.headers);
            return Ok(response);
        }
        self.tokens.fetch_add(1, Ordering::Relaxed);
        self.identity.send(request).await
    }
}

/// The answer to a write that was not sent.
fn taken_for_done() -> TransportResponse {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    TransportResponse { status: StatusCode::OK, headers, body: Bytes::from_static(b"{}") }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("token_requests", &self.token_requests()).finish_non_exhaustive()
    }
}
