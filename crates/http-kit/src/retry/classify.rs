use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, Method, StatusCode};

use super::after::retry_after;
use crate::pace::Limit;

/// What the pipeline does with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Hand it to the caller. This includes errors of the server that are final.
    Done,
    /// Hand it to the caller; the server did not act.
    Refused,
    /// Pause the lane and send again, also what is not idempotent: the server did not act. Only for answers
    /// that are documented to mean so.
    RetryThrottled {
        /// The pause; `None` if the server named none, which means a growing back-off.
        after: Option<Duration>,
    },
    /// Send again if the request is idempotent, else hand the answer to the caller: the server may have acted.
    RetryTransient {
        /// The pause of the lane before anything is sent again; `None` if the server named none.
        after: Option<Duration>,
    },
}

/// A complete answer, as a classifier sees it.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Answer<'a> {
    /// The method of the request.
    pub method: &'a Method,
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The decoded body.
    pub body: &'a Bytes,
    /// When it came, by our calendar.
    pub received_at: DateTime<Utc>,
}

impl<'a> Answer<'a> {
    /// An answer, for the test of a classifier.
    #[must_use]
    pub fn new(
        method: &'a Method,
        status: StatusCode,
        headers: &'a HeaderMap,
        body: &'a Bytes,
        received_at: DateTime<Utc>,
    ) -> Self {
        Self { method, status, headers, body, received_at }
    }

    /// The pause that the `Retry-After` header asks for; see [`retry_after`].
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        retry_after(self.headers, self.received_at)
    }
}

/// Reads an answer. Implement it where a service says by its body what its status does not say, and
/// leave the rest to [`StandardClassifier`].
pub trait Classify: Debug + Send + Sync {
    /// Decides, without effects.
    fn classify(&self, answer: &Answer<'_>) -> Verdict;

    /// What the answer says about the server's limits, without effects. By default nothing.
    fn advice(&self, _answer: &Answer<'_>) -> Advice {
        Advice::default()
    }
}

/// What an answer says about the server's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Advice {
    /// The limit that a throttled request ran into, if the answer names one.
    pub limit: Option<Limit>,
    /// How many requests in flight the server advises.
    pub in_flight: Option<usize>,
}

/// Reads an answer by its status alone.
///
/// 429 is throttling: nothing was done. 408 and 500 to 599 without 501 and 505 are transient, with an unknown
/// outcome. That holds for 503 with `Retry-After` as well: the header says when to come back, not that nothing
/// was done, since gateways send it after they have passed a request on. Every other status of 300 and above is
/// a refusal; redirects are not followed.
#[derive(Debug, Clone, Copy, Default)]
pub struct StandardClassifier;

impl Classify for StandardClassifier {
    fn classify(&self, answer: &Answer<'_>) -> Verdict {
        match answer.status.as_u16() {
            429 => Verdict::RetryThrottled { after: answer.retry_after() },
            501 | 505 => Verdict::Refused,
            408 | 500..=599 => Verdict::RetryTransient { after: answer.retry_after() },
            304 | ..300 => Verdict::Done,
            _ => Verdict::Refused,
        }
    }
}
