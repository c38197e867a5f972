//! Many requests in one: `$batch` (learn.microsoft.com, "Execute batch operations using the Web API").
//!
//! A [`Batch`] holds requests that stand alone and [`ChangeSet`]s, which are carried out as a whole or not at all. The
//! answer has one [`Outcome`] for each of them, whatever the status of the whole: without
//! [`Batch::continue_on_error`] the service stops at the first failure, and what follows is
//! [`NotExecuted`](PartOutcome::NotExecuted).
//!
//! ```
//! use d365_client::{Batch, BatchRequest, ChangeSet, EntityBody, Expect};
//! use d365_client::odata::EntityKey;
//! # fn main() -> Result<(), d365_client::Error> {
//! let mut set = ChangeSet::new();
//! let contact = set.push(BatchRequest::create("contacts", &EntityBody::new().set("lastname", "Byron")?)?)?;
//! let task = EntityBody::new().set("subject", "x")?.bind_to("regardingobjectid_contact_task", contact)?;
//! set.push(BatchRequest::create("tasks", &task)?)?;
//! let mut batch = Batch::new().continue_on_error();
//! batch.push_set(set)?;
//! batch.push(BatchRequest::delete("contacts", &EntityKey::id(uuid::Uuid::from_u128(1)), &Expect::Any)?)?;
//! assert_eq!(batch.requests(), 3);
//! # Ok(())
//! # }
//! ```

mod decode;
mod encode;

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde::Serialize;
use uuid::Uuid;

pub use decode::decode_batch;
pub(crate) use decode::is_multipart;
pub use encode::{EncodedBatch, encode_batch};

use crate::client::D365Client;
use crate::entity::{ETag, Entity, Expect, Precondition, encode_body};
use crate::error::Error;
use crate::odata::{EntityKey, Name, Query};

/// The most requests of a batch, those in change sets included.
pub const MAX_BATCH: usize = 1000;

/// The longest URL of a read inside a batch, in characters.
const MAX_PART_URL: usize = 65_536;

/// The place of a request in its change set; later requests of the same set refer to its row by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentId(u32);

impl fmt::Display for ContentId {
    /// `$1`, as it stands in the place of an address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}", self.0)
    }
}

/// One request of a batch. `Debug` shows method and table alone.
pub struct BatchRequest {
    method: Method,
    /// Below the root of the API, percent-encoded.
    target: String,
    /// `if-match` or `if-none-match`, and `prefer`.
    headers: Vec<(&'static str, String)>,
    body: Option<Bytes>,
    idempotent: bool,
    /// The request of the same change set whose row this one is about.
    refers_to: Option<ContentId>,
}

impl fmt::Debug for BatchRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.target.split(['(', '?', '/']).next().unwrap_or_default();
        f.debug_struct("BatchRequest").field("method", &self.method).field("table", &table).finish_non_exhaustive()
    }
}

impl BatchRequest {
    fn new(method: Method, target: String, body: Option<Bytes>) -> Self {
        let idempotent = method != Method::POST;
        Self { method, target, headers: Vec::new(), body, idempotent, refers_to: None }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Reads one row with these columns; with none, all that the table has.
    ///
    /// # Errors
    /// A name that is no identifier.
    pub fn get<N: TryInto<Name>>(set: &str, key: &EntityKey, select: impl IntoIterator<Item = N>) -> Result<Self, Error>
    where
        Error: From<N::Error>,
    {
        let query = Query::new().select(select)?.to_query_string();
        Ok(Self::new(Method::GET, target(set, Some(key), &query)?, None).with("if-none-match", "null"))
    }

    /// Reads the first page of rows. In a batch a query may be twice as long as in a URL of its own.
    ///
    /// # Errors
    /// A name that is no identifier; a URL of more than 65,536 characters.
    pub fn list(set: &str, query: &Query) -> Result<Self, Error> {
        let target = target(set, None, &query.to_query_string())?;
        if target.len() > MAX_PART_URL {
            return Err(Error::validation("the query is longer than a URL of a batch may be (65,536 characters)"));
        }
        let mut request = Self::new(Method::GET, target, None).with("if-none-match", "null");
        if let Some(rows) = query.wanted_page_size() {
            request = request.with("prefer", format!("odata.maxpagesize={rows}"));
        }
        Ok(request)
    }

    /// Creates a row.
    ///
    /// # Errors
    /// A name that is no identifier; a body that JSON cannot say.
    pub fn create(set: &str, body: &(impl Serialize + ?Sized)) -> Result<Self, Error> {
        Ok(Self::new(Method::POST, target(set, None, "")?, Some(encode_body(body)?)))
    }

    /// Changes columns of an existing row; `If-Match` goes along, so that nothing is created.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn update(
        set: &str,
        key: &EntityKey,
        body: &(impl Serialize + ?Sized),
        expect: &Expect,
    ) -> Result<Self, Error> {
        let tag = match expect {
            Expect::Any => "*",
            Expect::Version(tag) => tag.as_str(),
        };
        Ok(Self::new(Method::PATCH, target(set, Some(key), "")?, Some(encode_body(body)?)).with("if-match", tag))
    }

