//! The client: one environment, one identity.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use http_kit::retry::{Advice, Answer, Classify, RetryPolicy, StandardClassifier, Verdict};
use http_kit::{
    Authenticator, Client, ClientCredentials, Lane, Limits, Priority, Request, Response, SameOriginUrl, TokenCache,
    Transport,
};
use timing::{SharedClock, SharedEntropy, SystemClock, SystemEntropy};
use url::Url;

use crate::batch::{EncodedBatch, is_multipart};
use crate::changes::ChangeTracker;
use crate::codes;
use crate::config::{API_VERSION, D365Config};
use crate::entity::{ETag, Entity, EntityApi};
use crate::error::{Error, ErrorKind};
use crate::limits::{ServiceLimits, limit_of_code};
use crate::metadata::{EntityDef, Metadata};
use crate::odata::{MAX_URL, Name, Prefer};

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// A client of one Dataverse environment with one application user. Clones are cheap and share connections, access
/// token and pace.
#[derive(Clone)]
pub struct D365Client {
    parts: Arc<Parts>,
}

#[derive(Clone)]
struct Parts {
    http: Client,
    page_size: u32,
}

/// Builds a [`D365Client`] from parts of a host's choice.
#[must_use]
pub struct D365ClientBuilder {
    config: D365Config,
    clock: SharedClock,
    entropy: SharedEntropy,
    transport: Option<Arc<dyn Transport>>,
    authenticator: Option<Arc<dyn Authenticator>>,
    lane: Option<Lane>,
    retry: RetryPolicy,
}

impl D365ClientBuilder {
    /// Takes time from `clock`.
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.clock = clock;
        self
    }

    /// Takes the jitter of waits from `entropy`.
    pub fn entropy(mut self, entropy: SharedEntropy) -> Self {
        self.entropy = entropy;
        self
    }

    /// Sends through `transport` instead of the network, token requests included.
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Puts credentials on requests by `authenticator` instead of the client-credentials grant: for a managed identity
    /// or a token that the host has already. It must ask for the scope `{organisation}/.default`.
    pub fn authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = Some(authenticator);
        self
    }

    /// Shares a lane with other clients of the same application user, since limits count per user.
    pub fn lane(mut self, lane: Lane) -> Self {
        self.lane = Some(lane);
        self
    }

    /// Sets how often a call is repeated. The time limits come from the configuration all the same.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Checks the configuration and builds the client; asks nobody.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`].
    pub fn build(self) -> Result<D365Client, Error> {
        let checked = self.config.checked()?;
        let retry =
            RetryPolicy { attempt: self.config.attempt_timeout, total: self.config.total_timeout, ..self.retry };
        let agent = concat!("d365-client/", env!("CARGO_PKG_VERSION"));
        let common = |origin| {
            let mut builder = Client::builder(origin)
                .clock(Arc::clone(&self.clock))
                .entropy(Arc::clone(&self.entropy))
                .retry(retry)
                .connect_timeout(self.config.connect_timeout)
                .read_timeout(self.config.attempt_timeout)
                .user_agent(agent);
            if let Some(pem) = &self.config.ca_pem {
                builder = builder.extra_roots_pem(pem.clone());
            }
            if let Some(transport) = &self.transport {
                builder = builder.transport(Arc::clone(transport));
            }
            builder
        };
        let authenticator = match &self.authenticator {
            Some(authenticator) => Arc::clone(authenticator),
            None => {
                // Token requests must not wait behind the requests that wait for the token.
                let lane = Lane::new("entra", 2, Arc::clone(&self.clock));
                let grant = ClientCredentials::new(
                    common(checked.authority).lane(lane).build()?,
                    checked.token_url,
                    self.config.client_id.clone(),
                    self.config.client_secret.clone(),
                    [checked.scope],
                )?;
                Arc::new(TokenCache::new(Arc::new(grant), Arc::clone(&self.clock))) as Arc<dyn Authenticator>
            }
        };
        let lane = self.lane.clone().unwrap_or_else(|| {
            Lane::paced("dataverse", &self.config.pace(), Arc::clone(&self.clock), Arc::clone(&self.entropy))
        });
        let version = HeaderValue::from_static("4.0");
        let mut builder = common(checked.organisation)
            .lane(lane)
            .authenticator(authenticator)
            .classifier(Arc::new(DataverseClassifier))
            .limits(Limits { body: self.config.max_body, ..Limits::default() })
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .header(HeaderName::from_static("odata-maxversion"), version.clone())
            .header(HeaderName::from_static("odata-version"), version);
        for origin in checked.allowed {
            builder = builder.also_origin(origin);
        }
        Ok(D365Client { parts: Arc::new(Parts { http: builder.build()?, page_size: self.config.page_size }) })
    }
}

