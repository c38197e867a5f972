//! The HTTP face of the journal: tokens, parameters, pages and links.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::json;

use super::envelope;
use super::feed::{Feed, Found, From};
use super::mail_log::MailLog;
use super::maker::{Made, MailPlan};
use super::position;
use super::switches::{JournalScenario, LinkForm};
use crate::oauth::{TokenState, bearer};
use crate::service::{Shared, Side, plain};

/// Seconds that a reader at the end is asked to wait.
const RETRY_AFTER: &str = "10";
/// Bytes above which a page takes no further event.
const LARGEST_PAGE: usize = 1_500_000;
/// Most events that are looked at for a page.
const MOST_EVENTS: u64 = 10_000;
const DAY: i64 = 86_400_000;

/// Where the journal is.
#[derive(Debug, Clone)]
pub(crate) struct JournalAddress {
    /// `http://127.0.0.1:4103`
    pub(crate) origin: String,
}

impl JournalAddress {
    const PATH: &'static str = "/events/organizations/1/integrations/2/9c3a4b0e-58f2-4a77-8f0d-1e6b7a2c4d5e";

    /// The address of the registration.
    pub(crate) fn url(&self) -> String {
        format!("{}{}", self.origin, Self::PATH)
    }
}

/// The journal of one registration.
#[derive(Debug)]
pub(crate) struct JournalService {
    shared: Arc<Shared>,
    address: JournalAddress,
    scenario: JournalScenario,
    links: Mutex<LinkForm>,
    log: MailLog,
    feed: Feed,
}

impl JournalService {
    pub(crate) fn new(scenario: &JournalScenario, address: JournalAddress, shared: Arc<Shared>) -> Arc<Self> {
        let links = Mutex::new(scenario.links);
        let (log, feed) = (MailLog::default(), Feed::default());
        Arc::new(Self { shared, address, scenario: scenario.clone(), links, log, feed })
    }

    /// Serves the registration's address, with `/events` before it and without: older addresses lack it.
    pub(crate) fn router(self: &Arc<Self>) -> Router {
        Router::new().fallback(handle).with_state(self.clone())
    }

    /// Every event that was made, delivered or not.
    pub(crate) fn log(&self) -> &MailLog {
        &self.log
    }

    /// Makes events and delivers them. Gives the number of deliveries, too.
    pub(crate) fn make(&self, plan: &MailPlan, contacts: &[(u128, String)]) -> Result<(Made, usize), String> {
        let now = self.shared.clock.now_millis();
        let made = self.log.make(plan, contacts, now)?;
        self.feed.append(&made.deliveries, now);
        let deliveries = made.deliveries.len();
        Ok((made, deliveries))
    }

    /// Other links from now on.
    pub(crate) fn set_links(&self, form: LinkForm) {
        *self.links.lock().unwrap_or_else(PoisonError::into_inner) = form;
    }

    /// Lets the oldest deliveries expire; tells how many did.
    pub(crate) fn expire(&self, count: usize) -> usize {
        self.feed.drop_oldest(count, self.keep_since())
    }

    fn keep_since(&self) -> i64 {
        self.shared.clock.now_millis() - i64::from(self.scenario.retention_days) * DAY
    }

    /// The gateway's checks, and whose journal it is.
    fn gateway(&self, headers: &HeaderMap) -> Option<Response> {
        let config = &self.shared.config;
        let valid = |token: &&str| self.shared.tokens.check(Side::Campaign, token) == TokenState::Valid;
        let is = |name: &str, wanted: &str| headers.get(name).map(HeaderValue::as_bytes) == Some(wanted.as_bytes());
        if bearer(headers).filter(valid).is_none() {
            return Some(gateway(401, "401013", "Oauth token is not valid"));
        }
        if !is("x-api-key", &config.campaign_client_id) {
            return Some(gateway(403, "403000", "Api Key is invalid"));
        }
        if !is("x-ims-org-id", &config.org_id) {
            return Some(gateway(403, "403025", "Profile is not valid"));
        }
        None
    }

