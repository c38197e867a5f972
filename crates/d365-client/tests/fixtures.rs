//! Payloads that nobody of this project wrote: recorded answers of the service, and the blocks of its documentation.
//! Every one is decoded and encoded again without loss, the parts of batches and the bodies of requests included. Sources: `fixtures/SOURCES.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by a panic, also in what it shares"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use d365_client::metadata::{AttributeType, decode_attributes, decode_table};
use d365_client::{
    Changed, DynamicEntity, EntityDef, Error, Reference, WhoAmI, decode_changes, decode_page, decode_references,
};
use http_kit::StatusCode;
use serde_json::value::RawValue;

/// JSON compared with numbers as text and members in any order, so that nothing can hide behind a float.
#[derive(Debug, PartialEq)]
enum Exact {
    Scalar(String),
    List(Vec<Exact>),
    Object(BTreeMap<String, Exact>),
}

fn exact(text: &str) -> Exact {
    let text = text.trim();
    if text.starts_with('{') {
        let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text).unwrap();
        Exact::Object(members.into_iter().map(|(name, value)| (name, exact(value.get()))).collect())
    } else if text.starts_with('[') {
        let members: Vec<Box<RawValue>> = serde_json::from_str(text).unwrap();
        Exact::List(members.iter().map(|value| exact(value.get())).collect())
    } else if text.starts_with('"') {
        Exact::Scalar(format!("s:{}", serde_json::from_str::<String>(text).unwrap()))
    } else {
        Exact::Scalar(text.to_owned())
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
    found.sort();
}

fn table(set: &str) -> Arc<EntityDef> {
    let (logical, set, id) = match set {
        "accounts" => ("account", "accounts", "accountid"),
        "tasks" => ("task", "tasks", "activityid"),
        "mailboxes" => ("mailbox", "mailboxes", "mailboxid"),
        "businessunits" => ("businessunit", "businessunits", "businessunitid"),
        _ => ("contact", "contacts", "contactid"),
    };
    EntityDef::new(logical, set, id).unwrap().shared()
}

/// The set that `@odata.context` names: `…$metadata#contacts(name)/$entity` gives `contacts`.
fn set_of(json: &str) -> String {
    let row: DynamicEntity = serde_json::from_str(json).unwrap();
    let context = row.text("@odata.context").unwrap().unwrap_or_default().into_owned();
    let rest = context.split_once("$metadata#").map(|(_, rest)| rest.to_owned()).unwrap_or_default();
    rest.split(['(', '/']).next().unwrap_or_default().to_owned()
}

/// Decodes one row and encodes it again; returns the number of its properties.
fn round_trip(json: &str, set: &str) -> usize {
    let row = DynamicEntity::parse(json, Some(table(set).primary_id())).unwrap();
    let again = serde_json::to_string(&row).unwrap();
    assert_eq!(exact(&again), exact(json));
    let Exact::Object(members) = exact(json) else { panic!("a row is an object") };
    assert_eq!(row.properties().count(), members.len());
    for (name, value) in &members {
        assert_eq!(&exact(row.raw_text(name).unwrap()), value, "{name}");
        assert_eq!(row.get_raw(name).unwrap().get(), row.raw_text(name).unwrap());
    }
    let mut parts = Vec::new();
    for (name, text) in row.properties() {
        parts.push(format!("{}:{text}", serde_json::to_string(name).unwrap()));
    }
    assert_eq!(exact(&format!("{{{}}}", parts.join(","))), exact(json), "the properties are the whole row");
    members.len()
}

