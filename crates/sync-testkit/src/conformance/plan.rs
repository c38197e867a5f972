//! What another plan made.

use sync_core::traits::{DraftBody, Effect, Verdict};
use sync_core::{PlanVersion, Tally};

use super::begin;
use crate::Ground;
use crate::book::{Book, digest, done, key, rejected, rejection, state, unknown};

async fn outdated(book: &Book) -> Vec<String> {
    let keys = book.store.outdated(&book.stream, book.plan, None, 100).await.unwrap();
    keys.iter().map(record::Key::to_text).collect()
}

/// Upserts are left; deletes are the same under every plan.
pub async fn entries_of_another_plan_are_left_and_listed(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    book.write("gone", "1").await;
    book.append(vec![("looked", state("1"))]).await;
    book.finish(Verdict::Done { effect: Effect::Inserted, verify_at_ms: Some(1) }).await;
    book.append(vec![("old", state("1")), ("older", state("1")), ("gone", DraftBody::Delete)]).await;
    assert!(outdated(&book).await.is_empty());
    book.plan = PlanVersion(2);
    book.append(vec![("young", state("1"))]).await;
    assert_eq!(outdated(&book).await, ["looked", "old", "older"]);
    let page = book.store.outdated(&book.stream, book.plan, Some(&key("looked")), 1).await.unwrap();
    assert_eq!(page, [key("old")]);
    assert_eq!(book.claimed(10).await, ["gone", "young"]);
    book.plan = PlanVersion(1);
    assert_eq!(book.claimed(10).await, ["looked", "old", "older"], "under their own plan they are as good as ever");
}

/// A key that was read again: the draft of the plan in force takes the place of what another one made.
pub async fn a_refresh_takes_their_place(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    book.write("written", "1").await;
    book.append(vec![("a", state("1")), ("b", state("1")), ("c", state("1")), ("written", state("2"))]).await;
    book.plan = PlanVersion(2);
    book.refresh = true;
    let report = book
        .append(vec![("a", state("1")), ("b", DraftBody::Filtered), ("c", DraftBody::Delete), ("written", state("1"))])
        .await;
    let wanted = Tally { read: 4, superseded: 4, filtered: 1, ignored: 1, unchanged: 1, ..Tally::default() };
    assert_eq!(report.tally, wanted);
    assert!(outdated(&book).await.is_empty());
    let entry = book.finish(done(Effect::Inserted)).await;
    assert_eq!((entry.key, entry.plan), (key("a"), PlanVersion(2)));
}

/// Until its time has come, an attempt of the older plan may still take effect: so long the new entry waits.
pub async fn a_refresh_forgets_no_settle_time(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    book.append(vec![("open", state("1"))]).await;
    book.finish(unknown(60_000)).await;
    book.plan = PlanVersion(2);
    book.refresh = true;
    book.append(vec![("open", state("1")), ("new", state("1"))]).await;
    assert_eq!(book.claimed(10).await, ["new"]);
    book.now_ms = 59_999;
    assert!(book.claim(10).await.is_empty());
    book.now_ms = 60_000;
    let entry = book.claim_one().await;
    assert!(entry.unknown && entry.attempt == 1);
}

/// An attempt of the older plan may have taken effect: the key is written anew, whatever its digest.
pub async fn a_refresh_of_what_may_have_been_written_leaves_a_doubt(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    book.write("open", "1").await;
    book.append(vec![("open", state("2"))]).await;
    book.finish(unknown(1_000)).await;
    book.append(vec![("looked", state("1"))]).await;
    let entries = book.claim(10).await;
    book.settle(entries[1].seq, Verdict::Done { effect: Effect::Inserted, verify_at_ms: Some(9_000) }).await;
    book.settle(entries[0].seq, unknown(1_000)).await;
    book.plan = PlanVersion(2);
    book.refresh = true;
    let report = book.append(vec![("open", state("1")), ("looked", state("1"))]).await;
    assert_eq!(report.tally, Tally { read: 2, superseded: 1, ..Tally::default() });
    assert_eq!(book.row("open").await.unwrap().digest, None);
    let entries = book.claim(10).await;
    assert!(entries.iter().all(|entry| entry.unknown && entry.bound), "{entries:?}");
    for entry in entries {
        book.settle(entry.seq, done(Effect::Updated)).await;
    }
    assert_eq!(book.row("open").await.unwrap().digest, Some(digest("1")));
    assert_eq!(book.stats().await.verifications, 0);
}

/// A child that was given up would come back as another plan made it: it is listed, and what is read again takes its place.
pub async fn a_refresh_takes_the_place_of_an_orphan(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    book.append_child("orphan", "1", &[(&book, "parent")]).await;
    book.append_child("other", "1", &[(&book, "parent")]).await;
    let (lease, stream) = (book.lease.clone(), book.stream.clone());
    book.store.give_up_waiting(&lease, &stream, 2_000, &rejection("no-parent"), 2_000).await.unwrap();
    assert!(outdated(&book).await.is_empty());
    book.plan = PlanVersion(2);
    assert_eq!(outdated(&book).await, ["orphan", "other"]);
    book.refresh = true;
    book.append(vec![("orphan", rejected("bad")), ("other", DraftBody::Filtered)]).await;
    assert!(outdated(&book).await.is_empty());
    book.append(vec![("parent", state("1"))]).await;
    let report = book.finish_report(done(Effect::Inserted)).await;
    assert!(report.released.is_empty(), "{report:?}");
    assert_eq!(book.codes().await, ["bad"]);
}
