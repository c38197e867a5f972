//! The network beneath both clients, with a count of the requests that the clients do not count: those for tokens.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http_kit::transport::{NetworkOptions, NetworkTransport};
use http_kit::{Origin, Transport, TransportError, TransportRequest, TransportResponse, header};
use url::Url;

const CONNECT: Duration = Duration::from_secs(10);
/// Token requests are few at a time.
const TOKEN_CONNECTIONS: usize = 2;

/// Sends everything of one side, and counts what goes to the identity provider.
pub(crate) struct Wire {
    service: NetworkTransport,
    identity: NetworkTransport,
    tokens: AtomicU64,
}

/// What a [`Wire`] is made for.
pub(crate) struct WireOptions<'a> {
    pub(crate) service: &'a Url,
    pub(crate) identity: &'a Url,
    pub(crate) attempt: Duration,
    pub(crate) in_flight: usize,
    pub(crate) ca_pem: Option<&'a Vec<u8>>,
    pub(crate) user_agent: &'a str,
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
        }))
    }

    /// How many requests went to the identity provider, repetitions included.
    pub(crate) fn token_requests(&self) -> u64 {
        self.tokens.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Transport for Wire {
    async fn send(&self, request: TransportRequest) -> Result<TransportResponse, TransportError> {
        // Every request carries a token but the one that asks for it.
        if request.headers.contains_key(header::AUTHORIZATION) {
            return self.service.send(request).await;
        }
        self.tokens.fetch_add(1, Ordering::Relaxed);
        self.identity.send(request).await
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("token_requests", &self.token_requests()).finish_non_exhaustive()
    }
}
