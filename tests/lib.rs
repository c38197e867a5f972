//! A sandbox and a connector in one process, for tests of what a host sees.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

mod draw;
pub mod linked;
pub mod opt_outs;
pub mod steps;
pub mod timeline;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use d365_campaign::{Config, Connector, ErrorKind, RunMode, RunSummary};
use sandbox::scenario::Scenario;
use sandbox::{Sandbox, SandboxConfig};
use serde_json::Value;
use tempfile::TempDir;
use timing::{Clock, SharedClock, SystemClock};

/// A run of a test has come to rest within this time.
const AT_REST: Duration = Duration::from_secs(60);

/// The machine's clock with a calendar that is ahead, or with a faster time.
#[derive(Debug)]
struct Ahead {
    clock: SystemClock,
    ahead: Duration,
    /// Seconds that pass in one.
    times: u32,
}

#[async_trait::async_trait]
impl Clock for Ahead {
    fn now(&self) -> DateTime<Utc> {
        self.clock.now() + self.ahead + self.clock.monotonic() * (self.times - 1)
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic() * self.times
    }

    async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration / self.times).await;
    }
}

/// Starts as often as a service is not there, as a supervisor would; the bound only ends a test that would hang.
async fn connected(config: Config, clock: SharedClock) -> Connector {
    for _ in 0..50 {
        match Connector::builder(config.clone()).clock(clock.clone()).connect().await {
            Ok(connector) => return connector,
            Err(error) if error.kind() == ErrorKind::Unavailable => clock.sleep(Duration::from_secs(5)).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the services were never there")
}

/// The machine's clock with a calendar that is ahead.
pub fn clock_ahead(ahead: Duration) -> SharedClock {
    Arc::new(Ahead { clock: SystemClock::new(), ahead, times: 1 })
}

/// A clock on which so many seconds pass in one. Runs on one store share it: the calendar of a new one is behind.
fn clock_faster(times: u32) -> SharedClock {
    Arc::new(Ahead { clock: SystemClock::new(), ahead: Duration::ZERO, times })
}

/// A sandbox with a scenario, and a folder for the store.
#[derive(Debug)]
pub struct Stage {
    sandbox: Sandbox,
    dir: TempDir,
    http: reqwest::Client,
}

impl Stage {
    /// Starts a sandbox with so many contacts and this scenario.
    pub async fn new(contacts: u64, scenario: &str) -> Self {
        let scenario = Scenario::parse(scenario).unwrap_or_else(|error| panic!("{error}: {scenario}"));
        Self::with(SandboxConfig { contacts, scenario, ..SandboxConfig::default() }).await
    }

    /// Starts a sandbox with these settings.
    pub async fn with(config: SandboxConfig) -> Self {
        Self {
            sandbox: Sandbox::start(config).await.unwrap(),
            dir: tempfile::tempdir().unwrap(),
            http: reqwest::Client::new(),
        }
    }

    /// The sandbox's description.
    pub fn info(&self) -> Value {
        self.sandbox.info().to_json()
    }

    /// Runs the given tables until both sides are at rest, with a store that lasts as long as the stage.
    pub async fn run(&self, extra: &str, tables: &str) -> RunSummary {
        self.run_config(self.config(extra, tables)).await
    }

    /// The configuration for the given tables; `extra` goes into `[dataverse]`.
    pub fn config(&self, extra: &str, tables: &str) -> Config {
        self.config_with(extra, "settle_seconds = 0", "", tables)
    }

    /// The configuration with further lines in `[dataverse]`, `[campaign]` and `[store]`, and whatever follows.
    pub fn config_with(&self, dataverse: &str, campaign: &str, store: &str, rest: &str) -> Config {
        let text = self.config_text(dataverse, campaign, store, rest);
        Config::parse(&text, self.dir.path()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The text of that configuration, for another process.
    pub fn config_text(&self, dataverse: &str, campaign: &str, store: &str, rest: &str) -> String {
        let info = self.info();
        let (d, c) = (&info["dataverse"], &info["campaign"]);
        format!(
            "[dataverse]\nurl = {}\ntenant = {}\nauthority = {}\nclient_id = {}\nclient_secret = {{ plain = {} }}\n\
             poll_seconds = 1\n{dataverse}\n\
             [campaign]\nurl = {}\nims_url = {}\nclient_id = {}\nclient_secret = {{ plain = {} }}\norg_id = {}\n\
             {campaign}\n[store]\nsqlite = \"sync.db\"\n{store}\n{rest}",
            d["url"],
            d["tenant"],
            d["authority"],
            d["client_id"],
            d["client_secret"],
            c["url"],
            c["ims_url"],
            c["client_id"],
            c["client_secret"],
            c["org_id"],
        )
    }

    /// Writes a file into the folder of the store and answers its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Runs a configuration until both sides are at rest.
    pub async fn run_config(&self, config: Config) -> RunSummary {
        self.run_later(config, Duration::ZERO).await
    }

    /// The same by a clock that is ahead.
    pub async fn run_later(&self, config: Config, ahead: Duration) -> RunSummary {
        self.run_by(config, clock_ahead(ahead), AT_REST).await
    }

    /// The same by a clock on which so many seconds pass in one: waits of minutes take seconds.
    pub async fn run_faster(&self, config: Config, times: u32) -> RunSummary {
        self.run_by(config, clock_faster(times), AT_REST).await
    }

    async fn run_by(&self, config: Config, clock: SharedClock, limit: Duration) -> RunSummary {
        let running = Box::pin(connected(config, clock)).await.start(RunMode::UntilIdle);
        // A run that never comes to rest is a failure to be told, not a test that hangs.
        let ended = tokio::time::timeout(limit, running.join()).await;
        ended.unwrap_or_else(|_| panic!("the run did not come to rest"))
    }

    /// Rows from the control interface.
    pub async fn records(&self, side: &str, table: &str) -> Vec<Value> {
        self.lines(&format!("/records/{side}/{table}")).await
    }

    /// The objects that a call of the control interface answers, one a line.
    pub async fn lines(&self, path: &str) -> Vec<Value> {
        self.get(path).await.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The same one by one, for answers that are too long to be held as a whole.
    pub async fn each_line(&self, path: &str, mut told: impl FnMut(Value)) {
        let mut answer = self.http.get(self.control(path)).send().await.unwrap().error_for_status().unwrap();
        let mut rest = Vec::new();
        while let Some(chunk) = answer.chunk().await.unwrap() {
            for part in chunk.split_inclusive(|byte| *byte == b'\n') {
                rest.extend_from_slice(part);
                if rest.last() == Some(&b'\n') {
                    told(serde_json::from_slice(&rest).unwrap());
                    rest.clear();
                }
            }
        }
        assert!(rest.is_empty(), "the last line has an end");
    }

    /// Removes the store: the next run knows nothing.
    pub fn forget(&self) {
        for entry in std::fs::read_dir(self.dir.path()).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }

    /// The counters.
    pub async fn counters(&self) -> Value {
        serde_json::from_str(&self.get("/counters").await).unwrap()
    }

    /// A POST to the control interface.
    pub async fn post(&self, path: &str, body: &Value) {
        let answer = self.http.post(self.control(path)).json(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
    }

    /// How often scripted faults fired.
    pub async fn faults_fired(&self) -> u64 {
        self.faults().await.iter().filter_map(|rule| rule["fired"].as_u64()).sum()
    }

    /// The scripted faults, each with how often it fired.
    pub async fn faults(&self) -> Vec<Value> {
        serde_json::from_str(&self.get("/faults").await).unwrap()
    }

    /// From now on nothing fails on purpose.
    pub async fn clear_faults(&self) {
        self.delete("/faults").await;
    }

    /// Puts one row through the control interface.
    pub async fn put(&self, path: &str, body: &Value) {
        let answer = self.http.put(self.control(path)).json(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
    }

    /// Changes some columns of one row, as another client would; `false` where there is no such row.
    pub async fn patch(&self, path: &str, fields: &Value) -> bool {
        self.http.patch(self.control(path)).json(fields).send().await.unwrap().status().is_success()
    }

    /// Every change of a single row since the sandbox keeps them.
    pub async fn history(&self) -> Vec<Value> {
        self.lines("/history").await
    }

    /// Puts a file into the file exchange.
    pub async fn put_file(&self, path: &str, content: Vec<u8>) {
        let answer = self.http.put(self.control(&format!("/files/{path}"))).body(content).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
    }

    /// Deletes one row through the control interface.
    pub async fn delete(&self, path: &str) {
        let answer = self.http.delete(self.control(path)).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
    }

    /// The same, where there may be none.
    pub async fn remove(&self, path: &str) -> bool {
        self.http.delete(self.control(path)).send().await.unwrap().status().is_success()
    }

    /// A version of Dataverse that later changes are ahead of.
    pub async fn reserve_version(&self) -> i64 {
        let body = serde_json::json!({"reserve": 1});
        let answer = self.http.post(self.control("/versions")).json(&body).send().await.unwrap();
        let answer: Value = answer.error_for_status().unwrap().json().await.unwrap();
        answer["versions"][0].as_i64().unwrap()
    }

    /// Deletes a contact as any client of the service would.
    pub async fn delete_contact(&self, id: &str) {
        let info = self.info();
        let of = |name: &str| info["dataverse"][name].as_str().unwrap().trim_end_matches('/').to_owned();
        let scope = format!("{}/.default", of("url"));
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &of("client_id")),
            ("client_secret", &of("client_secret")),
            ("scope", &scope),
        ];
        let url = format!("{}/{}/oauth2/v2.0/token", of("authority"), of("tenant"));
        let answer = self.http.post(url).form(&form).send().await.unwrap().error_for_status().unwrap();
        let token: Value = answer.json().await.unwrap();
        let url = format!("{}/api/data/v9.2/contacts({id})", of("url"));
        let deleted = self.http.delete(url).bearer_auth(token["access_token"].as_str().unwrap()).send().await.unwrap();
        assert!(deleted.status().is_success(), "{}", deleted.status());
    }

    async fn get(&self, path: &str) -> String {
        self.http.get(self.control(path)).send().await.unwrap().error_for_status().unwrap().text().await.unwrap()
    }

    fn control(&self, path: &str) -> String {
        format!("{}{path}", self.info()["control"].as_str().unwrap().trim_end_matches('/'))
    }
}
