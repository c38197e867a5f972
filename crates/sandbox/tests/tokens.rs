//! Both token endpoints, and what bearers are worth.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod client;

use client::{Client, send};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn entra_says_what_is_wrong() {
    let client = Client::start(0).await;
    let info = &client.sandbox.info().dataverse;
    let scope = format!("{}/.default", info.url);
    let (id, secret) = (info.client_id.as_str(), info.client_secret.as_str());
    let cases = [
        ((id, "wrong", scope.as_str()), 401, "invalid_client", 7_000_215),
        (("wrong", secret, &scope), 400, "unauthorized_client", 700_016),
        ((id, secret, "https://elsewhere.example/.default"), 400, "invalid_scope", 70_011),
        ((id, secret, ""), 400, "invalid_scope", 70_011),
    ];
    for ((id, secret, scope), status, error, code) in cases {
        let reply =
            client.ask_token(&[("client_id", id), ("client_secret", secret), ("scope", scope)]).await.expect(status);
        let body = reply.json();
        assert_eq!((&body["error"], &body["error_codes"][0]), (&json!(error), &json!(code)));
        assert!(body["error_description"].as_str().unwrap().starts_with(&format!("AADSTS{code}: ")));
        assert!(!reply.text.contains(client.sandbox.info().dataverse.client_secret.as_str()));
    }
    let fields = [("client_id", id), ("client_secret", secret), ("scope", &scope)];
    let elsewhere = format!("{}/fabrikam.example/oauth2/v2.0/token", info.authority);
    assert_eq!(client.post_form(&elsewhere, &fields).await.expect(400).json()["error_codes"][0], 90_002);
    let good = client.ask_token(&fields).await.expect(200).json();
    assert_eq!((&good["token_type"], &good["expires_in"]), (&json!("Bearer"), &json!(3599)));
}

#[tokio::test]
async fn entra_is_discovered_and_takes_basic_credentials() {
    let client = Client::start(0).await;
    let info = &client.sandbox.info().dataverse;
    let url = format!("{}/{}/v2.0/.well-known/openid-configuration", info.authority, info.tenant);
    let document = send(client.http.get(url)).await.expect(200).json();
    let token_endpoint = document["token_endpoint"].as_str().unwrap();
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let body = format!("grant_type=client_credentials&scope={}", encode(&format!("{}/.default", info.url)));
    let request = client
        .http
        .post(token_endpoint)
        .basic_auth(encode(&info.client_id), Some(encode(&info.client_secret)))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    assert!(send(request).await.expect(200).json()["access_token"].is_string());
}

#[tokio::test]
async fn a_tenant_has_a_name_and_an_id_in_any_letter_case() {
    let client = Client::start(0).await;
    let info = &client.sandbox.info().dataverse;
    let scope = format!("{}/.default", info.url);
    let by_name = scope.replace("127.0.0.1", "localhost");
    for tenant in ["contoso.example", "CONTOSO.Example", "55555555-0000-4000-8000-000000000005"] {
        let base = format!("{}/{tenant}", info.authority);
        let document =
            send(client.http.get(format!("{base}/v2.0/.well-known/openid-configuration"))).await.expect(200).json();
        assert_eq!(document["issuer"], format!("{base}/v2.0"), "the issuer is the address that was asked");
        for scope in [&scope, &by_name, &scope.replace("/.default", "//.default")] {
            let fields =
                [("client_id", info.client_id.as_str()), ("client_secret", &info.client_secret), ("scope", scope)];
            client.post_form(document["token_endpoint"].as_str().unwrap(), &fields).await.expect(200);
        }
    }
}

