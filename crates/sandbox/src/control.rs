//! The control interface: what a test may look at and turn. JSON over HTTP, no authentication, loopback only.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::{get, post, put};
use http::{StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::campaign::{CampaignMutationPlan, CampaignService, WorkflowState};
use crate::dataverse::{DataverseMutationPlan, DataverseService, Limits};
use crate::faults::FaultRule;
use crate::journal::{self, JournalService};
use crate::service::{Shared, Side};
use crate::sftp::{SftpFaultRule, SftpService};

/// What the control interface reaches.
pub(crate) struct Control {
    pub(crate) shared: Arc<Shared>,
    pub(crate) dataverse: Arc<DataverseService>,
    pub(crate) campaign: Arc<CampaignService>,
    pub(crate) journal: Arc<JournalService>,
    pub(crate) sftp: Arc<SftpService>,
    pub(crate) info: Value,
}

/// All calls.
pub(crate) fn router(control: Arc<Control>) -> Router {
    Router::new()
        .route("/", get(info))
        .route("/records/{side}/{table}", get(records))
        .route("/records/{side}/{table}/{id}", put(put_record).patch(patch_record).delete(delete_record))
        .route("/mutate", post(mutate))
        .route("/counters", get(counters))
        .route("/counters/reset", post(reset))
        .route("/history", post(keep_history).get(history))
        .route("/faults", post(add_faults).get(list_faults).delete(clear_faults))
        .route("/clock", post(advance))
        .route("/workflows", post(set_workflow))
        .route("/tokens", post(tokens))
        .route("/versions", post(reserve_versions))
        .route("/metadata", post(change_definition))
        .route("/limits", put(set_limits).get(show_limits))
        .route("/events", post(journal::make).get(journal::list))
        .route("/journal", post(journal::configure))
        .fallback(unknown)
        .with_state(control)
}

pub(crate) fn refusal(status: StatusCode, message: &str) -> Response {
    answer(status, &json!({"error": message}))
}

pub(crate) fn answer(status: StatusCode, body: &Value) -> Response {
    crate::service::plain(status, "application/json", body.to_string())
}

/// A body as the extractor hands it over.
pub(crate) type Given = Result<Bytes, BytesRejection>;

/// Why a body was not taken.
pub(crate) struct Unreadable(StatusCode, String);

impl Unreadable {
    pub(crate) fn answer(&self) -> Response {
        refusal(self.0, &self.1)
    }
}

/// Reads a body as JSON whatever it calls itself: the control interface is used by hand and from scripts too, and neither should
/// fail for want of a header.
pub(crate) fn read<T: DeserializeOwned>(given: Given) -> Result<T, Unreadable> {
    let bytes = given.map_err(|rejection| Unreadable(rejection.status(), rejection.body_text()))?;
    serde_json::from_slice(&bytes).map_err(|error| Unreadable(StatusCode::BAD_REQUEST, error.to_string()))
}

async fn info(State(control): State<Arc<Control>>) -> Response {
    answer(StatusCode::OK, &control.info)
}

async fn unknown() -> Response {
    refusal(StatusCode::NOT_FOUND, "the control interface has no such call; GET / names the sandbox's addresses")
}

async fn counters(State(control): State<Arc<Control>>) -> Response {
    let mut counters = control.shared.counters.snapshot();
    counters["sftp"] = control.sftp.counters();
    answer(StatusCode::OK, &counters)
}

async fn reset(State(control): State<Arc<Control>>) -> Response {
    control.shared.counters.reset();
    control.sftp.reset_counters();
    answer(StatusCode::OK, &json!({}))
}

fn side(text: &str) -> Option<Side> {
    match text {
        "dataverse" => Some(Side::Dataverse),
        "campaign" => Some(Side::Campaign),
        _ => None,
    }
}

async fn records(State(control): State<Arc<Control>>, Path((of, table)): Path<(String, String)>) -> Response {
    let blocks: Option<Box<dyn Iterator<Item = Vec<u8>> + Send>> = match side(&of) {
        Some(Side::Dataverse) => control.dataverse.records(&table).map(|lines| Box::new(lines) as _),
        Some(Side::Campaign) => control.campaign.records(&table).map(|lines| Box::new(lines) as _),
        Some(Side::Journal) | None => None,
    };
    let Some(blocks) = blocks else {
        return refusal(StatusCode::NOT_FOUND, &format!("no rows of {of}/{table}"));
    };
    // Blocks are made as the client takes them: a million rows are never in memory as text.
    let blocks = blocks.map(|block| Ok::<_, std::convert::Infallible>(Bytes::from(block)));
    let mut response = Response::new(Body::from_stream(futures::stream::iter(blocks)));
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/x-ndjson"));
    response
}

/// A version that was set aside, for one row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Under {
    #[serde(default)]
    version: Option<i64>,
}

