//! The shapes of an error body, read without trusting any of them.

use serde_json::{Map, Value};

/// Where services put what they want to say, in the order in which it is looked for.
const MESSAGE_NAMES: [&str; 9] =
    ["message", "error_description", "description", "detail", "details", "title", "reason", "error", "errors"];

/// Longest code that is taken over.
const MAX_CODE: usize = 32;

/// An error body.
pub(super) enum Content {
    /// JSON that is no text: an envelope of the gateway, or of something between it and us.
    Envelope { code: Option<String>, message: String },
    /// The application's own text, plain or as a JSON string.
    Text(String),
}

impl Content {
    pub(super) fn read(body: &[u8]) -> Self {
        match serde_json::from_slice::<Value>(body) {
            Ok(Value::String(text)) => Self::Text(text),
            Ok(value) => {
                let mut message = String::new();
                let code = match &value {
                    Value::Object(object) => code_of(object),
                    _ => None,
                };
                gather(&value, &mut message);
                Self::Envelope { code, message }
            }
            Err(_) => Self::Text(String::from_utf8_lossy(body).trim_start_matches('\u{feff}').to_owned()),
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Envelope { message: text, .. } | Self::Text(text) => text.trim(),
        }
    }

    pub(super) fn envelope_code(&self) -> Option<&str> {
        match self {
            Self::Envelope { code, .. } => code.as_deref(),
            Self::Text(_) => None,
        }
    }
}

/// A code is shown in `Display`, so that it must be a code and nothing else: whole, or not at all.
fn code_of(object: &Map<String, Value>) -> Option<String> {
    let token = |code: &str| {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        !code.is_empty() && code.len() <= MAX_CODE && code.bytes().all(letter)
    };
    for name in ["error_code", "code"] {
        match object.get(name) {
            Some(Value::String(code)) if token(code) => return Some(code.clone()),
            Some(Value::Number(code)) => return Some(code.to_string()),
            _ => {}
        }
    }
    match object.get("error")? {
        // OAuth's codes (RFC 6749, section 5.2).
        Value::String(code) if token(code) && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') => {
            Some(code.clone())
        }
        Value::Object(inner) => code_of(inner),
        _ => None,
    }
}

/// Collects the texts under the names that hold messages; what else an answer repeats, a record for instance, is left alone.
fn gather(value: &Value, into: &mut String) {
    match value {
        Value::String(text) => {
            if !into.is_empty() {
                into.push('\n');
            }
            into.push_str(text);
        }
        Value::Array(list) => list.iter().for_each(|entry| gather(entry, into)),
        Value::Object(object) => {
            for name in MESSAGE_NAMES {
                // A code that stands where a message may stand, `"error":"invalid_scope"`, says nothing beside one.
                match object.get(name) {
                    Some(Value::String(_)) if name == "error" && !into.is_empty() => {}
                    Some(inner) => gather(inner, into),
                    None => {}
                }
            }
        }
        _ => {}
    }
}

/// The text without what stands between quotes: values and names, which may look like anything.
///
/// A quote opens after the start, a blank or an opening mark, and closes before the end, a blank or a closing mark, so that the
/// apostrophes of `isn't` and `O'Neill` do neither.
pub(super) fn without_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut last) = (text, None);
    while let Some(at) = rest.find(['\'', '"']) {
        let (before, from_quote) = rest.split_at(at);
        let (quote, inner) = from_quote.split_at(1);
        let previous = before.chars().next_back().or(last);
        let opens = previous.is_none_or(|c| c.is_whitespace() || "([{=:,".contains(c));
        out.push_str(before);
        out.push_str(quote);
        last = quote.chars().next();
        rest = inner;
        if opens && let Some(end) = closing(inner, quote) {
            out.push_str(quote);
            rest = inner.get(end + 1..).unwrap_or_default();
        }
    }
    out.push_str(rest);
    out
}

fn closing(inner: &str, quote: &str) -> Option<usize> {
    inner
        .match_indices(quote)
        .map(|(at, _)| at)
        .find(|at| inner[at + 1..].chars().next().is_none_or(|c| c.is_whitespace() || ")]}.,;:!?".contains(c)))
}
