//! Scripted faults carried out: what becomes of a request that a rule hits, and of its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request};
use axum::middleware::Next;
use axum::response::Response;
use futures::StreamExt as _;
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::bomb;
use crate::connection::Connection;
use crate::faults::{FaultKind, FaultRule, Firing};
use crate::oauth::bearer;
use crate::service::{InFlight, Shared, Side, Unanswered, carry_out, deliver, plain, wait};

/// A fault that only the handler can bring about, in a request's extensions. The handler says when it did: a rule whose fault
/// found nothing to act on has not fired.
#[derive(Debug, Clone)]
pub(crate) struct PendingFault {
    kind: FaultKind,
    delay: Duration,
    done: Arc<AtomicBool>,
}

impl PendingFault {
    /// Whether this is the fault. `true` is a promise that it is carried out.
    pub(crate) fn take(&self, kind: FaultKind) -> bool {
        let same = self.kind == kind;
        if same {
            self.done.store(true, Ordering::Relaxed);
        }
        same
    }

    /// Whether a look-up that lags misses a row that was created `age` milliseconds ago. `true` is a promise.
    pub(crate) fn misses(&self, age: i64) -> bool {
        let young = self.delay.is_zero() || u128::try_from(age).is_ok_and(|age| age < self.delay.as_millis());
        young && self.take(FaultKind::LookupLag)
    }
}

/// Carries out the fault of a rule that fired.
pub(crate) async fn injure(
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
    if !rule.fault.has_its_own_delay() {
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
        FaultKind::CloseOnReuse => {
            let response = carry_out(side, shared, request, next, in_flight).await;
            if let Some(connection) = &connection {
                connection.cut_on_reuse();
            }
            response
        }
        FaultKind::Truncate => truncate(carry_out(side, shared, request, next, in_flight).await).await,
        FaultKind::Drip => drip(carry_out(side, shared, request, next, in_flight).await, delay).await,
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
            let request = whole(request).await;
            let late = async move {
                wait(delay).await;
                next.run(request).await;
                drop(in_flight);
            };
            tokio::spawn(late);
            plain(StatusCode::GATEWAY_TIMEOUT, "text/plain", "GatewayTimeout")
        }
        FaultKind::Duplicate => {
            let (first, second) = copies(request).await;
            let shared = shared.clone();
            // Both go on to their end when the client leaves. Nobody gets the second answer.
            let both = async move {
                let answer = carry_out(side, &shared, first, next.clone(), in_flight).await;
                deliver(side, &shared, second, next).await;
                answer
            };
            tokio::spawn(both).await.unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", ""))
        }
        FaultKind::Throttle => throttled(side, rule),
        FaultKind::GzipBomb => exploding(rule),
        FaultKind::Endless => endless(rule),
        FaultKind::ExpireToken => {
            if let Some(token) = bearer(request.headers()) {
                shared.tokens.expire(token);
            }
            carry_out(side, shared, request, next, in_flight).await
        }
        kind @ (FaultKind::ExpireDelta
        | FaultKind::StaleNextLink
        | FaultKind::EmptyPage
        | FaultKind::ResendRows
        | FaultKind::UnseenDelete
        | FaultKind::NoLink
        | FaultKind::LookupLag) => {
            let done = Arc::new(AtomicBool::new(false));
            request.extensions_mut().insert(PendingFault { kind, delay, done: done.clone() });
            let response = carry_out(side, shared, request, next, in_flight).await;
            if !done.load(Ordering::Relaxed) {
                shared.faults.take_back(&firing);
            }
            response
        }
        kind @ (FaultKind::ForeignNextLink | FaultKind::RepeatPage) => {
            let own = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
            let response = carry_out(side, shared, request, next, in_flight).await;
            let (response, changed) = match kind {
                _ if side == Side::Journal => journal_links(kind, &own, response),
                FaultKind::RepeatPage => repeated(side, shared, &own, response).await,
                _ => foreign_links(side, shared, response).await,
            };
            if !changed {
                shared.faults.take_back(&firing);
            }
            response
        }
    }
}

/// The request with its body at hand.
async fn whole(request: Request) -> Request {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, LARGEST).await.unwrap_or_default();
    Request::from_parts(parts, Body::from(bytes))
}

async fn copies(request: Request) -> (Request, Request) {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, LARGEST).await.unwrap_or_default();
    (Request::from_parts(parts.clone(), Body::from(bytes.clone())), Request::from_parts(parts, Body::from(bytes)))
}