    /// Changes columns of a row or creates it, within the precondition.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn upsert(
        set: &str,
        key: &EntityKey,
        body: &(impl Serialize + ?Sized),
        precondition: &Precondition,
    ) -> Result<Self, Error> {
        let request = Self::new(Method::PATCH, target(set, Some(key), "")?, Some(encode_body(body)?));
        Ok(match precondition {
            Precondition::None => request,
            Precondition::IfMatchAny => request.with("if-match", "*"),
            Precondition::IfMatch(tag) => request.with("if-match", tag.as_str()),
            Precondition::IfNoneMatch => request.with("if-none-match", "*"),
        })
    }

    /// Changes columns of the row that an earlier request of the same change set wrote.
    ///
    /// # Errors
    /// A body that JSON cannot say.
    pub fn update_written(row: ContentId, body: &(impl Serialize + ?Sized)) -> Result<Self, Error> {
        let mut request = Self::new(Method::PATCH, row.to_string(), Some(encode_body(body)?)).with("if-match", "*");
        request.refers_to = Some(row);
        Ok(request)
    }

    /// Deletes a row.
    ///
    /// # Errors
    /// A name that is no identifier.
    pub fn delete(set: &str, key: &EntityKey, expect: &Expect) -> Result<Self, Error> {
        let request = Self::new(Method::DELETE, target(set, Some(key), "")?, None);
        Ok(match expect {
            Expect::Any => request,
            Expect::Version(tag) => request.with("if-match", tag.as_str()),
        })
    }

    /// Lets a create, update or upsert answer with the row and these columns of it.
    ///
    /// # Errors
    /// A name that is no identifier.
    pub fn returning<N: TryInto<Name>>(mut self, select: impl IntoIterator<Item = N>) -> Result<Self, Error>
    where
        Error: From<N::Error>,
    {
        self.target = format!("{}?{}", self.target, Query::new().select(select)?.to_query_string());
        Ok(self.with("prefer", "return=representation"))
    }
}

fn target(set: &str, key: Option<&EntityKey>, query: &str) -> Result<String, Error> {
    let set: Name = set.parse()?;
    let key = key.map(EntityKey::to_segment).unwrap_or_default();
    let mark = if query.is_empty() { "" } else { "?" };
    Ok(format!("{set}{key}{mark}{query}"))
}

/// Writes that are carried out as a whole or not at all.
#[derive(Debug, Default)]
pub struct ChangeSet {
    requests: Vec<BatchRequest>,
}

impl ChangeSet {
    /// No request.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a write, and gives the name by which later ones refer to its row.
    ///
    /// # Errors
    /// A read; a reference to a request that is not before this one; more than [`MAX_BATCH`] requests.
    pub fn push(&mut self, request: BatchRequest) -> Result<ContentId, Error> {
        if request.method == Method::GET {
            return Err(Error::validation("a change set holds writes only"));
        }
        let next =
            u32::try_from(self.requests.len()).ok().filter(|at| usize::try_from(*at).is_ok_and(|at| at < MAX_BATCH));
        let next = ContentId(next.ok_or_else(too_many)? + 1);
        if request.refers_to.is_some_and(|row| row >= next) {
            return Err(Error::validation("a request of a change set refers to one that is not before it"));
        }
        self.requests.push(request);
        Ok(next)
    }
}

fn too_many() -> Error {
    Error::validation("a batch holds more than 1000 requests")
}

/// A member of a batch.
#[derive(Debug)]
enum Item {
    Single(BatchRequest),
    Set(ChangeSet),
}

/// Requests that travel together.
#[derive(Debug, Default)]
pub struct Batch {
    items: Vec<Item>,
    requests: usize,
    goes_on: bool,
}

impl Batch {
    /// No request.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the service carry out what follows a failure, too.
    #[must_use]
    pub fn continue_on_error(mut self) -> Self {
        self.goes_on = true;
        self
    }

    /// Adds a request that stands alone. Its outcome is found under the returned number.
    ///
    /// # Errors
    /// More than [`MAX_BATCH`] requests; a reference into a change set.
    pub fn push(&mut self, request: BatchRequest) -> Result<usize, Error> {
        if request.refers_to.is_some() {
            return Err(Error::validation("a request outside of a change set refers to one inside"));
        }
        self.add(Item::Single(request), 1)
    }

