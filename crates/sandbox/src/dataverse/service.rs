//! The HTTP face: tokens, limits, routes, headers.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};

use super::error::{Refusal, refusal};
use super::limits::{Limits, Load, Protection, Throttled};
use super::multiple::{NAMESPACE, message_filters};
use super::path::{Resource, decode, resource};
use super::query::{Options, Prefer};
use super::read::{Answer, Reader};
use super::row;
use super::scenario::DataverseScenario;
use super::schema::Schema;
use super::seed::Seeder;
use super::store::{Memory, Stamp, Store};
use super::{builtin, metadata, privileges};
use crate::injection::PendingFault;
use crate::oauth::{TokenState, bearer};
use crate::service::{Shared, Side, plain};
use crate::token_endpoints;

/// `createdon` of seeded rows, 2026-01-05T10:00:00Z: the same seed gives the same data at any time.
const SEEDED_AT: i64 = 1_767_607_200;

/// Greatest body that is read.
const LARGEST_BODY: usize = 16 * 1024 * 1024;

/// Dataverse, as one application user sees it.
#[derive(Debug)]
pub struct DataverseService {
    pub(super) store: Store,
    pub(super) shared: Arc<Shared>,
    pub(super) scenario: DataverseScenario,
    protection: Protection,
}

/// Sets that the service has and the sandbox does not.
const OTHER_SETS: [&str; 12] = [
    "teams",
    "businessunits",
    "transactioncurrencies",
    "sdkmessages",
    "activitypointers",
    "tasks",
    "emails",
    "phonecalls",
    "lists",
    "leads",
    "opportunities",
    "asyncoperations",
];

/// Unbound functions and actions of the service that a synchronizing client might call.
const OTHER_FUNCTIONS: [&str; 8] = [
    "RetrieveMetadataChanges",
    "RetrieveVersion",
    "RetrieveCurrentOrganization",
    "RetrieveUserPrivileges",
    "BulkDelete",
    "PublishXml",
    "PublishAllXml",
    "Merge",
];

impl DataverseService {
    /// The service of a scenario, seeded.
    ///
    /// # Errors
    /// What in the scenario does not fit together: a lookup to a table that does not exist, for instance.
    pub fn new(scenario: &DataverseScenario, limits: Option<Limits>, shared: Arc<Shared>) -> Result<Arc<Self>, String> {
        let schema = Schema::build(scenario)?;
        let switches = &scenario.switches;
        let service = Self {
            store: Store::new(
                schema,
                Memory { recreated: switches.recreated_rows_stay_deleted, columns: !switches.unselected_changes },
                shared.history.clone(),
            ),
            scenario: scenario.clone(),
            protection: Protection::new(limits, switches.web_servers, switches.refusals_per_second_more),
            shared,
        };
        service.add_user()?;
        Seeder::fill(&service.store, service.shared.config.seed, service.shared.config.contacts, SEEDED_AT)?;
        Ok(Arc::new(service))
    }

    /// The user that everything runs as is a row too.
    fn add_user(&self) -> Result<(), String> {
        let Some(table) = self.store.schema.by_name("systemuser") else { return Ok(()) };
        let stamp = Stamp::from(SEEDED_AT).at(Some(1000));
        let user = builtin::first_user(table);
        let mut rows = self.store.write(table);
        self.store.insert(&mut rows, table, builtin::USER, user, stamp).map_err(|refusal| refusal.message)
    }

    /// The present service protection limits, and what each web server counts.
    pub fn limits(&self) -> (Option<Limits>, Vec<Load>) {
        (self.protection.limits(), self.protection.load(self.shared.clock.now_millis()))
    }

    /// Other limits from the next request on. What the window holds stays in it.
    pub fn set_limits(&self, limits: Option<Limits>) {
        self.protection.set_limits(limits);
    }

