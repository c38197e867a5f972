//! Change tracking: the whole table once, then what changed.
//!
//! A first walk returns every row and ends with a *delta link*; the delta link returns the rows changed and deleted
//! since, and a new delta link (learn.microsoft.com, "Use change tracking to synchronize data with external systems").
//! Changes come at least once, carry all selected columns, and several of one row may collapse into one.

use std::fmt;
use std::sync::Arc;

use http_kit::Bytes;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use url::Url;
use uuid::Uuid;

use crate::client::D365Client;
use crate::entity::{DynamicEntity, Entity as _, Envelope, RAW, RowOf, envelope, text_of};
use crate::error::{Error, ErrorKind};
use crate::metadata::EntityDef;
use crate::odata::{MAX_TOP, Name, Prefer, Query};

const OPERATION: &str = "GET changes";

/// Where a tracked read or a scan goes on. Store it as it is; `Debug` hides it, since it addresses data.
///
/// A link from a store is checked again when it is followed: it must lead to the configured origin.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// To the next page of the same walk or poll.
    Next(String),
    /// To the changes from now on: the walk or poll is complete.
    Delta(String),
}

impl Link {
    /// The URL as the service wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Next(url) | Self::Delta(url) => url,
        }
    }

    /// Whether the walk or poll is complete.
    #[must_use]
    pub fn is_delta(&self) -> bool {
        matches!(self, Self::Delta(_))
    }

    /// The columns that the link was made for, in its order; `None` when it does not tell.
    #[must_use]
    pub fn columns(&self) -> Option<Vec<String>> {
        let url = Url::parse(self.as_str()).ok()?;
        let select = url.query()?.split('&').find_map(|option| {
            let (name, value) = option.split_once('=')?;
            (percent_decode_str(name).decode_utf8().ok()? == "$select").then_some(value)
        })?;
        let select = percent_decode_str(select).decode_utf8().ok()?;
        Some(select.split(',').map(|column| column.trim().to_owned()).filter(|column| !column.is_empty()).collect())
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_delta() { "Delta(..)" } else { "Next(..)" })
    }
}

/// A changed row.
#[derive(Clone, Debug, PartialEq)]
pub enum Changed {
    /// The row exists, with all selected columns. Nothing tells a new row from a changed one.
    Upserted(DynamicEntity),
    /// The row is gone. It may be one that no earlier page ever showed.
    Deleted {
        /// The row's identifier; nothing else of the row is left.
        id: Uuid,
        /// The service's reason, `deleted`.
        reason: Option<String>,
    },
}

/// One page of a walk or poll.
#[derive(Debug)]
#[non_exhaustive]
pub struct ChangePage {
    /// The changes in the service's order.
    pub changes: Vec<Changed>,
    /// Where to go on. Store it only after the effects of `changes` are durable.
    pub link: Link,
}

/// Reads the changes of one table; made by [`D365Client::changes`].
#[derive(Clone, Debug)]
pub struct ChangeTracker {
    client: D365Client,
    def: Arc<EntityDef>,
    columns: Vec<Name>,
    page_size: u32,
}

impl ChangeTracker {
    pub(crate) fn new<N: TryInto<Name>>(
        client: D365Client,
        def: Arc<EntityDef>,
        columns: impl IntoIterator<Item = N>,
        page_size: u32,
    ) -> Result<Self, Error>
    where
        Error: From<N::Error>,
    {
        let columns = Query::new().select(columns)?.selected().to_vec();
        if columns.is_empty() {
            return Err(Error::validation("a tracked read needs at least one column"));
        }
        Ok(Self { client, def, columns, page_size })
    }

    /// The same with another number of rows per page, brought into the range from 1 to 5000.
    #[must_use]
    pub fn page_size(mut self, rows: u32) -> Self {
        self.page_size = rows.clamp(1, MAX_TOP);
        self
    }

    /// The columns of each row.
    #[must_use]
    pub fn columns(&self) -> &[Name] {
        &self.columns
    }

    /// Whether a link was made for the columns of this tracker, in any order. A link keeps the columns it was made
    /// with: when they differ, only a new walk returns the wanted ones. A link that does not tell counts as fitting.
    #[must_use]
    pub fn fits(&self, link: &Link) -> bool {
        let Some(theirs) = link.columns() else { return true };
        let primary = self.def.primary_id();
        let ours = |name: &str| name == primary || self.columns.iter().any(|column| column.as_str() == name);
        let known = |name: &Name| name.as_str() == primary || theirs.iter().any(|column| column == name.as_str());
        theirs.iter().all(|name| ours(name)) && self.columns.iter().all(known)
    }