    /// Adds a change set. Its outcome is found under the returned number.
    ///
    /// # Errors
    /// More than [`MAX_BATCH`] requests; a change set without any.
    pub fn push_set(&mut self, set: ChangeSet) -> Result<usize, Error> {
        if set.requests.is_empty() {
            return Err(Error::validation("a change set holds no request"));
        }
        let more = set.requests.len();
        self.add(Item::Set(set), more)
    }

    fn add(&mut self, item: Item, more: usize) -> Result<usize, Error> {
        if self.requests + more > MAX_BATCH {
            return Err(too_many());
        }
        self.requests += more;
        self.items.push(item);
        Ok(self.items.len() - 1)
    }

    /// How many requests it holds, those in change sets included. Each counts towards the service's limits.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests
    }

    /// Whether two deliveries have the effect of one.
    fn is_idempotent(&self) -> bool {
        self.items.iter().all(|item| match item {
            Item::Single(request) => request.idempotent,
            Item::Set(set) => set.requests.iter().all(|request| request.idempotent),
        })
    }
}

/// A request that was carried out. `Debug` hides row and address.
#[non_exhaustive]
pub struct PartAnswer {
    /// The status, below 400.
    pub status: StatusCode,
    /// The headers of the part.
    pub headers: HeaderMap,
    /// The body; empty after most writes.
    pub body: Bytes,
}

impl fmt::Debug for PartAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartAnswer")
            .field("status", &self.status)
            .field("body", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl PartAnswer {
    /// The identifier in `OData-EntityId`; `None` where the row was addressed by an alternate key.
    #[must_use]
    pub fn id(&self) -> Option<Uuid> {
        let (_, rest) = self.headers.get("odata-entityid")?.to_str().ok()?.rsplit_once('(')?;
        Uuid::try_parse(rest.trim_end().strip_suffix(')')?).ok()
    }

    /// The version tag, where the answer has one.
    #[must_use]
    pub fn etag(&self) -> Option<ETag> {
        ETag::new(self.headers.get(http::header::ETAG)?.to_str().ok()?).ok()
    }

    /// The row of a read, or of a write that returns it.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode) when the body is no such row.
    pub fn row<E: Entity>(&self, def: &E::Def) -> Result<E, Error> {
        let text = std::str::from_utf8(&self.body).map_err(|_| Error::shape("a row in UTF-8"))?;
        E::decode(def, text).map_err(|error| Error::decode("a row", &error))
    }
}

/// What became of a request that stands alone.
#[derive(Debug)]
pub enum PartOutcome {
    /// It was carried out.
    Done(PartAnswer),
    /// It was refused. [`ErrorKind::Throttled`](crate::ErrorKind::Throttled) here means that this request alone is to be
    /// sent again, after [`Error::retry_after`].
    Refused(Error),
    /// The service stopped before it came to this request.
    NotExecuted,
}

/// What became of a change set.
#[derive(Debug)]
pub enum SetOutcome {
    /// All of it was carried out: one answer for each request, in their order.
    Done(Vec<PartAnswer>),
    /// One of its requests was refused, and nothing was carried out. Which one it was the service does not always tell.
    Refused(Error),
    /// The service stopped before it came to this change set.
    NotExecuted,
}

/// What became of a member of a batch.
#[derive(Debug)]
pub enum Outcome {
    /// Of a request that stands alone.
    Single(PartOutcome),
    /// Of a change set.
    Set(SetOutcome),
}

impl D365Client {
    /// Sends a batch, and gives one outcome for each member in the order in which they were added.
    ///
    /// The whole batch is repeated after a failure of the connection only if every request in it is repeatable, that is, if
    /// it creates nothing by `create`; part by part nothing is ever repeated. Not cancel safe: any part of it may have been
    /// carried out.
    ///
    /// # Errors
    /// A refusal of the batch as a whole, or an answer that does not fit it. What happened to single requests is in the
    /// outcomes.
    pub async fn batch(&self, batch: &Batch) -> Result<Vec<Outcome>, Error> {
        const OPERATION: &str = "POST $batch";
        if batch.items.is_empty() {
            return Ok(Vec::new());
        }
        let encoded = encode_batch(batch);
        let response = self.post_batch(encoded, batch.goes_on, batch.is_idempotent(), OPERATION).await?;
        let kind = response.header("content-type").unwrap_or_default();
        if !is_multipart(kind) {
            return Err(if response.status.is_success() {
                Error::shape("a multipart answer to a batch").with_operation(OPERATION)
            } else {
                Error::refused(&response, OPERATION)
            });
        }
        let maybe_before = response.maybe_applied_before;
        decode::decode(batch, kind, &response.body, maybe_before).map_err(|error| error.with_operation(OPERATION))
    }
}
