//! Resources described: discovery, metadata and filters (experienceleague.adobe.com, "Metadata mechanism").

use serde_json::{Map, Value, json};

use super::primary_key;
use super::render::Family;
use super::route::published;
use super::scenario::{DataPolicy, FilterOperator, MetadataItemContent, MetadataValues};
use super::schema::{Column, FilterField, FilterKind, Output, Resource, Schema, Slot};
use super::value::Kind;

/// Every resource of a family.
pub(super) fn discovery(schema: &Schema, family: Family, base: &str) -> Value {
    let mut all = Map::new();
    all.insert("apiName".to_owned(), json!("resourceType"));
    for resource in schema.resources.iter().filter(|r| published(r, family)) {
        all.insert(
            resource.name.clone(),
            json!({
                "content": content(resource, schema, family),
                "data": format!("/{}/{}/", family.path(), resource.name),
                "help": resource.label,
                "href": address(base, family, resource),
                "name": resource.name,
                "type": "collection",
            }),
        );
    }
    Value::Object(all)
}

/// One resource.
pub(super) fn resource(schema: &Schema, resource: &Resource, family: Family, base: &str) -> Value {
    let key = token(resource, u32::MAX, "resourceType");
    json!({
        "PKey": key,
        "apiName": "resourceType",
        "compatibleResources": {},
        "content": content(resource, schema, family),
        "data": format!("/{}/{}/", family.path(), resource.name),
        "filters": {"href": format!("{base}{}/resourceType/{key}/filters/", family.path())},
        "help": if resource.is_profile { "Identified profiles" } else { resource.label.as_str() },
        "href": address(base, family, resource),
        "label": resource.label,
        "mandatory": false,
        "name": resource.name,
        "pkgStatus": "never",
        "readOnly": false,
        "schema": resource.schema,
        "type": "item",
    })
}

/// The filters of a resource.
pub(super) fn filters(resource: &Resource, family: Family) -> Value {
    let mut all = Map::new();
    for filter in &resource.filters {
        let (parameters, label, condition) = match &filter.kind {
            FilterKind::Email(_) => ("email=$value".to_owned(), "By email", "@email = $(email)".to_owned()),
            FilterKind::Text(_) => ("text=$value".to_owned(), "By name or email", "startsWith($(text))".to_owned()),
            FilterKind::Custom { field, parameter, operator, .. } => {
                let name = match field {
                    FilterField::Created => "created",
                    FilterField::LastModified => "lastModified",
                    FilterField::Column(column) => {
                        resource.columns.get(usize::from(*column)).map_or("", |c| c.path.as_str())
                    }
                };
                let sign = if *operator == FilterOperator::Equal { "=" } else { ">=" };
                (format!("{parameter}=$value"), filter.name.as_str(), format!("@{name} {sign} $({parameter})"))
            }
        };
        all.insert(
            filter.name.clone(),
            json!({
                "PKey": token(resource, u32::MAX, &filter.name),
                "category": "99_none",
                "condition": {"expr": condition},
                "data": format!("/{}/{}/{}?{parameters}", family.path(), resource.name, filter.name),
                "formType": "none",
                "fragmentName": "",
                "label": label,
                "metadata": {},
                "resName": filter.name,
                "webPage": "",
                "webPageName": "",
            }),
        );
    }
    Value::Object(all)
}

fn address(base: &str, family: Family, resource: &Resource) -> String {
    format!("{base}{}/{}/metadata", family.path(), resource.name)
}

fn token(resource: &Resource, row: u32, context: &str) -> String {
    let mut out = Vec::new();
    primary_key::write(&mut out, resource.index, row, primary_key::context(context));
    String::from_utf8(out).unwrap_or_default()
}

fn content(resource: &Resource, schema: &Schema, family: Family) -> Value {
    let mut all = Map::new();
    for slot in resource.slots.iter().filter(|s| family != Family::Plain || s.plain) {
        if let Some(described) = slot_metadata(resource, schema, slot) {
            all.insert(slot.name.clone(), described);
        }
    }
    Value::Object(all)
}

