//! The stores beside a bare loop of statements in the same layout.
//!
//! `cargo bench -p benches --bench store -- [--records N] [--backlog N] [--pass N] [rates|claims|pass]...`

#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use record::Key;
use rusqlite::{Connection, params};
use sync_core::store::MemoryStore;
use sync_core::traits::{
    Advance, ClaimRequest, Class, Draft, DraftBody, Effect, Entry, Lease, OwnerId, Page, Parent, Phase, Settlement,
    Store, Verdict,
};
use sync_core::{Digest, Payload, PlanVersion, Position, StreamId};
use sync_store_sqlite::{EncryptionKey, SqliteOptions, SqliteStore};
use tokio::time::Instant;
use uuid::Uuid;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Rows of a page, as a source answers them.
const PAGE: usize = 5_000;
/// Entries claimed and settled at once: the engine's own default.
const BATCH: usize = 512;
const PLAN: PlanVersion = PlanVersion(1);

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let number = |name: &str, usual: usize| -> Outcome<usize> {
        match arguments.iter().position(|argument| argument == name) {
            Some(at) => Ok(arguments.get(at + 1).ok_or("a number is missing")?.parse()?),
            None => Ok(usual),
        }
    };
    let parts = ["rates", "claims", "pass"];
    let named: Vec<&str> = parts.into_iter().filter(|part| arguments.iter().any(|argument| argument == part)).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for part in if named.is_empty() { parts.to_vec() } else { named } {
        match part {
            "rates" => rates(&runtime, number("--records", 200_000)?)?,
            "claims" => runtime.block_on(claims(number("--backlog", 1_000_000)?))?,
            _ => runtime.block_on(pass(number("--pass", 1_000_000)?))?,
        }
    }
    Ok(())
}

fn rates(runtime: &tokio::runtime::Runtime, records: usize) -> Outcome<()> {
    println!("store | records | appended/s | claimed and settled/s | all three/s | index lookups/s");
    let folder = tempfile::tempdir()?;
    let show = |name: &str, rates: Rates| {
        let Rates { appended, settled, looked } = rates;
        let all = 1.0 / (1.0 / appended + 1.0 / settled);
        println!("{name} | {records} | {appended:.0} | {settled:.0} | {all:.0} | {looked:.0}");
    };
    show("bare statements", bare(&folder.path().join("bare.db"), records)?);
    let sqlite = SqliteStore::open(&folder.path().join("store.db"), SqliteOptions::default())?;
    show("SqliteStore", runtime.block_on(measure(sqlite, records))?);
    let options = SqliteOptions::default().encryption_key(Some(EncryptionKey::new(Box::new([7; 32]))));
    let sqlite = SqliteStore::open(&folder.path().join("sealed.db"), options)?;
    show("SqliteStore, encrypted", runtime.block_on(measure(sqlite, records))?);
    show("MemoryStore", runtime.block_on(measure(Arc::new(MemoryStore::new()), records))?);
    Ok(())
}

/// Records per second.
struct Rates {
    appended: f64,
    settled: f64,
    looked: f64,
}

#[expect(clippy::cast_precision_loss, reason = "a count of records")]
fn rate(records: usize, time: Duration) -> f64 {
    records as f64 / time.as_secs_f64()
}

/// Distinct, and as scattered as the ids of a real table.
fn id(number: usize) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, &number.to_be_bytes())
}

fn body(number: usize) -> Vec<u8> {
    format!("{{\"externalId\":\"{}\",\"firstName\":\"A name\",\"lastName\":\"Another name\",\"email\":\"somebody.{number}@example.org\",\"location\":{{\"city\":\"A city\"}}}}", id(number)).into_bytes()
}

/// A stream of a store, with its lease.
struct Bench {
    store: Arc<dyn Store>,
    stream: StreamId,
    lease: Lease,
    version: u64,
}

impl Bench {
    async fn new(store: Arc<dyn Store>) -> Outcome<Self> {
        let ttl = Duration::from_secs(86_400);
        let lease = store.acquire("bench", &OwnerId("bench".into()), ttl).await?.ok_or("the lease is held")?;
        Ok(Self { store, stream: StreamId::new("bench/records"), lease, version: 0 })
    }

    async fn append(&mut self, class: Class, drafts: Vec<Draft>) -> Outcome<()> {
        let page = Page {
            stream: self.stream.clone(),
            plan: PLAN,
            class,
            replay: false,
            drafts,
            mark_seen: None,
            refresh: false,
            hold_deletes: false,
            now_ms: 1,
        };
        let position = Position::new(self.version.to_string());
        let advance = Advance { expected_version: self.version, generation: 1, phase: Phase::Snapshot, position };
        self.version = self.store.append(&self.lease, page, advance).await?.checkpoint.version;
        Ok(())
    }

    async fn claim(&self) -> Outcome<Vec<Entry>> {
        let want = ClaimRequest { stream: self.stream.clone(), max: BATCH, plan: PLAN, now_ms: 1 };
        Ok(self.store.claim(&self.lease, want).await?)
    }

