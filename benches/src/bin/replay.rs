//! A replay of a large table while its records go on changing: how long it takes, and whether both sides are equal afterwards.
//! Sandbox and connector are processes of their own; what an operator asks for is left in the store, as the command does it.
//!
//! `cargo run --release -p benches --bin replay -- [--rows N]`

#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use benches::Role;
use d365_campaign::{Config, Connector, RunMode, control};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What changes while the replay runs, once a second.
const CHANGES: [(&str, u64); 3] = [("update", 500), ("create", 50), ("delete", 50)];
/// Records whose city changes before the replay: only a replay writes it.
const MOVED: u64 = 100_000;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let argument = |at: usize| arguments.get(at).map(String::as_str);
    match argument(0) {
        Some("role-sandbox") => runtime.block_on(sandbox(argument(1).ok_or("rows")?.parse()?)),
        Some("role-connector") => runtime.block_on(connector(Path::new(argument(1).ok_or("the configuration")?))),
        Some("--rows") => runtime.block_on(measure(argument(1).ok_or("a number is missing")?.parse()?)),
        None => runtime.block_on(measure(2_000_000)),
        Some(other) => Err(format!("{other} is not known; the argument is --rows N").into()),
    }
}

async fn sandbox(contacts: u64) -> Outcome<()> {
    let config = sandbox::SandboxConfig { contacts, ..sandbox::SandboxConfig::default() };
    let sandbox = sandbox::Sandbox::start(config).await?;
    println!("{}", sandbox.info().to_json());
    std::future::pending::<()>().await;
    Ok(())
}

/// Loads the table, says so, and then runs until it is ended.
async fn connector(file: &Path) -> Outcome<()> {
    let connector = Connector::builder(Config::load(file)?).connect().await?;
    let started = Instant::now();
    let loaded = connector.start(RunMode::UntilIdle).join().await;
    let seconds = started.elapsed().as_secs_f64();
    let running = Connector::builder(Config::load(file)?).connect().await?.start(RunMode::Continuous);
    println!("{}", json!({"inserted": loaded.total().inserted, "seconds": seconds}));
    running.join().await;
    Ok(())
}

