//! Leases that end by themselves, by the clock of the store.

use std::time::Duration;

use super::lease::{assert_refused, full_book, take};
use super::{Ending, begin};
use crate::Ground;
use crate::book::{Book, TTL, retry, state};

const INSTANT: Duration = Duration::from_millis(1);

/// Why the cases of this group cannot be run.
fn skipped(book: &Book, ground: &dyn Ground) -> Option<Ending> {
    match book.lease.ttl {
        None => Some(Ending::Skipped("the leases of the store do not end by themselves")),
        Some(_) if !ground.pass(Duration::ZERO) => Some(Ending::Skipped("the ground cannot let time pass")),
        Some(_) => None,
    }
}

/// Neither before its time nor later, and whatever the caller's calendar says.
/// C05.
pub async fn a_lease_ends_by_the_stores_clock(ground: &dyn Ground) -> Ending {
    let mut book = begin(ground).await;
    if let Some(skipped) = skipped(&book, ground) {
        return skipped;
    }
    assert_eq!(book.lease.ttl, Some(TTL));
    book.append(vec![("a", state("1"))]).await;
    book.now_ms += 2 * i64::try_from(TTL.as_millis()).unwrap();
    book.finish(retry(0)).await;
    assert_eq!(take(&*book.store, "other").await, None, "the calendar is not the store's clock");
    ground.pass(TTL - INSTANT);
    assert_eq!(take(&*book.store, "other").await, None, "an instant before its end");
    book.append(vec![]).await;
    ground.pass(INSTANT);
    let lease = take(&*book.store, "other").await.unwrap();
    assert!(lease.fence > book.lease.fence);
    Ending::Passed
}

/// From the moment of asking on.
/// C05.
pub async fn a_renewal_prolongs_it(ground: &dyn Ground) -> Ending {
    let mut book = begin(ground).await;
    if let Some(skipped) = skipped(&book, ground) {
        return skipped;
    }
    for _ in 0..3 {
        ground.pass(TTL - INSTANT);
        let renewed = book.store.renew(&book.lease, TTL).await.unwrap();
        assert_eq!((renewed.fence, renewed.ttl), (book.lease.fence, Some(TTL)));
        book.lease = renewed;
        book.append(vec![]).await;
    }
    let shorter = book.store.renew(&book.lease, TTL / 2).await.unwrap();
    assert_eq!(shorter.ttl, Some(TTL / 2));
    ground.pass(TTL / 2);
    assert!(take(&*book.store, "other").await.is_some(), "it ends when the last one said");
    Ending::Passed
}

/// Whoever comes late steps down, also when nobody has taken over.
/// C03.
pub async fn an_ended_lease_is_not_renewed(ground: &dyn Ground) -> Ending {
    let book = begin(ground).await;
    if let Some(skipped) = skipped(&book, ground) {
        return skipped;
    }
    ground.pass(TTL);
    let refused = book.store.renew(&book.lease, TTL).await;
    assert_eq!(refused.unwrap_err().kind(), sync_core::StoreErrorKind::Fenced);
    assert!(take(&*book.store, "other").await.is_some(), "and the lease is free");
    Ending::Passed
}

/// Also when nobody has taken over.
/// C07.
pub async fn an_ended_lease_is_refused_everywhere(ground: &dyn Ground) -> Ending {
    let book = full_book(ground).await;
    if let Some(skipped) = skipped(&book, ground) {
        return skipped;
    }
    ground.pass(TTL);
    assert_refused(&book).await;
    Ending::Passed
}
