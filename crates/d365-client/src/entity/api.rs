//! Reading and writing the rows of one table.

use std::fmt;

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _, stream};
use http::{Method, StatusCode};
use http_kit::{Response, SameOriginUrl};
use serde::Serialize;
use uuid::Uuid;

use super::{ETag, Entity, Expect, Page, Precondition, decode_page, is_finite};
use crate::client::{Condition, D365Client, Write};
use crate::error::{Error, ErrorKind};
use crate::odata::{Column, EntityKey, Filter, Name, Prefer, Query};

/// Identifiers per request of [`EntityApi::retrieve_many`]: about 5 KiB of URL.
const IDS_PER_REQUEST: usize = 100;

/// The rows of one table. Cheap to clone.
pub struct EntityApi<E: Entity> {
    client: D365Client,
    def: E::Def,
}

impl<E: Entity> Clone for EntityApi<E> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), def: self.def.clone() }
    }
}

impl<E: Entity> fmt::Debug for EntityApi<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntityApi").field("table", &E::logical_name(&self.def)).finish_non_exhaustive()
    }
}

/// A row as an upsert left it. `Debug` hides the row.
#[non_exhaustive]
pub struct Upserted<E> {
    /// The row.
    pub row: E,
    /// Whether the upsert created it (status 201) or updated it (status 200). `None` where nobody knows: the row was
    /// updated, and an earlier attempt of the same call, whose answer was lost, may have created it.
    pub created: Option<bool>,
}

impl<E> fmt::Debug for Upserted<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upserted").field("created", &self.created).finish_non_exhaustive()
    }
}

impl<E: Entity> EntityApi<E> {
    pub(crate) fn new(client: D365Client, def: E::Def) -> Self {
        Self { client, def }
    }

    /// What is known of the table.
    #[must_use]
    pub fn def(&self) -> &E::Def {
        &self.def
    }

    pub(crate) fn client(&self) -> &D365Client {
        &self.client
    }

    /// Reads one row. With an empty `select` the entity's own columns are asked for.
    ///
    /// Cancel safe: it only reads.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such row.
    pub async fn retrieve(&self, key: impl Into<EntityKey>, select: &[Name]) -> Result<E, Error> {
        let target = self.target(Some(&key.into()), &self.select(select)?.to_query_string())?;
        let response = self.client.get(&target, "GET row", None).await?;
        self.decode(&response.body)
    }

    /// Reads one row if it is no longer in the version of `etag`; `None` if it is. For tables with optimistic
    /// concurrency only.
    ///
    /// Cancel safe: it only reads.
    ///
    /// # Errors
    /// As [`retrieve`](Self::retrieve).
    pub async fn retrieve_if_changed(
        &self,
        key: impl Into<EntityKey>,
        select: &[Name],
        etag: &ETag,
    ) -> Result<Option<E>, Error> {
        let target = self.target(Some(&key.into()), &self.select(select)?.to_query_string())?;
        match self.client.get_if_changed(&target, "GET row", etag).await? {
            Some(response) => self.decode(&response.body).map(Some),
            None => Ok(None),
        }
    }

