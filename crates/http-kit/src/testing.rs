//! For tests without a network: a transport that follows a script, and servers with limits in virtual time.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::error::Delivery;
use crate::transport::{Transport, TransportError, TransportErrorKind, TransportRequest, TransportResponse};

mod hour;
mod quota_server;

pub use hour::{Hour, HourReport, percentile};
pub use quota_server::{QuotaServer, ServerLimits};

/// What the script says to one request.
pub type Reply = Result<TransportResponse, TransportError>;

type Handler = dyn Fn(&TransportRequest) -> Reply + Send + Sync;

/// Answers requests from a queue, then from a handler, and writes all of them down. Clones share both.
///
/// Without queue and handler it answers with a failure that is not tried again.
#[derive(Clone, Default)]
pub struct ScriptedTransport {
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    replies: VecDeque<Reply>,
    handler: Option<Arc<Handler>>,
    requests: Vec<TransportRequest>,
    in_flight: usize,
    most_in_flight: usize,
}

impl ScriptedTransport {
    /// An empty script.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a reply to the queue.
    pub fn push(&self, reply: Reply) -> &Self {
        self.script().replies.push_back(reply);
        self
    }

    /// Adds an answer with a status and a body to the queue.
    pub fn respond(&self, status: u16, body: impl Into<Bytes>) -> &Self {
        self.push(Ok(response(status, &[], body)))
    }

    /// Adds an answer with headers to the queue.
    pub fn respond_with(&self, status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> &Self {
        self.push(Ok(response(status, headers, body)))
    }

    /// Adds a failure to the queue.
    pub fn fail(&self, kind: TransportErrorKind, delivery: Delivery) -> &Self {
        self.push(Err(TransportError::new(kind, delivery, "scripted failure")))
    }

    /// Answers with `handler` once the queue is empty.
    pub fn handle(&self, handler: impl Fn(&TransportRequest) -> Reply + Send + Sync + 'static) -> &Self {
        self.script().handler = Some(Arc::new(handler));
        self
    }

    /// Every request so far, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<TransportRequest> {
        self.script().requests.clone()
    }

    /// The number of requests so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.script().requests.len()
    }

    /// The most requests that were under way at once.
    #[must_use]
    pub fn most_in_flight(&self) -> usize {
        self.script().most_in_flight
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ScriptedTransport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ScriptedTransport").field("requests", &self.count()).finish_non_exhaustive()
    }
}

/// An answer with a status, headers and a body. Headers that HTTP does not allow are left out.
#[must_use]
pub fn response(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> TransportResponse {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(*name), HeaderValue::try_from(*value)) {
            map.append(name, value);
        }
    }
    if !map.contains_key(header::CONTENT_TYPE) {
        map.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    TransportResponse { status, headers: map, body: body.into() }
}

struct InFlight<'a>(&'a ScriptedTransport);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.script().in_flight -= 1;
    }
}

#[async_trait]
impl Transport for ScriptedTransport {
    async fn send(&self, request: TransportRequest) -> Reply {
        {
            let mut script = self.script();
            script.in_flight += 1;
            script.most_in_flight = script.most_in_flight.max(script.in_flight);
            script.requests.push(request.clone());
        }
        let _in_flight = InFlight(self);
        // Others get a turn, as with a real network.
        tokio::task::yield_now().await;
        let handler = {
            let mut script = self.script();
            if let Some(reply) = script.replies.pop_front() {
                return reply;
            }
            script.handler.clone()
        };
        match handler {
            Some(handler) => handler(&request),
            None => Err(TransportError::new(
                TransportErrorKind::Request,
                Delivery::NotSent,
                "the script has no more replies",
            )),
        }
    }
}