    async fn settle(&self, entries: &[Entry]) -> Outcome<()> {
        let verdict = Verdict::Done { effect: Effect::Inserted, verify_at_ms: None };
        let settlements = entries.iter().map(|entry| Settlement { seq: entry.seq, verdict: verdict.clone() }).collect();
        self.store.settle(&self.lease, &self.stream, settlements, 1).await?;
        Ok(())
    }

    /// Claims and settles until nothing is left; answers how many.
    async fn drain(&self) -> Outcome<usize> {
        let mut settled = 0;
        loop {
            let entries = self.claim().await?;
            if entries.is_empty() {
                return Ok(settled);
            }
            self.settle(&entries).await?;
            settled += entries.len();
        }
    }
}

fn draft(number: usize) -> Draft {
    let body = Payload(body(number).into());
    let mut digest = Digest([0; 16]);
    digest.0[..8].copy_from_slice(&number.to_be_bytes());
    let body = DraftBody::Upsert { insert: body.clone(), update: body.into(), digest };
    Draft { key: Key::Guid(id(number)), version: Some(1), parents: Vec::new(), body }
}

async fn measure(store: Arc<dyn Store>, records: usize) -> Outcome<Rates> {
    let mut bench = Bench::new(store).await?;
    let pages: Vec<Vec<Draft>> =
        (0..records).step_by(PAGE).map(|from| (from..records.min(from + PAGE)).map(draft).collect()).collect();
    let started = Instant::now();
    for drafts in pages {
        bench.append(Class::Live, drafts).await?;
    }
    let appended = rate(records, started.elapsed());
    let started = Instant::now();
    if bench.drain().await? != records {
        return Err("not every record was settled".into());
    }
    let settled = rate(records, started.elapsed());
    let keys: Vec<Key> = (0..records).map(|number| Key::Guid(id(number))).collect();
    let started = Instant::now();
    for keys in keys.chunks(PAGE) {
        bench.store.get_many(&bench.stream, keys).await?;
    }
    Ok(Rates { appended, settled, looked: rate(records, started.elapsed()) })
}

/// How long a claim takes at a backlog of two classes, a third of which waits for parents that are not there.
async fn claims(deep: usize) -> Outcome<()> {
    println!("store | backlog | ms per claim of {BATCH}");
    for backlog in [10_000, deep] {
        let folder = tempfile::tempdir()?;
        let sqlite = SqliteStore::open(&folder.path().join("store.db"), SqliteOptions::default())?;
        let stores: [(&str, Arc<dyn Store>); 2] =
            [("SqliteStore", sqlite), ("MemoryStore", Arc::new(MemoryStore::new()))];
        for (name, store) in stores {
            let ms = claim_time(store, backlog).await?;
            println!("{name} | {backlog} | {ms:.2}");
        }
    }
    Ok(())
}

async fn claim_time(store: Arc<dyn Store>, backlog: usize) -> Outcome<f64> {
    const CLAIMS: usize = 12;
    let mut bench = Bench::new(store).await?;
    for from in (0..backlog).step_by(PAGE / 5) {
        let mut drafts: Vec<Draft> = (from..from + PAGE / 5).map(draft).collect();
        for draft in drafts.iter_mut().step_by(3) {
            draft.parents = vec![Parent { stream: StreamId::new("bench/parents"), key: draft.key.clone() }];
        }
        let class = if (from / (PAGE / 5)).is_multiple_of(2) { Class::Backfill } else { Class::Live };
        bench.append(class, drafts).await?;
    }
    let mut times = Vec::new();
    for _ in 0..CLAIMS {
        let started = Instant::now();
        let entries = bench.claim().await?;
        times.push(started.elapsed());
        if entries.len() != BATCH {
            return Err("the backlog is too small".into());
        }
        bench.settle(&entries).await?;
    }
    // The median: now and then a commit brings the log into the file, whatever the depth.
    times.sort_unstable();
    let median = times.get(CLAIMS / 2).ok_or("nothing was measured")?;
    Ok(median.as_secs_f64() * 1_000.0)
}

