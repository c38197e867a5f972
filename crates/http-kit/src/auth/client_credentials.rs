use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use http::{HeaderValue, Method, StatusCode, header};
use oauth2::basic::{BasicClient, BasicErrorResponse};
use oauth2::{
    AsyncHttpClient, AuthType, ClientId, ClientSecret, HttpRequest, HttpResponse, RequestTokenError, Scope,
    TokenResponse, TokenUrl,
};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{AccessToken, TokenSource};
use crate::client::Client;
use crate::error::{Delivery, Error, ErrorKind};
use crate::redact;
use crate::request::Request;

/// The name of a token request in logs and errors.
const OPERATION: &str = "POST token";

/// The client-credentials grant of OAuth 2.0 (RFC 6749, 4.4), with the credentials in the body.
///
/// Entra ID takes one scope, `https://<organisation>/.default` (learn.microsoft.com, "OAuth 2.0 client
/// credentials flow on the Microsoft identity platform"). Adobe IMS takes its scopes as one text with
/// commas (developer.adobe.com, "OAuth Server-to-Server credential implementation guide"): pass that
/// text as one scope.
pub struct ClientCredentials {
    client: Client,
    token_url: TokenUrl,
    client_id: ClientId,
    secret: SecretString,
    scopes: Vec<Scope>,
}

impl ClientCredentials {
    /// Asks `token_url` through `client`, which has no authenticator, a lane of its own, and the origin
    /// of the token endpoint. `scopes` are joined with blanks by the grant.
    ///
    /// # Errors
    /// `Configuration` if the client id or secret is empty.
    pub fn new(
        client: Client,
        token_url: Url,
        client_id: impl Into<String>,
        secret: SecretString,
        scopes: impl IntoIterator<Item = String>,
    ) -> Result<Self, Error> {
        let client_id: String = client_id.into();
        if client_id.trim().is_empty() || secret.expose_secret().is_empty() {
            return Err(Error::new(ErrorKind::Configuration, "the client id or the client secret is empty")
                .with_operation(OPERATION));
        }
        Ok(Self {
            client,
            token_url: TokenUrl::from_url(token_url),
            client_id: ClientId::new(client_id),
            secret,
            scopes: scopes.into_iter().map(Scope::new).collect(),
        })
    }

    /// A token request may be sent twice: two tokens do no harm.
    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, Error> {
        let url = self.token_url.url().clone();
        let (parts, body) = request.into_parts();
        let mut request = Request::new(Method::POST, url, OPERATION).idempotent(true);
        request.headers = parts.headers;
        request.headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        request.body = body.into();
        let response = self.client.send(request).await?;
        let status = response.status;
        if !(status.is_success() || matches!(status.as_u16(), 400 | 401 | 403)) {
            let kind = if status.is_server_error() { ErrorKind::Unavailable } else { ErrorKind::Configuration };
            return Err(Error::new(kind, "the token endpoint did not answer as a token endpoint does")
                .with_delivery(Delivery::Refused)
                .with_operation(OPERATION)
                .with_status(status)
                .with_request_id(response.request_id())
                .with_attempts(response.attempts));
        }
        let mut answer = HttpResponse::new(response.body.into());
        *answer.status_mut() = status;
        *answer.headers_mut() = response.headers;
        Ok(answer)
    }

    fn refusal(&self, answer: &BasicErrorResponse, seen: Seen) -> Error {
        let secret = [self.secret.expose_secret()];
        let code = redact::scrub(answer.error().as_ref(), &secret);
        let code: String = code.chars().take(64).collect();
        let entra_code = answer.error_description().and_then(|text| entra_code(text)).map(|code| format!(" ({code})"));
        let message =
            format!("the identity provider refused the credentials: {code}{}", entra_code.unwrap_or_default());
        seen.add_to(Error::new(ErrorKind::Auth, message).with_delivery(Delivery::Refused).with_operation(OPERATION))
    }
}

/// What tells one answer from another in a support case.
#[derive(Default)]
struct Seen {
    status: Option<StatusCode>,
    request_id: Option<String>,
}

impl Seen {
    fn add_to(self, error: Error) -> Error {
        let error = error.with_request_id(self.request_id.as_deref());
        match self.status {
            Some(status) => error.with_status(status),
            None => error,
        }
    }
}

/// Our client in the shape that the grant asks for.
struct Exchange<'a> {
    credentials: &'a ClientCredentials,
    /// Of the last answer: the grant's own errors do not keep it.
    seen: Mutex<Seen>,
}

impl<'c> AsyncHttpClient<'c> for Exchange<'_> {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Error>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async {
            let answer = self.credentials.exchange(request).await?;
            let request_id = redact::request_id(answer.headers()).map(str::to_owned);
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) =
                Seen { status: Some(answer.status()), request_id };
            Ok(answer)
        })
    }
}

/// The `AADSTS` number that Entra ID puts at the start of its description; the rest of the text names
/// tenants and applications and stays behind.
fn entra_code(description: &str) -> Option<&str> {
    let start = description.find("AADSTS")?;
    let digits = description[start + 6..].bytes().take(9).take_while(u8::is_ascii_digit).count();
    (digits > 0).then(|| &description[start..start + 6 + digits])
}

#[async_trait]
impl TokenSource for ClientCredentials {
    async fn fetch(&self) -> Result<AccessToken, Error> {
        let grant = BasicClient::new(self.client_id.clone())
            .set_client_secret(ClientSecret::new(self.secret.expose_secret().to_owned()))
            .set_token_uri(self.token_url.clone())
            .set_auth_type(AuthType::RequestBody);
        let transport = Exchange { credentials: self, seen: Mutex::default() };
        let answer =
            grant.exchange_client_credentials().add_scopes(self.scopes.iter().cloned()).request_async(&transport);
        let answer = answer.await;
        let seen = transport.seen.into_inner().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(token) => Ok(AccessToken {
                secret: SecretString::from(token.access_token().secret().clone()),
                expires_in: token.expires_in(),
            }),
            Err(RequestTokenError::Request(error)) => Err(error),
            Err(RequestTokenError::ServerResponse(answer)) => Err(self.refusal(&answer, seen)),
            // The body is not shown: it may hold the token.
            Err(RequestTokenError::Parse(..) | RequestTokenError::Other(_)) => {
                let error = Error::new(ErrorKind::Auth, "the answer of the token endpoint could not be read")
                    .with_delivery(Delivery::Refused)
                    .with_operation(OPERATION)
                    .with_remedy("check the address of the token endpoint");
                Err(seen.add_to(error))
            }
        }
    }
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ClientCredentials").field("scopes", &self.scopes.len()).finish_non_exhaustive()
    }
}
