//! The source's own row versions: acceptance is monotone for each key.

use sync_core::Tally;
use sync_core::traits::{DraftBody, Effect};

use super::begin;
use crate::Ground;
use crate::book::{Book, dead, digest, done, rejected, state};

/// Older than what was written, than what waits, and than what is in flight. Equally old is not older.
/// C32.
pub async fn an_older_state_changes_nothing(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    book.now_ms = 5_000;
    book.append(vec![("written", state("1")), ("flying", state("1"))]).await;
    let entries = book.claim(10).await;
    book.settle(entries[0].seq, done(Effect::Inserted)).await;
    book.append(vec![("waiting", state("1")), ("equal", state("1"))]).await;
    let before = book.holdings().await;
    let older = Book { now_ms: 4_999, ..book.clone() };
    let names = ["written", "flying", "waiting"];
    let report = older.append(names.map(|name| (name, state("2"))).into_iter().collect()).await;
    assert_eq!(report.tally, Tally { read: 3, superseded: 3, ..Tally::default() });
    let report = older.append(names.map(|name| (name, DraftBody::Delete)).into_iter().collect()).await;
    assert_eq!(report.tally, Tally { read: 3, superseded: 3, ..Tally::default() });
    let report = older.append(vec![("waiting", rejected("bad"))]).await;
    assert_eq!(report.tally, Tally { read: 1, superseded: 1, ..Tally::default() });
    let after = book.holdings().await;
    assert_eq!(before.lines().skip(1).collect::<Vec<_>>(), after.lines().skip(1).collect::<Vec<_>>());
    book.append(vec![("equal", state("2"))]).await;
    let entries = book.claim(10).await;
    assert_eq!(entries.iter().map(|entry| entry.key.to_text()).collect::<Vec<_>>(), ["waiting", "equal"]);
    book.settle(entries[1].seq, done(Effect::Inserted)).await;
    assert_eq!(book.row("equal").await.unwrap().digest, Some(digest("2")), "the source may say the same version twice");
}

/// A state that could not be written, or not be mapped, is known all the same.
/// C32.
pub async fn an_older_state_takes_no_letters_place(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    book.now_ms = 5_000;
    book.append(vec![("refused", state("1"))]).await;
    book.finish(dead("no", false)).await;
    book.append(vec![("bad", rejected("bad"))]).await;
    let older = Book { now_ms: 4_999, ..book.clone() };
    let report = older.append(vec![("refused", state("2")), ("bad", state("2"))]).await;
    assert_eq!(report.tally, Tally { read: 2, superseded: 2, ..Tally::default() });
    assert_eq!(book.codes().await, ["no", "bad"]);
    assert!(book.claim(10).await.is_empty());
    book.append(vec![("refused", state("2"))]).await;
    assert_eq!(book.claimed(10).await, ["refused"], "the same version may be tried again");
}

/// What was met unchanged need not be looked at again: but only while nothing is on its way.
/// C38.
pub async fn an_unchanged_state_brings_its_version(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    book.write("a", "1").await;
    assert_eq!(book.row("a").await.unwrap().version, Some(1_000));
    book.now_ms = 2_000;
    book.append(vec![("a", state("1"))]).await;
    assert_eq!(book.row("a").await.unwrap().version, Some(2_000));
    book.append(vec![("a", state("2"))]).await;
    book.now_ms = 3_000;
    book.append(vec![("a", state("2"))]).await;
    assert_eq!(book.row("a").await.unwrap().version, Some(2_000), "a write is on its way");
    book.finish(done(Effect::Updated)).await;
    assert_eq!(book.row("a").await.unwrap().version, Some(3_000));
}

/// In the index, in the backlog, in a dead letter; nothing of a key that was never met.
/// C38.
pub async fn the_newest_version_is_known_wherever_it_is(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    book.write("written", "1").await;
    book.append(vec![("refused", state("1"))]).await;
    book.finish(dead("no", false)).await;
    book.now_ms = 2_000;
    book.append(vec![("bad", rejected("bad"))]).await;
    book.append(vec![("flying", state("1"))]).await;
    book.claim_one().await;
    book.append(vec![("waiting", state("1"))]).await;
    let mut found = Vec::new();
    for name in ["written", "refused", "bad", "flying", "waiting", "nobody"] {
        found.push(book.known_version(name).await);
    }
    assert_eq!(found, [Some(1_000), Some(1_000), Some(2_000), Some(2_000), Some(2_000), None]);
    book.now_ms = 3_000;
    book.append(vec![("written", state("2")), ("flying", state("2"))]).await;
    assert_eq!(book.known_version("written").await, Some(3_000), "the newest of them");
    assert_eq!(book.known_version("flying").await, Some(3_000));
}
