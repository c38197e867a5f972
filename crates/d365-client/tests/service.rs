//! Identity, limits, failures, and what never shows up anywhere.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by a panic, also in what it shares"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use d365_client::{D365Client, D365Config, Delivery, DynamicEntity, EntityBody, ErrorKind};
use http_kit::testing::ScriptedTransport;
use http_kit::{SecretString, TransportErrorKind};
use support::{BASE, SECRET, body, client, config, contact, header, line};
use timing::{FixedEntropy, ManualClock};
use uuid::Uuid;

const WHO: &str = r#"{"@odata.context":"x","BusinessUnitId":"11111111-0000-0000-0000-000000000001",
 "UserId":"22222222-0000-0000-0000-000000000002","OrganizationId":"33333333-0000-0000-0000-000000000003"}"#;

/// A client that gets its own tokens.
fn granted(config: D365Config) -> (D365Client, ScriptedTransport) {
    let script = ScriptedTransport::new();
    let client = D365Client::builder(config)
        .transport(Arc::new(script.clone()))
        .clock(Arc::new(ManualClock::auto_advancing()))
        .entropy(Arc::new(FixedEntropy::new(0.0)))
        .build()
        .unwrap();
    (client, script)
}

#[tokio::test]
async fn who_am_i_gets_a_token_and_reads_the_limits() {
    let (client, script) = granted(config());
    script.respond(200, r#"{"token_type":"Bearer","expires_in":3599,"access_token":"eyJ0-canary"}"#).respond_with(
        200,
        &[
            ("x-ms-ratelimit-burst-remaining-xrm-requests", "5999"),
            ("x-ms-ratelimit-time-remaining-xrm-requests", "1,200.00"),
            ("x-ms-dop-hint", "4"),
        ],
        WHO,
    );
    let who = client.who_am_i().await.unwrap();
    assert_eq!(who.user_id, "22222222-0000-0000-0000-000000000002".parse::<Uuid>().unwrap());
    assert_eq!(who.organization_id, "33333333-0000-0000-0000-000000000003".parse::<Uuid>().unwrap());
    assert_eq!(who.business_unit_id, "11111111-0000-0000-0000-000000000001".parse::<Uuid>().unwrap());
    assert_eq!(who.limits.remaining_time, Some(Duration::from_secs(1200)));
    assert_eq!((who.limits.remaining_requests, who.limits.advised_parallelism), (Some(5999), Some(4)));
    let requests = script.requests();
    assert_eq!(line(&requests[0]), "POST https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token");
    let form = body(&requests[0]);
    assert!(form.contains("grant_type=client_credentials") && form.contains("client_id=app-id"), "{form}");
    assert!(form.contains("scope=https%3A%2F%2Facme.crm4.dynamics.com%2F.default"), "{form}");
    assert_eq!(header(&requests[0], "authorization"), None);
    assert_eq!(line(&requests[1]), format!("GET {BASE}/WhoAmI"));
    assert_eq!(header(&requests[1], "authorization"), Some("Bearer eyJ0-canary"));
}

#[tokio::test]
async fn the_days_of_change_tracking_are_asked_of_the_organisation() {
    let (client, script) = client();
    script
        .respond(200, r#"{"value":[{"organizationid":"x","expirechangetrackingindays":7}]}"#)
        .respond(200, r#"{"value":[]}"#);
    assert_eq!(client.change_tracking_days().await.unwrap(), Some(7));
    assert_eq!(client.change_tracking_days().await.unwrap(), None);
    assert_eq!(line(&script.requests()[0]), format!("GET {BASE}/organizations?$select=expirechangetrackingindays"));
}

#[tokio::test]
async fn a_wrong_secret_is_a_permanent_fault_of_its_own() {
    let (client, script) = granted(config());
    script.respond_with(
        401,
        &[("x-ms-request-id", "7f0c-12")],
        r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided."}"#,
    );
    let error = client.who_am_i().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "POST token: no access token could be obtained: the identity provider refused the credentials: invalid_client \
         (AADSTS7000215) (status 401), request id 7f0c-12"
    );
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Auth, Delivery::NotSent));
    assert!(error.is_permanent());
    assert!(!error.remedy().is_empty());
    assert_eq!(script.count(), 1);
}

#[tokio::test]
async fn a_missing_application_user_is_told_with_its_remedy() {
    let (client, script) = client();
    script.respond(403, r#"{"error":{"code":"0x80072560","message":"The user is not a member of the organization."}}"#);
    let error = client.who_am_i().await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::NotMember, Some(0x8007_2560)));
    assert!(error.remedy().contains("application user"), "{}", error.remedy());
}

#[tokio::test]
async fn throttling_pauses_and_repeats_also_a_create() {
    let (client, script) = client();
    let limit = r#"{"error":{"code":"0x80072322","message":"Number of requests exceeded the limit of 6000."}}"#;
    script.respond_with(429, &[("Retry-After", "27")], limit).respond_with(
        204,
        &[("OData-EntityId", "x/contacts(22222222-0000-0000-0000-000000000002)")],
        "",
    );
    let api = client.entity_with::<DynamicEntity>(contact());
    api.create(&EntityBody::new().set("lastname", "x").unwrap()).await.unwrap();
    assert_eq!(script.count(), 2);
    assert_eq!(client.stats().throttled, 1);
}

#[tokio::test]
async fn throttling_that_does_not_end_keeps_the_code_and_the_wait() {
    let (client, script) = client();
    let limit = r#"{"error":{"code":"0x80072321","message":"CANARY Combined execution time exceeded."}}"#;
    script.respond_with(429, &[("Retry-After", "86400")], limit);
    let error = client.who_am_i().await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Throttled, Some(0x8007_2321)));
    assert_eq!(error.retry_after(), Some(Duration::from_secs(86_400)));
    assert!(error.to_string().contains("status 429, code 0x80072321"), "{error}");
    assert!(!format!("{error} {error:?}").contains("CANARY"));
}

