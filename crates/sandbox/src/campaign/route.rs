//! Paths: which resource, key, filter or collection a request means.
//!
//! Double slashes are what the service itself puts into its addresses, so empty segments are passed over.

use percent_encoding::percent_decode_str;

use super::primary_key::{self, Decoded};
use super::render::Family;
use super::scenario::ResourceFamily;
use super::schema::{Collection, Filter, Resource, Schema, Slot};

/// A path that means something.
#[derive(Debug)]
pub(super) struct Located<'s> {
    pub(super) family: Family,
    pub(super) place: Place<'s>,
    /// The path with its keys left out: what counters show.
    pub(super) template: String,
}

/// What a path leads to.
#[derive(Debug)]
pub(super) enum Place<'s> {
    /// The resources of a family.
    Discovery,
    /// One resource described.
    Metadata(&'s Resource),
    /// The filters of a resource.
    Filters(&'s Resource),
    /// Rows of a resource.
    Collection { resource: &'s Resource, filters: Vec<&'s Filter>, tail: Tail<'s> },
    /// One row, or one value of it.
    Item { resource: &'s Resource, key: String, field: Option<&'s Slot> },
    /// Rows that lead to a row, or one of them.
    Nested { resource: &'s Resource, key: String, collection: &'s Collection, item: Option<String>, tail: Tail<'s> },
}

/// What of a collection is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tail<'s> {
    /// The rows.
    Rows,
    /// Their number.
    Count,
    /// One value of each.
    Field(&'s Slot),
}

/// A path that means nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Misplaced {
    /// Refused by the gateway.
    Uri,
    /// Refused by the engine: `Error rc=-2003`.
    Path,
    /// An unescaped comma behind a key.
    Stray,
}

impl Located<'_> {
    /// Whether the request is set-up: neither a row nor a list.
    pub(super) fn is_setup(&self) -> bool {
        matches!(self.place, Place::Discovery | Place::Metadata(_) | Place::Filters(_))
    }
}

/// Reads the part of a path behind `/campaign`.
pub(super) fn locate<'s>(schema: &'s Schema, path: &str) -> Result<Located<'s>, Misplaced> {
    let raw: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    if raw.iter().skip(1).any(|s| s.ends_with(',')) {
        return Err(Misplaced::Stray);
    }
    let segments: Vec<String> = raw.iter().map(|s| percent_decode_str(s).decode_utf8_lossy().into_owned()).collect();
    let (family, rest) = match segments.split_first() {
        Some((first, rest)) => match first.as_str() {
            "profileAndServices" => (Family::Plain, rest),
            "profileAndServicesExt" => (Family::Extended, rest),
            "customResources" => (Family::Custom, rest),
            _ => return Err(Misplaced::Uri),
        },
        None => return Err(Misplaced::Uri),
    };
    let start = format!("/{}", family.path());
    let Some((name, rest)) = rest.split_first() else {
        return Ok(Located { family, place: Place::Discovery, template: format!("{start}/") });
    };
    if name == "resourceType" {
        return described(schema, family, rest);
    }
    let resource = resource(schema, family, name).ok_or(Misplaced::Path)?;
    let mut template = format!("{start}/{}", resource.name);
    let place = within(schema, resource, family, rest, &mut template)?;
    Ok(Located { family, place, template })
}

/// Whether a path asks for a description, whatever it is that it asks to have described.
pub(super) fn describes(path: &str) -> bool {
    let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    segments.len() < 2 || segments[1] == "resourceType" || (segments.len() == 3 && segments[2] == "metadata")
}

/// The built-in filters of the profile that are not imitated (experienceleague.adobe.com, "Profile data model").
const FILTERS: [&str; 6] =
    ["birthday", "hasReceivedDelivery", "hasOpenedDelivery", "hasClickedDelivery", "profile", "subscribers"];

/// Whether a segment names a filter where a key may stand: a filter that is not published is not a key.
fn names_filter(resource: &Resource, segment: &str) -> bool {
    segment.strip_prefix("by").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
        || (resource.is_profile && FILTERS.contains(&segment))
}

