//! A store file that was damaged from outside: an error when it is opened or used, with the remedy, or the right end; never a
//! panic and never a wrong write.
//!
//! `FLIPS=1000 cargo test -p d365-campaign-cli --test damaged_store flipped` flips that many bytes in each of the tests of flips.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]
#![allow(clippy::print_stdout, reason = "a seed and its counts are shown with a failure")]

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use sandbox::service::Side;
use serde_json::{Value, json};
use support::{CONTACT_TABLE, Ended, World, command, oracle, spawn};
use tokio::time::{Instant, sleep, timeout};

/// A run of the damaged store takes longer than this only when it never comes to rest.
const PATIENCE: Duration = Duration::from_secs(20);

/// The place of an active contact that the seeded changes leave alone.
const UNTOUCHED: usize = 1;

/// A small generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// A filled store of a process that was killed, kept to be put back: records that are written, entries that wait, some in
/// flight, a dead letter. Campaign as it was then; and more changes at the source that no process has read.
struct Kept {
    world: World,
    config: PathBuf,
    files: Files,
    /// Profiles by key.
    rows: BTreeMap<String, Value>,
    /// The contacts as the killed process had read them, and as they are.
    contacts: [Vec<Value>; 2],
    /// A contact that cannot be written.
    unmappable: String,
    bearer: String,
}

/// The store's files by name.
type Files = BTreeMap<&'static str, Vec<u8>>;

/// How a run of a damaged store went.
#[derive(Debug)]
enum Outcome {
    Right,
    Refused,
    Wrong(String),
}

impl Kept {
    async fn new() -> Self {
        let world = World::new(250).await;
        let head = world.head().replace("org_id =", "settle_seconds = 0\norg_id =");
        let config = world.write("connector.toml", &format!("{head}{CONTACT_TABLE}"));
        let contacts = world.records("dataverse", "contact").await;
        let unmappable = contacts[UNTOUCHED]["contactid"].as_str().unwrap().to_owned();
        assert_eq!(contacts[UNTOUCHED]["statecode"], 0);
        let row = json!({"firstname": "x".repeat(45)});
        world.put(&format!("/records/dataverse/contact/{unmappable}"), &row).await;
        assert_eq!(world.until_idle(&config).await.code(), Some(4));

        let touched = world.mutate(10, 40, 15, 1).await.to_string();
        world.faults(json!([{"side": "campaign", "fault": "hang", "nth": 10, "times": 100_000}])).await;
        let mut child = spawn(&["run", "--config", &config.display().to_string()]);
        let started = Instant::now();
        while world.counters().await["campaign"]["in_flight"].as_u64().unwrap() < 8 {
            assert!(started.elapsed() < PATIENCE, "nothing is in flight");
            sleep(Duration::from_millis(10)).await;
        }
        child.kill().await.unwrap();
        world.clear_faults().await;
        let read = world.records("dataverse", "contact").await;
        let touched = touched + &world.mutate(10, 40, 15, 2).await.to_string();
        assert!(!touched.contains(&unmappable), "choose another contact");

        let contacts = [read, world.records("dataverse", "contact").await];
        let (bearer, _) = world.sandbox.shared().tokens.issue(Side::Campaign);
        let mut kept =
            Self { world, config, files: BTreeMap::new(), rows: BTreeMap::new(), contacts, unmappable, bearer };
        kept.rows = kept.profiles().await;
        for file in ["sync.db", "sync.db-wal"] {
            kept.files.insert(file, std::fs::read(kept.world.path(file)).unwrap());
        }
        kept
    }

    /// The log brought into the file.
    fn checkpointed(mut self) -> Self {
        self.restore_files();
        drop(rusqlite::Connection::open(self.world.store()).and_then(|c| c.execute_batch("PRAGMA user_version;")));
        assert!(!self.world.path("sync.db-wal").exists());
        self.files = [("sync.db", std::fs::read(self.world.store()).unwrap())].into();
        self
    }

    fn restore_files(&self) {
        self.write(&self.files);
    }

