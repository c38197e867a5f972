//! Damaged and foreign files: an error when the file is opened or used, or what was written; never anything else.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use record::Key;
use rusqlite::Connection;
use sync_core::traits::{
    Advance, Backlog, ClaimRequest, Class, Draft, DraftBody, Effect, EntryBody, Lease, LeaseStore, OwnerId, Page,
    Phase, RecordIndex, Rejection, Settlement, StateStore, Verdict,
};
use sync_core::{Digest, Payload, PlanVersion, Position, StoreError, StoreErrorKind, StreamId};
use sync_store_sqlite::{EncryptionKey, SqliteOptions, SqliteStore};

const CANARY: &str = "canary-of-somebody";

fn keyed(byte: u8) -> SqliteOptions {
    SqliteOptions::default().encryption_key(Some(EncryptionKey::new(Box::new([byte; 32]))))
}

fn stream() -> StreamId {
    StreamId::new("w/s")
}

/// A store under test, and the version of its read position.
struct Run {
    store: Arc<SqliteStore>,
    lease: Lease,
    version: u64,
}

impl Run {
    async fn open(path: &Path, options: SqliteOptions) -> Result<Self, StoreError> {
        let store = SqliteStore::open(path, options)?;
        let lease = store.acquire("w", &OwnerId("test".into()), Duration::from_secs(60)).await?.unwrap();
        let version = store.load(&stream()).await?.map_or(0, |at| at.version);
        Ok(Self { store, lease, version })
    }

