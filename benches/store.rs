//! The stores beside a bare loop of statements in the same layout.
//!
//! `cargo bench -p benches --bench store -- [--records N]`

#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use record::Key;
use rusqlite::{Connection, params};
use sync_core::store::MemoryStore;
use sync_core::traits::{
    Advance, ClaimRequest, Draft, DraftBody, Effect, Lease, OwnerId, Page, Phase, Settlement, Store, Verdict,
};
use sync_core::{Digest, Payload, PlanVersion, Position, StreamId};
use sync_store_sqlite::{SqliteOptions, SqliteStore};
use tokio::time::Instant;
use uuid::Uuid;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Rows of a page, as a source answers them.
const PAGE: usize = 5_000;
/// Entries claimed and settled at once: the engine's own default.
const BATCH: usize = 512;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let records = match arguments.iter().position(|argument| argument == "--records") {
        Some(at) => arguments.get(at + 1).ok_or("a number is missing")?.parse()?,
        None => 200_000,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("store | records | appended/s | claimed and settled/s | index lookups/s");
    let folder = tempfile::tempdir()?;
    let (append, settle, look) = bare(&folder.path().join("bare.db"), records)?;
    println!("bare statements | {records} | {append:.0} | {settle:.0} | {look:.0}");
    let sqlite = SqliteStore::open(&folder.path().join("store.db"), SqliteOptions::default())?;
    let (append, settle, look) = runtime.block_on(measure(sqlite, records))?;
    println!("SqliteStore | {records} | {append:.0} | {settle:.0} | {look:.0}");
    // The model scans; it is measured at a size that it is made for.
    let few = records.min(10_000);
    let (append, settle, look) = runtime.block_on(measure(Arc::new(MemoryStore::new()), few))?;
    println!("MemoryStore | {few} | {append:.0} | {settle:.0} | {look:.0}");
    Ok(())
}

fn rate(records: usize, time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a count of records")]
    let records = records as f64;
    records / time.as_secs_f64()
}

/// Distinct, and as scattered as the ids of a real table.
fn id(number: usize) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, &number.to_be_bytes())
}

fn body(number: usize) -> Vec<u8> {
    format!("{{\"externalId\":\"{}\",\"firstName\":\"A name\",\"lastName\":\"Another name\",\"email\":\"somebody.{number}@example.org\",\"location\":{{\"city\":\"A city\"}}}}", id(number)).into_bytes()
}

async fn measure(store: Arc<dyn Store>, records: usize) -> Outcome<(f64, f64, f64)> {
    let stream = StreamId::new("bench/records");
    let lease = store.acquire("bench", &OwnerId("bench".into())).await?.ok_or("the lease is held")?;
    let pages: Vec<Vec<Draft>> =
        (0..records).step_by(PAGE).map(|from| (from..records.min(from + PAGE)).map(draft).collect()).collect();
    let started = Instant::now();
    for (version, drafts) in pages.into_iter().enumerate() {
        let page =
            Page { stream: stream.clone(), plan: PlanVersion(1), drafts, mark_seen: None, refresh: false, now_ms: 1 };
        let expected_version = u64::try_from(version)?;
        let position = Position::new(version.to_string());
        let advance = Advance { expected_version, generation: 1, phase: Phase::Snapshot, position };
        store.append(&lease, page, advance).await?;
    }
    let appended = rate(records, started.elapsed());
    let settled = settle(store.as_ref(), &lease, &stream, records).await?;
    let keys: Vec<Key> = (0..records).map(|number| Key::Guid(id(number))).collect();
    let started = Instant::now();
    for keys in keys.chunks(PAGE) {
        store.get_many(&stream, keys).await?;
    }
    Ok((appended, settled, rate(records, started.elapsed())))
}

fn draft(number: usize) -> Draft {
    let body = Payload(body(number).into());
    let mut digest = Digest([0; 16]);
    digest.0[..8].copy_from_slice(&number.to_be_bytes());
    let body = DraftBody::Upsert { insert: body.clone(), update: body.into(), digest };
    Draft { key: Key::Guid(id(number)), version: Some(1), body }
}

async fn settle(store: &dyn Store, lease: &Lease, stream: &StreamId, records: usize) -> Outcome<f64> {
    let started = Instant::now();
    let mut left = records;
    while left > 0 {
        let want = ClaimRequest { stream: stream.clone(), max: BATCH, plan: PlanVersion(1), now_ms: 1 };
        let entries = store.claim(lease, want).await?;
        left -= entries.len();
        let verdict = Verdict::Done { effect: Effect::Inserted, verify_at_ms: None };
        let settlements = entries.iter().map(|entry| Settlement { seq: entry.seq, verdict: verdict.clone() }).collect();
        store.settle(lease, stream, settlements, 1).await?;
    }
    Ok(rate(records, started.elapsed()))
}

/// The same rows in the same tables and indexes with the same commits, and no decision about any.
fn bare(path: &std::path::Path, records: usize) -> Outcome<(f64, f64, f64)> {
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
            "INSERT INTO entry(seq, stream, key, kind, state, due_ms, attempt, fence, was_unknown, verification, version,
               plan, generation, digest, insert_body, update_body, at_ms)
             VALUES (?1, 1, ?2, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, ?3, ?4, ?4, 1)",
        )?;
        for (at, (key, body)) in rows.iter().enumerate() {
            insert.execute(params![i64::try_from(page * PAGE + at + 1)?, key, &body[..16], body])?;
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
            .prepare_cached("UPDATE entry SET state = 1, attempt = 1, fence = 1 WHERE seq >= ?1 AND seq < ?2")?
            .execute([first, last])?;
        connection.execute_batch("COMMIT; BEGIN IMMEDIATE")?;
        let mut delete = connection.prepare_cached("DELETE FROM entry WHERE seq = ?1")?;
        let mut index = connection
            .prepare_cached("INSERT INTO idx(stream, key, bound, digest, version, seen) VALUES (1, ?1, 1, ?2, 1, 1)")?;
        for (at, (key, body)) in rows.iter().enumerate() {
            delete.execute([first + i64::try_from(at)?])?;
            index.execute(params![key, &body[..16]])?;
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
    Ok((appended, settled, rate(records, started.elapsed())))
}
