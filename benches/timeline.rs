//! Email events from the journal to Dynamics 365, beside a bare loop of the same requests with nothing else; and how much of the
//! allowance is used where the limits are on. Sandbox, bare loop and connector are processes of their own.
//!
//! `cargo bench -p benches --bench timeline -- [--events N] [--runs N] [--seconds N] [load|allowance]...`

#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use benches::bare::{campaign_token, client, dataverse_token, text};
use benches::{Role, peak_memory_mib};
use d365_campaign::{Config, Connector, RunMode};
use futures::StreamExt;
use sandbox::dataverse::Limits;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Kind, entity set, table, the column of the time.
const KINDS: [(&str, &str, &str, &str); 4] = [
    ("send", "adobe_campaignemailsends", "adobe_campaignemailsend", "adobe_datesent"),
    ("open", "adobe_campaignemailopens", "adobe_campaignemailopen", "adobe_dateopened"),
    ("click", "adobe_campaignemailurlclicks", "adobe_campaignemailurlclick", "adobe_dateclicked"),
    ("bounce", "adobe_campaignemailbounces", "adobe_campaignemailbounce", "adobe_datebounced"),
];
const CONTACTS: u64 = 2000;
/// Activities in one request, as the connector has it.
const IN_ONE_REQUEST: usize = 100;
/// Requests at once: the default of `dataverse.in_flight`.
const AT_ONCE: usize = 4;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let number = |at: usize| -> Outcome<u64> { Ok(arguments.get(at).ok_or("a number is missing")?.parse()?) };
    match arguments.first().map(String::as_str) {
        Some("role-sandbox") => runtime.block_on(sandbox(number(1)?, None)),
        Some("role-sandbox-limited") => runtime.block_on(sandbox(number(1)?, Some(Limits::REAL))),
        Some("role-bare") => runtime.block_on(bare(&info(&arguments)?)),
        Some("role-connector") => runtime.block_on(connector(&info(&arguments)?, None)),
        Some("role-connector-for") => {
            let time = Duration::from_secs(number(2)?);
            runtime.block_on(connector(&info(&arguments)?, Some(time)))
        }
        _ => measure(&arguments),
    }
}

fn info(arguments: &[String]) -> Outcome<Value> {
    Ok(serde_json::from_str(arguments.get(1).ok_or("the sandbox's description is missing")?)?)
}

fn measure(arguments: &[String]) -> Outcome<()> {
    let number = |name: &str, default: u64| -> Outcome<u64> {
        match arguments.iter().position(|argument| argument == name) {
            Some(at) => Ok(arguments.get(at + 1).ok_or("a number is missing")?.parse()?),
            None => Ok(default),
        }
    };
    let named = |name: &str| arguments.iter().any(|argument| argument == name);
    let all = !named("load") && !named("allowance");
    if all || named("load") {
        let events = number("--events", 200_000)?;
        println!("load | events | bare activities/s | connector activities/s | share | connector's peak MiB");
        for _ in 0..number("--runs", 3)? {
            let bare = one("role-sandbox", &["role-bare"], events)?;
            let ours = one("role-sandbox", &["role-connector"], events)?;
            let (before, after) = (rate(&bare), rate(&ours));
            let peak = figure(&ours, "peak_mib");
            println!("load | {events} | {before:.0} | {after:.0} | {:.2} | {peak:.1}", after / before);
        }
    }
    if all || named("allowance") {
        let seconds = number("--seconds", 600)?;
        // Half as much again as the limits grant.
        let granted = Limits::REAL.requests as f64 * (seconds as f64 / Limits::REAL.window_seconds as f64).max(1.0);
        let events = (granted * IN_ONE_REQUEST as f64 * 1.5) as u64;
        let ours = one("role-sandbox-limited", &["role-connector-for", &seconds.to_string()], events)?;
        let (activities, requests) = (figure(&ours, "activities"), figure(&ours, "requests"));
        println!("allowance | seconds | requests granted | requests used | activities | share of the allowance");
        println!(
            "allowance | {seconds} | {granted:.0} | {requests:.0} | {activities:.0} | {:.3}",
            activities / (granted * IN_ONE_REQUEST as f64)
        );
    }
    Ok(())
}

fn figure(figures: &Value, name: &str) -> f64 {
    figures[name].as_f64().unwrap_or(f64::NAN)
}

fn rate(figures: &Value) -> f64 {
    figure(figures, "activities") / figure(figures, "seconds")
}

/// One run of one role, with what comes behind the sandbox's description, against a fresh sandbox.
fn one(sandbox: &str, role: &[&str], events: u64) -> Outcome<Value> {
    let sandbox = Role::start(&[sandbox, &events.to_string()])?;
    let said = sandbox.said().to_string();
    let arguments: Vec<&str> = match role {
        [name, rest @ ..] => [&[*name, said.as_str()], rest].concat(),
        [] => return Err("no role".into()),
    };
    Ok(Role::start(&arguments)?.said().clone())
}

async fn sandbox(events: u64, limits: Option<Limits>) -> Outcome<()> {
    let config = sandbox::SandboxConfig { contacts: CONTACTS, limits, ..sandbox::SandboxConfig::default() };
    let sandbox = sandbox::Sandbox::start(config).await?;
    let info = sandbox.info().to_json();
    let (open, click, bounce) = (events * 3 / 10, events * 15 / 100, events / 20);
    let plan = json!({"send": events - open - click - bounce, "open": open, "click": click, "bounce": bounce, "shuffle": true});
    let control = info["control"].as_str().unwrap_or_default().trim_end_matches('/').to_owned();
    reqwest::Client::new().post(format!("{control}/events")).json(&plan).send().await?.error_for_status()?;
    println!("{info}");
    std::future::pending::<()>().await;
    Ok(())
}

