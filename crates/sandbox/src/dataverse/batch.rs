//! `$batch`: many requests in one, and change sets (learn.microsoft.com, "Execute batch operations using the Web API").

use std::collections::BTreeMap;
use std::fmt::Write as _;

use http::request::Parts;
use http::{StatusCode, header};
use serde_json::value::RawValue;

use super::error::{Refusal, refusal};
use super::multipart::{Item, PartRequest, boundary, items, no_boundary};
use super::query::Prefer;
use super::read::Answer;
use super::service::DataverseService;
use crate::injection::PendingFault;
use crate::route::route;
use crate::service::Side;

/// Requests of a batch, those in change sets included.
const MOST_REQUESTS: usize = 1000;

/// What one request of a batch came to.
struct Outcome {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    rows: u64,
}

/// A batch while it is carried out.
struct Run<'a> {
    service: &'a DataverseService,
    outer: &'a Parts,
    /// `/api/data/v9.2/`: relative URLs continue it.
    base: &'a str,
    server: usize,
    /// Requests that were counted towards the limits; the first is the batch itself.
    counted: usize,
    rows: u64,
    out: Vec<u8>,
}

impl DataverseService {
    /// `POST $batch`. Requests outside of change sets are carried out one by one, each for itself.
    pub(super) fn batch(&self, parts: &Parts, bytes: &[u8], server: usize) -> Result<Answer, Refusal> {
        let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let items = items(bytes, &boundary(kind).ok_or_else(no_boundary)?)?;
        let size = |item: &Item| if let Item::ChangeSet(members) = item { members.len() } else { 1 };
        let count: usize = items.iter().map(size).sum();
        if count > MOST_REQUESTS {
            let message = format!("The batch holds {count} requests, and {MOST_REQUESTS} are allowed.");
            return Err(Refusal::request(message));
        }
        let path = parts.uri.path();
        let base = path.get(..path.rfind('/').map_or(0, |at| at + 1)).unwrap_or_default();
        let goes_on = Prefer::parse(&parts.headers).continue_on_error;
        let boundary = format!("batchresponse_{}", uuid::Uuid::new_v4());
        let mut run = Run { service: self, outer: parts, base, server, counted: 0, rows: 0, out: Vec::new() };
        let mut status = 200;
        for item in items {
            let failed = match item {
                Item::Single(request) => run.single(&request, &boundary),
                Item::ChangeSet(members) => run.change_set(members, &boundary),
            };
            if let Some(failure) = failed.filter(|_| !goes_on) {
                // What follows is not carried out, and what was stays.
                status = failure;
                break;
            }
        }
        run.out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        let mut headers = vec![("content-type", format!("multipart/mixed; boundary={boundary}"))];
        if goes_on {
            headers.push(("preference-applied", "odata.continue-on-error".to_owned()));
        }
        Ok(Answer { status, headers, body: run.out, rows: run.rows, ..Answer::default() })
    }
}

