//! Scans of a table over a scripted transport.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by a panic, also in what it shares"
)]

mod support;

use d365_client::{ErrorKind, Link, ScanPage, TableScan, decode_scan};
use http_kit::testing::ScriptedTransport;
use support::{BASE, client, contact, header, line};
use uuid::Uuid;

const ONE: &str = "cccccccc-0000-0000-0000-000000000001";
const NINE: &str = "cccccccc-0000-0000-0000-000000000009";

fn scan(columns: &[&'static str]) -> (TableScan, ScriptedTransport) {
    let (client, script) = client();
    (client.scan(contact(), columns.iter().copied()).unwrap().page_size(3), script)
}

fn next(token: &str) -> Link {
    Link::Next(format!("{BASE}/contacts?$select=contactid,versionnumber&$orderby=contactid%20asc&$skiptoken={token}"))
}

fn found(page: &ScanPage) -> Vec<(Uuid, i64)> {
    page.rows.iter().map(|row| (row.id, row.version)).collect()
}

#[tokio::test]
async fn keys_and_versions_are_all_that_is_asked_for() {
    let (scan, script) = scan(&[]);
    let link = next("2");
    script
        .respond(200, format!(r#"{{"@odata.context":"c","value":[{{"@odata.etag":"W/\"7\"","contactid":"{ONE}","versionnumber":9007199254740993}}],"@odata.nextLink":"{}"}}"#, link.as_str()))
        .respond(200, format!(r#"{{"value":[{{"versionnumber":8,"contactid":"{NINE}","lastname":"x"}}]}}"#));
    let first = scan.start().await.unwrap();
    assert_eq!(found(&first), [(ONE.parse().unwrap(), 9_007_199_254_740_993)]);
    assert!(first.rows[0].row.is_none());
    assert_eq!(first.next.as_ref(), Some(&link));
    let last = scan.follow(&link).await.unwrap();
    assert_eq!(found(&last), [(NINE.parse().unwrap(), 8)]);
    assert!(last.next.is_none());
    let requests = script.requests();
    assert_eq!(
        line(&requests[0]),
        format!("GET {BASE}/contacts?$select=contactid,versionnumber&$orderby=contactid%20asc")
    );
    assert_eq!(line(&requests[1]), format!("GET {}", link.as_str()));
    for request in &requests {
        assert_eq!(header(request, "prefer"), Some("odata.maxpagesize=3"), "untracked, and of one size throughout");
    }
}

#[tokio::test]
async fn columns_bring_the_rows_along() {
    let (scan, script) = scan(&["lastname", "versionnumber"]);
    script.respond(200, format!(r#"{{"value":[{{"contactid":"{ONE}","versionnumber":7,"lastname":"Byron"}}]}}"#));
    let page = scan.start().await.unwrap();
    let row = page.rows[0].row.as_ref().unwrap();
    assert_eq!((row.text("lastname").unwrap().unwrap().as_ref(), page.rows[0].version), ("Byron", 7));
    assert!(line(&script.requests()[0]).contains("?$select=contactid,versionnumber,lastname&$orderby="));
    assert!(!format!("{page:?}").contains("Byron"));
}

#[tokio::test]
async fn an_empty_page_with_a_link_is_not_the_end() {
    let (scan, script) = scan(&[]);
    script.respond(200, format!(r#"{{"value":[],"@odata.nextLink":"{}"}}"#, next("2").as_str()));
    let page = scan.start().await.unwrap();
    assert_eq!((page.rows.len(), page.next), (0, Some(next("2"))));
}

#[tokio::test]
async fn the_hint_is_the_link_of_the_page() {
    let (scan, script) = scan(&[]);
    script.respond(200, format!(r#"{{"value":[],"@odata.nextLink":"{}"}}"#, next("2").as_str()));
    let fetched = scan.fetch(None).await.unwrap();
    assert_eq!(fetched.hint(), Some(next("2")));
    assert!(!format!("{fetched:?}").contains("skiptoken"));
    assert_eq!(fetched.decode().unwrap().next, Some(next("2")));
}

#[tokio::test]
async fn links_that_lead_astray_are_refused() {
    let (scan, script) = scan(&[]);
    // From a store: nothing is sent.
    let foreign = Link::Next("https://elsewhere.invalid/api/data/v9.2/contacts".into());
    assert_eq!(scan.follow(&foreign).await.unwrap_err().kind(), ErrorKind::ForeignLink);
    let delta = Link::Delta(format!("{BASE}/contacts?$deltatoken=1"));
    assert_eq!(scan.follow(&delta).await.unwrap_err().kind(), ErrorKind::Validation);
    assert_eq!(script.count(), 0);
    // From the service.
    script.respond(200, r#"{"value":[],"@odata.nextLink":"https://elsewhere.invalid/x"}"#);
    assert_eq!(scan.start().await.unwrap_err().kind(), ErrorKind::ForeignLink);
    script.respond(200, format!(r#"{{"value":[],"@odata.nextLink":"{}"}}"#, next("2").as_str()));
    assert_eq!(scan.follow(&next("2")).await.unwrap_err().kind(), ErrorKind::Decode, "it leads to itself");
}

#[tokio::test]
async fn a_link_that_is_refused_is_lost_and_other_refusals_are_what_they_are() {
    for (status, body, kind) in [
        (400, r#"{"error":{"code":"0x80060888","message":"The paging token is not valid."}}"#, ErrorKind::LinkRefused),
        (404, "", ErrorKind::LinkRefused),
        (403, r#"{"error":{"code":"0x80040220","message":"x"}}"#, ErrorKind::Forbidden),
    ] {
        let (scan, script) = scan(&[]);
        script.respond(status, body);
        assert_eq!(scan.follow(&next("2")).await.unwrap_err().kind(), kind, "{status}");
        assert_eq!(script.count(), 1);
    }
}

#[test]
fn a_row_without_key_or_version_spoils_its_page_and_is_named() {
    let good = format!(r#"{{"contactid":"{ONE}","versionnumber":1}}"#);
    for bad in [
        format!(r#"{{"contactid":"{ONE}"}}"#),
        r#"{"versionnumber":1}"#.to_owned(),
        format!(r#"{{"contactid":"{ONE}","versionnumber":null}}"#),
        format!(r#"{{"contactid":"{ONE}","versionnumber":"1"}}"#),
        format!(r#"{{"contactid":"{ONE}","versionnumber":1.5}}"#),
        r#"{"contactid":"CANARY","versionnumber":1}"#.to_owned(),
    ] {
        let body = format!(r#"{{"value":[{good},{bad}]}}"#);
        for rows_wanted in [false, true] {
            let error = decode_scan(&contact(), body.as_bytes(), None, rows_wanted).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Decode, "{bad}");
            let text = format!("{error} {error:?}");
            assert!(text.contains("row 1") && !text.contains("CANARY"), "{text}");
        }
    }
    for body in ["{}", "[]", r#"{"value":null}"#, r#"{"value":[1]}"#, r#"{"value":[]"#, "\u{feff}"] {
        for rows_wanted in [false, true] {
            let error = decode_scan(&contact(), body.as_bytes(), None, rows_wanted).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Decode, "{body}");
        }
    }
}

#[test]
fn a_link_fits_the_columns_it_was_made_for() {
    let link = |select: &str| Link::Next(format!("{BASE}/contacts?$select={select}&$skiptoken=1"));
    let (keys, _) = scan(&[]);
    let (rows, _) = scan(&["lastname"]);
    assert!(keys.fits(&link("contactid,versionnumber")) && keys.fits(&link("versionnumber,contactid")));
    assert!(!keys.fits(&link("contactid,versionnumber,lastname")) && !rows.fits(&link("contactid,versionnumber")));
    assert!(rows.fits(&link("contactid,versionnumber,lastname")));
    assert!(keys.fits(&Link::Next(format!("{BASE}/contacts?$skiptoken=1"))), "it does not tell");
}
