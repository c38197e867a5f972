use std::fmt;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind};

/// Longest name of a resource, field or filter that is accepted.
const MAX_NAME: usize = 128;

/// The endpoint families that hold records (experienceleague.adobe.com, Campaign Standard API,
/// "Endpoints" and "Interacting with custom resources").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Family {
    /// `profileAndServicesExt`: profile with its extensions, and custom resources linked to it.
    ProfileAndServicesExt,
    /// `customResources`: custom resources that are not linked to profile.
    CustomResources,
}

impl Family {
    /// Both families, in the order in which a resource is looked for.
    pub const ALL: [Self; 2] = [Self::ProfileAndServicesExt, Self::CustomResources];

    /// The segment of the URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProfileAndServicesExt => "profileAndServicesExt",
            Self::CustomResources => "customResources",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A resource: its family and its name, which is known to be a plain name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Resource {
    family: Family,
    name: Box<str>,
}

impl Resource {
    /// Names a resource.
    ///
    /// # Errors
    /// `Configuration` if the name is not letters, digits and `_`, beginning with a letter.
    pub fn new(family: Family, name: impl Into<Box<str>>) -> Result<Self, Error> {
        let name = name.into();
        check_name(&name)?;
        Ok(Self { family, name })
    }

    /// `profileAndServicesExt/profile`.
    #[must_use]
    pub fn profile() -> Self {
        Self { family: Family::ProfileAndServicesExt, name: "profile".into() }
    }

    /// The family.
    #[must_use]
    pub fn family(&self) -> Family {
        self.family
    }

    /// The name: `profile`, `cusVehicle`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path under the base URL, `profileAndServicesExt/profile`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}", self.family, self.name)
    }

    pub(crate) fn metadata_path(&self) -> String {
        format!("{}/resourceType/{}", self.family, self.name)
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.family, self.name)
    }
}

/// One resource of a family, as discovery lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResourceEntry {
    /// The resource.
    pub resource: Resource,
    /// Its text for people, where there is one.
    pub label: Option<String>,
}

#[derive(Deserialize)]
struct WireEntry {
    name: Option<String>,
    help: Option<String>,
    label: Option<String>,
}

/// Reads the answer of `GET /<family>/`: an object keyed by resource name. What is no resource is left out.
pub(crate) fn read_listing(family: Family, listing: Map<String, Value>) -> Vec<ResourceEntry> {
    listing
        .into_iter()
        .filter_map(|(key, value)| {
            let entry: WireEntry = value.is_object().then(|| serde_json::from_value(value).ok()).flatten()?;
            let resource = Resource::new(family, entry.name.unwrap_or(key)).ok()?;
            Some(ResourceEntry { resource, label: entry.label.or(entry.help).filter(|label| !label.is_empty()) })
        })
        .collect()
}

/// Names come from configuration and stand in URLs and error texts.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let plain = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.len() <= MAX_NAME
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain {
        Ok(())
    } else {
        Err(Error::because(
            ErrorKind::Configuration,
            "a resource, field, filter or parameter name is not letters, digits and '_' after a letter",
        ))
    }
}
