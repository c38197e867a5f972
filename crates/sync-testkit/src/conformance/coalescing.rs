//! What becomes of a state that meets another one of its record in the backlog.

use sync_core::Tally;
use sync_core::traits::{DraftBody, Effect, EntryBody, Update};

use super::begin;
use crate::Ground;
use crate::book::{Book, dead, done, key, payload, retry, state, unknown};

/// The backlog keeps the newest state of a record.
/// C32.
pub async fn a_newer_state_takes_the_place_of_a_waiting_one(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append(vec![("a", state("1")), ("b", state("1"))]).await;
    let report = book.append(vec![("a", state("2"))]).await;
    assert_eq!(report.tally, Tally { read: 1, superseded: 1, ..Tally::default() });
    let entries = book.claim(10).await;
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0].key, key("a"), "it keeps its place");
    let EntryBody::Upsert { update: Update::Body(update), .. } = &entries[0].body else { panic!("an upsert") };
    assert_eq!(*update, payload("2"));
}

/// A field that only an insert carries changes while the insert waits.
/// C32.
pub async fn an_equal_state_brings_its_insert_up_to_date(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append(vec![("a", state("1"))]).await;
    let DraftBody::Upsert { update, digest, .. } = state("1") else { panic!("an upsert") };
    let newer = DraftBody::Upsert { insert: payload("newer"), update, digest };
    let report = book.append(vec![("a", newer)]).await;
    assert_eq!(report.tally, Tally { read: 1, unchanged: 1, ..Tally::default() });
    let EntryBody::Upsert { insert, .. } = book.claim_one().await.body else { panic!("an upsert") };
    assert_eq!(insert, payload("newer"));
}

/// A record deleted and restored is deleted and created.
/// C32.
pub async fn an_upsert_after_a_delete_waits_for_it(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.write("a", "1").await;
    book.append(vec![("a", DraftBody::Delete)]).await;
    let report = book.append(vec![("a", state("1"))]).await;
    assert_eq!(report.tally, Tally { read: 1, ..Tally::default() });
    let delete = book.claim_one().await;
    assert!(matches!(delete.body, EntryBody::Delete) && delete.bound);
    assert_eq!(book.claim(10).await.len(), 0, "one of a key at a time");
    book.settle(delete.seq, done(Effect::Deleted)).await;
    let create = book.claim_one().await;
    assert!(matches!(create.body, EntryBody::Upsert { .. }) && !create.bound);
}

/// A create that is under way, unknown or inherited may leave a record behind, which only the delete removes.
/// C32.
pub async fn a_delete_of_what_may_exist_makes_an_entry(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append(vec![("flying", state("1")), ("open", state("1")), ("waiting", state("1")), ("failed", state("1"))])
        .await;
    let entries = book.claim(10).await;
    book.settle(entries[1].seq, unknown(0)).await;
    book.settle(entries[2].seq, retry(0)).await;
    book.settle(entries[3].seq, dead("no", true)).await;
    let deletes =
        ["flying", "open", "waiting", "failed", "never"].map(|name| (name, DraftBody::Delete)).into_iter().collect();
    let report = book.append(deletes).await;
    // The one that certainly had no effect is cancelled; of the last, nothing was ever heard.
    assert_eq!(report.tally, Tally { read: 5, superseded: 1, ignored: 2, ..Tally::default() });
    assert_eq!(book.stats().await.depth(), 5);
}

/// Filtered out, or gone at the source, before it was ever written.
/// C32.
pub async fn what_was_never_written_is_not_created_when_it_leaves(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append(vec![("a", state("1")), ("b", state("1")), ("c", state("1")), ("d", state("1"))]).await;
    let leaving = vec![
        ("a", DraftBody::Filtered),
        ("b", DraftBody::DeleteFiltered),
        ("c", DraftBody::Ignored),
        ("d", DraftBody::Delete),
    ];
    let report = book.append(leaving).await;
    assert_eq!(report.tally, Tally { read: 4, superseded: 4, filtered: 2, ignored: 2, ..Tally::default() });
    assert_eq!(book.stats().await.depth(), 0);
    assert!(book.claim(10).await.is_empty());
}

/// An operator wants every record written again: equal or old, each makes an entry that says so.
/// C32.
pub async fn a_replay_writes_what_is_equal(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    book.now_ms = 5_000;
    book.write("a", "1").await;
    let report = book.append(vec![("a", state("1"))]).await;
    assert_eq!(report.tally.unchanged, 1, "unless it is asked for");
    (book.replay, book.now_ms) = (true, 4_000);
    let report = book.append(vec![("a", state("1"))]).await;
    assert_eq!(report.tally, Tally { read: 1, ..Tally::default() }, "nothing is unchanged, and nothing is stale");
    let entry = book.claim_one().await;
    assert!(entry.replay && entry.written.is_some() && entry.bound);
    book.settle(entry.seq, done(Effect::Updated)).await;
    book.replay = false;
    book.append(vec![("a", state("2"))]).await;
    assert!(!book.claim_one().await.replay, "what comes later is a change like any other");
}

/// What an operator asked for is done, also when a change of the record takes its place before.
/// C32.
pub async fn a_replay_survives_a_newer_state(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append(vec![("replaced", state("1")), ("refreshed", state("1")), ("waiting", state("1"))]).await;
    let again = Book { replay: true, ..book.clone() };
    again.append(vec![("waiting", state("1"))]).await;
    again.append(vec![("replaced", state("1")), ("refreshed", state("1"))]).await;
    book.append(vec![("replaced", state("2")), ("refreshed", state("1"))]).await;
    let entries = book.claim(10).await;
    assert_eq!(
        entries.iter().map(|entry| entry.key.to_text()).collect::<Vec<_>>(),
        ["replaced", "refreshed", "waiting"]
    );
    assert!(entries.iter().all(|entry| entry.replay), "{entries:?}");
}
