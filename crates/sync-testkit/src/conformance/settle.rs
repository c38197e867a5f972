//! Settlements: the end of an entry, the index and the counters in one step.

use sync_core::traits::{DraftBody, Effect, EntryBody, Rejection, Update};
use sync_core::{StreamId, Tally};

use super::begin;
use crate::Ground;
use crate::book::{Book, dead, digest, done, payload, rejection, retry, state};

/// An answer that was lost may be repeated.
/// C26.
pub async fn twice_is_once(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append(vec![("a", state("1")), ("b", state("1"))]).await;
    let entries = book.claim(10).await;
    for verdict in [done(Effect::Inserted), done(Effect::Inserted), dead("no", true), retry(0)] {
        let first = verdict == done(Effect::Inserted) && book.row("a").await.is_none();
        let report = book.settle(entries[0].seq, verdict).await;
        assert_eq!(report.passed_over, u64::from(!first));
        assert_eq!(report.tally, Tally { inserted: u64::from(first), ..Tally::default() });
    }
    assert!(book.letters().await.is_empty());
    let totals = book.store.load(&book.stream).await.unwrap().unwrap().totals;
    assert_eq!(totals, Tally { read: 2, inserted: 1, ..Tally::default() });
}

/// A settlement names its stream.
/// C27.
pub async fn an_entry_of_another_stream_is_passed_over(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append(vec![("a", state("1"))]).await;
    let entry = book.claim_one().await;
    let other = Book { stream: StreamId::new("workflow/other"), ..book.clone() };
    other.append(vec![("a", state("1"))]).await;
    let report = other.settle(entry.seq, done(Effect::Inserted)).await;
    assert_eq!((report.passed_over, report.tally), (1, Tally::default()));
    assert_eq!(other.row("a").await, None);
    assert_eq!(book.stats().await.in_flight, 1);
}

/// What the run before claimed is nobody's until it is inherited.
/// C27.
pub async fn what_another_lease_claimed_is_passed_over(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append(vec![("a", state("1"))]).await;
    let entry = book.claim_one().await;
    let book = Book::of(book.store.clone()).await;
    for verdict in [done(Effect::Inserted), retry(0), dead("no", false)] {
        let report = book.settle(entry.seq, verdict).await;
        assert_eq!((report.passed_over, report.tally), (1, Tally::default()));
    }
    assert_eq!((book.stats().await.in_flight, book.row("a").await), (1, None));
    assert!(book.claim(10).await.is_empty());
}

/// Bound with its digest and version after a write, and gone after a delete.
/// C38.
pub async fn the_index_follows_what_was_written(ground: &dyn Ground) {
    let book = begin(ground).await;
    assert_eq!(book.row("a").await, None);
    book.write("a", "1").await;
    let row = book.row("a").await.unwrap();
    assert_eq!((row.bound, row.digest, row.version), (true, Some(digest("1")), Some(1_000)));
    assert_eq!(book.store.bound_count(&book.stream).await.unwrap(), 1);
    let report = book.append(vec![("a", state("1"))]).await;
    assert_eq!(report.tally, Tally { read: 1, unchanged: 1, ..Tally::default() });
    book.append(vec![("a", state("2"))]).await;
    book.finish(done(Effect::Updated)).await;
    assert_eq!(book.row("a").await.unwrap().digest, Some(digest("2")));
    book.append(vec![("a", DraftBody::Delete)]).await;
    book.finish(done(Effect::Deleted)).await;
    assert_eq!(book.row("a").await, None);
    assert_eq!(book.store.bound_count(&book.stream).await.unwrap(), 0);
}

/// A record that may be created but not changed keeps the reason.
pub async fn an_update_that_cannot_be_said_is_kept(ground: &dyn Ground) {
    let book = begin(ground).await;
    for field in [None, Some("field".to_owned())] {
        let reason = Rejection { field, ..rejection("cannot-clear") };
        let update = Update::Impossible(reason.clone());
        let body = DraftBody::Upsert { insert: payload("new"), update, digest: digest("?") };
        book.append(vec![("a", body)]).await;
        let entry = book.finish(dead("cannot-clear", false)).await;
        let EntryBody::Upsert { insert, update, .. } = entry.body else { panic!("an upsert") };
        assert_eq!((insert, update), (payload("new"), Update::Impossible(reason)));
    }
}

/// An entry given up with its outcome open: nothing compares equal any more, and the next write knows.
pub async fn a_dead_end_in_doubt_is_remembered(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.write("known", "1").await;
    book.append(vec![("known", state("2")), ("new", state("1"))]).await;
    for entry in book.claim(10).await {
        book.settle(entry.seq, dead("open", true)).await;
    }
    let (known, new) = (book.row("known").await.unwrap(), book.row("new").await.unwrap());
    assert_eq!((known.bound, known.digest), (true, None));
    assert_eq!((new.bound, new.digest), (false, None));
    let report = book.append(vec![("known", state("1")), ("new", state("1"))]).await;
    assert_eq!(report.tally, Tally { read: 2, ..Tally::default() }, "nothing is taken for written");
    let entries = book.claim(10).await;
    assert!(entries.iter().all(|entry| entry.unknown && entry.written.is_none()));
    assert_eq!(entries.iter().map(|entry| entry.bound).collect::<Vec<_>>(), [true, false]);
    for entry in entries {
        book.settle(entry.seq, done(Effect::Updated)).await;
    }
    assert_eq!(book.row("new").await.unwrap().digest, Some(digest("1")), "the doubt is over");
    book.append(vec![("known", state("3"))]).await;
    book.finish(dead("no", false)).await;
    assert_eq!(book.row("known").await.unwrap().digest, Some(digest("1")), "no doubt, no mark");
}
