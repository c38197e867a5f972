//! The journal over a scripted transport, and events of every shape.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::sync::Arc;
use std::time::Duration;

use campaign_client::{
    CampaignConfig, DecodeEvents, DecodeFault, Delivery, Error, ErrorKind, EventPointers, Journal, JournalConfig,
    JournalPage, JournalRead, JournalStart, KindSource, MailKind,
};
use http_kit::testing::ScriptedTransport;
use http_kit::{SecretString, StaticToken};
use serde_json::{Value, json};
use timing::{FixedEntropy, ManualClock};

const URL: &str = "https://events-va6.adobe.io/events/organizations/23294/integrations/54108/f89067f2";
const HOST: &str = "https://events-va6.adobe.io";
const NEXT: &str = "</events/organizations/23294/integrations/54108/f89067f2?since=moose:1f:9a>; rel=\"next\"";

fn config() -> JournalConfig {
    JournalConfig::new(URL, "5A4D@AdobeOrg")
}

fn build(script: &ScriptedTransport, config: JournalConfig) -> Result<Journal, Error> {
    let campaign = CampaignConfig::new("https://mc.adobe.io/acme", "the-key", SecretString::from("the-secret"));
    Journal::builder(config, campaign)
        .authenticator(Arc::new(StaticToken::new(&SecretString::from("tok")).unwrap()))
        .transport(Arc::new(script.clone()))
        .clock(ManualClock::auto_advancing().shared())
        .entropy(FixedEntropy::shared(0.5))
        .build()
}

fn journal(script: &ScriptedTransport) -> Journal {
    build(script, config()).unwrap()
}

fn urls(script: &ScriptedTransport) -> Vec<String> {
    script.requests().iter().map(|request| request.url.to_string()).collect()
}

/// The body of the documented example, in short.
fn body() -> String {
    json!({
        "events": [{"position": "moose:1f:9a", "event": {
            "specversion": "1.0", "type": "code", "source": "urn:uuid:p", "id": "b1c2", "time": "2026-02-21T09:26:57.584Z",
            "datacontenttype": "application/json", "eventid": "e3f4", "recipientclientid": "c", "data": click(),
        }}],
        "_page": {"last": "moose:1f:9a", "count": 1},
    })
    .to_string()
}

fn click() -> Value {
    json!({
        "eventType": "click", "timestamp": "2026-02-21T09:26:57.584Z", "externalId": "8c1f0c52", "recipientId": 123_456,
        "email": "ida.holm@example.org", "campaignName": "2026LoyaltyCamp", "deliveryName": "DM190",
        "deliveryLabel": "Spring", "broadLogId": 98_765, "trackingLogId": 4242, "url": "https://shop.example.org/p/1",
        "mirrorPageUrl": "https://t.acme.example/nl/jsp/m.jsp?c=x", "bounceType": null, "reason": null,
    })
}

