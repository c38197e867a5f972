use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use timing::{SharedClock, SharedEntropy};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::auth::{Authenticator, Grant};
use crate::client_builder::{ClientBuilder, Limits};
use crate::error::{Delivery, Error, ErrorKind};
use crate::origin::{Origin, SameOriginUrl};
use crate::pace::{Lane, Limit, Outcome, Permit, Priority, RetryBudget};
use crate::redact::VisibleHeaders;
use crate::request::Request;
use crate::response::Response;
use crate::retry::{Answer, Classify, RetryPolicy, Verdict};
use crate::stats::{Counters, Stats};
use crate::transport::{Transport, TransportError, TransportErrorKind, TransportRequest, TransportResponse};

/// How often a token may end before its use, or at it, before the call gives up.
const TOKEN_ROUNDS: u32 = 3;

/// Sends requests to the origins of one service with one identity. Clones are the same client.
#[derive(Clone)]
pub struct Client {
    parts: Arc<Parts>,
    priority: Priority,
}

pub(crate) struct Parts {
    pub(crate) origins: Vec<Origin>,
    pub(crate) clock: SharedClock,
    pub(crate) entropy: SharedEntropy,
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
    pub(crate) lane: Lane,
    pub(crate) policy: RetryPolicy,
    pub(crate) budget: Arc<RetryBudget>,
    pub(crate) limits: Limits,
    pub(crate) classifier: Arc<dyn Classify>,
    pub(crate) headers: HeaderMap,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) counters: Counters,
}

/// Pauses that are longer want a person's attention.
const ALARMING_PAUSE: Duration = Duration::from_secs(3_600);

/// What one call has gone through so far.
#[derive(Default)]
struct Progress {
    attempts: u32,
    retries: u32,
    throttles: u32,
    /// Repetitions with a fresh token.
    replays: u32,
    maybe_applied: bool,
}

/// What follows from one attempt.
enum Step {
    Finish(Result<Response, Error>),
    /// Go around again at once, or after the pause of the lane.
    Again,
    /// Wait without a permit, then go around again.
    AgainAfter(Duration),
}

impl Client {
    /// Starts to build a client for `origin`.
    pub fn builder(origin: Origin) -> ClientBuilder {
        ClientBuilder::new(origin)
    }

    pub(crate) fn from_parts(parts: Parts) -> Self {
        Self { parts: Arc::new(parts), priority: Priority::default() }
    }

    /// The same client for requests of `priority`: a clone that shares everything. Without it they are live.
    #[must_use]
    pub fn at_priority(&self, priority: Priority) -> Self {
        Self { parts: Arc::clone(&self.parts), priority }
    }

