//! The HTTP face: tokens, limits, routes, headers.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};

use super::error::{Refusal, refusal};
use super::limits::{Limits, Protection};
use super::path::{Resource, decode, resource};
use super::query::{Options, Prefer};
use super::read::{Answer, Reader};
use super::row;
use super::scenario::DataverseScenario;
use super::schema::Schema;
use super::seed::Seeder;
use super::store::Store;
use super::{builtin, metadata};
use crate::oauth::{TokenState, bearer};
use crate::service::{ExpireDelta, Shared, Side, plain};
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
    /// `http://host/api/data/v9.2/`
    base: String,
}

impl DataverseService {
    /// The service of a scenario, seeded.
    ///
    /// # Errors
    /// What in the scenario does not fit together: a lookup to a table that does not exist, for instance.
    pub fn new(scenario: &DataverseScenario, limits: Option<Limits>, shared: Arc<Shared>) -> Result<Arc<Self>, String> {
        let schema = Schema::build(scenario)?;
        let base = format!("{}/api/data/v9.2/", shared.config.dataverse_url);
        let service = Self {
            store: Store::new(schema),
            scenario: scenario.clone(),
            protection: Protection::new(limits),
            base,
            shared,
        };
        Seeder::fill(&service.store, service.shared.config.seed, service.shared.config.contacts, SEEDED_AT)?;
        Ok(Arc::new(service))
    }

