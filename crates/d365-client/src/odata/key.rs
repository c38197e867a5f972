//! The address of one row.

use std::fmt;

use uuid::Uuid;

use super::{Literal, Name, encode};
use crate::error::Error;

/// Characters that no key value in a URL can carry, encoded or not
/// (learn.microsoft.com, "Use an alternate key to reference a record").
const UNADDRESSABLE: [char; 10] = ['/', '<', '>', '*', '%', '&', ':', '\\', '?', '+'];

/// How a single row is addressed: by its identifier, or by the columns of an alternate key.
#[derive(Clone, PartialEq)]
pub struct EntityKey(Kind);

#[derive(Clone, PartialEq)]
enum Kind {
    Id(Uuid),
    Alternate(Vec<(Name, Literal)>),
}

impl EntityKey {
    /// By identifier.
    #[must_use]
    pub fn id(id: Uuid) -> Self {
        Self(Kind::Id(id))
    }

    /// By an alternate key of one column.
    ///
    /// # Errors
    /// As [`EntityKey::alternate`].
    pub fn by<N: TryInto<Name>>(column: N, value: impl Into<Literal>) -> Result<Self, Error>
    where
        Error: From<N::Error>,
    {
        Self::alternate([(column.try_into()?, value.into())])
    }

    /// By an alternate key of several columns.
    ///
    /// # Errors
    /// No column at all; a null; an empty text; a text holding one of `/ < > * % & : \ ? +`, which the service cannot
    /// address through a URL whatever its encoding (look the row up with a filter instead).
    pub fn alternate(parts: impl IntoIterator<Item = (Name, Literal)>) -> Result<Self, Error> {
        let parts: Vec<_> = parts.into_iter().collect();
        if parts.is_empty() {
            return Err(Error::validation("an alternate key needs at least one column"));
        }
        for (_, value) in &parts {
            match value {
                Literal::Null => return Err(Error::validation("an alternate key cannot hold null")),
                Literal::Text(text) if text.is_empty() => {
                    return Err(Error::validation("an alternate key cannot hold an empty text"));
                }
                Literal::Text(text) if text.contains(UNADDRESSABLE) || text.contains(char::is_control) => {
                    return Err(Error::validation(
                        "a value of an alternate key holds a character that a Dataverse URL cannot carry (one of / < > * % & : \\ ? +)",
                    ));
                }
                _ => {}
            }
        }
        Ok(Self(Kind::Alternate(parts)))
    }

    /// The identifier, if the row is addressed by it.
    #[must_use]
    pub fn as_id(&self) -> Option<Uuid> {
        match &self.0 {
            Kind::Id(id) => Some(*id),
            Kind::Alternate(_) => None,
        }
    }

    /// `(…)` as it follows the entity set in a URL, percent-encoded.
    #[must_use]
    pub fn to_segment(&self) -> String {
        match &self.0 {
            Kind::Id(id) => format!("({})", id.hyphenated()),
            Kind::Alternate(parts) => {
                let mut out = String::from("(");
                for (at, (name, value)) in parts.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    out.push_str(name.as_str());
                    out.push('=');
                    let mut literal = String::new();
                    value.write(&mut literal);
                    // Instants carry colons, which the path keeps bare; texts with colons were refused above.
                    out.push_str(&encode(&literal).replace("%27", "'").replace("%3A", ":"));
                }
                out.push(')');
                out
            }
        }
    }
}

impl From<Uuid> for EntityKey {
    fn from(id: Uuid) -> Self {
        Self::id(id)
    }
}

impl fmt::Debug for EntityKey {
    // Values of alternate keys are record data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Id(id) => write!(f, "EntityKey({id})"),
            Kind::Alternate(parts) => f.debug_list().entries(parts.iter().map(|(name, _)| name)).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments() {
        let id = Uuid::from_u128(0xcccc);
        assert_eq!(EntityKey::id(id).to_segment(), "(00000000-0000-0000-0000-00000000cccc)");
        assert_eq!(EntityKey::by("accountnumber", "O'B 1").unwrap().to_segment(), "(accountnumber='O''B%201')");
        let two = EntityKey::alternate([
            (Name::new("key1").unwrap(), Literal::from(2)),
            (Name::new("_primarycontactid_value").unwrap(), Literal::from(id)),
        ]);
        assert_eq!(two.unwrap().to_segment(), "(key1=2,_primarycontactid_value=00000000-0000-0000-0000-00000000cccc)");
    }

    #[test]
    fn values_that_a_url_cannot_carry_are_refused_and_not_shown() {
        for hostile in ["a/b", "a+b@x.org", "50%", "a&b", "a:b", "a?b", "a\\b", "<a", "a>", "*", "", "a\nb"] {
            let error = EntityKey::by("emailaddress1", hostile).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Validation);
            assert!(hostile.len() < 3 || !error.to_string().contains(hostile));
        }
        assert!(EntityKey::by("a", Literal::Null).is_err());
        assert!(EntityKey::alternate([]).is_err());
        assert!(!format!("{:?}", EntityKey::by("a", "hidden").unwrap()).contains("hidden"));
    }
}
