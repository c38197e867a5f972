//! Dead letters: never dropped silently, and closed when a newer state of the record was dealt with.

use sync_core::Tally;
use sync_core::traits::{DeadLetterQuery, DraftBody, Effect, LetterFilter, Verdict};

use super::begin;
use crate::Ground;
use crate::book::{Book, dead, done, key, rejected, rejection, state};

/// A state that cannot be mapped is not forgotten because an older one was written.
pub async fn a_rejection_survives_the_end_of_an_older_state(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append(vec![("a", state("1")), ("b", state("1"))]).await;
    let entries = book.claim(1).await;
    book.append(vec![("a", rejected("bad")), ("b", rejected("bad"))]).await;
    book.settle(entries[0].seq, done(Effect::Inserted)).await;
    book.finish(done(Effect::Inserted)).await;
    assert_eq!(book.codes().await, ["bad", "bad"]);
}

/// A newer state was given up because its parent did not come, while an older one was still in flight.
pub async fn a_state_given_up_survives_the_end_of_an_older_one(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append(vec![("done", state("1")), ("dead", state("1"))]).await;
    let entries = book.claim(10).await;
    for name in ["done", "dead"] {
        book.append_child(name, "2", &[(&book, "nobody")]).await;
    }
    let (lease, stream) = (&book.lease, &book.stream);
    let given_up = book.store.give_up_waiting(lease, stream, 2_000, &rejection("no-parent"), 2_000).await.unwrap();
    assert_eq!(given_up, 2);
    book.settle(entries[0].seq, done(Effect::Inserted)).await;
    book.settle(entries[1].seq, dead("no", false)).await;
    assert_eq!(book.codes().await, ["no-parent", "no-parent"]);
}

/// The end of a newer state closes the letter, whether it made an entry of its own or took the place of one.
pub async fn a_newer_end_closes_it(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append(vec![("new", rejected("bad")), ("waiting", state("1"))]).await;
    book.append(vec![("waiting", rejected("bad"))]).await;
    book.append(vec![("new", state("2")), ("waiting", state("2"))]).await;
    assert_eq!(book.codes().await, ["bad", "bad"], "not before the end");
    for entry in book.claim(10).await {
        book.settle(entry.seq, done(Effect::Inserted)).await;
    }
    assert!(book.letters().await.is_empty());
}

/// So does one that leads to nothing: equal to what is written, filtered out, deleted.
pub async fn a_state_that_needs_no_write_closes_it(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.write("equal", "1").await;
    let names = ["equal", "filtered", "gone", "ignored"];
    book.append(names.map(|name| (name, rejected("bad"))).into_iter().collect()).await;
    assert_eq!(book.letters().await.len(), 4);
    let newer = [state("1"), DraftBody::Filtered, DraftBody::Delete, DraftBody::Ignored];
    for (name, body) in names.into_iter().zip(newer) {
        book.append(vec![(name, body)]).await;
        assert!(book.letters().await.iter().all(|letter| letter.key != key(name)), "{name}");
    }
}

/// A verification repeats an older state.
pub async fn a_verification_leaves_it(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    book.append(vec![("a", state("1"))]).await;
    book.finish(Verdict::Done { effect: Effect::Inserted, verify_at_ms: Some(5_000) }).await;
    book.append(vec![("a", rejected("bad"))]).await;
    book.now_ms = 5_000;
    book.finish(done(Effect::Updated)).await;
    assert_eq!(book.codes().await, ["bad"]);
}

/// By stream, code, number, and page by page; dated when they were put there.
pub async fn they_are_found_by_filter(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    book.append(vec![("a", state("1")), ("b", rejected("bad")), ("c", rejected("worse"))]).await;
    book.now_ms = 9_000;
    book.finish(dead("no", false)).await;
    let letters = book.letters().await;
    let shown: Vec<_> = letters.iter().map(|letter| (letter.rejection.code.as_str(), letter.at_ms)).collect();
    assert_eq!(shown, [("bad", 1_000), ("worse", 1_000), ("no", 9_000)]);
    assert_eq!(letters.iter().map(|letter| letter.attempts).collect::<Vec<_>>(), [0, 0, 1]);
    assert!(letters.is_sorted_by_key(|letter| letter.id));
    let all = DeadLetterQuery { limit: 10, ..DeadLetterQuery::default() };
    let with = |filter| DeadLetterQuery { filter, ..all.clone() };
    let count = async |query: DeadLetterQuery| book.store.dead_letters(&query).await.unwrap().len();
    assert_eq!(count(with(LetterFilter { code: Some("bad".into()), ..LetterFilter::default() })).await, 1);
    assert_eq!(
        count(with(LetterFilter { ids: vec![letters[0].id, letters[2].id], ..LetterFilter::default() })).await,
        2
    );
    assert_eq!(count(DeadLetterQuery { after: Some(letters[0].id), ..all.clone() }).await, 2);
    assert_eq!(count(DeadLetterQuery { limit: 2, ..all.clone() }).await, 2);
    assert_eq!(count(with(LetterFilter { stream: Some(book.stream.clone()), ..LetterFilter::default() })).await, 3);
    let other = sync_core::StreamId::new("workflow/other");
    assert_eq!(count(with(LetterFilter { stream: Some(other), ..LetterFilter::default() })).await, 0);
}

