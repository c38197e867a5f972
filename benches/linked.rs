//! Rows of three tables that lie above each other, from Dynamics 365 to Campaign, beside a bare loop that makes the same HTTP calls with
//! nothing else. Sandbox, bare loop and connector are processes of their own.
//!
//! `cargo bench -p benches --bench linked -- [--rows N] [--runs N] [load|memory]...`

#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::error::Error;
use std::fmt::Write;
use std::path::Path;

use benches::bare::{campaign_token, client, count_rows, dataverse_token, pages, text};
use benches::{Role, peak_memory_mib};
use d365_campaign::{Config, Connector, RunMode};
use futures::{StreamExt, TryStreamExt};
use sandbox::scenario::Scenario;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Tables; each but the first has a parent in the one before.
const TABLES: u64 = 3;
/// Requests at once: the default of `campaign.in_flight`.
const AT_ONCE: usize = 8;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match arguments.first().map(String::as_str) {
        Some("role-sandbox") => runtime.block_on(sandbox(arguments.get(1).ok_or("rows")?.parse()?)),
        Some("role-bare") => runtime.block_on(bare(&info(&arguments)?)),
        Some("role-connector") => runtime.block_on(connector(&info(&arguments)?)),
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
    let rows = number("--rows", 1_000_000)?;
    let named = |name: &str| arguments.iter().any(|argument| argument == name);
    let all = !named("load") && !named("memory");
    if all || named("load") {
        println!("load | rows | bare rows/s | connector rows/s | share");
        for _ in 0..number("--runs", 1)? {
            let (bare, ours) = (rate(&one("role-bare", rows)?), rate(&one("role-connector", rows)?));
            println!("load | {rows} | {bare:.0} | {ours:.0} | {:.2}", ours / bare);
        }
    }
    if all || named("memory") {
        println!("memory | rows | peak MiB of the connector's process | rows/s");
        for rows in [rows / 100, rows / 10, rows] {
            let figures = one("role-connector", rows)?;
            println!("memory | {rows} | {:.1} | {:.0}", figure(&figures, "peak_mib"), rate(&figures));
        }
    }
    Ok(())
}

fn figure(figures: &Value, name: &str) -> f64 {
    figures[name].as_f64().unwrap_or(f64::NAN)
}

fn rate(figures: &Value) -> f64 {
    figure(figures, "rows") / figure(figures, "seconds")
}

/// One run of one role against a fresh sandbox.
fn one(role: &str, rows: u64) -> Outcome<Value> {
    let sandbox = Role::start(&["role-sandbox", &rows.to_string()])?;
    Ok(Role::start(&[role, &sandbox.said().to_string()])?.said().clone())
}

fn scenario() -> String {
    let mut text = String::new();
    for table in 0..TABLES {
        let (mut columns, mut links) = (String::new(), String::new());
        if let Some(above) = table.checked_sub(1) {
            columns = format!(
                "{{ name = \"new_up\", type = \"lookup\", schema_name = \"new_Up\", targets = [\"new_l{above}\"] }}"
            );
            links = format!(
                "{{ name = \"cusParent\", field = \"cusUp\", target = \"cusL{above}\", target_field = \"cusKey\", cardinality = \"one\" }}"
            );
        }
        // Writing to a text never fails.
        let _ = write!(
            text,
            "[[dataverse.tables]]\nname = \"new_l{table}\"\nrows = 0\ncolumns = [ {columns} ]\n\
             [[campaign.resources]]\nname = \"cusL{table}\"\nunique_keys = [[\"cusKey\"]]\nlinks = [ {links} ]\n\
             fields = [ {{ name = \"cusKey\", length = 100 }}, {{ name = \"cusName\" }}, {{ name = \"cusUp\", length = 100 }} ]\n"
        );
    }
    text
}

/// The id of a row.
fn id(table: u64, number: u64) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{table}/{number}").as_bytes())
}

