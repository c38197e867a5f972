//! Ownership: a fence that only grows, and no write under an old lease.

use sync_core::traits::{Lease, OwnerId, Phase};
use sync_core::{StoreError, StoreErrorKind};

use super::begin;
use crate::Ground;
use crate::book::{Book, TTL, WORKFLOW, done, key, state};

async fn acquire(book: &Book) -> Lease {
    book.store.acquire(WORKFLOW, &OwnerId("suite".into()), TTL).await.unwrap().unwrap()
}

/// Over takeovers, release and the end of the process.
pub async fn the_fence_only_grows(ground: &dyn Ground) {
    let book = begin(ground).await;
    let mut fences = vec![book.lease.fence];
    fences.push(acquire(&book).await.fence);
    let lease = acquire(&book).await;
    fences.push(lease.fence);
    book.store.release(lease).await.unwrap();
    fences.push(acquire(&book).await.fence);
    let durable = book.store.capabilities().durable;
    let book = book.reopen(ground).await;
    if durable {
        fences.push(book.lease.fence);
    }
    assert!(fences.is_sorted_by(|earlier, later| earlier < later), "{fences:?}");
}

/// Every method that writes, under a lease that is not in force.
async fn refusals(book: &Book) -> Vec<Result<(), StoreError>> {
    let (store, lease, stream) = (&book.store, &book.lease, &book.stream);
    let version = book.version().await;
    vec![
        book.try_append(vec![(key("x"), state("x"))], version, "p").await.map(drop),
        store.claim(lease, book.want(1)).await.map(drop),
        store.settle(lease, stream, vec![], 0).await.map(drop),
        store.inherit(lease, stream, 0).await.map(drop),
        store.reset(lease, stream, version, 2).await.map(drop),
        store.put(lease, "name", b"value").await,
        store.mark_seen(lease, stream, &[key("a")], 9).await,
    ]
}

async fn assert_refused(book: &Book) {
    let before = (book.version().await, book.stats().await, book.row("a").await);
    for (method, answer) in refusals(book).await.into_iter().enumerate() {
        let kind = answer.err().map(|error| error.kind());
        assert_eq!(kind, Some(StoreErrorKind::Fenced), "method {method}");
    }
    assert_eq!((book.version().await, book.stats().await, book.row("a").await), before, "nothing was changed");
    assert_eq!(book.store.get("name").await.unwrap(), None);
}

/// No write under a lease that was given back.
pub async fn a_released_lease_is_refused_everywhere(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append(vec![("a", state("1"))]).await;
    book.store.release(book.lease.clone()).await.unwrap();
    assert_refused(&book).await;
}

/// No write under a lease that somebody else has taken over, not even the end of what it claimed.
pub async fn an_older_lease_is_refused_everywhere(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append(vec![("a", state("1"))]).await;
    book.finish(done(sync_core::traits::Effect::Inserted)).await;
    book.append(vec![("b", state("1"))]).await;
    book.claim_one().await;
    acquire(&book).await;
    assert_refused(&book).await;
    assert_eq!(book.stats().await.in_flight, 1);
}

/// A lease that is given back late takes nothing from its successor.
pub async fn giving_back_twice_is_harmless(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    let old = book.lease.clone();
    book.store.release(old.clone()).await.unwrap();
    book.lease = acquire(&book).await;
    book.store.release(old).await.unwrap();
    book.append(vec![("a", state("1"))]).await;
    let checkpoint = book.store.load(&book.stream).await.unwrap().unwrap();
    assert_eq!((checkpoint.version, checkpoint.phase), (1, Phase::Incremental));
}
