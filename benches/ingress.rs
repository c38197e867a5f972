//! The connector beside a bare loop that makes the same HTTP calls with nothing else; sandbox, bare loop and connector each in
//! a process of its own.
//!
//! `cargo bench -p benches --bench ingress -- [--contacts N] [--runs N] [load|read|memory]...`

#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::error::Error;
use std::path::Path;

use benches::bare::{campaign_token, client, count_rows, dataverse_token, pages, text};
use benches::{Role, peak_memory_mib};
use d365_campaign::{Config, Connector, RunMode};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Every column of the mapping, as the connector asks for them.
const COLUMNS: &str = "firstname,lastname,emailaddress1,telephone1,birthdate,gendercode,address1_city,statecode";

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match arguments.first().map(String::as_str) {
        Some("role-sandbox") => runtime.block_on(sandbox(arguments.get(1).ok_or("contacts")?.parse()?)),
        Some("role-bare") => runtime.block_on(bare(&info(&arguments)?, true)),
        Some("role-bare-read") => runtime.block_on(bare(&info(&arguments)?, false)),
        Some("role-connector") => runtime.block_on(connector(&info(&arguments)?, true)),
        Some("role-connector-read") => runtime.block_on(connector(&info(&arguments)?, false)),
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
    let contacts = number("--contacts", 100_000)?;
    let runs = number("--runs", 3)?;
    let wanted = |name: &str| {
        let named: Vec<&String> =
            arguments.iter().filter(|argument| ["load", "read", "memory"].contains(&argument.as_str())).collect();
        named.is_empty() || named.iter().any(|argument| *argument == name)
    };
    if wanted("load") {
        compare("load", "role-bare", "role-connector", contacts, runs)?;
    }
    if wanted("read") {
        compare("read", "role-bare-read", "role-connector-read", contacts, runs)?;
        if !arguments.iter().any(|argument| argument == "--contacts") {
            compare("read", "role-bare-read", "role-connector-read", 1_000_000, 1)?;
        }
    }
    if wanted("memory") {
        println!("memory | contacts | peak MiB of the connector's process | records/s");
        for contacts in [10_000, 100_000, 1_000_000] {
            let figures = one("role-connector", contacts)?;
            println!("memory | {contacts} | {:.1} | {:.0}", number_of(&figures, "peak_mib"), rate(&figures));
        }
    }
    Ok(())
}

fn number_of(figures: &Value, name: &str) -> f64 {
    figures[name].as_f64().unwrap_or(f64::NAN)
}

fn rate(figures: &Value) -> f64 {
    number_of(figures, "records") / number_of(figures, "seconds")
}

/// One run of one role against a fresh sandbox.
fn one(role: &str, contacts: u64) -> Outcome<Value> {
    let sandbox = Role::start(&["role-sandbox", &contacts.to_string()])?;
    let worker = Role::start(&[role, &sandbox.said().to_string()])?;
    Ok(worker.said().clone())
}

fn compare(what: &str, bare: &str, ours: &str, contacts: u64, runs: u64) -> Outcome<()> {
    println!("{what} | contacts | bare records/s | connector records/s | share");
    for _ in 0..runs {
        let bare = rate(&one(bare, contacts)?);
        let ours = rate(&one(ours, contacts)?);
        println!("{what} | {contacts} | {bare:.0} | {ours:.0} | {:.2}", ours / bare);
    }
    Ok(())
}

async fn sandbox(contacts: u64) -> Outcome<()> {
    let config = sandbox::SandboxConfig { contacts, ..sandbox::SandboxConfig::default() };
    let sandbox = sandbox::Sandbox::start(config).await?;
    println!("{}", sandbox.info().to_json());
    std::future::pending::<()>().await;
    Ok(())
}

