//! The file: who may open it, what is in it after the end, and what happens when it is full or damaged.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use record::Key;
use rusqlite::Connection;
use sync_core::traits::{
    Advance, AppendReport, Backlog, ClaimRequest, Class, Draft, DraftBody, Lease, LeaseStore, LetterFilter, OwnerId,
    Page, Phase, Request, StateStore,
};
use sync_core::{Digest, Payload, PlanVersion, Position, StoreError, StoreErrorKind, StreamId};
use sync_store_sqlite::{SqliteOptions, SqliteStore};
use tempfile::TempDir;

/// Of no meaning to this store.
const TTL: Duration = Duration::from_secs(30);

struct Place {
    _folder: TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        Self { _folder: folder, path }
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        PathBuf::from(format!("{}{suffix}", self.path.display()))
    }
}

fn open(path: &Path) -> Result<Arc<SqliteStore>, StoreError> {
    SqliteStore::open(path, SqliteOptions::default())
}

fn refused(answer: Result<Arc<SqliteStore>, StoreError>) -> StoreErrorKind {
    answer.map(drop).unwrap_err().kind()
}

fn stream() -> StreamId {
    StreamId::new("w/s")
}

async fn lease(store: &SqliteStore) -> Lease {
    store.acquire("w", &OwnerId("test".into()), TTL).await.unwrap().unwrap()
}