/// Records pass through the store into its index, which is then swept.
async fn pass(records: usize) -> Outcome<()> {
    println!("records passed | records/s since the line before | resident MiB | file MiB");
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store.db");
    let mut bench = Bench::new(SqliteStore::open(&path, SqliteOptions::default())?).await?;
    let step = records.div_ceil(10);
    let (mut passed, mut shown, mut started) = (0, 0, Instant::now());
    while passed < records {
        let until = records.min(passed + PAGE);
        bench.append(Class::Backfill, (passed..until).map(draft).collect()).await?;
        bench.drain().await?;
        passed = until;
        if passed - shown >= step || passed == records {
            let rate = rate(passed - shown, started.elapsed());
            println!("{passed} | {rate:.0} | {:.0} | {}", resident_mib()?, file_mib(&path)?);
            (shown, started) = (passed, Instant::now());
        }
    }
    let started = Instant::now();
    let mut after: Option<Key> = None;
    loop {
        let keys = bench.store.unseen(&bench.stream, 2, after.as_ref(), PAGE).await?;
        let Some(last) = keys.last().cloned() else { break };
        bench.store.mark_seen(&bench.lease, &bench.stream, &keys, 2).await?;
        after = Some(last);
    }
    println!(
        "all found unseen and marked: {:.1} s, {:.0} MiB resident",
        started.elapsed().as_secs_f64(),
        resident_mib()?
    );
    let started = Instant::now();
    if !bench.store.unseen(&bench.stream, 2, None, PAGE).await?.is_empty() {
        return Err("something was not marked".into());
    }
    println!("none found unseen: {:.1} s", started.elapsed().as_secs_f64());
    drop(bench);
    let started = Instant::now();
    let store = SqliteStore::open(&path, SqliteOptions::default())?;
    println!("opened again in {:.3} s, the file has {} MiB", started.elapsed().as_secs_f64(), file_mib(&path)?);
    drop(store);
    Ok(())
}

fn resident_mib() -> Outcome<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("the system does not tell")?;
    let kib: f64 = line.split_whitespace().nth(1).ok_or("the system does not tell")?.parse()?;
    Ok(kib / 1024.0)
}

/// The file and its log.
fn file_mib(path: &Path) -> Outcome<u64> {
    let log = std::fs::metadata(path.with_extension("db-wal")).map_or(0, |log| log.len());
    Ok((std::fs::metadata(path)?.len() + log) >> 20)
}

/// The same rows in the same tables and indexes with the same commits, and no decision about any.
fn bare(path: &Path, records: usize) -> Outcome<Rates> {
    drop(SqliteStore::open(path, SqliteOptions::default())?);
    let connection = Connection::open(path)?;
    connection
        .execute_batch("PRAGMA synchronous = FULL; PRAGMA cache_size = -16384; PRAGMA wal_autocheckpoint = 4000;")?;
    let rows: Vec<(Vec<u8>, Vec<u8>)> =
        (0..records).map(|number| (Key::Guid(id(number)).to_bytes(), body(number))).collect();
    let started = Instant::now();
    for (page, rows) in rows.chunks(PAGE).enumerate() {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let mut insert = connection.prepare_cached(
            "INSERT INTO entry(seq, stream, key, kind, state, due_ms, blocked, waiting, attempt, holder, was_unknown,
               verification, class, replay, version, plan, generation, at_ms, born, sum, digest, insert_body, update_body)
             VALUES (?1, 1, ?2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 1, 1, ?1, ?3, ?4, ?5, ?5)",
        )?;
        for (at, (key, body)) in rows.iter().enumerate() {
            let seq = i64::try_from(page * PAGE + at + 1)?;
            insert.execute(params![seq, key, seq & 0x7fff_ffff, &body[..16], body])?;
        }
        drop(insert);
        connection.execute_batch("COMMIT")?;
    }
    let appended = rate(records, started.elapsed());
    let started = Instant::now();
    for (batch, rows) in rows.chunks(BATCH).enumerate() {
        let first = i64::try_from(batch * BATCH + 1)?;
        let last = first + i64::try_from(rows.len())?;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        connection
            .prepare_cached("UPDATE entry SET state = 1, attempt = 1, holder = ?3 WHERE seq >= ?1 AND seq < ?2")?
            .execute([first, last, i64::MAX])?;
        let mut read = connection
            .prepare_cached("SELECT key, insert_body, update_body FROM entry WHERE seq >= ?1 AND seq < ?2")?;
        let mut found = read.query([first, last])?;
        let mut bytes = 0;
        while let Some(row) = found.next()? {
            bytes += row.get::<_, Vec<u8>>(1)?.len() + row.get::<_, Vec<u8>>(2)?.len();
        }
        drop(found);
        drop(read);
        if bytes == 0 {
            return Err("the bodies are missing".into());
        }
        connection.execute_batch("COMMIT; BEGIN IMMEDIATE")?;
        let mut delete = connection.prepare_cached("DELETE FROM entry WHERE seq = ?1")?;
        let mut index = connection.prepare_cached(
            "INSERT INTO idx(stream, key, bound, digest, version, seen, sum) VALUES (1, ?1, 1, ?2, 1, 1, ?3)",
        )?;
        for (at, (key, body)) in rows.iter().enumerate() {
            let seq = first + i64::try_from(at)?;
            delete.execute([seq])?;
            index.execute(params![key, &body[..16], seq & 0x7fff_ffff])?;
        }
        drop((delete, index));
        connection.execute_batch("COMMIT")?;
    }
    let settled = rate(records, started.elapsed());
    let started = Instant::now();
    let mut look = connection.prepare_cached("SELECT digest FROM idx WHERE stream = 1 AND key = ?1")?;
    for (key, _) in &rows {
        look.query_row([key], |row| row.get::<_, Vec<u8>>(0))?;
    }
    Ok(Rates { appended, settled, looked: rate(records, started.elapsed()) })
}
