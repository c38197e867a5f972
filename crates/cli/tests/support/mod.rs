//! What the tests of the program share: a sandbox in this process, a configuration written by hand, the program itself.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]
#![allow(dead_code, reason = "each test binary uses its own part of this support")]

pub(crate) mod oracle;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use sandbox::{Sandbox, SandboxConfig};
use serde_json::{Value, json};
use sync_testkit::fault_proxy::FaultProxy;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// A sandbox, a folder, and the program.
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) dir: TempDir,
    pub(crate) http: reqwest::Client,
}

/// What stands between the program and the sandbox. Tokens are fetched past it.
pub(crate) struct Proxies {
    pub(crate) dataverse: FaultProxy,
    pub(crate) campaign: FaultProxy,
}

/// How a run of the program ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) lines: Vec<Value>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn of(output: std::process::Output) -> Self {
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let lines = stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Self { status: output.status, lines, stdout, stderr }
    }

    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The last object of standard output.
    pub(crate) fn summary(&self) -> &Value {
        self.lines.last().unwrap_or_else(|| panic!("no summary; standard error: {}", self.stderr))
    }

    /// The counts of one table of the summary.
    pub(crate) fn table(&self, table: &str) -> &Value {
        self.summary()["workflows"][0]["tables"]
            .as_array()
            .and_then(|tables| tables.iter().find(|entry| entry["table"] == table))
            .unwrap_or_else(|| panic!("no table {table} in {}", self.summary()))
    }
}

pub(crate) const CONTACT_TABLE: &str = r#"
[[table]]
table = "contact"
resource = "profile"
key = "externalId"
apply_deletes = true
fields = [
  { from = "firstname", to = "firstName" },
  { from = "lastname", to = "lastName" },
  { from = "emailaddress1", to = "email" },
  { from = "telephone1", to = "phone" },
  { from = "birthdate", to = "birthDate" },
  { from = "gendercode", to = "gender" },
  { from = "address1_city", to = "location.city" },
]
replacements = [
  { field = "gendercode", value = 1, with = "male" },
  { field = "gendercode", value = 2, with = "female" },
]
[table.filter]
operator = "and"
delete_filtered_out = true
rules = [ { field = "statecode", compare = "equals", value = 0 } ]
"#;

/// A table and its resource, in which no key that we write is unique: Campaign takes whatever row arrives.
pub(crate) const BOATS: &str = r#"
[[dataverse.tables]]
name = "new_boat"
rows = 60

[[campaign.resources]]
name = "cusBoat"
family = "customResources"
unique_keys = [["cusBerth"]]
fields = [ { name = "cusBoatId", length = 100 }, { name = "cusName" }, { name = "cusBerth" } ]
filters = [ { name = "byBoatId", field = "cusBoatId" } ]
"#;

pub(crate) const BOAT_TABLE: &str = r#"
[[table]]
table = "new_boat"
resource = "cusBoat"
key = "cusBoatId"
key_filter = { name = "byBoatId", parameter = "boatId_parameter" }
fields = [ { from = "new_name", to = "cusName" } ]
"#;

impl World {
    pub(crate) async fn new(contacts: u64) -> Self {
        Self::with(SandboxConfig { contacts, ..SandboxConfig::default() }).await
    }

    pub(crate) async fn with(config: SandboxConfig) -> Self {
        let sandbox = Sandbox::start(config).await.unwrap();
        Self { sandbox, dir: tempfile::tempdir().unwrap(), http: reqwest::Client::new() }
    }

    /// A world whose configuration leads through proxies.
    pub(crate) async fn behind_proxies(mut config: SandboxConfig) -> (Self, Proxies) {
        let dataverse = FaultProxy::start().await.unwrap();
        let campaign = FaultProxy::start().await.unwrap();
        config.dataverse_front = Some(dataverse.address());
        config.campaign_front = Some(campaign.address());
        let world = Self::with(config).await;
        let info = world.info();
        for (proxy, listener) in
            [(&dataverse, &info["dataverse"]["authority"]), (&campaign, &info["campaign"]["ims_url"])]
        {
            proxy.forward_to(listener.as_str().unwrap().trim_start_matches("http://").parse().unwrap());
        }
        (world, Proxies { dataverse, campaign })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("sync.db")
    }

