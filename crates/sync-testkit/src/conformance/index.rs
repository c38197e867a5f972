//! The record index: what a repeated snapshot met, and what it missed.

use record::Key;
use sync_core::traits::{DraftBody, Effect};

use super::begin;
use crate::Ground;
use crate::book::{Book, done, key, rejected, retry, state};

/// Also when the entry that wrote it was older than the snapshot and was settled after its beginning.
/// C39.
pub async fn a_snapshot_leaves_the_vanished_unseen(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    book.write("met", "1").await;
    book.write("vanished", "1").await;
    book.append(vec![("late", state("1"))]).await;
    let version = book.version().await;
    book.store.reset(&book.lease, &book.stream, version, 2).await.unwrap();
    (book.generation, book.mark_seen) = (2, Some(2));
    book.append(vec![("met", state("1")), ("new", state("1"))]).await;
    for entry in book.claim(10).await {
        book.settle(entry.seq, done(Effect::Inserted)).await;
    }
    assert_eq!(book.unseen(2).await, ["late", "vanished"]);
    assert_eq!(book.unseen(1).await, Vec::<String>::new());
    book.store.mark_seen(&book.lease, &book.stream, &[key("late"), key("nobody")], 2).await.unwrap();
    assert_eq!(book.unseen(2).await, ["vanished"]);
    assert_eq!(book.row("nobody").await, None);
}

/// The snapshot meets a record whose entry is still on its way.
pub async fn an_entry_met_while_it_waits_is_seen(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    book.append(vec![("waiting", state("1")), ("flying", state("1"))]).await;
    let entries = book.claim(10).await;
    book.settle(entries[0].seq, retry(0)).await;
    let version = book.version().await;
    book.store.reset(&book.lease, &book.stream, version, 2).await.unwrap();
    (book.generation, book.mark_seen) = (2, Some(2));
    book.append(vec![("waiting", state("1")), ("flying", state("1"))]).await;
    book.settle(entries[1].seq, done(Effect::Inserted)).await;
    book.finish(done(Effect::Inserted)).await;
    assert_eq!(book.unseen(2).await, Vec::<String>::new());
}

/// A record that the filter leaves out, or that cannot be mapped, is there all the same: it has not vanished.
/// C38.
pub async fn what_is_filtered_out_is_met_too(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    for name in ["filtered", "ignored", "rejected", "unmet"] {
        book.write(name, "1").await;
    }
    (book.generation, book.mark_seen) = (2, Some(2));
    let met = [("filtered", DraftBody::Filtered), ("ignored", DraftBody::Ignored), ("rejected", rejected("bad"))];
    book.append(met.into_iter().collect()).await;
    assert_eq!(book.unseen(2).await, ["unmet"]);
    assert_eq!(book.store.bound_count(&book.stream).await.unwrap(), 4);
}

/// In the order of keys, each once.
/// C39.
pub async fn unseen_keys_come_in_pages(ground: &dyn Ground) {
    let book = begin(ground).await;
    let names: Vec<String> = (0..25).map(|number| format!("k{number:02}")).collect();
    book.append(names.iter().map(|name| (name.as_str(), state("1"))).collect()).await;
    for entry in book.claim(100).await {
        book.settle(entry.seq, done(Effect::Inserted)).await;
    }
    let (mut all, mut after) = (Vec::new(), None::<Key>);
    for _ in 0..10 {
        let page = book.store.unseen(&book.stream, 2, after.as_ref(), 7).await.unwrap();
        if all.len() == 14 {
            // What is written meanwhile, before the place reached, does not disturb the rest.
            book.write("a", "1").await;
        }
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        all.extend(page.iter().map(Key::to_text));
    }
    assert_eq!(all, names);
}

/// Whether something is unsettled that the snapshot did not meet.
pub async fn an_older_entry_is_known_to_wait(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    book.append(vec![("a", state("1"))]).await;
    let before = async |book: &Book| book.store.unsettled_before(&book.stream, 2).await.unwrap();
    assert!(before(&book).await);
    let version = book.version().await;
    book.store.reset(&book.lease, &book.stream, version, 2).await.unwrap();
    (book.generation, book.mark_seen) = (2, Some(2));
    book.append(vec![("b", state("1"))]).await;
    assert!(before(&book).await);
    book.append(vec![("a", state("1"))]).await;
    assert!(!before(&book).await, "both were met");
    assert_eq!(book.stats().await.depth(), 2);
}
