//! What both services share: state, and the layer that every request goes through (counters, latency, faults).

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::clock::SandboxClock;
use crate::connection::Connection;
use crate::counters::Counters;
use crate::faults::{FaultBook, FaultKind, FaultRule, Firing, Target};
use crate::oauth::{TokenBook, bearer};
use crate::route::{RecordRequest, Route, RouteTemplate, SetupRequest, route};

/// One of the two services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Dynamics 365 (Dataverse).
    Dataverse,
    /// Adobe Campaign Standard.
    Campaign,
}

/// What stays fixed while the sandbox runs.
#[derive(Clone)]
pub struct ServiceConfig {
    /// Origin of Dataverse, `http://127.0.0.1:4101`.
    pub dataverse_url: String,
    /// Origin of the token endpoint.
    pub authority: String,
    /// Tenant, a domain.
    pub tenant: String,
    /// Application id known to the tenant.
    pub dataverse_client_id: String,
    /// Its secret.
    pub dataverse_client_secret: String,
    /// Campaign with the organization, `http://127.0.0.1:4102/acme`; `/campaign/...` follows.
    pub campaign_url: String,
    /// The organization, the first segment of each Campaign path.
    pub organization: String,
    /// Origin of IMS.
    pub ims_url: String,
    /// Application id (API key) known to IMS.
    pub campaign_client_id: String,
    /// Its secret.
    pub campaign_client_secret: String,
    /// `...@AdobeOrg`.
    pub org_id: String,
    /// Origin of the control interface.
    pub control_url: String,
    /// Seed of the data.
    pub seed: u64,
    /// Seeded contacts.
    pub contacts: u64,
    /// Delay of each answer of Dataverse.
    pub dataverse_latency: Duration,
    /// Delay of each answer of Campaign.
    pub campaign_latency: Duration,
}

impl std::fmt::Debug for ServiceConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceConfig")
            .field("dataverse_url", &self.dataverse_url)
            .field("campaign_url", &self.campaign_url)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// State that both services use.
#[derive(Debug)]
pub struct Shared {
    /// The sandbox's clock.
    pub clock: Arc<SandboxClock>,
    /// Scripted faults.
    pub faults: FaultBook,
    /// Counters.
    pub counters: Counters,
    /// Issued tokens.
    pub tokens: TokenBook,
    /// What stays fixed.
    pub config: ServiceConfig,
    /// Cancelled when the sandbox ends.
    pub stop: CancellationToken,
}

impl Shared {
    /// Fresh state.
    pub fn new(config: ServiceConfig, stop: CancellationToken) -> Self {
        let clock = Arc::new(SandboxClock::new());
        Self {
            tokens: TokenBook::new(clock.clone()),
            clock,
            faults: FaultBook::default(),
            counters: Counters::default(),
            config,
            stop,
        }
    }
}

/// Put into a request's extensions: its delta token counts as expired.
#[derive(Debug, Clone, Copy)]
pub struct ExpireDelta;

/// Put into a response's extensions: nobody gets it, the connection is cut.
#[derive(Debug, Clone, Copy)]
struct Unanswered;

/// A record request in flight, counted until it is dropped.
struct InFlight {
    side: Side,
    shared: Arc<Shared>,
}

impl InFlight {
    fn new(side: Side, shared: &Arc<Shared>) -> Self {
        shared.counters.enter(side);
        Self { side, shared: shared.clone() }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.shared.counters.leave(self.side);
    }
}

/// The layer: names the route, counts, waits, injects faults. A write goes on to its end when its client leaves in the middle, as
/// it does at a real service.
pub async fn serve(State((side, shared)): State<(Side, Arc<Shared>)>, request: Request, next: Next) -> Response {
    let mut known = route(side, request.method(), request.uri().path());
    let in_flight = (!known.setup).then(|| InFlight::new(side, &shared));
    let counted = shared.counters.request(side, &known.template, known.setup);
    let hit = shared.faults.decide(Target {
        side,
        method: request.method().as_str(),
        template: &known.template,
        path: request.uri().path_and_query().map_or("/", |p| p.as_str()),
        setup: known.setup,
    });
    let response = match hit {
        None => carry_out(side, &shared, request, next, in_flight).await,
        Some(firing) => injure(side, &shared, firing, request, next, in_flight).await,
    };
    rename(side, &shared, &mut known, &counted, &response);
    if response.extensions().get::<Unanswered>().is_some() {
        shared.counters.unanswered(side);
    } else {
        shared.counters.answer(side, response.status().as_u16(), known.setup);
    }
    response
}

