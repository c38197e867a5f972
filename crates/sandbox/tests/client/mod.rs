//! A client that knows HTTP and JSON and nothing else: what these tests say about the protocol they say themselves.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(unreachable_pub, reason = "a module of test programs")]

use reqwest::{Method, RequestBuilder, StatusCode};
use sandbox::scenario::Scenario;
use sandbox::{Sandbox, SandboxConfig};
use serde_json::{Value, json};

pub struct Client {
    pub http: reqwest::Client,
    pub sandbox: Sandbox,
    pub token: String,
}

pub struct Reply {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap().to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }

    pub fn rows(&self) -> Vec<Value> {
        self.json()["value"].as_array().cloned().unwrap_or_default()
    }

    pub fn next_link(&self) -> Option<String> {
        self.json()["@odata.nextLink"].as_str().map(str::to_owned)
    }

    pub fn delta_link(&self) -> Option<String> {
        self.json()["@odata.deltaLink"].as_str().map(str::to_owned)
    }
}

impl Client {
    pub async fn start(contacts: u64) -> Self {
        Self::with(SandboxConfig { contacts, ..SandboxConfig::default() }).await
    }

    pub async fn scenario(contacts: u64, text: &str) -> Self {
        let scenario = Scenario::parse(text).unwrap();
        Self::with(SandboxConfig { contacts, scenario, ..SandboxConfig::default() }).await
    }

    pub async fn with(config: SandboxConfig) -> Self {
        let sandbox = Sandbox::start(config).await.unwrap();
        let mut client = Self { http: reqwest::Client::new(), sandbox, token: String::new() };
        client.token = client.new_token().await;
        client
    }

    pub async fn new_token(&self) -> String {
        let info = &self.sandbox.info().dataverse;
        let scope = format!("{}/.default", info.url);
        let reply = self
            .ask_token(&[("client_id", &info.client_id), ("client_secret", &info.client_secret), ("scope", &scope)])
            .await;
        reply.expect(200).json()["access_token"].as_str().unwrap().to_owned()
    }

    pub async fn ask_token(&self, fields: &[(&str, &str)]) -> Reply {
        let info = &self.sandbox.info().dataverse;
        let url = format!("{}/{}/oauth2/v2.0/token", info.authority, info.tenant);
        self.post_form(&url, fields).await
    }

    pub async fn post_form(&self, url: &str, fields: &[(&str, &str)]) -> Reply {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.append_pair("grant_type", "client_credentials");
        body.extend_pairs(fields);
        let request =
            self.http.post(url).header("content-type", "application/x-www-form-urlencoded").body(body.finish());
        send(request).await
    }

    /// A Web API request; `path` is relative to the version, or a whole link.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = match path.starts_with("http") {
            true => path.to_owned(),
            false => format!("{}/api/data/v9.2/{path}", self.sandbox.info().dataverse.url),
        };
        self.http.request(method, url).bearer_auth(&self.token).header("accept", "application/json")
    }

    pub async fn get(&self, path: &str) -> Reply {
        send(self.request(Method::GET, path)).await
    }

    pub async fn prefer(&self, prefer: &str, path: &str) -> Reply {
        send(self.request(Method::GET, path).header("prefer", prefer)).await
    }

    pub async fn write(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Value) -> Reply {
        let mut request = self.request(method, path).json(&body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        send(request).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        send(self.request(Method::DELETE, path)).await
    }

    /// Creates a row and gives its id.
    pub async fn create(&self, set: &str, key: &str, body: Value) -> String {
        let reply = self.write(Method::POST, set, &[("prefer", "return=representation")], body).await.expect(201);
        reply.json()[key].as_str().unwrap().to_owned()
    }

    pub async fn control(&self, method: Method, path: &str, body: Value) -> Reply {
        let request = self.http.request(method.clone(), format!("{}{path}", self.sandbox.info().control));
        send(if method == Method::GET { request } else { request.json(&body) }).await
    }

    pub async fn counters(&self) -> Value {
        self.control(Method::GET, "/counters", json!(null)).await.json()
    }

    pub async fn records(&self, side: &str, table: &str) -> Vec<Value> {
        let reply = self.control(Method::GET, &format!("/records/{side}/{table}"), json!(null)).await.expect(200);
        reply.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub async fn faults(&self, rules: Value) {
        self.control(Method::POST, "/faults", rules).await.expect(200);
    }
}

pub async fn send(request: RequestBuilder) -> Reply {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    Reply { status, headers, text: response.text().await.unwrap() }
}
