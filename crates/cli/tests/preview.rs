//! What `preview` shows is what the next run sends, and nothing is written by looking.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use sandbox::SandboxConfig;
use sandbox::scenario::Scenario;
use serde_json::{Value, json};
use support::{BOAT_TABLE, BOATS, Ended, World, command, ended, program, signal, spawn, total, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as it travels: method, path and body.
type Sent = (String, String, String);

/// The bytes that one connection carried to Campaign.
type Seen = Arc<Mutex<Vec<u8>>>;

/// Stands between the program and Campaign, and writes down what goes there.
struct Tap {
    address: SocketAddr,
    upstream: Arc<Mutex<Option<SocketAddr>>>,
    streams: Arc<Mutex<Vec<Seen>>>,
}

impl Tap {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (upstream, streams) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(Vec::new())));
        let tap = Self { address, upstream: Arc::clone(&upstream), streams: Arc::clone(&streams) };
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                let to: SocketAddr = upstream.lock().unwrap().unwrap();
                let seen = Arc::new(Mutex::new(Vec::new()));
                streams.lock().unwrap().push(Arc::clone(&seen));
                tokio::spawn(pass(from, to, seen));
            }
        });
        tap
    }

    /// What was sent since it was last asked, in the order of connections.
    fn sent(&self) -> Vec<Sent> {
        let streams = self.streams.lock().unwrap();
        streams.iter().flat_map(|seen| requests(&std::mem::take(&mut *seen.lock().unwrap()))).collect()
    }
}

