//! A page, its effects and the read position, in one step.

use record::Key;
use sync_core::traits::{DraftBody, Effect, Phase};
use sync_core::{StoreErrorKind, Tally};

use super::begin;
use crate::Ground;
use crate::book::{dead, done, key, rejected, state};

/// A position that moved meanwhile refuses the page whole.
/// C11.
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
/// C12.
pub async fn the_same_page_is_stored_once(ground: &dyn Ground) {
    let book = begin(ground).await;
    let page = || vec![(key("a"), state("1")), (key("b"), state("1"))];
    book.try_append(page(), 0, "p1").await.unwrap();
    let again = book.try_append(page(), 0, "p1").await;
    assert_eq!(again.unwrap_err().kind(), StoreErrorKind::Conflict);
    assert_eq!(book.claimed(10).await, ["a", "b"]);
}

/// A page without a change is a step too.
/// C16.
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
/// C13.
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
/// C17.
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
        Key::text("x".repeat(1_023)),
        Key::text("x".repeat(1_024)),
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

/// However large: a store that splits a page splits its promise.
/// C15.
pub async fn a_large_page_is_stored_whole(ground: &dyn Ground) {
    let book = begin(ground).await;
    let names: Vec<String> = (0..2_500).map(|number| format!("k{number:04}")).collect();
    let report = book.append(names.iter().map(|name| (name.as_str(), state("1"))).collect()).await;
    assert_eq!(report.tally.read, 2_500);
    assert_eq!(book.stats().await.queued, 2_500);
    assert_eq!(book.claimed(10_000).await, names);
}

/// Once nothing is unsettled, what was read is the sum of what became of it.
/// C18.
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
/// C20.
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
