//! A client over a scripted transport.
#![allow(dead_code, reason = "each test binary uses its own part of it")]

use std::sync::Arc;

use d365_client::{D365Client, D365Config, EntityDef};
use http_kit::testing::ScriptedTransport;
use http_kit::{SecretString, StaticToken, TransportRequest};
use timing::{FixedEntropy, ManualClock};

pub(crate) const BASE: &str = "https://acme.crm4.dynamics.com/api/data/v9.2";
pub(crate) const SECRET: &str = "canary-secret-value";

pub(crate) fn config() -> D365Config {
    D365Config::new("https://acme.crm4.dynamics.com/", "contoso.example", "app-id", SecretString::from(SECRET))
}

/// A client with a token at hand, so that every request of the script is a request of the Web API.
pub(crate) fn client() -> (D365Client, ScriptedTransport) {
    client_with(config())
}

pub(crate) fn client_with(config: D365Config) -> (D365Client, ScriptedTransport) {
    let script = ScriptedTransport::new();
    let client = D365Client::builder(config)
        .transport(Arc::new(script.clone()))
        .clock(Arc::new(ManualClock::auto_advancing()))
        .entropy(Arc::new(FixedEntropy::new(0.0)))
        .authenticator(Arc::new(StaticToken::new(&SecretString::from("canary-token")).unwrap()))
        .build()
        .unwrap();
    (client, script)
}

pub(crate) fn contact() -> Arc<EntityDef> {
    EntityDef::new("contact", "contacts", "contactid").unwrap().shared()
}

/// `METHOD url`.
pub(crate) fn line(request: &TransportRequest) -> String {
    format!("{} {}", request.method, request.url)
}

pub(crate) fn header<'a>(request: &'a TransportRequest, name: &str) -> Option<&'a str> {
    request.headers.get(name).map(|value| value.to_str().unwrap())
}

pub(crate) fn body(request: &TransportRequest) -> &str {
    std::str::from_utf8(&request.body).unwrap()
}