    fn write(&self, files: &Files) {
        for file in ["sync.db", "sync.db-wal", "sync.db-shm"] {
            let path = self.world.path(file);
            match files.get(file) {
                Some(bytes) => std::fs::write(path, bytes).unwrap(),
                None if path.exists() => std::fs::remove_file(path).unwrap(),
                None => {}
            }
        }
    }

    async fn profiles(&self) -> BTreeMap<String, Value> {
        let rows = self.world.records("campaign", "profile").await;
        let keyed: BTreeMap<_, _> =
            rows.iter().map(|row| (row["externalId"].as_str().unwrap().to_owned(), row.clone())).collect();
        assert_eq!(keyed.len(), rows.len(), "a row is there twice");
        keyed
    }

    /// Store and Campaign as they were when the process was killed.
    async fn restore(&self) {
        self.restore_files();
        let present = self.profiles().await;
        let url = self.world.info()["campaign"]["url"].as_str().unwrap().to_owned();
        for key in present.keys().filter(|key| !self.rows.contains_key(*key)) {
            let url = format!("{url}/campaign/profileAndServicesExt/profile/{key}");
            let api_key = self.world.info()["campaign"]["client_id"].as_str().unwrap().to_owned();
            let gone = self.world.http.delete(url).bearer_auth(&self.bearer).header("X-Api-Key", api_key).send().await;
            gone.unwrap().error_for_status().unwrap();
        }
        for (key, row) in self.rows.iter().filter(|(key, row)| present.get(*key).is_none_or(|now| !same(now, row))) {
            self.world.put(&format!("/records/campaign/profile/{key}"), &settable(row)).await;
        }
    }

    async fn run(&self) -> Outcome {
        let config = self.config.display().to_string();
        let run = command(&["run", "--until-idle", "--config", &config]).output();
        let Ok(output) = timeout(PATIENCE, run).await else {
            return Outcome::Wrong("it never comes to rest".to_owned());
        };
        let ended = Ended::of(output.unwrap());
        self.judge(&ended).await
    }

    async fn judge(&self, ended: &Ended) -> Outcome {
        if ended.stderr.contains("panicked") {
            return Outcome::Wrong(format!("a panic: {}", ended.stderr));
        }
        let rows = self.profiles().await;
        let now: Vec<Value> = rows.values().cloned().collect();
        let [read, latest] = [&self.contacts[0], &self.contacts[1]].map(|contacts| {
            let mut differences = oracle::differences(contacts, &now);
            differences.retain(|difference| !difference.starts_with(&self.unmappable));
            differences
        });
        match ended.code() {
            Some(0) if latest.is_empty() => Outcome::Right,
            Some(1 | 2) if ended.stderr.contains("Remedy:") => {
                // What was done before is right: each row is as it was, as the killed process wanted it, or as it shall be.
                let spoilt = latest.iter().find(|difference| {
                    let key = &difference[..36.min(difference.len())];
                    let as_it_was = match (rows.get(key), self.rows.get(key)) {
                        (Some(row), Some(old)) => same(row, old),
                        (row, old) => row.is_none() && old.is_none(),
                    };
                    !as_it_was && read.iter().any(|difference| difference.starts_with(key))
                });
                spoilt.map_or(Outcome::Refused, |spoilt| Outcome::Wrong(format!("refused, but {spoilt}")))
            }
            code => Outcome::Wrong(format!("{code:?}, {latest:?}: {}", ended.stderr)),
        }
    }
}

/// What lies at an offset of the file: the table or index, the kind of page.
fn place(file: &[u8], at: usize) -> String {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    std::fs::write(&copy, file).unwrap();
    let connection = rusqlite::Connection::open(copy).unwrap();
    let query = "SELECT name || ' ' || pagetype FROM dbstat WHERE pgoffset <= ?1 AND ?1 < pgoffset + pgsize";
    let found = connection.query_row(query, [at as i64], |row| row.get::<_, String>(0));
    found.unwrap_or_else(|error| format!("no page of a table ({error})"))
}