    fn serve(&self, request: &Request) -> Response {
        if let Some(refused) = self.gateway(request.headers()) {
            return refused;
        }
        let path = request.uri().path();
        let short = JournalAddress::PATH.strip_prefix("/events").unwrap_or_default();
        if path != JournalAddress::PATH && path != short {
            return plain(StatusCode::NOT_FOUND, "text/plain", "No journal of that registration.");
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "text/plain", Body::empty());
        }
        let asked = match Asked::read(request.uri().query().unwrap_or_default(), self.shared.clock.now_millis()) {
            Ok(asked) => asked,
            Err(problem) => return plain(StatusCode::BAD_REQUEST, "text/plain", problem),
        };
        let limit = asked.limit.unwrap_or(self.scenario.page_size).clamp(1, MOST_EVENTS);
        let found = self.feed.read(asked.from, usize::try_from(limit).unwrap_or(usize::MAX), self.keep_since());
        let links = Links {
            form: *self.links.lock().unwrap_or_else(PoisonError::into_inner),
            absolute: request.headers().get("x-adobe-io-events-url-links").is_some_and(|asked| asked == "true"),
            origin: &self.address.origin,
            path,
            limit: asked.limit,
        };
        match found {
            Found::Unknown => plain(StatusCode::BAD_REQUEST, "text/plain", "The position is not valid."),
            Found::Expired => {
                let since = asked.since.unwrap_or_default();
                plain(StatusCode::GONE, "text/plain", format!("Events at position {since} have expired."))
            }
            Found::End(after) => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::NO_CONTENT;
                put(&mut response, "retry-after", RETRY_AFTER);
                // The same address again, but for the one that leads to the end wherever that is.
                let own = request.uri().query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
                let next = match asked.from {
                    From::Latest | From::Arrived(_) => links.since(after),
                    From::Oldest | From::After(_) => own,
                };
                put(&mut response, "link", &links.link(&next, "next"));
                let validate = format!("{path}/validate?since={}", encoded(&position::write(after)));
                put(&mut response, "link", &links.link(&validate, "validate"));
                response
            }
            Found::Events { after, events } => self.page(after, &events, &links),
        }
    }

    fn page(&self, after: u64, numbers: &[u32], links: &Links<'_>) -> Response {
        let mut body = String::from("{\"events\":[");
        let mut count = 0_u64;
        let mut last = String::new();
        for event in self.log.pick(numbers) {
            let wrapped = envelope::wrap(&event, self.scenario.envelope, &self.shared.config.campaign_client_id);
            let at = position::write(after + count + 1);
            let line = json!({"position": at, "event": wrapped}).to_string();
            if count > 0 && body.len() + line.len() > LARGEST_PAGE {
                break;
            }
            if count > 0 {
                body.push(',');
            }
            body.push_str(&line);
            count += 1;
            last = at;
        }
        body.push_str("],\"_page\":");
        body.push_str(&json!({"last": last, "count": count}).to_string());
        body.push('}');
        self.shared.counters.rows(Side::Journal, count);
        let mut response = plain(StatusCode::OK, "application/json", body);
        put(&mut response, "link", &links.link(&links.since(after + count), "next"));
        response
    }
}

async fn handle(State(service): State<Arc<JournalService>>, request: Request) -> Response {
    service.serve(&request)
}

fn gateway(status: u16, code: &str, message: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
    plain(status, "application/json", json!({"error_code": code, "message": message}).to_string())
}

fn put(response: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().append(name, value);
    }
}

/// The parameters of a request.
struct Asked {
    from: From,
    limit: Option<u64>,
    /// The position as given.
    since: Option<String>,
}

impl Asked {
    fn read(query: &str, now: i64) -> Result<Self, &'static str> {
        let (mut since, mut seek, mut latest, mut limit) = (None, None, false, None);
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "since" => since = Some(value.into_owned()),
                "seek" => seek = Some(position::read_seek(&value).ok_or("The seek is not a negative duration.")?),
                "latest" => latest = value == "true",
                "limit" => limit = Some(value.parse().ok().filter(|l| *l > 0).ok_or("The limit is not a number.")?),
                _ => {}
            }
        }
        let from = match (&since, seek) {
            (Some(_), Some(_)) => return Err("since and seek exclude each other."),
            _ if latest => From::Latest,
            (Some(since), None) => From::After(position::read(since).ok_or("The position is not valid.")?),
            (None, Some(back)) => From::Arrived(now.saturating_sub(back)),
            (None, None) => From::Oldest,
        };
        Ok(Self { from, limit, since })
    }
}

/// Writes the links of one answer.
struct Links<'a> {
    form: LinkForm,
    /// The request asked for whole addresses.
    absolute: bool,
    origin: &'a str,
    path: &'a str,
    limit: Option<u64>,
}

impl Links<'_> {
    /// What comes behind so many deliveries; the limit is carried on.
    fn since(&self, after: u64) -> String {
        let mut address = format!("{}?since={}", self.path, encoded(&position::write(after)));
        if let Some(limit) = self.limit {
            address.push_str(&format!("&limit={limit}"));
        }
        address
    }

    fn link(&self, path: &str, relation: &str) -> String {
        let origin = match self.form {
            LinkForm::Absolute => self.origin,
            LinkForm::AsAsked if self.absolute => self.origin,
            LinkForm::Relative | LinkForm::AsAsked => "",
            LinkForm::Foreign => "https://events-elsewhere.invalid",
        };
        format!("<{origin}{path}>; rel=\"{relation}\"")
    }
}

/// Colons stand as they are in real positions; here they are encoded, which is as good.
fn encoded(position: &str) -> String {
    position.replace(':', "%3A")
}