/// The resource of that name, if the family publishes it.
fn resource<'s>(schema: &'s Schema, family: Family, name: &str) -> Option<&'s Resource> {
    let found = schema.find(name).or_else(|| schema.find(name.strip_suffix(".json")?))?;
    published(found, family).then_some(found)
}

/// Whether a family publishes a resource.
pub(super) fn published(resource: &Resource, family: Family) -> bool {
    match family {
        Family::Plain => resource.is_profile,
        Family::Extended => resource.family == ResourceFamily::ProfileAndServicesExt,
        Family::Custom => resource.family == ResourceFamily::CustomResources,
    }
}

fn described<'s>(schema: &'s Schema, family: Family, rest: &[String]) -> Result<Located<'s>, Misplaced> {
    let (name, rest) = rest.split_first().ok_or(Misplaced::Path)?;
    let found = match primary_key::read(name) {
        Decoded::Row { resource, row: u32::MAX } => schema.resources.get(resource),
        _ => resource(schema, family, name),
    };
    let found = found.filter(|r| published(r, family)).ok_or(Misplaced::Path)?;
    let template = format!("/{}/resourceType/{}", family.path(), found.name);
    match rest {
        [] => Ok(Located { family, place: Place::Metadata(found), template }),
        [last] if last == "filters" => {
            Ok(Located { family, place: Place::Filters(found), template: format!("{template}/filters") })
        }
        _ => Err(Misplaced::Path),
    }
}

fn within<'s>(
    schema: &'s Schema,
    resource: &'s Resource,
    family: Family,
    mut rest: &[String],
    template: &mut String,
) -> Result<Place<'s>, Misplaced> {
    let visible = |slot: &&Slot| family != Family::Plain || slot.plain;
    let mut filters = Vec::new();
    while let Some((first, more)) = rest.split_first() {
        let Some(filter) = resource.filters.iter().find(|f| f.name == *first) else {
            break;
        };
        filters.push(filter);
        rest = more;
        template.push('/');
        template.push_str(first);
    }
    let tail = |segment: &str, of: &'s Resource| match segment {
        "_count" => Some(Tail::Count),
        name => of.slot(name).filter(visible).map(Tail::Field),
    };
    match rest {
        [] => Ok(Place::Collection { resource, filters, tail: Tail::Rows }),
        [one] if one == "metadata" && filters.is_empty() => {
            template.push_str("/metadata");
            Ok(Place::Metadata(resource))
        }
        [one] if tail(one, resource).is_some() => {
            template.push('/');
            template.push_str(one);
            Ok(Place::Collection { resource, filters, tail: tail(one, resource).unwrap_or(Tail::Rows) })
        }
        [key, ..] if names_filter(resource, key) => Err(Misplaced::Path),
        [key, more @ ..] => {
            template.push_str("/{key}");
            let key = key.clone();
            let Some((first, more)) = more.split_first() else {
                return Ok(Place::Item { resource, key, field: None });
            };
            template.push('/');
            template.push_str(first);
            if let Some(collection) =
                resource.collections.iter().find(|c| c.name == *first && resource.slot(first).filter(visible).is_some())
            {
                let other = collection.from.and_then(|(from, _)| schema.resources.get(from));
                let (item, last) = match more {
                    [] => (None, Tail::Rows),
                    [one] => {
                        match other.and_then(|other| tail(one, other)).or((one == "_count").then_some(Tail::Count)) {
                            Some(last) => (None, last),
                            None => (Some(one.clone()), Tail::Rows),
                        }
                    }
                    _ => return Err(Misplaced::Path),
                };
                if item.is_some() {
                    template.push_str("/{key}");
                }
                return Ok(Place::Nested { resource, key, collection, item, tail: last });
            }
            match (resource.slot(first).filter(visible), more) {
                (Some(field), []) => Ok(Place::Item { resource, key, field: Some(field) }),
                _ => Err(Misplaced::Path),
            }
        }
    }
}
