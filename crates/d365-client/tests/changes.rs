//! Change tracking.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by a panic, also in what it shares"
)]

mod support;

use d365_client::{ChangeTracker, Changed, DynamicEntity, ErrorKind, Link, decode_changes};
use http_kit::testing::ScriptedTransport;
use support::{BASE, client, contact, header, line};
use uuid::Uuid;

const ONE: &str = "cccccccc-0000-0000-0000-000000000001";
const NINE: &str = "cccccccc-0000-0000-0000-000000000009";

fn tracker() -> (ChangeTracker, ScriptedTransport) {
    let (client, script) = client();
    (client.changes(contact(), ["firstname", "lastname"]).unwrap().page_size(1000), script)
}

fn delta_url(token: &str) -> String {
    format!("{BASE}/contacts?$select=firstname,lastname&$deltatoken={token}")
}

fn delta(token: &str) -> Link {
    Link::Delta(delta_url(token))
}

#[tokio::test]
async fn a_walk_goes_from_the_first_page_to_a_delta_link() {
    let (tracker, script) = tracker();
    let next =
        format!("{BASE}/contacts?$select=firstname,lastname&$skiptoken=%3Ccookie%20istracking=%22True%22%20/%3E");
    let link = delta_url("919042%2108%2f22%2f2017%2008%3a10%3a44");
    script
        .respond(200, format!(r#"{{"value":[{{"@odata.etag":"W/\"1\"","contactid":"{ONE}","lastname":"a"}}],"@odata.nextLink":"{next}"}}"#))
        .respond(200, format!(r#"{{"@odata.deltaLink":"{link}","value":[]}}"#));
    let first = tracker.start().await.unwrap();
    assert_eq!(first.link, Link::Next(next.clone()));
    let [Changed::Upserted(row)] = first.changes.as_slice() else { panic!("one row expected") };
    assert_eq!(row.id(), Some(ONE.parse().unwrap()));
    let last = tracker.follow(&first.link).await.unwrap();
    assert_eq!(last.link, Link::Delta(link));
    let requests = script.requests();
    assert_eq!(line(&requests[0]), format!("GET {BASE}/contacts?$select=firstname,lastname"));
    assert_eq!(line(&requests[1]), format!("GET {next}"));
    for request in &requests {
        assert_eq!(header(request, "prefer"), Some("odata.track-changes,odata.maxpagesize=1000"));
        assert_eq!(header(request, "if-none-match"), Some("null"));
    }
}

#[tokio::test]
async fn a_poll_sends_the_link_as_it_is_and_reads_changes_and_deletions() {
    let (tracker, script) = tracker();
    let old = delta("919042%2108%2f22%2f2017%2008%3a10%3a44");
    let new = delta("919058%2108%2f22%2f2017%2008%3a21%3a20");
    script.respond(
        200,
        format!(
            r#"{{"@odata.context":"{BASE}/$metadata#contacts(firstname,lastname)/$delta","@odata.deltaLink":"{}","value":[
            {{"@odata.etag":"W/\"919052\"","contactid":"{ONE}","firstname":"Ada","lastname":"King"}},
            {{"@odata.context":"{BASE}/$metadata#contacts/$deletedEntity","id":"{NINE}","reason":"deleted"}},
            {{"id":"{BASE}/contacts({NINE})","reason":"changed"}}]}}"#,
            new.as_str()
        ),
    );
    let page = tracker.follow(&old).await.unwrap();
    assert_eq!(page.link, new);
    let nine: Uuid = NINE.parse().unwrap();
    assert!(matches!(&page.changes[0], Changed::Upserted(row) if row.text("lastname").unwrap().unwrap() == "King"));
    assert_eq!(page.changes[1], Changed::Deleted { id: nine, reason: Some("deleted".into()) });
    assert_eq!(page.changes[2], Changed::Deleted { id: nine, reason: Some("changed".into()) });
    let request = &script.requests()[0];
    assert_eq!(line(request), format!("GET {}", old.as_str()));
    assert_eq!(header(request, "prefer"), Some("odata.maxpagesize=1000"));
}

#[tokio::test]
async fn columns_called_id_and_reason_make_no_deletion() {
    let (tracker, script) = tracker();
    let link = delta("2");
    script.respond(
        200,
        format!(
            r#"{{"@odata.deltaLink":"{}","value":[{{"@odata.etag":"W/\"1\"","contactid":"{ONE}","id":"x","reason":"deleted"}}]}}"#,
            link.as_str()
        ),
    );
    let page = tracker.follow(&delta("1")).await.unwrap();
    assert!(matches!(page.changes.as_slice(), [Changed::Upserted(_)]));
}

#[tokio::test]
async fn a_poll_without_changes_may_be_nearly_empty() {
    let (tracker, script) = tracker();
    let old = delta("1");
    let new = delta("2");
    script
        .respond(200, format!(r#"{{"value":[],"@odata.deltaLink":"{}"}}"#, new.as_str()))
        .respond(200, format!(r#"{{"@odata.deltaLink":"{}"}}"#, new.as_str()))
        .respond(200, r#"{"value":[]}"#)
        .respond(200, "{}")
        .respond(200, "")
        .respond(204, "");
    for expected in [&new, &new, &old, &old, &old, &old] {
        let page = tracker.follow(&old).await.unwrap();
        assert!(page.changes.is_empty());
        assert_eq!(page.link, *expected);
    }
}

#[tokio::test]
async fn a_walk_without_a_link_at_its_end_is_a_fault_of_its_own() {
    let (tracker, script) = tracker();
    script.respond(200, r#"{"value":[]}"#).respond(200, r#"{"value":[]}"#).respond(200, "{}");
    let error = tracker.start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MissingLink);
    let next = Link::Next(format!("{BASE}/contacts?$skiptoken=1"));
    assert_eq!(tracker.follow(&next).await.unwrap_err().kind(), ErrorKind::MissingLink);
    assert_eq!(tracker.start().await.unwrap_err().kind(), ErrorKind::Decode, "a walk without `value` is no page");
}

#[tokio::test]
async fn an_expired_link_is_known_by_its_code_whatever_the_status() {
    for status in [400, 404, 410, 500, 503] {
        let (tracker, script) = tracker();
        script.respond(
            status,
            r#"{"error":{"code":"0x80044352","message":"Version stamp associated with the client has expired."}}"#,
        );
        let error = tracker.follow(&delta("1")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TokenExpired, "{status}");
        assert_eq!(error.status().unwrap().as_u16(), status);
        assert!(error.is_permanent());
        assert_eq!(script.count(), 1, "repeating does not help");
    }
}

#[tokio::test]
async fn a_link_that_is_refused_without_a_telling_reason_is_lost() {
    let unknown = r#"{"error":{"code":"0x80060888","message":"CANARY The delta token is not valid."}}"#;
    let segment = r#"{"error":{"code":"0x8006088a","message":"Resource not found for the segment 'x'."}}"#;
    for (status, body) in
        [(400, unknown), (400, ""), (404, ""), (404, segment), (405, ""), (410, ""), (412, ""), (422, "")]
    {
        for link in [delta("1"), Link::Next(format!("{BASE}/contacts?$skiptoken=1"))] {
            let (tracker, script) = tracker();
            script.respond(status, body);
            let error = tracker.follow(&link).await.unwrap_err();
            assert_eq!((error.kind(), error.status().unwrap().as_u16()), (ErrorKind::LinkRefused, status), "{body}");
            assert!(error.is_permanent() && error.remedy().contains("whole table"));
            assert!(!format!("{error} {error:?}").contains("CANARY"));
        }
    }
    let column = r#"{"error":{"code":"0x80060888","message":"Could not find a property named 'x' on type 'y'."}}"#;
    let off = r#"{"error":{"code":"0x80072491","message":"m"}}"#;
    let privilege = r#"{"error":{"code":"0x80040220","message":"m"}}"#;
    let busy = r#"{"error":{"code":"0x80044150","message":"m"}}"#;
    for (status, body, kind) in [
        (401, "", ErrorKind::Unauthorized),
        (403, "", ErrorKind::Forbidden),
        (403, privilege, ErrorKind::Forbidden),
        (408, "", ErrorKind::ServiceUnavailable),
        (429, "", ErrorKind::Throttled),
        (400, column, ErrorKind::UnknownColumn),
        (400, off, ErrorKind::TrackingOff),
        (400, busy, ErrorKind::ServiceUnavailable),
        (500, "", ErrorKind::ServiceUnavailable),
        (302, "", ErrorKind::Unexpected),
    ] {
        let (tracker, script) = tracker();
        script.handle(move |_| Ok(http_kit::testing::response(status, &[], body)));
        assert_eq!(tracker.follow(&delta("1")).await.unwrap_err().kind(), kind, "{status} {body}");
    }
    // Without a link there is nothing to be lost.
    let (tracker, script) = tracker();
    script.respond(400, "");
    assert_eq!(tracker.start().await.unwrap_err().kind(), ErrorKind::BadRequest);
}

#[tokio::test]
async fn a_table_without_tracking_is_named_as_such() {
    for (code, hint) in [("0x80072491", "Track changes"), ("0x80072492", "another table")] {
        let (tracker, script) = tracker();
        script.respond(
            400,
            format!(r#"{{"error":{{"code":"{code}","message":"Entity contact isn't enabled for change tracking."}}}}"#),
        );
        let error = tracker.start().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TrackingOff);
        assert!(error.remedy().contains(hint), "{}", error.remedy());
    }
}

#[tokio::test]
async fn links_of_another_origin_are_refused_also_from_a_store() {
    let (tracker, script) = tracker();
    for url in [
        "https://evil.example/api/data/v9.2/contacts?$deltatoken=1",
        "http://acme.crm4.dynamics.com/api/data/v9.2/contacts?$deltatoken=1",
        "https://acme.crm4.dynamics.com:444/api/data/v9.2/contacts?$deltatoken=1",
        "https://acme.crm4.dynamics.com@evil.example/?$deltatoken=1",
        "contacts?$deltatoken=1",
    ] {
        for link in [Link::Delta(url.into()), Link::Next(url.into())] {
            let stored = serde_json::to_string(&link).unwrap();
            let link: Link = serde_json::from_str(&stored).unwrap();
            assert_eq!(tracker.follow(&link).await.unwrap_err().kind(), ErrorKind::ForeignLink, "{url}");
        }
    }
    assert_eq!(script.count(), 0);
}

#[tokio::test]
async fn an_additional_origin_is_followed_when_it_is_allowed() {
    let mut config = support::config();
    config.allowed_origins = vec!["https://acme.api.crm4.dynamics.com/api/data".into()];
    let (client, script) = support::client_with(config);
    let tracker = client.changes(contact(), ["lastname"]).unwrap();
    script.respond(200, "{}");
    let link = Link::Delta("https://acme.api.crm4.dynamics.com/api/data/v9.2/contacts?$deltatoken=1".into());
    assert_eq!(tracker.follow(&link).await.unwrap().link, link);
}

#[tokio::test]
async fn a_page_that_points_to_itself_is_no_page() {
    let (tracker, script) = tracker();
    let next = Link::Next(format!("{BASE}/contacts?$skiptoken=1"));
    script.respond(200, format!(r#"{{"value":[],"@odata.nextLink":"{}"}}"#, next.as_str()));
    assert_eq!(tracker.follow(&next).await.unwrap_err().kind(), ErrorKind::Decode);
}

#[tokio::test]
async fn a_page_size_outside_of_the_services_range_is_brought_into_it() {
    for (wanted, sent) in [(0, 1), (5000, 5000), (9000, 5000)] {
        let (tracker, script) = tracker();
        script.respond(200, page_with_link());
        tracker.page_size(wanted).start().await.unwrap();
        let wish = format!("odata.track-changes,odata.maxpagesize={sent}");
        assert_eq!(header(&script.requests()[0], "prefer"), Some(wish.as_str()));
    }
}

fn page_with_link() -> String {
    format!(r#"{{"value":[],"@odata.deltaLink":"{}"}}"#, delta_url("1"))
}

#[test]
fn a_link_tells_the_columns_it_was_made_for() {
    let (tracker, _script) = tracker();
    let encoded = Link::Delta(format!("{BASE}/contacts?%24select=lastname%2Cfirstname&$deltatoken=1"));
    assert_eq!(encoded.columns().unwrap(), ["lastname", "firstname"]);
    assert!(tracker.fits(&encoded));
    assert!(tracker.fits(&delta("1")));
    assert!(tracker.fits(&Link::Delta(format!("{BASE}/contacts?$select=firstname,lastname,contactid&$deltatoken=1"))));
    assert!(tracker.fits(&Link::Delta(format!("{BASE}/contacts?$deltatoken=1"))), "a link that does not tell");
    assert!(!tracker.fits(&Link::Delta(format!("{BASE}/contacts?$select=firstname&$deltatoken=1"))));
    assert!(!tracker.fits(&Link::Delta(format!("{BASE}/contacts?$select=firstname,lastname,jobtitle&$deltatoken=1"))));
    assert_eq!(format!("{:?}", delta("1")), "Delta(..)");
}

#[test]
fn a_tracker_needs_columns_with_proper_names() {
    let (client, _script) = client();
    assert_eq!(client.changes(contact(), Vec::<&str>::new()).unwrap_err().kind(), ErrorKind::Validation);
    assert_eq!(client.changes(contact(), ["a&$top=1"]).unwrap_err().kind(), ErrorKind::Validation);
}

/// A page is read in one go where that is possible, and row by row where it is not; nobody can tell which.
#[test]
fn rows_are_the_same_however_a_page_is_laid_out() {
    let def = contact();
    let id = "0f8fad5b-d9cb-469f-a165-70867728950e";
    let rows = [
        format!(r#"{{"contactid":"{id}","lastname":"}} {{ \" ] , é"}}"#),
        format!("{{ \n\t \"contactid\" : \"{id}\" ,\r\n \"address1_city\" : null \n }}"),
        format!(r#"{{"a":{{"b":[1,{{"c":"}}"}}]}},"contactid":"{id}","z":[]}}"#),
        format!(r#"{{"l\u0061stname":"escaped","contactid":"{id}"}}"#),
        "{}".to_owned(),
        "{ }".to_owned(),
    ];
    // Each with and without the rows that cannot be read in place.
    for rows in [&rows[..3], &rows[..4], &rows[..]] {
        let body = format!(
            "{{\"value\" : [ {} ],\"@odata.deltaLink\":\"https://acme.crm4.dynamics.com/api/data/v9.2/contacts?d\"}}",
            rows.join(" , ")
        );
        let page = decode_changes(&def, body.as_bytes(), None).unwrap();
        assert_eq!(page.changes.len(), rows.len());
        for (found, text) in page.changes.iter().zip(rows) {
            let Changed::Upserted(found) = found else { panic!("{found:?}") };
            let wanted = DynamicEntity::parse(text, Some("contactid")).unwrap();
            assert_eq!(found.as_json(), text);
            assert_eq!(found.id(), wanted.id());
            assert_eq!(found.properties().collect::<Vec<_>>(), wanted.properties().collect::<Vec<_>>());
        }
    }
    let broken = format!(r#"{{"value":[{},{{"a":}}],"@odata.deltaLink":"x"}}"#, rows[0]);
    assert_eq!(decode_changes(&def, broken.as_bytes(), None).unwrap_err().kind(), ErrorKind::Decode);
}