fn draft(number: usize) -> Draft {
    let body = Payload(vec![b'x'; 600].into());
    let mut digest = Digest([0; 16]);
    digest.0[..8].copy_from_slice(&number.to_be_bytes());
    // Scattered over the tree, as the ids of a real table are.
    let key = Key::text(format!("{:016x}", (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    let body = DraftBody::Upsert { insert: body.clone(), update: body.into(), digest };
    Draft { key, version: None, parents: Vec::new(), body }
}

async fn append(
    store: &SqliteStore,
    lease: &Lease,
    version: u64,
    numbers: std::ops::Range<usize>,
) -> Result<AppendReport, StoreError> {
    let drafts = numbers.map(draft).collect();
    let page = Page {
        stream: stream(),
        plan: PlanVersion(1),
        class: Class::Live,
        replay: false,
        drafts,
        mark_seen: None,
        refresh: false,
        hold_deletes: false,
        now_ms: 1,
    };
    let position = Position::new(format!("p{version}"));
    let advance = Advance { expected_version: version, generation: 1, phase: Phase::Incremental, position };
    store.append(lease, page, advance).await
}

fn want(max: usize) -> ClaimRequest {
    ClaimRequest { stream: stream(), max, plan: PlanVersion(1), now_ms: 1 }
}

fn request(code: &str) -> Request {
    Request::Drop(LetterFilter { code: Some(code.to_owned()), ..LetterFilter::default() })
}

#[tokio::test]
async fn after_a_clean_end_everything_is_in_the_one_file() {
    let place = Place::new();
    let store = open(&place.path).unwrap();
    let lease = lease(&store).await;
    append(&store, &lease, 0, 0..100).await.unwrap();
    assert!(place.beside("-wal").exists());
    drop(store);
    assert!(!place.beside("-wal").exists(), "the log is part of the file now");
    let copy = place.beside(".copy");
    std::fs::copy(&place.path, &copy).unwrap();
    assert_eq!(open(&copy).unwrap().stats(&stream()).await.unwrap().queued, 100);
}

#[test]
fn the_file_belongs_to_one_process_and_one_user() {
    let place = Place::new();
    assert!(!SqliteStore::is_locked(&place.path));
    let store = open(&place.path).unwrap();
    assert!(SqliteStore::is_locked(&place.path));
    assert_eq!(refused(open(&place.path)), StoreErrorKind::InUse);
    drop(store);
    assert!(!SqliteStore::is_locked(&place.path));
    open(&place.path).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&place.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "nobody else reads what records say");
    }
}

#[test]
fn asking_whether_it_is_locked_keeps_nobody_out() {
    let place = Place::new();
    drop(open(&place.path).unwrap());
    let path = place.path.clone();
    let asking = std::thread::spawn(move || (0..2_000).filter(|_| SqliteStore::is_locked(&path)).count());
    for _ in 0..20 {
        open(&place.path).unwrap();
    }
    asking.join().unwrap();
}

#[test]
fn other_files_are_refused_and_left_as_they_are() {
    let place = Place::new();
    Connection::open(&place.path).unwrap().execute_batch("CREATE TABLE theirs(a)").unwrap();
    let before = std::fs::read(&place.path).unwrap();
    assert_eq!(refused(open(&place.path)), StoreErrorKind::Corrupt);
    assert_eq!(std::fs::read(&place.path).unwrap(), before);

    let place = Place::new();
    std::fs::write(&place.path, "no database at all, but a text of some length".repeat(200)).unwrap();
    let before = std::fs::read(&place.path).unwrap();
    assert_eq!(refused(open(&place.path)), StoreErrorKind::Corrupt);
    assert_eq!(std::fs::read(&place.path).unwrap(), before);

    for (version, kind) in [(99, StoreErrorKind::TooNew), (2, StoreErrorKind::Corrupt)] {
        let place = Place::new();
        drop(open(&place.path).unwrap());
        Connection::open(&place.path).unwrap().pragma_update(None, "user_version", version).unwrap();
        assert_eq!(refused(open(&place.path)), kind, "layout {version}");
        assert_eq!(
            SqliteStore::open_read_only(&place.path, &SqliteOptions::default()).map(drop).unwrap_err().kind(),
            kind
        );
        assert_eq!(SqliteStore::leave_request_at(&place.path, &request("a"), 1).unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn another_process_may_look_and_not_write() {
    let place = Place::new();
    let kind = SqliteStore::open_read_only(&place.path, &SqliteOptions::default()).map(drop).unwrap_err().kind();
    assert_eq!(kind, StoreErrorKind::Unavailable, "there is nothing to look at");
    let store = open(&place.path).unwrap();
    let held = lease(&store).await;
    append(&store, &held, 0, 0..10).await.unwrap();
    let beside = SqliteStore::open_read_only(&place.path, &SqliteOptions::default()).unwrap();
    assert_eq!(beside.stats(&stream()).await.unwrap().queued, 10);
    assert_eq!(beside.put(&held, "name", b"value").await.unwrap_err().kind(), StoreErrorKind::Unavailable);
}

#[tokio::test]
async fn requests_are_left_beside_a_running_writer() {
    let place = Place::new();
    let kind = SqliteStore::leave_request_at(&place.path, &request("a"), 1).unwrap_err().kind();
    assert_eq!(kind, StoreErrorKind::Unavailable, "there is nothing to leave it in");
    assert!(!place.path.exists());
    let store = open(&place.path).unwrap();
    let held = lease(&store).await;
    let path = place.path.clone();
    let asking = std::thread::spawn(move || -> Vec<u64> {
        (0..50).map(|at| SqliteStore::leave_request_at(&path, &request("beside"), at).unwrap()).collect()
    });
    for version in 0..50 {
        let from = usize::try_from(version).unwrap() * 10;
        append(&store, &held, version, from..from + 10).await.unwrap();
    }
    let asked = asking.join().unwrap();
    let own = store.leave_request(&request("own"), 50).await.unwrap();
    let beside = SqliteStore::open_read_only(&place.path, &SqliteOptions::default()).unwrap();
    let pending = beside.requests().await.unwrap();
    assert_eq!(pending, store.requests().await.unwrap());
    assert_eq!(pending.iter().map(|request| request.id).collect::<Vec<_>>(), [asked, vec![own]].concat());
    assert_eq!(pending[0].request, request("beside"));
    let entries = store.claim(&held, want(1_000)).await.unwrap();
    assert_eq!(entries.len(), 500);
    assert!(entries.iter().all(|entry| pending.iter().all(|request| request.id != entry.seq.0)), "no number twice");
    store.finish_request(&held, pending[0].id).await.unwrap();
    assert_eq!(beside.requests().await.unwrap(), pending[1..]);
    drop((store, beside));
    let id = SqliteStore::leave_request_at(&place.path, &request("after the end"), 60).unwrap();
    let store = open(&place.path).unwrap();
    assert_eq!(store.requests().await.unwrap().last().map(|request| request.id), Some(id));
}

#[tokio::test]
async fn a_lease_holds_against_others_and_ends_with_its_process() {
    let place = Place::new();
    let store = open(&place.path).unwrap();
    let first = lease(&store).await;
    assert_eq!(first.ttl, None, "it does not end by itself");
    let other = OwnerId("other".into());
    assert_eq!(store.acquire("w", &other, Duration::ZERO).await.unwrap(), None);
    assert_eq!(store.renew(&first, TTL).await.unwrap(), first);
    let again = lease(&store).await;
    assert!(again.fence > first.fence, "the same owner takes over from itself");
    assert_eq!(store.renew(&first, TTL).await.unwrap_err().kind(), StoreErrorKind::Fenced);
    drop(store);
    let store = open(&place.path).unwrap();
    let taken = store.acquire("w", &other, TTL).await.unwrap().unwrap();
    assert!(taken.fence > again.fence);
    assert_eq!(store.renew(&again, TTL).await.unwrap_err().kind(), StoreErrorKind::Fenced);
    store.release(taken.clone()).await.unwrap();
    assert_eq!(store.renew(&taken, TTL).await.unwrap_err().kind(), StoreErrorKind::Fenced);
    assert!(lease(&store).await.fence > taken.fence, "what was given back is free");
}

/// Fails at every size of the file at which it can, and goes on from there once there is room.
#[tokio::test]
async fn a_full_file_refuses_a_page_whole() {
    let mut refusals = 0;
    // An empty store has 31 pages: the smallest one that can be laid out is among the sizes.
    for pages in (31..201).step_by(10) {
        let place = Place::new();
        let options = SqliteOptions::default().max_page_count(Some(pages));
        let store = SqliteStore::open(&place.path, options).unwrap();
        let held = lease(&store).await;
        let mut version = 0;
        while version < 20 {
            let from = usize::try_from(version).unwrap() * 25;
            match append(&store, &held, version, from..from + 25).await {
                Ok(_) => version += 1,
                Err(error) => {
                    assert_eq!(error.kind(), StoreErrorKind::Full);
                    refusals += 1;
                    break;
                }
            }
        }
        let stored = store.load(&stream()).await.unwrap().map_or(0, |checkpoint| checkpoint.version);
        assert_eq!(stored, version, "the position stands where the last page ended");
        assert_eq!(store.stats(&stream()).await.unwrap().queued, version * 25);
        drop(store);

        let store = open(&place.path).unwrap();
        let held = lease(&store).await;
        let from = usize::try_from(version).unwrap() * 25;
        append(&store, &held, version, from..from + 25).await.unwrap();
        let entries = store.claim(&held, want(1_000)).await.unwrap();
        assert_eq!(entries.len() as u64, (version + 1) * 25, "nothing is missing, nothing is there twice");
    }
    assert!(refusals > 5, "{refusals} sizes were too small");
}

/// The writers of one group do not fail for each other.
#[tokio::test]
async fn the_failure_of_one_undoes_that_one_alone() {
    let place = Place::new();
    let store = open(&place.path).unwrap();
    let held = lease(&store).await;
    append(&store, &held, 0, 0..5).await.unwrap();
    let calls: Vec<_> = (0..40)
        .map(|number| {
            let (store, held) = (store.clone(), held.clone());
            tokio::spawn(async move {
                if number % 2 == 0 {
                    store.put(&held, &format!("name {number}"), b"value").await.is_ok()
                } else {
                    append(&store, &held, 0, 100..110).await.is_ok()
                }
            })
        })
        .collect();
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap(), number % 2 == 0);
        let kept = store.get(&format!("name {number}")).await.unwrap();
        assert_eq!(kept.is_some(), number % 2 == 0);
    }
    assert_eq!(store.stats(&stream()).await.unwrap().queued, 5);
}