async fn pass(mut from: TcpStream, to: SocketAddr, seen: Seen) {
    let Ok(mut to) = TcpStream::connect(to).await else { return };
    let ((mut read, mut answer), (mut back, mut write)) = (from.split(), to.split());
    let there = async {
        let mut buffer = [0; 16_384];
        while let Ok(count @ 1..) = read.read(&mut buffer).await {
            seen.lock().unwrap().extend_from_slice(&buffer[..count]);
            if write.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    // Either end may hang up first.
    tokio::select! {
        () = there => {}
        _ = tokio::io::copy(&mut back, &mut answer) => {}
    }
}

fn requests(mut bytes: &[u8]) -> Vec<Sent> {
    let mut all = Vec::new();
    while let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut line = head.lines().next().unwrap().split(' ').map(str::to_owned);
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let body = &bytes[end + 4..][..length.unwrap_or(0)];
        all.push((line.next().unwrap(), line.next().unwrap(), String::from_utf8(body.to_vec()).unwrap()));
        bytes = &bytes[end + 4 + body.len()..];
    }
    all
}

async fn tapped(mut config: SandboxConfig) -> (World, Tap) {
    let tap = Tap::start().await;
    config.campaign_front = Some(tap.address);
    let world = World::with(config).await;
    let listener = world.info()["campaign"]["ims_url"].as_str().unwrap().trim_start_matches("http://").parse().unwrap();
    *tap.upstream.lock().unwrap() = Some(listener);
    (world, tap)
}

async fn preview(config: &Path, table: &str, id: &str) -> Ended {
    let config = config.display().to_string();
    program(&["preview", "--format", "json", "--config", &config, "--table", table, "--id", id]).await
}

/// The requests that a preview shows.
fn shown(ended: &Ended) -> Vec<Sent> {
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    let requests = ended.lines.iter().filter(|line| line["event"] == "request");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    requests.map(|line| (text(&line["method"]), text(&line["path"]), text(&line["body"]))).collect()
}

fn outcome(ended: &Ended) -> &str {
    ended.summary()["outcome"]["outcome"].as_str().unwrap_or_else(|| panic!("{}{}", ended.stdout, ended.stderr))
}

/// Writes that either side was asked for.
fn writes(counters: &Value) -> u64 {
    let sum =
        |side: &str| ["POST", "PATCH", "DELETE", "PUT"].map(|method| total(counters, side, method)).iter().sum::<u64>();
    sum("dataverse") + sum("campaign")
}

fn id(row: &Value) -> &str {
    row["contactid"].as_str().unwrap()
}

async fn set(world: &World, row: &Value, changes: &Value) {
    let mut row = row.clone();
    row.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    world.put(&format!("/records/dataverse/contact/{}", id(&row)), &row).await;
}

#[tokio::test]
async fn what_is_shown_is_what_the_next_run_sends() {
    let (world, tap) = tapped(SandboxConfig { contacts: 10, ..SandboxConfig::default() }).await;
    let config = world.config();
    let rows = world.records("dataverse", "contact").await;
    set(&world, &rows[0], &json!({"statecode": 1, "statuscode": 2})).await;
    set(&world, &rows[1], &json!({"statecode": 0, "statuscode": 1, "gendercode": 1, "telephone1": null})).await;
    let writes_of = |sent: Vec<Sent>| {
        let mut writes: Vec<Sent> = sent.into_iter().filter(|(method, ..)| method != "GET").collect();
        writes.sort();
        writes
    };
    let mut round = 0;
    let mut outcomes = Vec::new();
    let mut known: Vec<String> = rows.iter().map(|row| id(row).to_owned()).collect();
    while round < 2 {
        let (before, stored) = (writes(&world.counters().await), world.store().exists().then(|| world.store_content()));
        tap.sent();
        let mut wanted = Vec::new();
        for id in &known {
            let ended = preview(&config, "contact", id).await;
            outcomes.push(outcome(&ended).to_owned());
            wanted.extend(shown(&ended));
        }
        assert_eq!(writes_of(tap.sent()), [], "a preview writes");
        assert_eq!(writes(&world.counters().await), before, "a preview writes");
        assert_eq!(world.store().exists().then(|| world.store_content()), stored, "a preview writes to the store");
        let ran = world.until_idle(&config).await;
        assert_eq!(ran.code(), Some(0), "{}", ran.stderr);
        assert_eq!(writes_of(tap.sent()), writes_of(wanted));
        let count = |word: &str| outcomes.iter().filter(|outcome| *outcome == word).count();
        let told = |word: &str| ran.table("contact")[word].as_u64().unwrap() as usize;
        for word in ["inserted", "updated", "deleted"] {
            assert_eq!(count(word), told(word), "{word} in round {round}: {outcomes:?}");
        }
        if round == 0 {
            assert!(count("inserted") >= 5 && count("filtered") >= 1, "{outcomes:?}");
            let rows = world.records("dataverse", "contact").await;
            let active: Vec<&Value> = rows.iter().filter(|row| row["statecode"] == 0).collect();
            set(&world, active[0], &json!({"firstname": "Zoë \"quoted\"", "gendercode": null})).await;
            set(&world, active[1], &json!({"statecode": 1, "statuscode": 2})).await;
            world.delete(&format!("/records/dataverse/contact/{}", id(active[2]))).await;
            let made = world.mutate(2, 0, 0, 5).await;
            known.extend(made["created"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()));
            outcomes.clear();
        } else {
            assert!(count("unchanged") >= 2 && count("updated") == 1 && count("deleted") == 2, "{outcomes:?}");
        }
        round += 1;
    }
    world.assert_equal().await;
}

/// A row that a filter finds is read before it is written, by a preview as by a run.
#[tokio::test]
async fn a_row_that_a_filter_finds_is_shown_with_the_read_that_finds_it() {
    let scenario = Scenario::parse(BOATS).unwrap();
    let (world, tap) = tapped(SandboxConfig { contacts: 0, scenario, ..SandboxConfig::default() }).await;
    let config = world.write("boats.toml", &format!("{}{BOAT_TABLE}", world.head()));
    let boat = world.records("dataverse", "new_boat").await[3].clone();
    let id = boat["new_boatid"].as_str().unwrap();
    let of_boat = |sent: Vec<Sent>, writes: bool| -> Vec<Sent> {
        let ours = |(method, path, body): &Sent| {
            path.contains("cusBoat") && (path.contains(id) || body.contains(id) || (writes && method == "PATCH"))
        };
        sent.into_iter().filter(ours).collect()
    };
    let first = shown(&preview(&config, "new_boat", id).await);
    assert_eq!(first.iter().map(|(method, ..)| method.as_str()).collect::<Vec<_>>(), ["GET", "POST"], "{first:?}");
    tap.sent();
    assert_eq!(world.until_idle(&config).await.code(), Some(0));
    let mut sent = of_boat(tap.sent(), false);
    sent.sort();
    assert_eq!(sent, first);
    let same = preview(&config, "new_boat", id).await;
    assert_eq!((outcome(&same), shown(&same).len()), ("unchanged", 0));

    let mut changed = boat.clone();
    changed["new_name"] = json!("Second name");
    world.put(&format!("/records/dataverse/new_boat/{id}"), &changed).await;
    let second = shown(&preview(&config, "new_boat", id).await);
    assert_eq!(second.iter().map(|(method, ..)| method.as_str()).collect::<Vec<_>>(), ["GET", "PATCH"], "{second:?}");
    tap.sent();
    assert_eq!(world.until_idle(&config).await.code(), Some(0));
    let mut sent = of_boat(tap.sent(), true);
    sent.sort();
    assert_eq!(sent, second);
}

/// Every step, for people; and nothing of it in the log.
#[tokio::test]
async fn each_step_is_shown_on_standard_output_alone() {
    let world = World::new(3).await;
    let config = world.config().display().to_string();
    let row = world.records("dataverse", "contact").await[0].clone();
    let values = json!({"firstname": "Xanthippe", "emailaddress1": "canary@example.com", "gendercode": 2, "telephone1": null,
        "statecode": 0, "statuscode": 1});
    set(&world, &row, &values).await;
    let mut looking = command(&["preview", "--config", &config, "--table", "contact", "--id", id(&row)]);
    looking.env("RUST_LOG", "trace");
    let text = ended(looking).await;
    assert_eq!(text.code(), Some(0), "{}", text.stderr);
    for line in [
        "filter.rules[0]  statecode equals 0: 0 holds",
        "fields[0]  firstname -> firstName: \"Xanthippe\" is Xanthippe; written as \"Xanthippe\" (insert and update)",
        "fields[3]  telephone1 -> phone: null, nothing, which an update clears; written as \"\" (update only)",
        ", replaced by replacements[1]; written as \"female\" (insert and update)",
        "inserted: it is not in Campaign, as far as the store knows",
        "POST /",
    ] {
        assert!(text.stdout.contains(line), "{line:?} is not in: {}", text.stdout);
    }
    assert!(text.stderr.contains("TRACE") || text.stderr.contains("DEBUG"), "nothing was logged: {}", text.stderr);
    for value in ["Xanthippe", "canary@example.com"] {
        assert!(text.stdout.contains(value) && !text.stderr.contains(value), "{value} is logged: {}", text.stderr);
    }
    assert!(!world.store().exists(), "looking made a store");
}

#[tokio::test]
async fn what_cannot_be_shown_says_why() {
    let world = World::new(3).await;
    let config = world.config();
    let absent = "8c1f0c52-0000-4000-8000-00000000000a";
    for (table, id, code, words) in [
        ("account", absent, 2, ["--table", "Name a configured table: contact."]),
        ("contact", "4711", 2, ["--id", "Give the GUID of the record"]),
        ("contact", absent, 1, ["shows no record 8c1f0c52", "Check the id"]),
    ] {
        let ended = preview(&config, table, id).await;
        assert_eq!(ended.code(), Some(code), "{}{}", ended.stdout, ended.stderr);
        for word in words {
            assert!(ended.stderr.contains(word), "{word:?} is not in: {}", ended.stderr);
        }
        assert_eq!(ended.summary()["exit_code"], code);
    }
    let without = program(&["preview", "--config", &config.display().to_string(), "--table", "contact"]).await;
    assert_eq!(without.code(), Some(2));
    let text = std::fs::read_to_string(&config).unwrap().replace("table = \"contact\"", "table = \"new_ghost\"");
    let ended = preview(&world.write("ghost.toml", &text), "new_ghost", absent).await;
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("no table called new_ghost"), "{}", ended.stderr);
    assert!(!world.store().exists(), "looking made a store");
}