/// The same calls with nothing else: pages of the table, then one POST a record, eight at a time. Bodies are made beforehand.
async fn bare(info: &Value, write: bool) -> Outcome<()> {
    let http = client()?;
    let (d, c) = (&info["dataverse"], &info["campaign"]);
    let (reader, writer) = (dataverse_token(&http, info).await?, campaign_token(&http, info).await?);
    let first = format!("{}/api/data/v9.2/contacts?$select={COLUMNS}", text(&d["url"]));
    let mut bodies = Vec::new();
    if write {
        pages(&http, &reader, &first, |page| bodies.extend(page_bodies(page))).await?;
    }
    let target = format!("{}/campaign/profileAndServicesExt/profile", text(&c["url"]));
    let key = text(&c["client_id"]);
    let started = Instant::now();
    let mut rows = 0;
    pages(&http, &reader, &first, |page| rows += count_rows(page)).await?;
    let posts = futures::stream::iter(bodies).map(|body| {
        let request = http
            .post(&target)
            .bearer_auth(&writer)
            .header("x-api-key", &key)
            .header("content-type", "application/json")
            .body(body);
        async move { request.send().await?.error_for_status()?.bytes().await }
    });
    let mut posts = posts.buffer_unordered(8);
    while let Some(answer) = posts.next().await {
        answer?;
    }
    println!("{}", json!({"records": rows, "seconds": started.elapsed().as_secs_f64()}));
    Ok(())
}

fn page_bodies(page: &[u8]) -> Vec<String> {
    let page: Value = serde_json::from_slice(page).unwrap_or_default();
    let rows = page["value"].as_array().cloned().unwrap_or_default();
    rows.iter().filter(|row| row["statecode"] == 0).map(body).collect()
}

fn body(row: &Value) -> String {
    let mut body = json!({"externalId": row["contactid"]});
    for (from, to) in [
        ("firstname", "firstName"),
        ("lastname", "lastName"),
        ("emailaddress1", "email"),
        ("telephone1", "phone"),
        ("birthdate", "birthDate"),
    ] {
        if !row[from].is_null() {
            body[to] = row[from].clone();
        }
    }
    match row["gendercode"].as_i64() {
        Some(1) => body["gender"] = json!("male"),
        Some(2) => body["gender"] = json!("female"),
        _ => {}
    }
    if !row["address1_city"].is_null() {
        body["location"] = json!({"city": row["address1_city"]});
    }
    body.to_string()
}

/// The connector as a host runs it. Reading alone: a filter that no row passes.
async fn connector(info: &Value, write: bool) -> Outcome<()> {
    let dir = tempfile::tempdir()?;
    let (d, c) = (&info["dataverse"], &info["campaign"]);
    let filter = if write {
        r#"{ field = "statecode", compare = "equals", value = 0 }"#
    } else {
        r#"{ field = "lastname", compare = "equals", value = "no contact has this name" }"#
    };
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
fields = [
  {{ from = "firstname", to = "firstName" }},
  {{ from = "lastname", to = "lastName" }},
  {{ from = "emailaddress1", to = "email" }},
  {{ from = "telephone1", to = "phone" }},
  {{ from = "birthdate", to = "birthDate" }},
  {{ from = "gendercode", to = "gender" }},
  {{ from = "address1_city", to = "location.city" }},
]
replacements = [
  {{ field = "gendercode", value = 1, with = "male" }},
  {{ field = "gendercode", value = 2, with = "female" }},
]
[table.filter]
operator = "and"
rules = [ {filter} ]
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
    );
    let connector = Connector::builder(Config::parse(&text, Path::new(dir.path()))?).connect().await?;
    let started = Instant::now();
    let summary = connector.start(RunMode::UntilIdle).join().await;
    let seconds = started.elapsed().as_secs_f64();
    let total = summary.total();
    println!(
        "{}",
        json!({
            "records": total.read, "seconds": seconds, "peak_mib": peak_memory_mib(), "inserted": total.inserted,
            "requests": summary.requests.campaign,
        })
    );
    Ok(())
}
