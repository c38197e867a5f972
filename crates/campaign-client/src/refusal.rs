//! What an answer with an error means. Pure: method, status and body in, a kind out.
//!
//! The application answers most refusals with status 500 and several lines of text, plain or as a
//! JSON string, with codes such as `RST-360011`; the gateway answers with one of two JSON envelopes
//! (experienceleague.adobe.com, Campaign Standard API, "Troubleshooting", and Campaign v8 REST API,
//! "Limitations", which compares both products). Status 500 alone therefore says nothing about
//! whether it is worth trying again: words are a reason, which stays, and everything else (no body,
//! markup, an envelope without a known code) is trouble, which may pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Method, StatusCode};
use http_kit::{Answer, Classify, Delivery, StandardClassifier, Verdict};

use crate::error::ErrorKind;

use content::{Content, without_quoted};

mod content;

/// Longest text of the service that is kept.
const MAX_MESSAGE: usize = 4096;

/// The families of codes that the application, as opposed to the gateway, writes.
const ENGINE_PREFIXES: [&str; 4] = ["RST-", "XTK-", "PGS-", "BAS-"];

/// Codes that stand before nearly every message and say nothing by themselves.
const HEAD_CODES: [&str; 2] = ["RST-360011", "RST-360000"];

/// What an error answer says.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// What it means.
    pub kind: ErrorKind,
    /// The most telling code in it.
    pub code: Option<String>,
    /// The text, cut to 4096 bytes. It may hold record values.
    pub message: Option<String>,
    /// Whether the service may have acted nevertheless.
    pub delivery: Delivery,
}

impl std::fmt::Debug for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Refusal")
            .field("kind", &self.kind)
            .field("code", &self.code)
            .field("delivery", &self.delivery)
            .finish_non_exhaustive()
    }
}

impl Refusal {
    /// Reads an error answer. `worked` says whether this organisation has answered as Campaign before:
    /// the gateway's "Oops" means an unknown organisation if not, and a passing trouble if so.
    #[must_use]
    pub fn read(method: &Method, status: StatusCode, body: &[u8], worked: bool) -> Self {
        let content = Content::read(body);
        let text = content.text();
        let plain = without_quoted(text);
        let code = content.envelope_code().or_else(|| engine_code(&plain)).map(str::to_owned);
        let kind = kind_of(method, status, &content, &plain, worked);
        let delivery = match kind {
            ErrorKind::Gateway | ErrorKind::Server => Delivery::MaybeApplied,
            _ => Delivery::Refused,
        };
        let message = (!text.is_empty()).then(|| cut(text).to_owned());
        Self { kind, code, message, delivery }
    }
}

fn kind_of(method: &Method, status: StatusCode, content: &Content, plain: &str, worked: bool) -> ErrorKind {
    let text = content.text();
    match status.as_u16() {
        401 => return ErrorKind::Unauthorized,
        403 => {
            return match content.envelope_code() {
                Some("403000") => ErrorKind::ApiKey,
                Some("403023" | "403025") => ErrorKind::ProfileNotValid,
                _ if contains(text, "api key") => ErrorKind::ApiKey,
                _ if contains(text, "profile is not valid") => ErrorKind::ProfileNotValid,
                _ => ErrorKind::Forbidden,
            };
        }
        429 => return ErrorKind::Throttled,
        _ => {}
    }
    if let Some(kind) = engine_kind(method, status, text, plain) {
        return kind;
    }
    let oops = contains(text, "oops. something went wrong");
    match status.as_u16() {
        // The first call to an unknown organisation gets 400 "Bad Request", later ones 500 "Oops".
        400 if !worked && (text.is_empty() || oops || contains(text, "bad request")) => ErrorKind::UnknownOrganisation,
        500 if oops && !worked => ErrorKind::UnknownOrganisation,
        500 if oops => ErrorKind::Gateway,
        502..=504 => ErrorKind::Gateway,
        408 => ErrorKind::Gateway,
        404 | 410 => ErrorKind::UnknownResource,
        // The application gives its reasons with this status, in any language; without a code that tells more, nobody knows
        // whether they concern the record or the service.
        500.. => ErrorKind::Server,
        300..=399 => ErrorKind::Decode,
        _ => ErrorKind::Validation,
    }
}