/// A backlog that nobody works on, and one whose process hangs in a request.
#[tokio::test]
async fn a_backlog_is_left_as_it_is() {
    let world = World::new(60).await;
    let config = world.config();
    world.faults(json!([{"side": "campaign", "method": "POST", "fault": "hang", "probability": 1.0, "seed": 1}])).await;
    let mut child = spawn(&["run", "--format", "json", "--config", &config.display().to_string()]);
    let posted = async || total(&world.counters().await, "campaign", "POST");
    until(async || posted().await >= 8, "no write hangs").await;
    let contact = world.records("dataverse", "contact").await.into_iter().rfind(|row| row["statecode"] == 0).unwrap();
    let before = writes(&world.counters().await);
    let beside = preview(&config, "contact", id(&contact)).await;
    assert_eq!(shown(&beside).iter().map(|(method, ..)| method.as_str()).collect::<Vec<_>>(), ["POST"]);
    assert_eq!(writes(&world.counters().await), before, "eight requests hang, and there is no ninth");
    signal(&child, "KILL").await;
    child.wait().await.unwrap();
    let bytes = || ["sync.db", "sync.db-wal"].map(|name| std::fs::read(world.path(name)).ok());
    let left = bytes();
    assert!(left[0].is_some());
    let alone = preview(&config, "contact", id(&contact)).await;
    assert_eq!(shown(&alone), shown(&beside));
    assert!(left == bytes(), "looking changed the store");
    world.clear_faults().await;
    assert_eq!(world.until_idle(&config).await.code(), Some(0));
    world.assert_equal().await;
}
