//! Requests as they go out and answers as they come in, over a scripted transport.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by panicking, like the test")]

use std::sync::Arc;

use campaign_client::{
    Addressing, CampaignClient, CampaignConfig, CustomRecord, Deleted, Delivery, ErrorKind, Family, Filter, ListQuery,
    RecordKey, Resource, Updated,
};
use futures::TryStreamExt;
use http_kit::testing::ScriptedTransport;
use http_kit::{Bytes, SecretString, StaticToken, TransportErrorKind};
use timing::{FixedEntropy, ManualClock};

const GONE: &str = "RST-360011 An error has occurred - please contact your administrator.\nUnable to find document with path 'profile' from key 'k1:0' (document with schema 'profile' and name 'k1')";
const DUPLICATE: &str = "A 'profile' with the same key 'k1' already exists. PGS-220000 PostgreSQL error: ERROR: duplicate key value violates unique constraint";
const BASE: &str = "https://mc.adobe.io/acme/campaign/profileAndServicesExt/profile";

fn config() -> CampaignConfig {
    CampaignConfig::new("https://mc.adobe.io/acme", "the-key", SecretString::from("the-secret"))
}

fn client(script: &ScriptedTransport) -> CampaignClient {
    let token = StaticToken::new(&SecretString::from("tok")).unwrap();
    CampaignClient::builder(config())
        .authenticator(Arc::new(token))
        .transport(Arc::new(script.clone()))
        .clock(ManualClock::auto_advancing().shared())
        .entropy(FixedEntropy::shared(0.5))
        .build()
        .unwrap()
}

fn key() -> RecordKey {
    RecordKey::new("k1").unwrap()
}

