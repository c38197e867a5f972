//! The HTTP face: headers, tokens, the organization, bodies, counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Map, Value};

use super::engine::{self, Call, Engine};
use super::primary_key;
use super::refusal::{Refusal, Reply};
use super::render::{self, Family, View};
use super::route::Misplaced;
use super::scenario::CampaignScenario;
use super::schema::Schema;
use super::seed::{self, CampaignMutation, CampaignMutationPlan};
use super::workflow::{WorkflowCall, WorkflowRun, Workflows};
use super::write;
use crate::history::By;
use crate::injection::PendingFault;
use crate::oauth::{TokenState, bearer};
use crate::route::{RecordRequest, RouteTemplate, SetupRequest, route};
use crate::service::{Shared, Side, plain};
use crate::token_endpoints;

/// Greatest body that is read.
const LARGEST_BODY: usize = 1024 * 1024;
/// Greatest form of a token request that is read.
const LARGEST_FORM: usize = 64 * 1024;
/// Rows rendered at once for the control listing, so that the lock is never held long.
const LINES_AT_ONCE: usize = 256;

/// Everything that is wrong with a scenario.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct CampaignScenarioError(pub Vec<String>);

/// Campaign, as one organization sees it.
#[derive(Debug)]
pub struct CampaignService {
    engine: Engine,
    workflows: Workflows,
    shared: Arc<Shared>,
    /// `http://host/acme/campaign/`
    base: String,
    /// Whether an unknown organization was asked for already.
    warm: AtomicBool,
}

impl CampaignService {
    /// The service of a scenario, with the rows that the scenario asks for.
    ///
    /// # Errors
    /// Everything in the scenario that does not fit together: a link to a column that is no unique key, for instance.
    pub fn new(scenario: &CampaignScenario, shared: Arc<Shared>) -> Result<Arc<Self>, CampaignScenarioError> {
        let engine = Engine::new(Schema::compile(scenario).map_err(CampaignScenarioError)?, shared.history.clone());
        {
            let mut tables = engine.write();
            let now = shared.clock.now_millis();
            for wanted in scenario.resources.iter().filter(|r| r.rows > 0) {
                if let Some(resource) = engine.schema.find(&wanted.name) {
                    seed::fill(&engine.schema, &mut tables, resource, wanted.rows, shared.config.seed, now)
                        .map_err(|problem| CampaignScenarioError(vec![problem]))?;
                }
            }
        }
        let base = format!("{}/campaign/", shared.config.campaign_url.trim_end_matches('/'));
        let workflows = Workflows::new(&scenario.workflows, shared.clock.now_millis());
        Ok(Arc::new(Self { engine, workflows, shared, base, warm: AtomicBool::new(false) }))
    }

