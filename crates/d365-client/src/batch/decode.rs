//! The answer of a batch, taken apart. Pure; tolerant of what readers are known to stumble over: a quoted boundary, line ends
//! without CR, a status of the whole that is not 200.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{Batch, Item, Outcome, PartAnswer, PartOutcome, SetOutcome};
use crate::error::Error;

/// Headers that a part may have.
const MAX_HEADERS: usize = 64;

/// The longest boundary (RFC 2046, 5.1.1).
const MAX_BOUNDARY: usize = 70;

/// Whether an answer comes in several parts.
pub(crate) fn is_multipart(content_type: &str) -> bool {
    content_type.trim_start().get(..15).is_some_and(|start| start.eq_ignore_ascii_case("multipart/mixed"))
}

/// Decodes the answer to a batch: one outcome for each member, in order.
///
/// # Errors
/// [`ErrorKind::Decode`](crate::ErrorKind::Decode) when the body is no such answer: not in parts, cut off, with more parts
/// than the batch has members, or with fewer although nothing failed.
pub fn decode_batch(batch: &Batch, content_type: &str, body: &Bytes) -> Result<Vec<Outcome>, Error> {
    decode(batch, content_type, body, false)
}

pub(super) fn decode(
    batch: &Batch,
    content_type: &str,
    body: &Bytes,
    maybe_before: bool,
) -> Result<Vec<Outcome>, Error> {
    let parts = split(body, &boundary(content_type)?, batch.items.len())?;
    let mut outcomes = Vec::with_capacity(batch.items.len());
    let mut failed = false;
    for (item, part) in batch.items.iter().zip(parts) {
        let outcome = match item {
            Item::Single(_) => match answer(content(&part)?.1, maybe_before)? {
                Ok(done) => PartOutcome::Done(done).into(),
                Err(refused) => PartOutcome::Refused(refused).into(),
            },
            Item::Set(set) => Outcome::Set(change_set(&part, set.requests.len(), maybe_before)?),
        };
        failed |= matches!(outcome, Outcome::Single(PartOutcome::Refused(_)) | Outcome::Set(SetOutcome::Refused(_)));
        outcomes.push(outcome);
    }
    if outcomes.len() < batch.items.len() && (!failed || batch.goes_on) {
        return Err(Error::shape("an answer for each member of a batch"));
    }
    for item in batch.items.iter().skip(outcomes.len()) {
        outcomes.push(match item {
            Item::Single(_) => PartOutcome::NotExecuted.into(),
            Item::Set(_) => Outcome::Set(SetOutcome::NotExecuted),
        });
    }
    Ok(outcomes)
}

impl From<PartOutcome> for Outcome {
    fn from(outcome: PartOutcome) -> Self {
        Self::Single(outcome)
    }
}

/// The answers of a change set, or the one error for all of its members. The error comes wrapped as the answers do, or
/// stands alone.
fn change_set(part: &Bytes, members: usize, maybe_before: bool) -> Result<SetOutcome, Error> {
    let (headers, body) = content(part)?;
    let kind = text(&headers, "content-type");
    if !is_multipart(kind) {
        return match answer(body, maybe_before)? {
            Err(refused) => Ok(SetOutcome::Refused(refused)),
            Ok(_) => Err(Error::shape("the answers of a change set in parts of their own")),
        };
    }
    let mut done = Vec::with_capacity(members);
    for part in split(&body, &boundary(kind)?, members)? {
        match answer(content(&part)?.1, maybe_before)? {
            Ok(answer) => done.push(answer),
            Err(refused) => return Ok(SetOutcome::Refused(refused)),
        }
    }
    if done.len() == members {
        Ok(SetOutcome::Done(done))
    } else {
        Err(Error::shape("an answer for each write of a change set"))
    }
}

/// The boundary that a content type names, quoted or not.
fn boundary(content_type: &str) -> Result<String, Error> {
    let named = content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
    });
    let named = named.filter(|value| (1..=MAX_BOUNDARY).contains(&value.len()));
    named.map(str::to_owned).ok_or_else(|| Error::shape("the boundary of an answer in parts"))
}

/// What lies between the delimiters: lines of their own that begin with two hyphens and the boundary.
fn split(body: &Bytes, boundary: &str, most: usize) -> Result<Vec<Bytes>, Error> {
    let delimiter = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut from: Option<usize> = None;
    let mut at = 0;
    while at < body.len() {
        let rest = &body[at..];
        let next = memchr::memchr(b'\n', rest).map_or(body.len(), |end| at + end + 1);
        let line = body[at..next].trim_ascii_end();
        let after = line.strip_prefix(delimiter.as_bytes());
        if let Some(after @ (b"" | b"--")) = after {
            if let Some(from) = from {
                if parts.len() == most {
                    return Err(Error::shape("no more answers than requests"));
                }
                parts.push(before_line_end(body, from, at));
            }
            if after == b"--" {
                return Ok(parts);
            }
            from = Some(next);
        }
        at = next;
    }
    Err(Error::shape("the closing delimiter of an answer in parts"))
}

/// The line end before a delimiter belongs to it.
fn before_line_end(body: &Bytes, from: usize, to: usize) -> Bytes {
    let part = &body[from..to];
    let part = part.strip_suffix(b"\n").unwrap_or(part);
    let part = part.strip_suffix(b"\r").unwrap_or(part);
    body.slice(from..from + part.len())
}

/// The headers of a part, and what follows the empty line.
fn content(part: &Bytes) -> Result<(HeaderMap, Bytes), Error> {
    let mut room = [httparse::EMPTY_HEADER; MAX_HEADERS];
    match httparse::parse_headers(part, &mut room) {
        Ok(httparse::Status::Complete((end, parsed))) => Ok((headers(parsed)?, part.slice(end..))),
        _ => Err(Error::shape("the headers of a part of an answer")),
    }
}

/// An HTTP answer inside of a part.
fn answer(content: Bytes, maybe_before: bool) -> Result<Result<PartAnswer, Error>, Error> {
    let shape = || Error::shape("an HTTP answer in a part of an answer");
    let mut room = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut room);
    let Ok(httparse::Status::Complete(end)) = parsed.parse(&content) else { return Err(shape()) };
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or_else(shape)?;
    let headers = headers(parsed.headers)?;
    let body = content.slice(end..);
    // Not every writer counts the line end before the delimiter as its own.
    let body = body.slice(..body.trim_ascii_end().len());
    if status.as_u16() < 400 {
        return Ok(Ok(PartAnswer { status, headers, body }));
    }
    let seconds = text(&headers, "retry-after").trim().parse().ok().map(Duration::from_secs);
    let id =
        ["req_id", "x-ms-service-request-id"].into_iter().map(|name| text(&headers, name)).find(|id| !id.is_empty());
    let id = id.filter(|id| id.len() <= 128);
    Ok(Err(Error::from_answer(status, &body).with_part(id, seconds, maybe_before)))
}

fn headers(parsed: &[httparse::Header<'_>]) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for header in parsed {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let value = HeaderValue::from_bytes(header.value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(Error::shape("readable headers in a part of an answer"));
        };
        headers.append(name, value);
    }
    Ok(headers)
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
