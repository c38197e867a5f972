//! Identifiers: tables, sets, columns, navigation properties.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// The longest identifier that OData allows (OData 4.0 ABNF, `odataIdentifier`).
const MAX_LENGTH: usize = 128;

/// A checked identifier: a column, a navigation property, a table or an entity set.
///
/// A letter or underscore followed by letters, digits and underscores, at most 128 of them; so it needs no escaping
/// anywhere in a URL. Names are case-sensitive on the wire.
///
/// ```
/// use d365_client::odata::Name;
/// assert_eq!(Name::new("_parentcustomerid_value")?.as_str(), "_parentcustomerid_value");
/// assert!(Name::new("fullname&$top=1").is_err());
/// # Ok::<(), d365_client::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Cow<'static, str>);

impl Name {
    /// Checks and keeps a name.
    ///
    /// # Errors
    /// [`ErrorKind::Validation`](crate::ErrorKind::Validation) when the text is no identifier.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Result<Self, Error> {
        let text = text.into();
        if is_identifier(&text) {
            Ok(Self(text))
        } else {
            Err(Error::validation("a name of a table, column or navigation property is not an identifier"))
        }
    }

    /// The name as it goes over the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && text.len() <= MAX_LENGTH && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::new(text.to_owned())
    }
}

impl TryFrom<&str> for Name {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self, Error> {
        text.parse()
    }
}

impl TryFrom<String> for Name {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        Self::new(text)
    }
}

impl TryFrom<&String> for Name {
    type Error = Error;

    fn try_from(text: &String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<&Name> for Name {
    fn from(name: &Name) -> Self {
        name.clone()
    }
}

impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::Name;
    use crate::ErrorKind;

    #[test]
    fn identifiers_are_kept_as_they_are() {
        for text in ["contact", "_x_value", "new_Region", "a", "A1"] {
            assert_eq!(Name::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn everything_else_is_refused_without_echoing_it() {
        let long = "a".repeat(129);
        for text in ["", "1a", "a b", "a,b", "a'b", "a/b", "ä", "a\0", "$top", long.as_str()] {
            let error = text.parse::<Name>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Validation);
            assert!(text.is_empty() || text == "a" || !error.to_string().contains(&format!("`{text}`")));
        }
    }
}
