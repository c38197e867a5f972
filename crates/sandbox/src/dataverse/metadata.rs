//! `EntityDefinitions` and what hangs on them (learn.microsoft.com, "Query schema definitions using the Web API").

use serde_json::{Map, Value, json};

use super::error::Refusal;
use super::query::Options;
use super::read::Answer;
use super::schema::{Column, Kind, Schema, Table};

/// Answers `EntityDefinitions...`; `path` begins with that word, decoded.
pub(super) fn answer(schema: &Schema, base: &str, path: &[String], query: &str) -> Result<Answer, Refusal> {
    let options = Options::parse(query)?;
    for name in ["$orderby", "$top", "$apply", "$skiptoken"] {
        if options.get(name).is_some() {
            return Err(Refusal::not_imitated(&format!("{name} on definitions")));
        }
    }
    let first = path.first().map_or("", String::as_str);
    let Some(key) = first.strip_prefix("EntityDefinitions(").and_then(|k| k.strip_suffix(')')) else {
        let tables = schema.tables.iter().map(|table| definition(schema, table)).collect();
        return list(base, "EntityDefinitions", tables, &options);
    };
    let table = find(schema, key)?;
    match path.get(1).map(String::as_str) {
        None => single(base, "EntityDefinitions", definition(schema, table), &options),
        Some("Attributes") => attributes(base, table, path.get(2).map(String::as_str), &options),
        Some("Keys") => list(base, &format!("EntityDefinitions('{}')/Keys", table.name), keys(table), &options),
        Some("ManyToOneRelationships") => list(
            base,
            &format!("EntityDefinitions('{}')/ManyToOneRelationships", table.name),
            relationships(table),
            &options,
        ),
        Some("OneToManyRelationships") => {
            let all = schema.tables.iter().flat_map(relationships);
            let own = all.filter(|r| r["ReferencedEntity"] == table.name.as_str()).collect();
            list(base, &format!("EntityDefinitions('{}')/OneToManyRelationships", table.name), own, &options)
        }
        Some(rest) => match rest.strip_prefix("Attributes(").and_then(|k| k.strip_suffix(')')) {
            Some(key) => {
                let column = column(table, key)?;
                let cast = path.get(2).map(String::as_str);
                single(
                    base,
                    &format!("EntityDefinitions('{}')/Attributes", table.name),
                    attribute(table, column, cast)?,
                    &options,
                )
            }
            None => Err(Refusal::no_such_segment(rest)),
        },
    }
}

fn metadata_id(name: &str) -> String {
    let bits = xxhash_rust::xxh3::xxh3_128(name.as_bytes());
    uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().to_string()
}

fn literal(key: &str) -> Option<&str> {
    let (name, value) = key.split_once('=')?;
    (name == "LogicalName").then(|| value.trim_matches('\''))
}

fn find<'a>(schema: &'a Schema, key: &str) -> Result<&'a Table, Refusal> {
    let found = match literal(key) {
        Some(name) => schema.by_name(name),
        None => schema.tables.iter().find(|t| metadata_id(&t.name) == key),
    };
    found.ok_or_else(|| {
        let name = literal(key).unwrap_or(key);
        super::error::refusal(
            404,
            "0x80060888",
            format!("Could not find an entity with name '{name}' and with specified MetadataId."),
        )
    })
}

fn column<'a>(table: &'a Table, key: &str) -> Result<&'a Column, Refusal> {
    let found = match literal(key) {
        Some(name) => table.column(name).map(|at| &table.columns[at]),
        None => table.columns.iter().find(|c| metadata_id(&format!("{}.{}", table.name, c.name)) == key),
    };
    found.ok_or_else(|| {
        super::error::refusal(404, "0x80060888", "Could not find an attribute with specified name or MetadataId.")
    })
}

fn label(text: &str) -> Value {
    let one = json!({"Label": text, "LanguageCode": 1033, "IsManaged": false});
    json!({"LocalizedLabels": [one.clone()], "UserLocalizedLabel": one})
}

fn definition(schema: &Schema, table: &Table) -> Value {
    let mut incoming: Vec<Value> = schema.tables.iter().flat_map(relationships).collect();
    incoming.retain(|r| r["ReferencedEntity"] == table.name.as_str());
    json!({
        "MetadataId": metadata_id(&table.name),
        "LogicalName": table.name,
        "SchemaName": table.schema_name,
        "EntitySetName": table.set,
        "LogicalCollectionName": table.set,
        "CollectionSchemaName": table.set,
        "DisplayName": label(&table.schema_name),
        "PrimaryIdAttribute": table.primary_key().name,
        "PrimaryNameAttribute": table.columns[table.primary_name].name,
        "ObjectTypeCode": table.type_code,
        "OwnershipType": "UserOwned",
        "TableType": "Standard",
        "IsActivity": false,
        "IsIntersect": false,
        "IsCustomEntity": table.type_code >= 10_000,
        "ChangeTrackingEnabled": table.change_tracking,
        "CanChangeTrackingBeEnabled": {"Value": true, "CanBeChanged": true, "ManagedPropertyLogicalName": "canchangetrackingbeenabled"},
        "IsOptimisticConcurrencyEnabled": true,
        "Attributes": all_attributes(table),
        "Keys": keys(table),
        "ManyToOneRelationships": relationships(table),
        "OneToManyRelationships": incoming,
    })
}

