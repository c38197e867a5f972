//! Ownership: a fence that only grows, and no write under an old lease.

use std::sync::{Arc, Barrier};

use sync_core::StoreErrorKind;
use sync_core::traits::{DeleteRelease, Effect, Lease, LetterFilter, OwnerId, Phase, Store};
use tokio::runtime::Handle;

use super::{Ending, begin};
use crate::Ground;
use crate::book::{Book, TTL, WORKFLOW, done, key, rejected, rejection, state};

async fn acquire(book: &Book) -> Lease {
    take(&*book.store, "suite").await.unwrap()
}

pub(super) async fn take(store: &dyn Store, owner: &str) -> Option<Lease> {
    store.acquire(WORKFLOW, &OwnerId(owner.into()), TTL).await.unwrap()
}

/// Over takeovers, release and the end of the process.
/// C02.
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

/// Every method that writes is refused under a lease that is not in force, and changes nothing. The book holds a settled and
/// a claimed entry, a dead letter and a request.
pub(super) async fn assert_refused(book: &Book) {
    let (store, lease, stream) = (&book.store, &book.lease, &book.stream);
    let (version, before) = (book.version().await, book.holdings().await);
    let requests = store.requests().await.unwrap();
    let claimed = sync_core::Seq(u64::MAX);
    let settlement = sync_core::traits::Settlement { seq: claimed, verdict: done(Effect::Inserted) };
    let everything =
        DeleteRelease { stream: stream.clone(), held_to: claimed, children: Vec::new(), children_to: claimed };
    let refusals = [
        ("append", book.try_append(vec![(key("x"), state("x"))], version, "p").await.map(drop)),
        ("claim", store.claim(lease, book.want(1)).await.map(drop)),
        ("settle", store.settle(lease, stream, vec![settlement], 0).await.map(drop)),
        ("inherit", store.inherit(lease, stream, 0).await.map(drop)),
        ("give_up_waiting", store.give_up_waiting(lease, stream, i64::MAX, &rejection("late"), 0).await.map(drop)),
        ("release_deletes", store.release_deletes(lease, &everything).await.map(drop)),
        ("reset", store.reset(lease, stream, version, 2).await.map(drop)),
        ("put", store.put(lease, "name", b"value").await),
        ("mark_seen", store.mark_seen(lease, stream, &[key("a")], 9).await),
        ("drop_dead_letters", store.drop_dead_letters(lease, &LetterFilter::default()).await.map(drop)),
        ("finish_request", store.finish_request(lease, requests[0].id).await),
        ("renew", store.renew(lease, TTL).await.map(drop)),
    ];
    for (method, answer) in refusals {
        let kind = answer.err().map(|error| error.kind());
        assert_eq!(kind, Some(StoreErrorKind::Fenced), "{method} under a lease that is not in force");
    }
    assert_eq!(book.holdings().await, before, "nothing was changed");
    assert_eq!(store.get("name").await.unwrap(), None);
    assert_eq!(store.requests().await.unwrap(), requests);
}

/// A book of everything that a refused method might change.
pub(super) async fn full_book(ground: &dyn Ground) -> Book {
    let book = begin(ground).await;
    book.write("a", "1").await;
    book.append(vec![("b", state("1")), ("dead", rejected("bad"))]).await;
    book.claim_one().await;
    book.append_child("child", "1", &[(&book, "nobody")]).await;
    let request = sync_core::traits::Request::Drop(LetterFilter::default());
    book.store.leave_request(&request, 1).await.unwrap();
    book
}

/// No write under a lease that was given back.
/// C07.
pub async fn a_released_lease_is_refused_everywhere(ground: &dyn Ground) {
    let book = full_book(ground).await;
    book.store.release(book.lease.clone()).await.unwrap();
    assert_refused(&book).await;
}

/// No write under a lease that somebody else has taken over, not even the end of what it claimed.
/// C07.
pub async fn an_older_lease_is_refused_everywhere(ground: &dyn Ground) {
    let book = full_book(ground).await;
    acquire(&book).await;
    assert_refused(&book).await;
}

/// A lease that is given back late takes nothing from its successor.
/// C06.
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

/// While one holds it, another gets nothing; from a process that died, a store of one process is taken over at once.
/// C01.
pub async fn one_owner_at_a_time(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append(vec![]).await;
    assert_eq!(take(&*book.store, "other").await, None, "somebody else holds it");
    book.append(vec![]).await;
    let second = book.store.acquire("another workflow", &OwnerId("other".into()), TTL).await.unwrap();
    assert!(second.is_some(), "each workflow has a lease of its own");
    let caps = book.store.capabilities();
    if !caps.shared && caps.durable {
        let old = book.lease.clone();
        drop(book);
        let store = ground.open();
        assert!(take(&*store, "other").await.is_some(), "its process is gone");
        let refused = store.put(&old, "name", b"value").await;
        assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Fenced);
    } else {
        book.store.release(book.lease.clone()).await.unwrap();
        assert!(take(&*book.store, "other").await.is_some(), "it was given back");
    }
}

/// 200 rounds in two threads.
/// C04.
pub async fn of_two_racers_one_wins(ground: &dyn Ground) -> Ending {
    let store = ground.open();
    if !store.capabilities().shared {
        return Ending::Skipped("the store is one process's own: nobody else races for its leases");
    }
    let (start, end) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let racer = |owner: &'static str| {
        let (store, start, end, runtime) = (store.clone(), start.clone(), end.clone(), Handle::current());
        move || -> Vec<bool> {
            let round = |_| {
                start.wait();
                let lease = runtime.block_on(take(&*store, owner));
                end.wait();
                let won = lease.is_some();
                lease.into_iter().for_each(|lease| runtime.block_on(store.release(lease)).unwrap());
                won
            };
            (0..200).map(round).collect()
        }
    };
    let (one, two) = std::thread::scope(|threads| {
        let (one, two) = (threads.spawn(racer("one")), threads.spawn(racer("two")));
        (one.join().unwrap(), two.join().unwrap())
    });
    let winners = one.iter().zip(&two).map(|(one, two)| u8::from(*one) + u8::from(*two));
    assert!(winners.clone().all(|winners| winners == 1), "{:?}", winners.collect::<Vec<_>>());
    Ending::Passed
}

/// Once a takeover is acknowledged, nothing is written under the lease before, not even by a call that had begun.
/// C08.
pub async fn the_check_and_the_write_are_one_step(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    for round in 0..10 {
        let old = book.clone();
        let (told, begun) = tokio::sync::oneshot::channel();
        let writer = tokio::spawn(async move {
            let (mut version, mut told) = (old.version().await, Some(told));
            for _ in 0..5_000 {
                if old.try_append(vec![], version, "p").await.is_err() {
                    break;
                }
                version += 1;
                told.take().map(|told| told.send(()));
            }
            version
        });
        begun.await.unwrap();
        book.lease = acquire(&book).await;
        let stored = book.version().await;
        assert_eq!(writer.await.unwrap(), stored, "round {round}: a page came after the takeover");
        assert_eq!(book.version().await, stored, "round {round}");
    }
}
