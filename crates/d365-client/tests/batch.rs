//! Batches over the wire and back: the published examples, and texts that look like boundaries.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic, also in what it shares")]

use bytes::Bytes;
use d365_client::odata::EntityKey;
use d365_client::{
    Batch, BatchRequest, ChangeSet, Delivery, ETag, EntityBody, ErrorKind, Expect, MAX_BATCH, Outcome, PartOutcome,
    Precondition, SetOutcome, decode_batch, encode_batch,
};
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

const ID: Uuid = Uuid::from_u128(0xcccc_cccc_0000_0000_0000_0000_0000_0001);

fn key() -> EntityKey {
    EntityKey::id(ID)
}

fn get() -> BatchRequest {
    BatchRequest::get("contacts", &key(), ["fullname"]).unwrap()
}

fn set() -> ChangeSet {
    let mut set = ChangeSet::new();
    let contact = set.push(BatchRequest::create("contacts", &json!({"lastname": "Byron"})).unwrap()).unwrap();
    let task =
        EntityBody::new().set("subject", "x").unwrap().bind_to("regardingobjectid_contact_task", contact).unwrap();
    set.push(BatchRequest::create("tasks", &task).unwrap()).unwrap();
    set
}

/// A read and a change set, as in the documentation's example.
fn example() -> Batch {
    let mut batch = Batch::new();
    batch.push(get()).unwrap();
    batch.push_set(set()).unwrap();
    batch
}

#[test]
fn the_published_request_is_written() {
    let encoded = encode_batch(&example());
    assert_eq!(encoded.content_type, "multipart/mixed; boundary=\"batch_0\"");
    let expected = [
        "--batch_0",
        "Content-Type: application/http",
        "Content-Transfer-Encoding: binary",
        "",
        "GET /api/data/v9.2/contacts(cccccccc-0000-0000-0000-000000000001)?$select=fullname HTTP/1.1",
        "Accept: application/json",
        "OData-MaxVersion: 4.0",
        "OData-Version: 4.0",
        "if-none-match: null",
        "",
        "",
        "--batch_0",
        "Content-Type: multipart/mixed; boundary=\"changeset_0_0001\"",
        "",
        "--changeset_0_0001",
        "Content-Type: application/http",
        "Content-Transfer-Encoding: binary",
        "Content-ID: 1",
        "",
        "POST /api/data/v9.2/contacts HTTP/1.1",
        "Accept: application/json",
        "OData-MaxVersion: 4.0",
        "OData-Version: 4.0",
        "Content-Type: application/json; type=entry",
        "",
        r#"{"lastname":"Byron"}"#,
        "--changeset_0_0001",
        "Content-Type: application/http",
        "Content-Transfer-Encoding: binary",
        "Content-ID: 2",
        "",
        "POST /api/data/v9.2/tasks HTTP/1.1",
        "Accept: application/json",
        "OData-MaxVersion: 4.0",
        "OData-Version: 4.0",
        "Content-Type: application/json; type=entry",
        "",
        r#"{"subject":"x","regardingobjectid_contact_task@odata.bind":"$1"}"#,
        "--changeset_0_0001--",
        "--batch_0--",
        "",
    ];
    assert_eq!(std::str::from_utf8(&encoded.body).unwrap(), expected.join("\r\n"));
}

#[test]
fn conditions_travel_with_each_request() {
    let body = json!({});
    let version = ETag::new("W/\"7\"").unwrap();
    let lines = |request: BatchRequest| {
        let mut batch = Batch::new();
        batch.push(request).unwrap();
        String::from_utf8(encode_batch(&batch).body.to_vec()).unwrap()
    };
    let any = lines(BatchRequest::update("contacts", &key(), &body, &Expect::Any).unwrap());
    assert!(any.contains("\r\nif-match: *\r\n") && any.contains("PATCH /api/data/v9.2/contacts("));
    let one = lines(BatchRequest::delete("contacts", &key(), &Expect::Version(version)).unwrap());
    assert!(one.contains("\r\nif-match: W/\"7\"\r\n") && one.contains("DELETE /api/data/v9.2/contacts("));
    let new = lines(BatchRequest::upsert("contacts", &key(), &body, &Precondition::IfNoneMatch).unwrap());
    assert!(new.contains("\r\nif-none-match: *\r\n"));
    let shown = BatchRequest::create("contacts", &body).unwrap().returning(["contactid"]).unwrap();
    let shown = lines(shown);
    assert!(shown.contains("POST /api/data/v9.2/contacts?$select=contactid HTTP/1.1"));
    assert!(shown.contains("\r\nprefer: return=representation\r\n"));
}

