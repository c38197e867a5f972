//! Reading and writing rows: the exact requests, and what answers become.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by a panic, also in what it shares"
)]

mod support;

use d365_client::odata::{Column, Direction, EntityKey, Name, Query};
use d365_client::{
    Delivery, DynamicEntity, ETag, Entity, EntityApi, EntityBody, ErrorKind, Expect, Guarded, Precondition,
};
use futures::TryStreamExt as _;
use http_kit::TransportErrorKind;
use http_kit::testing::ScriptedTransport;
use serde::{Deserialize, Serialize};
use support::{BASE, body, client, contact, header, line};
use uuid::Uuid;

const ID: Uuid = Uuid::from_u128(0xcccc_cccc_0000_0000_0000_0000_0000_0001);
const ID_TEXT: &str = "cccccccc-0000-0000-0000-000000000001";

#[derive(Debug, Deserialize, Serialize, PartialEq)]
struct Contact {
    #[serde(skip_serializing_if = "Option::is_none")]
    contactid: Option<Uuid>,
    lastname: Option<String>,
}

impl Entity for Contact {
    type Def = ();

    fn logical_name(_: &()) -> &str {
        "contact"
    }

    fn entity_set(_: &()) -> &str {
        "contacts"
    }

    fn primary_id(_: &()) -> &str {
        "contactid"
    }

    fn columns(_: &()) -> &[&'static str] {
        &["contactid", "lastname"]
    }

