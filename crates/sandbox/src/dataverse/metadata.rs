//! `EntityDefinitions`, `GlobalOptionSetDefinitions`, `RelationshipDefinitions` and what hangs on them (learn.microsoft.com, "Query
//! schema definitions using the Web API", "Retrieve schema definitions by name or MetadataId").

use serde_json::{Map, Value, json};

use super::definition_filter::DefinitionFilter;
use super::definitions::{
    all_attributes, attribute, definition, global_option_sets, keys, kinds, metadata_id, relationships,
};
use super::error::{Refusal, refusal};
use super::query::Options;
use super::read::Answer;
use super::row::{guid, parse_guid};
use super::schema::{Column, Schema, Table};
use super::shape::Shape;

/// Answers a request for definitions; `path` is decoded and has no empty end.
pub(super) fn answer(schema: &Schema, base: &str, path: &[String], query: &str) -> Result<Answer, Refusal> {
    let options = Options::parse(query)?;
    for name in ["$orderby", "$top", "$apply", "$skiptoken"] {
        if options.get(name).is_some() {
            return Err(Refusal::not_imitated(&format!("{name} on definitions")));
        }
    }
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let (first, rest) = path.split_first().map_or(("", &[][..]), |(first, rest)| (*first, rest));
    let (set, key) = bracketed(first)?;
    let asked = Asked { base, options };
    match (set, key) {
        ("GlobalOptionSetDefinitions", key) => asked.named(set, global_option_sets(schema), ("Name", key), rest),
        ("RelationshipDefinitions", key) => {
            let all = schema.tables.iter().flat_map(relationships).collect();
            match rest {
                // There is no relationship of many to many.
                ["Microsoft.Dynamics.CRM.ManyToManyRelationshipMetadata"] => {
                    asked.named(set, Vec::new(), ("SchemaName", key), &[])
                }
                ["Microsoft.Dynamics.CRM.OneToManyRelationshipMetadata"] => {
                    asked.named(set, all, ("SchemaName", key), &[])
                }
                _ => asked.named(set, all, ("SchemaName", key), rest),
            }
        }
        ("EntityDefinitions", None) => match rest {
            [] => asked.list("EntityDefinitions", schema.tables.iter().map(|t| definition(schema, t)).collect()),
            [segment, ..] => Err(Refusal::no_such_segment(segment)),
        },
        ("EntityDefinitions", Some(key)) => asked.table(schema, find(schema, key)?, rest),
        _ => Err(Refusal::no_such_segment(first)),
    }
}

/// `Attributes(LogicalName='x')` to its name and its key.
fn bracketed(segment: &str) -> Result<(&str, Option<&str>), Refusal> {
    let Some((name, rest)) = segment.split_once('(') else { return Ok((segment, None)) };
    let key = rest.strip_suffix(')').filter(|key| !key.is_empty());
    Ok((name, Some(key.ok_or_else(|| Refusal::request("Bad Request - Error in query syntax."))?)))
}

/// The text of `LogicalName='x'`, when the key is by that name.
fn literal<'k>(name: &str, key: &'k str) -> Option<&'k str> {
    let (own, value) = key.split_once('=')?;
    (own.trim() == name).then(|| value.trim().trim_matches('\''))
}

/// A key that is a `MetadataId`; the letter case of a GUID means nothing.
fn id(key: &str) -> Option<String> {
    parse_guid(key.strip_prefix("MetadataId=").unwrap_or(key).trim()).map(guid)
}

fn find<'a>(schema: &'a Schema, key: &str) -> Result<&'a Table, Refusal> {
    let found = match literal("LogicalName", key) {
        Some(name) => schema.by_name(name),
        None => id(key).and_then(|id| schema.tables.iter().find(|t| metadata_id(&t.name) == id)),
    };
    found.ok_or_else(|| {
        let name = literal("LogicalName", key).unwrap_or(key);
        refusal(
            404,
            "0x80060888",
            format!("Could not find an entity with name '{name}' and with specified MetadataId."),
        )
    })
}

fn column<'a>(table: &'a Table, key: &str) -> Result<&'a Column, Refusal> {
    let found = match literal("LogicalName", key) {
        Some(name) => table.column(name).map(|at| &table.columns[at]),
        None => id(key).and_then(|id| {
            table.columns.iter().find(|column| metadata_id(&format!("{}.{}", table.name, column.name)) == id)
        }),
    };
    found.ok_or_else(no_such_attribute)
}

fn no_such_attribute() -> Refusal {
    refusal(404, "0x80060888", "Could not find an attribute with specified name or MetadataId.")
}

const CASTS: [&str; 17] = [
    "UniqueIdentifierAttributeMetadata",
    "StringAttributeMetadata",
    "MemoAttributeMetadata",
    "IntegerAttributeMetadata",
    "BigIntAttributeMetadata",
    "DecimalAttributeMetadata",
    "MoneyAttributeMetadata",
    "DoubleAttributeMetadata",
    "BooleanAttributeMetadata",
    "DateTimeAttributeMetadata",
    "PicklistAttributeMetadata",
    "StateAttributeMetadata",
    "StatusAttributeMetadata",
    "MultiSelectPicklistAttributeMetadata",
    "LookupAttributeMetadata",
    "ImageAttributeMetadata",
    "FileAttributeMetadata",
];

/// A request for definitions.
struct Asked<'a> {
    base: &'a str,
    options: Options,
}

