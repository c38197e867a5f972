use d365_client::D365Config;
use http_kit::testing::ScriptedTransport;
use http_kit::{SecretString, StaticToken};
use record::{FieldName, Value, ValueKind};
use timing::{FixedEntropy, ManualClock};

use super::*;

mod scans;

const BASE: &str = "https://acme.crm4.dynamics.com/api/data/v9.2";
const LIMIT: BatchLimit = BatchLimit { rows: 1000, class: Class::Live };

fn source() -> (DataverseSource, ScriptedTransport) {
    let def = EntityDef::new("contact", "contacts", "contactid").unwrap();
    source_of(def)
}

fn source_of(def: EntityDef) -> (DataverseSource, ScriptedTransport) {
    let script = ScriptedTransport::new();
    let config = D365Config::new("https://acme.crm4.dynamics.com", "contoso.example", "app", SecretString::from("s"));
    let client = D365Client::builder(config)
        .transport(Arc::new(script.clone()))
        .clock(ManualClock::auto_advancing().shared())
        .entropy(FixedEntropy::shared(0.0))
        .authenticator(Arc::new(StaticToken::new(&SecretString::from("t")).unwrap()))
        .build()
        .unwrap();
    let def = def.shared();
    let columns = [SourceColumn { name: FieldName::from("lastname"), kind: ValueKind::Text }];
    (DataverseSource::new(&client, &def, &columns, 1000).unwrap(), script)
}