/// Decodes a collection, checks each row against the raw text, and returns their number.
fn collection(json: &str, set: &str) -> usize {
    let page = decode_page::<DynamicEntity>(&table(set), json.as_bytes()).unwrap();
    let Exact::Object(mut members) = exact(json) else { panic!("a collection is an object") };
    let Some(Exact::List(rows)) = members.remove("value") else { panic!("a collection has a value") };
    assert_eq!(page.items.len(), rows.len());
    for (item, row) in page.items.iter().zip(&rows) {
        assert_eq!(&exact(&serde_json::to_string(item).unwrap()), row);
        round_trip(item.as_json(), set);
    }
    let text = |link: &str| Exact::Scalar(format!("s:{link}"));
    assert_eq!(page.next.as_deref().map(text).as_ref(), members.get("@odata.nextLink"));
    assert_eq!(page.count.map(|count| Exact::Scalar(count.to_string())).as_ref(), members.get("@odata.count"));
    rows.len()
}

/// Decodes references and encodes them again.
fn references(json: &str) -> Vec<Reference> {
    let references = decode_references(json.as_bytes()).unwrap();
    let Exact::Object(mut members) = exact(json) else { panic!("references are an object") };
    assert_eq!(Some(exact(&serde_json::to_string(&references).unwrap())), members.remove("value"));
    assert!(members.keys().all(|name| name == "@odata.context"), "{members:?}");
    references
}

/// Decodes the answer of `WhoAmI` and writes its members again.
fn who(json: &str) -> WhoAmI {
    let who = WhoAmI::decode(json.as_bytes()).unwrap();
    let Exact::Object(mut members) = exact(json) else { panic!("the answer is an object") };
    members.remove("@odata.context");
    let again = serde_json::json!({
        "UserId": who.user_id, "BusinessUnitId": who.business_unit_id, "OrganizationId": who.organization_id,
    });
    assert_eq!(exact(&again.to_string()), Exact::Object(members));
    who
}