fn default_body(side: Side) -> &'static str {
    match side {
        Side::Dataverse => r#"{"error":{"code":"0x8005F103","message":"The service is unavailable."}}"#,
        Side::Campaign | Side::Journal => {
            r#"{"code":502,"message":"Oops. Something went wrong. Check your URI and try again."}"#
        }
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
        Side::Campaign | Side::Journal => r#"{"error_code":"429050","message":"Too many requests"}"#,
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

/// The answer byte by byte.
async fn drip(response: Response, pause: Duration) -> Response {
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, LARGEST).await.unwrap_or_default();
    let pause = if pause.is_zero() { Duration::from_secs(1) } else { pause };
    let drops = futures::stream::iter(0..bytes.len()).then(move |at| {
        let drop = bytes.slice(at..=at);
        async move {
            wait(pause).await;
            Ok::<_, std::convert::Infallible>(drop)
        }
    });
    Response::from_parts(parts, Body::from_stream(drops))
}

/// A small answer that becomes a big one when it is decompressed.
fn exploding(rule: &FaultRule) -> Response {
    let mut response = scripted(rule, 200, "application/json", "");
    response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    *response.body_mut() = Body::from(bomb::gzip(1024));
    response
}

/// A list that begins and never ends.
fn endless(rule: &FaultRule) -> Response {
    let mut response = scripted(rule, 200, "application/json", "");
    let beginning = futures::stream::once(async { Bytes::from_static(br#"{"value":["#) });
    let rest = futures::stream::repeat(Bytes::from_static(&[b' '; 16 * 1024]));
    *response.body_mut() = Body::from_stream(beginning.chain(rest).map(Ok::<_, std::convert::Infallible>));
    response
}

/// What stands before a next link in an answer.
fn next_opening(side: Side) -> &'static str {
    match side {
        Side::Dataverse => r#""@odata.nextLink":""#,
        // The journal's links stand in its headers.
        Side::Campaign | Side::Journal => r#""next":{"href":""#,
    }
}

/// Makes the next link lead to the page that it came with. `false`: the answer has none.
async fn repeated(side: Side, shared: &Shared, own: &str, response: Response) -> (Response, bool) {
    let (mut parts, body) = response.into_parts();
    let whole = axum::body::to_bytes(body, LARGEST).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&whole);
    let opening = next_opening(side);
    // Links are percent-encoded: no quote stands within one.
    let found = text.find(opening).map(|at| at + opening.len());
    let Some((start, end)) = found.and_then(|start| Some((start, start + text.get(start..)?.find('"')?))) else {
        drop(text);
        return (Response::from_parts(parts, Body::from(whole)), false);
    };
    let origin = match side {
        Side::Dataverse => &shared.config.dataverse_url,
        Side::Campaign | Side::Journal => &shared.config.ims_url,
    };
    let changed = format!("{}{origin}{own}{}", &text[..start], &text[end..]);
    parts.headers.remove(header::CONTENT_LENGTH);
    (Response::from_parts(parts, Body::from(changed)), true)
}

/// The same two faults for the links of the journal, which stand in headers. `false`: the answer has none.
fn journal_links(kind: FaultKind, own: &str, mut response: Response) -> (Response, bool) {
    let mut changed = false;
    let http::header::Entry::Occupied(mut links) = response.headers_mut().entry(header::LINK) else {
        return (response, false);
    };
    for value in links.iter_mut() {
        let Some((target, rest)) = value.to_str().ok().and_then(|link| link.strip_prefix('<')?.split_once('>')) else {
            continue;
        };
        let path = target.find("/events/").map_or(target, |at| &target[at..]);
        let other = match kind {
            FaultKind::RepeatPage if rest.contains("next") => format!("<{own}>{rest}"),
            FaultKind::RepeatPage => continue,
            _ => format!("<https://elsewhere.invalid{path}>{rest}"),
        };
        if let Ok(other) = HeaderValue::from_str(&other) {
            *value = other;
            changed = true;
        }
    }
    (response, changed)
}

/// Sends continuation links to another host. `false`: the answer holds none.
async fn foreign_links(side: Side, shared: &Shared, response: Response) -> (Response, bool) {
    let (mut parts, body) = response.into_parts();
    let whole = axum::body::to_bytes(body, LARGEST).await.unwrap_or_default();
    let (opening, origin): (&[&str], &str) = match side {
        Side::Dataverse => (&[next_opening(side), r#""@odata.deltaLink":""#], shared.config.dataverse_url.as_str()),
        Side::Campaign | Side::Journal => (&[next_opening(side)], shared.config.campaign_url.as_str()),
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
