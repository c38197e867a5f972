//! How long it takes from an opt-out on one side until the other side has it: idle, and beside a first load of contacts; sandbox and
//! connector each in a process of its own.
//!
//! `cargo bench -p benches --bench opt_out -- [--contacts N] [--opt-outs N] [--latency-ms N] [idle|backfill]...`

#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::error::Error;
use std::time::Duration;

use benches::Role;
use d365_campaign::{Config, Connector, RunMode};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Both sides are polled as often as can be configured.
const POLL_SECONDS: u64 = 1;
/// Between two opt-outs.
const EVERY: Duration = Duration::from_millis(200);
/// Between two looks whether an opt-out has arrived.
const LOOK: Duration = Duration::from_millis(20);
/// An opt-out that is not there after so long is counted with this time.
const GIVEN_UP: Duration = Duration::from_secs(300);

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match arguments.first().map(String::as_str) {
        Some("role-sandbox") => runtime.block_on(sandbox(
            arguments.get(1).ok_or("contacts")?.parse()?,
            Duration::from_millis(arguments.get(2).ok_or("latency")?.parse()?),
        )),
        Some("role-connector") => runtime.block_on(connector(arguments.get(1).ok_or("the sandbox's description")?)),
        _ => runtime.block_on(measure(&arguments)),
    }
}

async fn measure(arguments: &[String]) -> Outcome<()> {
    let number = |name: &str, default: u64| -> Outcome<u64> {
        match arguments.iter().position(|argument| argument == name) {
            Some(at) => Ok(arguments.get(at + 1).ok_or("a number is missing")?.parse()?),
            None => Ok(default),
        }
    };
    let (contacts, opt_outs) = (number("--contacts", 100_000)?, number("--opt-outs", 400)?);
    let latency = number("--latency-ms", 20)?;
    let named: Vec<&String> =
        arguments.iter().filter(|argument| ["idle", "backfill"].contains(&argument.as_str())).collect();
    println!("part | contacts | from | opt-outs | p50 s | p99 s | longest s | contacts written meanwhile");
    for (part, contacts) in [("idle", 0), ("backfill", contacts)] {
        if named.is_empty() || named.iter().any(|name| *name == part) {
            one(part, contacts, opt_outs, latency).await?;
        }
    }
    Ok(())
}

/// Where a row is changed by hand, and where it is read as any client would.
#[derive(Clone)]
struct Services {
    http: reqwest::Client,
    info: Value,
    tokens: [String; 2],
}