/// The columns of entries that differ between two files.
fn changed(one: &[u8], other: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let rows = |name: &str, file: &[u8]| -> rusqlite::Result<Vec<Vec<(String, rusqlite::types::Value)>>> {
        let copy = folder.path().join(name);
        std::fs::write(&copy, file).unwrap();
        let connection = rusqlite::Connection::open(copy)?;
        let mut statement = connection.prepare("SELECT * FROM entry NOT INDEXED ORDER BY seq")?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let row = |row: &rusqlite::Row<'_>| -> rusqlite::Result<Vec<_>> {
            names.iter().enumerate().map(|(index, name)| Ok((name.clone(), row.get(index)?))).collect()
        };
        statement.query_map([], row)?.collect()
    };
    match (rows("one.db", one), rows("other.db", other)) {
        (Ok(one), Ok(other)) => {
            let pairs = one.iter().flatten().zip(other.iter().flatten()).filter(|(one, other)| one != other);
            let shown: Vec<String> =
                pairs.map(|(one, other)| format!("{}: {:?} -> {:?}", one.0, one.1, other.1)).collect();
            shown.join(", ")
        }
        (Err(error), _) | (_, Err(error)) => format!("{error}"),
    }
}

/// Equal but for what Campaign sets by itself.
fn same(one: &Value, other: &Value) -> bool {
    settable(one) == settable(other)
}

fn settable(row: &Value) -> Value {
    let names = ["externalId", "firstName", "lastName", "email", "phone", "birthDate", "gender", "location"];
    names.iter().map(|name| ((*name).to_owned(), row[*name].clone())).collect::<serde_json::Map<_, _>>().into()
}

/// Flips bytes of one file, each in a fresh copy: half of them anywhere, half where something is written.
async fn flips(kept: Kept, file: &'static str, seed: u64, count: usize) {
    let count = std::env::var("FLIPS").map_or(count, |more| more.parse().unwrap());
    println!("seed {seed:#x}");
    let mut random = Random(seed);
    let whole = kept.files[file].clone();
    let used: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    let (mut right, mut refused, mut wrong) = (0, 0, Vec::new());
    for flip in 0..count {
        kept.restore().await;
        let at = if flip % 2 == 0 { random.below(whole.len()) } else { used[random.below(used.len())] };
        let mask = 1 + random.below(255) as u8;
        let mut damaged = whole.clone();
        damaged[at] ^= mask;
        std::fs::write(kept.world.path(file), &damaged).unwrap();
        match kept.run().await {
            Outcome::Right => right += 1,
            Outcome::Refused => refused += 1,
            Outcome::Wrong(how) => {
                let place = match file {
                    "sync.db" => format!("{} ({})", place(&whole, at), changed(&whole, &damaged)),
                    _ => String::new(),
                };
                wrong.push(format!("{file} at {at} ^ {mask:#x}, {place}: {how}"));
            }
        }
    }
    println!("{file}, {} bytes: {right} right, {refused} refused, {} wrong", whole.len(), wrong.len());
    assert!(wrong.is_empty(), "{} of {count} flips, seed {seed:#x}:\n{}", wrong.len(), wrong.join("\n"));
}

struct Damage {
    name: String,
    inflict: Box<dyn Fn(&mut Files)>,
}

