//! Campaign on a free port of this machine, and a raw HTTP client that knows nothing but the protocol.

#![allow(dead_code, reason = "each test file uses its part")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its surroundings fail")]

use std::sync::Arc;
use std::time::Duration;

use sandbox::campaign::{CampaignScenario, CampaignService};
use sandbox::service::{ServiceConfig, Shared, Side};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub(crate) const EXT: &str = "/profileAndServicesExt";
pub(crate) const PROFILE: &str = "/profileAndServicesExt/profile";
pub(crate) const VEHICLE: &str = "/profileAndServicesExt/cusVehicle";

pub(crate) struct Campaign {
    pub(crate) service: Arc<CampaignService>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) origin: String,
    pub(crate) base: String,
    pub(crate) token: String,
    client: reqwest::Client,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    #[track_caller]
    pub(crate) fn refused(self, status: u16, part: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        assert!(self.text.contains(part), "{:?} is not in {:?}", part, self.text);
    }
}

pub(crate) async fn start(scenario: &str) -> Campaign {
    let scenario: CampaignScenario = toml::from_str(scenario).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let config = ServiceConfig {
        dataverse_url: String::new(),
        authority: String::new(),
        tenant: String::new(),
        dataverse_client_id: String::new(),
        dataverse_client_secret: String::new(),
        campaign_url: format!("{origin}/acme"),
        organization: "acme".to_owned(),
        ims_url: origin.clone(),
        campaign_client_id: "key".to_owned(),
        campaign_client_secret: String::new(),
        org_id: String::new(),
        control_url: String::new(),
        seed: 42,
        contacts: 0,
        dataverse_latency: Duration::ZERO,
        campaign_latency: Duration::ZERO,
    };
    let shared = Arc::new(Shared::new(config, CancellationToken::new()));
    let service = CampaignService::new(&scenario, shared.clone()).unwrap();
    let layer = axum::middleware::from_fn_with_state((Side::Campaign, shared.clone()), sandbox::service::serve);
    let router = service.router().layer(layer);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let (token, _) = shared.tokens.issue(Side::Campaign);
    Campaign { service, shared, base: format!("{origin}/acme/campaign"), origin, token, client: reqwest::Client::new() }
}

impl Campaign {
    pub(crate) async fn send(
        &self,
        method: &str,
        address: &str,
        body: Option<String>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let address = if address.starts_with("http") { address.to_owned() } else { format!("{}{address}", self.base) };
        let mut request = self.client.request(method.parse().unwrap(), &address);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let response = request.send().await.unwrap();
        Answer {
            status: response.status().as_u16(),
            content_type: response
                .headers()
                .get("content-type")
                .map(|v| v.to_str().unwrap().to_owned())
                .unwrap_or_default(),
            text: response.text().await.unwrap(),
        }
    }

    pub(crate) async fn call(&self, method: &str, address: &str, body: Option<Value>) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("authorization", bearer.as_str()), ("x-api-key", "key")];
        self.send(method, address, body.map(|b| b.to_string()), &headers).await
    }

    pub(crate) async fn get(&self, address: &str) -> Answer {
        self.call("GET", address, None).await
    }

    pub(crate) async fn post(&self, address: &str, body: Value) -> Answer {
        self.call("POST", address, Some(body)).await
    }

    pub(crate) async fn patch(&self, address: &str, body: Value) -> Answer {
        self.call("PATCH", address, Some(body)).await
    }

    pub(crate) async fn delete(&self, address: &str) -> Answer {
        self.call("DELETE", address, None).await
    }

    /// `externalId` of a list's rows.
    pub(crate) async fn ids(&self, address: &str) -> Vec<String> {
        ids(&self.get(address).await.expect(200))
    }

    /// The control listing.
    pub(crate) fn records(&self, resource: &str) -> Vec<Value> {
        let all: Vec<u8> = self.service.records(resource).unwrap().flatten().collect();
        assert!(all.is_ascii());
        std::str::from_utf8(&all).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

pub(crate) fn ids(list: &Value) -> Vec<String> {
    let id = |row: &Value| row["externalId"].as_str().or(row["cusVehicleId"].as_str()).unwrap().to_owned();
    list["content"].as_array().unwrap().iter().map(id).collect()
}
