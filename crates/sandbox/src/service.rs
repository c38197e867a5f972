//! What both services share: state, and the layer that every request goes through (counters, latency, faults).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderValue, Method, StatusCode, header};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::clock::SandboxClock;
use crate::counters::Counters;
use crate::faults::{FaultBook, Target};
use crate::history::History;
use crate::injection::injure;
use crate::oauth::TokenBook;
use crate::route::{RecordRequest, Route, RouteTemplate, SetupRequest, route};

/// One of the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Dynamics 365 (Dataverse).
    Dataverse,
    /// Adobe Campaign Standard.
    Campaign,
    /// The journal of Adobe I/O Events.
    Journal,
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
    /// Changes of rows, where they are kept.
    pub history: Arc<History>,
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
        Self::with_clock(config, Arc::new(SandboxClock::new()), stop)
    }

    /// The same under a clock that others hold too.
    pub fn with_clock(config: ServiceConfig, clock: Arc<SandboxClock>, stop: CancellationToken) -> Self {
        Self {
            tokens: TokenBook::new(clock.clone()),
            clock,
            faults: FaultBook::default(),
            counters: Counters::default(),
            history: Arc::default(),
            config,
            stop,
        }
    }
}

/// Put into a response's extensions: nobody gets it, the connection is cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unanswered;

/// A record request in flight, counted until it is dropped.
pub(crate) struct InFlight {
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
    answered(side, &shared, &mut known, &counted, &response);
    response
}

/// Delivers a request past the faults, counted as any other: what a proxy repeats, the service knows nothing of.
pub(crate) async fn deliver(side: Side, shared: &Arc<Shared>, request: Request, next: Next) {
    let mut known = route(side, request.method(), request.uri().path());
    let in_flight = (!known.setup).then(|| InFlight::new(side, shared));
    let counted = shared.counters.request(side, &known.template, known.setup);
    let response = carry_out(side, shared, request, next, in_flight).await;
    answered(side, shared, &mut known, &counted, &response);
}

fn answered(side: Side, shared: &Shared, known: &mut Route, counted: &str, response: &Response) {
    rename(side, shared, known, counted, response);
    if response.extensions().get::<Unanswered>().is_some() {
        shared.counters.unanswered(side);
    } else {
        shared.counters.answer(side, response.status().as_u16(), known.setup);
    }
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

/// Lets the handler carry a request out, with the delay of its side. A write goes on when its client leaves.
pub(crate) async fn carry_out(
    side: Side,
    shared: &Arc<Shared>,
    request: Request,
    next: Next,
    in_flight: Option<InFlight>,
) -> Response {
    let latency = match side {
        // Waits itself, within its service protection limits.
        Side::Dataverse => Duration::ZERO,
        Side::Campaign | Side::Journal => shared.config.campaign_latency,
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

pub(crate) async fn wait(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// An answer of one text.
pub(crate) fn plain(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