    /// Reads the rows with these identifiers, in the service's order, missing ones left out: one request for each
    /// hundred.
    ///
    /// Cancel safe: it only reads.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn retrieve_many(&self, ids: &[Uuid], select: &[Name]) -> Result<Vec<E>, Error> {
        let mut rows = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(IDS_PER_REQUEST) {
            let filter = Column::new(E::primary_id(&self.def))?.is_in(chunk.iter().copied())?;
            let mut pages = std::pin::pin!(self.list(&self.select(select)?.filter(filter))?);
            while let Some(page) = pages.try_next().await? {
                rows.extend(page.items);
            }
        }
        Ok(rows)
    }

    /// Reads rows page by page, as the stream is polled; next links are followed until there is none. After an error
    /// the stream ends.
    ///
    /// Cancel safe: it only reads; dropping the stream drops at most one request in flight.
    ///
    /// # Errors
    /// A query that makes too long a URL or compares with a text that holds control characters, at once; everything else
    /// comes through the stream.
    pub fn list(&self, query: &Query) -> Result<impl Stream<Item = Result<Page<E>, Error>> + Send + use<E>, Error> {
        let filled;
        let query = if query.selected().is_empty() {
            filled = query.clone().select(E::columns(&self.def).iter().copied())?;
            &filled
        } else {
            query
        };
        query.check()?;
        let url = self.client.url(&self.target(None, &query.to_query_string())?)?;
        let first = self.client.link(url.as_str())?;
        let mut prefer = Prefer::new();
        // With $top the service ignores a page size.
        if query.limit().is_none() {
            prefer = prefer.max_page_size(query.wanted_page_size().unwrap_or(self.client.page_size()));
        }
        if query.wants_annotations() {
            prefer = prefer.annotations();
        }
        let api = self.clone();
        Ok(http_kit::pages(first, move |link: SameOriginUrl| {
            let api = api.clone();
            async move {
                // Pages after the first have the default size unless the wish is repeated.
                let response = api.client.follow(link, "GET rows", Some(prefer)).await?;
                let page = decode_page::<E>(&api.def, &response.body)?;
                let next = page.next.as_deref().map(|link| api.client.link(link)).transpose()?;
                Ok::<_, Error>((page, next))
            }
        }))
    }

    /// As [`list`](Self::list), row by row.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub fn rows(&self, query: &Query) -> Result<impl Stream<Item = Result<E, Error>> + Send + use<E>, Error> {
        let rows = |page: Page<E>| stream::iter(page.items.into_iter().map(Ok));
        Ok(self.list(query)?.map_ok(rows).try_flatten())
    }

    /// Counts rows, to 5000 at most: that is where the service stops.
    ///
    /// Cancel safe: it only reads.
    ///
    /// # Errors
    /// A filter that compares with a text that holds control characters; whatever kept the request from succeeding.
    pub async fn count(&self, filter: Option<Filter>) -> Result<u64, Error> {
        let query = filter.map_or_else(Query::new, |filter| Query::new().filter(filter));
        query.check()?;
        let query = query.to_query_string();
        let mark = if query.is_empty() { "" } else { "?" };
        let target = format!("{}/$count{mark}{query}", Name::try_from(E::entity_set(&self.def))?);
        let response = self.client.get(&target, "GET $count", None).await?;
        parse_count(&response.body)
    }

    /// Creates a row and returns its identifier. Columns that a create may not set are dropped by the service without
    /// a word.
    ///
    /// Not cancel safe: the row may or may not have been created.
    ///
    /// # Errors
    /// [`ErrorKind::Duplicate`] when the identifier or an alternate key is taken. After
    /// [`Delivery::MaybeApplied`](http_kit::Delivery::MaybeApplied) look the row up before creating it again.
    pub async fn create(&self, body: &(impl Serialize + ?Sized)) -> Result<Uuid, Error> {
        let response = self.post(body, "", None).await?;
        entity_id(&response).ok_or_else(|| Error::shape("a create was answered without the identifier of the row"))
    }

    /// Creates a row and returns it as the service keeps it, with the columns of `select`.
    ///
    /// Not cancel safe: the row may or may not have been created.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub async fn create_returning(&self, body: &(impl Serialize + ?Sized), select: &[Name]) -> Result<E, Error> {
        let query = self.select(select)?.to_query_string();
        let response = self.post(body, &query, Some(Prefer::new().return_representation())).await?;
        self.decode(&response.body)
    }

    async fn post(
        &self,
        body: &(impl Serialize + ?Sized),
        query: &str,
        prefer: Option<Prefer>,
    ) -> Result<Response, Error> {
        let target = self.target(None, query)?;
        let body = Some(encode_body(body)?);
        let operation = "POST row";
        let write = Write {
            method: Method::POST,
            target: &target,
            operation,
            body,
            condition: Condition::None,
            prefer,
            idempotent: false,
        };
        self.client.write(write).await
    }

    /// Changes columns of an existing row: `If-Match` goes along, so a row that has vanished is never created anew.
    ///
    /// Repeatable: sending it twice has the effect of once. Not cancel safe: the row may or may not have been changed;
    /// with [`Expect::Any`] the same call can be made again.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such row, [`ErrorKind::PreconditionFailed`] when it is in another
    /// version than `expect` says.
    pub async fn update(
        &self,
        key: impl Into<EntityKey>,
        body: &(impl Serialize + ?Sized),
        expect: &Expect,
    ) -> Result<(), Error> {
        let condition = Condition::IfMatch(tag_of(expect));
        self.patch(&key.into(), encode_body(body)?, condition, "", None).await.map(drop)
    }

    /// Changes columns of a row or creates it, within the precondition. Returns the identifier where the service tells
    /// it: for a row addressed by an alternate key it does not.
    ///
    /// Without a precondition it is repeatable: sending it twice has the effect of once. Not cancel safe: the row may or
    /// may not have been created or changed; without a precondition the same call can be made again.
    ///
    /// # Errors
    /// [`ErrorKind::PreconditionFailed`] when the row is there and should not be, or is in another version;
    /// [`ErrorKind::NotFound`] when it should be there and is not. After a repetition a failed precondition may be the
    /// echo of our own success: its [`Error::delivery`] says `MaybeApplied` then.
    pub async fn upsert(
        &self,
        key: impl Into<EntityKey>,
        body: &(impl Serialize + ?Sized),
        precondition: &Precondition,
    ) -> Result<Option<Uuid>, Error> {
        let key = key.into();
        let response = self.patch(&key, encode_body(body)?, condition_of(precondition), "", None).await?;
        Ok(key.as_id().or_else(|| entity_id(&response)))
    }

    /// As [`upsert`](Self::upsert), and returns the row, with the columns of `select`, and whether it was created.
    ///
    /// Not cancel safe, as [`upsert`](Self::upsert) is not; a second call says that the row was updated although the
    /// first may have created it.
    ///
    /// # Errors
    /// As [`upsert`](Self::upsert).
    pub async fn upsert_returning(
        &self,
        key: impl Into<EntityKey>,
        body: &(impl Serialize + ?Sized),
        precondition: &Precondition,
        select: &[Name],
    ) -> Result<Upserted<E>, Error> {
        let query = self.select(select)?.to_query_string();
        let prefer = Some(Prefer::new().return_representation());
        let response = self.patch(&key.into(), encode_body(body)?, condition_of(precondition), &query, prefer).await?;
        let created = match response.status {
            StatusCode::CREATED => Some(true),
            _ if response.maybe_applied_before => None,
            _ => Some(false),
        };
        Ok(Upserted { row: self.decode(&response.body)?, created })
    }

    async fn patch(
        &self,
        key: &EntityKey,
        body: Bytes,
        condition: Condition<'_>,
        query: &str,
        prefer: Option<Prefer>,
    ) -> Result<Response, Error> {
        let target = self.target(Some(key), query)?;
        let creates_only = matches!(condition, Condition::IfNoneMatchAny);
        let operation = "PATCH row";
        let write = Write {
            method: Method::PATCH,
            target: &target,
            operation,
            body: Some(body),
            condition,
            prefer,
            idempotent: true,
        };
        self.client.write(write).await.map_err(|error| match error.kind() {
            // The documentation leaves open which code comes with this refusal; the status is what counts.
            ErrorKind::Duplicate if creates_only && error.code() == Some(0x8004_0237) => {
                error.with_kind(ErrorKind::PreconditionFailed)
            }
            _ => error,
        })
    }

    /// Deletes a row. When an earlier attempt of the same call may have reached the service, a missing row counts as
    /// deleted.
    ///
    /// Not cancel safe: the row may or may not have been deleted; the same call can be made again.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such row, which a synchronisation may well treat as success;
    /// [`ErrorKind::PreconditionFailed`] when it is in another version than `expect` says.
    pub async fn delete(&self, key: impl Into<EntityKey>, expect: &Expect) -> Result<(), Error> {
        let target = self.target(Some(&key.into()), "")?;
        let condition = match expect {
            Expect::Any => Condition::None,
            Expect::Version(tag) => Condition::IfMatch(tag.as_str()),
        };
        let operation = "DELETE row";
        let write = Write {
            method: Method::DELETE,
            target: &target,
            operation,
            body: None,
            condition,
            prefer: None,
            idempotent: true,
        };
        match self.client.write(write).await {
            Err(error)
                if error.kind() == ErrorKind::NotFound && error.delivery() == http_kit::Delivery::MaybeApplied =>
            {
                Ok(())
            }
            other => other.map(drop),
        }
    }

    fn select(&self, columns: &[Name]) -> Result<Query, Error> {
        if columns.is_empty() {
            Query::new().select(E::columns(&self.def).iter().copied())
        } else {
            Query::new().select(columns)
        }
    }

    fn target(&self, key: Option<&EntityKey>, query: &str) -> Result<String, Error> {
        // Hand-written implementations of `Entity` are checked here, before they reach a URL.
        let set = Name::try_from(E::entity_set(&self.def))?;
        let key = key.map(EntityKey::to_segment).unwrap_or_default();
        let mark = if query.is_empty() { "" } else { "?" };
        Ok(format!("{set}{key}{mark}{query}"))
    }

    fn decode(&self, body: &[u8]) -> Result<E, Error> {
        let text = std::str::from_utf8(body).map_err(|_| Error::shape("a row that is no UTF-8 text"))?;
        E::decode(&self.def, text).map_err(|error| Error::decode("a row", &error))
    }
}

