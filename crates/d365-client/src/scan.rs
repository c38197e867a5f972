//! Which rows a table has, and in which version: an untracked read of all of them, in the order of their keys.
//!
//! A tracked read may miss what changes while it pages; a scan that follows it finds every row whose version is newer than
//! the one that was read, and the rows that are gone by their absence. It sees no snapshot: a row that changes while the scan
//! runs is seen in one of its versions.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http_kit::Bytes;
use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::changes::{Link, next_hint, refused_link, rows_of};
use crate::client::D365Client;
use crate::entity::{DynamicEntity, Envelope, envelope, text_of};
use crate::error::Error;
use crate::metadata::EntityDef;
use crate::odata::{Direction, MAX_TOP, Name, Prefer, Query};
use crate::wire;

const OPERATION: &str = "GET scan";
const VERSION: &str = "versionnumber";
const PAGE: &str = "a page of a scan";

/// A row as a scan sees it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ScannedRow {
    /// The row's identifier.
    pub id: Uuid,
    /// The row's version (`versionnumber`): it grows with each change of the row.
    pub version: i64,
    /// The row with the columns of the scan; `None` where the scan has none.
    pub row: Option<DynamicEntity>,
}

/// One page of a scan.
#[derive(Debug)]
#[non_exhaustive]
pub struct ScanPage {
    /// The rows in the order of their identifiers, as the service orders them.
    pub rows: Vec<ScannedRow>,
    /// Where to go on; `None` when the scan is complete. Only its absence ends a scan: a page may be short, or empty.
    pub next: Option<Link>,
}

/// Reads all rows of one table, page by page; made by [`D365Client::scan`].
#[derive(Clone, Debug)]
pub struct TableScan {
    client: D365Client,
    def: Arc<EntityDef>,
    columns: Vec<Name>,
    page_size: u32,
}

impl D365Client {
    /// A scan of a table. Without columns it returns keys and versions alone, which is the least that a table can be read for:
    /// about 110 bytes a row.
    ///
    /// # Errors
    /// A column name that is no identifier.
    pub fn scan<N: TryInto<Name>>(
        &self,
        def: Arc<EntityDef>,
        columns: impl IntoIterator<Item = N>,
    ) -> Result<TableScan, Error>
    where
        Error: From<N::Error>,
    {
        let columns = Query::new().select(columns)?.selected().to_vec();
        // Fails here rather than at the first request, should the primary key be no identifier.
        Name::new(def.primary_id().to_owned())?;
        Ok(TableScan { client: self.clone(), def, columns, page_size: self.page_size() })
    }
}

impl TableScan {
    /// The same with another number of rows per page, brought into the range from 1 to 5000.
    #[must_use]
    pub fn page_size(mut self, rows: u32) -> Self {
        self.page_size = rows.clamp(1, MAX_TOP);
        self
    }

    /// The columns of each row beside its key and version.
    #[must_use]
    pub fn columns(&self) -> &[Name] {
        &self.columns
    }

    /// Key, version and columns.
    fn selected(&self) -> Result<Query, Error> {
        Query::new().select([self.def.primary_id(), VERSION])?.select(&self.columns)
    }

    /// Whether a link was made for the columns of this scan, in any order. A link keeps the columns it was made with: when they
    /// differ, only a new scan returns the wanted ones. A link that does not tell counts as fitting.
    #[must_use]
    pub fn fits(&self, link: &Link) -> bool {
        let (Some(mut theirs), Ok(ours)) = (link.columns(), self.selected()) else { return true };
        let mut ours: Vec<&str> = ours.selected().iter().map(Name::as_str).collect();
        theirs.sort_unstable();
        ours.sort_unstable();
        theirs == ours
    }

    /// Starts a scan and returns its first page.
    ///
    /// Cancel safe: it only reads.
    ///
    /// # Errors
    /// [`UnknownColumn`](crate::ErrorKind::UnknownColumn), [`Decode`](crate::ErrorKind::Decode), and whatever keeps a request
    /// from succeeding.
    pub async fn start(&self) -> Result<ScanPage, Error> {
        self.fetch(None).await?.decode()
    }

    /// Follows a link to the next page. The link may come from a store: a scan goes on where it was left.
    ///
    /// Repeatable: the same link returns the rows that lie behind it now. Cancel safe: it only reads.
    ///
    /// # Errors
    /// [`LinkRefused`](crate::ErrorKind::LinkRefused) when the service refuses the link with a status of 400 to 499 and a
    /// reason that tells nothing better: start a new scan.
    /// [`ForeignLink`](crate::ErrorKind::ForeignLink) when the link leads elsewhere, and
    /// [`Validation`](crate::ErrorKind::Validation) when it is a delta link; nothing is sent then.
    pub async fn follow(&self, link: &Link) -> Result<ScanPage, Error> {
        self.fetch(Some(link)).await?.decode()
    }

