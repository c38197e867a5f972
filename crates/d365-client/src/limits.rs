//! What the service says about its limits.

use std::time::Duration;

use http::HeaderMap;
use http_kit::pace::Limit;

/// The service-protection figures that answers carry (learn.microsoft.com, "Service protection API limits").
///
/// What remains describes the one server that answered and is meant for diagnosis; pace is built on the advised
/// parallelism alone.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ServiceLimits {
    /// `x-ms-ratelimit-burst-remaining-xrm-requests`: requests left in the present window.
    pub remaining_requests: Option<u64>,
    /// `x-ms-ratelimit-time-remaining-xrm-requests`: execution time left in the present window. On the wire these are
    /// seconds with a thousands separator, as in `1,200.00`.
    pub remaining_time: Option<Duration>,
    /// `x-ms-dop-hint`: the advised number of requests in flight, for all processes of this user together.
    pub advised_parallelism: Option<u32>,
}

impl ServiceLimits {
    /// Reads the figures from the headers of an answer; what is missing or unreadable is `None`.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        Self {
            remaining_requests: text("x-ms-ratelimit-burst-remaining-xrm-requests")
                .and_then(|text| plain(text).parse().ok()),
            remaining_time: text("x-ms-ratelimit-time-remaining-xrm-requests").and_then(seconds),
            advised_parallelism: text("x-ms-dop-hint").and_then(|text| plain(text).parse().ok()),
        }
    }
}

/// The limit that a refusal with `code` speaks of.
pub(crate) fn limit_of_code(code: u32) -> Option<Limit> {
    match code {
        0x8007_2322 => Some(Limit::Requests),
        0x8007_2321 => Some(Limit::Busy),
        0x8007_2326 => Some(Limit::Concurrency),
        _ => None,
    }
}

fn plain(text: &str) -> String {
    text.replace(',', "")
}

fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(plain(text).parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn figures_with_separators_are_read() {
        let limits = ServiceLimits::from_headers(&headers(&[
            ("x-ms-ratelimit-burst-remaining-xrm-requests", "7,999"),
            ("x-ms-ratelimit-time-remaining-xrm-requests", "1,200.00"),
            ("x-ms-dop-hint", "4"),
        ]));
        assert_eq!(limits.remaining_requests, Some(7999));
        assert_eq!(limits.remaining_time, Some(Duration::from_secs(1200)));
        assert_eq!(limits.advised_parallelism, Some(4));
    }

    #[test]
    fn nonsense_is_none() {
        let limits = ServiceLimits::from_headers(&headers(&[
            ("x-ms-ratelimit-burst-remaining-xrm-requests", "many"),
            ("x-ms-ratelimit-time-remaining-xrm-requests", "-1"),
            ("x-ms-dop-hint", ""),
        ]));
        assert_eq!(limits, ServiceLimits::default());
        assert_eq!(ServiceLimits::from_headers(&HeaderMap::new()), ServiceLimits::default());
    }
}