impl Asked<'_> {
    /// What hangs on one table.
    fn table(&self, schema: &Schema, table: &Table, rest: &[&str]) -> Result<Answer, Refusal> {
        let own = format!("EntityDefinitions('{}')", table.name);
        let Some((segment, rest)) = rest.split_first() else {
            return self.single("EntityDefinitions", definition(schema, table));
        };
        let (name, key) = bracketed(segment)?;
        let context = format!("{own}/{name}");
        match (name, key) {
            ("Attributes", None) => self.attributes(&context, table, rest),
            ("Attributes", Some(key)) => self.attribute(&context, table, column(table, key)?, rest),
            ("Keys", key) => self.named(&context, keys(table), ("LogicalName", key), rest),
            ("ManyToOneRelationships", key) => self.named(&context, relationships(table), ("SchemaName", key), rest),
            ("OneToManyRelationships", key) => {
                let all = schema.tables.iter().flat_map(relationships);
                let own = all.filter(|r| r["ReferencedEntity"] == table.name.as_str()).collect();
                self.named(&context, own, ("SchemaName", key), rest)
            }
            ("ManyToManyRelationships", key) => self.named(&context, Vec::new(), ("SchemaName", key), rest),
            (property, None) if rest.is_empty() => match definition(schema, table).get(property) {
                Some(value) => self.value(&context, value),
                None => Err(Refusal::no_such_segment(property)),
            },
            _ => Err(Refusal::no_such_segment(segment)),
        }
    }

    fn attributes(&self, context: &str, table: &Table, rest: &[&str]) -> Result<Answer, Refusal> {
        let [cast] = rest else {
            return match rest {
                [] => self.list(context, all_attributes(table)),
                [_, segment, ..] | [segment] => Err(Refusal::no_such_segment(segment)),
            };
        };
        let class = cast.strip_prefix("Microsoft.Dynamics.CRM.").filter(|class| CASTS.contains(class));
        let class = class.ok_or_else(|| Refusal::no_such_segment(cast))?;
        let fitting = table.columns.iter().filter(|c| kinds(c).2 == class);
        let shown: Result<Vec<Value>, Refusal> = fitting.map(|c| attribute(table, c, Some(cast))).collect();
        self.list(&format!("{context}/{cast}"), shown?)
    }

    fn attribute(&self, context: &str, table: &Table, column: &Column, rest: &[&str]) -> Result<Answer, Refusal> {
        match rest {
            [] => self.single(context, attribute(table, column, None)?),
            [cast] => self.single(&format!("{context}/{cast}"), attribute(table, column, Some(cast))?),
            [cast, segment] => {
                let own = attribute(table, column, Some(cast))?;
                let value = own.get(*segment).ok_or_else(|| Refusal::no_such_segment(segment))?;
                let context = format!("{context}/{cast}/{segment}");
                match value {
                    Value::Object(_) if matches!(*segment, "OptionSet" | "GlobalOptionSet") => {
                        self.single(&context, value.clone())
                    }
                    value => self.value(&context, value),
                }
            }
            [_, _, segment, ..] => Err(Refusal::no_such_segment(segment)),
        }
    }

    /// A list, or the one of it that a key names.
    fn named(
        &self,
        context: &str,
        all: Vec<Value>,
        (by, key): (&str, Option<&str>),
        rest: &[&str],
    ) -> Result<Answer, Refusal> {
        if let [segment, ..] = rest
            && !segment.starts_with("Microsoft.Dynamics.CRM.")
        {
            return Err(Refusal::no_such_segment(segment));
        }
        let Some(key) = key else { return self.list(context, all) };
        let (name, id) = (literal(by, key), id(key));
        let found = all.into_iter().find(|value| {
            name.is_some_and(|name| value[by] == name) || id.as_deref().is_some_and(|id| value["MetadataId"] == id)
        });
        let missing = || refusal(404, "0x80060888", format!("Could not find a definition by the key '{key}'."));
        self.single(context, found.ok_or_else(missing)?)
    }

    /// One property.
    fn value(&self, context: &str, value: &Value) -> Result<Answer, Refusal> {
        if value.is_null() {
            return Ok(Answer { status: 204, ..Answer::default() });
        }
        let body = json!({"@odata.context": format!("{}$metadata#{context}", self.base), "value": value});
        Ok(Answer { status: 200, body: body.to_string().into_bytes(), ..Answer::default() })
    }

    fn single(&self, context: &str, value: Value) -> Result<Answer, Refusal> {
        let shape = Shape::of(&self.options)?;
        shape.check(std::slice::from_ref(&value))?;
        let mut body = Map::new();
        body.insert("@odata.context".to_owned(), format!("{}$metadata#{context}/$entity", self.base).into());
        if let Value::Object(shaped) = shape.apply(value, &self.options.aliases)? {
            body.extend(shaped);
        }
        Ok(Answer { status: 200, body: Value::Object(body).to_string().into_bytes(), ..Answer::default() })
    }

    fn list(&self, context: &str, values: Vec<Value>) -> Result<Answer, Refusal> {
        let shape = Shape::of(&self.options)?;
        shape.check(&values)?;
        let known = |name: &str| super::shape::known(&values, name);
        let filter = self.options.get("$filter");
        let filter = filter.map(|text| DefinitionFilter::parse(text, &self.options.aliases, &known)).transpose()?;
        let mut kept = Vec::new();
        for value in values {
            if filter.as_ref().is_none_or(|filter| filter.passes(&value)) {
                kept.push(shape.apply(value, &self.options.aliases)?);
            }
        }
        let mut body = json!({"@odata.context": format!("{}$metadata#{context}", self.base)});
        if self.options.count()? {
            body["@odata.count"] = kept.len().into();
        }
        body["value"] = kept.into();
        Ok(Answer { status: 200, body: body.to_string().into_bytes(), ..Answer::default() })
    }
}