    /// The first origin.
    ///
    /// Every client has one: the builder starts with it.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.parts.origins[0]
    }

    /// The lane.
    #[must_use]
    pub fn lane(&self) -> &Lane {
        &self.parts.lane
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &SharedClock {
        &self.parts.clock
    }

    /// What this client did since it was built.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let lane = self.parts.lane.stats();
        self.parts.counters.snapshot(lane.in_flight, lane.paused_until)
    }

    /// How long ago the access token at hand was asked for; `None` before the first one.
    #[must_use]
    pub fn token_age(&self) -> Option<Duration> {
        self.parts.authenticator.as_ref()?.age()
    }

    /// Accepts a link of the server if one of the origins does.
    ///
    /// # Errors
    /// `ForeignLink`, see [`Origin::link`].
    pub fn link(&self, link: &str) -> Result<SameOriginUrl, Error> {
        let mut refusal = None;
        for origin in &self.parts.origins {
            match origin.link(link) {
                Ok(url) => return Ok(url),
                Err(error) => refusal = Some(error),
            }
        }
        Err(refusal.unwrap_or_else(|| Error::new(ErrorKind::ForeignLink, "no origin is allowed")))
    }

    /// Sends a request and waits for its answer. The order is always this:
    ///
    /// 1. The deadline of the whole call is fixed, and the URL is checked against the origins.
    /// 2. Then, until there is a result: wait for the lane (pause, pace), take a permit, put the
    ///    credentials on, log what may be logged, send, read the whole answer, give the permit back,
    ///    classify. No permit is held during any wait.
    ///
    /// Every answer that is not tried again is `Ok`, whatever its status: the caller knows what its
    /// service means by it. Tried again are
    /// - what was not sent, within the policy;
    /// - what is idempotent, after an unclear end (a 503 is one, whether it has `Retry-After` or not);
    /// - what was throttled, after the lane has paused for as long as the server asked;
    /// - with a fresh token, what was answered with 401, where a fresh token may help: three times at most, and once where no
    ///   token was ever accepted.
    ///
    /// # Cancellation
    /// Dropping the future frees the permit at once. A request that was under way may be applied.
    ///
    /// # Errors
    /// See [`ErrorKind`]. [`Error::delivery`] is that of all attempts together: once an attempt may have
    /// been applied, no later failure takes that back.
    pub async fn send(&self, request: Request) -> Result<Response, Error> {
        let span = tracing::debug_span!(
            "http.request",
            operation = &*request.operation,
            method = request.method.as_str(),
            status = Empty,
            attempts = Empty,
            request_id = Empty,
        );
        self.run(request).instrument(span).await
    }

    async fn run(&self, request: Request) -> Result<Response, Error> {
        let parts = &*self.parts;
        let mut progress = Progress::default();
        let deadline = parts.clock.monotonic().saturating_add(request.time_limit.unwrap_or(parts.policy.total));
        let result = if parts.origins.iter().any(|origin| origin.contains(&request.url)) {
            self.attempt_until_done(&request, deadline, &mut progress).await
        } else {
            Err(Error::new(ErrorKind::ForeignLink, "the URL is outside the allowed origins"))
        };
        let span = Span::current();
        span.record("attempts", progress.attempts);
        match &result {
            Ok(response) => {
                span.record("status", response.status.as_u16());
                if let Some(id) = response.request_id() {
                    span.record("request_id", id);
                }
                tracing::trace!(headers = ?VisibleHeaders(&response.headers), bytes = response.body.len(), "http.response");
            }
            Err(_) => Counters::add(&parts.counters.failed),
        }
        result.map_err(|error| {
            // A failed token request keeps its own name: that is where the trouble is.
            let named = error.operation().is_some();
            let error = if named { error } else { error.with_operation(request.operation.clone()) };
            let error = error.with_attempts(progress.attempts);
            let error = if progress.maybe_applied { error.with_delivery(Delivery::MaybeApplied) } else { error };
            tracing::debug!(kind = ?error.kind(), delivery = ?error.delivery(), "http.failed");
            error
        })
    }

    async fn attempt_until_done(
        &self,
        request: &Request,
        deadline: Duration,
        progress: &mut Progress,
    ) -> Result<Response, Error> {
        let parts = &*self.parts;
        loop {
            let (permit, headers, grant) = self.enter(request, deadline).await?;
            let left = deadline.saturating_sub(parts.clock.monotonic());
            if left.is_zero() {
                permit.finish(Outcome::Unused);
                return Err(Error::new(ErrorKind::Deadline, "the time for the call is over"));
            }
            progress.attempts += 1;
            Counters::add(&parts.counters.sent);
            tracing::trace!(attempt = progress.attempts, headers = ?VisibleHeaders(&headers), bytes = request.body.len(), "http.send");
            let timeout = left.min(parts.policy.attempt);
            let mut outgoing = TransportRequest::new(
                request.method.clone(),
                request.url.clone(),
                headers,
                request.body.clone(),
                timeout,
            );
            outgoing.max_body = parts.limits.body;
            outgoing.max_error_body = parts.limits.error_body;
            // Each way to a step ends the permit, and no step waits.
            let step = match parts.transport.send(outgoing).await {
                Ok(answer) => self.after_answer(request, answer, grant, permit, deadline, progress),
                Err(error) => self.after_failure(request, error, permit, deadline, progress),
            };
            match step {
                Step::Finish(result) => return result,
                Step::Again => {}
                Step::AgainAfter(wait) => parts.lane.sleep(wait).await?,
            }
        }
    }

    /// Takes a permit and puts the credentials on. They are renewed while no permit is held.
    async fn enter(&self, request: &Request, deadline: Duration) -> Result<(Permit, HeaderMap, Option<Grant>), Error> {
        let parts = &*self.parts;
        let priority = request.priority.unwrap_or(self.priority);
        for _ in 0..TOKEN_ROUNDS {
            if let Some(authenticator) = parts.authenticator.as_ref().filter(|authenticator| authenticator.is_due()) {
                self.renew(&**authenticator, deadline).await?;
            }
            let permit = parts.lane.admit_as(priority, request.method.is_safe(), deadline).await?;
            let mut headers = parts.headers.clone();
            for (name, value) in &request.headers {
                headers.insert(name, value.clone());
            }
            let Some(authenticator) = &parts.authenticator else { return Ok((permit, headers, None)) };
            if let Some(grant) = authenticator.authorize(&mut headers) {
                return Ok((permit, headers, Some(grant)));
            }
            permit.finish(Outcome::Unused);
        }
        Err(Error::new(ErrorKind::Auth, "tokens end before they can be used")
            .with_remedy("check this machine's clock and the token lifetime at the identity provider"))
    }

    /// Waits for fresh credentials no longer than to the deadline.
    async fn renew(&self, authenticator: &dyn Authenticator, deadline: Duration) -> Result<(), Error> {
        let clock = &self.parts.clock;
        let left = deadline.saturating_sub(clock.monotonic());
        let renewed = tokio::select! {
            biased;
            renewed = authenticator.refresh() => renewed,
            () = clock.sleep(left) => {
                Err(Error::new(ErrorKind::Deadline, "no token came in time")
                    .with_remedy("try again later; check the way to the identity provider if it persists"))
            }
        };
        // Nothing of this request was sent, whatever became of the token request.
        renewed.map_err(|error| error.with_delivery(Delivery::NotSent))
    }

    fn after_answer(
        &self,
        request: &Request,
        answer: TransportResponse,
        grant: Option<Grant>,
        permit: Permit,
        deadline: Duration,
        progress: &mut Progress,
    ) -> Step {
        let parts = &*self.parts;
        if let (Some(authenticator), Some(grant)) = (&parts.authenticator, grant) {
            if answer.status.is_success() {
                authenticator.accepted(grant);
            }
            let again = answer.status == StatusCode::UNAUTHORIZED && progress.replays < TOKEN_ROUNDS;
            if again && authenticator.invalidate(grant) {
                permit.finish(Outcome::Answered);
                progress.replays += 1;
                Counters::add(&parts.counters.replayed_auth);
                tracing::debug!("http.replay");
                return Step::Again;
            }
        }
        let classifier = request.classifier.as_ref().unwrap_or(&parts.classifier);
        let seen = Answer::new(&request.method, answer.status, &answer.headers, &answer.body, parts.clock.now());
        let (verdict, advice) = (classifier.classify(&seen), classifier.advice(&seen));
        if let Some(in_flight) = advice.in_flight {
            parts.lane.advised(in_flight);
        }
        match verdict {
            Verdict::RetryThrottled { after } => {
                let limit = advice.limit.unwrap_or(Limit::Unknown);
                return self.after_throttle(&answer, after, limit, permit, deadline, progress);
            }
            Verdict::RetryTransient { after } => {
                permit.finish(Outcome::Failed { pause: after });
                if let Some(after) = after {
                    self.tell_of_pause(&answer, after);
                }
                let before = progress.maybe_applied;
                progress.maybe_applied = true;
                if request.idempotent
                    && let Some(wait) = self.next_wait(after.unwrap_or_default(), deadline, progress)
                {
                    return Step::AgainAfter(wait);
                }
                progress.maybe_applied = before;
            }
            Verdict::Done | Verdict::Refused => {
                permit.finish(Outcome::Answered);
                parts.budget.give_back();
            }
        }
        let retry_after = crate::retry::retry_after(&answer.headers, parts.clock.now());
        Step::Finish(Ok(Response {
            status: answer.status,
            headers: answer.headers,
            body: answer.body,
            attempts: progress.attempts,
            maybe_applied_before: progress.maybe_applied,
            retry_after,
        }))
    }

    fn after_throttle(
        &self,
        answer: &TransportResponse,
        after: Option<Duration>,
        limit: Limit,
        permit: Permit,
        deadline: Duration,
        progress: &mut Progress,
    ) -> Step {
        let parts = &*self.parts;
        let own = parts.policy.throttle_pause(progress.throttles);
        let pause = match after {
            // Fewer at once is the answer to too many at once, not a longer pause.
            Some(after) if limit == Limit::Concurrency => after,
            // A server that says "at once", or that refuses again after the pause it asked for, knows less than it says.
            Some(after) if after.is_zero() || progress.throttles > 0 => after.max(own),
            Some(after) => after,
            None => own,
        };
        // The pause holds for the whole identity, also if this call gives up.
        permit.finish(Outcome::Throttled { limit, pause });
        self.tell_of_pause(answer, pause);
        progress.throttles += 1;
        // The lane adds its jitter, and may pause for longer already.
        let left = parts.lane.pause_left().map_or(pause, |left| left.max(pause));
        let in_time = parts.clock.monotonic().saturating_add(left) <= deadline;
        if progress.throttles <= parts.policy.throttle_retries && in_time {
            return Step::Again;
        }
        Step::Finish(Err(Error::new(ErrorKind::Throttled, "the server asks for less pace")
            .with_delivery(Delivery::Refused)
            .with_status(answer.status)
            .with_request_id(crate::redact::request_id(&answer.headers))
            .with_answer(answer.body.clone())
            .with_retry_after(pause)))
    }

    fn tell_of_pause(&self, answer: &TransportResponse, pause: Duration) {
        let parts = &*self.parts;
        Counters::add(&parts.counters.throttled);
        let (lane, status) = (parts.lane.name(), answer.status.as_u16());
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        if pause > ALARMING_PAUSE {
            tracing::error!(lane, status, pause_ms, "http.throttled");
        } else {
            tracing::warn!(lane, status, pause_ms, "http.throttled");
        }
    }

    fn after_failure(
        &self,
        request: &Request,
        error: TransportError,
        permit: Permit,
        deadline: Duration,
        progress: &mut Progress,
    ) -> Step {
        permit.finish(match error.kind {
            TransportErrorKind::Request => Outcome::Unused,
            TransportErrorKind::BodyTooLarge => Outcome::Answered,
            _ => Outcome::Failed { pause: None },
        });
        let may_repeat = match error.delivery {
            Delivery::NotSent => true,
            Delivery::MaybeApplied => {
                progress.maybe_applied = true;
                request.idempotent
            }
            Delivery::Refused => false,
        };
        // The same request would be as impossible, and the same answer as large, the next time.
        let lasting = matches!(error.kind, TransportErrorKind::Request | TransportErrorKind::BodyTooLarge);
        if may_repeat
            && !lasting
            && let Some(wait) = self.next_wait(Duration::ZERO, deadline, progress)
        {
            return Step::AgainAfter(wait);
        }
        Step::Finish(Err(error.into_error()))
    }

    /// The wait before one more repetition, at least `asked`, if policy, allowance and deadline allow one.
    fn next_wait(&self, asked: Duration, deadline: Duration, progress: &mut Progress) -> Option<Duration> {
        let parts = &*self.parts;
        if progress.retries >= parts.policy.retries {
            return None;
        }
        let wait = parts.policy.backoff.delay(progress.retries, parts.entropy.unit()).max(asked);
        if parts.clock.monotonic().saturating_add(wait) >= deadline || !parts.budget.take() {
            return None;
        }
        progress.retries += 1;
        Counters::add(&parts.counters.retries);
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(retry = progress.retries, wait_ms, "http.retry");
        Some(wait)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("origins", &self.parts.origins)
            .field("lane", &self.parts.lane)
            .finish_non_exhaustive()
    }
}
