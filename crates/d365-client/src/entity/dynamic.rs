//! Rows whose columns are known at run time only.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::de::{DeserializeOwned, DeserializeSeed, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{ETag, Entity};
use crate::metadata::EntityDef;
use crate::wire;

/// The annotation that holds the label of a choice, a localised date, the name of a lookup's target.
pub const FORMATTED_VALUE: &str = "OData.Community.Display.V1.FormattedValue";
/// The annotation that names the table a lookup points to.
pub const LOOKUP_LOGICAL_NAME: &str = "Microsoft.Dynamics.CRM.lookuplogicalname";
/// The annotation that names the navigation property of a lookup.
pub const ASSOCIATED_NAVIGATION_PROPERTY: &str = "Microsoft.Dynamics.CRM.associatednavigationproperty";

/// A row as the service sent it, nothing lost: every property keeps its JSON text.
///
/// The row holds one copy of its text and the places of its properties in it, so numbers keep their digits
/// (`1234.5600000000`), and unknown properties travel along. It serialises as the very text it was read from.
///
/// ```
/// use d365_client::DynamicEntity;
/// let row: DynamicEntity = serde_json::from_str(r#"{"@odata.etag":"W/\"7\"","annualincome":1234.5600,"middlename":null}"#)?;
/// assert_eq!(row.decimal("annualincome")?.unwrap().to_string(), "1234.5600");
/// assert_eq!(row.text("middlename")?, None);
/// assert!(row.text("annualincome").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct DynamicEntity {
    /// The row's JSON text, followed by the few names that had to be unescaped.
    text: Box<str>,
    /// Where the row's own text ends.
    end: u32,
    id: Option<Uuid>,
    fields: Vec<Field>,
}

#[derive(Clone, Copy)]
struct Field {
    name: Span,
    value: Span,
}

#[derive(Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

/// Why a property could not be read as asked. Carries the property's name, never its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column `{column}` does not hold {expected}")]
pub struct ColumnError {
    /// The property asked for.
    pub column: String,
    /// What was expected, as in "a whole number".
    pub expected: &'static str,
}

impl DynamicEntity {
    /// Reads a row from its JSON text; `primary_id` names the column whose value [`id`](Self::id) returns.
    ///
    /// # Errors
    /// Text that is not one JSON object, or longer than 4 GiB.
    pub fn parse(text: &str, primary_id: Option<&str>) -> Result<Self, serde_json::Error> {
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        let mut fields = Vec::with_capacity(16);
        let mut unescaped = String::new();
        let mut deserializer = serde_json::Deserializer::from_str(text);
        deserializer.deserialize_map(FieldsVisitor { text, fields: &mut fields, unescaped: &mut unescaped })?;
        deserializer.end()?;
        let end = u32::try_from(text.len()).map_err(serde::de::Error::custom)?;
        let text: Box<str> = if unescaped.is_empty() { text.into() } else { format!("{text}{unescaped}").into() };
        let mut row = Self { text, end, id: None, fields };
        row.id = primary_id.and_then(|name| row.guid(name).ok().flatten());
        Ok(row)
    }

    /// The row around fields that were found in the text of a page; `None` for a row without any, which has no place.
    fn within(page: &str, mut fields: Vec<Field>) -> Option<Self> {
        let (first, last) = (fields.first()?, fields.last()?);
        // Before the first name stands its quote, and before that the brace, with white space at most between them.
        let start = page.get(..first.name.start as usize)?.rfind('{')?;
        let end = last.value.end as usize + page.get(last.value.end as usize..)?.find('}')? + 1;
        let text: Box<str> = page.get(start..end)?.into();
        let shift = u32::try_from(start).ok()?;
        for field in &mut fields {
            for span in [&mut field.name, &mut field.value] {
                span.start = span.start.checked_sub(shift)?;
                span.end = span.end.checked_sub(shift)?;
            }
        }
        let end = u32::try_from(text.len()).ok()?;
        Some(Self { text, end, id: None, fields })
    }

    /// The row's identifier: the value of the table's primary id column, if the definition was known and the row has it.
    #[must_use]
    pub fn id(&self) -> Option<Uuid> {
        self.id
    }

    /// The row's version tag.
    #[must_use]
    pub fn etag(&self) -> Option<ETag> {
        self.text("@odata.etag").ok().flatten().and_then(|text| ETag::new(text.into_owned()).ok())
    }

