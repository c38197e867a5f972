//! What outlives the process, and who else may come.

use sync_core::StoreErrorKind;
use sync_core::traits::{Effect, LetterFilter, Request, Verdict};

use super::lease::take;
use super::{Ending, begin};
use crate::Ground;
use crate::book::{Book, dead, done, key, rejected, retry, state, unknown};

const NOT_DURABLE: Ending = Ending::Skipped("the store promises nothing beyond the end of its process");

/// Entries in every state, verifications, letters, the index, waits, values, requests, the plan and the class.
/// C13.
pub async fn what_was_acknowledged_is_there_again(ground: &dyn Ground) -> Ending {
    let mut book = begin(ground).await;
    if !book.store.capabilities().durable {
        return NOT_DURABLE;
    }
    book.write("written", "1").await;
    book.append(["retried", "open", "looked", "refused", "flying"].map(|name| (name, state("1"))).into()).await;
    let entries = book.claim(10).await;
    book.settle(entries[0].seq, retry(7_000)).await;
    book.settle(entries[1].seq, unknown(8_000)).await;
    book.settle(entries[2].seq, Verdict::Done { effect: Effect::Inserted, verify_at_ms: Some(9_000) }).await;
    book.settle(entries[3].seq, dead("open", true)).await;
    book.append_child("child", "1", &[(&book, "flying")]).await;
    Book { replay: true, ..book.of_class(sync_core::traits::Class::Replay) }.append(vec![("again", state("1"))]).await;
    book.append(vec![("bad", rejected("bad"))]).await;
    book.store.put(&book.lease, "pause", b"until").await.unwrap();
    book.store.leave_request(&Request::Drop(LetterFilter::default()), 1).await.unwrap();
    let before = book.holdings().await;
    book = book.reopen(ground).await;
    assert_eq!(book.holdings().await, before);
    assert_eq!(book.store.get("pause").await.unwrap(), Some(b"until".to_vec()));
    assert_eq!(book.store.requests().await.unwrap().len(), 1);
    assert_eq!(book.store.inherit(&book.lease, &book.stream, 9_500).await.unwrap(), 1);
    let again = book.claim_one().await;
    assert!(again.replay && again.class == sync_core::traits::Class::Replay && again.key == key("again"));
    book.now_ms = 8_999;
    let entries = book.claim(10).await;
    let found: Vec<_> = entries.iter().map(|entry| (entry.key.to_text(), entry.unknown, entry.attempt)).collect();
    assert_eq!(found, [("retried".to_owned(), false, 2)]);
    book.now_ms = 9_000;
    assert!(book.claim_one().await.verification);
    book.now_ms = 9_500;
    let entries = book.claim(10).await;
    let found: Vec<_> = entries.iter().map(|entry| (entry.key.to_text(), entry.unknown, entry.attempt)).collect();
    assert_eq!(found, [("open".to_owned(), true, 2), ("flying".to_owned(), true, 2)]);
    let report = book.settle(entries[1].seq, done(Effect::Updated)).await;
    assert_eq!(report.released.len(), 1);
    assert_eq!(book.claimed(10).await, ["child"]);
    Ending::Passed
}

/// 200 crashes, each between two steps of an endless run: nothing that was acknowledged is missing or done twice.
/// C19.
pub async fn no_crash_loses_or_repeats(ground: &dyn Ground) -> Ending {
    let mut book = begin(ground).await;
    if !book.store.capabilities().durable {
        return NOT_DURABLE;
    }
    let (mut written, mut flying) = (0_u64, 0_u64);
    for crash in 0..200_u64 {
        assert_eq!(book.store.inherit(&book.lease, &book.stream, 0).await.unwrap(), flying, "crash {crash}");
        flying = 0;
        assert_eq!(book.version().await, crash.div_ceil(2), "crash {crash}");
        if crash % 2 == 0 {
            book.append(vec![(&format!("k{crash}"), state("1"))]).await;
        }
        if crash % 3 == 0 {
            continue_with(&book, &mut written, crash % 9 == 0).await;
        } else if crash % 3 == 1 {
            flying = book.claim(10).await.len() as u64;
        }
        assert_eq!(book.store.bound_count(&book.stream).await.unwrap(), written, "crash {crash}");
        book = book.reopen(ground).await;
    }
    let totals = book.store.load(&book.stream).await.unwrap().unwrap().totals;
    assert_eq!((totals.read, totals.inserted), (100, written));
    assert_eq!(book.stats().await.depth(), 100 - written);
    Ending::Passed
}

/// Claims what there is and ends it, or says that it did not begin.
async fn continue_with(book: &Book, written: &mut u64, released: bool) {
    for entry in book.claim(10).await {
        let verdict = if released { Verdict::Released } else { done(Effect::Inserted) };
        assert_eq!(book.settle(entry.seq, verdict).await.passed_over, 0);
        *written += u64::from(!released);
    }
}

