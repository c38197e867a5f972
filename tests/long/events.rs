//! Email events at length: each one activity, whatever happens on the way.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use end_to_end_tests::{Stage, timeline};
use serde_json::{Value, json};
use timing::{Clock, SystemClock};
use tokio::process::Child;

use crate::Verdict;
use crate::connector::{peak_memory, spawn};

/// How much of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Size {
    /// Events.
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// How often the connector is killed.
    #[arg(long, default_value_t = 50)]
    kills: u64,
    /// Log exports that tell of the same events; with 0, the journal alone does, and loses none.
    #[arg(long, default_value_t = 20)]
    exports: u64,
    /// What is drawn depends on this alone.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

const WORKFLOW: &str = "egress";
const CONTACTS: u64 = 2000;
/// Activities in one request, at most.
const IN_ONE_REQUEST: u64 = 100;
/// Events in one page of the journal.
const IN_ONE_PAGE: u64 = 500;
/// How long an event waits for its contact.
const WAIT: Duration = Duration::from_secs(4 * 3600);
/// Rows of a log export in one read, about.
const IN_ONE_READ: u64 = 150;
/// Share of the requests that each fault hits by chance.
const BY_CHANCE: f64 = 0.004;
/// How often a running connector is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// Without a write for so long, a run is stuck.
const STUCK: Duration = Duration::from_secs(180);

/// The sources, as the configuration names them, and how the second one is reached.
fn sources(stage: &Stage, size: &Size) -> String {
    let (info, mut text) = (stage.info(), String::new());
    let _ = writeln!(text, "source = {{ journal = {{ url = {} }} }}", info["journal"]["url"]);
    if size.exports > 0 {
        let sftp = &info["sftp"];
        let _ = writeln!(
            text,
            "fill_gaps_from = {{ export = {{ folder = \"d365_loads/exports\", stable_for = \"1s\" }} }}\n\
             [sftp]\nhost = {}\nport = {}\nuser = {}\nprivate_key = {{ file = {} }}\nhost_key = {}",
            sftp["host"], sftp["port"], sftp["user"], sftp["private_key_file"], sftp["host_key"],
        );
    }
    text
}

fn config(stage: &Stage, size: &Size) -> String {
    let rest = format!(
        "[[table]]\ntable = \"contact\"\nresource = \"profile\"\nkey = \"externalId\"\n\
         fields = [ {{ from = \"lastname\", to = \"lastName\" }} ]\n\
         [events]\nsends = true\nopens = true\nclicks = true\nbounces = true\nwait_for_contact = \"{}s\"\n{}",
        WAIT.as_secs(),
        sources(stage, size),
    );
    stage.config_text("", "settle_seconds = 0", "", &rest)
}

/// Most events are of contacts; some are of nobody, of contacts that Dynamics does not have, or soft.
fn plan(size: &Size) -> Value {
    let (events, seed) = (size.events, size.seed);
    let (unknown, nobody, soft) = (events / 5000, events / 200, events / 50);
    let known = events - unknown - nobody - soft;
    // Every fifth event is told by an export alone.
    let lost = if size.exports > 0 { events / 5 } else { 0 };
    let (open, click, bounce) = (known * 3 / 10, known * 15 / 100, known / 20);
    json!({
        "send": known - open - click - bounce, "open": open, "click": click, "bounce": bounce, "soft_bounce": soft,
        "unknown_contact": unknown, "no_external_id": nobody, "lost": lost,
        "duplicates": events - lost, "shuffle": true, "seed": seed,
    })
}

/// All events in log exports, in the order of the log, each in one file.
async fn export(stage: &Stage, size: &Size) {
    for number in 0..size.exports {
        let gzip = number % 2 == 1;
        stage
            .post("/exports/logs", &json!({"quotes": "double", "gzip": gzip, "most": size.events / size.exports + 1}))
            .await;
    }
}

