//! What a write carries, built column by column.

use std::fmt;

use rust_decimal::Decimal;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::is_finite;
use crate::batch::ContentId;
use crate::error::Error;
use crate::odata::{EntityKey, Name};

/// The columns of a create or an update, for callers without a typed struct.
///
/// ```
/// use d365_client::{EntityBody, odata::EntityKey};
/// let body = EntityBody::new()
///     .set("firstname", "Ada")?
///     .clear("middlename")?
///     .bind("parentcustomerid_account", "accounts", &EntityKey::by("accountnumber", "A1")?)?;
/// assert_eq!(
///     serde_json::to_string(&body)?,
///     r#"{"firstname":"Ada","middlename":null,"parentcustomerid_account@odata.bind":"/accounts(accountnumber='A1')"}"#
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct EntityBody {
    members: Vec<(String, Box<RawValue>)>,
}

impl EntityBody {
    /// No column.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a column; a later value of the same column replaces an earlier one.
    ///
    /// # Errors
    /// A name that is no identifier, or a value that JSON cannot say: NaN and the infinities are among them.
    pub fn set<N: TryInto<Name>>(self, column: N, value: impl Serialize) -> Result<Self, Error>
    where
        Error: From<N::Error>,
    {
        let column = column.try_into()?;
        if !is_finite(&value) {
            return Err(Error::validation("a value of a write is NaN or infinite"));
        }
        let value = serde_json::value::to_raw_value(&value)
            .map_err(|_| Error::validation("a value of a write cannot be written as JSON"))?;
        Ok(self.put(column.to_string(), value))
    }

    /// Sets a column to a decimal, written as a JSON number with all its digits.
    ///
    /// # Errors
    /// A name that is no identifier.
    pub fn set_decimal<N: TryInto<Name>>(self, column: N, value: Decimal) -> Result<Self, Error>
    where
        Error: From<N::Error>,
    {
        let column = column.try_into()?;
        let value = RawValue::from_string(value.to_string())
            .map_err(|_| Error::validation("a decimal cannot be written as JSON"))?;
        Ok(self.put(column.to_string(), value))
    }

    /// Sets a column to null.
    ///
    /// # Errors
    /// A name that is no identifier.
    pub fn clear<N: TryInto<Name>>(self, column: N) -> Result<Self, Error>
    where
        Error: From<N::Error>,
    {
        self.set(column, ())
    }

    /// Points a lookup to a row: `{navigation}@odata.bind`. The name is that of the navigation property, which is
    /// case-sensitive and may differ from the column's.
    ///
    /// # Errors
    /// A name that is no identifier.
    pub fn bind<N: TryInto<Name>, S: TryInto<Name>>(self, navigation: N, set: S, key: &EntityKey) -> Result<Self, Error>
    where
        Error: From<N::Error> + From<S::Error>,
    {
        let target = format!("/{}{}", set.try_into()?, key.to_segment());
        self.put_bind(navigation.try_into()?, &target)
    }

    /// Points a lookup to the row that an earlier request of the same change set writes: `{navigation}@odata.bind` with `$1`.
    ///
    /// # Errors
    /// A name that is no identifier.
    pub fn bind_to<N: TryInto<Name>>(self, navigation: N, row: ContentId) -> Result<Self, Error>
    where
        Error: From<N::Error>,
    {
        self.put_bind(navigation.try_into()?, &row.to_string())
    }

    /// Empties a lookup: `{navigation}@odata.bind` with null.
    ///
    /// # Errors
    /// A name that is no identifier.
    pub fn unbind<N: TryInto<Name>>(self, navigation: N) -> Result<Self, Error>
    where
        Error: From<N::Error>,
    {
        self.put_bind(navigation.try_into()?, &())
    }

    fn put_bind(self, navigation: Name, target: &impl Serialize) -> Result<Self, Error> {
        let value = serde_json::value::to_raw_value(target)
            .map_err(|_| Error::validation("a reference cannot be written as JSON"))?;
        Ok(self.put(format!("{navigation}@odata.bind"), value))
    }

    fn put(mut self, name: String, value: Box<RawValue>) -> Self {
        match self.members.iter_mut().find(|(known, _)| *known == name) {
            Some(member) => member.1 = value,
            None => self.members.push((name, value)),
        }
        self
    }

    /// Whether nothing was set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The number of columns and references set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }
}

impl Serialize for EntityBody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.members.len()))?;
        for (name, value) in &self.members {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl fmt::Debug for EntityBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.members.iter().map(|(name, _)| name)).finish()
    }
}