const NO_VERSIONS: &str = "rows of Campaign have no versions";

async fn put_record(
    State(control): State<Arc<Control>>,
    Path((of, table, id)): Path<(String, String, String)>,
    Query(under): Query<Under>,
    given: Given,
) -> Response {
    let row: Map<String, Value> = match read(given) {
        Ok(row) => row,
        Err(unreadable) => return unreadable.answer(),
    };
    let done = match side(&of) {
        Some(Side::Dataverse) => control.dataverse.put_record(&table, &id, &row, under.version),
        Some(Side::Campaign) if under.version.is_some() => Err(NO_VERSIONS.to_owned()),
        Some(Side::Campaign) => control.campaign.put_record(&table, &id, row),
        Some(Side::Journal) | None => Err(format!("no side {of}")),
    };
    match done {
        Ok(()) => answer(StatusCode::OK, &json!({})),
        Err(problem) => refusal(StatusCode::BAD_REQUEST, &problem),
    }
}

async fn patch_record(
    State(control): State<Arc<Control>>,
    Path((of, table, id)): Path<(String, String, String)>,
    given: Given,
) -> Response {
    let fields: Map<String, Value> = match read(given) {
        Ok(fields) => fields,
        Err(unreadable) => return unreadable.answer(),
    };
    let done = match side(&of) {
        Some(Side::Dataverse) => control.dataverse.patch_record(&table, &id, &fields),
        Some(Side::Campaign) => control.campaign.patch_record(&table, &id, fields),
        Some(Side::Journal) | None => Err(format!("no side {of}")),
    };
    match done {
        Ok(()) => answer(StatusCode::OK, &json!({})),
        Err(problem) => refusal(StatusCode::BAD_REQUEST, &problem),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keeping {
    keep: bool,
}

async fn keep_history(State(control): State<Arc<Control>>, given: Given) -> Response {
    match read::<Keeping>(given) {
        Ok(wanted) => control.shared.history.keep(wanted.keep),
        Err(unreadable) => return unreadable.answer(),
    }
    answer(StatusCode::OK, &json!({}))
}

async fn history(State(control): State<Arc<Control>>) -> Response {
    crate::service::plain(StatusCode::OK, "application/x-ndjson", control.shared.history.lines())
}

async fn delete_record(
    State(control): State<Arc<Control>>,
    Path((of, table, id)): Path<(String, String, String)>,
    Query(under): Query<Under>,
) -> Response {
    let done = match side(&of) {
        Some(Side::Dataverse) => control.dataverse.delete_record(&table, &id, under.version),
        Some(Side::Campaign) if under.version.is_some() => Err(NO_VERSIONS.to_owned()),
        Some(Side::Campaign) => control.campaign.delete_record(&table, &id),
        Some(Side::Journal) | None => Err(format!("no side {of}")),
    };
    match done {
        Ok(()) => answer(StatusCode::OK, &json!({})),
        Err(problem) => refusal(StatusCode::NOT_FOUND, &problem),
    }
}

/// A request for seeded changes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutation {
    side: Side,
    table: String,
    #[serde(default)]
    create: usize,
    #[serde(default)]
    update: usize,
    #[serde(default)]
    delete: usize,
    #[serde(default)]
    fields: Vec<String>,
    #[serde(default)]
    seed: u64,
}

/// Most rows of a kind in one mutation; more would keep the services busy for minutes, and a slip of the finger for ever.
const LARGEST_MUTATION: usize = 1_000_000;

async fn mutate(State(control): State<Arc<Control>>, given: Given) -> Response {
    let Mutation { side, table, create, update, delete, fields, seed } = match read(given) {
        Ok(wanted) => wanted,
        Err(unreadable) => return unreadable.answer(),
    };
    if [create, update, delete].iter().any(|count| *count > LARGEST_MUTATION) {
        return refusal(StatusCode::BAD_REQUEST, &format!("more than {LARGEST_MUTATION} rows of a kind at once"));
    }
    // Many rows take a while: not on a thread that serves connections.
    let work = tokio::task::spawn_blocking(move || match side {
        Side::Dataverse => {
            let plan = DataverseMutationPlan { table, create, update, delete, fields, seed };
            control.dataverse.mutate(&plan).map(|done| (done.created, done.updated, done.deleted))
        }
        Side::Campaign => {
            let plan = CampaignMutationPlan { resource: &table, create, update, delete, fields: &fields, seed };
            control.campaign.mutate(&plan).map(|done| (done.created, done.updated, done.deleted))
        }
        Side::Journal => Err("the journal has no tables".to_owned()),
    });
    match work.await {
        Ok(Ok((created, updated, deleted))) => {
            answer(StatusCode::OK, &json!({"created": created, "updated": updated, "deleted": deleted}))
        }
        Ok(Err(problem)) => refusal(StatusCode::BAD_REQUEST, &problem),
        Err(_) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "the mutation failed"),
    }
}

