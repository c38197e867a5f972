//! Several processes on one file. The test program starts itself again in the role that an environment variable names.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the helpers of a test may panic; roles report on their output"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use record::Key;
use sync_core::traits::{
    Advance, Backlog, ClaimRequest, Class, Draft, DraftBody, Effect, Lease, LeaseStore, LetterFilter, OwnerId, Page,
    Phase, RecordIndex, Request, Settlement, StateStore, Verdict,
};
use sync_core::{Digest, Payload, PlanVersion, Position, StoreErrorKind, StreamId};
use sync_store_sqlite::{SqliteOptions, SqliteStore};

const ROLE: &str = "STORE_TEST_PATH";
/// Records of a page.
const PAGE: u64 = 10;

fn stream() -> StreamId {
    StreamId::new("w/s")
}

/// The path that this process is to play its role on, if it has one.
fn role() -> Option<PathBuf> {
    std::env::var_os(ROLE).map(PathBuf::from)
}

/// This program again, running the one test of that name in its role.
fn start(test: &str, path: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture"]).env(ROLE, path).stdout(Stdio::piped());
    command.spawn().unwrap()
}

struct Run {
    store: Arc<SqliteStore>,
    lease: Lease,
    version: u64,
}

impl Run {
    /// Takes over whatever was left.
    async fn open(path: &Path) -> Self {
        let store = SqliteStore::open(path, SqliteOptions::default()).unwrap();
        let owner = OwnerId(format!("process {}", std::process::id()).into());
        let lease = store.acquire("w", &owner, Duration::from_secs(60)).await.unwrap().unwrap();
        store.inherit(&lease, &stream(), 0).await.unwrap();
        let version = store.load(&stream()).await.unwrap().map_or(0, |at| at.version);
        Self { store, lease, version }
    }

    async fn append(&mut self) {
        let drafts = (self.version * PAGE..(self.version + 1) * PAGE).map(|number| {
            let body = Payload(vec![b'x'; 300].into());
            let mut digest = Digest([0; 16]);
            digest.0[..8].copy_from_slice(&number.to_be_bytes());
            let body = DraftBody::Upsert { insert: body.clone(), update: body.into(), digest };
            Draft { key: Key::text(format!("record {number}")), version: None, parents: Vec::new(), body }
        });
        let page = Page {
            stream: stream(),
            plan: PlanVersion(1),
            class: Class::Live,
            replay: false,
            drafts: drafts.collect(),
            mark_seen: None,
            refresh: false,
            hold_deletes: false,
            now_ms: 1,
        };
        let position = Position::new(format!("p{}", self.version));
        let advance = Advance { expected_version: self.version, generation: 1, phase: Phase::Snapshot, position };
        self.version = self.store.append(&self.lease, page, advance).await.unwrap().checkpoint.version;
    }

    /// Claims and settles at most so many; answers how many.
    async fn write(&self, max: usize) -> usize {
        let want = ClaimRequest { stream: stream(), max, plan: PlanVersion(1), now_ms: 1 };
        let entries = self.store.claim(&self.lease, want).await.unwrap();
        let verdict = Verdict::Done { effect: Effect::Inserted, verify_at_ms: None };
        let settlements = entries.iter().map(|entry| Settlement { seq: entry.seq, verdict: verdict.clone() }).collect();
        let report = self.store.settle(&self.lease, &stream(), settlements, 1).await.unwrap();
        assert_eq!(report.passed_over, 0);
        entries.len()
    }
}

/// Writes until it is killed, and says what was acknowledged.
async fn write_on(path: &Path) -> ! {
    let mut run = Run::open(path).await;
    loop {
        run.append().await;
        let settled = run.write(8).await;
        println!("acknowledged {} {settled}", run.version);
    }
}

#[tokio::test]
async fn twenty_kills_lose_nothing_and_settle_nothing_twice() {
    if let Some(path) = role() {
        write_on(&path).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let (mut acknowledged, mut settled) = (0, 0);
    for round in 0..20 {
        let mut child = start("twenty_kills_lose_nothing_and_settle_nothing_twice", &path);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said =
            lines.map(Result::unwrap).filter_map(|line| line.strip_prefix("acknowledged ").map(str::to_owned));
        // Killed at another place of the loop each time: what it does next is not waited for.
        for line in said.by_ref().take(1 + round % 5) {
            let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
            assert!(numbers[0] > acknowledged, "it goes on where the one before it ended");
            (acknowledged, settled) = (numbers[0], settled + numbers[1]);
        }
        let kind = SqliteStore::open(&path, SqliteOptions::default()).map(drop).unwrap_err().kind();
        assert_eq!(kind, StoreErrorKind::InUse, "while it lives");
        child.kill().unwrap();
        child.wait().unwrap();
        let run = Run::open(&path).await;
        assert!(run.version >= acknowledged, "round {round}: {} is less than {acknowledged}", run.version);
        acknowledged = run.version;
    }
    let run = Run::open(&path).await;
    while run.write(500).await > 0 {}
    let records = run.version * PAGE;
    let totals = run.store.load(&stream()).await.unwrap().unwrap().totals;
    assert_eq!((totals.read, totals.inserted, totals.unsettled()), (records, records, 0));
    assert_eq!(run.store.bound_count(&stream()).await.unwrap(), records);
    assert!(settled > 20 && settled <= records);
}

#[tokio::test]
async fn another_process_leaves_requests_while_this_one_writes() {
    let request = Request::Drop(LetterFilter::default());
    if let Some(path) = role() {
        for at_ms in 0..40 {
            SqliteStore::leave_request_at(&path, &request, at_ms).unwrap();
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut run = Run::open(&path).await;
    let mut child = start("another_process_leaves_requests_while_this_one_writes", &path);
    let mut pages = 0;
    while child.try_wait().unwrap().is_none() {
        run.append().await;
        run.write(20).await;
        pages += 1;
    }
    assert!(child.wait().unwrap().success() && pages > 0);
    let requests = run.store.requests().await.unwrap();
    assert_eq!(requests.iter().map(|pending| pending.at_ms).collect::<Vec<_>>(), (0..40).collect::<Vec<_>>());
    assert!(requests.iter().all(|pending| pending.request == request));
    while run.write(500).await > 0 {}
    let totals = run.store.load(&stream()).await.unwrap().unwrap().totals;
    assert_eq!((totals.read, totals.inserted), (pages * PAGE, pages * PAGE));
}