/// A store of one process refuses another one, and is free when that one is gone.
/// C43.
pub async fn a_second_opener_is_refused(ground: &dyn Ground) -> Ending {
    let book = begin(ground).await;
    if book.store.capabilities().shared {
        return Ending::Skipped("several processes may share the store");
    }
    let Some(beside) = ground.open_beside() else { return Ending::Skipped("the ground opens no store beside another") };
    assert_eq!(beside.map(drop).unwrap_err().kind(), StoreErrorKind::InUse);
    book.append(vec![("a", state("1"))]).await;
    drop(book.reopen(ground).await);
    Ending::Passed
}

/// What one was told is stored, the other finds, and they never hold the same lease.
/// C13.
pub async fn two_openers_see_the_same(ground: &dyn Ground) -> Ending {
    let book = begin(ground).await;
    if !book.store.capabilities().shared {
        return Ending::Skipped("one process at a time has the store");
    }
    let Some(beside) = ground.open_beside() else { return Ending::Skipped("the ground opens no store beside another") };
    let beside = beside.unwrap();
    let other = Book { store: beside, ..book.clone() };
    for name in ["a", "b", "c"] {
        book.append(vec![(name, state("1"))]).await;
        assert_eq!(other.holdings().await, book.holdings().await);
    }
    assert_eq!(take(&*other.store, "other").await, None);
    book.store.release(book.lease.clone()).await.unwrap();
    let other = Book { lease: take(&*other.store, "other").await.unwrap(), ..other };
    let refused = book.try_append(vec![], 3, "p").await;
    assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Fenced);
    assert_eq!(other.claimed(10).await, ["a", "b", "c"]);
    Ending::Passed
}

/// Its meaning is not known here.
/// C41.
pub async fn a_newer_format_is_refused(ground: &dyn Ground) -> Ending {
    let book = begin(ground).await;
    book.append(vec![("a", state("1"))]).await;
    drop(book);
    let Some(newer) = ground.open_newer() else {
        return Ending::Skipped("the ground makes no store of a newer format");
    };
    assert_eq!(newer.map(drop).unwrap_err().kind(), StoreErrorKind::TooNew);
    Ending::Passed
}

/// Yesterday's copy knows nothing of the leases that were given since: their numbers come again, and must not be taken for
/// the same.
/// C44.
pub async fn a_restored_copy_revives_no_lease(ground: &dyn Ground) -> Ending {
    let book = begin(ground).await;
    book.append(vec![("a", state("1"))]).await;
    drop(book);
    if !ground.back_up() {
        return Ending::Skipped("the ground keeps no copy of the store");
    }
    let since = begin(ground).await;
    since.append(vec![("b", state("1"))]).await;
    let Book { lease: old, store, .. } = since;
    drop(store);
    ground.restore();
    let book = begin(ground).await;
    assert_ne!((book.lease.fence, book.lease.nonce), (old.fence, old.nonce));
    let zombie = Book { lease: old, ..book.clone() };
    let refused = zombie.try_append(vec![], 1, "p").await;
    assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Fenced);
    assert_eq!(book.claimed(10).await, ["a"], "what the copy held, and nothing since");
    let next = Book::of(book.store.clone()).await;
    assert!(next.lease.fence > book.lease.fence);
    Ending::Passed
}

/// A store that encrypts what records say leaves no word of it in clear text: queued, in flight, done, verified or dead.
/// C36.
pub async fn nothing_is_legible_at_rest(ground: &dyn Ground) -> Ending {
    const SECRET: &str = "canary-5b8f";
    let book = begin(ground).await;
    let states = ["queued", "flying", "done", "looked", "dead", "replaced"];
    book.append(states.map(|name| (name, state(&format!("{SECRET} {name}")))).into()).await;
    let entries = book.claim(5).await;
    book.settle(entries[1].seq, done(Effect::Inserted)).await;
    book.settle(entries[2].seq, Verdict::Done { effect: Effect::Inserted, verify_at_ms: Some(9_000) }).await;
    book.settle(entries[3].seq, dead("no", false)).await;
    book.append_child("orphan", SECRET, &[(&book, "nobody")]).await;
    let (lease, stream) = (&book.lease, &book.stream);
    book.store.give_up_waiting(lease, stream, 2_000, &crate::book::rejection("no-parent"), 2_000).await.unwrap();
    drop(book);
    let Some(bytes) = ground.at_rest() else { return Ending::Skipped("the store does not encrypt what records say") };
    let legible = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
    assert!(!legible, "what records say is legible in {} bytes", bytes.len());
    assert!(!bytes.is_empty(), "something was stored");
    Ending::Passed
}
