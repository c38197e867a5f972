use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, header};
use secrecy::{ExposeSecret, SecretString};

use super::{Authenticator, Grant};
use crate::error::{Error, ErrorKind};

/// One bearer token that somebody else looks after. A 401 is the caller's to handle: there is no other token to try.
pub struct StaticToken {
    value: HeaderValue,
}

impl StaticToken {
    /// Uses `token` for every request.
    ///
    /// # Errors
    /// `Configuration` if the token holds letters that a header cannot carry.
    pub fn new(token: &SecretString) -> Result<Self, Error> {
        bearer(token).map(|value| Self { value })
    }
}

impl std::fmt::Debug for StaticToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("StaticToken([redacted])")
    }
}

#[async_trait]
impl Authenticator for StaticToken {
    fn authorize(&self, headers: &mut HeaderMap) -> Option<Grant> {
        headers.insert(header::AUTHORIZATION, self.value.clone());
        Some(Grant(0))
    }

    fn is_due(&self) -> bool {
        false
    }

    async fn refresh(&self) -> Result<(), Error> {
        Ok(())
    }

    fn invalidate(&self, _grant: Grant) -> bool {
        false
    }
}

pub(super) fn bearer(token: &SecretString) -> Result<HeaderValue, Error> {
    let text = SecretString::from(format!("Bearer {}", token.expose_secret()));
    let mut value = HeaderValue::from_str(text.expose_secret())
        .map_err(|_| Error::new(ErrorKind::Configuration, "the token holds letters that a header cannot carry"))?;
    value.set_sensitive(true);
    Ok(value)
}