    /// The answer to [`follow`](Self::follow), or to [`start`](Self::start) without a link, before it is decoded: its
    /// [`FetchedScan::hint`] lets a caller ask for the next page while it decodes this one.
    ///
    /// Repeatable and cancel safe: it only reads.
    ///
    /// # Errors
    /// As for these two, but for what the page itself may lack.
    pub async fn fetch(&self, link: Option<&Link>) -> Result<FetchedScan, Error> {
        // The wish is repeated: pages after the first have the default size without it.
        let prefer = Some(Prefer::new().max_page_size(self.page_size));
        let body = match link {
            None => {
                let query = self.selected()?.order_by(self.def.primary_id(), Direction::Ascending)?.to_query_string();
                let target = format!("{}?{query}", self.def.entity_set());
                self.client.get(&target, OPERATION, prefer).await?.body
            }
            Some(link) if link.is_delta() => {
                return Err(Error::validation("a delta link leads to changes, not to a page of a scan"));
            }
            Some(link) => {
                let url = self.client.link(link.as_str())?;
                self.client.follow(url, OPERATION, prefer).await.map_err(refused_link)?.body
            }
        };
        let rows_wanted = !self.columns.is_empty();
        let (client, def) = (self.client.clone(), self.def.clone());
        Ok(FetchedScan { client, def, body, followed: link.cloned(), rows_wanted })
    }

    /// Reads the rows with these identifiers as the scan would, in the service's order, missing ones left out: one request for
    /// each hundred.
    ///
    /// Cancel safe: it only reads.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn rows_by_id(&self, ids: &[Uuid]) -> Result<Vec<ScannedRow>, Error> {
        let query = self.selected()?;
        let api = self.client.entity_with::<DynamicEntity>(self.def.clone());
        let rows = api.retrieve_many(ids, query.selected()).await?;
        let wanted = !self.columns.is_empty();
        rows.into_iter().enumerate().map(|(at, row)| scanned(at, row, wanted)).collect()
    }
}

/// A page of a scan as it came; `Debug` shows its size alone.
#[derive(Clone)]
pub struct FetchedScan {
    client: D365Client,
    def: Arc<EntityDef>,
    body: Bytes,
    followed: Option<Link>,
    rows_wanted: bool,
}

impl FetchedScan {
    /// Where the page seems to lead, if to another page. What [`decode`](Self::decode) says is what counts.
    #[must_use]
    pub fn hint(&self) -> Option<Link> {
        next_hint(&self.body)
    }

    /// Reads the page.
    ///
    /// # Errors
    /// [`Decode`](crate::ErrorKind::Decode), also for a row without its key or version and for a page that leads to itself;
    /// [`ForeignLink`](crate::ErrorKind::ForeignLink) when the page leads elsewhere: stored, such a link would be refused for
    /// ever.
    pub fn decode(self) -> Result<ScanPage, Error> {
        let page = decode_scan(&self.def, &self.body, self.followed.as_ref(), self.rows_wanted)?;
        if let Some(next) = &page.next {
            self.client.link(next.as_str())?;
        }
        Ok(page)
    }
}

impl fmt::Debug for FetchedScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchedScan").field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

/// Decodes a page of a scan. `followed` is the link that led to it; without `rows_wanted` only keys and versions are read.
///
/// # Errors
/// [`Decode`](crate::ErrorKind::Decode).
pub fn decode_scan(
    def: &Arc<EntityDef>,
    body: &[u8],
    followed: Option<&Link>,
    rows_wanted: bool,
) -> Result<ScanPage, Error> {
    let text = text_of(body)?;
    let (rows, next): (Option<Vec<ScannedRow>>, _) = if rows_wanted {
        let Envelope { value, next_link, .. } = rows_of(def, text, PAGE)?;
        let rows = value.map(|rows| rows.into_iter().enumerate().map(|(at, row)| scanned(at, row, true)).collect());
        (rows.transpose()?, next_link)
    } else {
        let keys = KeyOf { primary_id: def.primary_id() };
        let Envelope { value, next_link, .. } = envelope(text, keys).map_err(|error| Error::decode(PAGE, &error))?;
        let rows = value.map(|rows| rows.into_iter().enumerate().map(|(at, key)| key.complete(at)).collect());
        (rows.transpose()?, next_link)
    };
    let Some(rows) = rows else { return Err(Error::shape("a page of a scan without its member `value`")) };
    let next = next.map(|next| Link::Next(next.into_owned()));
    if next.is_some() && next.as_ref() == followed {
        return Err(Error::shape("a next link that leads to the page it came with"));
    }
    Ok(ScanPage { rows, next })
}

fn scanned(at: usize, row: DynamicEntity, wanted: bool) -> Result<ScannedRow, Error> {
    let key = Key { id: row.id(), version: row.integer(VERSION).ok().flatten() };
    Ok(ScannedRow { row: wanted.then_some(row), ..key.complete(at)? })
}

/// What is needed of a row.
#[derive(Default)]
struct Key {
    id: Option<Uuid>,
    version: Option<i64>,
}

impl Key {
    fn complete(self, at: usize) -> Result<ScannedRow, Error> {
        match self {
            Self { id: Some(id), version: Some(version) } => Ok(ScannedRow { id, version, row: None }),
            _ => Err(Error::row(at, &serde::de::Error::custom("a row without its key or version"))),
        }
    }
}

/// Reads key and version of a row, and passes over the rest of it.
#[derive(Clone, Copy)]
struct KeyOf<'t> {
    primary_id: &'t str,
}

impl<'de> DeserializeSeed<'de> for KeyOf<'_> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for KeyOf<'_> {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Key, A::Error> {
        #[derive(Deserialize)]
        struct PropertyName<'a>(#[serde(borrow)] Cow<'a, str>);

        let mut key = Key::default();
        while let Some(PropertyName(name)) = map.next_key()? {
            let value: &RawValue = map.next_value()?;
            if name == self.primary_id {
                key.id = wire::guid(value.get());
            } else if name == VERSION {
                key.version = wire::integer(value.get());
            }
        }
        Ok(key)
    }
}