    /// Starts a walk over the whole table and returns its first page.
    ///
    /// Cancel safe: it only reads.
    ///
    /// # Errors
    /// [`TrackingOff`](crate::ErrorKind::TrackingOff), [`MissingLink`](crate::ErrorKind::MissingLink),
    /// [`UnknownColumn`](crate::ErrorKind::UnknownColumn), and whatever keeps a request from succeeding.
    pub async fn start(&self) -> Result<ChangePage, Error> {
        self.fetch(None).await?.decode()
    }

    /// Follows a link: to the next page, or to the changes since.
    ///
    /// Repeatable: the same link returns the same changes, or more. Cancel safe: it only reads.
    ///
    /// # Errors
    /// [`TokenExpired`](crate::ErrorKind::TokenExpired) when the delta link is too old: start a new walk.
    /// [`LinkRefused`](crate::ErrorKind::LinkRefused) when the service refuses the link with a status of 400 to 499
    /// and a reason that tells nothing better: start a new walk, once, since a fault of another cause would not go
    /// away by that.
    /// [`ForeignLink`](crate::ErrorKind::ForeignLink) when the link leads elsewhere; nothing is sent then.
    /// [`MissingLink`](crate::ErrorKind::MissingLink) when the last page has no delta link.
    pub async fn follow(&self, link: &Link) -> Result<ChangePage, Error> {
        self.fetch(Some(link)).await?.decode()
    }

    /// The answer to [`follow`](Self::follow), or to [`start`](Self::start) without a link, before it is decoded: its
    /// [`FetchedChanges::hint`] lets a caller ask for the next page while it decodes this one.
    ///
    /// Repeatable and cancel safe: it only reads.
    ///
    /// # Errors
    /// As for these two, but for what the page itself may lack.
    pub async fn fetch(&self, link: Option<&Link>) -> Result<FetchedChanges, Error> {
        let body = match link {
            None => {
                let query = Query::new().select(&self.columns)?.to_query_string();
                let target = format!("{}?{query}", self.def.entity_set());
                self.client.get(&target, OPERATION, Some(self.walk())).await?.body
            }
            Some(link) => {
                let url = self.client.link(link.as_str())?;
                let prefer = if link.is_delta() { Prefer::new().max_page_size(self.page_size) } else { self.walk() };
                self.client.follow(url, OPERATION, Some(prefer)).await.map_err(refused_link)?.body
            }
        };
        Ok(FetchedChanges { client: self.client.clone(), def: self.def.clone(), body, followed: link.cloned() })
    }

    /// Annotations are never asked for: they have been seen to make the delta link disappear.
    fn walk(&self) -> Prefer {
        Prefer::new().track_changes().max_page_size(self.page_size)
    }
}

/// A page of changes as it came; `Debug` shows its size alone.
#[derive(Clone)]
pub struct FetchedChanges {
    client: D365Client,
    def: Arc<EntityDef>,
    body: Bytes,
    followed: Option<Link>,
}

impl FetchedChanges {
    /// Where the page seems to lead, if to another page: found by its name in the last part of the text, where the service
    /// writes it. What [`decode`](Self::decode) says is what counts.
    #[must_use]
    pub fn hint(&self) -> Option<Link> {
        next_hint(&self.body)
    }

    /// Reads the page.
    ///
    /// # Errors
    /// [`Decode`](crate::ErrorKind::Decode), [`MissingLink`](crate::ErrorKind::MissingLink) when the last page has no delta
    /// link, [`ForeignLink`](crate::ErrorKind::ForeignLink) when the page leads elsewhere: stored, such a link would be
    /// refused for ever.
    pub fn decode(self) -> Result<ChangePage, Error> {
        let page = decode_changes(&self.def, &self.body, self.followed.as_ref())?;
        self.client.link(page.link.as_str())?;
        Ok(page)
    }
}

impl fmt::Debug for FetchedChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchedChanges").field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

/// The next link in the last part of a page, where the service writes it, found without reading the page.
pub(crate) fn next_hint(body: &[u8]) -> Option<Link> {
    const NAME: &[u8] = b"\"@odata.nextLink\":";
    const TAIL: usize = 8 * 1024;
    let tail = &body[body.len().saturating_sub(TAIL)..];
    let at = tail.windows(NAME.len()).rposition(|window| window == NAME)?;
    let mut text = serde_json::Deserializer::from_slice(&tail[at + NAME.len()..]).into_iter::<String>();
    text.next()?.ok().map(Link::Next)
}