impl fmt::Debug for D365ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("D365ClientBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl D365Client {
    /// A client with the machine's clock and network. Asks nobody: the first call gets the token.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`].
    pub fn new(config: D365Config) -> Result<Self, Error> {
        Self::builder(config).build()
    }

    /// A client from parts.
    pub fn builder(config: D365Config) -> D365ClientBuilder {
        D365ClientBuilder {
            config,
            clock: SystemClock::shared(),
            entropy: SystemEntropy::shared(),
            transport: None,
            authenticator: None,
            lane: None,
            retry: RetryPolicy::default(),
        }
    }

    /// The same client for requests of `priority`: a cheap clone that shares connections, access token and lane.
    /// Without it they are live.
    #[must_use]
    pub fn at_priority(&self, priority: Priority) -> Self {
        let parts = Parts { http: self.parts.http.at_priority(priority), ..(*self.parts).clone() };
        Self { parts: Arc::new(parts) }
    }

    /// The rows of a table as typed structs.
    #[must_use]
    pub fn entity<E: Entity<Def = ()>>(&self) -> EntityApi<E> {
        EntityApi::new(self.clone(), ())
    }

    /// The rows of a table whose definition is known at run time, or of any other [`Entity`].
    #[must_use]
    pub fn entity_with<E: Entity>(&self, def: E::Def) -> EntityApi<E> {
        EntityApi::new(self.clone(), def)
    }

    /// The definitions of tables.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        Metadata::new(self.clone())
    }

    /// The changes of a table, with these columns of each row.
    ///
    /// # Errors
    /// A column name that is no identifier; no column at all.
    pub fn changes<N: TryInto<Name>>(
        &self,
        def: Arc<EntityDef>,
        columns: impl IntoIterator<Item = N>,
    ) -> Result<ChangeTracker, Error>
    where
        Error: From<N::Error>,
    {
        ChangeTracker::new(self.clone(), def, columns, self.parts.page_size)
    }

    /// The lane of this identity: how many requests are in flight, how long it pauses.
    #[must_use]
    pub fn lane(&self) -> &Lane {
        self.parts.http.lane()
    }

    /// What this client did since it was built.
    #[must_use]
    pub fn stats(&self) -> http_kit::Stats {
        self.parts.http.stats()
    }

    /// How long ago the access token at hand was asked for; `None` before the first one.
    #[must_use]
    pub fn token_age(&self) -> Option<std::time::Duration> {
        self.parts.http.token_age()
    }

    pub(crate) fn page_size(&self) -> u32 {
        self.parts.page_size
    }

    /// The URL of `target`, a path below the API's root with an optional query, both percent-encoded.
    pub(crate) fn url(&self, target: &str) -> Result<Url, Error> {
        let url = self.parts.http.origin().join(&format!("api/data/{API_VERSION}/{target}"))?;
        if url.as_str().len() > MAX_URL {
            return Err(Error::validation("the query is longer than a URL may be (32,768 characters)"));
        }
        Ok(url)
    }

    /// Accepts a link of the service, be it fresh or from a store, if it stays within the allowed origins.
    pub(crate) fn link(&self, link: &str) -> Result<SameOriginUrl, Error> {
        Ok(self.parts.http.link(link)?)
    }

    pub(crate) async fn get(
        &self,
        target: &str,
        operation: &'static str,
        prefer: Option<Prefer>,
    ) -> Result<Response, Error> {
        self.fetch(Request::get(self.url(target)?, operation), operation, prefer).await
    }

    pub(crate) async fn follow(
        &self,
        link: SameOriginUrl,
        operation: &'static str,
        prefer: Option<Prefer>,
    ) -> Result<Response, Error> {
        self.fetch(Request::follow(link, operation), operation, prefer).await
    }

    async fn fetch(
        &self,
        request: Request,
        operation: &'static str,
        prefer: Option<Prefer>,
    ) -> Result<Response, Error> {
        // The literal text `null` keeps intermediaries from answering with what they remember
        // (learn.microsoft.com, "Compose HTTP requests and handle errors").
        let request = request.header(IF_NONE_MATCH, HeaderValue::from_static("null"));
        self.send(prefer_header(request, prefer)?, operation).await
    }

    /// A conditional GET: `None` when the row is still in the version of `etag`.
    pub(crate) async fn get_if_changed(
        &self,
        target: &str,
        operation: &'static str,
        etag: &ETag,
    ) -> Result<Option<Response>, Error> {
        let request = Request::get(self.url(target)?, operation).header(IF_NONE_MATCH, header_value(etag.as_str())?);
        let response = self.parts.http.send(request).await?;
        match response.status {
            StatusCode::NOT_MODIFIED => Ok(None),
            status if status.is_success() => Ok(Some(response)),
            _ => Err(Error::refused(&response, operation)),
        }
    }

    pub(crate) async fn write(&self, write: Write<'_>) -> Result<Response, Error> {
        let Write { method, target, operation, body, condition, prefer, idempotent } = write;
        let mut request = Request::new(method, self.url(target)?, operation).idempotent(idempotent);
        if let Some(body) = body {
            request = request.json(body);
        }
        request = match condition {
            Condition::None => request,
            Condition::IfMatch(tag) => request.header(IF_MATCH, header_value(tag)?),
            Condition::IfNoneMatchAny => request.header(IF_NONE_MATCH, HeaderValue::from_static("*")),
        };
        self.send(prefer_header(request, prefer)?, operation).await
    }

    /// Sends a batch. An answer in several parts comes back whatever its status: the parts tell what happened.
    pub(crate) async fn post_batch(
        &self,
        batch: EncodedBatch,
        goes_on: bool,
        idempotent: bool,
        operation: &'static str,
    ) -> Result<Response, Error> {
        let mut request = Request::new(Method::POST, self.url("$batch")?, operation)
            .idempotent(idempotent)
            .body("multipart/mixed", batch.body)
            .header(CONTENT_TYPE, header_value(&batch.content_type)?);
        if goes_on {
            request = request.header(PREFER, HeaderValue::from_static("odata.continue-on-error"));
        }
        Ok(self.parts.http.send(request).await?)
    }

    async fn send(&self, request: Request, operation: &'static str) -> Result<Response, Error> {
        let response = self.parts.http.send(request).await?;
        if response.status.is_success() { Ok(response) } else { Err(Error::refused(&response, operation)) }
    }
}