/// The application's own texts. The codes come first: they do not change with the language. `plain` is `text` without what it
/// quotes.
fn engine_kind(method: &Method, status: StatusCode, text: &str, plain: &str) -> Option<ErrorKind> {
    if let Some(kind) = database_kind(plain) {
        return Some(kind);
    }
    if contains(plain, "RST-360012") || contains(plain, "cannot update key '") {
        return Some(ErrorKind::KeyChange);
    }
    if contains(plain, "BAS-010040") || contains(plain, "BAS-010011") {
        return Some(ErrorKind::WrongType);
    }
    if contains(plain, "unable to find document") {
        // The key of the URL is quoted with `:0` behind it, that of a link in the body without.
        let key_of_link = *method == Method::POST || (*method == Method::PATCH && !text.contains(":0'"));
        return Some(if key_of_link { ErrorKind::LinkNotFound } else { ErrorKind::NotFound });
    }
    if contains(plain, "attribute unknown (see definition") || contains(plain, "is not a valid constant") {
        return Some(ErrorKind::InvalidPKey);
    }
    if contains(plain, "property is not valid for the") {
        return Some(ErrorKind::UnknownField);
    }
    if contains(plain, "enumeration of the") && contains(plain, "is not valid") {
        return Some(ErrorKind::InvalidEnum);
    }
    if contains(plain, "property that is read-only") {
        return Some(ErrorKind::ReadOnly);
    }
    if contains(plain, "cannot convert '") {
        return Some(ErrorKind::WrongType);
    }
    if contains(plain, "with the same key '") && contains(plain, "already exists") {
        return Some(ErrorKind::Exists);
    }
    if contains(plain, "rc=-2003") {
        return Some(ErrorKind::UnknownResource);
    }
    engine_code(plain)?;
    match status {
        StatusCode::NOT_FOUND => Some(ErrorKind::UnknownResource),
        // The general head line alone says that there was an error, and no more.
        _ if is_bare(plain) => None,
        _ => Some(ErrorKind::Validation),
    }
}

/// What the database says under its one code, `PGS-220000`: a taken key, a statement given up, a connection lost, a bad value.
fn database_kind(plain: &str) -> Option<ErrorKind> {
    if !contains(plain, "PGS-220000") {
        return None;
    }
    // What follows is the row.
    let said = find(plain, "DETAIL:").map_or(plain, |at| &plain[..at]);
    let says = |words: &[&str]| words.iter().any(|words| contains(said, words));
    Some(if says(&["duplicate key", "already exists", "unique constraint"]) || is_bare(said) {
        ErrorKind::Exists
    } else if says(&["deadlock", "could not serialize", "canceling", "cancelling"]) {
        ErrorKind::Deadlock
    } else if says(&[
        "fatal",
        "connection",
        "timeout",
        "timed out",
        "shut down",
        "shutdown",
        "shutting down",
        "terminating",
        "starting up",
        "recovery mode",
        "too many clients",
    ]) {
        // Unlike with a statement given up, nobody says whether it was committed.
        ErrorKind::Server
    } else {
        ErrorKind::Validation
    })
}

/// Whether a text holds the code of the database and nothing that says more.
fn is_bare(said: &str) -> bool {
    let general =
        ["An error has occurred - please contact your administrator", "PostgreSQL error", "ERROR", "PGS-220000"];
    let rest = general.iter().chain(&HEAD_CODES).fold(said.to_owned(), |rest, words| rest.replace(words, ""));
    !rest.chars().any(char::is_alphanumeric)
}

/// The most telling code of an application text: the first that is not one of the general head lines.
fn engine_code(text: &str) -> Option<&str> {
    let mut head = None;
    for (at, _) in text.char_indices() {
        let Some(code) = text.get(at..at + 10) else { continue };
        let is_code = ENGINE_PREFIXES.iter().any(|prefix| code.starts_with(prefix))
            && code.bytes().skip(4).all(|byte| byte.is_ascii_digit());
        if is_code && !HEAD_CODES.contains(&code) {
            return Some(code);
        }
        if is_code {
            head = head.or(Some(code));
        }
    }
    head
}

/// Whether `text` contains `words`, letters of ASCII compared without case.
fn contains(text: &str, words: &str) -> bool {
    find(text, words).is_some()
}

fn find(text: &str, words: &str) -> Option<usize> {
    text.as_bytes().windows(words.len()).position(|window| window.eq_ignore_ascii_case(words.as_bytes()))
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_MESSAGE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Tells the HTTP pipeline which answers are final.
#[derive(Debug, Clone, Default)]
pub(crate) struct EngineClassifier {
    pub(crate) worked: Arc<AtomicBool>,
}

impl Classify for EngineClassifier {
    fn classify(&self, answer: &Answer<'_>) -> Verdict {
        let standard = StandardClassifier.classify(answer);
        if !matches!(standard, Verdict::RetryTransient { .. }) {
            return standard;
        }
        let worked = self.worked.load(Ordering::Relaxed);
        match Refusal::read(answer.method, answer.status, answer.body, worked).kind {
            ErrorKind::Gateway | ErrorKind::Server => standard,
            _ => Verdict::Refused,
        }
    }
}

#[cfg(test)]
mod tests;