async fn add_faults(State(control): State<Arc<Control>>, given: Given) -> Response {
    let given: Vec<Value> = match read(given) {
        Ok(rules) => rules,
        Err(unreadable) => return unreadable.answer(),
    };
    let (files, services): (Vec<Value>, Vec<Value>) = given.into_iter().partition(|rule| rule["side"] == "sftp");
    let rules = services.into_iter().map(serde_json::from_value).collect::<Result<Vec<FaultRule>, _>>();
    let file_rules = files.into_iter().map(serde_json::from_value).collect::<Result<Vec<SftpFaultRule>, _>>();
    let (rules, file_rules) = match (rules, file_rules) {
        (Ok(rules), Ok(file_rules)) => (rules, file_rules),
        (Err(error), _) | (_, Err(error)) => return refusal(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let wrong = rules.iter().find_map(|rule| {
        let share = rule.probability.is_some_and(|p| !(0.0..=1.0).contains(&p));
        let status = rule.status.is_some_and(|s| StatusCode::from_u16(s).is_err());
        let elsewhere = rule.fault.only_on().is_some_and(|only| rule.side.is_some_and(|side| side != only));
        let both = rule.nth.is_some() && rule.probability.is_some();
        [
            (share, "probability is from 0 to 1"),
            (status, "status is no HTTP status"),
            (both, "nth and probability exclude each other"),
            (rule.nth == Some(0), "nth counts from 1"),
            (elsewhere, "the fault is of the other side"),
        ]
        .into_iter()
        .find_map(|(wrong, message)| wrong.then_some(message))
    });
    if let Some(problem) = wrong.or_else(|| file_rules.iter().find_map(SftpFaultRule::problem)) {
        return refusal(StatusCode::BAD_REQUEST, problem);
    }
    let added = rules.len() + file_rules.len();
    control.shared.faults.add(rules);
    control.sftp.faults().add(file_rules);
    answer(StatusCode::OK, &json!({"added": added}))
}

async fn list_faults(State(control): State<Arc<Control>>) -> Response {
    let services = control.shared.faults.list().into_iter().map(|count| json!(count));
    let files = control.sftp.faults().list().into_iter().map(|count| json!(count));
    answer(StatusCode::OK, &services.chain(files).collect())
}

async fn clear_faults(State(control): State<Arc<Control>>) -> Response {
    control.shared.faults.clear();
    control.sftp.faults().clear();
    answer(StatusCode::OK, &json!({}))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_seconds: i64,
}

async fn advance(State(control): State<Arc<Control>>, given: Given) -> Response {
    match read::<Advance>(given) {
        Ok(by) => {
            control.shared.clock.advance(by.advance_seconds);
            // What the scheduler has due is run as the time passes, not when somebody looks.
            control.campaign.workflows().tick(control.shared.clock.now_millis());
        }
        Err(unreadable) => return unreadable.answer(),
    }
    answer(StatusCode::OK, &json!({"now": control.shared.clock.now().to_rfc3339()}))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkflowChange {
    id: String,
    state: WorkflowState,
}

async fn set_workflow(State(control): State<Arc<Control>>, given: Given) -> Response {
    match read::<WorkflowChange>(given) {
        Ok(wanted) if control.campaign.workflows().set_state(&wanted.id, wanted.state) => {
            answer(StatusCode::OK, &json!({}))
        }
        Ok(wanted) => refusal(StatusCode::NOT_FOUND, &format!("no workflow {}", wanted.id)),
        Err(unreadable) => unreadable.answer(),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenLifetime {
    side: Side,
    lifetime_seconds: u64,
}

async fn tokens(State(control): State<Arc<Control>>, given: Given) -> Response {
    match read::<TokenLifetime>(given) {
        Ok(wanted) => control.shared.tokens.set_lifetime(wanted.side, wanted.lifetime_seconds),
        Err(unreadable) => return unreadable.answer(),
    }
    answer(StatusCode::OK, &json!({}))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reservation {
    reserve: u32,
}

/// Most versions that are set aside at once.
const MOST_VERSIONS: u32 = 1_000_000;

async fn reserve_versions(State(control): State<Arc<Control>>, given: Given) -> Response {
    match read::<Reservation>(given) {
        Ok(wanted) if wanted.reserve <= MOST_VERSIONS => {
            answer(StatusCode::OK, &json!({"versions": control.dataverse.reserve_versions(wanted.reserve)}))
        }
        Ok(_) => refusal(StatusCode::BAD_REQUEST, &format!("more than {MOST_VERSIONS} versions at once")),
        Err(unreadable) => unreadable.answer(),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Definition {
    table: String,
}

async fn change_definition(State(control): State<Arc<Control>>, given: Given) -> Response {
    let done = match read::<Definition>(given) {
        Ok(of) => control.dataverse.change_definition(&of.table),
        Err(unreadable) => return unreadable.answer(),
    };
    match done {
        Ok(()) => answer(StatusCode::OK, &json!({})),
        Err(problem) => refusal(StatusCode::BAD_REQUEST, &problem),
    }
}

/// `"real"`, `"off"`, or the figures of which each that is missing means no such limit.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum GivenLimits {
    Named(String),
    Figures(Limits),
}

async fn set_limits(State(control): State<Arc<Control>>, given: Given) -> Response {
    let limits = match read::<GivenLimits>(given) {
        Ok(GivenLimits::Named(name)) if name == "real" => Some(Limits::REAL),
        Ok(GivenLimits::Named(name)) if name == "off" => None,
        Ok(GivenLimits::Figures(limits)) if limits.window_seconds > 0 => Some(limits),
        Ok(_) => {
            let wanted =
                "\"real\", \"off\" or {\"requests\", \"execution_millis\", \"concurrent\", \"window_seconds\"}";
            return refusal(StatusCode::BAD_REQUEST, wanted);
        }
        Err(unreadable) => return unreadable.answer(),
    };
    control.dataverse.set_limits(limits);
    answer(StatusCode::OK, &json!({}))
}

async fn show_limits(State(control): State<Arc<Control>>) -> Response {
    let (limits, servers) = control.dataverse.limits();
    // A limit that is none is left out, as it is when the limits are set.
    let figures = limits.map(|limits| {
        let mut figures = Map::new();
        for (name, figure) in [
            ("requests", limits.requests),
            ("execution_millis", limits.execution_millis),
            ("concurrent", limits.concurrent),
            ("window_seconds", limits.window_seconds),
        ] {
            if figure != u64::MAX {
                figures.insert(name.to_owned(), figure.into());
            }
        }
        figures
    });
    answer(StatusCode::OK, &json!({"limits": figures, "servers": servers}))
}
