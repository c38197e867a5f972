//! Claims: who comes when.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use record::Key;
use sync_core::traits::{Effect, Verdict};
use tokio::runtime::Handle;

use super::begin;
use crate::Ground;
use crate::book::{Book, done, not_yet, retry, state, unknown};
use crate::certify::quietly;

/// A retried or inherited entry is as old as it was, and goes before what came after it.
/// C24.
pub async fn the_oldest_come_first(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    book.append(vec![("a", state("1")), ("b", state("1"))]).await;
    let entries = book.claim(10).await;
    book.settle(entries[0].seq, retry(2_000)).await;
    book.settle(entries[1].seq, unknown(2_000)).await;
    book.append(["c", "d", "e", "f", "g"].map(|name| (name, state("1"))).into_iter().collect()).await;
    assert_eq!(book.claimed(2).await, ["c", "d"]);
    book.now_ms = 2_000;
    assert_eq!(book.claimed(3).await, ["a", "b", "e"]);
}

/// Not earlier, and not later.
/// C23.
pub async fn a_due_time_is_met_to_the_millisecond(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    book.append(vec![("a", state("1"))]).await;
    book.finish(retry(5_000)).await;
    assert_eq!(book.stats().await.next_due_ms, Some(5_000));
    book.now_ms = 4_999;
    assert!(book.claim(10).await.is_empty());
    book.now_ms = 5_000;
    assert_eq!(book.claimed(10).await, ["a"]);
}

/// The calendar may jump back.
/// C23.
pub async fn what_was_due_stays_due(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    book.append(vec![("a", state("1")), ("b", state("1"))]).await;
    for entry in book.claim(10).await {
        book.settle(entry.seq, retry(5_000)).await;
    }
    book.now_ms = 6_000;
    assert_eq!(book.claimed(1).await, ["a"], "both are due now");
    book.now_ms = 1_000;
    assert_eq!(book.claimed(10).await, ["b"]);
}

/// Two states of a record are never in flight together.
/// C21.
pub async fn only_the_oldest_of_a_key_is_claimed(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append(vec![("a", state("1"))]).await;
    let first = book.claim_one().await;
    book.append(vec![("a", state("2")), ("b", state("1"))]).await;
    assert_eq!(book.claimed(10).await, ["b"]);
    book.settle(first.seq, done(Effect::Inserted)).await;
    let second = book.claim_one().await;
    assert!(second.bound && second.written.is_some());
    assert!(second.seq > first.seq);
}

/// Until it is settled, the key waits, and nobody else.
/// C25.
pub async fn an_unknown_entry_blocks_its_key_alone(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    book.append(vec![("a", state("1")), ("b", state("1"))]).await;
    let entries = book.claim(1).await;
    book.settle(entries[0].seq, unknown(9_000)).await;
    book.append(vec![("a", state("2"))]).await;
    assert_eq!(book.claimed(10).await, ["b"]);
    let stats = book.stats().await;
    assert_eq!((stats.unknown, stats.queued, stats.in_flight), (1, 1, 1));
    book.now_ms = 9_000;
    let again = book.claim_one().await;
    assert!(again.unknown && again.attempt == 2 && again.seq == entries[0].seq);
}

/// A newer state does not overtake one that waits for another attempt: it takes its place.
/// C24.
pub async fn a_retried_entry_keeps_the_order_of_its_key(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append(vec![("a", state("1")), ("b", state("1"))]).await;
    let entries = book.claim(1).await;
    book.settle(entries[0].seq, retry(9_000)).await;
    let report = book.append(vec![("a", state("1"))]).await;
    assert_eq!(report.tally.unchanged, 1);
    assert_eq!(book.claimed(10).await, ["b"], "an equal state waits as long");
}

/// A corrected record does not wait for what its older state brought.
pub async fn a_replaced_entry_has_no_past(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append(vec![("a", state("1"))]).await;
    book.finish(retry(9_000)).await;
    book.append(vec![("a", state("2"))]).await;
    let entry = book.claim_one().await;
    assert_eq!((entry.attempt, entry.unknown), (1, false));
}

/// A claim that was never dispatched did not happen.
pub async fn a_release_undoes_the_claim(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append(vec![("a", state("1")), ("b", state("1"))]).await;
    let entries = book.claim(10).await;
    book.settle(entries[1].seq, unknown(0)).await;
    book.settle(entries[0].seq, Verdict::Released).await;
    let again = book.claim(10).await;
    assert_eq!((again[0].attempt, again[0].unknown), (1, false));
    assert_eq!((again[1].attempt, again[1].unknown), (2, true));
    book.settle(again[1].seq, Verdict::Released).await;
    let last = book.claim(10).await;
    assert_eq!((last[0].attempt, last[0].unknown), (2, true), "unknown as before");
}

/// An entry for which something is not there yet waits for its time, and its attempts do not count; its age does.
pub async fn what_misses_something_comes_again_without_a_past(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    let born = book.now_ms;
    book.append(vec![("a", state("1")), ("b", state("1"))]).await;
    let entries = book.claim(10).await;
    book.settle(entries[0].seq, not_yet(4_000, false)).await;
    book.settle(entries[1].seq, not_yet(5_000, true)).await;
    book.append(vec![("a", state("1")), ("c", state("1"))]).await;
    assert_eq!(book.claimed(10).await, ["c"], "nobody else waits");
    book.now_ms = 4_000;
    let again = book.claim(10).await;
    assert_eq!((again[0].key.clone(), again[0].attempt, again[0].unknown), (Key::text("a"), 1, false));
    assert_eq!(again[0].appended_ms, born);
    assert_eq!(again.len(), 1);
    book.settle(again[0].seq, done(Effect::Inserted)).await;
    book.now_ms = 5_000;
    let last = book.claim_one().await;
    assert_eq!((last.attempt, last.unknown, last.appended_ms), (1, true, born), "in doubt as before");
}

