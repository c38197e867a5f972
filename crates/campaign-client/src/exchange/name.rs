use std::fmt;

use super::error::{ExchangeError, ExchangeErrorKind};

/// Most bytes of a name.
const LONGEST: usize = 200;

/// Endings under which programs write before they rename; such a file is never complete.
const PARTIAL: [&str; 4] = [".part", ".filepart", ".tmp", ".partial"];

fn strict(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=LONGEST).contains(&text.len())
        && text.bytes().all(inner)
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric() || first == b'_')
}

/// The name of a file: 1 to 200 letters, digits, `.`, `-` and `_`, without a dot or hyphen at the front. Anything else a server
/// offers is refused, because a name becomes part of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(String);

impl FileName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`ExchangeErrorKind::HostileName`].
    pub fn new(name: impl Into<String>) -> Result<Self, ExchangeError> {
        let name = name.into();
        if strict(&name) { Ok(Self(name)) } else { Err(ExchangeError::new(ExchangeErrorKind::HostileName)) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name says that somebody is still writing.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        let lower = self.0.to_ascii_lowercase();
        PARTIAL.iter().any(|ending| lower.ends_with(ending))
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A folder on the server, relative to where the user lands: strict names with `/` between them, `d365_loads/exports` for instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Folder(String);

impl Folder {
    /// Checks a folder's path.
    ///
    /// # Errors
    /// [`ExchangeErrorKind::HostileName`].
    pub fn new(path: impl Into<String>) -> Result<Self, ExchangeError> {
        let path = path.into();
        if path.split('/').all(strict) {
            Ok(Self(path))
        } else {
            Err(ExchangeError::new(ExchangeErrorKind::HostileName))
        }
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.0)
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_pass() {
        for good in ["optout_20260221_081532.csv.gz", "a", "_x", "A-b.c", &"n".repeat(200)] {
            assert!(FileName::new(good).is_ok(), "{good}");
        }
        for bad in
            ["", ".", "..", ".hidden", "-rf", "a/b", "a\\b", "a b", "a\0", "a\n", "é", "%2e", "a:b", &"n".repeat(201)]
        {
            let error = FileName::new(bad).unwrap_err();
            assert_eq!(error.kind(), ExchangeErrorKind::HostileName, "{bad:?}");
        }
        for bad in ["", "/etc", "a/../b", "a//b", "a/", "./a", "~/a"] {
            assert!(Folder::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Folder::new("d365_loads/exports").unwrap().file("x"), "d365_loads/exports/x");
    }

    #[test]
    fn a_name_can_say_that_it_is_not_complete() {
        let partial = |name: &str| FileName::new(name).unwrap().is_partial();
        assert!(partial("a.csv.part") && partial("a.TMP") && partial("a.filepart"));
        assert!(!partial("a.csv") && !partial("part"));
    }
}