#[test]
fn every_recorded_answer_is_decoded_and_encoded_again() {
    let mut found = Vec::new();
    files(&root().join("dataverse-recorded"), &mut found);
    let mut covered: BTreeMap<&str, usize> = BTreeMap::new();
    let mut widest = 0;
    for path in &found {
        let json = std::fs::read_to_string(path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let set = set_of(&json);
        let kind = if name == "get_whoami.json" {
            let who = who(&json);
            assert_eq!(who.user_id.as_u128(), 2);
            assert_eq!(who.organization_id.as_u128(), 1);
            "WhoAmI"
        } else if name.ends_with("_attributes.json") {
            let attributes = decode_attributes(json.as_bytes()).unwrap();
            assert_eq!(attributes.len(), if name.contains("mailbox") { 140 } else { 92 });
            assert!(attributes.iter().any(|attribute| attribute.kind == AttributeType::Choice));
            assert!(attributes.iter().any(|attribute| attribute.kind == AttributeType::Lookup));
            collection(&json, &set);
            "attributes"
        } else if name.contains("entitydefinition") {
            let definition = decode_table(json.as_bytes()).unwrap();
            assert!(["account", "contact", "mailbox", "businessunit"].contains(&definition.logical_name()), "{name}");
            assert!(definition.change_tracking() && definition.optimistic_concurrency());
            assert!(
                definition.entity_set().starts_with(definition.logical_name()) && definition.primary_name().is_some()
            );
            assert_eq!(definition.primary_id(), format!("{}id", definition.logical_name()));
            round_trip(&json, &set);
            "definition"
        } else if json.contains("Collection($ref)") {
            let references = references(&json);
            assert!(!references.is_empty());
            assert!(references.iter().all(|reference| reference.id().is_some()));
            "references"
        } else if json.contains("\"value\": [") {
            assert!(collection(&json, &set) > 0);
            "collection"
        } else {
            widest = widest.max(round_trip(&json, &set));
            let row = DynamicEntity::parse(&json, Some(table(&set).primary_id())).unwrap();
            assert!(row.etag().unwrap().as_str().starts_with("W/\""));
            // The recording of the mailbox had its identifier replaced by a text that is no GUID.
            assert_eq!(row.id().is_none(), name.contains("mailbox"), "{name}");
            "row"
        };
        *covered.entry(kind).or_default() += 1;
    }
    assert_eq!(covered.values().sum::<usize>(), found.len());
    let expected =
        [("WhoAmI", 1), ("attributes", 2), ("collection", 3), ("definition", 4), ("references", 3), ("row", 11)];
    assert_eq!(covered.into_iter().collect::<Vec<_>>(), expected);
    assert!(widest > 200, "rows of more than 200 columns are among them: {widest}");
}

#[test]
fn numbers_of_a_recorded_row_keep_their_digits() {
    let path =
        "dataverse-recorded/data_record/resource/Validate_Create/get_contact_00000000-0000-0000-0000-000000000010.json";
    let json = std::fs::read_to_string(root().join(path)).unwrap();
    let row = DynamicEntity::parse(&json, Some("contactid")).unwrap();
    assert_eq!(row.decimal("annualincome").unwrap().unwrap().to_string(), "1234.5600000000");
    assert_eq!(row.raw_text("exchangerate"), Some("1.000000000000"));
    assert_eq!(row.integer("versionnumber").unwrap(), Some(2_264_386));
    assert_eq!(row.date("birthdate").unwrap().unwrap().to_string(), "2024-04-10");
    assert_eq!(row.date_time("createdon").unwrap().unwrap().to_rfc3339(), "2024-06-12T14:13:17+00:00");
    assert_eq!(row.boolean("followemail").unwrap(), Some(true));
    assert_eq!(row.guid("_parentcustomerid_value").unwrap().unwrap().as_u128(), 0x20);
    assert_eq!(row.text("middlename").unwrap(), None);
    assert_eq!(
        row.text("description").unwrap().unwrap(),
        "This is the description of the the terraform \n\nsample contact"
    );
}

/// Blocks of the documentation that hold no decodable answer, each with the reason.
const PLACEHOLDERS: [(&str, usize, &str); 8] = [
    ("query-metadata-web-api.json", 9, "the text 'Additional options removed for brevity' stands inside the JSON"),
    ("query-metadata-web-api.json", 11, "the text 'Additional options removed for brevity' stands inside the JSON"),
    ("use-postman-perform-operations.json", 2, "doubled opening brace"),
    ("web-api-functions-actions-sample.json", 0, "a JavaScript object literal"),
    ("web-api-functions-actions-sample.json", 1, "a JavaScript object literal"),
    ("web-api-functions-actions-sample.json", 2, "a JavaScript object literal"),
    ("web-api-functions-actions-sample.json", 3, "a JavaScript object literal"),
    ("web-api-types-operations.json", 0, "a URL template"),
];

#[derive(serde::Deserialize)]
struct Documented {
    blocks: Vec<Block>,
}

#[derive(serde::Deserialize)]
struct Block {
    kind: String,
    text: String,
}

/// The JSON of a block: all of it, or what follows the head of the answer up to the last brace.
fn json_of(text: &str) -> Option<&str> {
    let text = text.trim();
    if text.starts_with('{') {
        return Some(text);
    }
    let start = text.lines().scan(0, |at, line| {
        let start = *at;
        *at += line.len() + 1;
        Some((start, line))
    });
    let (start, _) = start.into_iter().find(|(_, line)| line.trim_start().starts_with('{'))?;
    Some(text[start..].trim())
}

fn status_of(text: &str) -> Option<StatusCode> {
    text.trim().strip_prefix("HTTP/1.1 ")?.split_whitespace().next()?.parse().ok()
}

#[test]
fn every_documented_answer_is_decoded() {
    let mut found = Vec::new();
    files(&root().join("dataverse-documented"), &mut found);
    assert_eq!(found.len(), 29);
    let mut covered: BTreeMap<&str, usize> = BTreeMap::new();
    let mut in_batches: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut placeholders, mut bodies) = (0, 0);
    for path in &found {
        let name = path.file_name().unwrap().to_str().unwrap();
        let page: Documented = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(!page.blocks.is_empty(), "{name}");
        for (at, block) in page.blocks.iter().enumerate() {
            let kind = match block.kind.as_str() {
                _ if block.text.contains("--batch") => {
                    batch(&block.text, &format!("{name} {at}"), &mut in_batches);
                    "batch"
                }
                "request" | "xml" => {
                    bodies += body_of_request(&block.text, &format!("{name} {at}"));
                    "request or XML"
                }
                _ if PLACEHOLDERS.iter().any(|(file, index, _)| (*file, *index) == (name, at)) => {
                    assert!(
                        json_of(&block.text)
                            .is_none_or(|json| serde_json::from_str::<serde_json::Value>(json).is_err())
                    );
                    placeholders += 1;
                    "placeholder"
                }
                _ => match json_of(&block.text) {
                    // Some answers are shortened by an ellipsis after their last member.
                    Some(json) => answer(&json.replace(", . . .", ""), status_of(&block.text), &format!("{name} {at}")),
                    None => without_json(&block.text, &format!("{name} {at}")),
                },
            };
            *covered.entry(kind).or_default() += 1;
        }
    }
    assert_eq!(placeholders, PLACEHOLDERS.len(), "a listed placeholder is gone or decodes now");
    assert_eq!(bodies, 52, "bodies of requests");
    let in_batches: Vec<_> = in_batches.into_iter().collect();
    assert_eq!(in_batches, IN_BATCHES);
    insist(&covered);
}