#[tokio::test]
async fn ims_takes_its_parameters_in_body_or_query() {
    let client = Client::start(0).await;
    let info = &client.sandbox.info().campaign;
    let url = format!("{}/ims/token/v3", info.ims_url);
    let scope = "openid, AdobeID,campaign_sdk,additional_info.projectedProductContext";
    let fields = [("client_id", info.client_id.as_str()), ("client_secret", &info.client_secret), ("scope", scope)];
    let good = client.post_form(&url, &fields).await.expect(200).json();
    assert_eq!((&good["token_type"], &good["expires_in"]), (&json!("bearer"), &json!(86_399)));
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("grant_type", "client_credentials").extend_pairs(fields);
    send(client.http.post(format!("{url}?{}", query.finish()))).await.expect(200);
    let cases = [
        ([("client_id", "wrong"), fields[1], fields[2]], "invalid_client", "invalid client_id parameter"),
        ([fields[0], ("client_secret", "wrong"), fields[2]], "invalid_client", "invalid client_secret parameter"),
        ([fields[0], fields[1], ("scope", "everything")], "invalid_scope", "scope not allowed"),
    ];
    for (fields, error, description) in cases {
        let body = client.post_form(&url, &fields).await.expect(400).json();
        assert_eq!((&body["error"], &body["error_description"]), (&json!(error), &json!(description)));
    }
}

#[tokio::test]
async fn a_token_enters_the_organizations_that_its_scopes_let_it_name() {
    let client = Client::start(0).await;
    let info = client.sandbox.info().campaign.clone();
    let long = "AdobeID,openid,read_organizations,additional_info.projectedProductContext,additional_info.roles,adobeio_api,\
        read_client_secret,manage_client_secrets,campaign_sdk,campaign_config_server_general,deliverability_service_general,event_receiver_api";
    for (scope, status, organizations) in [
        (long, 200, json!(["acme"])),
        ("openid,AdobeID,campaign_sdk,additional_info.projectedProductContext", 200, json!(["acme"])),
        ("openid,AdobeID,campaign_sdk", 403, json!([])),
    ] {
        let fields = [("client_id", info.client_id.as_str()), ("client_secret", &info.client_secret), ("scope", scope)];
        let answer = client.post_form(&format!("{}/ims/token/v3", info.ims_url), &fields).await.expect(200).json();
        let token = answer["access_token"].as_str().unwrap();
        let url = format!("{}/campaign/profileAndServicesExt/profile", info.url);
        let reply =
            send(client.http.get(url).bearer_auth(token).header("x-api-key", &info.client_id)).await.expect(status);
        assert_eq!(reply.text.contains(r#""error_code":"403023","message":"Profile is not valid""#), status == 403);
        let profile = format!("{}/ims/profile/v1", info.ims_url);
        let shown = send(client.http.get(&profile).bearer_auth(token)).await.expect(200).json();
        let names: Vec<_> = shown["projectedProductContext"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| &c["prodCtx"]["organization_id"])
            .collect();
        assert_eq!(json!(names), organizations);
        send(client.http.get(&profile).bearer_auth("made-up")).await.expect(401);
    }
}

#[tokio::test]
async fn a_bearer_is_good_at_its_own_service_until_it_expires() {
    let client = Client::start(1).await;
    client.control(Method::POST, "/tokens", json!({"side": "dataverse", "lifetime_seconds": 60})).await.expect(200);
    let client = Client { token: client.new_token().await, ..client };
    client.get("contacts").await.expect(200);
    let (campaign, _) = client.sandbox.shared().tokens.issue(sandbox::service::Side::Campaign);
    for wrong in ["", "Basic YTpi", "Bearer made-up", &format!("Bearer {campaign}")] {
        let url = format!("{}/api/data/v9.2/contacts", client.sandbox.info().dataverse.url);
        let reply = send(client.http.get(url).header("authorization", wrong)).await.expect(401);
        let expected = format!("resource_id={}/", client.sandbox.info().dataverse.url);
        assert!(reply.header("www-authenticate").ends_with(&expected));
        assert_eq!(reply.code(), "0x8004A102", "an invalid ticket, not an expired one");
        assert_eq!(reply.json()["error"]["message"], "The ticket specified for authentication is invalid");
    }
    client.control(Method::POST, "/clock", json!({"advance_seconds": 61})).await.expect(200);
    assert_eq!(client.get("contacts").await.expect(401).code(), "0x8005F101");
}