/// Every fault that a write of activities or a read of the journal or of a file can meet: each once at a place of its own, so that it
/// fires whatever the size, and now and then by chance. One is left out: from a refusal for too many requests in five minutes the
/// connector learns how many there may be, so where it is told that falsely, it rightly comes to a standstill. Refused for too many at
/// once, it goes on.
fn faults(size: &Size) -> Value {
    let writes = [
        json!({"fault": "reset_before"}),
        json!({"fault": "reset_after_commit"}),
        json!({"fault": "truncate"}),
        json!({"fault": "status", "status": 500}),
        json!({"fault": "status", "status": 503}),
        json!({"fault": "status", "status": 429, "headers": {"Retry-After": "1"}, "body": {"error": {"code": "0x80072326",
            "message": "Number of concurrent requests exceeded the limit of 52."}}}),
        json!({"fault": "html"}),
        json!({"fault": "delay", "delay_ms": 300}),
        json!({"fault": "late_execution", "delay_ms": 500}),
        json!({"fault": "duplicate"}),
        json!({"fault": "expire_token"}),
        json!({"fault": "close_on_reuse"}),
        json!({"fault": "gzip_bomb"}),
    ];
    let reads = [
        json!({"fault": "reset_before"}),
        json!({"fault": "truncate"}),
        json!({"fault": "status", "status": 500}),
        json!({"fault": "status", "status": 503}),
        json!({"fault": "status", "status": 429, "headers": {"Retry-After": "1"}}),
        json!({"fault": "html"}),
        json!({"fault": "delay", "delay_ms": 300}),
        json!({"fault": "duplicate"}),
        json!({"fault": "expire_token"}),
        json!({"fault": "close_on_reuse"}),
    ];
    let files = [
        json!({"fault": "reset_before"}),
        json!({"fault": "reset_after_commit"}),
        json!({"fault": "truncate"}),
        json!({"fault": "status"}),
        json!({"fault": "delay", "delay_ms": 300}),
        json!({"fault": "drip", "delay_ms": 1}),
    ];
    let requests = size.events / 2 / IN_ONE_REQUEST;
    let mut rules = armed(&writes, "dataverse", "POST", size, requests, BY_CHANCE);
    rules.extend(armed(&reads, "journal", "GET", size, size.events / IN_ONE_PAGE, BY_CHANCE));
    if size.exports > 0 {
        // A file is read twice, and by hundreds of reads: with the chance of a request, hardly one would come to its end.
        let reads = size.events / IN_ONE_READ;
        rules.extend(armed(&files, "sftp", "READ", size, reads, BY_CHANCE / 20.0));
    }
    rules.into()
}

/// The rules of one side; the places at which each fires for sure are spread over so many requests.
fn armed(faults: &[Value], side: &str, method: &str, size: &Size, requests: u64, by_chance: f64) -> Vec<Value> {
    let mut rules = Vec::new();
    for (at, fault) in (1_u64..).zip(faults) {
        let mut rule = fault.clone();
        rule["side"] = json!(side);
        rule["method"] = json!(method);
        let mut once = rule.clone();
        once["nth"] = json!(1 + requests * at / (faults.len() as u64 + 1));
        rule["probability"] = json!(by_chance);
        rule["seed"] = json!(size.seed * 64 + at);
        rules.extend([once, rule]);
    }
    rules
}

struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound.max(1)
    }
}

/// Requests with activities that the sandbox has received.
async fn writes(stage: &Stage) -> u64 {
    let counters = stage.counters().await;
    let requests = counters["dataverse"]["requests"].as_object().into_iter().flatten();
    requests.filter(|(route, _)| !route.starts_with("GET")).filter_map(|(_, count)| count.as_u64()).sum()
}

/// How one life of the connector ended.
enum End {
    Killed,
    Done,
    Failed,
    Stuck,
}

/// What a run takes note of on its way.
#[derive(Default)]
struct Lives {
    killed: u64,
    /// Kills while a write was under way.
    in_flight: u64,
    /// Lives that ended with a reason while the services failed.
    failed: u64,
    peak: u64,
    writes: u64,
}

impl Lives {
    /// Watches a connector until it ends, or until it has written so often and is killed.
    async fn watch(&mut self, stage: &Stage, child: &mut Child, kill_after: Option<(u64, Duration)>) -> End {
        let clock = SystemClock::new();
        let first = writes(stage).await;
        let (mut last, mut changed) = (first, Duration::ZERO);
        loop {
            self.peak = self.peak.max(peak_memory(child));
            if let Some(status) = child.try_wait().unwrap() {
                return if status.success() { End::Done } else { End::Failed };
            }
            let now = writes(stage).await;
            self.writes = now;
            if now != last {
                (last, changed) = (now, clock.monotonic());
            }
            if let Some((_, wait)) = kill_after.filter(|(count, _)| now > first + count) {
                clock.sleep(wait).await;
                self.in_flight += u64::from(stage.counters().await["dataverse"]["in_flight"].as_u64() > Some(0));
                child.kill().await.unwrap();
                self.killed += 1;
                return End::Killed;
            }
            if clock.monotonic().saturating_sub(changed) > STUCK {
                child.kill().await.unwrap();
                return End::Stuck;
            }
            clock.sleep(LOOK).await;
        }
    }