/// The members of all batches, by kind.
const IN_BATCHES: [(&str, usize); 4] =
    [("collection", 2), ("no JSON", 13), ("request", 3), ("request with a body", 13)];

/// Decodes the members of a batch, requests and answers, each by the decoder it belongs to.
fn batch(text: &str, place: &str, covered: &mut BTreeMap<&'static str, usize>) {
    let mut members = vec![String::new()];
    for line in text.lines() {
        if line.starts_with("--") {
            members.push(String::new());
        } else if let Some(member) = members.last_mut() {
            member.push_str(line);
            member.push('\n');
        }
    }
    // What stands before the first boundary is the head of the batch itself.
    for member in members.iter().skip(1) {
        let Some((_, message)) = member.split_once("\n\n") else { continue };
        let message = message.trim();
        let kind = match (message.is_empty(), message.starts_with("HTTP/1.1"), json_of(message)) {
            (true, _, _) => continue,
            (_, true, Some(json)) => answer(json, status_of(message), place),
            (_, true, None) => without_json(message, place),
            (_, false, Some(json)) => {
                round_trip(json, "");
                "request with a body"
            }
            (_, false, None) => "request",
        };
        *covered.entry(kind).or_default() += 1;
    }
}

/// Decodes the JSON body of a request as a row; returns how many there were.
fn body_of_request(text: &str, place: &str) -> usize {
    let Some(json) = json_of(text) else { return 0 };
    let mut bodies = serde_json::Deserializer::from_str(json).into_iter::<Box<RawValue>>();
    let body = bodies.next().unwrap().unwrap_or_else(|error| panic!("{place}: {error}"));
    // The documentation has one closing brace too many in this place.
    let superfluous = if place == "create-entity-web-api.json 8" { "}" } else { "" };
    assert_eq!(json[bodies.byte_offset()..].trim(), superfluous, "{place}");
    round_trip(body.get(), "");
    1
}

fn insist(covered: &BTreeMap<&str, usize>) {
    let count = |kind: &str| covered.get(kind).copied().unwrap_or_default();
    let kinds =
        "batch, changes, collection, definitions, error, no JSON, references, request or XML, row, WhoAmI, placeholder";
    assert!(covered.keys().all(|kind| kinds.contains(kind)), "{covered:?}");
    assert_eq!(count("changes"), 2, "{covered:?}");
    assert_eq!(count("WhoAmI"), 2, "{covered:?}");
    assert_eq!((count("batch"), count("references")), (13, 1), "{covered:?}");
    assert!(
        count("error") >= 12 && count("collection") >= 25 && count("row") >= 30 && count("definitions") >= 2,
        "{covered:?}"
    );
    assert_eq!(covered.values().sum::<usize>(), TOTAL, "{covered:?}");
}