fn keys(table: &Table) -> Vec<Value> {
    let shown = |key: &super::schema::Key| {
        let columns: Vec<&str> = key.columns.iter().map(|at| table.columns[*at].name.as_str()).collect();
        json!({
            "MetadataId": metadata_id(&format!("{}.key.{}", table.name, key.name)),
            "SchemaName": key.name, "LogicalName": key.name, "EntityLogicalName": table.name,
            "DisplayName": label(&key.name), "KeyAttributes": columns, "EntityKeyIndexStatus": "Active",
        })
    };
    table.keys.iter().map(shown).collect()
}

fn relationships(table: &Table) -> Vec<Value> {
    let of = |column: &Column| {
        let shown = |target: &super::schema::Target| {
            let name = format!("{}_{}_{}", target.table, table.name, column.name);
            json!({
                "MetadataId": metadata_id(&name), "SchemaName": name, "RelationshipType": "OneToManyRelationship",
                "ReferencingEntity": table.name, "ReferencingAttribute": column.name,
                "ReferencingEntityNavigationPropertyName": target.navigation,
                "ReferencedEntity": target.table, "ReferencedAttribute": format!("{}id", target.table),
                "ReferencedEntityNavigationPropertyName": name,
            })
        };
        column.targets.iter().map(shown).collect::<Vec<_>>()
    };
    table.columns.iter().flat_map(of).collect()
}

/// `AttributeType`, `AttributeTypeName.Value`, and the metadata type.
fn kinds(column: &Column) -> (&'static str, &'static str, &'static str) {
    match column.kind {
        Kind::PrimaryKey | Kind::Guid => {
            ("Uniqueidentifier", "UniqueidentifierType", "UniqueIdentifierAttributeMetadata")
        }
        Kind::Text { .. } => ("String", "StringType", "StringAttributeMetadata"),
        Kind::Memo { .. } => ("Memo", "MemoType", "MemoAttributeMetadata"),
        Kind::Integer { .. } => ("Integer", "IntegerType", "IntegerAttributeMetadata"),
        Kind::BigInt | Kind::Version => ("BigInt", "BigIntType", "BigIntAttributeMetadata"),
        Kind::Decimal { money: false, .. } => ("Decimal", "DecimalType", "DecimalAttributeMetadata"),
        Kind::Decimal { money: true, .. } => ("Money", "MoneyType", "MoneyAttributeMetadata"),
        Kind::Double { .. } => ("Double", "DoubleType", "DoubleAttributeMetadata"),
        Kind::Boolean => ("Boolean", "BooleanType", "BooleanAttributeMetadata"),
        Kind::DateTime { .. } | Kind::DateOnly => ("DateTime", "DateTimeType", "DateTimeAttributeMetadata"),
        Kind::Picklist => ("Picklist", "PicklistType", "PicklistAttributeMetadata"),
        Kind::State => ("State", "StateType", "StateAttributeMetadata"),
        Kind::Status => ("Status", "StatusType", "StatusAttributeMetadata"),
        Kind::MultiSelect => ("Virtual", "MultiSelectPicklistType", "MultiSelectPicklistAttributeMetadata"),
        Kind::Lookup => match column.lookup_type {
            "Customer" => ("Customer", "CustomerType", "LookupAttributeMetadata"),
            "Owner" => ("Owner", "OwnerType", "LookupAttributeMetadata"),
            _ => ("Lookup", "LookupType", "LookupAttributeMetadata"),
        },
    }
}

fn all_attributes(table: &Table) -> Vec<Value> {
    table.columns.iter().map(|column| common(table, column)).collect()
}