impl Run<'_> {
    /// Gives the status of a failure.
    fn single(&mut self, request: &PartRequest, boundary: &str) -> Option<u16> {
        let outcome = match self.let_in() {
            Ok(()) => {
                let _among = self.service.store.among();
                self.carried_out(request, &BTreeMap::new())
            }
            Err(throttled) => throttled,
        };
        self.rows += outcome.rows;
        self.show(boundary, request.content_id.as_deref(), &outcome);
        (outcome.status >= 400).then_some(outcome.status)
    }

    /// All of the requests or none; one failure answers for all of them.
    fn change_set(&mut self, members: Vec<PartRequest>, boundary: &str) -> Option<u16> {
        let mut done: Vec<(String, Outcome)> = Vec::new();
        let mut made: BTreeMap<String, String> = BTreeMap::new();
        let mut failure = None;
        let alone = self.service.store.alone();
        for request in members {
            let id = request.content_id.clone().unwrap_or_default();
            let outcome = match self.let_in() {
                Ok(()) if made.contains_key(&id) => self.refused(
                    &Refusal::request(format!("The Content-ID '{id}' is there twice in the change set.")),
                    &request,
                ),
                Ok(()) => self.carried_out(&request, &made),
                Err(throttled) => throttled,
            };
            if outcome.status >= 400 {
                failure = Some((id, outcome));
                break;
            }
            let entity = outcome.headers.iter().find(|(name, _)| *name == "odata-entityid");
            made.insert(id.clone(), entity.map(|(_, url)| url.clone()).unwrap_or_default());
            done.push((id, outcome));
        }
        if failure.is_none() {
            alone.commit();
        } else {
            drop(alone);
        }
        let inner = format!("changesetresponse_{}", uuid::Uuid::new_v4());
        self.line(&format!("--{boundary}"));
        self.line(&format!("Content-Type: multipart/mixed; boundary={inner}"));
        self.line("");
        let status = if let Some((id, outcome)) = &failure {
            self.show(&inner, Some(id), outcome);
            Some(outcome.status)
        } else {
            for (id, outcome) in &done {
                self.rows += outcome.rows;
                self.show(&inner, Some(id), outcome);
            }
            None
        };
        self.line(&format!("--{inner}--"));
        status
    }

    /// Each request counts towards the limits; the first is counted as the batch came in.
    fn let_in(&mut self) -> Result<(), Outcome> {
        self.counted += 1;
        if self.counted == 1 {
            return Ok(());
        }
        self.service.count_part(self.server).map_err(|(refusal, wait)| {
            let mut outcome = plain_refusal(&refusal, false);
            outcome.headers.push(("retry-after", wait.to_string()));
            outcome
        })
    }

    fn carried_out(&self, request: &PartRequest, made: &BTreeMap<String, String>) -> Outcome {
        match self.answered(request, made) {
            Ok(Answer { status, mut headers, body, rows, plain }) => {
                if plain {
                    headers.push(("content-type", "text/plain".to_owned()));
                }
                Outcome { status, headers, body, rows }
            }
            Err(refusal) => self.refused(&refusal, request),
        }
    }

    fn refused(&self, refusal: &Refusal, request: &PartRequest) -> Outcome {
        let details = Prefer::parse(&request.headers).wants("Microsoft.PowerApps.CDS.ErrorDetails.OperationStatus");
        plain_refusal(refusal, details)
    }

    fn answered(&self, request: &PartRequest, made: &BTreeMap<String, String>) -> Result<Answer, Refusal> {
        let mut path = request.path_and_query(self.base)?;
        if let Some(at) = path.find("/$").filter(|at| path[at + 2..].starts_with(|c: char| c.is_ascii_digit())) {
            let end = path[at + 2..].find(['/', '?', '(']).map_or(path.len(), |end| at + 2 + end);
            let url = referred(&path[at + 1..end], made)?;
            let entity = url.split_once("://").and_then(|(_, rest)| rest.find('/').and_then(|at| rest.get(at..)));
            path = format!("{}{}", entity.unwrap_or_default(), &path[end..]);
        }
        let known = route(Side::Dataverse, &request.method, path.split('?').next().unwrap_or_default());
        self.service.shared.counters.batch_part(Side::Dataverse, &known.template);
        let body = bound(&request.body, made)?;
        let unreadable = |_| Refusal::request("The URL of a part of the batch cannot be read.");
        let built = http::Request::builder().method(request.method.clone()).uri(path.as_str()).body(());
        let (mut parts, ()) = built.map_err(unreadable)?.into_parts();
        if !parts.uri.path().starts_with("/api/data/") {
            return Err(Refusal::no_such_segment(parts.uri.path()));
        }
        parts.headers = request.headers.clone();
        if let Some(fault) = self.outer.extensions.get::<PendingFault>() {
            parts.extensions.insert(fault.clone());
        }
        self.service.served(&parts, &body)
    }

    fn line(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    fn show(&mut self, boundary: &str, content_id: Option<&str>, outcome: &Outcome) {
        let reason = StatusCode::from_u16(outcome.status).ok().and_then(|status| status.canonical_reason());
        let mut head =
            format!("--{boundary}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n");
        if let Some(id) = content_id {
            let _ = write!(head, "Content-ID: {id}\r\n");
        }
        let _ = write!(head, "\r\nHTTP/1.1 {} {}\r\n", outcome.status, reason.unwrap_or_default());
        if !outcome.body.is_empty() && !outcome.headers.iter().any(|(name, _)| *name == "content-type") {
            head.push_str("Content-Type: application/json; odata.metadata=minimal\r\n");
        }
        for (name, value) in &outcome.headers {
            match *name {
                "odata-entityid" => {
                    let _ = write!(head, "Location: {value}\r\nOData-EntityId: {value}\r\n");
                }
                "etag" => {
                    let _ = write!(head, "ETag: {value}\r\n");
                }
                name => {
                    let _ = write!(head, "{name}: {value}\r\n");
                }
            }
        }
        if outcome.status >= 400 {
            let _ = write!(head, "REQ_ID: {}\r\n", uuid::Uuid::new_v4());
        }
        head.push_str("OData-Version: 4.0\r\n");
        self.line(&head);
        self.out.extend_from_slice(&outcome.body);
        self.line("");
    }
}

fn plain_refusal(refusal: &Refusal, details: bool) -> Outcome {
    Outcome { status: refusal.status, headers: Vec::new(), body: refusal.body(details).into_bytes(), rows: 0 }
}

/// The URL of the row that an earlier request of the change set wrote; `reference` is `$1`.
fn referred<'m>(reference: &str, made: &'m BTreeMap<String, String>) -> Result<&'m str, Refusal> {
    let found = made.get(reference.trim_start_matches('$')).filter(|url| !url.is_empty());
    found.map(String::as_str).ok_or_else(|| {
        refusal(400, "0x80060888", format!("Content-ID Reference: '{reference}' does not exist in the batch context."))
    })
}

/// The body with `$1` in the place of a row's address resolved.
fn bound(body: &[u8], made: &BTreeMap<String, String>) -> Result<Vec<u8>, Refusal> {
    let Ok(mut members) = serde_json::from_slice::<BTreeMap<String, Box<RawValue>>>(body) else {
        // Whatever it is, its own route says what it thinks of it.
        return Ok(body.to_vec());
    };
    let mut changed = false;
    for (name, raw) in &mut members {
        if !name.ends_with("@odata.bind") {
            continue;
        }
        let Ok(text) = serde_json::from_str::<String>(raw.get()) else { continue };
        if text.strip_prefix('$').is_some_and(|id| id.starts_with(|c: char| c.is_ascii_digit())) {
            let url = serde_json::value::to_raw_value(referred(&text, made)?);
            *raw = url.map_err(|_| Refusal::request("A reference cannot be written."))?;
            changed = true;
        }
    }
    if !changed {
        return Ok(body.to_vec());
    }
    serde_json::to_vec(&members).map_err(|_| Refusal::request("A reference cannot be written."))
}