/// All blocks of all pages.
const TOTAL: usize = 371;

/// Decodes an answer by the decoder it belongs to.
fn answer(json: &str, status: Option<StatusCode>, place: &str) -> &'static str {
    let value: serde_json::Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{place}: {error}"));
    let context = value["@odata.context"].as_str().unwrap_or_default();
    if value["error"].is_object() {
        let status = status.unwrap_or(StatusCode::BAD_REQUEST);
        let error = Error::from_answer(status, json.as_bytes());
        assert_eq!(error.server_message(), value["error"]["message"].as_str(), "{place}");
        let code = value["error"]["code"].as_str().unwrap().to_ascii_lowercase();
        let shown = error.code().map(|code| format!("{code:#010x}"));
        assert_eq!(shown, code.starts_with("0x8").then_some(code), "{place}");
        let expected: &[&str] = match status.as_u16() {
            404 => &["NotFound"],
            412 => &["PreconditionFailed"],
            500 => &["Duplicate", "ServiceUnavailable"],
            _ => &["BadRequest"],
        };
        assert!(expected.contains(&format!("{:?}", error.kind()).as_str()), "{place}: {error}");
        return "error";
    }
    let set = set_of(json);
    if context.ends_with("WhoAmIResponse") {
        assert!(!who(json).user_id.is_nil(), "{place}");
        "WhoAmI"
    } else if context.ends_with("Collection($ref)") {
        references(json);
        "references"
    } else if value["@odata.deltaLink"].is_string() {
        changes(json, &value);
        "changes"
    } else if context.contains("AttributeMetadata") {
        let attributes = decode_attributes(json.as_bytes()).unwrap();
        let choices = attributes[0].choices.as_ref().unwrap();
        assert!(choices.options.len() > 1 && choices.label(1, None).is_some(), "{place}");
        round_trip(json, &set);
        "definitions"
    } else if value["value"].is_array() {
        collection(json, &set);
        "collection"
    } else {
        round_trip(json, &set);
        "row"
    }
}

fn changes(json: &str, value: &serde_json::Value) {
    let page = decode_changes(&table("accounts"), json.as_bytes(), None).unwrap();
    assert_eq!(page.link.as_str(), value["@odata.deltaLink"].as_str().unwrap());
    assert!(page.link.is_delta());
    let Exact::Object(mut members) = exact(json) else { panic!("changes are an object") };
    let Some(Exact::List(rows)) = members.remove("value") else { panic!("changes have a value") };
    assert_eq!(page.changes.len(), rows.len());
    for (change, row) in page.changes.iter().zip(rows) {
        match change {
            Changed::Upserted(entity) => {
                assert_eq!(exact(&serde_json::to_string(entity).unwrap()), row);
                round_trip(entity.as_json(), "accounts");
                assert_eq!(Some(entity.id().unwrap().to_string()), entity.text("accountid").unwrap().map(Into::into));
            }
            Changed::Deleted { id, reason } => {
                let Exact::Object(mut members) = row else { panic!("a deletion is an object") };
                members.remove("@odata.context");
                let again = serde_json::json!({"id": id, "reason": reason});
                assert_eq!(exact(&again.to_string()), Exact::Object(members));
            }
        }
    }
}

/// Answers without a JSON body: their status says it all, or the body is a plain text.
fn without_json(text: &str, place: &str) -> &'static str {
    match status_of(text) {
        Some(status) => assert!(matches!(status.as_u16(), 200 | 204 | 304), "{place}: {status}"),
        None => assert!(!text.contains('{'), "{place}"),
    }
    "no JSON"
}
