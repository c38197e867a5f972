//! Tokens: where they come from, how long they live, who may see them.

mod cache;
mod client_credentials;
mod static_token;

use std::fmt;
use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderMap;
use secrecy::SecretString;

pub use cache::TokenCache;
pub use client_credentials::ClientCredentials;
pub use static_token::StaticToken;

use crate::error::Error;

/// Names the token that a request was sent with, so that a 401 removes that token and no newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant(pub u64);

/// Puts credentials on requests.
#[async_trait]
pub trait Authenticator: Debug + Send + Sync {
    /// Adds the credentials that are at hand. `None` if there are none: call
    /// [`refresh`](Self::refresh) first. Does not wait, since a slot of the lane is held.
    fn authorize(&self, headers: &mut HeaderMap) -> Option<Grant>;

    /// Whether [`refresh`](Self::refresh) should run before the next request.
    fn is_due(&self) -> bool;

    /// Gets fresh credentials, once for all callers that wait. While the old ones are valid it keeps nobody
    /// waiting, and a failure is no error. Cancel safe: when the caller that asks is dropped, another one that
    /// waits asks in its place.
    ///
    /// # Errors
    /// `Auth` if the credentials were refused, which does not pass by itself; other kinds for a failure
    /// of the way.
    async fn refresh(&self) -> Result<(), Error>;

    /// Forgets the credentials of `grant`, which a server refused; those that came later stay. Says whether a
    /// request sent again would carry others: `false` for credentials that never change, or that are so new that
    /// still newer ones would be refused as well.
    fn invalidate(&self, grant: Grant) -> bool;

    /// A server answered a request with the credentials of `grant` with success: if they are refused later, they have ended, and
    /// newer ones are worth a try. Called for every such answer, so it has to be cheap.
    fn accepted(&self, _grant: Grant) {}

    /// How long ago the credentials at hand were asked for; `None` where there are none, or none that age.
    fn age(&self) -> Option<Duration> {
        None
    }
}

/// A bearer token and its lifetime.
#[derive(Clone)]
pub struct AccessToken {
    /// The token.
    pub secret: SecretString,
    /// How long it is valid from now; `None` if the server did not say.
    pub expires_in: Option<Duration>,
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AccessToken").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

/// Gets tokens from an identity provider.
#[async_trait]
pub trait TokenSource: Debug + Send + Sync {
    /// Gets one token.
    ///
    /// # Errors
    /// `Auth` if the provider refused, other kinds if it could not be asked.
    async fn fetch(&self) -> Result<AccessToken, Error>;
}
