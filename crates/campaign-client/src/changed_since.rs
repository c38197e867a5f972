//! Reading what changed, by a filter over `lastModified`. Campaign has no such filter of its own: it is defined and published by
//! the customer (experienceleague.adobe.com, Campaign Standard, "Configuring filter definition").

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use http::header::DATE;
use http_kit::{LinkTrail, Request, SameOriginUrl};

use crate::client::{CampaignClient, decode};
use crate::custom_resource::CustomRecord;
use crate::error::{Error, ErrorKind};
use crate::filter::{DEFAULT_LINE_COUNT, Filter, ListQuery};
use crate::page::WirePage;
use crate::resource::{Resource, check_name};
use crate::value::{format_datetime, parse_datetime};

/// Where the field stands by which changes are found.
const LAST_MODIFIED: &str = "lastModified";

/// What to read, and by which filter.
#[derive(Debug, Clone)]
pub struct ChangedSince {
    resource: Resource,
    filter: String,
    parameter: String,
    overlap: TimeDelta,
    line_count: u32,
}

impl ChangedSince {
    /// Reads `resource` by a published filter, `byLastModified`, whose parameter, `lastModified_parameter`, is compared as
    /// "on or after".
    ///
    /// # Errors
    /// `Configuration` if the filter or its parameter is not a plain name.
    pub fn new(resource: Resource, filter: impl Into<String>, parameter: impl Into<String>) -> Result<Self, Error> {
        let (filter, parameter) = (filter.into(), parameter.into());
        check_name(&filter)?;
        check_name(&parameter)?;
        let overlap = TimeDelta::seconds(60);
        Ok(Self { resource, filter, parameter, overlap, line_count: DEFAULT_LINE_COUNT })
    }

    /// How far behind the mark each pass begins. It must be longer than a write of Campaign takes from its `lastModified` to
    /// where a read sees it, clocks that disagree included. Default 60 s.
    #[must_use]
    pub fn overlap(mut self, overlap: Duration) -> Self {
        self.overlap = TimeDelta::from_std(overlap).unwrap_or(TimeDelta::MAX);
        self
    }

    /// Rows of a page. Default 200.
    #[must_use]
    pub fn line_count(mut self, rows: u32) -> Self {
        self.line_count = rows;
        self
    }

    fn query(&self, mark: Option<DateTime<Utc>>) -> Result<ListQuery, Error> {
        let from = mark.and_then(|mark| mark.checked_sub_signed(self.overlap)).unwrap_or(DateTime::UNIX_EPOCH);
        let filter = Filter::custom(self.filter.clone())?.with(self.parameter.clone(), format_datetime(&from))?;
        ListQuery::new(self.resource.clone()).filter(filter).line_count(self.line_count).order_by(LAST_MODIFIED)
    }
}

/// Rows that changed, the oldest change first.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ChangedPage {
    /// The rows. Those of the overlap come with each pass: the caller tells them apart by key and `lastModified`.
    pub rows: Vec<CustomRecord>,
    /// Up to where everything was read: to be stored when all rows of this page are in a safe place, and not before.
    pub mark: Option<DateTime<Utc>>,
}

/// One pass over what changed, page by page. Nothing is fetched ahead.
pub struct ChangePass {
    client: CampaignClient,
    next: Next,
    trail: LinkTrail,
    mark: Option<DateTime<Utc>>,
    /// When the service answered the first page, by its own clock.
    began: Option<DateTime<Utc>>,
    operation: String,
}

enum Next {
    First(Box<ListQuery>),
    Link(SameOriginUrl),
    Done,
}

impl CampaignClient {
    /// Begins a pass over what changed since `mark`, the one of the last page of an earlier pass; `None` reads everything.
    ///
    /// # Errors
    /// As [`ChangedSince::new`].
    pub fn changes(&self, what: &ChangedSince, mark: Option<DateTime<Utc>>) -> Result<ChangePass, Error> {
        Ok(ChangePass {
            client: self.clone(),
            next: Next::First(Box::new(what.query(mark)?)),
            trail: LinkTrail::new(),
            mark,
            began: None,
            operation: format!("GET {}/{}", what.resource, what.filter),
        })
    }
}

impl ChangePass {
    /// The next page; `None` after the last.
    ///
    /// The mark of a page is the latest `lastModified` so far. That of the last page is at least the time at which the service
    /// answered the first one, by its own `Date`: what it had written by then was read, but for what the overlap is for, so that
    /// a quiet table does not make the same rows come for ever. A mark never goes back.
    ///
    /// # Errors
    /// `Decode` for a row without a readable `lastModified`; `ForeignLink` for a next link that leads elsewhere or came before;
    /// see [`ErrorKind`]. After an error the same page is asked for again; a link may have grown old by then, and a new pass
    /// from the last mark is as good.
    ///
    /// # Cancellation
    /// Nothing is lost: the same page is asked for again.
    pub async fn next_page(&mut self) -> Result<Option<ChangedPage>, Error> {
        let first = matches!(self.next, Next::First(_));
        let link = match &self.next {
            Next::First(query) => {
                let url = self.client.http().origin().join(&query.path_and_query())?;
                self.client.http().link(url.as_str())?
            }
            Next::Link(link) => link.clone(),
            Next::Done => return Ok(None),
        };
        let request = Request::follow(link.clone(), self.operation.clone());
        let response = self.client.call(request).await?;
        let wire: WirePage<CustomRecord> = decode(&response, &self.operation)?;
        let named = |error: Error, operation: &str| error.with_operation(operation.to_owned());
        let page = wire.checked(self.client.http()).map_err(|error| named(error, &self.operation))?;
        let mut mark = self.mark;
        for row in &page.content {
            let changed = row.text(LAST_MODIFIED).as_deref().and_then(parse_datetime).ok_or_else(|| {
                named(Error::because(ErrorKind::Decode, "a row has no readable lastModified"), &self.operation)
            })?;
            mark = mark.max(Some(changed));
        }
        if first {
            self.began = response.header(DATE.as_str()).and_then(http_date);
        }
        self.next = match page.next {
            Some(next) => {
                let leads = self.trail.lead(link.as_str(), next.as_str());
                leads.map_err(|error| named(error.into(), &self.operation))?;
                Next::Link(next)
            }
            None => {
                mark = mark.max(self.began);
                Next::Done
            }
        };
        self.mark = mark;
        Ok(Some(ChangedPage { rows: page.content, mark }))
    }
}

impl fmt::Debug for ChangePass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ChangePass")
            .field("operation", &self.operation)
            .field("mark", &self.mark)
            .finish_non_exhaustive()
    }
}

/// The usual form of RFC 9110, 5.6.7. A date in another form is as good as none.
fn http_date(text: &str) -> Option<DateTime<Utc>> {
    let date = chrono::NaiveDateTime::parse_from_str(text, "%a, %d %b %Y %H:%M:%S GMT").ok()?;
    Some(date.and_utc())
}
