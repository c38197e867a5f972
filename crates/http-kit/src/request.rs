use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use url::Url;

use crate::origin::SameOriginUrl;
use crate::pace::Priority;
use crate::redact::VisibleHeaders;
use crate::retry::Classify;

/// One call: what to send, and what may be done about failures.
#[derive(Clone)]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) operation: Cow<'static, str>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) idempotent: bool,
    pub(crate) time_limit: Option<Duration>,
    pub(crate) priority: Option<Priority>,
    pub(crate) classifier: Option<Arc<dyn Classify>>,
}

impl Request {
    /// A request to `url`, which must lie within an origin of the client.
    ///
    /// `operation` is a route template such as `PATCH /contacts({key})`; logs and errors show it
    /// instead of the URL, so it must hold no value. GET, HEAD, OPTIONS, PUT and DELETE count as
    /// idempotent until [`Request::idempotent`] says otherwise.
    #[must_use]
    pub fn new(method: Method, url: Url, operation: impl Into<Cow<'static, str>>) -> Self {
        let idempotent = method.is_idempotent();
        Self {
            method,
            url,
            operation: operation.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            idempotent,
            time_limit: None,
            priority: None,
            classifier: None,
        }
    }

    /// A GET.
    #[must_use]
    pub fn get(url: Url, operation: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Method::GET, url, operation)
    }

    /// A GET of a link that a server gave and an origin accepted.
    #[must_use]
    pub fn follow(link: SameOriginUrl, operation: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Method::GET, link.into_url(), operation)
    }

    /// A POST, not idempotent.
    #[must_use]
    pub fn post(url: Url, operation: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Method::POST, url, operation)
    }

    /// A PATCH, not idempotent unless said otherwise.
    #[must_use]
    pub fn patch(url: Url, operation: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Method::PATCH, url, operation)
    }

    /// A DELETE.
    #[must_use]
    pub fn delete(url: Url, operation: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Method::DELETE, url, operation)
    }

    /// Sets one header, in place of an earlier value.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets the body and its type.
    #[must_use]
    pub fn body(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.body = body.into();
        self
    }

    /// Sets a JSON body that is encoded already.
    #[must_use]
    pub fn json(self, body: impl Into<Bytes>) -> Self {
        self.body("application/json", body)
    }

    /// Says whether the effect of two deliveries is that of one: only such a request is sent again
    /// after an attempt whose outcome is unknown.
    #[must_use]
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = idempotent;
        self
    }

    /// Limits the whole call with all its waits, in place of the policy's limit.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// Sends this one with `priority`, in place of the client's.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Reads the answers to this request with `classifier`, in place of the client's.
    #[must_use]
    pub fn classifier(mut self, classifier: Arc<dyn Classify>) -> Self {
        self.classifier = Some(classifier);
        self
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The route template.
    #[must_use]
    pub fn operation(&self) -> &str {
        &self.operation
    }

    /// The URL. It may hold values: keep it out of logs.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Request")
            .field("method", &self.method)
            .field("operation", &self.operation)
            .field("headers", &VisibleHeaders(&self.headers))
            .field("body_bytes", &self.body.len())
            .field("idempotent", &self.idempotent)
            .finish_non_exhaustive()
    }
}