#[test]
fn a_batch_keeps_to_the_rules_of_the_service() {
    let delete = || BatchRequest::delete("contacts", &key(), &Expect::Any).unwrap();
    let mut batch = Batch::new();
    for _ in 0..MAX_BATCH - 2 {
        batch.push(delete()).unwrap();
    }
    batch.push_set(set()).unwrap();
    assert_eq!(batch.requests(), MAX_BATCH);
    assert_eq!(batch.push(delete()).unwrap_err().kind(), ErrorKind::Validation);
    let mut set = ChangeSet::new();
    assert!(set.push(get()).is_err(), "no read in a change set");
    let first = set.push(delete()).unwrap();
    set.push(BatchRequest::update_written(first, &json!({})).unwrap()).unwrap();
    assert!(ChangeSet::new().push(BatchRequest::update_written(first, &json!({})).unwrap()).is_err());
    assert!(Batch::new().push(BatchRequest::update_written(first, &json!({})).unwrap()).is_err());
    assert!(Batch::new().push_set(ChangeSet::new()).is_err());
    assert!(BatchRequest::create("contacts", &[f64::NAN]).is_err());
    assert!(BatchRequest::create("con/tacts", &json!({})).is_err());
}

fn part(head: &str, status: &str, headers: &str, body: &str) -> String {
    format!(
        "{head}Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nHTTP/1.1 {status}\r\n{headers}OData-Version: 4.0\r\n\r\n{body}\r\n"
    )
}

const ROW: &str = r#"{"@odata.etag":"W/\"1\"","contactid":"cccccccc-0000-0000-0000-000000000001","fullname":"Ada"}"#;

/// The answer of the documentation's example.
fn answered() -> String {
    let ok =
        part("--batchresponse_6cb4\r\n", "200 OK", "Content-Type: application/json; odata.metadata=minimal\r\n", ROW);
    let made = |id: u32, set: &str| {
        let url = format!("https://acme.crm4.dynamics.com/api/data/v9.2/{set}({ID})");
        let headers = format!("Content-ID: {id}\r\n");
        let location = format!("Location: {url}\r\nOData-EntityId: {url}\r\n");
        part("--changesetresponse_9a01\r\n", "204 No Content", &location, "").replacen(
            "Content-Type: application/http\r\n",
            &format!("Content-Type: application/http\r\n{headers}"),
            1,
        )
    };
    format!(
        "{ok}--batchresponse_6cb4\r\nContent-Type: multipart/mixed; boundary=changesetresponse_9a01\r\n\r\n{}{}--changesetresponse_9a01--\r\n--batchresponse_6cb4--\r\n",
        made(1, "contacts"),
        made(2, "tasks")
    )
}

const KIND: &str = "multipart/mixed; boundary=batchresponse_6cb4";

#[test]
fn the_published_answer_is_read() {
    let plain = answered();
    for (kind, text) in [
        (KIND.to_owned(), plain.clone()),
        ("Multipart/Mixed; charset=utf-8; Boundary=\"batchresponse_6cb4\"".to_owned(), plain.clone()),
        (KIND.to_owned(), format!("preamble\r\n{plain}epilogue")),
        (KIND.to_owned(), plain.replace("\r\n", "\n")),
    ] {
        let outcomes = decode_batch(&example(), &kind, &Bytes::from(text)).unwrap();
        let [Outcome::Single(PartOutcome::Done(read)), Outcome::Set(SetOutcome::Done(written))] = outcomes.as_slice()
        else {
            panic!("{outcomes:?}")
        };
        assert_eq!((read.status.as_u16(), read.body.as_ref()), (200, ROW.as_bytes()));
        assert_eq!(written.iter().map(d365_client::PartAnswer::id).collect::<Vec<_>>(), [Some(ID), Some(ID)]);
    }
}