/// The letter of an older state, whose end comes late, does not hide the newer one.
pub async fn only_the_newest_of_a_key_is_kept(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append(vec![("a", rejected("first")), ("b", state("1"))]).await;
    book.append(vec![("a", rejected("second"))]).await;
    let entry = book.claim_one().await;
    book.append(vec![("b", rejected("newest"))]).await;
    book.settle(entry.seq, dead("older", false)).await;
    assert_eq!(book.codes().await, ["second", "newest"]);
    assert_eq!(book.stats().await.dead, 2);
    book.append(vec![("a", state("1"))]).await;
    book.finish(dead("third", false)).await;
    assert_eq!(book.codes().await, ["newest", "third"]);
}

/// By stream, code, number and age, and by all of them together; those that do not match stay.
/// C37.
pub async fn they_are_dropped_by_filter(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    let other = book.on("workflow/other");
    book.append(vec![("a", rejected("bad")), ("b", rejected("worse")), ("c", rejected("bad"))]).await;
    other.append(vec![("a", rejected("bad"))]).await;
    book.now_ms = 2_000;
    book.append(vec![("d", rejected("bad")), ("e", rejected("worst"))]).await;
    let drop = async |filter: LetterFilter| book.store.drop_dead_letters(&book.lease, &filter).await.unwrap();
    let (any, stream) = (LetterFilter::default(), Some(book.stream.clone()));
    assert_eq!(drop(LetterFilter { code: Some("ba".into()), ..any.clone() }).await, 0);
    assert_eq!(drop(LetterFilter { before_ms: Some(1_000), ..any.clone() }).await, 0, "made before, not at that time");
    let first = book.letters().await[0].id;
    assert_eq!(drop(LetterFilter { ids: vec![first, u64::MAX], ..any.clone() }).await, 1);
    let old = LetterFilter { stream, code: Some("bad".into()), before_ms: Some(2_000), ..any.clone() };
    assert_eq!(drop(old.clone()).await, 1);
    assert_eq!(drop(old).await, 0);
    assert_eq!(book.codes().await, ["worse", "bad", "bad", "worst"]);
    assert_eq!((book.stats().await.dead, other.stats().await.dead), (3, 1));
    assert_eq!(drop(LetterFilter { before_ms: Some(2_000), ..any.clone() }).await, 2, "of every stream");
    assert_eq!(drop(any).await, 2);
    assert!(book.letters().await.is_empty());
}

/// A letter is gone; the record at the destination is not, and neither are the doubts about it.
/// C37.
pub async fn what_is_known_outlives_them(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.write("a", "1").await;
    book.append(vec![("a", state("2")), ("b", state("1"))]).await;
    for entry in book.claim(10).await {
        book.settle(entry.seq, dead("open", true)).await;
    }
    let known = (book.row("a").await, book.row("b").await);
    assert_eq!(book.store.drop_dead_letters(&book.lease, &LetterFilter::default()).await.unwrap(), 2);
    assert_eq!((book.row("a").await, book.row("b").await), known);
    let report = book.append(vec![("a", state("1")), ("b", DraftBody::Delete)]).await;
    assert_eq!(report.tally, Tally { read: 2, ..Tally::default() }, "both make entries");
    assert!(book.claim(10).await.iter().all(|entry| entry.unknown));
}

/// The records of letters are read again on request; who asks twice gets no more than who asks once.
/// C35.
pub async fn a_record_read_again_twice_is_queued_once(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append(vec![("a", state("1"))]).await;
    book.finish(dead("no", false)).await;
    let again = Book { replay: true, ..book.clone() };
    again.append(vec![("a", state("1"))]).await;
    let report = again.append(vec![("a", state("1"))]).await;
    assert_eq!(report.tally, Tally { read: 1, superseded: 1, ..Tally::default() });
    assert_eq!(book.codes().await, ["no"], "it is closed by the end, not by the asking");
    let entry = book.claim_one().await;
    assert_eq!((entry.attempt, entry.unknown), (1, false), "with no past");
    book.settle(entry.seq, done(Effect::Inserted)).await;
    assert!(book.letters().await.is_empty());
    assert_eq!(book.stats().await.depth(), 0);
}
