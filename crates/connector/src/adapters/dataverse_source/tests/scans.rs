//! Scans, and the search for single records.

use d365_client::metadata::{Attribute, AttributeType};

use super::*;

const CARL: &str = "9c9e6679-7425-40de-944b-e07fc1f90ae7";

fn versioned() -> (DataverseSource, ScriptedTransport) {
    let version = Attribute::new("versionnumber", AttributeType::BigInt);
    source_of(EntityDef::new("contact", "contacts", "contactid").unwrap().with_attribute(version))
}

fn bare(id: &str, version: i64) -> String {
    format!(r#"{{"contactid":"{id}","versionnumber":{version}}}"#)
}

fn full(id: &str, version: i64) -> String {
    format!(r#"{{"contactid":"{id}","versionnumber":{version},"lastname":"L"}}"#)
}

fn answer(rows: &[String], next: Option<&str>) -> String {
    let next = next.map(|query| format!(r#","@odata.nextLink":"{BASE}/contacts?{query}""#)).unwrap_or_default();
    format!(r#"{{"value":[{}]{next}}}"#, rows.join(","))
}

fn asked(script: &ScriptedTransport) -> Vec<String> {
    let target = |url: &str| url.strip_prefix(BASE).unwrap_or(url).to_owned();
    script.requests().iter().map(|request| target(request.url.as_str())).collect()
}

fn met(page: &ScanPage) -> Vec<(String, Option<i64>, bool)> {
    page.rows.iter().map(|row| (row.key.to_text(), row.version, row.change.is_some())).collect()
}

#[tokio::test]
async fn only_a_table_with_row_versions_can_be_scanned() {
    let (without, script) = source();
    assert!(!without.capabilities().scan);
    let error = without.scan(None, LIMIT, ScanDepth::Versions).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (EndpointErrorKind::Refused, "table-without-versions"));
    assert!(script.requests().is_empty());
    let (with, _) = versioned();
    assert!(with.capabilities().scan);
    let days = Duration::from_secs(7 * 24 * 3600);
    assert_eq!(with.retaining(Some(days)).capabilities().retention, Some(days));
}

#[tokio::test]
async fn a_scan_for_news_reads_keys_and_versions_and_the_rows_of_a_page_by_their_ids() {
    let (source, script) = versioned();
    script.respond(200, answer(&[bare(ANNA, 7)], Some("$select=contactid,versionnumber&$skiptoken=2")));
    let first = source.scan(None, LIMIT, ScanDepth::Versions).await.unwrap();
    assert_eq!(met(&first), [(ANNA.to_owned(), Some(7), false)]);
    script.respond(200, answer(&[bare(BERT, 8), bare(CARL, 9)], None));
    let second = source.scan(first.next.as_ref(), LIMIT, ScanDepth::Versions).await.unwrap();
    assert_eq!(met(&second), [(BERT.to_owned(), Some(8), false), (CARL.to_owned(), Some(9), false)]);
    assert!(second.next.is_none());
    // The same page once more, with its rows; one of them is gone meanwhile.
    script.respond(200, answer(&[bare(BERT, 8), bare(CARL, 9)], None)).respond(200, answer(&[full(BERT, 8)], None));
    let rows = source.scan(first.next.as_ref(), LIMIT, ScanDepth::Rows).await.unwrap();
    assert_eq!(met(&rows), [(BERT.to_owned(), Some(8), true)]);
    let asked = asked(&script);
    assert_eq!(asked[0], "/contacts?$select=contactid,versionnumber&$orderby=contactid%20asc");
    assert_eq!(asked[1], asked[2]);
    assert!(asked[3].contains("lastname") && asked[3].contains(BERT) && asked[3].contains(CARL), "{}", asked[3]);
}

#[tokio::test]
async fn a_scan_that_began_with_rows_goes_on_with_them_and_asks_for_no_page_twice() {
    let (source, script) = versioned();
    script.respond(200, answer(&[full(ANNA, 7)], Some("$select=contactid,versionnumber,lastname&$skiptoken=2")));
    let first = source.scan(None, LIMIT, ScanDepth::Rows).await.unwrap();
    assert_eq!(met(&first), [(ANNA.to_owned(), Some(7), true)]);
    script.respond(200, answer(&[full(BERT, 8)], Some("$select=contactid,versionnumber,lastname&$skiptoken=3")));
    let second = source.scan(first.next.as_ref(), LIMIT, ScanDepth::Versions).await.unwrap();
    assert_eq!(met(&second), [(BERT.to_owned(), Some(8), false)]);
    let rows = source.scan(first.next.as_ref(), LIMIT, ScanDepth::Rows).await.unwrap();
    assert_eq!((met(&rows), &rows.next), (vec![(BERT.to_owned(), Some(8), true)], &second.next));
    assert_eq!(asked(&script).len(), 2);
    // What was kept is used once: later it may be older than what was answered since.
    script.respond(200, answer(&[full(BERT, 9)], None));
    let again = source.scan(first.next.as_ref(), LIMIT, ScanDepth::Rows).await.unwrap();
    assert_eq!(met(&again), [(BERT.to_owned(), Some(9), true)]);
}

#[tokio::test]
async fn a_scan_of_other_columns_begins_anew() {
    let (source, script) = versioned();
    script.respond(200, answer(&[full(ANNA, 7)], Some("$select=contactid,versionnumber,firstname&$skiptoken=2")));
    let first = source.scan(None, LIMIT, ScanDepth::Rows).await.unwrap();
    let error = source.scan(first.next.as_ref(), LIMIT, ScanDepth::Rows).await.unwrap_err();
    assert_eq!(error.kind(), EndpointErrorKind::Expired);
    assert_eq!(script.requests().len(), 1, "nothing is asked with a link that answers other columns");
}

#[tokio::test]
async fn what_was_read_ahead_is_read_again_after_a_scan() {
    let (source, script) = versioned();
    let source = source.reading_ahead();
    script.respond(200, changes(&[row(ANNA)], "nextLink", "n1"));
    script.respond(200, changes(&[row(BERT)], "deltaLink", "d1"));
    let first = source.read(None, LIMIT).await.unwrap();
    while script.requests().len() < 2 {
        tokio::task::yield_now().await;
    }
    script.respond(200, answer(&[bare(ANNA, 7)], None));
    source.scan(None, LIMIT, ScanDepth::Versions).await.unwrap();
    script.respond(200, changes(&[row(BERT)], "deltaLink", "d1"));
    source.read(Some(&first.next), LIMIT).await.unwrap();
    assert_eq!(script.requests().len(), 4);
}

#[tokio::test]
async fn many_records_are_asked_for_at_once_and_absent_ones_by_themselves() {
    let (source, script) = versioned();
    let mut keys: Vec<Key> = (0..150).map(|_| Key::Guid(Uuid::new_v4())).collect();
    keys[120] = Key::Guid(ANNA.parse().unwrap());
    let rows = |keys: &[Key]| keys.iter().map(|key| full(&key.to_text(), 1)).collect::<Vec<_>>();
    script.respond(200, answer(&rows(&keys[..100]), None));
    let mut second = rows(&keys[100..]);
    second.remove(20);
    script.respond(200, answer(&second, None));
    script.respond(404, r#"{"error":{"code":"0x80040217","message":"contact With Id = x Does Not Exist"}}"#);
    let found = source.fetch(&keys).await.unwrap();
    assert!(found.iter().map(|change| &change.key).eq(&keys), "in the order of the keys");
    let gone: Vec<usize> = (0..150).filter(|at| matches!(found[*at].body, ChangeBody::Delete)).collect();
    assert_eq!(gone, [120]);
    let asked = asked(&script);
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|url| url.len() < 8 * 1024), "{:?}", asked.iter().map(String::len).collect::<Vec<_>>());
    assert!(asked[2].starts_with(&format!("/contacts({ANNA})")), "{}", asked[2]);
    // Absence from a list is no evidence: it is there after all.
    script.respond(200, answer(&rows(&keys[..1]), None)).respond(200, full(&keys[1].to_text(), 3));
    let found = source.fetch(&keys[..2]).await.unwrap();
    assert!(found.iter().all(|change| matches!(change.body, ChangeBody::Upsert(_))));
}
