//! What the clients of one identity have in common: how they send, and where their tokens come from.

use std::sync::Arc;

use http::HeaderValue;
use http::header::HeaderName;
use http_kit::{Authenticator, Client, ClientBuilder, ClientCredentials, Lane, RetryPolicy, TokenCache, Transport};
use timing::{SharedClock, SharedEntropy, SystemClock, SystemEntropy};

use crate::config::CampaignConfig;
use crate::error::{Error, ErrorKind};

pub(crate) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

#[derive(Debug)]
pub(crate) struct Equipment {
    pub(crate) clock: SharedClock,
    pub(crate) entropy: SharedEntropy,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) lane: Option<Lane>,
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
    pub(crate) transport: Option<Arc<dyn Transport>>,
}

impl Default for Equipment {
    fn default() -> Self {
        Self {
            clock: SystemClock::shared(),
            entropy: SystemEntropy::shared(),
            retry: None,
            lane: None,
            authenticator: None,
            transport: None,
        }
    }
}

impl Equipment {
    /// Gives a client its clock, time limits, trust and transport.
    pub(crate) fn set_up(&self, config: &CampaignConfig, builder: ClientBuilder) -> ClientBuilder {
        let policy = self.retry.unwrap_or(RetryPolicy {
            total: config.total_timeout,
            attempt: config.attempt_timeout,
            ..RetryPolicy::default()
        });
        let mut builder = builder
            .clock(Arc::clone(&self.clock))
            .entropy(Arc::clone(&self.entropy))
            .retry(policy)
            .connect_timeout(config.connect_timeout)
            .read_timeout(config.attempt_timeout)
            .user_agent(concat!("campaign-client/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = &config.ca_pem {
            builder = builder.extra_roots_pem(pem.clone());
        }
        if let Some(transport) = &self.transport {
            builder = builder.transport(Arc::clone(transport));
        }
        builder
    }

    /// The authenticator that was given, or a token cache of its own over the identity service.
    pub(crate) fn authenticator(&self, config: &CampaignConfig) -> Result<Arc<dyn Authenticator>, Error> {
        if let Some(authenticator) = &self.authenticator {
            return Ok(Arc::clone(authenticator));
        }
        let (ims, token_url) = config.ims_origin()?;
        let lane = Lane::new("adobe-ims", 1, Arc::clone(&self.clock));
        let ims = self.set_up(config, Client::builder(ims)).lane(lane).build()?;
        let scopes = [config.scopes.join(",")];
        let secret = config.client_secret.clone();
        let source = ClientCredentials::new(ims, token_url, config.client_id.clone(), secret, scopes)?;
        Ok(Arc::new(TokenCache::new(Arc::new(source), Arc::clone(&self.clock))))
    }
}

/// The client id as a header.
pub(crate) fn api_key(config: &CampaignConfig) -> Result<HeaderValue, Error> {
    let mut api_key = HeaderValue::from_str(&config.client_id)
        .map_err(|_| Error::because(ErrorKind::Configuration, "the client id is not a header value"))?;
    api_key.set_sensitive(true);
    Ok(api_key)
}