/// A handler may know better what it served.
fn rename(side: Side, shared: &Shared, known: &mut Route, counted: &str, response: &Response) {
    let extensions = response.extensions();
    let template = extensions.get::<RouteTemplate>().map(|t| t.0.clone());
    let setup = match (extensions.get::<SetupRequest>(), extensions.get::<RecordRequest>()) {
        (Some(_), _) => true,
        (None, Some(_)) => false,
        (None, None) => known.setup,
    };
    let better = Route { template: template.unwrap_or_else(|| known.template.clone()), setup };
    if better != *known {
        shared.counters.withdraw(side, counted, known.setup);
        shared.counters.request(side, &better.template, better.setup);
        *known = better;
    }
}

async fn carry_out(
    side: Side,
    shared: &Arc<Shared>,
    request: Request,
    next: Next,
    in_flight: Option<InFlight>,
) -> Response {
    let latency = match side {
        // Waits itself, within its service protection limits.
        Side::Dataverse => Duration::ZERO,
        Side::Campaign => shared.config.campaign_latency,
    };
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let work = async move {
        // Half of the delay on either side of the effect: a client that leaves finds both outcomes.
        wait(latency / 2).await;
        let response = next.run(request).await;
        wait(latency - latency / 2).await;
        drop(in_flight);
        response
    };
    if reads {
        return work.await;
    }
    match tokio::spawn(work).await {
        Ok(response) => response,
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "the sandbox failed"),
    }
}

