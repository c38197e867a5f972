//! Steps that happen whole or not at all, whatever fails in the middle of them.

use sync_core::StoreErrorKind;
use sync_core::traits::{Effect, Settlement};

use super::{Ending, begin};
use crate::Ground;
use crate::book::{Book, dead, done, key, rejected, state};

const NO_FAILURES: Ending = Ending::Skipped("the ground makes no write fail");
/// No step takes so many writes.
const MOST: u32 = 500;

/// Repeats a step with the first write failing, then the second, and so on until none of its writes is the one that fails;
/// after every failure the store holds what it held before.
async fn until_untouched<T>(
    ground: &dyn Ground,
    book: &Book,
    step: impl AsyncFn() -> Result<T, sync_core::StoreError>,
) -> Option<T> {
    let before = book.holdings().await;
    for nth in 1..MOST {
        if !ground.fail_write(Some(nth)) {
            return None;
        }
        let answer = step().await;
        ground.fail_write(None);
        match answer {
            Ok(done) => {
                assert!(nth > 1, "a step that writes nothing proves nothing");
                return Some(done);
            }
            Err(_) => assert_eq!(book.holdings().await, before, "write {nth} failed, and something was stored"),
        }
    }
    panic!("the step never ends");
}

/// Entries, letters, marks and the position.
/// C10.
pub async fn a_page_is_stored_whole_or_not_at_all(ground: &dyn Ground) -> Ending {
    let mut book = begin(ground).await;
    book.write("a", "1").await;
    (book.generation, book.mark_seen) = (2, Some(2));
    let page =
        || vec![(key("a"), state("1")), (key("b"), state("1")), (key("c"), rejected("bad")), (key("d"), state("1"))];
    let Some(report) = until_untouched(ground, &book, async || book.try_append(page(), 1, "p1").await).await else {
        return NO_FAILURES;
    };
    assert_eq!((report.tally.read, report.tally.unchanged, report.tally.dead), (4, 1, 1));
    assert_eq!((book.version().await, book.codes().await), (2, vec!["bad".to_owned()]));
    assert_eq!((book.unseen(2).await, book.claimed(10).await), (vec![], vec!["b".to_owned(), "d".to_owned()]));
    Ending::Passed
}

/// Entries, the index, letters, waits and counters.
/// C34.
pub async fn an_end_is_stored_whole_or_not_at_all(ground: &dyn Ground) -> Ending {
    let book = begin(ground).await;
    book.append(vec![("a", state("1")), ("b", state("1")), ("c", state("1"))]).await;
    book.append_child("child", "1", &[(&book, "a")]).await;
    let entries = book.claim(10).await;
    let verdicts = [done(Effect::Inserted), dead("no", true), dead("no", false)];
    let ends = || -> Vec<Settlement> {
        let ends = entries.iter().zip(verdicts.clone());
        ends.map(|(entry, verdict)| Settlement { seq: entry.seq, verdict }).collect()
    };
    let settle = async || book.store.settle(&book.lease, &book.stream, ends(), 5).await;
    let Some(report) = until_untouched(ground, &book, settle).await else { return NO_FAILURES };
    assert_eq!((report.tally.inserted, report.tally.dead, report.passed_over), (1, 2, 0));
    assert_eq!(report.released.len(), 1);
    assert_eq!((book.codes().await, book.claimed(10).await), (vec!["no".to_owned(); 2], vec!["child".to_owned()]));
    Ending::Passed
}

/// It says that it is full, keeps what it has, and goes on when there is space again.
/// C45.
pub async fn nothing_is_stored_without_space(ground: &dyn Ground) -> Ending {
    let book = begin(ground).await;
    book.append(vec![("a", state("1"))]).await;
    let before = book.holdings().await;
    if !ground.fill(true) {
        return Ending::Skipped("the ground cannot take the space away");
    }
    let large = "x".repeat(4_000);
    let names: Vec<String> = (0..500).map(|number| format!("k{number}")).collect();
    let page = || names.iter().map(|name| (key(name), state(&large))).collect();
    for _ in 0..3 {
        let refused = book.try_append(page(), 1, "p1").await;
        assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Full);
        assert_eq!(book.holdings().await, before);
    }
    ground.fill(false);
    book.try_append(page(), 1, "p1").await.unwrap();
    assert_eq!(book.stats().await.queued, 501);
    Ending::Passed
}
