use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::Stream;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use http_kit::{
    Authenticator, Client, Lane, Priority, Request, Response, RetryPolicy, SameOriginUrl, Stats, Transport,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use timing::{SharedClock, SharedEntropy};

use crate::config::CampaignConfig;
use crate::equipment::{API_KEY, Equipment, api_key};
use crate::error::{Delivery, Error, ErrorKind};
use crate::filter::ListQuery;
use crate::metadata::ResourceMeta;
use crate::page::{Page, WireCount, WirePage};
use crate::record_api::{Addressing, RecordApi};
use crate::refusal::{EngineClassifier, Refusal};
use crate::resource::{Family, Resource, ResourceEntry, check_name, read_listing};

/// A client of one organisation. Clones are the same client: one token, one lane.
#[derive(Clone)]
pub struct CampaignClient {
    http: Client,
    classifier: EngineClassifier,
    authenticator: Arc<dyn Authenticator>,
}

/// Builds a [`CampaignClient`] with other parts than the usual ones.
#[derive(Debug)]
#[must_use]
pub struct CampaignClientBuilder {
    config: CampaignConfig,
    equipment: Equipment,
}

impl CampaignClientBuilder {
    /// Uses `clock` for all waits.
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.equipment.clock = clock;
        self
    }

    /// Uses `entropy` for jitter.
    pub fn entropy(mut self, entropy: SharedEntropy) -> Self {
        self.equipment.entropy = entropy;
        self
    }

    /// Repeats by another policy; its time limits replace those of the configuration.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.equipment.retry = Some(policy);
        self
    }

    /// Sends through a lane that others share; it replaces `in_flight` and `requests_per_second`.
    pub fn lane(mut self, lane: Lane) -> Self {
        self.equipment.lane = Some(lane);
        self
    }

    /// Takes tokens from elsewhere.
    pub fn authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.equipment.authenticator = Some(authenticator);
        self
    }

    /// Sends everything, token requests too, through `transport`.
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.equipment.transport = Some(transport);
        self
    }

    /// Builds the client. Connects to nothing.
    ///
    /// # Errors
    /// `Configuration`, with the setting named.
    pub fn build(self) -> Result<CampaignClient, Error> {
        let config = &self.config;
        config.check()?;
        let origin = config.origin()?;
        let authenticator = self.equipment.authenticator(config)?;
        let (clock, entropy) = (&self.equipment.clock, &self.equipment.entropy);
        let lane = self
            .equipment
            .lane
            .clone()
            .unwrap_or_else(|| Lane::paced("campaign", &config.pace(), Arc::clone(clock), Arc::clone(entropy)));
        let classifier = EngineClassifier::default();
        let http = self
            .equipment
            .set_up(config, Client::builder(origin))
            .lane(lane)
            .authenticator(Arc::clone(&authenticator))
            .classifier(Arc::new(classifier.clone()))
            .header(API_KEY, api_key(config)?)
            .header(CACHE_CONTROL, HeaderValue::from_static("no-cache"))
            .build()?;
        Ok(CampaignClient { http, classifier, authenticator })
    }
}

impl CampaignClient {
    /// A client with a token cache, a lane and connections of its own. Connects to nothing yet.
    ///
    /// # Errors
    /// `Configuration`, with the setting named.
    pub fn new(config: CampaignConfig) -> Result<Self, Error> {
        Self::builder(config).build()
    }

    /// Starts to build a client with other parts.
    pub fn builder(config: CampaignConfig) -> CampaignClientBuilder {
        CampaignClientBuilder { config, equipment: Equipment::default() }
    }

    /// The same client for requests of `priority`: a cheap clone that shares connections, access token and lane.
    /// Without it they are live.
    #[must_use]
    pub fn at_priority(&self, priority: Priority) -> Self {
        Self { http: self.http.at_priority(priority), ..self.clone() }
    }

    /// The records of `resource`, addressed by their custom key.
    #[must_use]
    pub fn records(&self, resource: Resource) -> RecordApi {
        self.records_by(resource, Addressing::Key)
    }

    /// The records of `resource`, addressed as `addressing` says.
    #[must_use]
    pub fn records_by(&self, resource: Resource, addressing: Addressing) -> RecordApi {
        RecordApi::new(self.clone(), resource, addressing)
    }

    /// The first page of a list.
    ///
    /// # Errors
    /// See [`ErrorKind`]; `ForeignLink` if the next link leaves the organisation.
    pub async fn list<T: DeserializeOwned>(&self, query: &ListQuery) -> Result<Page<T>, Error> {
        let url = self.http.origin().join(&query.path_and_query())?;
        self.fetch_page(Request::get(url, format!("GET {}", query.resource()))).await
    }