/// Runs each damage in a fresh copy.
async fn survives(kept: &Kept, damages: impl IntoIterator<Item = Damage>) {
    let (mut right, mut refused, mut wrong) = (0, 0, Vec::new());
    for Damage { name, inflict } in damages {
        kept.restore().await;
        let mut files = kept.files.clone();
        inflict(&mut files);
        kept.write(&files);
        match kept.run().await {
            Outcome::Right => right += 1,
            Outcome::Refused => refused += 1,
            Outcome::Wrong(how) => wrong.push(format!("{name}: {how}")),
        }
    }
    println!("{right} right, {refused} refused, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn damage(name: impl Into<String>, inflict: impl Fn(&mut Files) + 'static) -> Damage {
    Damage { name: name.into(), inflict: Box::new(inflict) }
}

const PAGE: usize = 8192;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undamaged_the_same_store_comes_to_the_right_end() {
    let kept = Kept::new().await;
    survives(&kept, [damage("none", |_| {})]).await;
    survives(&kept.checkpointed(), [damage("none", |_| {})]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncated() {
    let kept = Kept::new().await.checkpointed();
    let whole = kept.files["sync.db"].len();
    let lengths = [50, 100, 1000, PAGE, PAGE + 1, whole / 2, whole - PAGE, whole - 100, whole - 1];
    let cut = |length: usize| {
        damage(format!("cut to {length}"), move |files| files.get_mut("sync.db").unwrap().truncate(length))
    };
    survives(&kept, lengths.map(cut)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_zeros() {
    let kept = Kept::new().await.checkpointed();
    let pages = kept.files["sync.db"].len() / PAGE;
    let zeroed = |page: usize| {
        damage(format!("page {page}, {}", place(&kept.files["sync.db"], page * PAGE)), move |files| {
            files.get_mut("sync.db").unwrap()[page * PAGE..(page + 1) * PAGE].fill(0);
        })
    };
    survives(&kept, (0..pages).map(zeroed).collect::<Vec<_>>()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_cut_or_gone() {
    let kept = Kept::new().await;
    let log = kept.files["sync.db-wal"].len();
    let cut = |length: usize| {
        damage(format!("log cut to {length}"), move |files| files.get_mut("sync.db-wal").unwrap().truncate(length))
    };
    let mut damages: Vec<_> = [0, 10, 32, 33, log / 3, log / 2, log - 1].map(cut).into();
    damages.push(damage("no log", |files| drop(files.remove("sync.db-wal"))));
    survives(&kept, damages).await;
}

/// As after a backup that restored the file and not what lies beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_of_before_beside_a_newer_file() {
    let mut kept = Kept::new().await;
    let old = kept.files["sync.db-wal"].clone();
    kept.restore().await;
    assert!(matches!(kept.run().await, Outcome::Right));
    // No deletions: a store of before knows nothing of a record that came and went since.
    kept.world.mutate(10, 40, 0, 3).await;
    kept.files = [("sync.db", std::fs::read(kept.world.store()).unwrap()), ("sync.db-wal", old)].into();
    kept.rows = kept.profiles().await;
    let [_, read] = kept.contacts;
    kept.contacts = [read, kept.world.records("dataverse", "contact").await];
    survives(&kept, [damage("another time", |_| {})]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_somebody_else() {
    let kept = Kept::new().await.checkpointed();
    let other = Kept::new().await.checkpointed().files["sync.db"].clone();
    let database = {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.db");
        rusqlite::Connection::open(&path)
            .unwrap()
            .execute_batch("CREATE TABLE entry(seq INTEGER PRIMARY KEY);")
            .unwrap();
        std::fs::read(path).unwrap()
    };
    let replaced = |name: &str, bytes: Vec<u8>| damage(name, move |files| drop(files.insert("sync.db", bytes.clone())));
    survives(
        &kept,
        [
            replaced("a database of another program", database),
            replaced("the store of another installation", other),
            replaced("a text", b"this is not a database. ".repeat(1000)),
            replaced("zeros", vec![0; 100_000]),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bytes_of_the_log() {
    flips(Kept::new().await, "sync.db-wal", 0x5eed_0005, 60).await;
}

/// The lock beside the file tells that there was a store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncated_to_nothing() {
    let kept = Kept::new().await.checkpointed();
    let emptied = |length: usize| {
        damage(format!("cut to {length}"), move |files| files.get_mut("sync.db").unwrap().truncate(length))
    };
    survives(&kept, [0, 1].map(emptied)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bytes_of_the_file_1() {
    flips(Kept::new().await.checkpointed(), "sync.db", 0x5eed_0001, 60).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bytes_of_the_file_2() {
    flips(Kept::new().await.checkpointed(), "sync.db", 0x5eed_0002, 60).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bytes_of_the_file_3() {
    flips(Kept::new().await.checkpointed(), "sync.db", 0x5eed_0003, 60).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bytes_of_the_file_4() {
    flips(Kept::new().await.checkpointed(), "sync.db", 0x5eed_0004, 60).await;
}