/// Method and URL of everything that was sent.
fn lines(script: &ScriptedTransport) -> Vec<String> {
    script.requests().iter().map(|request| format!("{} {}", request.method, request.url)).collect()
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_every_request_carries_the_headers() {
    let script = ScriptedTransport::new();
    script.respond_with(
        200,
        &[("content-type", "application/json")],
        r#"{"access_token":"tok-1","token_type":"bearer","expires_in":86399}"#,
    );
    script.respond(201, r#"{"PKey":"@a","externalId":"k1"}"#).respond(204, "");
    let client = CampaignClient::builder(config())
        .transport(Arc::new(script.clone()))
        .clock(ManualClock::auto_advancing().shared())
        .build()
        .unwrap();
    let records = client.records(Resource::profile());
    let created = records.create(Bytes::from_static(br#"{"externalId":"k1"}"#)).await.unwrap();
    assert_eq!(created.decode::<CustomRecord>().unwrap().pkey(), Some("@a"));
    assert_eq!(records.delete(&key()).await.unwrap(), Deleted::Deleted);

    let sent = script.requests();
    assert_eq!(sent[0].url.as_str(), "https://ims-na1.adobelogin.com/ims/token/v3");
    let form = String::from_utf8(sent[0].body.to_vec()).unwrap();
    assert!(form.contains("grant_type=client_credentials") && form.contains("client_id=the-key"), "{form}");
    assert!(form.contains("scope=AdobeID%2Copenid%2C"), "{form}");
    assert_eq!(sent.len(), 3);
    for request in &sent[1..] {
        assert_eq!(request.headers["authorization"], "Bearer tok-1");
        assert_eq!(request.headers["x-api-key"], "the-key");
        assert_eq!(request.headers["cache-control"], "no-cache");
    }
    assert_eq!(sent[1].headers["content-type"], "application/json");
    assert_eq!(&sent[1].body[..], br#"{"externalId":"k1"}"#);
    assert_eq!(lines(&script)[1..], [format!("POST {BASE}"), format!("DELETE {BASE}/k1")]);
}

#[tokio::test]
async fn outcomes_by_key() {
    let script = ScriptedTransport::new();
    let records = client(&script).records(Resource::profile());
    script.respond(500, DUPLICATE);
    let error = records.create(Bytes::from_static(b"{}")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery(), error.code()),
        (ErrorKind::Exists, Delivery::Refused, Some("PGS-220000"))
    );
    assert!(!format!("{error} {error:?}").contains("k1") && error.server_message().unwrap().contains("k1"));

    script.respond(404, GONE).respond(404, GONE).respond(404, GONE).respond(200, r#"{"PKey":"@a"}"#);
    script.respond(404, "<html>");
    assert_eq!(records.update(&key(), Bytes::from_static(b"{}")).await.unwrap(), Updated::NotFound);
    assert_eq!(records.delete(&key()).await.unwrap(), Deleted::AlreadyGone);
    assert_eq!(records.get::<CustomRecord>(&key()).await.unwrap(), None);
    assert_eq!(records.update(&key(), Bytes::from_static(b"{}")).await.unwrap(), Updated::Updated);
    assert_eq!(records.delete(&key()).await.unwrap_err().kind(), ErrorKind::UnknownResource);
    assert_eq!(script.count(), 6, "no answer was tried again");
}

#[tokio::test]
async fn a_create_is_repeated_only_where_the_service_did_not_act() {
    let script = ScriptedTransport::new();
    let records = client(&script).records(Resource::profile());
    script.fail(TransportErrorKind::Connect, Delivery::NotSent);
    script.respond(429, r#"{"error_code":"429050","message":"Too many requests"}"#).respond(201, "{}");
    assert!(records.create(Bytes::from_static(b"{}")).await.is_ok());
    assert_eq!(script.count(), 3);

    script.fail(TransportErrorKind::Broken, Delivery::MaybeApplied);
    let error = records.create(Bytes::from_static(b"{}")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Transport, Delivery::MaybeApplied));
    script.respond(504, "GatewayTimeout");
    let error = records.create(Bytes::from_static(b"{}")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Gateway, Delivery::MaybeApplied));
    assert_eq!(script.count(), 5);

    script.respond(502, "").respond(200, "{}");
    assert_eq!(records.update(&key(), Bytes::from_static(b"{}")).await.unwrap(), Updated::Updated);
    assert_eq!(script.count(), 7, "an update with the same values is repeated");
}

fn by_filter(client: &CampaignClient) -> campaign_client::RecordApi {
    let addressing = Addressing::Filter { name: "byCrmId".to_owned(), parameter: "crmId_parameter".to_owned() };
    client.records_by(Resource::profile(), addressing)
}

#[tokio::test]
async fn a_change_of_unclear_end_is_repeated_only_for_callers_that_keep_no_account() {
    let empty = Bytes::from_static(b"{}");
    for repeats in [true, false] {
        let script = ScriptedTransport::new();
        script.respond(504, "").respond(200, "{}").respond(504, "").respond(204, "");
        let records = client(&script).records(Resource::profile());
        let records = if repeats { records } else { records.without_repeats() };
        let update = records.update(&key(), empty.clone()).await;
        if repeats {
            assert_eq!(update.unwrap(), Updated::Updated);
            assert_eq!(records.delete(&key()).await.unwrap(), Deleted::Deleted);
            assert_eq!(script.requests().len(), 4);
        } else {
            assert_eq!(update.unwrap_err().delivery(), Delivery::MaybeApplied);
            assert_eq!(script.requests().len(), 1);
            records.update(&key(), empty.clone()).await.unwrap();
            assert_eq!(records.delete(&key()).await.unwrap_err().delivery(), Delivery::MaybeApplied);
            assert_eq!(script.requests().len(), 3);
        }
    }
}

#[tokio::test]
async fn a_filter_stands_for_the_key() {
    let script = ScriptedTransport::new();
    let records = by_filter(&client(&script));
    let one = format!(r#"{{"content":[{{"externalId":"k1","href":"{BASE}/@abc"}}],"serverSidePagination":false}}"#);
    script.respond(200, one).respond(200, "{}").respond(200, r#"{"content":[]}"#);
    assert_eq!(records.update(&key(), Bytes::from_static(b"{}")).await.unwrap(), Updated::Updated);
    assert_eq!(records.delete(&key()).await.unwrap(), Deleted::AlreadyGone);
    let find = format!("GET {BASE}/byCrmId?crmId_parameter=k1&_lineCount=2&_forcePagination=true");
    assert_eq!(lines(&script), [find.clone(), format!("PATCH {BASE}/@abc"), find]);
}

#[tokio::test]
async fn a_filter_that_is_no_key_writes_nothing() {
    let script = ScriptedTransport::new();
    let records = by_filter(&client(&script));
    let row = |href: &str| format!(r#"{{"externalId":"k1","href":"{href}"}}"#);
    let item = format!("{BASE}/@abc");
    script.respond(200, format!(r#"{{"content":[{},{}]}}"#, row(&item), row(&item)));
    assert_eq!(records.delete(&key()).await.unwrap_err().kind(), ErrorKind::Ambiguous);
    for href in [
        "https://evil.example/acme/campaign/profileAndServicesExt/profile/@abc",
        "https://mc.adobe.io/other/campaign/profileAndServicesExt/profile/@abc",
        "https://mc.adobe.io/acme/campaign/workflow/execution/x",
        BASE,
    ] {
        script.respond(200, format!(r#"{{"content":[{}]}}"#, row(href)));
        let error = records.delete(&key()).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::ForeignLink, Delivery::NotSent), "{href}");
    }
    let longer = format!(r#"{{"content":[{{"externalId":"k12","href":"{item}"}}]}}"#);
    script.respond(200, longer);
    let verified = records.verify_key("externalId");
    assert_eq!(verified.delete(&key()).await.unwrap(), Deleted::AlreadyGone);
    assert!(lines(&script).iter().all(|line| line.starts_with("GET ")));
}

#[tokio::test]
async fn pages_follow_links_untouched_and_never_abroad() {
    let script = ScriptedTransport::new();
    let client = client(&script);
    let next = "https://mc.adobe.io/acme/campaign/profileAndServicesExt/profile//?_forcePagination=true&_lineStart=@q~";
    let count = "https://mc.adobe.io/acme/campaign/profileAndServicesExt/profile//_count?_lineStart=@k";
    let first = format!(
        r#"{{"content":[{{"email":"a"}}],"count":{{"href":"{count}","value":2}},"next":{{"href":"{next}"}},"serverSidePagination":true}}"#
    );
    script.respond(200, first).respond(200, r#"{"content":[{"email":"b"}]}"#).respond(200, r#"{"count":26}"#);
    let query = ListQuery::new(Resource::profile()).filter(Filter::by_email("a")).line_count(1);
    let pages: Vec<_> = client.pages::<CustomRecord>(&query).unwrap().try_collect().await.unwrap();
    assert_eq!(pages.iter().map(|page| page.content.len()).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(pages[0].count, Some(2));
    assert_eq!(client.count(pages[0].count_link.clone().unwrap()).await.unwrap(), 26);
    assert_eq!(lines(&script)[1..], [format!("GET {next}"), format!("GET {count}")]);

    script.respond(200, r#"{"content":[],"next":{"href":"https://evil.example/x"}}"#);
    assert_eq!(client.list::<CustomRecord>(&query).await.unwrap_err().kind(), ErrorKind::ForeignLink);
}

#[tokio::test]
async fn a_resource_is_found_in_its_family() {
    let script = ScriptedTransport::new();
    let client = client(&script);
    script.respond(200, r#"{"apiName":"resourceType","profile":{"name":"profile"}}"#);
    script.respond(200, r#"{"cusShop":{"name":"cusShop","help":"Shop","type":"collection"}}"#);
    let shop = client.find_resource("cusShop").await.unwrap();
    assert_eq!((shop.family(), shop.name()), (Family::CustomResources, "cusShop"));
    script.respond(200, "{}").respond(404, "nothing");
    assert_eq!(client.find_resource("cusX").await.unwrap_err().kind(), ErrorKind::UnknownResource);
    script.respond(200, r#"{"content":{"email":{"type":"string"}}}"#);
    assert_eq!(client.resource_metadata(&shop).await.unwrap().fields.len(), 1);
    let base = "GET https://mc.adobe.io/acme/campaign";
    let sent = lines(&script);
    assert_eq!(sent[0], format!("{base}/profileAndServicesExt/"));
    assert_eq!(sent[4], format!("{base}/customResources/resourceType/cusShop"));
}

#[tokio::test]
async fn a_wrong_organisation_is_said_at_once_and_trouble_later_is_not_that() {
    let script = ScriptedTransport::new();
    let client = client(&script);
    let oops = r#"{"code":500,"message":"Oops. Something went wrong. Check your URI and try again."}"#;
    script.respond(500, oops);
    let error = client.resource_metadata(&Resource::profile()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownOrganisation);
    assert!(error.remedy().contains("organisation"));
    script.respond(200, "{}").respond(500, oops).respond(200, "{}");
    client.resource_metadata(&Resource::profile()).await.unwrap();
    client.resource_metadata(&Resource::profile()).await.unwrap();
    assert_eq!(script.count(), 4);
}

#[tokio::test]
async fn a_key_that_the_service_read_as_something_else_is_no_record() {
    let script = ScriptedTransport::new();
    let records = client(&script).records(Resource::profile());
    let attribute = RecordKey::new("email").unwrap();
    script.respond(200, r#"{"content":["ida@example.org"],"serverSidePagination":false}"#);
    let error = records.get::<CustomRecord>(&attribute).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::HostileKey, Delivery::Refused));
    assert!(!format!("{error} {error:?}").contains("ida"));
    script.respond(200, r#"{"PKey":"@m","apiName":"resourceType","content":{}}"#);
    assert_eq!(records.get::<CustomRecord>(&key()).await.unwrap_err().kind(), ErrorKind::HostileKey);
    script.respond(200, r#""ida@example.org""#);
    assert_eq!(records.get::<CustomRecord>(&key()).await.unwrap_err().kind(), ErrorKind::Decode);
    script.respond(200, r#"{"PKey":"@a","externalId":"k1"}"#);
    assert!(records.get::<CustomRecord>(&key()).await.unwrap().is_some());
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_names_its_request() {
    let script = ScriptedTransport::new();
    let client = client(&script);
    let records = client.records(Resource::profile());
    let names = |error: campaign_client::Error, operation: &str| {
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Decode, Some(operation)));
    };
    script.respond(200, "nonsense");
    names(records.get::<CustomRecord>(&key()).await.unwrap_err(), "GET profileAndServicesExt/profile/{key}");
    script.respond(201, "nonsense");
    let created = records.create(Bytes::from_static(b"{}")).await.unwrap();
    names(created.decode::<CustomRecord>().unwrap_err(), "POST profileAndServicesExt/profile");
    script.respond(200, "nonsense");
    let query = ListQuery::new(Resource::profile());
    names(client.list::<CustomRecord>(&query).await.unwrap_err(), "GET profileAndServicesExt/profile");
    script.respond(200, "nonsense");
    names(client.resources(Family::CustomResources).await.unwrap_err(), "GET customResources/");
    script.respond(200, "nonsense");
    names(
        client.resource_metadata(&Resource::profile()).await.unwrap_err(),
        "GET profileAndServicesExt/resourceType/profile",
    );
}

#[tokio::test]
async fn a_delete_by_key_that_the_service_does_not_know_goes_by_primary_key() {
    let script = ScriptedTransport::new();
    let records = client(&script).records(Resource::profile());
    script.respond(405, "RST-360011 The method is not supported on this resource.");
    script.respond(200, r#"{"PKey":"@abc","externalId":"k1"}"#).respond(200, "");
    assert_eq!(records.delete(&key()).await.unwrap(), Deleted::Deleted);
    script.respond(405, "").respond(404, GONE);
    assert_eq!(records.delete(&key()).await.unwrap(), Deleted::AlreadyGone);
    let by_key = [format!("DELETE {BASE}/k1"), format!("GET {BASE}/k1")];
    let sent = lines(&script);
    assert_eq!(sent[..2], by_key);
    assert_eq!(sent[2], format!("DELETE {BASE}/%40abc"));
    assert_eq!(sent[3..], by_key);
}

#[tokio::test]
async fn a_503_with_a_pause_is_unclear_for_a_create_and_throttling_that_does_not_end_keeps_its_code() {
    let script = ScriptedTransport::new();
    let client = client(&script);
    let records = client.records(Resource::profile());
    script.respond_with(503, &[("retry-after", "5")], "");
    let error = records.create(Bytes::from_static(b"{}")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery(), script.count()), (ErrorKind::Gateway, Delivery::MaybeApplied, 1));
    assert_eq!(error.retry_after(), Some(std::time::Duration::from_secs(5)));
    script.respond_with(
        429,
        &[("retry-after", "86400")],
        r#"{"error_code":"429050","message":"CANARY over capacity"}"#,
    );
    let error = records.create(Bytes::from_static(b"{}")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery(), error.code()),
        (ErrorKind::Throttled, Delivery::Refused, Some("429050"))
    );
    assert_eq!(error.retry_after(), Some(std::time::Duration::from_secs(86_400)));
    assert!(!format!("{error} {error:?}").contains("CANARY"));
}

#[tokio::test]
async fn refused_credentials_are_told_with_the_code_of_the_identity_service() {
    let script = ScriptedTransport::new();
    script.respond_with(400, &[("x-request-id", "r-1")], r#"{"error":"invalid_client","error_description":"CANARY"}"#);
    let client = CampaignClient::builder(config())
        .transport(Arc::new(script.clone()))
        .clock(ManualClock::auto_advancing().shared())
        .build()
        .unwrap();
    let error = client.find_resource("profile").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Credentials);
    assert_eq!(
        error.to_string(),
        "POST token: the identity service refuses the credentials: the identity provider refused the credentials: \
         invalid_client (status 400), request id r-1"
    );
}