fn refused(status: &str, code: &str, more: &str) -> String {
    let body = format!(r#"{{"error":{{"code":"{code}","message":"m"}}}}"#);
    part("--batchresponse_6cb4\r\n", status, &format!("REQ_ID: 4711\r\n{more}"), &body)
}

fn three(goes_on: bool) -> Batch {
    let mut batch = if goes_on { Batch::new().continue_on_error() } else { Batch::new() };
    batch.push(get()).unwrap();
    batch.push_set(set()).unwrap();
    batch.push(get()).unwrap();
    batch
}

#[test]
fn what_follows_a_failure_was_not_executed() {
    let stopped = format!("{}--batchresponse_6cb4--\r\n", refused("404 Not Found", "0x80040217", ""));
    let outcomes = decode_batch(&three(false), KIND, &Bytes::from(stopped.clone())).unwrap();
    let [
        Outcome::Single(PartOutcome::Refused(error)),
        Outcome::Set(SetOutcome::NotExecuted),
        Outcome::Single(PartOutcome::NotExecuted),
    ] = outcomes.as_slice()
    else {
        panic!("{outcomes:?}")
    };
    assert_eq!(
        (error.kind(), error.request_id(), error.delivery()),
        (ErrorKind::NotFound, Some("4711"), Delivery::Refused)
    );
    // Who asked to go on is owed every answer.
    assert_eq!(decode_batch(&three(true), KIND, &Bytes::from(stopped)).unwrap_err().kind(), ErrorKind::Decode);
}

#[test]
fn a_throttled_part_stands_apart_from_the_batch() {
    let throttled = refused("429 Too Many Requests", "0x80072322", "Retry-After: 27\r\n");
    let set = refused("412 Precondition Failed", "0x80040237", "");
    let inner = set.replace("batchresponse_6cb4", "c");
    let wrapped = format!("--batchresponse_6cb4\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n{inner}--c--\r\n");
    let last = part("--batchresponse_6cb4\r\n", "200 OK", "", ROW);
    for middle in [wrapped, set] {
        let text = format!("{throttled}{middle}{last}--batchresponse_6cb4--\r\n");
        let outcomes = decode_batch(&three(true), KIND, &Bytes::from(text)).unwrap();
        let [
            Outcome::Single(PartOutcome::Refused(slow)),
            Outcome::Set(SetOutcome::Refused(all)),
            Outcome::Single(PartOutcome::Done(_)),
        ] = outcomes.as_slice()
        else {
            panic!("{outcomes:?}")
        };
        assert_eq!((slow.kind(), slow.retry_after().unwrap().as_secs()), (ErrorKind::Throttled, 27));
        assert_eq!(all.kind(), ErrorKind::Duplicate);
    }
}

#[test]
fn answers_that_do_not_fit_are_no_answers() {
    let whole = answered();
    for cut in (0..whole.len() - "--batchresponse_6cb4--\r\n".len()).step_by(7) {
        let error = decode_batch(&example(), KIND, &Bytes::from(whole[..cut].to_owned())).unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Decode, Delivery::MaybeApplied), "{cut}");
    }
    let body = Bytes::from(whole.clone());
    for kind in ["multipart/mixed", "multipart/mixed; boundary=", "multipart/mixed; boundary=other"] {
        assert_eq!(decode_batch(&example(), kind, &body).unwrap_err().kind(), ErrorKind::Decode);
    }
    let mut one = Batch::new();
    one.push(get()).unwrap();
    assert_eq!(decode_batch(&one, KIND, &body).unwrap_err().kind(), ErrorKind::Decode, "more answers than requests");
    let missing = format!("{}--batchresponse_6cb4--\r\n", part("--batchresponse_6cb4\r\n", "200 OK", "", ROW));
    let error = decode_batch(&example(), KIND, &Bytes::from(missing)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode, "a success does not stop a batch");
}

/// Texts that could pass for parts of a batch.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        "[a-z0-9_ \\-]{0,8}",
        (0_u32..5).prop_map(|n| format!("batch_{n}")),
        (0_u32..3).prop_map(|n| format!("\r\n--batch_{n}--\r\n")),
        (0_u32..3).prop_map(|n| format!("changeset_{n}_0000")),
        Just("\r\n\r\nHTTP/1.1 200 OK\r\n\r\n".to_owned()),
        Just("\"\\\u{0}\u{2028}é".to_owned()),
    ];
    prop::collection::vec(pieces, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_of_a_row_passes_for_a_boundary(texts in prop::collection::vec(hostile(), 1..20)) {
        let mut batch = Batch::new();
        for text in &texts {
            batch.push(BatchRequest::create("contacts", &json!({"description": text})).unwrap()).unwrap();
        }
        let encoded = encode_batch(&batch);
        let boundary = encoded.content_type.split('"').nth(1).unwrap().to_owned();
        let body = std::str::from_utf8(&encoded.body).unwrap();
        let parts: Vec<&str> = body.split(&format!("--{boundary}")).collect();
        prop_assert_eq!(parts.len(), texts.len() + 2);
        for (part, text) in parts[1..].iter().zip(&texts) {
            let (_, json) = part.trim_end_matches("\r\n").rsplit_once("\r\n\r\n").unwrap();
            let read: serde_json::Value = serde_json::from_str(json).unwrap();
            prop_assert_eq!(&read["description"], text);
        }
    }

    #[test]
    fn bodies_of_answers_come_back_as_they_were(texts in prop::collection::vec(hostile(), 1..20)) {
        let mut batch = Batch::new().continue_on_error();
        let mut answer = String::new();
        for text in &texts {
            batch.push(get()).unwrap();
            answer.push_str(&part("--b\r\n", "200 OK", "", &json!({"description": text}).to_string()));
        }
        answer.push_str("--b--\r\n");
        let outcomes = decode_batch(&batch, "multipart/mixed; boundary=b", &Bytes::from(answer)).unwrap();
        for (outcome, text) in outcomes.iter().zip(&texts) {
            let Outcome::Single(PartOutcome::Done(done)) = outcome else { panic!("{outcome:?}") };
            let read: serde_json::Value = serde_json::from_slice(&done.body).unwrap();
            prop_assert_eq!(&read["description"], text);
        }
    }

    #[test]
    fn no_answer_makes_the_reader_panic(text in hostile(), cut in 0_usize..400, splice in any::<Vec<u8>>()) {
        let mut bytes = answered().into_bytes();
        let at = cut.min(bytes.len());
        bytes.splice(at..at, text.bytes().chain(splice));
        let _ = decode_batch(&example(), KIND, &Bytes::from(bytes));
    }
}
