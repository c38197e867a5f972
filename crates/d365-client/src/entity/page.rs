//! Collections as they come over the wire.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::Entity;
use crate::error::Error;

/// One page of a list. `Debug` shows how much there is, not what: rows and links hold record data.
#[non_exhaustive]
pub struct Page<E> {
    /// The rows, in the service's order.
    pub items: Vec<E>,
    /// The link to the next page. Only its absence ends a list: a short page does not.
    pub next: Option<String>,
    /// The number of matching rows if it was asked for; the service counts to 5000 at most.
    pub count: Option<u64>,
}

impl<E> fmt::Debug for Page<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("items", &self.items.len())
            .field("next", &self.next.is_some())
            .field("count", &self.count)
            .finish()
    }
}

/// The object around a collection: `value` and its `@odata.…` neighbours, in any order.
pub(crate) struct Envelope<'a, R> {
    pub(crate) value: Option<Vec<R>>,
    pub(crate) next_link: Option<Cow<'a, str>>,
    pub(crate) delta_link: Option<Cow<'a, str>>,
    pub(crate) count: Option<u64>,
}

impl<R> Default for Envelope<'_, R> {
    fn default() -> Self {
        Self { value: None, next_link: None, delta_link: None, count: None }
    }
}

/// Reads the object with a reader of rows.
struct EnvelopeVisitor<S>(S);

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de, S: DeserializeSeed<'de> + Copy> Visitor<'de> for EnvelopeVisitor<S> {
    type Value = Envelope<'de, S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a collection")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut envelope = Envelope::default();
        while let Some(Text(name)) = map.next_key()? {
            match name.as_ref() {
                "value" => envelope.value = map.next_value_seed(Rows(self.0))?,
                "@odata.nextLink" => envelope.next_link = map.next_value::<Option<Text<'de>>>()?.map(|text| text.0),
                "@odata.deltaLink" => envelope.delta_link = map.next_value::<Option<Text<'de>>>()?.map(|text| text.0),
                "@odata.count" => envelope.count = map.next_value()?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(envelope)
    }
}

/// Reads a list of rows, or null.
#[derive(Clone, Copy)]
struct Rows<S>(S);

impl<'de, S: DeserializeSeed<'de> + Copy> DeserializeSeed<'de> for Rows<S> {
    type Value = Option<Vec<S::Value>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: DeserializeSeed<'de> + Copy> Visitor<'de> for Rows<S> {
    type Value = Option<Vec<S::Value>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Self::Value, A::Error> {
        let mut read = Vec::new();
        while let Some(row) = rows.next_element_seed(self.0)? {
            read.push(row);
        }
        Ok(Some(read))
    }
}

/// The text of a body, checked as a whole: checked string by string, it takes longer.
pub(crate) fn text_of(body: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(body).map_err(|_| Error::shape("an answer in UTF-8"))
}

/// Reads the object around a collection, and each of its rows with `row`.
pub(crate) fn envelope<'a, S>(text: &'a str, row: S) -> Result<Envelope<'a, S::Value>, serde_json::Error>
where
    S: DeserializeSeed<'a> + Copy,
{
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let envelope = deserializer.deserialize_map(EnvelopeVisitor(row))?;
    deserializer.end()?;
    Ok(envelope)
}

/// Rows as they stand in the text.
pub(crate) const RAW: PhantomData<&RawValue> = PhantomData;

/// Decodes the rows of a collection one by one.
fn decode_rows<E: Entity>(def: &E::Def, rows: &[&RawValue]) -> Result<Vec<E>, Error> {
    let mut items = Vec::with_capacity(rows.len());
    for (at, row) in rows.iter().enumerate() {
        items.push(E::decode(def, row.get()).map_err(|error| Error::row(at, &error))?);
    }
    Ok(items)
}

/// Decodes the body of a list answer.
///
/// # Errors
/// [`ErrorKind::Decode`](crate::ErrorKind::Decode) when the body is no collection or one of its rows has another shape.
pub fn decode_page<E: Entity>(def: &E::Def, body: &[u8]) -> Result<Page<E>, Error> {
    let envelope = envelope(text_of(body)?, RAW).map_err(|error| Error::decode("a collection", &error))?;
    let Some(rows) = envelope.value else {
        return Err(Error::shape("a collection without its member `value`"));
    };
    Ok(Page { items: decode_rows(def, &rows)?, next: envelope.next_link.map(Cow::into_owned), count: envelope.count })
}

/// A member of a `$ref` collection: the address of a row. `Debug` shows the identifier alone, since an address by an
/// alternate key holds record data.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Reference {
    /// The absolute URL of the row.
    #[serde(rename = "@odata.id")]
    pub url: String,
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reference").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl Reference {
    /// The identifier in the address; `None` when the row is addressed by an alternate key.
    #[must_use]
    pub fn id(&self) -> Option<uuid::Uuid> {
        let (_, rest) = self.url.rsplit_once('(')?;
        uuid::Uuid::try_parse(rest.strip_suffix(')')?).ok()
    }
}

/// Decodes the body of a `$ref` collection.
///
/// # Errors
/// [`ErrorKind::Decode`](crate::ErrorKind::Decode) when the body is no such collection.
pub fn decode_references(body: &[u8]) -> Result<Vec<Reference>, Error> {
    #[derive(Deserialize)]
    struct References {
        value: Vec<Reference>,
    }
    let decoded: References = serde_json::from_slice(body).map_err(|error| Error::decode("references", &error))?;
    Ok(decoded.value)
}