/// The properties that every kind of column has.
fn common(table: &Table, column: &Column) -> Value {
    let (kind, name, class) = kinds(column);
    json!({
        "@odata.type": format!("#Microsoft.Dynamics.CRM.{class}"),
        "MetadataId": metadata_id(&format!("{}.{}", table.name, column.name)),
        "LogicalName": column.name,
        "SchemaName": column.schema_name,
        "EntityLogicalName": table.name,
        "DisplayName": label(&column.schema_name),
        "AttributeType": kind,
        "AttributeTypeName": {"Value": name},
        "AttributeOf": column.attribute_of,
        "IsPrimaryId": column.kind == Kind::PrimaryKey,
        "IsPrimaryName": table.columns[table.primary_name].name == column.name,
        "IsLogical": column.attribute_of.is_some(),
        "IsCustomAttribute": column.name.starts_with("new_"),
        "IsValidForRead": column.selectable(),
        "IsValidForCreate": column.create,
        "IsValidForUpdate": column.update,
        "IsValidODataAttribute": column.selectable(),
        "RequiredLevel": {"Value": column.required, "CanBeChanged": true, "ManagedPropertyLogicalName": "canmodifyrequirementlevelsettings"},
    })
}

/// With the properties that belong to the kind; `cast` must be that kind.
fn attribute(table: &Table, column: &Column, cast: Option<&str>) -> Result<Value, Refusal> {
    let mut all = common(table, column);
    let Some(cast) = cast else { return Ok(with_own(all, table, column)) };
    let class = cast.strip_prefix("Microsoft.Dynamics.CRM.").ok_or_else(|| Refusal::no_such_segment(cast))?;
    if kinds(column).2 != class {
        return Err(super::error::refusal(
            404,
            "0x80060888",
            "Could not find an attribute with specified name or MetadataId.",
        ));
    }
    if let Value::Object(map) = &mut all {
        map.remove("@odata.type");
    }
    Ok(with_own(all, table, column))
}

fn with_own(mut all: Value, table: &Table, column: &Column) -> Value {
    let own = match column.kind {
        Kind::Text { max } => {
            json!({"MaxLength": max, "FormatName": {"Value": if column.format.is_empty() { "Text" } else { column.format }}})
        }
        Kind::Memo { max } => json!({"MaxLength": max}),
        Kind::Integer { min, max } => json!({"MinValue": min, "MaxValue": max, "Format": "None"}),
        Kind::Decimal { min, max, money: true } => {
            json!({"MinValue": min, "MaxValue": max, "Precision": 4, "PrecisionSource": 2})
        }
        Kind::Decimal { min, max, .. } => json!({"MinValue": min, "MaxValue": max, "Precision": 10}),
        Kind::Double { min, max } => json!({"MinValue": min, "MaxValue": max, "Precision": 5}),
        Kind::DateTime { zoneless } => json!({
            "Format": if column.format.is_empty() { "DateAndTime" } else { column.format },
            "DateTimeBehavior": {"Value": if zoneless { "TimeZoneIndependent" } else { "UserLocal" }},
        }),
        Kind::DateOnly => json!({"Format": "DateOnly", "DateTimeBehavior": {"Value": "DateOnly"}}),
        Kind::Boolean => json!({"OptionSet": {
            "MetadataId": metadata_id(&format!("{}.{}.set", table.name, column.name)), "IsGlobal": false,
            "TrueOption": {"Value": 1, "Label": label(column.truth[0])}, "FalseOption": {"Value": 0, "Label": label(column.truth[1])}}}),
        Kind::Lookup => json!({"Targets": column.targets.iter().map(|t| t.table.as_str()).collect::<Vec<_>>()}),
        Kind::Picklist | Kind::MultiSelect | Kind::State | Kind::Status => {
            let option = |c: &super::schema::Choice| {
                let mut option = json!({"Value": c.value, "Label": label(&c.label), "Color": null, "IsManaged": false});
                if let Some(state) = c.state {
                    option["State"] = state.into();
                }
                option
            };
            let local = format!("{}_{}", table.name, column.name);
            let name = column.global.clone().unwrap_or(local);
            let set = json!({
                "MetadataId": metadata_id(&name), "Name": name, "IsGlobal": column.global.is_some(),
                "Options": column.choices.iter().map(option).collect::<Vec<_>>(),
            });
            if column.global.is_some() {
                json!({"OptionSet": null, "GlobalOptionSet": set})
            } else {
                json!({"OptionSet": set, "GlobalOptionSet": null})
            }
        }
        _ => json!({}),
    };
    if let (Value::Object(all), Value::Object(own)) = (&mut all, own) {
        all.extend(own);
    }
    all
}

