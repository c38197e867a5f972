//! A journal of Adobe I/O Events: read page by page, from anywhere, as often as wanted
//! (developer.adobe.com, "Journaling API").
//!
//! A journal delivers each event at least once, in any order, and forgets it after seven days. A reader keeps the link behind the
//! last page whose events it has put in a safe place; it reads the rest again after a crash, and knows events by their id.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderName;
use http::{HeaderValue, Method, StatusCode};
use http_kit::{
    Authenticator, Client, Lane, Limits, Origin, Priority, Request, Response, RetryPolicy, SameOriginUrl, Stats,
    Transport, Url,
};
use timing::{SharedClock, SharedEntropy};

use crate::client::decode;
use crate::config::CampaignConfig;
use crate::equipment::{API_KEY, Equipment, api_key};
use crate::error::{Delivery, Error, ErrorKind};
use crate::key::encode;
use crate::refusal::Refusal;

mod event;
mod link;
mod mail;

pub use event::JournalEvent;
pub use mail::{DecodeError, DecodeEvents, DecodeFault, EventPointers, FieldPointers, KindSource, MailEvent, MailKind};

const ORGANIZATION: HeaderName = HeaderName::from_static("x-ims-org-id");
const LINKS_AS_URLS: HeaderName = HeaderName::from_static("x-adobe-io-events-url-links");

const OPERATION: &str = "GET journal";

/// The wait at the end of the journal where the service names none.
const DEFAULT_WAIT: Duration = Duration::from_secs(10);

/// Settings of a [`Journal`] beyond those of the identity, which are Campaign's.
#[derive(Debug, Clone)]
pub struct JournalConfig {
    /// The address of the registration: `https://events-va6.adobe.io/events/organizations/1/integrations/2/<uuid>`.
    pub url: String,
    /// The organisation as `...@AdobeOrg`.
    pub org_id: String,
    /// Other hosts that links may lead to, as `https://events-fast.adobe.io`. They get the access token. Default: none.
    pub other_hosts: Vec<String>,
    /// Events of a page. Default: the service chooses.
    pub limit: Option<u32>,
    /// Most bytes of a page, decoded. Default 8 MiB; the service itself stops at about 1.5 MB.
    pub max_page: usize,
}

impl JournalConfig {
    /// The settings that have no default.
    #[must_use]
    pub fn new(url: impl Into<String>, org_id: impl Into<String>) -> Self {
        Self { url: url.into(), org_id: org_id.into(), other_hosts: Vec::new(), limit: None, max_page: 8 << 20 }
    }
}

/// Where to begin to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalStart {
    /// With the oldest event that is kept.
    Oldest,
    /// Behind this position.
    Since(String),
    /// With what comes from now on. Only once: it skips everything that is there.
    Latest,
    /// With what came within this time.
    Seek(Duration),
    /// At the link of an earlier page, as text from a store. It is checked as if a server had sent it.
    Link(String),
}

/// What a journal answers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum JournalRead {
    /// Events.
    Page(JournalPage),
    /// Nothing more for now.
    End {
        /// Where to read on.
        next: SameOriginUrl,
        /// How long the service asks to wait before.
        retry_after: Duration,
    },
    /// The position is no longer kept: events between it and the oldest that is may be lost to this reader. Report the gap
    /// and read on from [`JournalStart::Oldest`].
    Expired,
}

/// Events, in no particular order.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct JournalPage {
    /// The events; each may come again on another page, or on this one.
    pub events: Vec<JournalEvent>,
    /// Where to read on: to be stored when all events of this page are in a safe place, and not before.
    pub next: SameOriginUrl,
    /// The position of the last event.
    pub last: Option<String>,
}

/// A reader of one journal. Clones are the same reader: one token, one lane. It holds no position.
#[derive(Clone)]
pub struct Journal {
    http: Client,
    url: Url,
    limit: Option<u32>,
}

/// Builds a [`Journal`] with other parts than the usual ones.
#[derive(Debug)]
#[must_use]
pub struct JournalBuilder {
    config: JournalConfig,
    campaign: CampaignConfig,
    equipment: Equipment,
}

