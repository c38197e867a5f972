//! The second look after an unknown outcome.

use sync_core::Tally;
use sync_core::traits::{Effect, EntryBody, Update, Verdict};

use super::begin;
use crate::Ground;
use crate::book::{Book, done, key, payload, retry, state};

/// A record that was written, and is to be written once more at 5,000.
async fn with_one(ground: &dyn Ground) -> Book {
    let book = begin(ground).await;
    book.append(vec![("a", state("1"))]).await;
    book.finish(Verdict::Done { effect: Effect::Inserted, verify_at_ms: Some(5_000) }).await;
    book
}

fn update_of(body: &EntryBody) -> Option<&[u8]> {
    match body {
        EntryBody::Upsert { update: Update::Body(body), .. } => Some(&body.0),
        _ => None,
    }
}

/// Not before its time, then before everything else, and within what is asked for.
pub async fn it_waits_and_comes_first(ground: &dyn Ground) {
    let mut book = with_one(ground).await;
    book.append(vec![("b", state("1")), ("c", state("1"))]).await;
    book.now_ms = 4_999;
    assert_eq!(book.claimed(1).await, ["b"]);
    book.now_ms = 5_000;
    let entries = book.claim(1).await;
    assert_eq!(entries.len(), 1);
    assert!(entries[0].verification && entries[0].key == key("a") && entries[0].bound && !entries[0].unknown);
    assert_eq!(entries[0].attempt, 1);
    assert_eq!(book.claimed(10).await, ["c"]);
}

/// It never repeats an older state than the last one written.
pub async fn a_newer_end_brings_it_up_to_date(ground: &dyn Ground) {
    let mut book = with_one(ground).await;
    book.append(vec![("a", state("2"))]).await;
    book.now_ms = 6_000;
    let update = book.claim_one().await;
    assert!(!update.verification, "the entry on its way settles the matter first");
    book.settle(update.seq, done(Effect::Updated)).await;
    let again = book.claim_one().await;
    assert!(again.verification);
    assert_eq!(update_of(&again.body), Some(payload("2").0.as_ref()));
}

/// It is counted nowhere but in its own number.
pub async fn it_is_no_backlog(ground: &dyn Ground) {
    let mut book = with_one(ground).await;
    let waiting = book.stats().await;
    assert_eq!((waiting.depth(), waiting.verifications, waiting.next_verification_ms), (0, 1, Some(5_000)));
    assert_eq!((waiting.next_due_ms, waiting.oldest_ms), (None, None));
    book.now_ms = 5_000;
    let entry = book.claim_one().await;
    let claimed = book.stats().await;
    assert_eq!((claimed.depth(), claimed.verifications, claimed.oldest_ms), (0, 1, None));
    let report = book.settle(entry.seq, done(Effect::Updated)).await;
    assert_eq!((report.tally, report.passed_over), (Tally::default(), 0));
    assert_eq!(book.stats().await.verifications, 0);
}

/// A newer state does not take its place, because nothing may be counted for it.
pub async fn it_is_not_replaced_when_it_waits_again(ground: &dyn Ground) {
    let mut book = with_one(ground).await;
    book.now_ms = 5_000;
    book.finish(retry(6_000)).await;
    assert_eq!(book.stats().await.next_verification_ms, Some(6_000));
    let report = book.append(vec![("a", state("2"))]).await;
    assert_eq!(report.tally, Tally { read: 1, ..Tally::default() });
    assert_eq!(book.stats().await.depth(), 1);
    book.now_ms = 6_000;
    let entry = book.claim_one().await;
    assert!(entry.verification);
    book.settle(entry.seq, done(Effect::Updated)).await;
    let entry = book.finish(done(Effect::Updated)).await;
    assert_eq!(update_of(&entry.body), Some(payload("2").0.as_ref()));
}