    /// The sections that every configuration of these tests has, with the sandbox's addresses.
    pub(crate) fn head(&self) -> String {
        let info = self.info();
        let (d, c) = (&info["dataverse"], &info["campaign"]);
        format!(
            "[dataverse]\nurl = {}\ntenant = {}\nauthority = {}\nclient_id = {}\nclient_secret = {{ plain = {} }}\npoll_seconds = 1\n\n\
             [campaign]\nurl = {}\nims_url = {}\nclient_id = {}\nclient_secret = {{ plain = {} }}\norg_id = {}\n\n\
             [store]\nsqlite = \"sync.db\"\n",
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

    pub(crate) fn info(&self) -> Value {
        self.sandbox.info().to_json()
    }

    /// Writes a configuration and answers its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The ordinary configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.write("connector.toml", &format!("{}{CONTACT_TABLE}", self.head()))
    }

    /// Everything that the store holds, row by row, read from a copy: an open store may move bytes between its files without
    /// changing what it holds.
    pub(crate) fn store_content(&self) -> Vec<String> {
        let copy = tempfile::tempdir().unwrap();
        for suffix in ["", "-wal"] {
            let from = self.path(&format!("sync.db{suffix}"));
            if from.exists() {
                std::fs::copy(from, copy.path().join(format!("sync.db{suffix}"))).unwrap();
            }
        }
        let connection = rusqlite::Connection::open(copy.path().join("sync.db")).unwrap();
        let mut statement = connection.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").unwrap();
        let tables: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let mut content = Vec::new();
        for table in tables {
            let mut statement = connection.prepare(&format!("SELECT * FROM \"{table}\"")).unwrap();
            let columns = statement.column_count();
            let mut rows = statement.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                let cells: Vec<_> =
                    (0..columns).map(|cell| row.get::<_, rusqlite::types::Value>(cell).unwrap()).collect();
                content.push(format!("{table}: {cells:?}"));
            }
        }
        content.sort();
        content
    }

    pub(crate) async fn until_idle(&self, config: &Path) -> Ended {
        program(&["run", "--until-idle", "--format", "json", "--config", &config.display().to_string()]).await
    }

    fn control(&self, path: &str) -> String {
        format!("{}{path}", self.info()["control"].as_str().unwrap().trim_end_matches('/'))
    }

    pub(crate) async fn records(&self, side: &str, table: &str) -> Vec<Value> {
        self.lines(&format!("/records/{side}/{table}")).await
    }

    /// Every email event that the sandbox made.
    pub(crate) async fn events(&self) -> Vec<Value> {
        self.lines("/events").await
    }

    async fn lines(&self, path: &str) -> Vec<Value> {
        let text =
            self.http.get(self.control(path)).send().await.unwrap().error_for_status().unwrap().text().await.unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.http.post(self.control(path)).json(body).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "POST {path} answered {status}: {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) {
        let answer = self.http.put(self.control(path)).json(body).send().await.unwrap();
        let status = answer.status();
        assert!(status.is_success(), "PUT {path} answered {status}: {}", answer.text().await.unwrap());
    }

    pub(crate) async fn delete(&self, path: &str) {
        let answer = self.http.delete(self.control(path)).send().await.unwrap();
        assert!(answer.status().is_success(), "DELETE {path} answered {}", answer.status());
    }

    pub(crate) async fn mutate(&self, create: u64, update: u64, delete: u64, seed: u64) -> Value {
        self.post(
            "/mutate",
            &json!({"side": "dataverse", "table": "contact", "create": create, "update": update, "delete": delete, "seed": seed}),
        )
        .await
    }

    pub(crate) async fn counters(&self) -> Value {
        self.http.get(self.control("/counters")).send().await.unwrap().json().await.unwrap()
    }

    pub(crate) async fn reset_counters(&self) {
        self.post("/counters/reset", &json!({})).await;
    }

    pub(crate) async fn faults(&self, faults: Value) {
        self.post("/faults", &faults).await;
    }

    pub(crate) async fn clear_faults(&self) {
        self.http.delete(self.control("/faults")).send().await.unwrap().error_for_status().unwrap();
    }

    pub(crate) async fn fired(&self) -> Value {
        self.http.get(self.control("/faults")).send().await.unwrap().json().await.unwrap()
    }