fn attributes(base: &str, table: &Table, cast: Option<&str>, options: &Options) -> Result<Answer, Refusal> {
    let context = format!("EntityDefinitions('{}')/Attributes", table.name);
    let Some(cast) = cast else {
        return list(
            base,
            &context,
            table.columns.iter().map(|c| with_own(common(table, c), table, c)).collect(),
            options,
        );
    };
    let class = cast.strip_prefix("Microsoft.Dynamics.CRM.").ok_or_else(|| Refusal::no_such_segment(cast))?;
    let known = [
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
    if !known.contains(&class) {
        return Err(Refusal::no_such_segment(cast));
    }
    let fitting = table.columns.iter().filter(|c| kinds(c).2 == class);
    let shown: Result<Vec<Value>, Refusal> = fitting.map(|c| attribute(table, c, Some(cast))).collect();
    list(base, &format!("{context}/{cast}"), shown?, options)
}

const EXPANDABLE: [&str; 6] =
    ["Attributes", "Keys", "ManyToOneRelationships", "OneToManyRelationships", "OptionSet", "GlobalOptionSet"];

/// `$select` and `$expand` on one definition.
fn shaped(value: Value, options: &Options) -> Result<Value, Refusal> {
    let Value::Object(all) = value else { return Ok(value) };
    let select: Option<Vec<&str>> = options.get("$select").map(|s| s.split(',').map(str::trim).collect());
    let expand = expansions(options.get("$expand").unwrap_or_default());
    if let Some(missing) = select.iter().flatten().find(|name| !all.contains_key(**name) && !known_property(name)) {
        return Err(Refusal::request(format!(
            "Could not find a property named '{missing}' on type 'Microsoft.Dynamics.CRM.MetadataBase'."
        )));
    }
    let mut kept = Map::new();
    for (name, value) in all {
        if let Some((_, inner)) = expand.iter().find(|(n, _)| *n == name) {
            kept.insert(name, narrowed(value, inner));
        } else if EXPANDABLE.contains(&name.as_str()) {
            // Navigation properties are there only when asked for.
        } else if name == "MetadataId"
            || name.starts_with('@')
            || select.as_ref().is_none_or(|s| s.contains(&name.as_str()))
        {
            kept.insert(name, value);
        }
    }
    Ok(Value::Object(kept))
}

/// Properties that only some kinds have are left out of the others.
fn known_property(name: &str) -> bool {
    let some = [
        "MaxLength",
        "FormatName",
        "Format",
        "MinValue",
        "MaxValue",
        "Precision",
        "PrecisionSource",
        "Targets",
        "DateTimeBehavior",
        "Description",
    ];
    some.contains(&name)
}

/// `OptionSet($select=Options),GlobalOptionSet` to names and their inner `$select`.
fn expansions(text: &str) -> Vec<(String, Option<Vec<String>>)> {
    let mut found = Vec::new();
    let (mut depth, mut start) = (0, 0);
    let ends = text.char_indices().chain(std::iter::once((text.len(), ',')));
    for (at, c) in ends {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                let part = text.get(start..at).unwrap_or_default().trim();
                start = at + 1;
                let (name, inner) = part.split_once('(').unwrap_or((part, ""));
                let select = inner.trim_end_matches(')').split(';').find_map(|o| o.trim().strip_prefix("$select="));
                let select = select.map(|s| s.split(',').map(|n| n.trim().to_owned()).collect());
                if !name.is_empty() {
                    found.push((name.to_owned(), select));
                }
            }
            _ => {}
        }
    }
    found
}

fn narrowed(value: Value, select: &Option<Vec<String>>) -> Value {
    match (value, select) {
        (Value::Array(all), _) => Value::Array(all.into_iter().map(|v| narrowed(v, select)).collect()),
        (Value::Object(all), Some(select)) => {
            let kept = all.into_iter().filter(|(n, _)| n == "MetadataId" || n.starts_with('@') || select.contains(n));
            Value::Object(kept.collect())
        }
        (other, _) => other,
    }
}

fn single(base: &str, context: &str, value: Value, options: &Options) -> Result<Answer, Refusal> {
    let mut body = Map::new();
    body.insert("@odata.context".to_owned(), format!("{base}$metadata#{context}/$entity").into());
    if let Value::Object(shaped) = shaped(value, options)? {
        body.extend(shaped);
    }
    Ok(Answer { status: 200, body: Value::Object(body).to_string().into_bytes(), ..Answer::default() })
}

fn list(base: &str, context: &str, values: Vec<Value>, options: &Options) -> Result<Answer, Refusal> {
    let filter = options.get("$filter").map(super::definition_filter::DefinitionFilter::parse).transpose()?;
    let mut kept = Vec::new();
    for value in values {
        if filter.as_ref().is_none_or(|filter| filter.passes(&value)) {
            kept.push(shaped(value, options)?);
        }
    }
    let mut body = json!({"@odata.context": format!("{base}$metadata#{context}")});
    if options.count()? {
        body["@odata.count"] = kept.len().into();
    }
    body["value"] = kept.into();
    Ok(Answer { status: 200, body: body.to_string().into_bytes(), ..Answer::default() })
}