fn slot_metadata(resource: &Resource, schema: &Schema, slot: &Slot) -> Option<Value> {
    let name = slot.name.as_str();
    let made = |kind: &str, storage: &str, label: &str| {
        let mut field = field(resource, name, name, label, kind, storage);
        field.insert("readOnly".to_owned(), json!(true));
        field
    };
    Some(Value::Object(match &slot.what {
        Output::PrimaryKey | Output::Href => return None,
        Output::Column(number) => column(schema, resource, name, resource.columns.get(usize::from(*number))?),
        Output::Item(parts) => {
            let mut inner = Map::new();
            for (_, number) in parts {
                let part = resource.columns.get(usize::from(*number))?;
                let short = part.path.rsplit('.').next().unwrap_or(&part.path);
                inner.insert(short.to_owned(), Value::Object(column(schema, resource, short, part)));
            }
            let inner = match schema.switches.metadata_item_content {
                MetadataItemContent::Object => Value::Object(inner),
                MetadataItemContent::List => inner.into_iter().map(|(_, part)| part).collect(),
            };
            let mut item = field(resource, name, name, name, "item", "element");
            item.insert("sortable".to_owned(), json!(false));
            item.insert("content".to_owned(), inner);
            item
        }
        Output::Created | Output::LastModified => {
            let mut field = made("datetime", "datetime", if name == "created" { "Created" } else { "Last modified" });
            field.insert("sortable".to_owned(), json!(true));
            field
        }
        Output::Age => made("number", "long", "Age"),
        Output::PostalAddress => made("item", "element", "Postal address"),
        Output::Title | Output::Domain | Output::CryptedId => {
            let mut field = made("string", "string", name);
            field.insert("length".to_owned(), json!("255"));
            field
        }
        Output::Null => {
            let mut link = field(resource, name, name, name, "link", "link");
            link.insert("resTarget".to_owned(), json!(format!("{name}Base")));
            link
        }
        Output::Link(link) => {
            let target = schema.resources.get(resource.links.get(*link)?.target)?;
            let mut link = field(resource, name, name, name, "link", "link");
            link.insert("resTarget".to_owned(), json!(target.name));
            link
        }
        Output::Collection => {
            let from = resource.collections.iter().find(|c| c.name == name)?.from;
            let target =
                from.and_then(|(from, _)| schema.resources.get(from)).map_or("subscriptionRcp", |r| r.name.as_str());
            let mut collection = field(resource, name, name, name, "collection", "link");
            collection.insert("resTarget".to_owned(), json!(target));
            collection
        }
    }))
}

fn column(schema: &Schema, resource: &Resource, name: &str, column: &Column) -> Map<String, Value> {
    let (kind, storage, length) = match &column.kind {
        Kind::Text { length } => ("string", "string", *length),
        Kind::Number { bits: None } => ("number", "double", 0),
        Kind::Number { bits: Some(_) } => ("number", "long", 0),
        Kind::Boolean => ("boolean", "boolean", 0),
        Kind::Date => ("date", "date", 0),
        Kind::DateTime => ("datetime", "datetime", 0),
        Kind::Enumeration(choices) => match choices.first() {
            Some(choice) if choice.value == choice.name => ("enumeration", "string", 64),
            _ => ("enumeration", "byte", 0),
        },
    };
    let mut field = field(resource, name, &column.path, &column.label, kind, storage);
    let policy = match column.policy {
        DataPolicy::None => "none",
        DataPolicy::Email => "email",
        DataPolicy::SmartCase => "smartCase",
    };
    field.insert("dataPolicy".to_owned(), json!(policy));
    // A text in the real answers too, though it is a number.
    field.insert("length".to_owned(), json!(length.to_string()));
    field.insert("mandatory".to_owned(), json!(column.mandatory));
    field.insert("readOnly".to_owned(), json!(column.read_only));
    field.insert("sortable".to_owned(), json!(true));
    if let Kind::Enumeration(choices) = &column.kind {
        let whole = choices.iter().map(|c| json!({"label": c.label, "name": c.name, "value": c.value}));
        let names = choices.iter().map(|c| c.name.clone());
        let values: Value = match schema.switches.metadata_values {
            MetadataValues::Object => Value::Object(names.zip(whole).collect()),
            MetadataValues::List => whole.collect(),
            MetadataValues::Names => names.collect(),
        };
        field.insert("values".to_owned(), values);
    }
    field
}

/// The keys that every field has.
fn field(resource: &Resource, name: &str, path: &str, label: &str, kind: &str, storage: &str) -> Map<String, Value> {
    let described = json!({
        "PKey": token(resource, u32::MAX, path),
        "apiName": name,
        "category": "99_none",
        "dataPolicy": "none",
        "desc": "",
        "displayFormat": "",
        "help": "",
        "label": label,
        "lazyLoaded": false,
        "length": "0",
        "mandatory": false,
        "metadata": "attribute",
        "privacy": if name.starts_with("cus") { "none" } else { "firstParty" },
        "queryable": true,
        "readOnly": false,
        "resName": name,
        "resType": storage,
        "sortable": false,
        "type": kind,
    });
    match described {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
