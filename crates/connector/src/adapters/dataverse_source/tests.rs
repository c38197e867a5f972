use d365_client::D365Config;
use http_kit::testing::ScriptedTransport;
use http_kit::{SecretString, StaticToken};
use timing::{FixedEntropy, ManualClock};

use super::*;

const BASE: &str = "https://acme.crm4.dynamics.com/api/data/v9.2";
const LIMIT: BatchLimit = BatchLimit { rows: 1000 };

fn source() -> (DataverseSource, ScriptedTransport) {
    let script = ScriptedTransport::new();
    let config = D365Config::new("https://acme.crm4.dynamics.com", "contoso.example", "app", SecretString::from("s"));
    let client = D365Client::builder(config)
        .transport(Arc::new(script.clone()))
        .clock(ManualClock::auto_advancing().shared())
        .entropy(FixedEntropy::shared(0.0))
        .authenticator(Arc::new(StaticToken::new(&SecretString::from("t")).unwrap()))
        .build()
        .unwrap();
    let def = EntityDef::new("contact", "contacts", "contactid").unwrap().shared();
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
