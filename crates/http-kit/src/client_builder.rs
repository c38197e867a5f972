use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use timing::{SharedClock, SharedEntropy, SystemClock, SystemEntropy};

use crate::auth::Authenticator;
use crate::client::{Client, Parts};
use crate::error::{Error, ErrorKind};
use crate::origin::Origin;
use crate::pace::{Lane, RetryBudget};
use crate::retry::{Classify, RetryPolicy, StandardClassifier};
use crate::stats::Counters;
use crate::transport::{NetworkOptions, NetworkTransport, Transport};

/// Requests in flight where no lane is given.
const DEFAULT_IN_FLIGHT: usize = 8;

/// How much a client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most decoded bytes of a body with a status under 400. Default 32 MiB.
    pub body: usize,
    /// The most decoded bytes of any other body, which counts as empty if it is larger. Default 1 MiB.
    pub error_body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body: 32 << 20, error_body: 1 << 20 }
    }
}

/// Builds a [`Client`].
#[derive(Debug)]
#[must_use]
pub struct ClientBuilder {
    origins: Vec<Origin>,
    clock: SharedClock,
    entropy: SharedEntropy,
    authenticator: Option<Arc<dyn Authenticator>>,
    lane: Option<Lane>,
    policy: RetryPolicy,
    budget: Arc<RetryBudget>,
    limits: Limits,
    classifier: Arc<dyn Classify>,
    headers: HeaderMap,
    transport: Option<Arc<dyn Transport>>,
    connect_timeout: Duration,
    read_timeout: Duration,
    extra_roots_pem: Option<Vec<u8>>,
    user_agent: String,
}

impl ClientBuilder {
    /// A client for `origin`.
    pub fn new(origin: Origin) -> Self {
        Self {
            origins: vec![origin],
            clock: SystemClock::shared(),
            entropy: SystemEntropy::shared(),
            authenticator: None,
            lane: None,
            policy: RetryPolicy::default(),
            budget: Arc::default(),
            limits: Limits::default(),
            classifier: Arc::new(StandardClassifier),
            headers: HeaderMap::new(),
            transport: None,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(60),
            extra_roots_pem: None,
            user_agent: concat!("http-kit/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// Allows another origin: the credentials go there too.
    pub fn also_origin(mut self, origin: Origin) -> Self {
        self.origins.push(origin);
        self
    }

    /// Uses `clock` for every wait and deadline. Default: the system's.
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.clock = clock;
        self
    }

    /// Uses `entropy` for jitter. Default: the system's.
    pub fn entropy(mut self, entropy: SharedEntropy) -> Self {
        self.entropy = entropy;
        self
    }

    /// Puts credentials on every request. Default: none.
    pub fn authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = Some(authenticator);
        self
    }

    /// Sends through `lane`, shared with the other clients of the identity. Default: a lane of its own
    /// with 8 requests in flight. The lane and the client must have the same clock.
    pub fn lane(mut self, lane: Lane) -> Self {
        self.lane = Some(lane);
        self
    }

    /// Sets how often and how long a call tries.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Shares an allowance for repetitions with other clients. Default: one of its own.
    pub fn retry_budget(mut self, budget: Arc<RetryBudget>) -> Self {
        self.budget = budget;
        self
    }

    /// Sets how much is read.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Reads answers with `classifier`. Default: [`StandardClassifier`].
    pub fn classifier(mut self, classifier: Arc<dyn Classify>) -> Self {
        self.classifier = classifier;
        self
    }

    /// Sends a header with every request that does not set it itself. Mark secret values as sensitive.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sends through `transport` instead of the network; the options below do not matter then.
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// The time to connect. Default 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The longest silence of the server. Default 60 s.
    pub fn read_timeout(mut self, timeout: Duration) -> Self {
        self.read_timeout = timeout;
        self
    }

    /// Trusts the certificates of a PEM text besides those of the system.
    pub fn extra_roots_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.extra_roots_pem = Some(pem.into());
        self
    }

    /// Sets the value of `User-Agent`.
    pub fn user_agent(mut self, name: impl Into<String>) -> Self {
        self.user_agent = name.into();
        self
    }

    /// Builds the client. Connects to nothing. Proxies come from the environment (`HTTPS_PROXY`,
    /// `NO_PROXY` and their kin), except for a client whose origins are all on this machine.
    ///
    /// # Errors
    /// `Configuration` for unreadable certificates, an impossible user agent, or TLS that cannot be set up.
    pub fn build(self) -> Result<Client, Error> {
        let lane = match self.lane {
            Some(lane) => lane,
            None => Lane::new("default", DEFAULT_IN_FLIGHT, Arc::clone(&self.clock)),
        };
        let mut headers = self.headers;
        let agent = HeaderValue::from_str(&self.user_agent)
            .map_err(|_| Error::new(ErrorKind::Configuration, "the user agent is not a header value"))?;
        headers.insert(header::USER_AGENT, agent);
        let transport = match self.transport {
            Some(transport) => transport,
            None => Arc::new(NetworkTransport::new(&NetworkOptions {
                connect_timeout: self.connect_timeout,
                read_timeout: self.read_timeout,
                pool_size: lane.most_in_flight().saturating_add(2),
                extra_roots_pem: self.extra_roots_pem,
                user_agent: self.user_agent,
                proxies: !self.origins.iter().all(Origin::is_loopback),
            })?),
        };
        Ok(Client::from_parts(Parts {
            origins: self.origins,
            clock: self.clock,
            entropy: self.entropy,
            authenticator: self.authenticator,
            lane,
            policy: self.policy,
            budget: self.budget,
            limits: self.limits,
            classifier: self.classifier,
            headers,
            transport,
            counters: Counters::default(),
        }))
    }
}
