//! What may be shown of a request or of a foreign text.

use std::fmt;

use http::HeaderMap;

/// Texts of servers and of other crates are cut to this many characters.
pub const MAX_TEXT: usize = 300;

/// Longest request id that is kept.
const MAX_REQUEST_ID: usize = 128;

/// Headers whose values tell something about the exchange and nothing about its content.
const VISIBLE: &[&str] = &[
    "accept",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "if-none-match",
    "odata-version",
    "retry-after",
    "server",
    "x-ms-dop-hint",
    "x-ms-ratelimit-burst-remaining-xrm-requests",
    "x-ms-ratelimit-time-remaining-xrm-requests",
];

/// Headers under which servers name a request; the first that is there wins.
const REQUEST_IDS: &[&str] = &["x-ms-service-request-id", "req_id", "x-request-id", "request-id", "x-ms-request-id"];

/// Shows header names, and the values of an allow-list only.
pub struct VisibleHeaders<'a>(pub &'a HeaderMap);

impl fmt::Debug for VisibleHeaders<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = formatter.debug_map();
        for (name, value) in self.0 {
            if !value.is_sensitive() && VISIBLE.contains(&name.as_str()) {
                map.entry(&name.as_str(), &value);
            } else {
                map.entry(&name.as_str(), &"[redacted]");
            }
        }
        map.finish()
    }
}

/// The server's id of a request, if it is a plain token of letters, digits and `-_.:`.
#[must_use]
pub fn request_id(headers: &HeaderMap) -> Option<&str> {
    REQUEST_IDS.iter().find_map(|name| headers.get(*name)).and_then(|value| value.to_str().ok()).filter(|id| {
        !id.is_empty()
            && id.len() <= MAX_REQUEST_ID
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
    })
}

/// Makes a foreign text fit for an error or a log: control characters become spaces, URLs lose
/// everything after the host, each of `secrets` and whatever looks like a token disappears, and the
/// rest is cut to [`MAX_TEXT`] characters.
#[must_use]
pub fn scrub(text: &str, secrets: &[&str]) -> String {
    // A bound before any work: a server may send megabytes.
    let mut text: String = text.chars().take(MAX_TEXT * 8).collect();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "[redacted]");
    }
    let mut clean = String::with_capacity(text.len().min(MAX_TEXT * 4));
    let mut bearer = false;
    for word in text.split(|letter: char| letter.is_whitespace() || letter.is_control()).filter(|word| !word.is_empty())
    {
        if !clean.is_empty() {
            clean.push(' ');
        }
        let hide = bearer || looks_like_a_token(word);
        bearer = word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic");
        if hide {
            clean.push_str("[redacted]");
        } else {
            push_without_path(&mut clean, word);
        }
    }
    match clean.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => {
            clean.truncate(end);
            clean.push('…');
            clean
        }
        None => clean,
    }
}

/// A token is a long run of base64 or base64url letters with a digit and a capital, or a JWT.
fn looks_like_a_token(word: &str) -> bool {
    let is_token_letter = |letter: char| letter.is_ascii_alphanumeric() || "-_.+/~=".contains(letter);
    word.contains("eyJ")
        || word.split(|letter: char| !is_token_letter(letter)).any(|run| {
            run.len() >= 40
                && !run.contains("://")
                && run.bytes().any(|byte| byte.is_ascii_digit())
                && run.bytes().any(|byte| byte.is_ascii_uppercase())
        })
}

fn push_without_path(clean: &mut String, word: &str) {
    let Some(start) = word.find("://").map(|at| at + 3) else {
        clean.push_str(word);
        return;
    };
    let end = word[start..].find(['/', '?', '#']).map_or(word.len(), |at| start + at);
    let host = word[start..end].rfind('@').map_or(start, |at| start + at + 1);
    clean.push_str(&word[..start]);
    clean.push_str(&word[host..end]);
    if end < word.len() {
        clean.push_str("/…");
    }
}

/// The texts of an error and of its sources, scrubbed and joined.
pub(crate) fn chain_text(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    // Bounded: a chain is a handful of links, and a cycle must not hang an error path.
    for _ in 0..8 {
        let Some(source) = next else { break };
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    scrub(&text, &[])
}