fn tag_of(expect: &Expect) -> &str {
    match expect {
        Expect::Any => "*",
        Expect::Version(tag) => tag.as_str(),
    }
}

fn condition_of(precondition: &Precondition) -> Condition<'_> {
    match precondition {
        Precondition::None => Condition::None,
        Precondition::IfMatchAny => Condition::IfMatch("*"),
        Precondition::IfMatch(tag) => Condition::IfMatch(tag.as_str()),
        Precondition::IfNoneMatch => Condition::IfNoneMatchAny,
    }
}

pub(crate) fn encode_body(body: &(impl Serialize + ?Sized)) -> Result<Bytes, Error> {
    if !is_finite(body) {
        return Err(Error::validation("a value of a write is NaN or infinite"));
    }
    // serde_json's text may quote values: it is dropped.
    serde_json::to_vec(body).map(Bytes::from).map_err(|_| Error::validation("a write cannot be written as JSON"))
}

/// The identifier in `OData-EntityId`; absent after an upsert by alternate key, which echoes that key instead.
fn entity_id(response: &Response) -> Option<Uuid> {
    let (_, rest) = response.header("odata-entityid")?.rsplit_once('(')?;
    Uuid::try_parse(rest.trim_end().strip_suffix(')')?).ok()
}

/// A plain text that may start with a byte order mark.
pub(crate) fn parse_count(body: &[u8]) -> Result<u64, Error> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    std::str::from_utf8(body)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| Error::shape("a count that is no number"))
}