/// What a run left in flight is unknown to the next one, once.
/// C28.
pub async fn what_another_lease_claimed_is_inherited_once(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append(vec![("a", state("1")), ("b", state("1")), ("c", state("1"))]).await;
    book.claim(2).await;
    let durable = book.store.capabilities().durable;
    let mut book = if durable {
        book.reopen(ground).await
    } else {
        Book { now_ms: book.now_ms, ..Book::of(book.store.clone()).await }
    };
    assert_eq!(book.store.inherit(&book.lease, &book.stream, 3_000).await.unwrap(), 2);
    assert_eq!(book.store.inherit(&book.lease, &book.stream, 3_000).await.unwrap(), 0);
    assert_eq!(book.claimed(10).await, ["c"]);
    assert_eq!(book.store.inherit(&book.lease, &book.stream, 3_000).await.unwrap(), 0, "not what is ours");
    book.now_ms = 3_000;
    let entries = book.claim(10).await;
    assert_eq!(entries.len(), 2);
    assert!(entries.iter().all(|entry| entry.unknown && entry.attempt == 2));
}

/// The settle time of what was unknown was counted by a clock that nobody remembers: it waits as long as the rest, and what
/// waits longer already, or is not unknown, waits as before.
/// C28.
pub async fn what_was_unknown_before_waits_anew(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    book.append(vec![("soon", state("1")), ("late", state("1")), ("retried", state("1"))]).await;
    let entries = book.claim(10).await;
    for (entry, verdict) in entries.iter().zip([unknown(2_000), unknown(9_000), retry(2_000)]) {
        book.settle(entry.seq, verdict).await;
    }
    book.lease = Book::of(book.store.clone()).await.lease;
    assert_eq!(book.store.inherit(&book.lease, &book.stream, 5_000).await.unwrap(), 0, "nothing was in flight");
    book.now_ms = 4_999;
    assert_eq!(book.claimed(10).await, ["retried"]);
    book.now_ms = 5_000;
    assert_eq!(book.claimed(10).await, ["soon"]);
    book.now_ms = 9_000;
    assert_eq!(book.claimed(10).await, ["late"]);
}

/// It comes again when its time has come, and between its attempts everybody else goes on.
/// C33.
pub async fn a_key_that_always_fails_holds_up_no_other(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    book.append(vec![("poison", state("1"))]).await;
    for round in 0..5 {
        let entry = book.claim_one().await;
        assert_eq!((entry.key.to_text(), entry.attempt), ("poison".into(), round + 1));
        book.settle(entry.seq, retry(book.now_ms + 1_000)).await;
        let names: Vec<String> = (0..3).map(|number| format!("{round}-{number}")).collect();
        book.append(names.iter().map(|name| (name.as_str(), state("1"))).collect()).await;
        for name in names {
            assert_eq!(book.claimed(1).await, [name]);
        }
        book.now_ms += 1_000;
    }
}

/// 16 claimers in threads: nobody is given a key that another one has.
/// C22.
pub async fn one_of_a_key_among_many_claimers(ground: &dyn Ground) {
    let book = begin(ground).await;
    let names: Vec<String> = (0..40).map(|number| format!("k{number}")).collect();
    book.append(names.iter().map(|name| (name.as_str(), state(STATES[0]))).collect()).await;
    let busy = Arc::new(Mutex::new(BTreeSet::new()));
    let ends = std::thread::scope(|threads| {
        let claimer = |number: usize| {
            let (book, busy, runtime) = (book.clone(), busy.clone(), Handle::current());
            threads.spawn(move || quietly(|| runtime.block_on(claim_and_end(&book, &busy, 1 + number % 4))))
        };
        let claimers: Vec<_> = (0..16).map(claimer).collect();
        claimers.into_iter().map(|claimer| claimer.join().unwrap()).collect::<Vec<Result<usize, String>>>()
    });
    let mut sum = 0;
    for end in ends {
        sum += end.unwrap_or_else(|found| panic!("{found}"));
    }
    assert_eq!((sum, book.stats().await.depth()), (120, 0), "three states of forty records, each once");
    assert_eq!(book.store.bound_count(&book.stream).await.unwrap(), 40);
}

const STATES: [&str; 3] = ["1", "2", "3"];

/// Claims and ends until nothing is left: how many. Behind every state comes the next one while it is in flight.
async fn claim_and_end(book: &Book, busy: &Mutex<BTreeSet<Key>>, max: usize) -> usize {
    let mut ends = 0;
    // More than enough for all.
    for _ in 0..500 {
        let entries = book.claim(max).await;
        if entries.is_empty() {
            break;
        }
        for entry in &entries {
            assert!(busy.lock().unwrap().insert(entry.key.clone()), "{:?} was given out twice", entry.key);
        }
        for entry in entries {
            let next = entry.version.unwrap() + 1;
            if let Some(text) = usize::try_from(next - 1_000).ok().and_then(|number| STATES.get(number)) {
                append_somehow(&Book { now_ms: next, ..book.clone() }, &entry.key, text).await;
                // Others have time to claim it, if they can.
                (0..20).for_each(|_| std::thread::yield_now());
            }
            busy.lock().unwrap().remove(&entry.key);
            book.settle(entry.seq, done(Effect::Updated)).await;
            ends += 1;
        }
    }
    ends
}

/// Others append too: as often as it takes.
async fn append_somehow(book: &Book, key: &Key, text: &str) {
    for _ in 0..10_000 {
        if book.try_append(vec![(key.clone(), state(text))], book.version().await, "p").await.is_ok() {
            return;
        }
    }
    panic!("nothing can be appended");
}