impl fmt::Debug for D365Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("D365Client").field("http", &self.parts.http).finish_non_exhaustive()
    }
}

/// One write.
pub(crate) struct Write<'a> {
    pub(crate) method: Method,
    pub(crate) target: &'a str,
    pub(crate) operation: &'static str,
    pub(crate) body: Option<Bytes>,
    pub(crate) condition: Condition<'a>,
    pub(crate) prefer: Option<Prefer>,
    /// Whether two deliveries have the effect of one.
    pub(crate) idempotent: bool,
}

/// The condition header of a write.
pub(crate) enum Condition<'a> {
    None,
    IfMatch(&'a str),
    IfNoneMatchAny,
}

fn prefer_header(request: Request, prefer: Option<Prefer>) -> Result<Request, Error> {
    match prefer.and_then(Prefer::to_header) {
        Some(text) => Ok(request.header(PREFER, header_value(&text)?)),
        None => Ok(request),
    }
}

fn header_value(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text).map_err(|_| Error::validation("a header cannot carry this value"))
}

/// Reads the code in the body where the status alone misleads: some refusals come with status 500, and some passing
/// troubles with 400.
#[derive(Clone, Copy, Debug)]
struct DataverseClassifier;

impl Classify for DataverseClassifier {
    fn classify(&self, answer: &Answer<'_>) -> Verdict {
        // The answer of a batch that stopped: its status is that of one part, and the parts before it were carried out.
        let kind = answer.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if kind.is_some_and(is_multipart) {
            return Verdict::Done;
        }
        let by_status = StandardClassifier.classify(answer);
        if answer.status.as_u16() < 400 || answer.status == StatusCode::UNAUTHORIZED {
            return by_status;
        }
        let Some(code) = Error::from_answer(answer.status, answer.body).code() else { return by_status };
        match codes::classify(answer.status.as_u16(), Some(code), "") {
            ErrorKind::Throttled => Verdict::RetryThrottled { after: answer.retry_after() },
            ErrorKind::ServiceUnavailable if by_status == Verdict::Refused => {
                Verdict::RetryTransient { after: answer.retry_after() }
            }
            ErrorKind::ServiceUnavailable | ErrorKind::Unexpected => by_status,
            // The code is known and says that the service did not act.
            _ if codes::is_known(code) => Verdict::Refused,
            _ => by_status,
        }
    }

    fn advice(&self, answer: &Answer<'_>) -> Advice {
        let advised = ServiceLimits::from_headers(answer.headers).advised_parallelism;
        let in_flight = advised.and_then(|advised| usize::try_from(advised).ok());
        let limit = if answer.status.as_u16() < 400 {
            None
        } else {
            Error::from_answer(answer.status, answer.body).code().and_then(limit_of_code)
        };
        Advice { limit, in_flight }
    }
}
