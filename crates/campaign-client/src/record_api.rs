use std::collections::HashMap;

use bytes::Bytes;
use http::StatusCode;
use http_kit::{Request, Response, SameOriginUrl, Url};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

use crate::client::{CampaignClient, decode, decode_bytes};
use crate::custom_resource::CustomRecord;
use crate::error::{Delivery, Error, ErrorKind};
use crate::filter::{Filter, ListQuery};
use crate::key::RecordKey;
use crate::resource::Resource;

/// Rows that are asked for where the filter's rows are checked against the key: a filter may be less
/// exact than a key.
const CANDIDATES: u32 = 25;

/// How a record is reached by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addressing {
    /// The key stands in the URL. Documented for the top-level profile resource
    /// (experienceleague.adobe.com, Campaign Standard API, "Must-read"); custom resources may allow it.
    Key,
    /// A custom filter finds the record, whose own link is then used: one more read per write.
    Filter {
        /// The filter, `byCrmId`.
        name: String,
        /// Its parameter, `crmId_parameter`.
        parameter: String,
    },
}

/// A record was created. Its body is the whole record, with defaults and computed fields.
#[derive(Clone)]
#[non_exhaustive]
pub struct Created {
    body: Bytes,
    operation: String,
}

impl Created {
    /// The answer as it came.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Reads the record.
    ///
    /// # Errors
    /// `Decode` if it does not fit `T`. The record is created nevertheless.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Error> {
        decode_bytes(&self.body, &self.operation)
    }
}

impl std::fmt::Debug for Created {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Created").field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

/// What became of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Updated {
    /// The record has the values now.
    Updated,
    /// No record has the key.
    NotFound,
}

/// What became of a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// The record is deleted.
    Deleted,
    /// No record had the key.
    AlreadyGone,
}

/// Reads and writes the records of one resource. Clones are cheap.
///
/// Dropping a future may leave a write under way: its outcome is unknown then.
#[derive(Debug, Clone)]
pub struct RecordApi {
    client: CampaignClient,
    resource: Resource,
    addressing: Addressing,
    key_field: Option<String>,
    item: String,
    repeats: bool,
}

enum Found {
    Row(Box<CustomRecord>),
    Nothing,
}

impl RecordApi {
    pub(crate) fn new(client: CampaignClient, resource: Resource, addressing: Addressing) -> Self {
        let item = format!("{resource}/{{key}}");
        Self { client, resource, addressing, key_field: None, item, repeats: true }
    }

    /// With [`Addressing::Filter`]: counts only rows whose `field` is the key, so that a filter that
    /// compares less exactly, say by beginning, cannot hit another record. Dots name nested fields.
    #[must_use]
    pub fn verify_key(mut self, field: impl Into<String>) -> Self {
        self.key_field = Some(field.into());
        self
    }

    /// Sends no change and no delete again whose end is unclear: it is an error with [`Delivery::MaybeApplied`], as a create's
    /// is. For callers that keep account of what may have been written: an attempt that is given up here may still take effect
    /// later, after the repetition and after whatever comes next.
    #[must_use]
    pub fn without_repeats(mut self) -> Self {
        self.repeats = false;
        self
    }

    /// The resource.
    #[must_use]
    pub fn resource(&self) -> &Resource {
        &self.resource
    }

    /// The addressing.
    #[must_use]
    pub fn addressing(&self) -> &Addressing {
        &self.addressing
    }