    /// Serves `/api/data/...` and the token endpoint.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new().fallback(handle).with_state(self.clone())
    }

    pub(super) fn reader(&self, expire_delta: bool) -> Reader<'_> {
        Reader {
            store: &self.store,
            switches: &self.scenario.switches,
            base: &self.base,
            now: self.shared.clock.now_seconds(),
            expire_delta,
        }
    }

    async fn answer(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let bytes = match axum::body::to_bytes(body, LARGEST_BODY).await {
            Ok(bytes) => bytes,
            Err(_) => return refusal(413, "0x80060888", "The request is too long.").answer(false),
        };
        let path = parts.uri.path();
        if let Some((tenant, token)) = token_endpoints::authority_path(path) {
            let extended = self.scenario.switches.ext_expires_in;
            return token_endpoints::entra(&self.shared, tenant, token, &parts, &bytes, extended);
        }
        let Some(rest) = path.strip_prefix("/api/data/") else {
            return plain(
                StatusCode::NOT_FOUND,
                "text/html",
                "<html><head><title>404 - File or directory not found.</title></head></html>",
            );
        };
        let token = bearer(&parts.headers)
            .map_or(TokenState::Unknown, |token| self.shared.tokens.check(Side::Dataverse, token));
        if token != TokenState::Valid {
            return self.unauthorized(token);
        }
        let started = self.shared.clock.now_millis();
        let details = Prefer::parse(&parts.headers).wants("Microsoft.PowerApps.CDS.ErrorDetails.OperationStatus");
        let mut response = match self.protection.enter(started) {
            Err((refusal, wait)) => {
                let mut response = refusal.answer(details);
                put(&mut response, "retry-after", &wait.to_string());
                response
            }
            Ok(()) => {
                let answer = self.served(&parts, rest, &bytes);
                let millis = self.shared.clock.now_millis() - started;
                self.protection.leave(u64::try_from(millis).unwrap_or(0));
                match answer {
                    Ok(answer) => {
                        self.shared.counters.rows(Side::Dataverse, answer.rows);
                        finished(answer)
                    }
                    Err(refusal) => refusal.answer(details),
                }
            }
        };
        self.common_headers(&mut response);
        response
    }

    fn unauthorized(&self, token: TokenState) -> Response {
        let config = &self.shared.config;
        let mut response = if self.scenario.switches.unauthorized_body {
            let (code, message) = match token {
                TokenState::Expired => ("0x8005F101", "The access token has expired."),
                _ => ("0x80041D52", "The request is not authenticated."),
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

    fn common_headers(&self, response: &mut Response) {
        let remaining = self.protection.remaining();
        let headers = response.headers_mut();
        headers.insert("odata-version", HeaderValue::from_static("4.0"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert("x-ms-dop-hint", HeaderValue::from_static("4"));
        headers.insert(header::SET_COOKIE, HeaderValue::from_static("ARRAffinity=sandbox;Path=/;HttpOnly"));
        headers.insert("x-ms-ratelimit-burst-remaining-xrm-requests", HeaderValue::from(remaining.requests));
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

    fn served(&self, parts: &Parts, rest: &str, bytes: &[u8]) -> Result<Answer, Refusal> {
        let (version, rest) = rest.split_once('/').unwrap_or((rest, ""));
        if !matches!(version, "v9.0" | "v9.1" | "v9.2") {
            return Err(Refusal::request(format!("Requested API Version '{}' is not supported.", decode(version)?)));
        }
        let query = parts.uri.query().unwrap_or_default();
        let first = decode(rest.split(['/', '(']).next().unwrap_or_default())?;
        let get = parts.method == Method::GET;
        match first.as_str() {
            "" | "WhoAmI" | "EntityDefinitions" | "organizations" | "RetrieveTotalRecordCount" if !get => {
                Err(Refusal::wrong_method(&parts.method))
            }
            "" => Ok(self.service_document()),
            "WhoAmI" => Ok(self.who_am_i()),
            "organizations" => self.organizations(rest, query),
            "RetrieveTotalRecordCount" => self.total_record_count(rest, query),
            "EntityDefinitions" => {
                let path: Result<Vec<String>, Refusal> = rest.split('/').map(decode).collect();
                metadata::answer(&self.store.schema, &self.base, &path?, query)
            }
            "$metadata" => Err(Refusal::not_imitated("$metadata")),
            "$batch" => Err(Refusal::not_imitated("$batch")),
            _ => self.rows(parts, rest, query, bytes),
        }
    }

    fn rows(&self, parts: &Parts, path: &str, query: &str, bytes: &[u8]) -> Result<Answer, Refusal> {
        let Resource { table, key, rest } = resource(&self.store.schema, path)?;
        let reader = self.reader(parts.extensions.get::<ExpireDelta>().is_some());
        let headers = &parts.headers;
        let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
        let wrong_method = || Refusal::wrong_method(&parts.method);
        match (&key, rest.as_slice(), &parts.method) {
            (None, [], &Method::GET) => reader.list(table, query, headers),
            (None, [], &Method::POST) => reader.create(table, query, &json_body(headers)?, bytes),
            (None, ["$count"], &Method::GET) => reader.count(table, query),
            (Some(key), [], &Method::GET) => reader.single(table, key, query, headers),
            (Some(key), [], &Method::PATCH) => reader.patch(table, key, query, &json_body(headers)?, bytes),
            (Some(key), [], &Method::DELETE) => reader.delete(table, key, headers),
            (Some(key), [property], &Method::GET) => reader.property(table, key, property, false),
            (Some(key), [property, "$value"], &Method::GET) => reader.property(table, key, property, true),
            (Some(key), [property], &Method::PUT) => reader.set_property(table, key, property, Some(bytes)),
            (Some(key), [property], &Method::DELETE) => reader.set_property(table, key, property, None),
            (Some(key), [navigation, "$ref"], &Method::PUT) => {
                reader.set_reference(table, key, navigation, Some(bytes))
            }
            (Some(key), [navigation, "$ref"], &Method::DELETE) => reader.set_reference(table, key, navigation, None),
            (_, [], _) => Err(wrong_method()),
            (_, [segment, ..], _) => Err(Refusal::no_such_segment(segment)),
        }
    }

    fn service_document(&self) -> Answer {
        let set = |t: &super::schema::Table| serde_json::json!({"name": t.set, "kind": "EntitySet", "url": t.set});
        let sets: Vec<_> = self.store.schema.tables.iter().map(set).collect();
        json(&serde_json::json!({"@odata.context": format!("{}$metadata", self.base), "value": sets}))
    }

    fn who_am_i(&self) -> Answer {
        json(&serde_json::json!({
            "@odata.context": format!("{}$metadata#Microsoft.Dynamics.CRM.WhoAmIResponse", self.base),
            "BusinessUnitId": row::guid(builtin::BUSINESS_UNIT),
            "UserId": row::guid(builtin::USER),
            "OrganizationId": row::guid(builtin::ORGANIZATION),
        }))
    }

    /// The one organization row: its id, name and how long change tracking remembers.
    fn organizations(&self, path: &str, query: &str) -> Result<Answer, Refusal> {
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
        let context = format!("{}$metadata#organizations", self.base);
        if path.contains('(') {
            all.insert("@odata.context".to_owned(), format!("{context}/$entity").into());
            return Ok(json(&all.into()));
        }
        Ok(json(&serde_json::json!({"@odata.context": context, "value": [all]})))
    }

    fn total_record_count(&self, path: &str, query: &str) -> Result<Answer, Refusal> {
        let path = decode(path)?;
        let mut names =
            path.split_once("EntityNames=").map(|(_, rest)| rest.trim_end_matches(')').to_owned()).unwrap_or_default();
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
            "@odata.context": format!("{}$metadata#Microsoft.Dynamics.CRM.RetrieveTotalRecordCountResponse", self.base),
            "EntityRecordCountCollection": {"Count": count, "IsReadOnly": false, "Keys": keys, "Values": values},
        })))
    }
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