#[tokio::test]
async fn the_wait_that_an_answer_asks_for_is_read_in_both_forms() {
    for (named, seconds) in [("7", 7), ("Wed, 21 Oct 2015 07:28:12 GMT", 12), ("99999999999999999999", 31_536_000)] {
        let (client, script) = client();
        script.respond_with(503, &[("Retry-After", named), ("Date", "Wed, 21 Oct 2015 07:28:00 GMT")], "");
        let error = client.entity_with::<DynamicEntity>(contact()).create(&EntityBody::new()).await.unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_secs(seconds)), "{named}");
    }
}

#[tokio::test]
async fn a_server_error_is_repeated_for_a_read_and_reported_for_a_create() {
    let (client, script) = client();
    script.respond(500, "").respond(200, WHO);
    client.who_am_i().await.unwrap();
    script.respond(500, "<html>oops</html>");
    let error = client.entity_with::<DynamicEntity>(contact()).create(&EntityBody::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ServiceUnavailable, Delivery::MaybeApplied));
    assert_eq!(script.count(), 3);
}

#[tokio::test]
async fn a_create_answered_with_503_and_a_pause_may_have_been_executed() {
    let (client, script) = client();
    script.respond_with(503, &[("Retry-After", "5")], "<html>busy</html>");
    let error = client.entity_with::<DynamicEntity>(contact()).create(&EntityBody::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ServiceUnavailable, Delivery::MaybeApplied));
    assert_eq!(error.retry_after(), Some(Duration::from_secs(5)));
    assert_eq!(script.count(), 1);
    let limit =
        r#"{"error":{"code":"0x80072326","message":"Number of concurrent requests exceeded the limit of 52."}}"#;
    script.respond_with(503, &[("Retry-After", "5")], limit).respond_with(
        204,
        &[("OData-EntityId", "x/contacts(22222222-0000-0000-0000-000000000002)")],
        "",
    );
    client.entity_with::<DynamicEntity>(contact()).create(&EntityBody::new()).await.unwrap();
    assert_eq!(script.count(), 3, "the code of service protection says that nothing was executed");
}

#[tokio::test]
async fn a_refusal_with_status_500_is_still_a_refusal() {
    let (client, script) = client();
    script.respond(
        500,
        r#"{"error":{"code":"0x80040333","message":"a duplicate of the current record already exists."}}"#,
    );
    let error = client.who_am_i().await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Duplicate, Delivery::Refused));
    assert_eq!(script.count(), 1, "repeating a refusal is pointless");
}

#[tokio::test]
async fn a_passing_trouble_with_status_400_is_repeated() {
    let (client, script) = client();
    script.respond(400, r#"{"error":{"code":"0x80044150","message":"Generic SQL error."}}"#).respond(200, WHO);
    client.who_am_i().await.unwrap();
    assert_eq!(script.count(), 2);
}

#[tokio::test]
async fn a_network_failure_says_that_nothing_was_sent() {
    let (client, script) = client();
    for _ in 0..8 {
        script.fail(TransportErrorKind::Connect, Delivery::NotSent);
    }
    let error = client.who_am_i().await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Transport, Delivery::NotSent));
    assert!(!error.is_permanent());
}

#[tokio::test]
async fn answers_of_other_services_are_told_apart() {
    for body in ["<html>sign in</html>", "[]", "{}", "\u{feff}"] {
        let (client, script) = client();
        script.respond(200, body.to_owned());
        let error = client.who_am_i().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode, "{body}");
        assert!(error.remedy().contains("Dataverse"));
    }
}

#[tokio::test]
async fn neither_secret_nor_token_nor_value_shows_up() {
    let (client, script) = granted(config());
    let lastname = "Canary-Lovelace";
    script
        .respond(200, r#"{"token_type":"Bearer","expires_in":3599,"access_token":"eyJ0-canary"}"#)
        .respond(
            400,
            format!(r#"{{"error":{{"code":"0x80048d19","message":"Error identified in Payload: {lastname}"}}}}"#),
        )
        .respond(200, format!(r#"{{"value":[{{"contactid":"{lastname}","lastname":["{lastname}"]]}}"#));
    let api = client.entity_with::<DynamicEntity>(contact());
    let change = EntityBody::new().set("lastname", lastname).unwrap();
    let refused = api.create(&change).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Payload);
    assert!(refused.server_message().unwrap().contains(lastname), "on demand only");
    let garbled = api.retrieve_many(&[Uuid::nil()], &[]).await.unwrap_err();
    assert_eq!(garbled.kind(), ErrorKind::Decode);
    let row: DynamicEntity = serde_json::from_str(&format!(r#"{{"lastname":"{lastname}"}}"#)).unwrap();
    let shown =
        format!("{refused} {refused:?} {garbled} {garbled:?} {client:?} {api:?} {change:?} {row:?} {:?}", config());
    for canary in [lastname, SECRET, "eyJ0-canary"] {
        assert!(!shown.contains(canary), "{canary} in {shown}");
    }
}

#[test]
fn a_bad_configuration_is_refused_without_asking_anybody() {
    let config = D365Config::new("http://acme.crm4.dynamics.com", "contoso.example", "app", SecretString::from(SECRET));
    let error = D365Client::new(config).unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Configuration, Delivery::NotSent));
    let no_secret = D365Config::new("https://acme.crm4.dynamics.com", "contoso.example", "app", SecretString::from(""));
    assert_eq!(D365Client::new(no_secret).unwrap_err().kind(), ErrorKind::Configuration);
}