    /// The JSON text of a property, annotations included (`name@annotation`); `None` when the row does not have it.
    #[must_use]
    pub fn raw_text(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|field| self.slice(field.name) == name).map(|field| self.slice(field.value))
    }

    /// As [`raw_text`](Self::raw_text) for a property that is expected at place `hint`, with the place where it is. Rows of one
    /// answer have their properties in one order, so that whoever remembers the place need not search each row.
    #[must_use]
    pub fn raw_text_near(&self, hint: usize, name: &str) -> Option<(usize, &str)> {
        let named = |field: &&Field| self.slice(field.name) == name;
        if let Some(field) = self.fields.get(hint).filter(named) {
            return Some((hint, self.slice(field.value)));
        }
        let at = self.fields.iter().position(|field| named(&field))?;
        self.fields.get(at).map(|field| (at, self.slice(field.value)))
    }

    /// As [`raw_text`](Self::raw_text), as serde_json's type.
    #[must_use]
    pub fn get_raw(&self, name: &str) -> Option<&RawValue> {
        serde_json::from_str(self.raw_text(name)?).ok()
    }

    /// Whether the row has the property, be it null.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.raw_text(name).is_some()
    }

    /// All properties with their JSON text in the order of the wire, annotations and `@odata.…` included.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|field| (self.slice(field.name), self.slice(field.value)))
    }

    /// The names of the columns: properties that are no annotations.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.properties().map(|(name, _)| name).filter(|name| !name.contains('@'))
    }

    /// The whole row as JSON text, as it came.
    #[must_use]
    pub fn as_json(&self) -> &str {
        self.text.get(..self.end as usize).unwrap_or_default()
    }

    /// Any type that serde can read; `None` for a missing property and for null.
    ///
    /// # Errors
    /// The value is of another shape.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ColumnError> {
        self.read(name, "a value of the expected shape", |text| serde_json::from_str(text).ok())
    }

    /// A text; `None` for a missing property and for null. Borrowed unless it had escapes.
    ///
    /// # Errors
    /// The value is no text.
    pub fn text(&self, name: &str) -> Result<Option<Cow<'_, str>>, ColumnError> {
        self.read(name, "a text", |text| {
            let inner = text.strip_prefix('"')?.strip_suffix('"')?;
            if inner.contains('\\') {
                serde_json::from_str(text).ok().map(Cow::Owned)
            } else {
                Some(Cow::Borrowed(inner))
            }
        })
    }

    /// A whole number: integers, big integers, choices. `12.0` is one too.
    ///
    /// # Errors
    /// The value is no whole number of 64 bits.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, ColumnError> {
        self.read(name, "a whole number", wire::integer)
    }

    /// An exact decimal, read from the digits on the wire: decimals, money, whole numbers.
    ///
    /// # Errors
    /// The value is no number, or one that a [`Decimal`] cannot hold exactly.
    pub fn decimal(&self, name: &str) -> Result<Option<Decimal>, ColumnError> {
        self.read(name, "a decimal number", wire::number)
    }

    /// A double.
    ///
    /// # Errors
    /// The value is no number, or none that a double can come near.
    pub fn double(&self, name: &str) -> Result<Option<f64>, ColumnError> {
        self.read(name, "a number", wire::double)
    }

    /// A boolean.
    ///
    /// # Errors
    /// The value is neither `true` nor `false`.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, ColumnError> {
        self.read(name, "true or false", |text| text.parse().ok())
    }

    /// A GUID: identifiers and lookups (`_x_value`).
    ///
    /// # Errors
    /// The value is no GUID of the form with hyphens.
    pub fn guid(&self, name: &str) -> Result<Option<Uuid>, ColumnError> {
        self.read(name, "a GUID", wire::guid)
    }

    /// A calendar day: columns of date-only behaviour.
    ///
    /// # Errors
    /// The value is no date of the form `1990-05-01`.
    pub fn date(&self, name: &str) -> Result<Option<NaiveDate>, ColumnError> {
        self.read(name, "a date", wire::date)
    }

    /// An instant, with `Z`, another offset, or none, which means UTC; a space may stand for the `T`. For columns of
    /// time-zone-independent behaviour the same form means a reading of the wall clock.
    ///
    /// # Errors
    /// The value is no date-time.
    pub fn date_time(&self, name: &str) -> Result<Option<DateTime<Utc>>, ColumnError> {
        self.read(name, "a date-time", wire::instant)
    }

    /// The label that the service shows for the column's value, when annotations were asked for. Written in the calling
    /// user's language and locale: for people, never to be parsed.
    #[must_use]
    pub fn formatted(&self, name: &str) -> Option<Cow<'_, str>> {
        self.annotation(name, FORMATTED_VALUE)
    }

    /// The table that a lookup column (`_x_value`) points to, when annotations were asked for.
    #[must_use]
    pub fn lookup_table(&self, name: &str) -> Option<Cow<'_, str>> {
        self.annotation(name, LOOKUP_LOGICAL_NAME)
    }

    /// A text annotation of a property.
    #[must_use]
    pub fn annotation(&self, name: &str, annotation: &str) -> Option<Cow<'_, str>> {
        let matches = |field: &&Field| {
            self.slice(field.name)
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('@'))
                .is_some_and(|rest| rest == annotation)
        };
        let field = self.fields.iter().find(matches)?;
        self.text(self.slice(field.name)).ok().flatten()
    }

    fn read<'a, T>(
        &'a self,
        name: &str,
        expected: &'static str,
        parse: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<Option<T>, ColumnError> {
        match self.raw_text(name) {
            None | Some("null") => Ok(None),
            Some(text) => match parse(text) {
                Some(value) => Ok(Some(value)),
                None => Err(ColumnError { column: name.to_owned(), expected }),
            },
        }
    }

    fn slice(&self, span: Span) -> &str {
        self.text.get(span.start as usize..span.end as usize).unwrap_or_default()
    }
}