    /// The page behind the `next` link of another, which is followed untouched.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn next_page<T: DeserializeOwned>(&self, link: SameOriginUrl) -> Result<Page<T>, Error> {
        self.fetch_page(Request::follow(link, "GET next page")).await
    }

    async fn fetch_page<T: DeserializeOwned>(&self, request: Request) -> Result<Page<T>, Error> {
        let operation = request.operation().to_owned();
        let response = self.call(request).await?;
        let page: WirePage<T> = decode(&response, &operation)?;
        page.checked(&self.http).map_err(|error| error.with_operation(operation))
    }

    /// All pages of a list, one at a time. The stream ends after the first error. A page that is
    /// being fetched is lost when the stream is dropped; nothing is fetched ahead.
    ///
    /// # Errors
    /// `ForeignLink` if the query does not stay within the organisation.
    pub fn pages<T: DeserializeOwned>(
        &self,
        query: &ListQuery,
    ) -> Result<impl Stream<Item = Result<Page<T>, Error>> + use<T>, Error> {
        let first = self.http.origin().join(&query.path_and_query())?;
        let first = self.http.link(first.as_str())?;
        let client = self.clone();
        let operation = format!("GET {}", query.resource());
        Ok(http_kit::pages(first, move |link| {
            let client = client.clone();
            let request = Request::follow(link, operation.clone());
            async move {
                let page: Page<T> = client.fetch_page(request).await?;
                let next = page.next.clone();
                Ok::<_, Error>((page, next))
            }
        }))
    }

    /// The number behind the `count` link of a page.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn count(&self, link: SameOriginUrl) -> Result<u64, Error> {
        let response = self.call(Request::follow(link, "GET count")).await?;
        Ok(decode::<WireCount>(&response, "GET count")?.count)
    }

    /// The resources of a family.
    ///
    /// # Errors
    /// `UnknownResource` if Campaign does not publish the family.
    pub async fn resources(&self, family: Family) -> Result<Vec<ResourceEntry>, Error> {
        let url = self.http.origin().join(&format!("{family}/"))?;
        let operation = format!("GET {family}/");
        let response = self.call(Request::get(url, operation.clone())).await?;
        Ok(read_listing(family, decode::<Map<String, Value>>(&response, &operation)?))
    }

    /// Finds the family that holds `name`.
    ///
    /// # Errors
    /// `UnknownResource` if none does; `Configuration` if `name` is not a plain name.
    pub async fn find_resource(&self, name: &str) -> Result<Resource, Error> {
        check_name(name)?;
        for family in Family::ALL {
            let entries = match self.resources(family).await {
                Ok(entries) => entries,
                Err(error) if matches!(error.kind(), ErrorKind::UnknownResource | ErrorKind::NotFound) => continue,
                Err(error) => return Err(error),
            };
            if let Some(found) = entries.into_iter().find(|entry| entry.resource.name() == name) {
                return Ok(found.resource);
            }
        }
        Err(Error::because(ErrorKind::UnknownResource, format!("no family has a resource named {name}")))
    }

    /// What Campaign says about the fields of a resource.
    ///
    /// # Errors
    /// `UnknownResource` if there is no such resource.
    pub async fn resource_metadata(&self, resource: &Resource) -> Result<ResourceMeta, Error> {
        let url = self.http.origin().join(&resource.metadata_path())?;
        let operation = format!("GET {}", resource.metadata_path());
        let missing = |error: Error| {
            if error.kind() == ErrorKind::NotFound { error.into_kind(ErrorKind::UnknownResource) } else { error }
        };
        let response = self.call(Request::get(url, operation.clone())).await.map_err(missing)?;
        Ok(ResourceMeta::read(resource.clone(), &decode::<Value>(&response, &operation)?))
    }

    /// What this client sent so far, token requests left out.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.http.stats()
    }

    /// How long ago the access token at hand was asked for; `None` before the first one.
    #[must_use]
    pub fn token_age(&self) -> Option<std::time::Duration> {
        self.http.token_age()
    }

    /// Where the tokens of this client come from, for other clients of the same identity.
    #[must_use]
    pub fn authenticator(&self) -> Arc<dyn Authenticator> {
        Arc::clone(&self.authenticator)
    }

    /// The lane of this identity.
    #[must_use]
    pub fn lane(&self) -> &Lane {
        self.http.lane()
    }

    pub(crate) fn http(&self) -> &Client {
        &self.http
    }

    /// Sends, and makes an error of every status that is not 2xx.
    pub(crate) async fn call(&self, request: Request) -> Result<Response, Error> {
        let method = request.method().clone();
        let operation = request.operation().to_owned();
        let response = self.http.send(request).await?;
        if response.status.is_success() {
            self.classifier.worked.store(true, Ordering::Relaxed);
            return Ok(response);
        }
        let worked = self.classifier.worked.load(Ordering::Relaxed);
        let refusal = Refusal::read(&method, response.status, &response.body, worked);
        let known = refusal.kind.is_of_record() && (refusal.kind != ErrorKind::Validation || refusal.code.is_some());
        if response.status == StatusCode::INTERNAL_SERVER_ERROR && known {
            // Only the application of an organisation that exists speaks of records. Words without a code may be anybody's.
            self.classifier.worked.store(true, Ordering::Relaxed);
        }
        let delivery = if response.maybe_applied_before { Delivery::MaybeApplied } else { refusal.delivery };
        Err(Error::new(refusal.kind)
            .with_delivery(delivery)
            .with_operation(operation)
            .with_answer(&response)
            .with_server_text(refusal.code, refusal.message))
    }
}

/// Reads a body. The error names the request and the place, never the content.
pub(crate) fn decode<T: DeserializeOwned>(response: &Response, operation: &str) -> Result<T, Error> {
    decode_bytes(&response.body, operation).map_err(|error| error.with_answer(response))
}

pub(crate) fn decode_bytes<T: DeserializeOwned>(body: &Bytes, operation: &str) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| {
        let place = format!("the answer is not the JSON expected, line {} column {}", error.line(), error.column());
        Error::because(ErrorKind::Decode, place)
            .with_delivery(Delivery::MaybeApplied)
            .with_operation(operation.to_owned())
    })
}

impl fmt::Debug for CampaignClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CampaignClient").field("http", &self.http).finish_non_exhaustive()
    }
}