fn page(link: &str, url: &str) -> String {
    format!(r#"{{"value":[],"@odata.{link}":"{BASE}/contacts?{url}"}}"#)
}

#[tokio::test]
async fn links_that_lead_in_a_circle_are_an_error_and_pages_read_twice_are_none() {
    let (source, script) = source();
    script.respond(200, page("nextLink", "a"));
    let a = source.read(None, LIMIT).await.unwrap().next;
    for _ in 0..2 {
        script.respond(200, page("nextLink", "b"));
        source.read(Some(&a), LIMIT).await.unwrap();
    }
    script.respond(200, page("nextLink", "b"));
    let b = source.read(Some(&a), LIMIT).await.unwrap().next;
    script.respond(200, page("nextLink", "a"));
    let error = source.read(Some(&b), LIMIT).await.unwrap_err();
    assert_eq!(error.kind(), EndpointErrorKind::Unavailable);
    assert!(error.to_string().contains("repeated a link"), "{error}");
    // The service comes to its senses.
    script.respond(200, page("deltaLink", "c"));
    let delta = source.read(Some(&b), LIMIT).await.unwrap().next;
    // A poll may give back the same delta link, and a later walk the links of an earlier one.
    for _ in 0..3 {
        script.respond(200, page("deltaLink", "c"));
        assert_eq!(source.read(Some(&delta), LIMIT).await.unwrap().next, delta);
    }
    script.respond(200, page("nextLink", "a")).respond(200, page("nextLink", "b"));
    let a = source.read(Some(&delta), LIMIT).await.unwrap().next;
    source.read(Some(&a), LIMIT).await.unwrap();
}

const ANNA: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
const BERT: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";

fn row(id: &str) -> String {
    format!(r#"{{"@odata.etag":"W/\"1\"","contactid":"{id}","lastname":"L"}}"#)
}

fn gone(id: &str) -> String {
    format!(r#"{{"@odata.context":"{BASE}/$metadata#contacts/$deletedEntity","id":"{id}","reason":"deleted"}}"#)
}

fn changes(rows: &[String], link: &str, url: &str) -> String {
    format!(r#"{{"value":[{}],"@odata.{link}":"{BASE}/contacts?{url}"}}"#, rows.join(","))
}

fn told(batch: &ChangeBatch) -> Vec<(String, bool)> {
    let exists = |change: &Change| matches!(change.body, ChangeBody::Upsert(_));
    batch.changes.iter().map(|change| (change.key.to_text(), exists(change))).collect()
}

/// Whether a record that was deleted and created again under its id is there, the order of the feed does not tell.
#[tokio::test]
async fn a_deletion_of_a_record_that_the_same_poll_shows_is_asked_about() {
    let (source, script) = source();
    script.respond(200, page("deltaLink", "d1"));
    let delta = source.read(None, LIMIT).await.unwrap().next;
    // On one page, and on a later one; one of the two is there.
    script.respond(200, changes(&[row(ANNA), row(BERT), gone(ANNA)], "nextLink", "n1"));
    script.respond(200, row(ANNA));
    let first = source.read(Some(&delta), LIMIT).await.unwrap();
    let wanted = [(ANNA, true), (BERT, true), (ANNA, true)].map(|(id, exists)| (id.to_owned(), exists));
    assert_eq!(told(&first), wanted);
    script.respond(200, changes(&[gone(BERT)], "deltaLink", "d2"));
    script.respond(404, r#"{"error":{"code":"0x80040217","message":"contact With Id = x Does Not Exist"}}"#);
    let second = source.read(Some(&first.next), LIMIT).await.unwrap();
    assert_eq!(told(&second), [(BERT.to_owned(), false)]);
    let asked = script.requests();
    assert_eq!(asked.len(), 5, "nothing else is asked");

    // Of the next poll nothing is known but what it tells, and a deletion alone is believed.
    script.respond(200, changes(&[gone(BERT)], "deltaLink", "d3"));
    assert_eq!(told(&source.read(Some(&second.next), LIMIT).await.unwrap()), [(BERT.to_owned(), false)]);
    assert_eq!(script.requests().len(), 6);
}

#[tokio::test]
async fn after_a_restart_in_the_middle_of_a_poll_every_deletion_is_asked_about() {
    let (first, script) = source();
    script.respond(200, page("deltaLink", "d1"));
    let delta = first.read(None, LIMIT).await.unwrap().next;
    script.respond(200, changes(&[row(ANNA)], "nextLink", "n1"));
    let next = first.read(Some(&delta), LIMIT).await.unwrap().next;
    let (restarted, script) = source();
    script.respond(200, changes(&[gone(ANNA)], "deltaLink", "d2")).respond(200, row(ANNA));
    assert_eq!(told(&restarted.read(Some(&next), LIMIT).await.unwrap()), [(ANNA.to_owned(), true)]);
}

#[tokio::test]
async fn the_next_page_is_asked_for_once_and_before_it_is_wanted() {
    let (source, script) = source();
    let source = source.reading_ahead();
    script.respond(200, changes(&[row(ANNA)], "nextLink", "n1"));
    script.respond(200, changes(&[row(BERT)], "deltaLink", "d1"));
    let first = source.read(None, LIMIT).await.unwrap();
    while script.requests().len() < 2 {
        tokio::task::yield_now().await;
    }
    let second = source.read(Some(&first.next), LIMIT).await.unwrap();
    assert_eq!(told(&second), [(BERT.to_owned(), true)]);
    assert!(!second.more);
    assert_eq!(script.requests().len(), 2);
    // Somebody else's position: what was asked for ahead is of no use, and the right page is asked for.
    script.respond(200, changes(&[row(BERT)], "deltaLink", "d1"));
    source.read(Some(&first.next), LIMIT).await.unwrap();
    assert_eq!(script.requests().len(), 3);
}

#[tokio::test]
async fn an_answer_about_another_record_is_no_answer() {
    let (source, script) = source();
    script.respond(200, row(BERT));
    let error = source.fetch(&[Key::Guid(ANNA.parse().unwrap())]).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (EndpointErrorKind::Unavailable, "row-of-another-record"));
}

#[tokio::test]
async fn a_refused_link_costs_one_new_walk_and_no_second_one_until_a_link_is_good_again() {
    let (source, script) = source();
    let delta = Position::new(
        serde_json::to_string(&Saved { snapshot: false, link: Link::Delta(format!("{BASE}/contacts?d")) }).unwrap(),
    );
    let refuse = |status| {
        let script = script.clone();
        script.respond(status, r#"{"error":{"code":"0x80060888","message":"m"}}"#);
    };
    for status in [400, 404] {
        refuse(status);
        let lost = source.read(Some(&delta), LIMIT).await.unwrap_err();
        assert_eq!(lost.kind(), EndpointErrorKind::Expired);
        // The walk over the table succeeds, page by page, but its links are refused again.
        script.respond(200, page("nextLink", "a")).respond(200, page("deltaLink", "b"));
        let next = source.read(None, LIMIT).await.unwrap().next;
        let fresh = source.read(Some(&next), LIMIT).await.unwrap().next;
        refuse(410);
        let again = source.read(Some(&fresh), LIMIT).await.unwrap_err();
        assert_eq!(again.kind(), EndpointErrorKind::Refused);
        assert!(again.to_string().contains("link"), "{again}");
        // A delta link that is accepted ends the episode: months later a link may be lost again.
        script.respond(200, page("deltaLink", "c"));
        source.read(Some(&fresh), LIMIT).await.unwrap();
    }
    script.respond(400, r#"{"error":{"code":"0x80044352","message":"m"}}"#);
    assert_eq!(source.read(Some(&delta), LIMIT).await.unwrap_err().kind(), EndpointErrorKind::Expired);
}

/// The client reads single columns by rules of its own, since it does not know this family's values. They are the same.
#[test]
fn rows_of_the_client_read_values_as_records_do() {
    let numbers = [
        "0",
        "-0",
        "7",
        "-7",
        "12.0",
        "12.5",
        "1e3",
        "1E+3",
        "1e-3",
        "15e-1",
        "1.50",
        "0e40",
        "1e40",
        "1e400",
        "007",
        "1_000",
        "+1",
        ".5",
        "5.",
        "1e",
        "--1",
        "NaN",
        "9223372036854775807",
        "9223372036854775808",
        "79228162514264337593543950335",
        "0.00000000000000000000000000001",
        "10000000000000000000000000001.0",
        "1.0e-28",
        "1234.5600000000",
        "true",
        "\"1\"",
    ];
    let texts = [
        "2024-02-29",
        "2023-02-29",
        "2024-2-29",
        "2024-02-29T10:00:00Z",
        "2024-02-29 10:00:00Z",
        "2024-02-29T10:00:00",
        "2024-02-29T10:00:00.5",
        "2024-02-29T10:00:00.584Z",
        "2024-02-29T10:00:00+02:00",
        "2024-02-29T10:00Z",
        "+2024-02-29",
        "2024-02-29T25:00:00Z",
        "2024-02-29T23:59:60Z",
        "2024-02-29T10:00:00z",
        "12024-02-29",
        "",
        " 2024-02-29",
        "today",
        "8c1f0c52-0000-4000-8000-00000000000a",
        "8C1F0C52-0000-4000-8000-00000000000A",
        "8c1f0c520000400080000000000000000a",
        "8c1f0c5200004000800000000000000a",
        "{8c1f0c52-0000-4000-8000-00000000000a}",
        "urn:uuid:8c1f0c52-0000-4000-8000-00000000000a",
        "2024-02-29T10:00:00Zäö",
        "ä024-02-29T10:00:00Z",
    ];
    let quoted: Vec<String> = texts.iter().map(|text| format!("\"{text}\"")).collect();
    for raw in numbers.into_iter().chain(quoted.iter().map(String::as_str)) {
        let Ok(row) = DynamicEntity::parse(&format!("{{\"c\":{raw}}}"), None) else {
            // What is no JSON is no value of a record either.
            for kind in [ValueKind::Int, ValueKind::Decimal, ValueKind::Float] {
                assert!(record::json::parse(kind, raw).is_err(), "{raw}");
            }
            continue;
        };
        let read = |kind| record::json::parse(kind, raw).ok();
        assert_eq!(row.integer("c").ok().flatten().map(Value::Int), read(ValueKind::Int), "{raw}");
        assert_eq!(row.decimal("c").ok().flatten().map(Value::Decimal), read(ValueKind::Decimal), "{raw}");
        let exact = |value: Option<Value>| value.map(|value| record::json::print(&value));
        assert_eq!(
            exact(row.decimal("c").ok().flatten().map(Value::Decimal)),
            exact(read(ValueKind::Decimal)),
            "{raw}"
        );
        assert_eq!(row.double("c").ok().flatten().map(Value::Float), read(ValueKind::Float), "{raw}");
        assert_eq!(row.boolean("c").ok().flatten().map(Value::Bool), read(ValueKind::Bool), "{raw}");
        assert_eq!(row.date("c").ok().flatten().map(Value::Date), read(ValueKind::Date), "{raw}");
        assert_eq!(row.date_time("c").ok().flatten().map(Value::DateTime), read(ValueKind::DateTime), "{raw}");
        assert_eq!(row.guid("c").ok().flatten().map(Value::Guid), read(ValueKind::Guid), "{raw}");
    }
}