/// How the service refuses a link that is malformed or gone is not documented. A refusal that says nothing better is taken
/// for that: the alternative is a link that is tried and refused for ever.
pub(crate) fn refused_link(error: Error) -> Error {
    let of_link = error.status().is_some_and(|status| status.is_client_error())
        && matches!(
            error.kind(),
            ErrorKind::NotFound
                | ErrorKind::PreconditionFailed
                | ErrorKind::Duplicate
                | ErrorKind::UnknownTable
                | ErrorKind::BadRequest
                | ErrorKind::Payload
                | ErrorKind::Validation
        );
    if !of_link {
        return error;
    }
    tracing::warn!(
        status = error.status().map(|status| status.as_u16()),
        code = error.code().map(|code| format!("{code:#010x}")),
        request_id = error.request_id(),
        "d365.link_refused"
    );
    error.with_kind(ErrorKind::LinkRefused)
}

/// Decodes a page of tracked changes. `followed` is the link that led to it; an answer to a delta link may lack `value`
/// (nothing changed) and a new delta link (the old one stays good).
///
/// # Errors
/// [`Decode`](crate::ErrorKind::Decode), [`MissingLink`](crate::ErrorKind::MissingLink).
pub fn decode_changes(def: &Arc<EntityDef>, body: &[u8], followed: Option<&Link>) -> Result<ChangePage, Error> {
    let polled = followed.filter(|link| link.is_delta());
    let envelope = if polled.is_some() && body.iter().all(u8::is_ascii_whitespace) {
        Envelope::default()
    } else {
        rows_of(def, text_of(body)?, "a page of changes")?
    };
    let rows = match envelope.value {
        Some(rows) => rows,
        None if polled.is_some() => Vec::new(),
        None => return Err(Error::shape("a page of changes without its member `value`")),
    };
    let link = match (envelope.next_link, envelope.delta_link, polled) {
        (Some(next), _, _) if followed.is_some_and(|link| link.as_str() == next) => {
            return Err(Error::shape("a next link that leads to the page it came with"));
        }
        (Some(next), _, _) => Link::Next(next.into_owned()),
        (None, Some(delta), _) => Link::Delta(delta.into_owned()),
        (None, None, Some(old)) => old.clone(),
        (None, None, None) => return Err(Error::missing_link()),
    };
    let changes = rows.into_iter().map(read_change).collect::<Result<Vec<_>, _>>()?;
    Ok(ChangePage { changes, link })
}

/// Reads a page in one go; where that fails, row by row, which tells which of them is at fault.
pub(crate) fn rows_of<'a>(
    def: &Arc<EntityDef>,
    text: &'a str,
    what: &'static str,
) -> Result<Envelope<'a, DynamicEntity>, Error> {
    if let Ok(envelope) = envelope(text, RowOf::new(text, def.primary_id())) {
        return Ok(envelope);
    }
    let Envelope { value, next_link, delta_link, count } =
        envelope(text, RAW).map_err(|error| Error::decode(what, &error))?;
    let read =
        |(at, row): (usize, &RawValue)| DynamicEntity::decode(def, row.get()).map_err(|error| Error::row(at, &error));
    let value = value.map(|rows| rows.into_iter().enumerate().map(read).collect::<Result<_, _>>()).transpose()?;
    Ok(Envelope { value, next_link, delta_link, count })
}

fn read_change(row: DynamicEntity) -> Result<Changed, Error> {
    let context_says_so =
        || matches!(row.text("@odata.context"), Ok(Some(context)) if context.ends_with("/$deletedEntity"));
    // A table may have columns called `id` and `reason`: a row that has its identifier or version tag is no deletion.
    let shape_says_so =
        || row.id().is_none() && row.contains("reason") && row.contains("id") && !row.contains("@odata.etag");
    if !context_says_so() && !shape_says_so() {
        return Ok(Changed::Upserted(row));
    }
    let id = match row.text("id") {
        // A bare GUID is documented; the standard would allow a URL.
        Ok(Some(text)) => Uuid::try_parse(text.rsplit('(').next().unwrap_or(&text).trim_end_matches(')')).ok(),
        _ => None,
    };
    let Some(id) = id else { return Err(Error::shape("a deleted row without its identifier")) };
    let reason = row.text("reason").ok().flatten().map(std::borrow::Cow::into_owned);
    Ok(Changed::Deleted { id, reason })
}