    /// Serves `/api/data/...` and the token endpoint.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new().fallback(handle).with_state(self.clone())
    }

    /// `base` is the root of the version that was asked for: links lead to the same one.
    pub(super) fn reader<'a>(&'a self, base: &'a str, fault: Option<&'a PendingFault>) -> Reader<'a> {
        Reader {
            store: &self.store,
            switches: &self.scenario.switches,
            base,
            now: self.shared.clock.now_seconds(),
            fault,
        }
    }

    /// Half of the delay stands before the effect and half behind it: a client that leaves finds both outcomes.
    async fn answer(&self, request: Request) -> Response {
        let latency = self.shared.config.dataverse_latency;
        let (parts, body) = request.into_parts();
        if !parts.uri.path().starts_with("/api/data/") {
            wait(latency / 2).await;
            let response = match whole(body).await {
                Ok(bytes) => self.authority(&parts, &bytes),
                Err(refusal) => refusal.answer(false),
            };
            wait(latency - latency / 2).await;
            return response;
        }
        let token = bearer(&parts.headers)
            .map_or(TokenState::Unknown, |token| self.shared.tokens.check(Side::Dataverse, token));
        // A body is read although nobody wants it: a connection that closes on it takes the answer along.
        if token != TokenState::Valid {
            let _ = whole(body).await;
            wait(latency).await;
            return self.unauthorized(token);
        }
        let cookies = parts.headers.get(header::COOKIE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let server = self.protection.server(cookies);
        let details = Prefer::parse(&parts.headers).wants("Microsoft.PowerApps.CDS.ErrorDetails.OperationStatus");
        let mut response = match self.protection.enter(server, self.shared.clock.now_millis()) {
            // At once: the service's front end refuses what it will not let in.
            Err((refusal, wait)) => {
                let _ = whole(body).await;
                let mut response = refusal.answer(details);
                put(&mut response, "retry-after", &wait.to_string());
                response
            }
            Ok(stay) => {
                // A request is in from its headers to its answer, the body that trickles in and the delay included.
                let answer = match whole(body).await {
                    Ok(bytes) => {
                        wait(latency / 2).await;
                        self.dispatch(&parts, &bytes, server)
                    }
                    Err(refusal) => Err(refusal),
                };
                wait(latency - latency / 2).await;
                drop(stay);
                match answer {
                    Ok(answer) => {
                        self.shared.counters.rows(Side::Dataverse, answer.rows);
                        finished(answer)
                    }
                    Err(refusal) => refusal.answer(details),
                }
            }
        };
        self.common_headers(server, &mut response);
        response
    }

    /// What lies beside the Web API: the token endpoint, and nothing else.
    fn authority(&self, parts: &Parts, bytes: &[u8]) -> Response {
        match token_endpoints::authority_path(parts.uri.path()) {
            Some((tenant, token)) => {
                let extended = self.scenario.switches.ext_expires_in;
                token_endpoints::entra(&self.shared, tenant, token, parts, bytes, extended)
            }
            None => plain(
                StatusCode::NOT_FOUND,
                "text/html",
                "<html><head><title>404 - File or directory not found.</title></head></html>",
            ),
        }
    }

    fn unauthorized(&self, token: TokenState) -> Response {
        let config = &self.shared.config;
        let mut response = if self.scenario.switches.unauthorized_body {
            let (code, message) = match token {
                TokenState::Expired => ("0x8005F101", "The access token has expired."),
                _ => ("0x8004A102", "The ticket specified for authentication is invalid"),
            };
            refusal(401, code, message).answer(false)
        } else {
            plain(StatusCode::UNAUTHORIZED, "text/plain", Body::empty())
        };
        let challenge = format!(
            "Bearer authorization_uri={}/{}/oauth2/authorize, resource_id={}/",
            config.authority,
            builtin::TENANT,
            config.dataverse_url
        );
        put(&mut response, "www-authenticate", &challenge);
        response
    }

    fn common_headers(&self, server: usize, response: &mut Response) {
        let remaining = self.protection.remaining(server);
        let headers = response.headers_mut();
        headers.insert("odata-version", HeaderValue::from_static("4.0"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert("x-ms-dop-hint", HeaderValue::from(self.scenario.switches.dop_hint));
        headers.insert("x-ms-ratelimit-burst-remaining-xrm-requests", HeaderValue::from(remaining.requests));
        put(response, "set-cookie", &self.protection.cookie(server));
        // The service writes this one with a thousands separator.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1,200")]
        let (whole, cents) = (remaining.seconds as u64, (remaining.seconds.fract() * 100.0) as u64);
        let text = if whole >= 1000 {
            format!("{},{:03}.{cents:02}", whole / 1000, whole % 1000)
        } else {
            format!("{whole}.{cents:02}")
        };
        put(response, "x-ms-ratelimit-time-remaining-xrm-requests", &text);
        put(response, "x-ms-service-request-id", &uuid::Uuid::new_v4().to_string());
    }

    /// A batch takes turns with other requests by itself, part by part.
    fn dispatch(&self, parts: &Parts, bytes: &[u8], server: usize) -> Result<Answer, Refusal> {
        let last = parts.uri.path().rsplit('/').next().unwrap_or_default();
        if parts.method == Method::POST && matches!(last, "$batch" | "%24batch") {
            return self.batch(parts, bytes, server);
        }
        let _among = self.store.among();
        self.served(parts, bytes)
    }

    /// Counts a part of a batch towards the limits, or refuses it with the seconds to wait.
    pub(super) fn count_part(&self, server: usize) -> Result<(), Throttled> {
        self.protection.count_part(server, self.shared.clock.now_millis())
    }

    pub(super) fn served(&self, parts: &Parts, bytes: &[u8]) -> Result<Answer, Refusal> {
        let rest = parts.uri.path().strip_prefix("/api/data/").unwrap_or_default();
        let (version, rest) = rest.split_once('/').unwrap_or((rest, ""));
        if !matches!(version, "v9.0" | "v9.1" | "v9.2") {
            return Err(Refusal::request(format!("Requested API Version '{}' is not supported.", decode(version)?)));
        }
        let base = format!("{}/api/data/{version}/", self.shared.config.dataverse_url);
        let query = parts.uri.query().unwrap_or_default();
        // Segments are cut apart as they came and decoded one by one: `WhoAmI%28%29` is `WhoAmI()`.
        let path: Vec<String> = rest.trim_end_matches('/').split('/').map(decode).collect::<Result<_, _>>()?;
        let first = path.first().map_or("", String::as_str);
        let (name, argument) = match first.split_once('(') {
            Some((name, argument)) => (name, Some(argument)),
            None => (first, None),
        };
        let get = parts.method == Method::GET;
        match name {
            ""
            | "WhoAmI"
            | "EntityDefinitions"
            | "RelationshipDefinitions"
            | "GlobalOptionSetDefinitions"
            | "organizations"
            | "RetrieveTotalRecordCount"
            | "sdkmessagefilters"
                if !get =>
            {
                Err(Refusal::wrong_method(&parts.method))
            }
            "" => Ok(self.service_document(&base)),
            "WhoAmI" => Ok(who_am_i(&base)),
            "organizations" => self.organizations(&base, argument.is_some(), query),
            "RetrieveTotalRecordCount" => self.total_record_count(&base, argument.unwrap_or_default(), query),
            "sdkmessagefilters" if argument.is_none() => {
                message_filters(&self.reader(&base, None), Options::parse(query)?.get("$filter"))
            }
            "EntityDefinitions" | "RelationshipDefinitions" | "GlobalOptionSetDefinitions" => {
                metadata::answer(&self.store.schema, &base, &path, query)
            }
            "$batch" => Err(Refusal::wrong_method(&parts.method)),
            "$metadata" => Err(Refusal::not_imitated(name)),
            "systemusers" if get && privileges::is_asked(&path) => {
                privileges::answer(&self.store.schema, &self.scenario.switches.missing_privileges, &base, &path)
            }
            other if OTHER_SETS.contains(&other) && self.store.schema.by_set(other).is_none() => {
                Err(Refusal::not_imitated(&format!("the entity set {other}")))
            }
            other if OTHER_FUNCTIONS.contains(&other) => {
                Err(Refusal::not_imitated(&format!("the function or action {other}")))
            }
            _ => self.rows(parts, &base, &path, query, bytes),
        }
    }

    fn rows(&self, parts: &Parts, base: &str, path: &[String], query: &str, bytes: &[u8]) -> Result<Answer, Refusal> {
        let Resource { table, key } = resource(&self.store.schema, path.first().map_or("", String::as_str))?;
        let reader = self.reader(base, parts.extensions.get::<PendingFault>());
        let headers = &parts.headers;
        let rest: Vec<&str> = path.iter().skip(1).map(String::as_str).collect();
        let wrong_method = || Refusal::wrong_method(&parts.method);
        let missing = &self.scenario.switches.missing_privileges;
        privileges::check(missing, table, key.is_some(), &rest, &parts.method, headers)?;
        match (&key, rest.as_slice(), &parts.method) {
            (None, [], &Method::GET) => reader.list(table, query, headers),
            (None, [], &Method::POST) => reader.create(table, query, &json_body(headers)?, bytes),
            (None, [action], &Method::POST) if action.starts_with(NAMESPACE) => {
                json_body(headers)?;
                Options::parse(query)?.only_for_one()?;
                reader.multiple(table, action.trim_start_matches(NAMESPACE), bytes)
            }
            (None, ["$count"], &Method::GET) => reader.count(table, query),
            (Some(key), [], &Method::GET) => reader.single(table, key, query, headers),
            (Some(key), [], &Method::PATCH) => reader.patch(table, key, query, &json_body(headers)?, bytes),
            (Some(key), [], &Method::DELETE) => reader.delete(table, key, query, headers),
            (Some(key), [navigation], &Method::GET) if table.navigation(navigation).is_some() => {
                reader.follow(table, key, (navigation, false), query, headers)
            }
            (Some(key), [navigation, "$ref"], &Method::GET) => {
                reader.follow(table, key, (navigation, true), query, headers)
            }
            (Some(key), [property], &Method::GET) => reader.property(table, key, property, query, false),
            (Some(key), [property, "$value"], &Method::GET) => reader.property(table, key, property, query, true),
            (Some(key), [property], &Method::PUT) => reader.set_property(table, key, property, Some(bytes)),
            (Some(key), [property], &Method::DELETE) => reader.set_property(table, key, property, None),
            (Some(key), [navigation, "$ref"], &Method::PUT) => {
                reader.set_reference(table, key, navigation, Some(bytes))
            }
            (Some(key), [navigation, "$ref"], &Method::DELETE) => reader.set_reference(table, key, navigation, None),
            (_, [], _) => Err(wrong_method()),
            (_, [segment, ..], _) => Err(reader.no_such_navigation(table, segment)),
        }
    }

    fn service_document(&self, base: &str) -> Answer {
        let set = |t: &super::schema::Table| serde_json::json!({"name": t.set, "kind": "EntitySet", "url": t.set});
        let sets: Vec<_> = self.store.schema.tables.iter().map(set).collect();
        json(&serde_json::json!({"@odata.context": format!("{base}$metadata"), "value": sets}))
    }

    /// The one organization row: its id, name and how long change tracking remembers.
    fn organizations(&self, base: &str, one: bool, query: &str) -> Result<Answer, Refusal> {
        if !self.scenario.switches.organization_readable {
            let message = format!(
                "Principal user (Id={}, type=8, roleCount=1, privilegeCount=1, accessMode=4) is missing prvReadOrganization privilege on OTC=1019 for entity 'organization'.",
                row::guid(builtin::USER)
            );
            return Err(refusal(403, "0x80040220", message));
        }
        let options = Options::parse(query)?;
        let days = self.scenario.switches.expire_change_tracking_days;
        let mut all = serde_json::Map::new();
        all.insert("name".to_owned(), "sandbox".into());
        all.insert("expirechangetrackingindays".to_owned(), days.into());
        if let Some(select) = options.get("$select") {
            let names: Vec<&str> = select.split(',').map(str::trim).collect();
            if let Some(unknown) = names.iter().find(|n| !all.contains_key(**n) && **n != "organizationid") {
                return Err(Refusal::no_such_column("organization", unknown));
            }
            all.retain(|name, _| names.contains(&name.as_str()));
        }
        all.insert("@odata.etag".to_owned(), "W/\"1000\"".into());
        all.insert("organizationid".to_owned(), row::guid(builtin::ORGANIZATION).into());
        let context = format!("{base}$metadata#organizations");
        if one {
            all.insert("@odata.context".to_owned(), format!("{context}/$entity").into());
            return Ok(json(&all.into()));
        }
        Ok(json(&serde_json::json!({"@odata.context": context, "value": [all]})))
    }

    fn total_record_count(&self, base: &str, argument: &str, query: &str) -> Result<Answer, Refusal> {
        let names = argument.trim_end_matches(')').strip_prefix("EntityNames=").unwrap_or_default();
        let mut names = names.to_owned();
        if let Some(value) =
            names.strip_prefix('@').and_then(|_| Options::parse(query).ok()?.aliases.get(&names).cloned())
        {
            names = value;
        }
        let names: Vec<String> = serde_json::from_str(&names.replace('\'', "\""))
            .map_err(|_| Refusal::request("EntityNames is not a list of names."))?;
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for name in names {
            let table = self.store.schema.by_name(&name).ok_or_else(|| {
                refusal(404, "0x80040217", format!("The entity with a name = '{name}' was not found."))
            })?;
            values.push(self.store.read(table).by_id.len());
            keys.push(name);
        }
        let count = keys.len();
        Ok(json(&serde_json::json!({
            "@odata.context": format!("{base}$metadata#Microsoft.Dynamics.CRM.RetrieveTotalRecordCountResponse"),
            "EntityRecordCountCollection": {"Count": count, "IsReadOnly": false, "Keys": keys, "Values": values},
        })))
    }
}

fn who_am_i(base: &str) -> Answer {
    json(&serde_json::json!({
        "@odata.context": format!("{base}$metadata#Microsoft.Dynamics.CRM.WhoAmIResponse"),
        "BusinessUnitId": row::guid(builtin::BUSINESS_UNIT),
        "UserId": row::guid(builtin::USER),
        "OrganizationId": row::guid(builtin::ORGANIZATION),
    }))
}

async fn wait(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

async fn whole(body: Body) -> Result<Bytes, Refusal> {
    let too_long = |_| refusal(413, "0x80060888", "The request is too long.");
    axum::body::to_bytes(body, LARGEST_BODY).await.map_err(too_long)
}

/// The headers again, when the body calls itself JSON.
fn json_body(headers: &HeaderMap) -> Result<HeaderMap, Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if kind.to_ascii_lowercase().contains("json") {
        return Ok(headers.clone());
    }
    Err(refusal(415, "0x80060888", "The content type of the request is not supported: send application/json."))
}

fn json(value: &serde_json::Value) -> Answer {
    Answer { status: 200, body: value.to_string().into_bytes(), ..Answer::default() }
}

fn put(response: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
}

fn finished(answer: Answer) -> Response {
    let kind =
        if answer.plain { "text/plain" } else { "application/json; odata.metadata=minimal; odata.streaming=true" };
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let empty = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let mut response = plain(status, kind, answer.body);
    if empty {
        response.headers_mut().remove(header::CONTENT_TYPE);
    }
    for (name, value) in &answer.headers {
        put(&mut response, name, value);
    }
    response
}

async fn handle(State(service): State<Arc<DataverseService>>, request: Request) -> Response {
    service.answer(request).await
}