/// A sandbox with so many rows, a third of them in each table.
async fn sandbox(rows: u64) -> Outcome<()> {
    let scenario = Scenario::parse(&scenario())?;
    let config = sandbox::SandboxConfig { contacts: 0, scenario, ..sandbox::SandboxConfig::default() };
    let sandbox = sandbox::Sandbox::start(config).await?;
    let info = sandbox.info().to_json();
    let control = text(&info["control"]).trim_end_matches('/').to_owned();
    let http = client()?;
    let each = rows.div_ceil(TABLES);
    for table in 0..TABLES {
        let put = |number: u64| {
            let url = format!("{control}/records/dataverse/new_l{table}/{}", id(table, number));
            let mut row = json!({"new_name": format!("Row {number}")});
            if let Some(above) = table.checked_sub(1) {
                row["_new_up_value"] = json!(id(above, number * 7 % each));
            }
            let request = http.put(url).json(&row);
            async move { request.send().await?.error_for_status().map(drop) }
        };
        futures::stream::iter(0..each).map(put).buffer_unordered(16).try_collect::<()>().await?;
    }
    println!("{info}");
    std::future::pending::<()>().await;
    Ok(())
}

fn first_page(info: &Value, table: u64) -> String {
    let lookup = if table > 0 { ",_new_up_value" } else { "" };
    format!("{}/api/data/v9.2/new_l{table}s?$select=new_name{lookup}", text(&info["dataverse"]["url"]))
}

/// The same calls with nothing else: the pages of each table, then one POST a row, parents first, eight at a time. Bodies are made
/// beforehand.
async fn bare(info: &Value) -> Outcome<()> {
    let http = client()?;
    let (reader, writer) = (dataverse_token(&http, info).await?, campaign_token(&http, info).await?);
    let mut bodies = Vec::new();
    for table in 0..TABLES {
        let mut of_table = Vec::new();
        pages(&http, &reader, &first_page(info, table), |page| of_table.extend(page_bodies(page, table))).await?;
        bodies.push(of_table);
    }
    let (url, key) = (text(&info["campaign"]["url"]), text(&info["campaign"]["client_id"]));
    let started = Instant::now();
    let mut rows = 0;
    for table in 0..TABLES {
        pages(&http, &reader, &first_page(info, table), |page| rows += count_rows(page)).await?;
    }
    for (table, bodies) in bodies.into_iter().enumerate() {
        let target = format!("{url}/campaign/profileAndServicesExt/cusL{table}");
        let posts = futures::stream::iter(bodies).map(|body| {
            let request = http
                .post(&target)
                .bearer_auth(&writer)
                .header("x-api-key", &key)
                .header("content-type", "application/json")
                .body(body);
            async move { request.send().await?.error_for_status()?.bytes().await }
        });
        posts.buffer_unordered(AT_ONCE).try_for_each(|_| std::future::ready(Ok(()))).await?;
    }
    println!("{}", json!({"rows": rows, "seconds": started.elapsed().as_secs_f64()}));
    Ok(())
}

fn page_bodies(page: &[u8], table: u64) -> Vec<String> {
    let page: Value = serde_json::from_slice(page).unwrap_or_default();
    let rows = page["value"].as_array().cloned().unwrap_or_default();
    let body = |row: &Value| {
        let mut body = json!({"cusKey": row[format!("new_l{table}id")], "cusName": row["new_name"]});
        if table > 0 {
            body["cusUp"] = row["_new_up_value"].clone();
        }
        body.to_string()
    };
    rows.iter().map(body).collect()
}

/// The connector as a host runs it.
async fn connector(info: &Value) -> Outcome<()> {
    let dir = tempfile::tempdir()?;
    let (d, c) = (&info["dataverse"], &info["campaign"]);
    let mut text = format!(
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
    for table in 0..TABLES {
        let links = table.checked_sub(1).map_or_else(String::new, |above| {
            format!("links = [ {{ from = \"new_up\", to = \"cusUp\", parent = \"new_l{above}\" }} ]\n")
        });
        let _ = write!(
            text,
            "[[table]]\ntable = \"new_l{table}\"\nresource = \"cusL{table}\"\nkey = \"cusKey\"\n\
             fields = [ {{ from = \"new_name\", to = \"cusName\" }} ]\n{links}"
        );
    }
    let connector = Connector::builder(Config::parse(&text, Path::new(dir.path()))?).connect().await?;
    let started = Instant::now();
    let summary = connector.start(RunMode::UntilIdle).join().await;
    let seconds = started.elapsed().as_secs_f64();
    let total = summary.total();
    println!(
        "{}",
        json!({
            "rows": total.inserted, "seconds": seconds, "peak_mib": peak_memory_mib(),
            "requests": summary.requests.campaign,
        })
    );
    Ok(())
}
