//! Schemas and records of contacts and profiles for the tests.

use mapping::{Decision, Mode, Plan, TableSpec, Write, compile};
use record::schema::{ChoiceOption, Column, TableSchema};
use record::{Change, ChangeBody, Choice, Key, Record, Value, ValueKind};
use uuid::Uuid;

pub(crate) const ID: &str = "8c1f0c52-0000-4000-8000-00000000000a";

pub(crate) fn column(name: &str, kind: ValueKind, type_name: &str) -> Column {
    Column {
        name: name.into(),
        kind,
        type_name: type_name.into(),
        max_length: None,
        options: Vec::new(),
        readable: true,
        writable: true,
        convertible: true,
    }
}

pub(crate) fn options(options: &[(i64, &str, &str)]) -> Vec<ChoiceOption> {
    let option = |(value, name, label): &(i64, &str, &str)| ChoiceOption {
        value: *value,
        name: (*name).into(),
        label: Some((*label).into()),
    };
    options.iter().map(option).collect()
}

/// The source: one column of each kind.
pub(crate) fn contact() -> TableSchema {
    use ValueKind as K;
    let mut columns: Vec<Column> = [
        ("contactid", K::Guid, "Uniqueidentifier"),
        ("firstname", K::Text, "String"),
        ("lastname", K::Text, "String"),
        ("city", K::Text, "String"),
        ("zip", K::Text, "String"),
        ("children", K::Int, "Integer"),
        ("income", K::Decimal, "Money"),
        ("score", K::Float, "Double"),
        ("donotemail", K::Bool, "Boolean"),
        ("birthdate", K::Date, "DateTime"),
        ("modifiedon", K::DateTime, "DateTime"),
        ("owner", K::Reference, "Lookup"),
        ("image", K::Text, "Image"),
        ("secret", K::Text, "String"),
    ]
    .into_iter()
    .map(|(name, kind, type_name)| column(name, kind, type_name))
    .collect();
    columns[12].convertible = false;
    columns[13].readable = false;
    let mut gender = column("gendercode", K::Choice, "Picklist");
    gender.options = options(&[(1, "Male", "Male"), (2, "Female", "Female"), (3, "Other", "Other")]);
    let mut state = column("statecode", K::Choice, "State");
    state.options = options(&[(0, "Active", "Active"), (1, "Inactive", "Inactive")]);
    let mut hobbies = column("hobbies", K::List, "MultiSelectPicklist");
    hobbies.options = options(&[(1, "Chess", "Chess"), (9, "Golf", "Golf")]);
    columns.extend([gender, state, hobbies]);
    TableSchema { name: "contact".into(), key: Some("contactid".into()), columns }
}

/// The target: one attribute of each kind.
pub(crate) fn profile() -> TableSchema {
    use ValueKind as K;
    let mut columns: Vec<Column> = [
        ("externalId", K::Text, "string"),
        ("firstName", K::Text, "string"),
        ("lastName", K::Text, "string"),
        ("location.city", K::Text, "string"),
        ("location.zipCode", K::Text, "string"),
        ("cusText", K::Text, "string"),
        ("cusByte", K::Int, "byte"),
        ("cusLong", K::Int, "long"),
        ("cusInt64", K::Int, "int64"),
        ("cusNumber", K::Float, "double"),
        ("cusFlag", K::Bool, "boolean"),
        ("blackListEmail", K::Bool, "boolean"),
        ("birthDate", K::Date, "date"),
        ("cusSeen", K::DateTime, "datetime"),
        ("age", K::Int, "long"),
        ("orgUnit", K::Reference, "link"),
        ("cusOwner", K::Text, "string"),
    ]
    .into_iter()
    .map(|(name, kind, type_name)| column(name, kind, type_name))
    .collect();
    columns[0].max_length = Some(100);
    columns[1].max_length = Some(5);
    columns[14].writable = false;
    columns[15].convertible = false;
    let mut gender = column("gender", K::Choice, "enumeration");
    gender.options = options(&[(0, "unknown", "Unspecified"), (1, "male", "Male"), (2, "female", "Female")]);
    let mut tier = column("cusTier", K::Choice, "enumeration");
    tier.options = options(&[(1, "gold", "Gold"), (2, "silver", "Silver")]);
    columns.extend([gender, tier]);
    TableSchema { name: "profile".into(), key: None, columns }
}

pub(crate) fn spec(text: &str) -> TableSpec {
    let head = "table = \"contact\"\nresource = \"profile\"\nkey = \"externalId\"\n";
    toml::from_str(&format!("{head}{text}")).unwrap()
}

pub(crate) fn plan(text: &str) -> Plan {
    compile(&spec(text), &contact(), &profile()).unwrap_or_else(|problems| panic!("{problems}"))
}

/// A plan of one field.
pub(crate) fn one(from: &str, to: &str, more: &str) -> Plan {
    plan(&format!("fields = [ {{ from = \"{from}\", to = \"{to}\" }} ]\n{more}"))
}

pub(crate) fn choice(value: i32) -> Value {
    Value::Choice(Choice { value, label: None })
}

pub(crate) fn change(fields: &[(&str, Value)]) -> Change {
    let mut record = Record::default();
    for (name, value) in fields {
        record.set((*name).into(), value.clone());
    }
    Change { key: Key::Guid(Uuid::parse_str(ID).unwrap()), version: Some(1), body: ChangeBody::Upsert(record) }
}

pub(crate) fn write_as(plan: &Plan, fields: &[(&str, Value)], mode: Mode) -> Write {
    match plan.decide(&change(fields), mode) {
        Ok(Decision::Write(write)) => write,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn write(plan: &Plan, fields: &[(&str, Value)]) -> Write {
    write_as(plan, fields, Mode::Live)
}

pub(crate) fn text(body: &[u8]) -> String {
    String::from_utf8(body.to_vec()).unwrap()
}

/// The value that an update writes, as JSON text, or the code of the rejection.
pub(crate) fn converted(plan: &Plan, from: &str, to: &str, value: Value) -> String {
    match plan.decide(&change(&[(from, value)]), Mode::Live) {
        Ok(Decision::Write(write)) => {
            let update = match &write.update {
                Ok(update) => update,
                Err(rejection) => return rejection.code.to_owned(),
            };
            let body: serde_json::Value = serde_json::from_slice(update).unwrap();
            let mut at = &body;
            for segment in to.split('.') {
                at = &at[segment];
            }
            at.to_string()
        }
        Ok(other) => panic!("{other:?}"),
        Err(rejection) => rejection.code.to_owned(),
    }
}