    /// Once nothing is to be done any more: whatever was read has been accounted for, nothing is parked, and no row was created
    /// in Campaign but those `created` ones.
    pub(crate) async fn assert_accounted(&self, config: &Path, created: u64) {
        let path = config.display().to_string();
        let status = program(&["status", "--format", "json", "--config", &path]).await;
        assert_eq!(status.code(), Some(0), "{}", status.stderr);
        let table = &status.summary()["workflows"][0]["tables"][0];
        let totals = table["totals"].as_object().unwrap();
        let others: u64 = totals.iter().filter(|(name, _)| *name != "read").filter_map(|(_, n)| n.as_u64()).sum();
        assert_eq!(totals["read"].as_u64(), Some(others), "{table}");
        assert_eq!(totals["dead"], 0, "{table}");
        // Each row was created by one request: by one whose answer arrived, or by one of those that nobody was there to hear.
        let campaign = self.counters().await["campaign"].clone();
        let heard = campaign["status"]["201"].as_u64().unwrap_or(0);
        let unheard = campaign["unanswered"].as_u64().unwrap();
        assert!(heard <= created, "rows were created twice: {heard} for {created}");
        assert!(created <= heard + unheard, "rows came from nowhere: {heard} and {unheard} for {created}");
    }

    /// Asserts that so many boats of [`BOATS`] are in Campaign, each once and with its name.
    pub(crate) async fn assert_boats(&self, count: usize) {
        let names = |rows: Vec<Value>, key: &str, name: &str| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let mut names: Vec<_> = rows.iter().map(|row| (text(&row[key]), text(&row[name]))).collect();
            names.sort();
            names
        };
        let wanted = names(self.records("dataverse", "new_boat").await, "new_boatid", "new_name");
        assert_eq!(wanted.len(), count);
        assert_eq!(wanted, names(self.records("campaign", "cusBoat").await, "cusBoatId", "cusName"));
    }

    async fn differences(&self) -> Vec<String> {
        let contacts = self.records("dataverse", "contact").await;
        oracle::differences(&contacts, &self.records("campaign", "profile").await)
    }

    /// Waits until a running program has brought both sides in step.
    pub(crate) async fn until_equal(&self) {
        let started = tokio::time::Instant::now();
        loop {
            let differences = self.differences().await;
            if differences.is_empty() {
                return;
            }
            let late = started.elapsed().as_secs() > 30;
            assert!(!late, "still {} differences, the first: {:?}", differences.len(), &differences[..1]);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Asserts that Campaign holds exactly what the mapping of [`CONTACT_TABLE`] defines.
    pub(crate) async fn assert_equal(&self) {
        let differences = self.differences().await;
        assert!(differences.is_empty(), "{} differences, the first: {:?}", differences.len(), &differences[..1]);
    }
}

/// Sums of one side's counters.
pub(crate) fn total(counters: &Value, side: &str, prefix: &str) -> u64 {
    counters[side]["requests"].as_object().map_or(0, |requests| {
        requests.iter().filter(|(route, _)| route.starts_with(prefix)).filter_map(|(_, count)| count.as_u64()).sum()
    })
}

pub(crate) fn engine_calls(counters: &Value) -> BTreeMap<String, u64> {
    serde_json::from_value(counters["campaign"]["engine_calls"].clone()).unwrap()
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_d365-campaign"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.env_remove("RUST_LOG");
    command
}

/// Sends a signal to a process that a test started.
pub(crate) async fn signal(child: &Child, name: &str) {
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args([format!("-{name}"), id]).status().await.unwrap().success());
}

/// Polls until the condition holds.
pub(crate) async fn until<F: Future<Output = bool>>(condition: impl Fn() -> F, otherwise: &str) {
    let started = tokio::time::Instant::now();
    while !condition().await {
        assert!(started.elapsed().as_secs() < 40, "{otherwise}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

pub(crate) fn spawn(arguments: &[&str]) -> Child {
    command(arguments).spawn().unwrap()
}

pub(crate) async fn program(arguments: &[&str]) -> Ended {
    ended(command(arguments)).await
}

pub(crate) async fn ended(mut command: Command) -> Ended {
    Ended::of(command.output().await.unwrap())
}
