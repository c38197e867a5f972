//! The pure part of a record's way: a page is decoded, and each row is decided. Beside each its lower bound.
//!
//! `cargo bench -p benches --bench pure`

#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::error::Error;
use std::hint::black_box;
use std::time::Duration;

use d365_client::{EntityDef, decode_changes};
use mapping::{Decision, Mode, TableSpec, compile};
use record::schema::{ChoiceOption, Column, TableSchema};
use record::{Change, ChangeBody, Choice, Key, Record, Value, ValueKind};
use serde::de::IgnoredAny;
use tokio::time::Instant;
use uuid::Uuid;

type Outcome<T> = Result<T, Box<dyn Error>>;

const ROWS: usize = 5_000;
const ROUNDS: u32 = 100;

fn main() -> Outcome<()> {
    let page = page();
    let def = EntityDef::new("contact", "contacts", "contactid")?.shared();
    println!("what | ns per row | MB/s");
    told("copy a page", page.len(), time(|| drop(black_box(page.clone()))));
    told("check its JSON", page.len(), time(|| drop(black_box(serde_json::from_slice::<IgnoredAny>(&page)))));
    told("decode it", page.len(), time(|| drop(black_box(decode_changes(&def, &page, None)))));

    let plan = compile(&spec()?, &contact(), &profile()).map_err(|problems| problems.to_string())?;
    let changes: Vec<Change> = (0..ROWS).map(change).collect();
    let written = |change: &Change| match plan.decide(change, Mode::Live) {
        Ok(Decision::Write(write)) => Some(write),
        _ => None,
    };
    let bodies: Vec<Vec<u8>> = changes.iter().filter_map(written).map(|write| write.insert).collect();
    let bytes = bodies.iter().map(Vec::len).sum::<usize>() * 2;
    told("copy two bodies a row", bytes, time(|| drop(black_box((bodies.clone(), bodies.clone())))));
    let decided = time(|| changes.iter().for_each(|change| drop(black_box(plan.decide(change, Mode::Live)))));
    told("decide a row", bytes, decided);
    Ok(())
}

/// The shortest of some rounds: what the work takes when nothing else is in the way.
fn time(work: impl Fn()) -> Duration {
    let once = |_| {
        let started = Instant::now();
        work();
        started.elapsed()
    };
    (0..ROUNDS).map(once).min().unwrap_or_default()
}

fn told(what: &str, bytes: usize, time: Duration) {
    #[expect(clippy::cast_precision_loss, reason = "counts of rows and bytes")]
    let (rows, bytes) = (ROWS as f64, bytes as f64);
    let seconds = time.as_secs_f64();
    println!("{what} | {:.0} | {:.0}", seconds * 1e9 / rows, bytes / seconds / 1e6);
}

fn page() -> Vec<u8> {
    let row = |number: usize| {
        format!(
            "{{\"@odata.etag\":\"W/\\\"{number}\\\"\",\"contactid\":\"{}\",\"firstname\":\"Łucja\",\"lastname\":\"Name {number}\",\
             \"emailaddress1\":\"somebody.{number}@example.org\",\"telephone1\":null,\"birthdate\":\"1990-05-01\",\
             \"gendercode\":1,\"address1_city\":\"Aarhus\",\"statecode\":0,\"versionnumber\":{number}}}",
            id(number)
        )
    };
    let rows: Vec<String> = (0..ROWS).map(row).collect();
    let link = "https://contoso.crm4.dynamics.com/api/data/v9.2/contacts?$deltatoken=1";
    format!("{{\"value\":[{}],\"@odata.deltaLink\":\"{link}\"}}", rows.join(",")).into_bytes()
}

fn id(number: usize) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, &number.to_be_bytes())
}

fn change(number: usize) -> Change {
    let mut record = Record::with_capacity(7);
    let text = |text: &str| Value::Text(text.into());
    record.push("firstname".into(), text("Łucja"));
    record.push("lastname".into(), text(&format!("Name {number}")));
    record.push("emailaddress1".into(), text(&format!("somebody.{number}@example.org")));
    record.push("telephone1".into(), Value::Null);
    record.push("gendercode".into(), Value::Choice(Choice { value: 1, label: None }));
    record.push("address1_city".into(), text("Aarhus"));
    record.push("statecode".into(), Value::Choice(Choice { value: 0, label: None }));
    Change { key: Key::Guid(id(number)), version: Some(1), body: ChangeBody::Upsert(record) }
}

fn spec() -> Outcome<TableSpec> {
    Ok(serde_json::from_value(serde_json::json!({
        "table": "contact", "resource": "profile", "key": "externalId",
        "fields": [
            {"from": "firstname", "to": "firstName"},
            {"from": "lastname", "to": "lastName"},
            {"from": "emailaddress1", "to": "email"},
            {"from": "telephone1", "to": "phone"},
            {"from": "gendercode", "to": "gender"},
            {"from": "address1_city", "to": "location.city"},
        ],
        "replacements": [{"field": "gendercode", "value": 1, "with": "male"}],
        "filter": {"operator": "and", "rules": [{"field": "statecode", "compare": "equals", "value": 0}]},
    }))?)
}

fn column(name: &str, kind: ValueKind, type_name: &str, options: &[(i64, &str)]) -> Column {
    let option = |(value, name): &(i64, &str)| ChoiceOption { value: *value, name: (*name).into(), label: None };
    Column {
        name: name.into(),
        kind,
        type_name: type_name.into(),
        max_length: None,
        options: options.iter().map(option).collect(),
        readable: true,
        writable: true,
        convertible: true,
    }
}

fn contact() -> TableSchema {
    use ValueKind::{Choice, Guid, Text};
    let text = |name| column(name, Text, "String", &[]);
    let columns = vec![
        column("contactid", Guid, "Uniqueidentifier", &[]),
        text("firstname"),
        text("lastname"),
        text("emailaddress1"),
        text("telephone1"),
        text("address1_city"),
        column("gendercode", Choice, "Picklist", &[(1, "Male"), (2, "Female")]),
        column("statecode", Choice, "State", &[(0, "Active"), (1, "Inactive")]),
    ];
    TableSchema { name: "contact".into(), key: Some("contactid".into()), columns }
}

fn profile() -> TableSchema {
    let mut columns: Vec<Column> = ["externalId", "firstName", "lastName", "email", "phone", "location.city"]
        .map(|name| column(name, ValueKind::Text, "string", &[]))
        .into();
    let names = [(0, "unknown"), (1, "male"), (2, "female")];
    columns.push(column("gender", ValueKind::Choice, "enumeration", &names));
    TableSchema { name: "profile".into(), key: None, columns }
}