impl Services {
    async fn of(info: &Value) -> Outcome<Self> {
        let http = reqwest::Client::builder().tcp_nodelay(true).build()?;
        let (d, c) = (&info["dataverse"], &info["campaign"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let scope = format!("{}/.default", text(&d["url"]));
        let urls = [
            format!("{}/{}/oauth2/v2.0/token", text(&d["authority"]), text(&d["tenant"])),
            format!("{}/ims/token/v3", text(&c["ims_url"])),
        ];
        let scopes = [&scope, "openid,AdobeID,campaign_sdk,read_organizations,additional_info.projectedProductContext"];
        let mut tokens = Vec::new();
        for ((url, side), scope) in urls.iter().zip([d, c]).zip(scopes) {
            let form = [
                ("grant_type", "client_credentials".to_owned()),
                ("client_id", text(&side["client_id"])),
                ("client_secret", text(&side["client_secret"])),
                ("scope", scope.to_owned()),
            ];
            let answer: Value = http.post(url).form(&form).send().await?.error_for_status()?.json().await?;
            tokens.push(text(&answer["access_token"]));
        }
        let tokens = tokens.try_into().map_err(|_| "two tokens")?;
        Ok(Self { http, info: info.clone(), tokens })
    }

    fn text(&self, side: &str, name: &str) -> &str {
        self.info[side][name].as_str().unwrap_or_default().trim_end_matches('/')
    }

    fn control(&self, path: &str) -> String {
        format!("{}{path}", self.info["control"].as_str().unwrap_or_default().trim_end_matches('/'))
    }

    async fn put(&self, path: &str, row: Value) -> Outcome<()> {
        self.http.put(self.control(path)).json(&row).send().await?.error_for_status()?;
        Ok(())
    }

    /// Opts somebody out on one side.
    async fn opt_out(&self, id: &str, in_campaign: bool) -> Outcome<()> {
        let (path, fields) = if in_campaign {
            (format!("/records/campaign/profile/{id}"), json!({"blackListEmail": true}))
        } else {
            (format!("/records/dataverse/contact/{id}"), json!({"donotemail": true}))
        };
        self.http.patch(self.control(&path)).json(&fields).send().await?.error_for_status()?;
        Ok(())
    }

    /// Whether a side says that somebody opted out.
    async fn says(&self, id: &str, in_campaign: bool) -> Outcome<bool> {
        let (url, name) = if in_campaign {
            let url = self.text("campaign", "url");
            (format!("{url}/campaign/profileAndServicesExt/profile/{id}"), "blackListEmail")
        } else {
            let url = self.text("dataverse", "url");
            (format!("{url}/api/data/v9.2/contacts({id})?$select=donotemail"), "donotemail")
        };
        let key = self.text("campaign", "client_id");
        let request = self.http.get(url).bearer_auth(&self.tokens[usize::from(in_campaign)]).header("x-api-key", key);
        let row: Value = request.send().await?.error_for_status()?.json().await?;
        Ok(row[name] == true)
    }

    async fn created(&self) -> Outcome<u64> {
        let counters: Value = self.http.get(self.control("/counters")).send().await?.json().await?;
        Ok(counters["campaign"]["engine_calls"]["insert"].as_u64().unwrap_or(0))
    }
}

/// Ids that lie evenly among all others.
fn id(number: u64, of: u64) -> String {
    format!("{:08x}-0000-4000-8000-0000000000b5", number * (u64::from(u32::MAX) / of.max(1)))
}

async fn one(part: &str, contacts: u64, opt_outs: u64, latency: u64) -> Outcome<()> {
    let sandbox = Role::start(&["role-sandbox", &contacts.to_string(), &latency.to_string()]).map_err(told)?;
    let services = Services::of(sandbox.said()).await?;
    for number in 0..opt_outs {
        let id = id(number, opt_outs);
        let row = json!({"lastname": "Probe", "donotemail": false});
        services.put(&format!("/records/dataverse/contact/{id}"), row).await?;
        services.put(&format!("/records/campaign/profile/{id}"), json!({"lastName": "Probe"})).await?;
    }
    let _connector = Role::start(&["role-connector", &sandbox.said().to_string()]).map_err(told)?;
    // The load has begun; without one, the contacts that are there have been looked at.
    if contacts == 0 {
        tokio::time::sleep(Duration::from_secs(10)).await;
    } else {
        while services.created().await? == 0 {
            tokio::time::sleep(LOOK).await;
        }
    }
    let before = services.created().await?;
    let mut under_way = JoinSet::new();
    for number in 0..opt_outs {
        let (services, id, in_campaign) = (services.clone(), id(number, opt_outs), number % 2 == 1);
        under_way.spawn(async move {
            services.opt_out(&id, in_campaign).await?;
            let began = Instant::now();
            while began.elapsed() < GIVEN_UP && !services.says(&id, !in_campaign).await? {
                tokio::time::sleep(LOOK).await;
            }
            Ok::<_, Box<dyn Error + Send + Sync>>((in_campaign, began.elapsed()))
        });
        tokio::time::sleep(EVERY).await;
    }
    let mut delays = [Vec::new(), Vec::new()];
    while let Some(done) = under_way.join_next().await {
        let (in_campaign, delay) = done??;
        delays[usize::from(in_campaign)].push(delay);
    }
    let written = services.created().await? - before;
    if contacts > 0 && written + before >= contacts {
        println!("The load came to its end before the last opt-out: take more contacts.");
    }
    for (from, mut delays) in ["Dynamics 365", "Campaign"].into_iter().zip(delays) {
        delays.sort();
        let at = |share: f64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
            let place = ((delays.len() as f64 * share).ceil() as usize).clamp(1, delays.len().max(1));
            delays.get(place - 1).map_or(f64::NAN, Duration::as_secs_f64)
        };
        println!(
            "{part} | {contacts} | {from} | {} | {:.2} | {:.2} | {:.2} | {written}",
            delays.len(),
            at(0.5),
            at(0.99),
            at(1.0),
        );
    }
    Ok(())
}

fn told(error: Box<dyn Error>) -> String {
    error.to_string()
}

async fn sandbox(contacts: u64, latency: Duration) -> Outcome<()> {
    let config = sandbox::SandboxConfig {
        contacts,
        dataverse_latency: latency,
        campaign_latency: latency,
        ..sandbox::SandboxConfig::default()
    };
    let sandbox = sandbox::Sandbox::start(config).await?;
    println!("{}", sandbox.info().to_json());
    std::future::pending::<()>().await;
    Ok(())
}

async fn connector(info: &str) -> Outcome<()> {
    let info: Value = serde_json::from_str(info)?;
    let (d, c) = (&info["dataverse"], &info["campaign"]);
    let text = format!(
        "[dataverse]\nurl = {}\ntenant = {}\nauthority = {}\nclient_id = {}\nclient_secret = {{ plain = {} }}\n\
         poll_seconds = {POLL_SECONDS}\n\
         [campaign]\nurl = {}\nims_url = {}\nclient_id = {}\nclient_secret = {{ plain = {} }}\norg_id = {}\n\
         [store]\nsqlite = \"sync.db\"\n\
         [[table]]\ntable = \"contact\"\nresource = \"profile\"\nkey = \"externalId\"\n\
         fields = [ {{ from = \"lastname\", to = \"lastName\" }}, {{ from = \"firstname\", to = \"firstName\" }} ]\n\
         [opt_out]\ndirection = \"bidirectional\"\npoll_seconds = {POLL_SECONDS}\n\
         source = {{ filter = {{ name = \"byLastModified\", parameter = \"lastModified_parameter\" }} }}\n\
         pairs = [ {{ d365 = \"donotemail\", campaign = \"denyListEmail\" }} ]\n",
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
    let folder = tempfile::tempdir()?;
    let config = Config::parse(&text, folder.path())?;
    let running = Connector::builder(config).connect().await?.start(RunMode::Continuous);
    println!("{}", json!({"running": true}));
    running.join().await;
    Ok(())
}
