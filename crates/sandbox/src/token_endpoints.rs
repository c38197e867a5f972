//! The token endpoints: Entra's for Dataverse, IMS for Campaign.

use std::collections::HashMap;

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::campaign::CampaignSwitches;
use crate::oauth::{TokenState, basic};
use crate::service::{Shared, Side, plain};

const TOKEN_PATH: &str = "/oauth2/v2.0/token";
const DISCOVERY_PATH: &str = "/v2.0/.well-known/openid-configuration";

fn answer(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = plain(status, "application/json; charset=utf-8", body.to_string());
    response.headers_mut().insert(header::CACHE_CONTROL, http::HeaderValue::from_static("no-store, no-cache"));
    response
}

fn form(text: &str) -> HashMap<String, String> {
    url::form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

/// The tenant of a path of the authority; `None` when the path belongs to something else.
pub(crate) fn authority_path(path: &str) -> Option<(&str, bool)> {
    let path = path.strip_prefix('/')?;
    if let Some(tenant) = path.strip_suffix(TOKEN_PATH) {
        return Some((tenant, true));
    }
    path.strip_suffix(DISCOVERY_PATH).map(|tenant| (tenant, false))
}

/// Entra's answers (learn.microsoft.com, "Microsoft identity platform and the OAuth 2.0 client credentials flow", "Microsoft Entra
/// authentication and authorization error codes").
pub(crate) fn entra(
    shared: &Shared,
    tenant: &str,
    token: bool,
    parts: &Parts,
    body: &[u8],
    ext_expires_in: bool,
) -> Response {
    let config = &shared.config;
    let refuse = |status: u16, error: &str, code: u32, message: &str| {
        let now = shared.clock.now().format("%Y-%m-%d %H:%M:%SZ").to_string();
        let (trace, correlation) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
        let description = format!(
            "AADSTS{code}: {message}\r\nTrace ID: {trace}\r\nCorrelation ID: {correlation}\r\nTimestamp: {now}"
        );
        let body = json!({
            "error": error, "error_description": description, "error_codes": [code], "timestamp": now,
            "trace_id": trace.to_string(), "correlation_id": correlation.to_string(),
            "error_uri": format!("{}/error?code={code}", config.authority),
        });
        answer(status, &body)
    };
    if ![config.tenant.as_str(), crate::dataverse::TENANT].iter().any(|own| tenant.eq_ignore_ascii_case(own)) {
        let message = format!(
            "Tenant '{}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.",
            tenant.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-')).take(80).collect::<String>()
        );
        return refuse(400, "invalid_request", 90_002, &message);
    }
    if !token {
        // The issuer is the address that was asked, under the tenant's name or its id (OpenID Connect Discovery 1.0, section 4.3).
        let base = format!("{}/{tenant}", config.authority);
        return answer(
            200,
            &json!({
                "issuer": format!("{base}/v2.0"),
                "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
                "token_endpoint": format!("{base}{TOKEN_PATH}"),
                "jwks_uri": format!("{base}/discovery/v2.0/keys"),
                "response_types_supported": ["code"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "grant_types_supported": ["client_credentials"],
                "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            }),
        );
    }
    if parts.method != Method::POST {
        return refuse(405, "invalid_request", 900_561, "The endpoint only accepts POST requests.");
    }
    let mut form = form(std::str::from_utf8(body).unwrap_or_default());
    if let Some((id, secret)) = basic(&parts.headers) {
        form.insert("client_id".to_owned(), id);
        form.insert("client_secret".to_owned(), secret);
    }
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    if field("grant_type") != "client_credentials" {
        return refuse(400, "unsupported_grant_type", 70_003, "The app requested an unsupported grant type.");
    }
    if field("client_id").is_empty() {
        let message = "The request body must contain the following parameter: 'client_id'.";
        return refuse(400, "invalid_request", 900_144, message);
    }
    if field("client_id") != config.dataverse_client_id {
        let message = "Application with the identifier that was sent was not found in the directory. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant.";
        return refuse(400, "unauthorized_client", 700_016, message);
    }
    if field("client_secret") != config.dataverse_client_secret {
        let message = "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to the app.";
        return refuse(401, "invalid_client", 7_000_215, message);
    }
    // A doubled slash comes from an address that ends with one, and does no harm at the service. Loopback has a name, too.
    let scope = field("scope");
    let resource = scope.strip_suffix("/.default").map(|resource| resource.strip_suffix('/').unwrap_or(resource));
    let named = config.dataverse_url.replace("//127.0.0.1:", "//localhost:").replace("//[::1]:", "//localhost:");
    if resource.is_none_or(|resource| resource != config.dataverse_url && resource != named) {
        return refuse(
            400,
            "invalid_scope",
            70_011,
            "The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid.",
        );
    }
    let (token, lifetime) = shared.tokens.issue(Side::Dataverse);
    let mut body = json!({"token_type": "Bearer", "expires_in": lifetime, "access_token": token});
    if ext_expires_in {
        body["ext_expires_in"] = lifetime.into();
    }
    answer(200, &body)
}

/// The scope that lets a token name the organizations of its account (experienceleague.adobe.com, "Troubleshooting").
const PRODUCT_CONTEXT: &str = "additional_info.projectedProductContext";

/// IMS (developer.adobe.com, "Server to Server authentication"): parameters in the query or in the body.
pub(crate) fn ims(shared: &Shared, switches: &CampaignSwitches, method: &Method, query: &str, body: &[u8]) -> Response {
    let config = &shared.config;
    let refuse = |error: &str, description: &str| {
        answer(switches.ims_error_status, &json!({"error": error, "error_description": description}))
    };
    if method != Method::POST {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "text/plain", Body::empty());
    }
    let mut fields = form(query);
    fields.extend(form(std::str::from_utf8(body).unwrap_or_default()));
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    if field("grant_type") != "client_credentials" {
        return refuse("invalid_request", "missing or unsupported grant_type");
    }
    if field("client_id") != config.campaign_client_id {
        return refuse(&switches.ims_client_error, "invalid client_id parameter");
    }
    if field("client_secret") != config.campaign_client_secret {
        return refuse(&switches.ims_client_error, "invalid client_secret parameter");
    }
    let scopes: Vec<&str> = field("scope").split([',', ' ']).filter(|s| !s.is_empty()).collect();
    let known = |scope: &&str| {
        let plain = [
            "openid",
            "AdobeID",
            "read_organizations",
            "adobeio_api",
            "read_client_secret",
            "manage_client_secrets",
            "campaign_sdk",
        ];
        let more = ["campaign_config_server_general", "deliverability_service_general", "event_receiver_api"];
        plain.contains(scope) || more.contains(scope) || scope.starts_with("additional_info.")
    };
    if scopes.is_empty() || !scopes.iter().all(known) {
        return refuse("invalid_scope", "scope not allowed");
    }
    let (token, lifetime) = shared.tokens.issue_with(Side::Campaign, scopes.contains(&PRODUCT_CONTEXT));
    if switches.new_token_ends_earlier {
        shared.tokens.expire_others(Side::Campaign, &token);
    }
    answer(200, &json!({"access_token": token, "token_type": "bearer", "expires_in": lifetime}))
}

/// The profile of an account, by which a "Profile is not valid" is cleared up (experienceleague.adobe.com, "Troubleshooting"): the
/// organizations that its token names.
pub(crate) fn ims_profile(shared: &Shared, method: &Method, bearer: Option<&str>) -> Response {
    if method != Method::GET {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "text/plain", Body::empty());
    }
    let config = &shared.config;
    let Some(token) = bearer.filter(|token| shared.tokens.check(Side::Campaign, token) == TokenState::Valid) else {
        // The wording is the sandbox's own.
        return answer(401, &json!({"error": "invalid_token", "error_description": "the token is not valid"}));
    };
    let context = json!([{"prodCtx": {
        "organization_id": config.organization,
        "owningEntity": config.org_id,
        "serviceCode": "dma_tartan",
        "statusCode": "ACTIVE",
        "serviceLevel": "standard",
    }}]);
    let context = if shared.tokens.has_product_context(token) { context } else { json!([]) };
    answer(200, &json!({"projectedProductContext": context}))
}
