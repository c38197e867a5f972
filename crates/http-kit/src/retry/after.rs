use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use http::{HeaderMap, header};

/// The pause when a server asks for one in words that nobody can read.
pub const DEFAULT_PAUSE: Duration = Duration::from_secs(30);

/// Longer pauses are cut to this, so that no sum of times overflows: one year.
const LONGEST: u64 = 365 * 24 * 3_600;

/// How long the `Retry-After` header asks to wait, in seconds or up to a date (RFC 9110, 10.2.3).
///
/// A date is taken relative to the answer's own `Date` header, since the server's clock need not
/// agree with ours; without that header it is relative to `now`. `None` if the header is missing,
/// [`DEFAULT_PAUSE`] if it is negative, in the past or unreadable.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?;
    let wait = value.to_str().ok().and_then(|text| parse(text.trim(), headers, now));
    Some(wait.unwrap_or(DEFAULT_PAUSE).min(Duration::from_secs(LONGEST)))
}

fn parse(text: &str, headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than an integer holds still mean "very long".
        return Some(Duration::from_secs(text.parse().unwrap_or(LONGEST)));
    }
    let until = http_date(text)?;
    let base = headers.get(header::DATE).and_then(|date| http_date(date.to_str().ok()?.trim())).unwrap_or(now);
    (until - base).to_std().ok()
}

/// The three date forms of RFC 9110, 5.6.7.
fn http_date(text: &str) -> Option<DateTime<Utc>> {
    ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .map(|date| date.and_utc())
}