    /// Kills it as often as wanted, at random instants.
    async fn kill(&mut self, stage: &Stage, size: &Size, config: &Path) -> Vec<String> {
        let mut rng = Rng(size.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        // What all lives together are let do is less than there is to do: each of them ends by a kill.
        let each = size.events * 3 / 2 / IN_ONE_REQUEST / size.kills.max(1);
        let mut broken = Vec::new();
        while self.killed < size.kills && broken.is_empty() {
            let after = (rng.below(each), Duration::from_millis(rng.below(50)));
            match self.watch(stage, &mut spawn(config, WORKFLOW, Duration::ZERO), Some(after)).await {
                End::Killed => {}
                End::Done => broken.push(format!("all was done after {} kills", self.killed)),
                End::Failed => {
                    self.failed += 1;
                    if self.failed > size.kills {
                        broken.push("a fault that passes ends the connector again and again".to_owned());
                    }
                }
                End::Stuck => broken.push(format!("no write for {} s", STUCK.as_secs())),
            }
        }
        broken
    }
}

pub(crate) async fn run(size: &Size) -> Verdict {
    let clock = SystemClock::new();
    let stage = Stage::new(CONTACTS, "").await;
    stage.post("/events", &plan(size)).await;
    export(&stage, size).await;
    let config = stage.write("connector.toml", &config(&stage, size));
    stage.post("/faults", &faults(size)).await;
    let made = clock.monotonic();
    let mut lives = Lives::default();
    let mut broken = lives.kill(&stage, size, &config).await;
    let under_kills = clock.monotonic();
    // The last life goes on under faults to the end, and finds everything due that waits; after it, a quiet one that finds the wait for
    // contacts over.
    match lives.watch(&stage, &mut spawn(&config, WORKFLOW, WAIT / 2), None).await {
        End::Stuck => broken.push(format!("no write for {} s", STUCK.as_secs())),
        End::Failed => lives.failed += 1,
        End::Done | End::Killed => {}
    }
    let under_faults = clock.monotonic();
    let faults = fired(&stage).await;
    stage.clear_faults().await;
    if !matches!(lives.watch(&stage, &mut spawn(&config, WORKFLOW, WAIT * 2), None).await, End::Done) {
        broken.push("the quiet run did not end well".to_owned());
    }
    let done = clock.monotonic();
    let contacts = stage.records("dataverse", "contact").await;
    let expected = timeline::expected(&stage, &contacts).await;
    let found = timeline::found(&stage).await;
    let differences = timeline::differences(&expected, &found);
    let counters = stage.counters().await;
    let activities: usize = found.values().sum();
    broken.extend(faults.iter().filter(|(_, fired)| **fired == 0).map(|(name, _)| format!("never fired: {name}")));
    broken.extend(differences.iter().cloned());
    let seconds = (done - made).as_secs_f64();
    let counts = [
        ("activities that have to be there", expected.values().sum::<usize>() as u64),
        ("activities that are there", activities as u64),
        ("differences from the oracle", differences.len() as u64),
        ("deliveries that the journal served", counters["journal"]["rows"].as_u64().unwrap_or(0)),
        ("log exports, each of which tells of its events once more", size.exports),
        ("reads of files", counters["sftp"]["requests"]["READ"].as_u64().unwrap_or(0)),
        ("write requests that Dynamics 365 received", lives.writes),
        ("kills", lives.killed),
        ("kills while a write was under way", lives.in_flight),
        ("lives that ended with a reason under faults", lives.failed),
        ("faults that fired", faults.values().sum()),
    ];
    let mut text = format!(
        "{} events, each delivered {}, while the connector is killed and the services fail. At the end each event whose contact is there is one activity, with every attribute as an oracle of its own tells it.\n\n\
         | what | count |\n|---|---|\n",
        size.events,
        if size.exports > 0 {
            "not at all or one to three times by the journal, in no order, and once by a log export"
        } else {
            "one to three times by the journal, in no order"
        },
    );
    for (what, count) in counts {
        let _ = writeln!(text, "| {what} | {count} |");
    }
    let _ = writeln!(
        text,
        "\nTime: {seconds:.0} s ({:.0} s with kills, {:.0} s more under faults, {:.0} s quiet), {:.0} activities/s; two cores shared by the \
         connector, the sandbox and the test. Peak memory of the connector's process: {} MiB.\n\n| fault | fired |\n|---|---|",
        (under_kills - made).as_secs_f64(),
        (under_faults - under_kills).as_secs_f64(),
        (done - under_faults).as_secs_f64(),
        activities as f64 / seconds,
        lives.peak / 1024 / 1024,
    );
    for (name, fired) in &faults {
        let _ = writeln!(text, "| {name} | {fired} |");
    }
    Verdict { title: "Events", text, broken }
}

/// How often each fault fired.
async fn fired(stage: &Stage) -> BTreeMap<String, u64> {
    let name = |rule: &Value| {
        let status = rule["status"].as_u64().map_or_else(String::new, |status| format!(" {status}"));
        format!("{} {}{status}", rule["side"].as_str().unwrap_or_default(), rule["fault"].as_str().unwrap_or_default())
    };
    let mut all = BTreeMap::new();
    for rule in stage.faults().await {
        *all.entry(name(&rule)).or_default() += rule["fired"].as_u64().unwrap_or(0);
    }
    all
}