impl JournalBuilder {
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

    /// Sends through a lane that others share. Default: one of its own, with one request at a time.
    pub fn lane(mut self, lane: Lane) -> Self {
        self.equipment.lane = Some(lane);
        self
    }

    /// Takes tokens from elsewhere: from [`CampaignClient::authenticator`](crate::CampaignClient::authenticator), to share them.
    pub fn authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.equipment.authenticator = Some(authenticator);
        self
    }

    /// Sends everything, token requests too, through `transport`.
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.equipment.transport = Some(transport);
        self
    }

    /// Builds the reader. Connects to nothing.
    ///
    /// # Errors
    /// `Configuration`, with the setting named.
    pub fn build(self) -> Result<Journal, Error> {
        let Self { config, campaign, equipment } = self;
        let host = host_of("journal url", &config.url)?;
        let url = host.link(&config.url)?.into_url();
        let organization = HeaderValue::from_str(&config.org_id)
            .map_err(|_| Error::because(ErrorKind::Configuration, "the organisation id is not a header value"))?;
        let lane = equipment.lane.clone().unwrap_or_else(|| Lane::new("journal", 1, Arc::clone(&equipment.clock)));
        let mut builder = equipment
            .set_up(&campaign, Client::builder(host))
            .lane(lane)
            .limits(Limits { body: config.max_page, ..Limits::default() })
            .authenticator(equipment.authenticator(&campaign)?)
            .header(API_KEY, api_key(&campaign)?)
            .header(ORGANIZATION, organization)
            .header(LINKS_AS_URLS, HeaderValue::from_static("true"));
        for other in &config.other_hosts {
            builder = builder.also_origin(host_of("other_hosts", other)?);
        }
        Ok(Journal { http: builder.build()?, url, limit: config.limit })
    }
}

/// The host of a journal's address: links may lead to other paths of it.
fn host_of(setting: &'static str, address: &str) -> Result<Origin, Error> {
    let wrong = |error| Error::of_setting(setting, error);
    let mut base = Origin::parse(address).map_err(wrong)?.base().clone();
    base.set_path("");
    Origin::parse(base.as_str()).map_err(wrong)
}

impl Journal {
    /// A reader with the credentials of `campaign` and a token cache of its own. Connects to nothing yet.
    ///
    /// # Errors
    /// `Configuration`, with the setting named.
    pub fn new(config: JournalConfig, campaign: CampaignConfig) -> Result<Self, Error> {
        Self::builder(config, campaign).build()
    }

    /// Starts to build a reader with other parts.
    pub fn builder(config: JournalConfig, campaign: CampaignConfig) -> JournalBuilder {
        JournalBuilder { config, campaign, equipment: Equipment::default() }
    }

    /// The same reader for requests of `priority`.
    #[must_use]
    pub fn at_priority(&self, priority: Priority) -> Self {
        Self { http: self.http.at_priority(priority), ..self.clone() }
    }

    /// One page from anywhere.
    ///
    /// # Errors
    /// `ForeignLink` for a stored link that does not lead to this journal; else as [`next`](Self::next).
    pub async fn read(&self, start: &JournalStart) -> Result<JournalRead, Error> {
        let link = match start {
            JournalStart::Link(link) => self.http.link(link)?,
            _ => self.http.link(self.first(start).as_str())?,
        };
        self.next(link).await
    }