async fn wait(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

async fn injure(
    side: Side,
    shared: &Arc<Shared>,
    firing: Firing,
    mut request: Request,
    next: Next,
    in_flight: Option<InFlight>,
) -> Response {
    let rule = &firing.rule;
    let delay = Duration::from_millis(rule.delay_ms.unwrap_or(0));
    let connection = request.extensions().get::<ConnectInfo<Connection>>().map(|c| c.0.clone());
    let cut = || {
        if let Some(connection) = &connection {
            connection.cut();
        }
        let mut response = plain(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "");
        response.extensions_mut().insert(Unanswered);
        response
    };
    if !matches!(rule.fault, FaultKind::Hang | FaultKind::LateExecution) {
        wait(delay).await;
    }
    match rule.fault {
        FaultKind::Delay => carry_out(side, shared, request, next, in_flight).await,
        FaultKind::ResetBefore => cut(),
        FaultKind::ResetAfterCommit => {
            let lost = carry_out(side, shared, request, next, in_flight).await;
            let mut cut = cut();
            // What the handler said about its route stays true.
            cut.extensions_mut().extend(lost.extensions().clone());
            cut
        }
        FaultKind::Truncate => truncate(carry_out(side, shared, request, next, in_flight).await).await,
        FaultKind::Hang => {
            if delay.is_zero() {
                shared.stop.cancelled().await;
            } else {
                tokio::select! {
                    () = wait(delay) => {}
                    () = shared.stop.cancelled() => {}
                }
            }
            cut()
        }
        FaultKind::Status => scripted(rule, 503, "application/json", default_body(side)),
        FaultKind::Html => scripted(
            rule,
            502,
            "text/html",
            "<html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>",
        ),
        FaultKind::LateExecution => {
            // The body is read before the answer goes out: with the answer the client is done, and its body may be lost.
            let (parts, body) = request.into_parts();
            let whole = axum::body::to_bytes(body, LARGEST).await.unwrap_or_default();
            let request = Request::from_parts(parts, Body::from(whole));
            let late = async move {
                wait(delay).await;
                next.run(request).await;
                drop(in_flight);
            };
            tokio::spawn(late);
            plain(StatusCode::GATEWAY_TIMEOUT, "text/plain", "GatewayTimeout")
        }
        FaultKind::Throttle => throttled(side, rule),
        FaultKind::ExpireToken => {
            if let Some(token) = bearer(request.headers()) {
                shared.tokens.expire(token);
            }
            carry_out(side, shared, request, next, in_flight).await
        }
        FaultKind::ExpireDelta => {
            request.extensions_mut().insert(ExpireDelta);
            carry_out(side, shared, request, next, in_flight).await
        }
        FaultKind::ForeignNextLink => {
            let response = carry_out(side, shared, request, next, in_flight).await;
            let (response, changed) = foreign_links(side, shared, response).await;
            if !changed {
                shared.faults.take_back(&firing);
            }
            response
        }
    }
}

/// An answer of one text.
pub(crate) fn plain(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn default_body(side: Side) -> &'static str {
    match side {
        Side::Dataverse => r#"{"error":{"code":"0x8005F103","message":"The service is unavailable."}}"#,
        Side::Campaign => r#"{"code":502,"message":"Oops. Something went wrong. Check your URI and try again."}"#,
    }
}

fn scripted(rule: &FaultRule, status: u16, kind: &'static str, body: &'static str) -> Response {
    let status = rule.status.unwrap_or(status);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let body = match &rule.body {
        None => body.to_owned(),
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let mut response = plain(status, kind, body);
    set_headers(rule, &mut response);
    response
}

/// Sets the headers of a rule; an empty value takes a header away.
fn set_headers(rule: &FaultRule, response: &mut Response) {
    for (name, value) in &rule.headers {
        if value.is_empty() {
            response.headers_mut().remove(name.as_str());
        } else if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
}

/// The services' own 429 (learn.microsoft.com, "Service protection API limits"; the body of Adobe's gateway).
fn throttled(side: Side, rule: &FaultRule) -> Response {
    let body = match side {
        Side::Dataverse => {
            r#"{"error":{"code":"0x80072322","message":"Number of requests exceeded the limit of 6000 over time window of 300 seconds."}}"#
        }
        Side::Campaign => r#"{"error_code":"429050","message":"Too many requests"}"#,
    };
    let mut response = plain(StatusCode::TOO_MANY_REQUESTS, "application/json", body);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    set_headers(rule, &mut response);
    response
}

const LARGEST: usize = 512 * 1024 * 1024;

/// The first half of the body under the full `Content-Length`, then the end of the connection.
async fn truncate(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let whole = axum::body::to_bytes(body, LARGEST).await.unwrap_or_default();
    let half = whole.slice(..whole.len() / 2);
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
    let first = futures::stream::once(async move { Ok::<Bytes, std::io::Error>(half) });
    let broken = futures::stream::once(async {
        // What was written before is on the wire by then: an error at once would take it back.
        wait(Duration::from_millis(5)).await;
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    });
    Response::from_parts(parts, Body::from_stream(futures::StreamExt::chain(first, broken)))
}

/// Sends continuation links to another host. `false`: the answer holds none.
async fn foreign_links(side: Side, shared: &Shared, response: Response) -> (Response, bool) {
    let (mut parts, body) = response.into_parts();
    let whole = axum::body::to_bytes(body, LARGEST).await.unwrap_or_default();
    let (opening, origin): (&[&str], &str) = match side {
        Side::Dataverse => {
            (&[r#""@odata.nextLink":""#, r#""@odata.deltaLink":""#], shared.config.dataverse_url.as_str())
        }
        Side::Campaign => (&[r#""next":{"href":""#], shared.config.campaign_url.as_str()),
    };
    let mut text = String::from_utf8_lossy(&whole).into_owned();
    let mut changed = false;
    for opening in opening {
        let own = format!("{opening}{origin}");
        if text.contains(&own) {
            text = text.replace(&own, &format!("{opening}https://elsewhere.invalid"));
            changed = true;
        }
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    (Response::from_parts(parts, Body::from(text)), changed)
}