    /// Reads a record; `None` if there is none with the key.
    ///
    /// # Errors
    /// See [`ErrorKind`]; `Ambiguous` if a filter finds several; `HostileKey` if the service took the key for something else
    /// (the name of an attribute, say) and answered with a list or a description.
    pub async fn get<T: DeserializeOwned>(&self, key: &RecordKey) -> Result<Option<T>, Error> {
        match &self.addressing {
            Addressing::Key => match self.client.call(Request::get(self.url_of(key)?, self.operation("GET"))).await {
                Ok(response) => {
                    let operation = self.operation("GET");
                    check_record(&response, &operation)?;
                    decode(&response, &operation).map(Some)
                }
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
            Addressing::Filter { name, parameter } => match self.find(name, parameter, key).await? {
                Found::Nothing => Ok(None),
                Found::Row(row) => serde_json::from_value(Value::Object(row.into_fields())).map(Some).map_err(|_| {
                    Error::because(ErrorKind::Decode, "the record found does not fit")
                        .with_operation(self.operation("GET"))
                }),
            },
        }
    }

    /// Creates a record from JSON that is encoded already.
    ///
    /// It is sent again only if it was not sent at all, or was throttled: every other unclear end is an
    /// error with [`Delivery::MaybeApplied`].
    ///
    /// # Errors
    /// `Exists` if the unique key is taken; see [`ErrorKind`] for the rest.
    pub async fn create(&self, body: Bytes) -> Result<Created, Error> {
        let url = self.client.http().origin().join(&self.resource.path())?;
        let operation = format!("POST {}", self.resource);
        let request = Request::post(url, operation.clone()).json(body);
        let response = self.client.call(request).await?;
        Ok(Created { body: response.body, operation })
    }

    /// [`create`](Self::create) from any type.
    ///
    /// # Errors
    /// As [`create`](Self::create), and `Encode`.
    pub async fn create_from<T: Serialize + Sync>(&self, record: &T) -> Result<Created, Error> {
        self.create(encode(record)?).await
    }

    /// Changes the fields that `body`, encoded JSON, names; others stay. Leave the key itself out.
    /// May be sent again after an unclear end, with the same effect, unless [`without_repeats`](Self::without_repeats) is set.
    ///
    /// # Errors
    /// See [`ErrorKind`]; `Ambiguous` if a filter finds several.
    pub async fn update(&self, key: &RecordKey, body: Bytes) -> Result<Updated, Error> {
        let Some(url) = self.reach(key).await? else { return Ok(Updated::NotFound) };
        let request = Request::patch(url, self.operation("PATCH")).json(body).idempotent(self.repeats);
        match self.client.call(request).await {
            Ok(_) => Ok(Updated::Updated),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Updated::NotFound),
            Err(error) => Err(error),
        }
    }

    /// [`update`](Self::update) from any type.
    ///
    /// # Errors
    /// As [`update`](Self::update), and `Encode`.
    pub async fn update_from<T: Serialize + Sync>(&self, key: &RecordKey, record: &T) -> Result<Updated, Error> {
        self.update(key, encode(record)?).await
    }

    /// Deletes a record. May be sent again after an unclear end, unless [`without_repeats`](Self::without_repeats) is set.
    ///
    /// A DELETE with the key in the URL is not documented, though GET and PATCH are: where the service refuses the method there,
    /// the record is read and deleted by its `PKey`, at two more requests.
    ///
    /// # Errors
    /// See [`ErrorKind`]; a 404 that does not speak of the key is `UnknownResource`, not success.
    pub async fn delete(&self, key: &RecordKey) -> Result<Deleted, Error> {
        let Some(url) = self.reach(key).await? else { return Ok(Deleted::AlreadyGone) };
        match self.delete_at(url).await {
            Err(error)
                if self.addressing == Addressing::Key && error.status() == Some(StatusCode::METHOD_NOT_ALLOWED) =>
            {
                let read = self.get::<CustomRecord>(key).await;
                let Some(row) = read.map_err(|error| error.with_delivery(Delivery::NotSent))? else {
                    return Ok(Deleted::AlreadyGone);
                };
                let Some(pkey) = row.pkey() else { return Err(error) };
                let path = format!("{}/{}", self.resource.path(), crate::key::encode(pkey));
                self.delete_at(self.client.http().origin().join(&path)?).await
            }
            outcome => outcome,
        }
    }