    /// Serves `/{organization}/campaign/...` and the endpoints of IMS. Every other address is the gateway's too.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/ims/token/v3", any(ims))
            .route("/ims/profile/v1", any(ims_profile))
            .fallback(handle)
            .with_state(self.clone())
    }

    /// Says what a run of a workflow does, whether the scheduler, a command or a signal brings it about: called once for each, on
    /// the thread that did, with no lock held. The first who says so is heard.
    pub fn on_workflow_run(&self, hook: impl Fn(WorkflowRun) + Send + Sync + 'static) {
        self.workflows.on_run(hook);
    }

    /// The workflows.
    pub(crate) fn workflows(&self) -> &Workflows {
        &self.workflows
    }

    /// Names of the resources.
    pub fn resources(&self) -> Vec<&str> {
        self.engine.schema.resources.iter().map(|r| r.name.as_str()).collect()
    }

    /// Every row of a resource as the service's own GET shows it, one JSON object a line in ASCII, hidden rows marked with
    /// `"_hidden":true`, in the order of the custom key; in pieces of many lines. None: no such resource.
    ///
    /// The order and the set of rows are those of the moment of the call; a row that changes meanwhile is shown as it is when
    /// its piece is made, and one that goes meanwhile is left out.
    pub fn records(self: &Arc<Self>, resource: &str) -> Option<RecordLines> {
        let resource = self.engine.schema.find(resource)?;
        let rows = seed::in_key_order(&self.engine.read(), resource);
        Some(RecordLines { service: self.clone(), resource: resource.index, rows: rows.into_iter() })
    }

    /// Puts one row as given: columns that are not named take their defaults, read-only ones may be set too.
    ///
    /// # Errors
    /// An unknown resource or column, a value that does not fit, another row's unique key. Nothing is changed then.
    pub fn put_record(&self, resource: &str, key: &str, row: Map<String, Value>) -> Result<(), String> {
        let resource = self.engine.schema.find(resource).ok_or_else(|| format!("no resource {resource}"))?;
        let now = self.shared.clock.now_millis();
        let mut tables = self.engine.write();
        write::put(&self.engine.schema, &mut tables, resource, key, row, now)?;
        if let Some(at) = tables.of(resource).by_key(resource, key) {
            self.engine.note(&tables, resource, at, By::Control);
        }
        Ok(())
    }

    /// Changes some columns of a row, as a request would.
    ///
    /// # Errors
    /// An unknown resource or column, no such row, a value that does not fit.
    pub fn patch_record(&self, resource: &str, key: &str, fields: Map<String, Value>) -> Result<(), String> {
        let schema = &self.engine.schema;
        let resource = schema.find(resource).ok_or_else(|| format!("no resource {resource}"))?;
        let now = self.shared.clock.now_millis();
        let mut tables = self.engine.write();
        let at = tables.of(resource).by_key(resource, key);
        let at = at.ok_or_else(|| format!("{} has no such row", resource.name))?;
        let text = |refusal: Refusal| refusal.text;
        let changes =
            write::changes(schema, &tables, resource, Family::of(resource), Some(at), fields).map_err(text)?;
        write::update(&mut tables, resource, at, &changes, now).map_err(text)?;
        self.engine.note(&tables, resource, at, By::Control);
        Ok(())
    }

    /// Deletes one row, named by its custom key.
    ///
    /// # Errors
    /// An unknown resource, no such row.
    pub fn delete_record(&self, resource: &str, key: &str) -> Result<(), String> {
        let resource = self.engine.schema.find(resource).ok_or_else(|| format!("no resource {resource}"))?;
        let mut tables = self.engine.write();
        let at = tables.of(resource).by_key(resource, key);
        let at = at.ok_or_else(|| format!("{} has no such row", resource.name))?;
        self.engine.remove(&mut tables, resource, at, By::Control);
        Ok(())
    }

    /// Seeded creates, updates and deletes.
    ///
    /// # Errors
    /// An unknown resource or column, or more rows to change than there are. Nothing is changed then.
    pub fn mutate(&self, plan: &CampaignMutationPlan<'_>) -> Result<CampaignMutation, String> {
        seed::mutate(&self.engine.schema, &mut self.engine.write(), plan, self.shared.clock.now_millis())
    }

    /// Checks the headers as the gateway does (experienceleague.adobe.com, "Troubleshooting").
    fn gateway(&self, headers: &HeaderMap) -> Option<Reply> {
        let valid = |token: &&str| self.shared.tokens.check(Side::Campaign, token) == TokenState::Valid;
        let Some(token) = bearer(headers).filter(valid) else {
            return Some(Reply::gateway(401, "401013", "Oauth token is not valid"));
        };
        let key = headers.get("x-api-key").map(HeaderValue::as_bytes);
        if key != Some(self.shared.config.campaign_client_id.as_bytes()) {
            return Some(Reply::gateway(403, "403000", "Api Key is invalid"));
        }
        if !self.shared.tokens.has_product_context(token) {
            return Some(Reply::gateway(403, "403023", "Profile is not valid"));
        }
        None
    }

    fn unknown_organization(&self) -> Reply {
        let warm = self.warm.swap(true, Ordering::Relaxed);
        Reply::oops(if self.engine.schema.switches.cold_organization && !warm { 400 } else { 500 })
    }

    async fn serve(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let method = match parts.method.as_str() {
            "HEAD" => "GET",
            other => other,
        };
        let mut segments = parts.uri.path().trim_start_matches('/').splitn(3, '/');
        let (organization, api) = (segments.next().unwrap_or_default(), segments.next());
        let path = segments.next().unwrap_or_default();
        let located = match api {
            Some("campaign") => engine::locate(&self.engine, path),
            _ => Err(Misplaced::Uri),
        };
        let ours = organization == self.shared.config.organization;
        let workflow = path.strip_prefix("workflow/execution/").filter(|_| api == Some("campaign"));
        let (template, setup) = match &located {
            _ if workflow.is_some() => (route(Side::Campaign, &parts.method, parts.uri.path()).template, true),
            Ok(found) => (format!("{method} {}", found.template), found.is_setup()),
            // One name for all of them: there is no end of paths that lead nowhere.
            Err(problem) => (format!("{method} /{{other}}"), *problem == Misplaced::Uri || engine::describes(path)),
        };
        let reply = if let Some(refused) = self.gateway(&parts.headers) {
            refused
        } else if !ours {
            self.unknown_organization()
        } else {
            let now = self.shared.clock.now_millis();
            match (axum::body::to_bytes(body, LARGEST_BODY).await, workflow) {
                (Ok(body), Some(path)) => {
                    let call = WorkflowCall { method, path, body: &body, base: &self.base, now };
                    self.workflows.answer(&call, &self.engine.schema.switches)
                }
                (Ok(body), None) => self.engine.answer(
                    &Call {
                        method,
                        query: parts.uri.query().unwrap_or_default(),
                        body: &body,
                        base: &self.base,
                        now,
                        fault: parts.extensions.get::<PendingFault>(),
                    },
                    located,
                ),
                (Err(_), _) => Reply::oops(413),
            }
        };
        if reply.rows > 0 {
            self.shared.counters.rows(Side::Campaign, reply.rows);
        }
        let holds = !reply.body.is_empty();
        let mut response = Response::new(Body::from(reply.body));
        *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if holds {
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
        }
        // The date of the answer is that of the rows.
        let date = self.shared.clock.now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        if let Ok(date) = HeaderValue::try_from(date) {
            response.headers_mut().insert(header::DATE, date);
        }
        response.extensions_mut().insert(RouteTemplate(template));
        if setup {
            response.extensions_mut().insert(SetupRequest);
        } else {
            response.extensions_mut().insert(RecordRequest);
        }
        response
    }

    /// Appends one line of the control listing.
    fn line(&self, out: &mut Vec<u8>, resource: usize, rows: &[u32]) {
        let Some(resource) = self.engine.schema.resources.get(resource) else {
            return;
        };
        let family = Family::of(resource);
        let under = format!("{}/{}", family.path(), resource.name);
        let tables = self.engine.read();
        let view = View {
            schema: &self.engine.schema,
            tables: &tables,
            resource,
            family,
            base: &self.base,
            under: &under,
            context: primary_key::context(&under),
            now: self.shared.clock.now_millis(),
        };
        let mut shown = Vec::with_capacity(2048);
        for at in rows {
            let Some(row) = tables.of(resource).row(*at) else { continue };
            shown.clear();
            view.record(&mut shown, *at, row, self.engine.schema.switches.item_href);
            if !tables.visible(&self.engine.schema, resource, row) {
                shown.pop();
                shown.extend_from_slice(b",\"_hidden\":true}");
            }
            render::write_ascii(out, &shown);
            out.push(b'\n');
        }
    }
}

async fn ims(State(service): State<Arc<CampaignService>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    match axum::body::to_bytes(body, LARGEST_FORM).await {
        Ok(form) => {
            let query = parts.uri.query().unwrap_or_default();
            token_endpoints::ims(&service.shared, &service.engine.schema.switches, &parts.method, query, &form)
        }
        Err(_) => plain(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", Body::empty()),
    }
}

async fn ims_profile(State(service): State<Arc<CampaignService>>, request: Request) -> Response {
    token_endpoints::ims_profile(&service.shared, request.method(), bearer(request.headers()))
}

async fn handle(State(service): State<Arc<CampaignService>>, request: Request) -> Response {
    service.serve(request).await
}

/// The rows of a resource as lines of JSON, in pieces.
#[derive(Debug)]
pub struct RecordLines {
    service: Arc<CampaignService>,
    resource: usize,
    rows: std::vec::IntoIter<u32>,
}

impl Iterator for RecordLines {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let rows: Vec<u32> = self.rows.by_ref().take(LINES_AT_ONCE).collect();
        if rows.is_empty() {
            return None;
        }
        let mut out = Vec::with_capacity(rows.len() * 2048);
        self.service.line(&mut out, self.resource, &rows);
        Some(out)
    }
}