/// The journal, as the bare loop reads it.
struct Reader<'i> {
    http: &'i reqwest::Client,
    token: String,
    info: &'i Value,
}

impl Reader<'_> {
    /// Every page, one after the other.
    async fn pages(&self, mut each: impl FnMut(&[u8])) -> Outcome<()> {
        let first = text(&self.info["journal"]["url"]);
        let host = reqwest::Url::parse(&first)?.origin().ascii_serialization();
        let mut next = first;
        loop {
            let answer = self
                .http
                .get(&next)
                .bearer_auth(&self.token)
                .header("x-api-key", text(&self.info["campaign"]["client_id"]))
                .header("x-ims-org-id", text(&self.info["campaign"]["org_id"]))
                .send()
                .await?
                .error_for_status()?;
            if answer.status() == reqwest::StatusCode::NO_CONTENT {
                return Ok(());
            }
            let link = answer.headers().get("link").and_then(|link| link.to_str().ok()).unwrap_or_default();
            let path = link.split_once('<').and_then(|(_, rest)| rest.split_once('>')).ok_or("no link")?.0;
            next = format!("{host}{path}");
            each(&answer.bytes().await?);
        }
    }
}

/// The same calls with nothing else: pages of the journal, then requests of a hundred activities of one kind, four at once. Their
/// bodies are made beforehand.
async fn bare(info: &Value) -> Outcome<()> {
    let http = client()?;
    let writer = dataverse_token(&http, info).await?;
    let reader = Reader { http: &http, token: campaign_token(&http, info).await?, info };
    let mut rows: [Vec<String>; 4] = Default::default();
    reader.pages(|page| sort_in(page, &mut rows)).await?;
    let base = format!("{}/api/data/v9.2", text(&info["dataverse"]["url"]));
    let mut requests = Vec::new();
    for ((_, set, _, _), rows) in KINDS.iter().zip(&rows) {
        let url = format!("{base}/{set}/Microsoft.Dynamics.CRM.UpsertMultiple");
        let body = |rows: &[String]| format!("{{\"Targets\":[{}]}}", rows.join(","));
        requests.extend(rows.chunks(IN_ONE_REQUEST).map(|rows| (url.clone(), body(rows))));
    }
    let activities: usize = rows.iter().map(Vec::len).sum();
    drop(rows);
    let started = Instant::now();
    let mut bytes = 0;
    reader.pages(|page| bytes += page.len()).await?;
    let posts = futures::stream::iter(requests).map(|(url, body)| {
        let request = http.post(url).bearer_auth(&writer).header("content-type", "application/json").body(body);
        async move { request.send().await?.error_for_status()?.bytes().await }
    });
    let mut posts = posts.buffer_unordered(AT_ONCE);
    while let Some(answer) = posts.next().await {
        answer?;
    }
    println!("{}", json!({"activities": activities, "seconds": started.elapsed().as_secs_f64(), "bytes": bytes}));
    Ok(())
}

/// The rows of the events of a page, by kind.
fn sort_in(page: &[u8], rows: &mut [Vec<String>; 4]) {
    let page: Value = serde_json::from_slice(page).unwrap_or_default();
    for event in page["events"].as_array().into_iter().flatten().map(|line| &line["event"]) {
        let data = &event["data"];
        for ((kind, set, table, date), rows) in KINDS.iter().zip(rows.iter_mut()) {
            if data["eventType"] == *kind {
                let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, text(&event["id"]).as_bytes());
                rows.push(row(data, &format!("{set}({id})"), table, date));
            }
        }
    }
}

fn row(data: &Value, id: &str, table: &str, date: &str) -> String {
    let (campaign, delivery) = (text(&data["campaignName"]), text(&data["deliveryName"]));
    let mut row = json!({
        "@odata.type": format!("Microsoft.Dynamics.CRM.{table}"),
        "@odata.id": id,
        "subject": format!("Campaign Name: {campaign}; Delivery Name: {delivery}"),
        "adobe_campaignname": campaign,
        "adobe_deliveryname": delivery,
    });
    row[format!("regardingobjectid_contact_{table}@odata.bind")] =
        json!(format!("/contacts({})", text(&data["externalId"])));
    row[date] = data["timestamp"].clone();
    for (column, value) in [("adobe_mirrorpageurl", &data["mirrorPageUrl"]), ("adobe_trackingurl", &data["url"])] {
        if !value.is_null() {
            row[column] = value.clone();
        }
    }
    row.to_string()
}

/// The connector as a host runs it, until nothing is left or for so long.
async fn connector(info: &Value, time: Option<Duration>) -> Outcome<()> {
    let dir = tempfile::tempdir()?;
    let (d, c) = (&info["dataverse"], &info["campaign"]);
    let text = format!(
        r#"
[dataverse]
url = {}
tenant = {}
authority = {}
client_id = {}
client_secret = {{ plain = {} }}
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
fields = [ {{ from = "lastname", to = "lastName" }} ]
[events]
sends = true
opens = true
clicks = true
bounces = true
source = {{ journal = {{ url = {} }} }}
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
        info["journal"]["url"],
    );
    let connector = Connector::builder(Config::parse(&text, Path::new(dir.path()))?).connect().await?;
    let egress = ["egress".to_owned()];
    let started = Instant::now();
    let mode = if time.is_some() { RunMode::Continuous } else { RunMode::UntilIdle };
    let running = connector.start_only(&egress, mode)?;
    if let Some(time) = time {
        let stop = running.stopper();
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            stop.stop();
        });
    }
    let summary = running.join().await;
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{}",
        json!({
            "activities": summary.total().inserted, "seconds": seconds, "peak_mib": peak_memory_mib(),
            "requests": summary.requests.dataverse,
        })
    );
    Ok(())
}
