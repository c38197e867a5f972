//! A page, its effects and the read position, in one step.

use record::Key;
use sync_core::traits::{DraftBody, Effect, EntryBody, Phase, Update};
use sync_core::{StoreErrorKind, Tally};

use super::begin;
use crate::Ground;
use crate::book::{dead, done, key, payload, rejected, retry, state, unknown};

/// A position that moved meanwhile refuses the page whole.
pub async fn nothing_is_stored_on_a_conflict(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append(vec![("a", state("1"))]).await;
    for version in [0, 2, 9] {
        let answer = book.try_append(vec![(key("b"), state("1")), (key("c"), rejected("bad"))], version, "p").await;
        assert_eq!(answer.unwrap_err().kind(), StoreErrorKind::Conflict, "version {version}");
    }
    assert_eq!(book.claimed(10).await, ["a"]);
    assert!(book.letters().await.is_empty());
    assert_eq!(book.version().await, 1);
}

/// A page whose answer was lost is not stored a second time.
pub async fn the_same_page_is_stored_once(ground: &dyn Ground) {
    let book = begin(ground).await;
    let page = || vec![(key("a"), state("1")), (key("b"), state("1"))];
    book.try_append(page(), 0, "p1").await.unwrap();
    let again = book.try_append(page(), 0, "p1").await;
    assert_eq!(again.unwrap_err().kind(), StoreErrorKind::Conflict);
    assert_eq!(book.claimed(10).await, ["a", "b"]);
}

/// A page without a change is a step too.
pub async fn an_empty_page_moves_the_position(ground: &dyn Ground) {
    let book = begin(ground).await;
    let report = book.try_append(vec![], 0, "p1").await.unwrap();
    assert_eq!(report.tally, Tally::default());
    let loaded = book.store.load(&book.stream).await.unwrap().unwrap();
    assert_eq!(loaded, report.checkpoint);
    assert_eq!((loaded.version, loaded.generation, loaded.phase), (1, 1, Phase::Incremental));
    assert_eq!(loaded.position.unwrap().as_str(), "p1");
}

/// Whoever sees the position sees what stands for it, also after the end of the process.
pub async fn a_page_is_visible_with_its_position(ground: &dyn Ground) {
    let book = begin(ground).await;
    let report = book.append(vec![("a", state("1")), ("b", rejected("bad"))]).await;
    let durable = book.store.capabilities().durable;
    let book = if durable { book.reopen(ground).await } else { book };
    assert_eq!(book.store.load(&book.stream).await.unwrap(), Some(report.checkpoint));
    assert_eq!(book.stats().await.queued, 1);
    assert_eq!(book.codes().await, ["bad"]);
}

/// GUIDs, texts with zeros, long ones, ones in any script.
pub async fn keys_of_any_form_are_kept_apart(ground: &dyn Ground) {
    let book = begin(ground).await;
    let guid = "0f8fad5b-d9cb-469f-a165-70867728950e";
    let mut keys = vec![
        Key::Guid(guid.parse().unwrap()),
        Key::text(guid),
        Key::text(""),
        Key::text("\0"),
        Key::text("a\0b"),
        Key::text("Łukasz/%'\u{10ffff}"),
        Key::text("x".repeat(1_000)),
    ];
    let drafts = keys.iter().map(|key| (key.clone(), state("1"))).collect();
    book.try_append(drafts, 0, "p1").await.unwrap();
    let entries = book.claim(100).await;
    assert_eq!(entries.iter().map(|entry| entry.key.clone()).collect::<Vec<_>>(), keys);
    for entry in entries {
        book.settle(entry.seq, done(Effect::Inserted)).await;
    }
    let unseen = book.store.unseen(&book.stream, 9, None, 100).await.unwrap();
    keys.sort();
    assert_eq!(unseen, keys, "in the order of keys");
}

/// The backlog keeps the newest state of a record.
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

/// Once nothing is unsettled, what was read is the sum of what became of it.
pub async fn totals_add_up(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append(vec![("a", state("1")), ("b", state("1")), ("c", state("1")), ("d", rejected("bad"))]).await;
    book.append(vec![("a", state("2")), ("b", state("1")), ("c", DraftBody::Delete), ("e", DraftBody::Filtered)]).await;
    let entries = book.claim(10).await;
    assert_eq!(book.stats().await.depth(), entries.len() as u64);
    let verdicts = [done(Effect::Inserted), dead("no", false)];
    for (entry, verdict) in entries.iter().zip(verdicts) {
        book.settle(entry.seq, verdict).await;
    }
    let totals = book.store.load(&book.stream).await.unwrap().unwrap().totals;
    assert_eq!(
        totals,
        Tally {
            read: 8,
            inserted: 1,
            dead: 2,
            superseded: 2,
            unchanged: 1,
            ignored: 1,
            filtered: 1,
            ..Tally::default()
        }
    );
    assert_eq!((totals.unsettled(), book.stats().await.depth()), (0, 0));
}

/// A new generation forgets the position alone.
pub async fn a_reset_keeps_everything_but_the_position(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.write("a", "1").await;
    book.append(vec![("b", state("1")), ("c", rejected("bad"))]).await;
    let before = book.store.load(&book.stream).await.unwrap().unwrap();
    let refused = book.store.reset(&book.lease, &book.stream, 1, 2).await;
    assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Conflict);
    let after = book.store.reset(&book.lease, &book.stream, before.version, 2).await.unwrap();
    assert_eq!(book.store.load(&book.stream).await.unwrap(), Some(after.clone()));
    assert_eq!((after.generation, after.phase, after.position), (2, Phase::Snapshot, None));
    assert_eq!((after.version, after.totals), (before.version + 1, before.totals));
    assert_eq!(book.claimed(10).await, ["b"]);
    assert_eq!(book.codes().await, ["bad"]);
    assert!(book.row("a").await.is_some());
}