    async fn append(&mut self, numbers: std::ops::Range<usize>, text: &str) -> Result<(), StoreError> {
        let drafts = numbers.map(|number| Draft {
            key: Key::text(format!("record {number}")),
            version: Some(1),
            parents: Vec::new(),
            body: DraftBody::Upsert {
                insert: payload(&format!("insert {number} {text}")),
                update: payload(&format!("update {number} {text}")).into(),
                digest: Digest([u8::try_from(number % 200).unwrap() ^ text.as_bytes()[0]; 16]),
            },
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
        let position = Position::new(format!("link?token={CANARY}"));
        let advance = Advance { expected_version: self.version, generation: 1, phase: Phase::Incremental, position };
        self.version = self.store.append(&self.lease, page, advance).await?.checkpoint.version;
        Ok(())
    }

    /// Claims, and answers what would be written: for each record its bodies, and whether it is taken for bound.
    async fn claim(&self, max: usize) -> Result<Vec<(sync_core::Seq, Key, String, bool)>, StoreError> {
        let want = ClaimRequest { stream: stream(), max, plan: PlanVersion(1), now_ms: 1_000 };
        let entries = self.store.claim(&self.lease, want).await?;
        let shown = entries.into_iter().map(|entry| {
            let bodies = match entry.body {
                EntryBody::Upsert { insert, update, .. } => format!("{:?} {update:?} {:?}", insert.0, text_of(&update)),
                EntryBody::Delete => "delete".to_owned(),
            };
            (entry.seq, entry.key, bodies, entry.bound)
        });
        Ok(shown.collect())
    }

    async fn settle(&self, seq: sync_core::Seq, verdict: Verdict) -> Result<(), StoreError> {
        let settlements = vec![Settlement { seq, verdict }];
        self.store.settle(&self.lease, &stream(), settlements, 1).await.map(drop)
    }
}

fn text_of(update: &sync_core::traits::Update) -> String {
    match update {
        sync_core::traits::Update::Body(body) => format!("{:?}", body.0),
        sync_core::traits::Update::Impossible(why) => why.code.clone(),
    }
}

fn payload(text: &str) -> Payload {
    Payload(text.as_bytes().to_vec().into())
}

fn done(verify_at_ms: Option<i64>) -> Verdict {
    Verdict::Done { effect: Effect::Inserted, verify_at_ms }
}

/// Leaves entries, an index, a verification, a dead letter, a value and a read position, all with the canary in them.
async fn fill(path: &Path, options: SqliteOptions) {
    let mut run = Run::open(path, options).await.unwrap();
    run.append(0..40, CANARY).await.unwrap();
    for (seq, ..) in run.claim(20).await.unwrap() {
        let verdict = match seq.0 % 10 {
            0 => done(Some(1_000_000)),
            1 => Verdict::Dead {
                rejection: Rejection { code: "no".into(), field: None, explanation: "No.".into() },
                in_doubt: false,
            },
            _ => done(None),
        };
        run.settle(seq, verdict).await.unwrap();
    }
    run.store.put(&run.lease, "name", CANARY.as_bytes()).await.unwrap();
}

fn holds_canary(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let holding = files.filter(|file| {
        let bytes = std::fs::read(file).unwrap();
        bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes())
    });
    holding.map(|file| file.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

#[tokio::test]
async fn with_a_key_nothing_that_records_say_is_in_the_files() {
    for (options, expected) in [(SqliteOptions::default(), true), (keyed(7), false)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        fill(&path, options.clone()).await;
        let mut run = Run::open(&path, options).await.unwrap();
        run.append(40..60, CANARY).await.unwrap();
        // The log is there while the store is open; afterwards everything is in the one file.
        assert!(folder.path().join("store.db-wal").exists());
        assert_eq!(
            !holds_canary(folder.path()).is_empty(),
            expected,
            "while it is open: {:?}",
            holds_canary(folder.path())
        );
        drop(run);
        assert_eq!(
            !holds_canary(folder.path()).is_empty(),
            expected,
            "after the end: {:?}",
            holds_canary(folder.path())
        );
    }
}

#[tokio::test]
async fn a_store_opens_with_its_own_key_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (sealed, plain) = (folder.path().join("sealed.db"), folder.path().join("plain.db"));
    fill(&sealed, keyed(7)).await;
    fill(&plain, SqliteOptions::default()).await;
    for (path, options) in [(&sealed, SqliteOptions::default()), (&sealed, keyed(8)), (&plain, keyed(7))] {
        let before = std::fs::read(path).unwrap();
        let error = SqliteStore::open(path, options.clone()).map(drop).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        assert!(error.to_string().contains("key") && error.remedy().contains("key"), "{error} {}", error.remedy());
        let error = SqliteStore::open_read_only(path, &options).map(drop).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        assert_eq!(std::fs::read(path).unwrap(), before, "a refused file is left as it is");
    }
    let beside = SqliteStore::open_read_only(&sealed, &keyed(7)).unwrap();
    assert_eq!(beside.get("name").await.unwrap().unwrap(), CANARY.as_bytes());
    let position = beside.load(&stream()).await.unwrap().unwrap().position.unwrap();
    assert!(position.as_str().contains(CANARY));
    let mut run = Run::open(&sealed, keyed(7)).await.unwrap();
    run.append(60..61, CANARY).await.unwrap();
    assert_eq!(run.claim(100).await.unwrap().len(), 21, "what was sealed before opens");
    assert!(!format!("{:?} {:?}", keyed(7), run.store).contains("7, 7"), "the key is not shown");
}

/// Flips one bit at a time, over the whole file, and runs on what is left.
#[tokio::test]
async fn a_flipped_bit_is_an_error_or_changes_nothing() {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let path = folder.path().join("store.db");
    fill(&path, SqliteOptions::default()).await;
    let whole = std::fs::read(&path).unwrap();
    let copy = folder.path().join("copy.db");
    let mut truth = BTreeMap::new();
    let mut outcomes = [0; 2];
    let used: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    // The file as it is comes first.
    let places = std::iter::once(None).chain(used.iter().step_by(used.len() / 600).copied().map(Some));
    for (round, place) in places.enumerate() {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", copy.display()));
        }
        let mut bytes = whole.clone();
        if let Some(at) = place {
            bytes[at] ^= 1 << (round % 8);
        }
        std::fs::write(&copy, bytes).unwrap();
        match run_on(&copy).await {
            Ok(written) if place.is_none() => truth = written,
            Ok(written) => {
                assert_eq!(written, truth, "byte {place:?}");
                outcomes[0] += 1;
            }
            Err(error) => {
                // The header says which layout it is and whether the file may be written.
                let of_header = place.is_some_and(|at| at < 100);
                assert!(error.kind() == StoreErrorKind::Corrupt || of_header, "byte {place:?}: {error:?}");
                outcomes[1] += 1;
            }
        }
    }
    assert_eq!(truth.len(), 40, "every record is written once");
    let [unchanged, refused] = outcomes;
    assert!(refused > 100 && unchanged > 10, "{refused} refused, {unchanged} without effect");
}

/// Writes what waits, and a newer state of every record: what would be written of each, in order.
async fn run_on(path: &Path) -> Result<BTreeMap<Key, Vec<(String, bool)>>, StoreError> {
    let mut run = Run::open(path, SqliteOptions::default()).await?;
    let mut written: BTreeMap<Key, Vec<(String, bool)>> = BTreeMap::new();
    for again in [false, true] {
        if again {
            run.append(0..40, "newer").await?;
        }
        loop {
            let entries = run.claim(16).await?;
            if entries.is_empty() {
                break;
            }
            for (seq, key, bodies, bound) in entries {
                written.entry(key).or_default().push((bodies, bound));
                run.settle(seq, done(None)).await?;
            }
        }
    }
    run.store.unseen(&stream(), 2, None, 100).await?;
    Ok(written)
}

/// Puts a file's columns where they do not belong, as somebody who can write the file would.
#[tokio::test]
async fn foreign_rows_are_refused() {
    for change in [
        "UPDATE entry SET insert_body = update_body, update_body = insert_body",
        "UPDATE entry SET kind = 1",
        "UPDATE entry SET key = CAST('?' AS BLOB) WHERE seq = (SELECT max(seq) FROM entry)",
        "UPDATE idx SET bound = 0",
        "UPDATE idx SET digest = substr(digest, 1, 8)",
        "UPDATE checkpoint SET position = CAST('other' AS BLOB)",
        "UPDATE kv SET value = CAST('other' AS BLOB)",
        "UPDATE number SET last = 1",
        "DELETE FROM number",
        "UPDATE entry SET class = 9",
        "UPDATE entry SET was_unknown = 5",
        "UPDATE entry SET state = 7",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        fill(&path, SqliteOptions::default()).await;
        let changed = {
            let connection = Connection::open(&path).unwrap();
            connection.pragma_update(None, "ignore_check_constraints", true).unwrap();
            connection.execute(change, []).unwrap()
        };
        assert!(changed > 0, "{change}");
        let error = Run::open(&path, SqliteOptions::default()).await.map(drop).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{change}");
    }
}