    async fn delete_at(&self, url: Url) -> Result<Deleted, Error> {
        match self.client.call(Request::delete(url, self.operation("DELETE")).idempotent(self.repeats)).await {
            Ok(_) => Ok(Deleted::Deleted),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Deleted::AlreadyGone),
            Err(error) => Err(error),
        }
    }

    /// The rows of the first page of a custom filter with one parameter.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn by_filter<T: DeserializeOwned>(
        &self,
        name: &str,
        parameter: &str,
        value: &str,
    ) -> Result<Vec<T>, Error> {
        let filter = Filter::custom(name)?.with(parameter, value)?;
        Ok(self.client.list(&ListQuery::new(self.resource.clone()).filter(filter)).await?.content)
    }

    fn operation(&self, method: &str) -> String {
        format!("{method} {}", self.item)
    }

    fn url_of(&self, key: &RecordKey) -> Result<Url, Error> {
        let path = format!("{}/{}", self.resource.path(), key.path_segment());
        Ok(self.client.http().origin().join(&path)?)
    }

    /// Where a record is written; `None` if a filter finds none.
    async fn reach(&self, key: &RecordKey) -> Result<Option<Url>, Error> {
        let Addressing::Filter { name, parameter } = &self.addressing else { return self.url_of(key).map(Some) };
        let row = match self.find(name, parameter, key).await.map_err(|error| error.with_delivery(Delivery::NotSent))? {
            Found::Nothing => return Ok(None),
            Found::Row(row) => row,
        };
        let href = row.href().ok_or_else(|| {
            Error::because(ErrorKind::Decode, "the record found has no href").with_operation(self.operation("GET"))
        })?;
        let link = self.client.http().link(href)?;
        self.check_item(&link)?;
        Ok(Some(link.into_url()))
    }

    /// A PATCH or DELETE goes to an item of this resource and to nothing else of the organisation.
    fn check_item(&self, link: &SameOriginUrl) -> Result<(), Error> {
        let base = self.client.http().origin().base().path();
        let collection = format!("{base}/{}/", self.resource.path());
        let item = link.as_url().path().strip_prefix(&collection).map(|item| item.trim_matches('/'));
        match item {
            Some(item) if !item.is_empty() && !item.contains('/') => Ok(()),
            _ => Err(Error::because(
                ErrorKind::ForeignLink,
                "the href of a record is not that of a record of its resource",
            )
            .with_operation(self.operation("GET"))),
        }
    }

    async fn find(&self, name: &str, parameter: &str, key: &RecordKey) -> Result<Found, Error> {
        let rows = if self.key_field.is_some() { CANDIDATES } else { 2 };
        let filter = Filter::custom(name)?.with(parameter, key.as_str())?;
        let query = ListQuery::new(self.resource.clone()).filter(filter).line_count(rows);
        let page = self.client.list::<CustomRecord>(&query).await?;
        let more = page.next.is_some();
        let mut rows = page.content.into_iter().filter(|row| match &self.key_field {
            Some(field) => row.text(field).as_deref() == Some(key.as_str()),
            None => true,
        });
        match (rows.next(), rows.next()) {
            (Some(row), None) if !more => Ok(Found::Row(Box::new(row))),
            (None, _) if !more => Ok(Found::Nothing),
            _ => Err(Error::new(ErrorKind::Ambiguous).with_operation(format!("GET {}/{name}", self.resource))),
        }
    }
}

/// A key may have a name that the service knows as something else; what it answers then is a list or a description, both of
/// which have `content`, and no record has.
fn check_record(response: &Response, operation: &str) -> Result<(), Error> {
    let fields: HashMap<String, IgnoredAny> = decode(response, operation)?;
    if fields.contains_key("content") {
        return Err(Error::because(ErrorKind::HostileKey, "the service read the key as something else than a key")
            .with_delivery(Delivery::Refused)
            .with_operation(operation.to_owned())
            .with_answer(response));
    }
    Ok(())
}

fn encode<T: Serialize>(record: &T) -> Result<Bytes, Error> {
    serde_json::to_vec(record).map(Bytes::from).map_err(|_| Error::new(ErrorKind::Encode))
}