    fn decode(_: &(), text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

fn typed() -> (EntityApi<Contact>, ScriptedTransport) {
    let (client, script) = client();
    (client.entity(), script)
}

fn dynamic() -> (EntityApi<DynamicEntity>, ScriptedTransport) {
    let (client, script) = client();
    (client.entity_with(contact()), script)
}

fn names(columns: &[&'static str]) -> Vec<Name> {
    columns.iter().map(|column| Name::new(*column).unwrap()).collect()
}

#[tokio::test]
async fn a_row_is_retrieved_by_id_with_the_standard_headers() {
    let (api, script) = typed();
    script.respond(200, format!(r#"{{"@odata.etag":"W/\"1\"","contactid":"{ID_TEXT}","lastname":"Byron"}}"#));
    let row = api.retrieve(ID, &[]).await.unwrap();
    assert_eq!(row, Contact { contactid: Some(ID), lastname: Some("Byron".into()) });
    let requests = script.requests();
    assert_eq!(line(&requests[0]), format!("GET {BASE}/contacts({ID_TEXT})?$select=contactid,lastname"));
    for (name, value) in [
        ("accept", "application/json"),
        ("odata-maxversion", "4.0"),
        ("odata-version", "4.0"),
        ("if-none-match", "null"),
        ("authorization", "Bearer canary-token"),
    ] {
        assert_eq!(header(&requests[0], name), Some(value), "{name}");
    }
    assert_eq!(header(&requests[0], "prefer"), None);
    assert_eq!(header(&requests[0], "content-type"), None);
}

#[tokio::test]
async fn a_row_is_retrieved_by_alternate_key_and_keeps_every_property() {
    let (api, script) = dynamic();
    let text =
        format!(r#"{{"@odata.etag":"W/\"7\"","annualincome":1234.5600000000,"x@y":"z","contactid":"{ID_TEXT}"}}"#);
    script.respond(200, text.clone());
    let row = api.retrieve(EntityKey::by("employeeid", "O'B 1").unwrap(), &names(&["annualincome"])).await.unwrap();
    assert_eq!(line(&script.requests()[0]), format!("GET {BASE}/contacts(employeeid='O''B%201')?$select=annualincome"));
    assert_eq!(row.id(), Some(ID));
    assert_eq!(row.etag().unwrap().as_str(), "W/\"7\"");
    assert_eq!(row.as_json(), text);
}

#[tokio::test]
async fn an_unchanged_row_is_not_sent_again() {
    let (api, script) = dynamic();
    script.respond(304, "").respond(200, format!(r#"{{"contactid":"{ID_TEXT}"}}"#));
    let etag = ETag::of_version(7);
    assert!(api.retrieve_if_changed(ID, &names(&["lastname"]), &etag).await.unwrap().is_none());
    assert!(api.retrieve_if_changed(ID, &names(&["lastname"]), &etag).await.unwrap().is_some());
    assert_eq!(header(&script.requests()[0], "if-none-match"), Some("W/\"7\""));
}

#[tokio::test]
async fn a_create_returns_the_identifier() {
    let (api, script) = typed();
    script.respond_with(204, &[("OData-EntityId", &format!("{BASE}/contacts({ID_TEXT})"))], "");
    let id = api.create(&Contact { contactid: None, lastname: Some("Byron".into()) }).await.unwrap();
    assert_eq!(id, ID);
    let request = &script.requests()[0];
    assert_eq!(line(request), format!("POST {BASE}/contacts"));
    assert_eq!(body(request), r#"{"lastname":"Byron"}"#);
    assert_eq!(header(request, "content-type"), Some("application/json"));
    assert_eq!(header(request, "if-none-match"), None);
}

#[tokio::test]
async fn a_create_can_return_the_row() {
    let (api, script) = typed();
    script.respond(201, format!(r#"{{"contactid":"{ID_TEXT}","lastname":"Byron"}}"#));
    let row = api.create_returning(&EntityBody::new().set("lastname", "Byron").unwrap(), &[]).await.unwrap();
    assert_eq!(row.contactid, Some(ID));
    let request = &script.requests()[0];
    assert_eq!(line(request), format!("POST {BASE}/contacts?$select=contactid,lastname"));
    assert_eq!(header(request, "prefer"), Some("return=representation"));
}

#[tokio::test]
async fn a_create_of_unknown_outcome_is_never_sent_twice() {
    let (api, script) = typed();
    script.fail(TransportErrorKind::Broken, Delivery::MaybeApplied);
    let error = api.create(&EntityBody::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Transport, Delivery::MaybeApplied));
    assert_eq!(script.count(), 1);
}

#[tokio::test]
async fn an_update_never_creates() {
    let (api, script) = typed();
    script.respond(204, "").respond(204, "");
    let change = EntityBody::new().set("lastname", "King").unwrap().clear("middlename").unwrap();
    api.update(ID, &change, &Expect::Any).await.unwrap();
    api.update(ID, &change, &Expect::Version(ETag::of_version(9))).await.unwrap();
    let requests = script.requests();
    assert_eq!(line(&requests[0]), format!("PATCH {BASE}/contacts({ID_TEXT})"));
    assert_eq!(header(&requests[0], "if-match"), Some("*"));
    assert_eq!(body(&requests[0]), r#"{"lastname":"King","middlename":null}"#);
    assert_eq!(header(&requests[1], "if-match"), Some("W/\"9\""));
}

#[tokio::test]
async fn an_upsert_carries_its_precondition() {
    let (api, script) = typed();
    let conditions = [
        (Precondition::None, None, None),
        (Precondition::IfMatchAny, Some("*"), None),
        (Precondition::IfMatch(ETag::of_version(3)), Some("W/\"3\""), None),
        (Precondition::IfNoneMatch, None, Some("*")),
    ];
    for (at, (precondition, if_match, if_none_match)) in conditions.iter().enumerate() {
        script.respond_with(204, &[("OData-EntityId", &format!("{BASE}/contacts(employeeid='42')"))], "");
        assert_eq!(api.upsert(ID, &EntityBody::new(), precondition).await.unwrap(), Some(ID));
        let request = &script.requests()[at];
        assert_eq!(header(request, "if-match"), *if_match);
        assert_eq!(header(request, "if-none-match"), *if_none_match);
    }
    script.respond_with(204, &[("OData-EntityId", &format!("{BASE}/contacts(employeeid='42')"))], "");
    let key = EntityKey::by("employeeid", "42").unwrap();
    assert_eq!(api.upsert(key, &EntityBody::new(), &Precondition::None).await.unwrap(), None);
}

#[tokio::test]
async fn an_upsert_tells_create_from_update_by_its_status() {
    let (api, script) = typed();
    let row = format!(r#"{{"contactid":"{ID_TEXT}","lastname":"x"}}"#);
    script.respond(201, row.clone()).respond(200, row);
    let body = EntityBody::new();
    assert_eq!(api.upsert_returning(ID, &body, &Precondition::None, &[]).await.unwrap().created, Some(true));
    assert_eq!(api.upsert_returning(ID, &body, &Precondition::None, &[]).await.unwrap().created, Some(false));
    assert_eq!(line(&script.requests()[0]), format!("PATCH {BASE}/contacts({ID_TEXT})?$select=contactid,lastname"));
    assert_eq!(header(&script.requests()[0], "prefer"), Some("return=representation"));
}

#[tokio::test]
async fn an_upsert_whose_first_answer_was_lost_does_not_claim_to_know() {
    let (api, script) = typed();
    let row = format!(r#"{{"contactid":"{ID_TEXT}","lastname":"x"}}"#);
    for (status, created) in [(200, None), (201, Some(true))] {
        script.fail(TransportErrorKind::Broken, Delivery::MaybeApplied).respond(status, row.clone());
        let upserted = api.upsert_returning(ID, &EntityBody::new(), &Precondition::None, &[]).await.unwrap();
        assert_eq!(upserted.created, created, "{status}");
    }
}

#[tokio::test]
async fn numbers_that_json_cannot_say_are_refused_and_clear_nothing() {
    #[derive(Serialize)]
    struct Place {
        address1_latitude: Option<f64>,
    }
    let (api, script) = typed();
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = EntityBody::new().set("address1_latitude", Some(bad)).unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Validation, Delivery::NotSent));
        let place = Place { address1_latitude: Some(bad) };
        let error = api.update(ID, &place, &Expect::Any).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Validation, Delivery::NotSent));
        assert_eq!(api.create(&place).await.unwrap_err().kind(), ErrorKind::Validation);
    }
    assert_eq!(script.count(), 0);
    script.respond(204, "");
    let body = EntityBody::new().set("address1_latitude", 51.5).unwrap();
    api.update(ID, &body, &Expect::Any).await.unwrap();
}

#[tokio::test]
async fn conditions_with_control_characters_are_not_sent() {
    let (api, script) = typed();
    let column = || Column::new("lastname").unwrap();
    for text in ["a\nb", "\0", "a\u{7f}", "\u{85}"] {
        for filter in [
            column().eq(text),
            column().contains(text),
            column().is_in(["x", text]).unwrap(),
            column().eq("x").and(column().ne(text).negate()).or(column().is_null()),
        ] {
            let error = api.list(&Query::new().filter(filter.clone())).err().unwrap();
            assert_eq!((error.kind(), error.delivery()), (ErrorKind::Validation, Delivery::NotSent));
            assert_eq!(api.count(Some(filter)).await.unwrap_err().kind(), ErrorKind::Validation);
        }
    }
    assert_eq!(script.count(), 0);
}

#[test]
fn pages_rows_and_references_show_no_record_data() {
    #[derive(Debug, Deserialize)]
    struct Row {
        #[expect(dead_code, reason = "only its Debug is of interest")]
        lastname: String,
    }
    impl Entity for Row {
        type Def = ();
        fn logical_name(_: &()) -> &str {
            "contact"
        }
        fn entity_set(_: &()) -> &str {
            "contacts"
        }
        fn primary_id(_: &()) -> &str {
            "contactid"
        }
        fn columns(_: &()) -> &[&'static str] {
            &["lastname"]
        }
        fn decode(_: &(), text: &str) -> Result<Self, serde_json::Error> {
            serde_json::from_str(text)
        }
    }
    let page =
        r#"{"value":[{"lastname":"CANARY"}],"@odata.nextLink":"https://x/contacts?$filter=CANARY","@odata.count":1}"#;
    let plain = d365_client::decode_page::<Row>(&(), page.as_bytes()).unwrap();
    let guarded = d365_client::decode_page::<Guarded<Row>>(&(), page.as_bytes()).unwrap();
    let references = br#"{"value":[{"@odata.id":"https://x/contacts(emailaddress1='CANARY')"}]}"#;
    let references = d365_client::decode_references(references).unwrap();
    let shown = format!("{plain:?} {guarded:?} {:?} {references:?}", guarded.items);
    assert!(!shown.contains("CANARY"), "{shown}");
    assert!(shown.contains("items: 1") && shown.contains("next: true"), "{shown}");
}

#[tokio::test]
async fn an_upserted_row_is_not_shown() {
    let (api, script) = typed();
    script.respond(201, r#"{"lastname":"CANARY"}"#);
    let upserted = api.upsert_returning(ID, &EntityBody::new(), &Precondition::None, &[]).await.unwrap();
    let shown = format!("{upserted:?}");
    assert!(shown.contains("created: Some(true)") && !shown.contains("CANARY"), "{shown}");
}

#[tokio::test]
async fn a_refused_precondition_keeps_its_kind_whatever_the_code() {
    let (api, script) = typed();
    for code in ["", "0x80040237"] {
        let body =
            format!(r#"{{"error":{{"code":"{code}","message":"A record with matching key values already exists."}}}}"#);
        script.respond(412, body);
        let error = api.upsert(ID, &EntityBody::new(), &Precondition::IfNoneMatch).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::PreconditionFailed, Delivery::Refused));
    }
    script.respond(412, r#"{"error":{"code":"0x80060882","message":"m"}}"#);
    let error = api.update(ID, &EntityBody::new(), &Expect::Version(ETag::of_version(1))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed);
    script.respond(412, r#"{"error":{"code":"0x80060892","message":"m"}}"#);
    let error = api.upsert(ID, &EntityBody::new(), &Precondition::None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Duplicate);
}

#[tokio::test]
async fn a_delete_is_plain_or_bound_to_a_version() {
    let (api, script) = typed();
    script.respond(204, "").respond(204, "").respond(404, r#"{"error":{"code":"0x80040217","message":"gone"}}"#);
    api.delete(ID, &Expect::Any).await.unwrap();
    api.delete(ID, &Expect::Version(ETag::of_version(2))).await.unwrap();
    let error = api.delete(ID, &Expect::Any).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::NotFound, Delivery::Refused));
    let requests = script.requests();
    assert_eq!(line(&requests[0]), format!("DELETE {BASE}/contacts({ID_TEXT})"));
    assert_eq!((header(&requests[0], "if-match"), header(&requests[0], "if-none-match")), (None, None));
    assert_eq!(header(&requests[1], "if-match"), Some("W/\"2\""));
}

#[tokio::test]
async fn a_delete_whose_answer_was_lost_finds_its_own_success() {
    let (api, script) = typed();
    script
        .fail(TransportErrorKind::Broken, Delivery::MaybeApplied)
        .respond(404, r#"{"error":{"code":"0x80040217","message":"gone"}}"#);
    api.delete(ID, &Expect::Any).await.unwrap();
    assert_eq!(script.count(), 2);
}

#[tokio::test]
async fn pages_are_followed_until_there_is_no_link() {
    let (api, script) = typed();
    let next = format!("{BASE}/contacts?$select=contactid,lastname&$skiptoken=%3Ccookie%20pagenumber=%222%22%20/%3E");
    script
        .respond(
            200,
            format!(
                r#"{{"@odata.nextLink":"{next}","value":[{{"lastname":"a"}},{{"lastname":"b"}}],"@odata.count":3}}"#
            ),
        )
        .respond(200, r#"{"value":[{"lastname":"c"}]}"#);
    let query = Query::new().count().page_size(2);
    let pages: Vec<_> = api.list(&query).unwrap().try_collect().await.unwrap();
    assert_eq!(pages.iter().map(|page| page.items.len()).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(pages[0].count, Some(3));
    assert_eq!(pages[0].next.as_deref(), Some(next.as_str()));
    let requests = script.requests();
    assert_eq!(line(&requests[0]), format!("GET {BASE}/contacts?$select=contactid,lastname&$count=true"));
    assert_eq!(line(&requests[1]), format!("GET {next}"));
    for request in &requests {
        assert_eq!(header(request, "prefer"), Some("odata.maxpagesize=2"));
    }
}

#[tokio::test]
async fn a_query_reaches_the_wire_as_it_was_built() {
    let (api, script) = dynamic();
    script.respond(200, r#"{"value":[]}"#);
    let query = Query::new()
        .select(["lastname", "_parentcustomerid_value"])
        .unwrap()
        .filter(Column::new("lastname").unwrap().eq("O'B & Söhne+"))
        .order_by("createdon", Direction::Descending)
        .unwrap()
        .top(3)
        .unwrap()
        .annotations();
    let rows: Vec<_> = api.rows(&query).unwrap().try_collect().await.unwrap();
    assert!(rows.is_empty());
    let request = &script.requests()[0];
    assert_eq!(
        line(request),
        format!(
            "GET {BASE}/contacts?$select=lastname,_parentcustomerid_value\
             &$filter=lastname%20eq%20%27O%27%27B%20%26%20S%C3%B6hne%2B%27&$orderby=createdon%20desc&$top=3"
        )
    );
    assert_eq!(header(request, "prefer"), Some("odata.include-annotations=\"*\""), "no page size beside $top");
}

#[tokio::test]
async fn a_next_link_to_another_host_ends_the_list_before_it_is_followed() {
    let (api, script) = typed();
    script.respond(200, r#"{"value":[],"@odata.nextLink":"https://evil.example/api/data/v9.2/contacts?$skiptoken=1"}"#);
    let error = api.list(&Query::new()).unwrap().try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ForeignLink);
    assert!(error.is_permanent());
    assert_eq!(script.count(), 1);
}

#[tokio::test]
async fn many_rows_are_read_by_the_hundred() {
    let (api, script) = dynamic();
    script.respond(200, format!(r#"{{"value":[{{"contactid":"{ID_TEXT}"}}]}}"#)).respond(200, r#"{"value":[]}"#);
    let ids: Vec<Uuid> = (1..=101).map(Uuid::from_u128).collect();
    let rows = api.retrieve_many(&ids, &names(&["lastname"])).await.unwrap();
    assert_eq!(rows.len(), 1);
    let requests = script.requests();
    assert_eq!(requests.len(), 2);
    let query = requests[1].url.query().unwrap();
    assert_eq!(
        query,
        "$select=lastname&$filter=Microsoft.Dynamics.CRM.In(PropertyName%3D%27contactid%27%2CPropertyValues%3D%5B\
         %2200000000-0000-0000-0000-000000000065%22%5D)"
    );
    assert!(requests[0].url.as_str().len() < 8192);
    assert!(api.retrieve_many(&[], &[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_count_may_start_with_a_byte_order_mark() {
    let (api, script) = typed();
    script.respond(200, "\u{feff}4711").respond(200, "12").respond(200, "many");
    assert_eq!(api.count(None).await.unwrap(), 4711);
    assert_eq!(api.count(Some(Column::new("statecode").unwrap().eq(0))).await.unwrap(), 12);
    assert_eq!(api.count(None).await.unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!(line(&script.requests()[0]), format!("GET {BASE}/contacts/$count"));
    assert_eq!(line(&script.requests()[1]), format!("GET {BASE}/contacts/$count?$filter=statecode%20eq%200"));
}

#[tokio::test]
async fn one_bad_row_spoils_its_page_only_when_nobody_guards() {
    let page =
        format!(r#"{{"value":[{{"lastname":"a"}},{{"lastname":42,"contactid":"{ID_TEXT}"}},{{"lastname":"c"}}]}}"#);
    let (client, script) = client();
    script.respond(200, page.clone()).respond(200, page);
    let error = client.entity::<Contact>().list(&Query::new()).unwrap().try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.to_string().contains("row 1"), "{error}");
    assert!(!error.to_string().contains("42"), "{error}");
    let rows: Vec<Guarded<Contact>> = client.entity().rows(&Query::new()).unwrap().try_collect().await.unwrap();
    assert_eq!(rows.iter().map(|row| row.0.is_ok()).collect::<Vec<_>>(), [true, false, true]);
    let bad = rows[1].0.as_ref().unwrap_err();
    assert_eq!(bad.id, Some(ID));
    assert_eq!(bad.row.as_ref().unwrap().raw_text("lastname"), Some("42"));
}

#[tokio::test]
async fn a_url_that_is_too_long_is_refused_before_it_is_sent() {
    let (api, script) = typed();
    let query = Query::new().filter(Column::new("lastname").unwrap().eq("x".repeat(40_000)));
    let error = api.list(&query).err().unwrap();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Validation, Delivery::NotSent));
    assert_eq!(script.count(), 0);
}