    /// The page behind a link, which is followed untouched.
    ///
    /// # Errors
    /// `ForeignLink` where the answer leads to another host than the configured ones, or back to the same page; `Decode` for
    /// an answer that cannot be read or is too large; see [`ErrorKind`] for the rest. The error of an expired position is
    /// [`JournalRead::Expired`].
    ///
    /// # Cancellation
    /// Nothing is lost: the page can be read again.
    pub async fn next(&self, link: SameOriginUrl) -> Result<JournalRead, Error> {
        let here = link.as_url().clone();
        let response = self.http.send(Request::follow(link, OPERATION)).await?;
        match response.status {
            StatusCode::NO_CONTENT => {
                let next = match link::target(&response.headers, "next") {
                    Some(target) => self.resolve(&here, target),
                    // The same place again.
                    None => self.http.link(here.as_str()).map_err(Error::from),
                };
                let retry_after = response.retry_after.unwrap_or(DEFAULT_WAIT);
                Ok(JournalRead::End { next: next.map_err(|error| told(error, &response))?, retry_after })
            }
            StatusCode::GONE => Ok(JournalRead::Expired),
            status if status.is_success() => self.page(&here, &response).map(JournalRead::Page),
            status => {
                let refusal = Refusal::read(&Method::GET, status, &response.body, true);
                Err(told(Error::new(refusal.kind).with_delivery(refusal.delivery), &response)
                    .with_server_text(refusal.code, refusal.message))
            }
        }
    }

    fn page(&self, here: &Url, response: &Response) -> Result<JournalPage, Error> {
        let page: event::WirePage = decode(response, OPERATION)?;
        let unclear = |kind, why: &'static str| told(Error::because(kind, why), response);
        let target = link::target(&response.headers, "next")
            .ok_or_else(|| unclear(ErrorKind::Decode, "a page of the journal does not say where to read on"))?;
        let next = self.resolve(here, target).map_err(|error| told(error, response))?;
        if next.as_url() == here {
            return Err(unclear(ErrorKind::ForeignLink, "a page of the journal leads back to itself"));
        }
        let last = page.page.last;
        Ok(JournalPage { events: page.events.into_iter().map(JournalEvent::from).collect(), next, last })
    }

    /// Links come relative or whole; either way they stay with the configured hosts, or the answer is refused.
    fn resolve(&self, here: &Url, target: &str) -> Result<SameOriginUrl, Error> {
        let relative = target.starts_with('/') && !target.starts_with("//") && !target.contains('\\');
        if relative {
            let origin = here.origin().ascii_serialization();
            return Ok(self.http.link(&format!("{origin}{target}"))?);
        }
        Ok(self.http.link(target)?)
    }

    fn first(&self, start: &JournalStart) -> Url {
        let mut parameters = Vec::new();
        match start {
            JournalStart::Since(position) => parameters.push(format!("since={}", encode(position))),
            JournalStart::Latest => parameters.push("latest=true".to_owned()),
            JournalStart::Seek(back) => parameters.push(format!("seek={}", duration(*back))),
            JournalStart::Oldest | JournalStart::Link(_) => {}
        }
        parameters.extend(self.limit.map(|limit| format!("limit={limit}")));
        let mut url = self.url.clone();
        url.set_query((!parameters.is_empty()).then(|| parameters.join("&")).as_deref());
        url
    }

    /// What this reader sent so far, token requests left out.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.http.stats()
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Journal").field("http", &self.http).finish_non_exhaustive()
    }
}

/// Reading changes nothing: the service did not act, whatever it answered.
fn told(error: Error, response: &Response) -> Error {
    error.with_delivery(Delivery::Refused).with_operation(OPERATION).with_answer(response)
}

/// A negative duration of ISO 8601 in whole seconds: `-P5DT2H`.
fn duration(back: Duration) -> String {
    let seconds = back.as_secs();
    let mut text = "-P".to_owned();
    let days = seconds / 86_400;
    if days > 0 {
        text.push_str(&format!("{days}D"));
    }
    let parts = [(seconds / 3600 % 24, 'H'), (seconds / 60 % 60, 'M'), (seconds % 60, 'S')];
    if days == 0 || parts.iter().any(|(count, _)| *count > 0) {
        text.push('T');
    }
    for (count, unit) in parts {
        // A duration of nothing still has to name a unit.
        if count > 0 || (seconds == 0 && unit == 'S') {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_the_service_reads_them() {
        let cases = [(7_200, "-PT2H"), (86_400, "-P1D"), (439_200, "-P5DT2H"), (61, "-PT1M1S"), (0, "-PT0S")];
        for (seconds, text) in cases {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
    }
}
