//! An HTTP pipeline for API clients: auth, retry that knows what was sent, pace, paging, bounded bodies, redaction.
//!
//! A [`Client`] sends [`Request`]s to the origins it was built for. Every request goes through one
//! pipeline, described at [`Client::send`]. What comes back is either a [`Response`], whatever its
//! status, or an [`Error`] that says by its [`Delivery`] whether the server may have acted.
//!
//! ```
//! use http_kit::{ErrorKind, Origin};
//!
//! let origin = Origin::parse("https://org.crm4.dynamics.com")?;
//! assert!(origin.link("https://org.crm4.dynamics.com/api/data/v9.2/contacts?$skiptoken=1").is_ok());
//! let foreign = origin.link("https://attacker.example/").unwrap_err();
//! assert_eq!(foreign.kind(), ErrorKind::ForeignLink);
//! # Ok::<(), http_kit::Error>(())
//! ```

pub mod auth;
mod client;
mod client_builder;
mod error;
mod origin;
pub mod pace;
mod page;
pub mod redact;
mod request;
mod response;
pub mod retry;
mod stats;
#[cfg(feature = "test-util")]
pub mod testing;
pub mod transport;

pub use auth::{AccessToken, Authenticator, ClientCredentials, Grant, StaticToken, TokenCache, TokenSource};
pub use bytes::Bytes;
pub use client::Client;
pub use client_builder::{ClientBuilder, Limits};
pub use error::{Delivery, Error, ErrorKind};
pub use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
pub use origin::{Origin, SameOriginUrl};
pub use pace::{Lane, Priority};
pub use page::{LinkTrail, pages};
pub use request::Request;
pub use response::Response;
pub use retry::{Advice, Answer, Classify, RetryPolicy, StandardClassifier, Verdict};
pub use secrecy::{ExposeSecret, SecretString};
pub use stats::Stats;
pub use transport::{Transport, TransportError, TransportErrorKind, TransportRequest, TransportResponse};
pub use url::Url;
