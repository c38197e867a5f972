//! Definitions of tables, columns, keys, relationships and option sets as JSON (learn.microsoft.com, "Query schema definitions using
//! the Web API", "EntityMetadata", "AttributeMetadata").

use serde_json::{Value, json};

use super::error::Refusal;
use super::privileges;
use super::schema::{Choice, Column, Key, Kind, Schema, Table, Target};

pub(super) fn metadata_id(name: &str) -> String {
    let bits = xxhash_rust::xxh3::xxh3_128(name.as_bytes());
    uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().to_string()
}

fn label(text: &str) -> Value {
    let one = json!({"Label": text, "LanguageCode": 1033, "IsManaged": false});
    json!({"LocalizedLabels": [one.clone()], "UserLocalizedLabel": one})
}

pub(super) fn definition(schema: &Schema, table: &Table) -> Value {
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
        "DisplayCollectionName": label(&table.set),
        "Description": label(""),
        "PrimaryIdAttribute": table.primary_key().name,
        "PrimaryNameAttribute": table.columns[table.primary_name].name,
        "ObjectTypeCode": table.type_code,
        "OwnershipType": "UserOwned",
        "TableType": "Standard",
        "IsActivity": table.is_activity,
        "IsIntersect": false,
        "IsManaged": false,
        "IsPrivate": false,
        "HasNotes": false,
        "HasActivities": false,
        "IsCustomEntity": table.type_code >= 10_000,
        "ChangeTrackingEnabled": table.change_tracking,
        "CanChangeTrackingBeEnabled": {"Value": true, "CanBeChanged": true, "ManagedPropertyLogicalName": "canchangetrackingbeenabled"},
        "IsOptimisticConcurrencyEnabled": true,
        "Privileges": privileges::of_table(table),
        "Attributes": all_attributes(table),
        "Keys": keys(table),
        "ManyToOneRelationships": relationships(table),
        "OneToManyRelationships": incoming,
        "ManyToManyRelationships": [],
    })
}

pub(super) fn keys(table: &Table) -> Vec<Value> {
    let shown = |key: &Key| {
        let columns: Vec<&str> = key.columns.iter().map(|at| table.columns[*at].name.as_str()).collect();
        json!({
            "MetadataId": metadata_id(&format!("{}.key.{}", table.name, key.name)),
            "SchemaName": key.name, "LogicalName": key.name, "EntityLogicalName": table.name,
            "DisplayName": label(&key.name), "KeyAttributes": columns, "EntityKeyIndexStatus": "Active",
        })
    };
    table.keys.iter().map(shown).collect()
}

pub(super) fn relationships(table: &Table) -> Vec<Value> {
    let of = |column: &Column| {
        let shown = |target: &Target| {
            let name = format!("{}_{}_{}", target.table, table.name, column.name);
            json!({
                "@odata.type": "#Microsoft.Dynamics.CRM.OneToManyRelationshipMetadata",
                "MetadataId": metadata_id(&name), "SchemaName": name, "IsCustomRelationship": table.type_code >= 10_000, "RelationshipType": "OneToManyRelationship",
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
pub(super) fn kinds(column: &Column) -> (&'static str, &'static str, &'static str) {
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

/// All columns, each with the properties of its kind; option sets are only there by way of the kind.
pub(super) fn all_attributes(table: &Table) -> Vec<Value> {
    let without_sets = |column: &Column| {
        let mut all = with_own(common(table, column), table, column);
        if let Value::Object(all) = &mut all {
            all.retain(|name, _| name != "OptionSet" && name != "GlobalOptionSet");
        }
        all
    };
    table.columns.iter().map(without_sets).collect()
}

/// The properties that every kind of column has.
fn common(table: &Table, column: &Column) -> Value {
    let (kind, name, class) = kinds(column);
    let number = table.columns.iter().position(|other| other.name == column.name).map_or(0, |at| at + 1);
    json!({
        "@odata.type": format!("#Microsoft.Dynamics.CRM.{class}"),
        "MetadataId": metadata_id(&format!("{}.{}", table.name, column.name)),
        "LogicalName": column.name,
        "SchemaName": column.schema_name,
        "EntityLogicalName": table.name,
        "DisplayName": label(&column.schema_name),
        "Description": label(""),
        "ColumnNumber": number,
        "AttributeType": kind,
        "AttributeTypeName": {"Value": name},
        "AttributeOf": column.attribute_of,
        "SourceType": 0,
        "IsManaged": false,
        "IsSecured": false,
        "IsFilterable": column.selectable(),
        "IsRetrievable": true,
        "IsPrimaryId": column.kind == Kind::PrimaryKey,
        "IsPrimaryName": table.columns[table.primary_name].name == column.name,
        "IsLogical": column.attribute_of.is_some(),
        "IsCustomAttribute": column.name.starts_with("new_") || column.name.starts_with("adobe_"),
        "IsValidForRead": column.selectable(),
        "IsValidForCreate": column.create,
        "IsValidForUpdate": column.update,
        "IsValidODataAttribute": column.selectable(),
        "RequiredLevel": {"Value": column.required, "CanBeChanged": true, "ManagedPropertyLogicalName": "canmodifyrequirementlevelsettings"},
    })
}

/// With the properties that belong to the kind; `cast` must be that kind.
pub(super) fn attribute(table: &Table, column: &Column, cast: Option<&str>) -> Result<Value, Refusal> {
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
            "TrueOption": {"Value": 1, "Label": label(column.truth[0])}, "FalseOption": {"Value": 0, "Label": label(column.truth[1])}}, "GlobalOptionSet": null}),
        Kind::Lookup => json!({"Targets": column.targets.iter().map(|t| t.table.as_str()).collect::<Vec<_>>()}),
        Kind::Picklist | Kind::MultiSelect | Kind::State | Kind::Status => {
            let set = option_set(table, column);
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

/// The choices of a column.
fn option_set(table: &Table, column: &Column) -> Value {
    let option = |c: &Choice| {
        let mut option = json!({"Value": c.value, "Label": label(&c.label), "Color": null, "IsManaged": false});
        if let Some(state) = c.state {
            option["State"] = state.into();
        }
        option
    };
    let name = column.global.clone().unwrap_or_else(|| format!("{}_{}", table.name, column.name));
    let kind = match column.kind {
        Kind::State => "State",
        Kind::Status => "Status",
        _ => "Picklist",
    };
    json!({
        "MetadataId": metadata_id(&name), "Name": name, "DisplayName": label(&name), "IsGlobal": column.global.is_some(),
        "IsCustomOptionSet": true, "OptionSetType": kind, "Options": column.choices.iter().map(option).collect::<Vec<_>>(),
    })
}

/// The option sets that several columns may share.
pub(super) fn global_option_sets(schema: &Schema) -> Vec<Value> {
    let mut sets: Vec<Value> = Vec::new();
    for table in &schema.tables {
        for column in table.columns.iter().filter(|column| column.global.is_some()) {
            let mut set = option_set(table, column);
            set["@odata.type"] = "#Microsoft.Dynamics.CRM.OptionSetMetadata".into();
            if !sets.iter().any(|other| other["Name"] == set["Name"]) {
                sets.push(set);
            }
        }
    }
    sets
}