/// Collects the places of names and values inside `text`.
struct FieldsVisitor<'a> {
    text: &'a str,
    fields: &'a mut Vec<Field>,
    unescaped: &'a mut String,
}

impl FieldsVisitor<'_> {
    /// The place of a borrowed part: serde_json hands out slices of its input, and what lies at an address inside of the text is
    /// part of the text.
    fn span<E: serde::de::Error>(&self, part: &str) -> Result<Span, E> {
        let start = (part.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        Self::place(start, part.len())
            .filter(|_| start.checked_add(part.len()).is_some_and(|end| self.text.get(start..end).is_some()))
            .ok_or_else(|| E::custom("a property lies outside of its row"))
    }

    fn place(start: usize, length: usize) -> Option<Span> {
        let end = start.checked_add(length)?;
        Some(Span { start: u32::try_from(start).ok()?, end: u32::try_from(end).ok()? })
    }
}

/// Reads a row where it stands in the text of a page, which is then read only once. It gives up on a row whose names have
/// escapes: [`DynamicEntity::parse`] reads those.
#[derive(Clone, Copy)]
pub(crate) struct RowOf<'t> {
    page: &'t str,
    primary_id: &'t str,
}

impl<'t> RowOf<'t> {
    pub(crate) fn new(page: &'t str, primary_id: &'t str) -> Self {
        Self { page, primary_id }
    }
}

impl<'de> DeserializeSeed<'de> for RowOf<'_> {
    type Value = DynamicEntity;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<DynamicEntity, D::Error> {
        let mut fields = Vec::with_capacity(16);
        let mut unescaped = String::new();
        deserializer.deserialize_map(FieldsVisitor {
            text: self.page,
            fields: &mut fields,
            unescaped: &mut unescaped,
        })?;
        let row = unescaped.is_empty().then(|| DynamicEntity::within(self.page, fields)).flatten();
        let mut row = row.ok_or_else(|| serde::de::Error::custom("a row that has to be read by itself"))?;
        row.id = row.guid(self.primary_id).ok().flatten();
        Ok(row)
    }
}

impl<'de> Visitor<'de> for FieldsVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        #[derive(Deserialize)]
        struct PropertyName<'a>(#[serde(borrow)] Cow<'a, str>);

        while let Some(PropertyName(name)) = map.next_key()? {
            let name = match name {
                Cow::Borrowed(name) => self.span(name)?,
                Cow::Owned(name) => {
                    let start = self.text.len() + self.unescaped.len();
                    self.unescaped.push_str(&name);
                    Self::place(start, name.len()).ok_or_else(|| serde::de::Error::custom("a row is too long"))?
                }
            };
            let value: &RawValue = map.next_value()?;
            let value = self.span(value.get())?;
            self.fields.push(Field { name, value });
        }
        Ok(())
    }
}

impl fmt::Debug for DynamicEntity {
    // Column names only: the values are record data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicEntity")
            .field("id", &self.id)
            .field("columns", &self.columns().collect::<Vec<_>>())
            .finish()
    }
}

impl PartialEq for DynamicEntity {
    /// Equal when read from the same text.
    fn eq(&self, other: &Self) -> bool {
        self.as_json() == other.as_json()
    }
}

impl Serialize for DynamicEntity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(self.as_json()).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for DynamicEntity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Self::parse(raw.get(), None).map_err(|_| serde::de::Error::custom("a row that is no JSON object"))
    }
}

impl Entity for DynamicEntity {
    type Def = Arc<EntityDef>;

    fn logical_name(def: &Arc<EntityDef>) -> &str {
        def.logical_name()
    }

    fn entity_set(def: &Arc<EntityDef>) -> &str {
        def.entity_set()
    }

    fn primary_id(def: &Arc<EntityDef>) -> &str {
        def.primary_id()
    }

    fn columns(_: &Arc<EntityDef>) -> &[&'static str] {
        &[]
    }

    fn decode(def: &Arc<EntityDef>, text: &str) -> Result<Self, serde_json::Error> {
        Self::parse(text, Some(def.primary_id()))
    }
}
