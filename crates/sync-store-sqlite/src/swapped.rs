//! Sealed values in places that they were not made for, put there by somebody who knows the layout and the sums.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use record::Key;
use rusqlite::{Connection, params};
use sync_core::traits::{
    Advance, Backlog, ClaimRequest, Class, Draft, DraftBody, LeaseStore, OwnerId, Page, Phase, StateStore,
};
use sync_core::{Digest, Payload, PlanVersion, Position, StoreErrorKind, StreamId};

use crate::seal::{BodyOf, Place, Seal};
use crate::{EncryptionKey, SqliteOptions, SqliteStore, sum};

fn key() -> EncryptionKey {
    EncryptionKey::new(Box::new([7; 32]))
}

#[test]
fn a_value_opens_in_its_own_place_alone() {
    let (seal, mark) = Seal::make(Some(&key())).unwrap();
    let of = BodyOf { stream: 1, key: b"a", kind: 0, born: 5, digest: b"digest" };
    let place = Place::Body { of, column: "insert" };
    let stored = seal.close(place, Cow::Borrowed(b"text")).unwrap().into_owned();
    assert_eq!(seal.open(place, stored.clone()).unwrap(), b"text");
    let again = Seal::of(Some(&key()), mark.as_deref()).unwrap();
    assert_eq!(again.open(place, stored.clone()).unwrap(), b"text");
    let (other, _) = Seal::make(Some(&key())).unwrap();
    assert!(other.open(place, stored.clone()).is_err(), "another store with the same key");
    let others = [
        BodyOf { stream: 2, ..of },
        BodyOf { key: b"b", ..of },
        BodyOf { kind: 2, ..of },
        BodyOf { born: 6, ..of },
        BodyOf { digest: b"Digest", ..of },
        BodyOf { key: b"ad", digest: b"igest", ..of },
    ];
    let places = others.map(|of| Place::Body { of, column: "insert" });
    let elsewhere = [Place::Body { of, column: "update" }, Place::Value("a"), Place::Name];
    for place in places.into_iter().chain(elsewhere) {
        assert_eq!(seal.open(place, stored.clone()).unwrap_err().kind(), StoreErrorKind::Corrupt);
    }
    for at in 0..stored.len() {
        let mut changed = stored.clone();
        changed[at] ^= 1;
        assert!(seal.open(place, changed).is_err(), "byte {at}");
        assert!(seal.open(place, stored[..at].to_vec()).is_err(), "{at} bytes");
    }
    let second = seal.close(place, Cow::Borrowed(b"text")).unwrap();
    assert_ne!(stored[..], second[..], "equal texts are not seen to be equal");
}

fn stream() -> StreamId {
    StreamId::new("w/s")
}

/// Two records that wait.
async fn two(store: &SqliteStore) -> sync_core::traits::Lease {
    let lease = store.acquire("w", &OwnerId("test".into()), Duration::ZERO).await.unwrap().unwrap();
    let drafts = ["a", "b"].map(|name| {
        let body = Payload(format!("of {name}").into_bytes().into());
        let body = DraftBody::Upsert { insert: body.clone(), update: body.into(), digest: Digest([1; 16]) };
        Draft { key: Key::text(name), version: None, parents: Vec::new(), body }
    });
    let page = Page {
        stream: stream(),
        plan: PlanVersion(1),
        class: Class::Live,
        replay: false,
        drafts: drafts.into(),
        mark_seen: None,
        refresh: false,
        hold_deletes: false,
        now_ms: 1,
    };
    let position = Position::new("here");
    let advance = Advance { expected_version: 0, generation: 1, phase: Phase::Snapshot, position };
    store.append(&lease, page, advance).await.unwrap();
    lease
}

#[tokio::test]
async fn bodies_of_another_record_are_never_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let options = SqliteOptions::default().encryption_key(Some(key()));
    let store: Arc<SqliteStore> = SqliteStore::open(&path, options.clone()).unwrap();
    two(&store).await;
    drop(store);

    // Both get the bodies and the digest of the other, and the sums that belong to them.
    let connection = Connection::open(&path).unwrap();
    let mut statement =
        connection.prepare("SELECT seq, stream, key, born, digest, insert_body, update_body, plan FROM entry").unwrap();
    type Stored = (i64, i64, Vec<u8>, i64, Vec<u8>, Vec<u8>, Vec<u8>, i64);
    let rows: Vec<Stored> = statement
        .query_map([], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?, row.get(7)?))
        })
        .and_then(Iterator::collect)
        .unwrap();
    assert_eq!(rows.len(), 2);
    for ((seq, stream, key, born, ..), (.., digest, insert, update, plan)) in rows.iter().zip(rows.iter().rev()) {
        let of = BodyOf { stream: *stream, key, kind: 0, born: *born, digest };
        let sum = sum::of_body(of, *plan, None, Some(insert), Some(update));
        let sql = "UPDATE entry SET digest = ?2, insert_body = ?3, update_body = ?4, sum = ?5 WHERE seq = ?1";
        connection.execute(sql, params![seq, digest, insert, update, sum]).unwrap();
    }
    drop(statement);
    drop(connection);

    let store = SqliteStore::open(&path, options).unwrap();
    let lease = store.acquire("w", &OwnerId("test".into()), Duration::ZERO).await.unwrap().unwrap();
    let want = ClaimRequest { stream: stream(), max: 10, plan: PlanVersion(1), now_ms: 1 };
    let error = store.claim(&lease, want).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "the sums are right, and the seal is not");
    assert_eq!(store.stats(&stream()).await.unwrap().in_flight, 0, "the claim is undone");
}

#[tokio::test]
async fn an_older_read_position_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let options = SqliteOptions::default().encryption_key(Some(key()));
    let store = SqliteStore::open(&path, options.clone()).unwrap();
    two(&store).await;
    drop(store);
    let connection = Connection::open(&path).unwrap();
    let position: Vec<u8> = connection.query_row("SELECT position FROM checkpoint", [], |row| row.get(0)).unwrap();
    let sum = sum::of_position(1, 1, 0, 9, Some(&position));
    connection.execute("UPDATE checkpoint SET version = 9, sum = ?1", [sum]).unwrap();
    drop(connection);
    // The file is small: it is examined whole.
    let error = SqliteStore::open(&path, options.clone()).map(drop).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    let beside = SqliteStore::open_read_only(&path, &options).unwrap();
    assert_eq!(beside.load(&stream()).await.unwrap_err().kind(), StoreErrorKind::Corrupt);
}