#[track_caller]
fn page(read: JournalRead) -> JournalPage {
    match read {
        JournalRead::Page(page) => page,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_page_has_events_a_next_link_and_a_last_position() {
    let script = ScriptedTransport::new();
    script.respond_with(200, &[("link", NEXT)], body());
    let page = page(journal(&script).read(&JournalStart::Oldest).await.unwrap());
    assert_eq!(page.next.as_str(), format!("{URL}?since=moose:1f:9a"));
    assert_eq!(page.last.as_deref(), Some("moose:1f:9a"));
    assert_eq!((page.events.len(), page.events[0].id.as_deref()), (1, Some("b1c2")));
    let sent = &script.requests()[0];
    assert_eq!(sent.url.as_str(), URL);
    for (name, value) in [
        ("authorization", "Bearer tok"),
        ("x-api-key", "the-key"),
        ("x-ims-org-id", "5A4D@AdobeOrg"),
        ("x-adobe-io-events-url-links", "true"),
    ] {
        assert_eq!(sent.headers[name], value);
    }
}

#[tokio::test]
async fn a_reader_begins_where_it_is_told() {
    let script = ScriptedTransport::new();
    script.handle(|_| Ok(http_kit::testing::response(204, &[("link", NEXT)], "")));
    let journal = build(&script, JournalConfig { limit: Some(50), ..config() }).unwrap();
    let link = format!("{URL}?since=moose:1f:9a&limit=7");
    for start in [
        JournalStart::Oldest,
        JournalStart::Since("moose:1f:9a&x".to_owned()),
        JournalStart::Latest,
        JournalStart::Seek(Duration::from_secs(7200)),
        JournalStart::Link(link.clone()),
    ] {
        journal.read(&start).await.unwrap();
    }
    let first = |query: &str| format!("{URL}?{query}");
    let expected = [
        first("limit=50"),
        first("since=moose%3A1f%3A9a%26x&limit=50"),
        first("latest=true&limit=50"),
        first("seek=-PT2H&limit=50"),
        link,
    ];
    assert_eq!(urls(&script), expected);
}

#[tokio::test]
async fn the_end_says_when_to_come_back_and_an_expired_position_is_a_gap() {
    let script = ScriptedTransport::new();
    let journal = journal(&script);
    let read = async |start: &JournalStart| match journal.read(start).await.unwrap() {
        JournalRead::End { next, retry_after } => (next.as_str().to_owned(), retry_after.as_secs()),
        other => panic!("{other:?}"),
    };
    let validate = format!("<{URL}/validate?since=x>; rel=\"validate\"");
    script.respond_with(204, &[("link", &validate), ("link", NEXT), ("retry-after", "7")], "");
    assert_eq!(read(&JournalStart::Latest).await, (format!("{URL}?since=moose:1f:9a"), 7));
    // Without a word about either: the same place, after a while.
    script.respond(204, "");
    assert_eq!(read(&JournalStart::Since("p".to_owned())).await, (format!("{URL}?since=p"), 10));
    script.respond(410, "Events at position moose:1f:9a have expired.");
    let expired = journal.read(&JournalStart::Since("p".to_owned())).await.unwrap();
    assert!(matches!(expired, JournalRead::Expired));
}

#[tokio::test]
async fn a_link_is_followed_within_the_configured_hosts_only() {
    let script = ScriptedTransport::new();
    let journal = journal(&script);
    let elsewhere = [
        "<https://events-fast.adobe.io/x?since=p>; rel=\"next\"",
        "<//attacker.example/x>; rel=\"next\"",
        "</\\attacker.example/x>; rel=\"next\"",
        "<https://events-va6.adobe.io@attacker.example/x>; rel=\"next\"",
        "<http://events-va6.adobe.io/x>; rel=\"next\"",
        "<https://events-va6.adobe.io:8443/x>; rel=\"next\"",
        "<x?since=p>; rel=\"next\"",
    ];
    for link in elsewhere {
        for (status, text) in [(200, body()), (204, String::new())] {
            script.respond_with(status, &[("link", link)], text);
            let error = journal.read(&JournalStart::Oldest).await.unwrap_err();
            assert_eq!((error.kind(), error.delivery()), (ErrorKind::ForeignLink, Delivery::Refused), "{link}");
        }
    }
    let sent = script.count();
    let stored = JournalStart::Link("https://attacker.example/events".to_owned());
    assert_eq!(journal.read(&stored).await.unwrap_err().kind(), ErrorKind::ForeignLink);
    assert_eq!(script.count(), sent, "nothing was sent there");
    // Another path of the host, whole or relative.
    for link in [format!("<{HOST}/other/path?since=p>; rel=\"next\""), "</other/path?since=p>; rel=\"next\"".to_owned()]
    {
        script.respond_with(200, &[("link", &link)], body());
        let next = page(journal.read(&JournalStart::Oldest).await.unwrap()).next;
        assert_eq!(next.as_str(), format!("{HOST}/other/path?since=p"));
    }
    // Another host that was configured.
    let other_hosts = vec!["https://events-fast.adobe.io".to_owned()];
    let journal = build(&script, JournalConfig { other_hosts, ..config() }).unwrap();
    script.respond_with(200, &[("link", elsewhere[0])], body());
    assert_eq!(
        page(journal.read(&JournalStart::Oldest).await.unwrap()).next.as_str(),
        "https://events-fast.adobe.io/x?since=p"
    );
}

#[tokio::test]
async fn a_page_that_leads_nowhere_or_back_is_an_error() {
    let script = ScriptedTransport::new();
    let journal = journal(&script);
    script.respond(200, body());
    assert_eq!(journal.read(&JournalStart::Oldest).await.unwrap_err().kind(), ErrorKind::Decode);
    script.respond_with(200, &[("link", &format!("<{URL}>; rel=\"next\""))], body());
    assert_eq!(journal.read(&JournalStart::Oldest).await.unwrap_err().kind(), ErrorKind::ForeignLink);
    script.respond_with(200, &[("link", NEXT)], r#"{"value":[]}"#);
    assert_eq!(journal.read(&JournalStart::Oldest).await.unwrap_err().kind(), ErrorKind::Decode);
    script.respond_with(200, &[("link", NEXT)], "<html>CANARY");
    let error = journal.read(&JournalStart::Oldest).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Decode, Some("GET journal")));
    assert!(!format!("{error} {error:?}").contains("CANARY"));
}

#[tokio::test]
async fn refusals_are_told_apart_and_trouble_is_tried_again() {
    let script = ScriptedTransport::new();
    let journal = journal(&script);
    for (status, text, kind) in [
        (401, r#"{"error_code":"401013","message":"Oauth token is not valid"}"#, ErrorKind::Unauthorized),
        (403, r#"{"error_code":"403000","message":"Api Key is invalid"}"#, ErrorKind::ApiKey),
        (403, r#"{"error_code":"403025","message":"Profile is not valid"}"#, ErrorKind::ProfileNotValid),
        (404, "no such registration", ErrorKind::UnknownResource),
    ] {
        script.respond(status, text);
        let error = journal.read(&JournalStart::Oldest).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (kind, Delivery::Refused));
    }
    script.respond(503, "").respond_with(429, &[("retry-after", "3")], "").respond_with(200, &[("link", NEXT)], body());
    assert_eq!(page(journal.read(&JournalStart::Oldest).await.unwrap()).events.len(), 1);
}

#[test]
fn an_address_that_cannot_be_is_refused_before_anything_is_sent() {
    for url in ["events.adobe.io", "http://events.adobe.io/x", "https://u:p@events.adobe.io/x", "https://h/x?since=1"] {
        let error = build(&ScriptedTransport::new(), JournalConfig::new(url, "o")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{url}");
    }
    let error = build(&ScriptedTransport::new(), JournalConfig::new(URL, "a\nb")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
}

/// An event with this data, as a journal hands it over.
async fn event(data: Value) -> campaign_client::JournalEvent {
    let script = ScriptedTransport::new();
    let text = json!({"events": [{"position": "p", "event": {"type": "code", "id": "i", "data": data}}]}).to_string();
    script.respond_with(200, &[("link", NEXT)], text);
    page(journal(&script).read(&JournalStart::Oldest).await.unwrap()).events.remove(0)
}

#[tokio::test]
async fn the_assumed_payload_is_read_without_configuration() {
    let mail = EventPointers::default().decode(&event(click()).await).unwrap().unwrap();
    assert_eq!((mail.kind, mail.hard), (MailKind::Click, false));
    assert_eq!((mail.delivery.as_str(), mail.campaign.as_deref()), ("DM190", Some("2026LoyaltyCamp")));
    assert_eq!(mail.recipient.as_deref(), Some("8c1f0c52"));
    assert_eq!(mail.instant.to_rfc3339(), "2026-02-21T09:26:57.584+00:00");
    assert_eq!((mail.ordinal.as_deref(), mail.event_id.as_deref()), (Some("4242"), Some("i")));
    assert_eq!(mail.url.as_deref(), Some("https://shop.example.org/p/1"));
    assert_eq!(mail.mirror_page.as_deref(), Some("https://t.acme.example/nl/jsp/m.jsp?c=x"));
    let mut data = click();
    for (kind, bounce_type, expected, ordinal) in [
        ("send", Value::Null, (MailKind::Send, false), "98765"),
        ("open", Value::Null, (MailKind::Open, false), "4242"),
        ("bounce", json!("hard"), (MailKind::Bounce, true), "98765"),
        ("bounce", json!("Soft"), (MailKind::Bounce, false), "98765"),
    ] {
        data["eventType"] = json!(kind);
        data["trackingLogId"] = if ordinal == "4242" { json!(4242) } else { Value::Null };
        data["bounceType"] = bounce_type;
        let mail = EventPointers::default().decode(&event(data.clone()).await).unwrap().unwrap();
        assert_eq!(((mail.kind, mail.hard), mail.ordinal.as_deref(), mail.url), (expected, Some(ordinal), None));
    }
    data["eventType"] = json!("subscription");
    assert_eq!(EventPointers::default().decode(&event(data).await), Ok(None));
}

#[tokio::test]
async fn what_may_be_missing_is_none_and_what_may_not_is_named() {
    let pointers = EventPointers::default();
    let mut data = click();
    for field in ["externalId", "campaignName", "url", "mirrorPageUrl"] {
        data[field] = json!("");
    }
    let mail = pointers.decode(&event(data).await).unwrap().unwrap();
    assert_eq!((mail.recipient, mail.campaign, mail.url, mail.mirror_page), (None, None, None, None));
    for (field, value, fault) in [
        ("deliveryName", Value::Null, DecodeFault::Missing),
        ("trackingLogId", json!({}), DecodeFault::NotText),
        ("timestamp", json!("CANARY"), DecodeFault::NotATime),
        ("externalId", json!(["CANARY"]), DecodeFault::NotText),
    ] {
        let mut data = click();
        data[field] = value;
        let error = pointers.decode(&event(data).await).unwrap_err();
        assert_eq!((error.pointer.as_str(), error.fault), (format!("/{field}").as_str(), fault));
        let text = format!("{error} {error:?}");
        assert!(text.contains(field) && !text.contains("CANARY"), "{text}");
    }
    let mut anonymous = click();
    anonymous["trackingLogId"] = json!("");
    anonymous["broadLogId"] = Value::Null;
    let error = pointers.decode(&event(anonymous).await).unwrap_err();
    assert_eq!((error.pointer.as_str(), error.fault), ("/trackingLogId", DecodeFault::Missing));
    let mut bounce = click();
    bounce["eventType"] = json!("bounce");
    assert_eq!(pointers.decode(&event(bounce).await).unwrap_err().pointer, "/bounceType");
}

#[tokio::test]
async fn every_place_can_be_configured() {
    let pointers: EventPointers = serde_json::from_value(json!({
        "kind": "envelope",
        "names": {"code": "open"},
        "open": {"delivery": "/delivery/name", "recipient": "/message/externalID", "instant": "/at", "ordinal": []},
    }))
    .unwrap();
    assert_eq!(pointers.problems(), Vec::<String>::new());
    let data = json!({"delivery": {"name": 190}, "message": {"externalID": "x"}, "at": 1_771_666_017_584_i64});
    let mail = pointers.decode(&event(data).await).unwrap().unwrap();
    assert_eq!((mail.kind, mail.delivery.as_str(), mail.ordinal), (MailKind::Open, "190", None));
    assert_eq!(mail.instant.timestamp_millis(), 1_771_666_017_584);
    let wrong = EventPointers { kind: KindSource::Data("eventType".to_owned()), ..EventPointers::default() };
    assert_eq!(wrong.problems().len(), 1);
    assert!(serde_json::from_value::<EventPointers>(json!({"opens": {}})).is_err());
}