fn configuration(info: &Value) -> String {
    let (d, c) = (&info["dataverse"], &info["campaign"]);
    format!(
        r#"
[dataverse]
url = {}
tenant = {}
authority = {}
client_id = {}
client_secret = {{ plain = {} }}
poll_seconds = 1
[campaign]
url = {}
ims_url = {}
client_id = {}
client_secret = {{ plain = {} }}
org_id = {}
[store]
sqlite = "sync.db"
[[table]]
table = "contact"
resource = "profile"
key = "externalId"
apply_deletes = true
fields = [
  {{ from = "firstname", to = "firstName" }},
  {{ from = "lastname", to = "lastName" }},
  {{ from = "emailaddress1", to = "email" }},
  {{ from = "address1_city", to = "location.city", apply_updates = false }},
]
"#,
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

async fn measure(rows: u64) -> Outcome<()> {
    let dir = tempfile::tempdir()?;
    let sandbox = Role::start(&["role-sandbox", &rows.to_string()])?;
    let side = sandbox.said()["control"].as_str().ok_or("no control address")?.trim_end_matches('/').to_owned();
    let file = dir.path().join("connector.toml");
    std::fs::write(&file, configuration(sandbox.said()))?;
    let connector = Role::start(&["role-connector", &file.display().to_string()])?;
    println!("loaded: {}", connector.said());
    let http = reqwest::Client::new();
    let config = Config::load(&file)?;
    mutate(&http, &side, "update", MOVED.min(rows / 2), &["address1_city"], 1).await?;
    at_rest(&config).await?;

    let started = Instant::now();
    control::replay(&config, "contact", true).await?;
    let mut changed = 0;
    let mut seed = 2;
    loop {
        for (what, count) in CHANGES {
            mutate(&http, &side, what, count, &["firstname", "emailaddress1"], seed).await?;
            changed += count;
            seed += 1;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let status = control::status(&config).await?;
        let workflow = status.workflows.first().ok_or("no workflow")?;
        if workflow.requests.is_empty() && workflow.tables.iter().all(|table| table.pass.is_none()) {
            break;
        }
    }
    at_rest(&config).await?;
    let seconds = started.elapsed().as_secs_f64();
    let counters: Value = http.get(format!("{side}/counters")).send().await?.json().await?;
    let differences = differences(&http, &side).await?;
    println!(
        "{}",
        json!({
            "rows": rows, "replay_seconds": seconds, "live_changes": changed, "differences": differences,
            "updates": counters["campaign"]["engine_calls"]["update"],
            "connector_peak_mib": connector.peak_memory_mib(),
        })
    );
    if differences > 0 { Err("both sides differ".into()) } else { Ok(()) }
}

async fn mutate(http: &reqwest::Client, side: &str, what: &str, count: u64, fields: &[&str], seed: u64) -> Outcome<()> {
    let body = json!({"side": "dataverse", "table": "contact", what: count, "fields": fields, "seed": seed});
    http.post(format!("{side}/mutate")).json(&body).send().await?.error_for_status()?;
    Ok(())
}

/// Waits until everything that was read is written, and a poll after that found nothing more.
async fn at_rest(config: &Config) -> Outcome<()> {
    let mut quiet = 0;
    let mut read = 0;
    while quiet < 5 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let status = control::status(config).await?;
        let workflow = status.workflows.first().ok_or("no workflow")?;
        let now = workflow.tables.iter().map(|table| table.totals.read).sum();
        quiet = if workflow.backlog == 0 && now == read { quiet + 1 } else { 0 };
        read = now;
    }
    Ok(())
}

/// Rows of either side that the other has not, or with another content. Both come in the order of the key.
async fn differences(http: &reqwest::Client, side: &str) -> Outcome<u64> {
    let mut contacts = Rows::of(http, &format!("{side}/records/dataverse/contact")).await?;
    let mut profiles = Rows::of(http, &format!("{side}/records/campaign/profile")).await?;
    let wanted = ["contactid", "firstname", "lastname", "emailaddress1", "address1_city"];
    let found = ["/externalId", "/firstName", "/lastName", "/email", "/location/city"];
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let (mut contact, mut profile) = (contacts.next().await?, profiles.next().await?);
    let mut differences = 0;
    loop {
        let ours = contact.as_ref().map(|row| wanted.map(|name| text(row.get(name))));
        let theirs = profile.as_ref().map(|row| found.map(|path| text(row.pointer(path))));
        let (forward, back) = match (&ours, &theirs) {
            (None, None) => return Ok(differences),
            (Some(ours), Some(theirs)) if ours == theirs => (true, true),
            (Some([id, ..]), Some([other, ..])) => {
                differences += 1;
                (id <= other, other <= id)
            }
            (ours, theirs) => {
                differences += 1;
                (ours.is_some(), theirs.is_some())
            }
        };
        if forward {
            contact = contacts.next().await?;
        }
        if back {
            profile = profiles.next().await?;
        }
    }
}

/// The rows of a table, one after the other.
struct Rows {
    stream: futures::stream::BoxStream<'static, reqwest::Result<Vec<u8>>>,
    left: Vec<u8>,
    at: usize,
}

impl Rows {
    async fn of(http: &reqwest::Client, url: &str) -> Outcome<Self> {
        let answer = http.get(url).send().await?.error_for_status()?;
        let stream = answer.bytes_stream().map(|bytes| bytes.map(|bytes| bytes.to_vec())).boxed();
        Ok(Self { stream, left: Vec::new(), at: 0 })
    }

    async fn next(&mut self) -> Outcome<Option<Value>> {
        loop {
            let rest = self.left.get(self.at..).unwrap_or_default();
            if let Some(end) = memchr::memchr(b'\n', rest) {
                let row = serde_json::from_slice(rest.get(..end).unwrap_or_default())?;
                self.at += end + 1;
                return Ok(Some(row));
            }
            self.left.drain(..self.at);
            self.at = 0;
            match self.stream.next().await {
                Some(bytes) => self.left.extend(bytes?),
                None => return Ok(None),
            }
        }
    }
}
