//! Parents before children.

use std::collections::BTreeMap;

use sync_core::Tally;
use sync_core::traits::{Draft, DraftBody, Effect, Parent};

use super::begin;
use crate::Ground;
use crate::book::{Book, dead, done, key, rejection, retry, state, unknown};

/// Waits are counted, hold up nobody else, and are not due.
/// C29.
pub async fn a_child_waits_for_its_parent(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append_child("child", "1", &[(&book, "parent")]).await;
    let stats = book.stats().await;
    assert_eq!((stats.queued, stats.waiting, stats.next_due_ms), (1, 1, None));
    book.append(vec![("parent", state("1"))]).await;
    assert!(book.stats().await.next_due_ms.is_some());
    let parent = book.claim_one().await;
    assert_eq!(parent.key, key("parent"));
    let report = book.settle(parent.seq, retry(0)).await;
    assert!(report.released.is_empty() && book.claim_one().await.key == key("parent"), "not before it is there");
    let report = book.settle(parent.seq, done(Effect::Inserted)).await;
    assert_eq!(report.released, BTreeMap::from([(book.stream.clone(), Tally::default())]));
    assert_eq!(book.stats().await.waiting, 0);
    assert_eq!(book.claimed(10).await, ["child"]);
    book.append_child("later", "1", &[(&book, "parent")]).await;
    assert_eq!(book.claimed(10).await, ["later"], "a parent that is there is not waited for");
    book.append(vec![("parent", state("2"))]).await;
    let report = book.finish_report(done(Effect::Updated)).await;
    assert!(report.released.is_empty(), "nobody waits for a record that was there before");
}

/// A child of two parents, in whatever order they come.
/// C29.
pub async fn the_last_parent_releases(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append_child("child", "1", &[(&book, "a"), (&book, "b")]).await;
    book.append_child("other", "1", &[(&book, "b"), (&book, "a")]).await;
    book.append(vec![("a", state("1"))]).await;
    book.finish(done(Effect::Inserted)).await;
    assert_eq!(book.stats().await.waiting, 2);
    assert!(book.claim(10).await.is_empty(), "one of two is not enough");
    book.append(vec![("b", state("1"))]).await;
    book.finish(done(Effect::Inserted)).await;
    assert_eq!(book.claimed(10).await, ["child", "other"]);
}

/// A parent of which nobody knows whether it is there is not there, and neither is one that was refused or deleted.
/// C29.
pub async fn a_parent_in_doubt_is_waited_for(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append(vec![("doubt", state("1")), ("refused", state("1")), ("gone", state("1"))]).await;
    let entries = book.claim(10).await;
    for (entry, verdict) in entries.iter().zip([dead("open", true), dead("no", false), done(Effect::Inserted)]) {
        book.settle(entry.seq, verdict).await;
    }
    book.append(vec![("gone", DraftBody::Delete)]).await;
    book.finish(done(Effect::Deleted)).await;
    for (child, parent) in [("a", "doubt"), ("b", "refused"), ("c", "gone")] {
        book.append_child(child, "1", &[(&book, parent)]).await;
    }
    assert_eq!(book.stats().await.waiting, 3);
    book.append(vec![("doubt", state("1"))]).await;
    book.finish(done(Effect::Updated)).await;
    assert_eq!(book.claimed(10).await, ["a"]);
}

/// A parent may be of another stream; its end releases them in one step, and says in which streams.
/// C29.
pub async fn children_in_every_stream_are_released_at_once(ground: &dyn Ground) {
    let book = begin(ground).await;
    let (one, two) = (book.on("workflow/one"), book.on("workflow/two"));
    one.append_child("child", "1", &[(&book, "parent")]).await;
    two.append_child("child", "1", &[(&book, "parent")]).await;
    two.append_child("namesake", "1", &[(&one, "parent")]).await;
    book.append(vec![("parent", state("1"))]).await;
    assert_eq!((one.claim(10).await.len(), two.claim(10).await.len()), (0, 0));
    let report = book.finish_report(done(Effect::Inserted)).await;
    let streams = [one.stream.clone(), two.stream.clone()];
    assert_eq!(report.released, BTreeMap::from(streams.map(|stream| (stream, Tally::default()))));
    assert_eq!((one.claimed(10).await, two.claimed(10).await), (vec!["child".into()], vec!["child".into()]));
    assert_eq!(two.stats().await.waiting, 1, "a record of that name in another stream is another record");
}

/// The link was removed or changed: what the record waited for before is of no interest any more.
/// C32.
pub async fn a_newer_state_waits_for_its_own_parents(ground: &dyn Ground) {
    let book = begin(ground).await;
    book.append_child("freed", "1", &[(&book, "a")]).await;
    book.append_child("moved", "1", &[(&book, "a")]).await;
    book.append(vec![("freed", state("2"))]).await;
    book.append_child("moved", "2", &[(&book, "b")]).await;
    assert_eq!(book.claimed(10).await, ["freed"]);
    book.append(vec![("a", state("1")), ("b", state("1"))]).await;
    let entries = book.claim(10).await;
    book.settle(entries[0].seq, done(Effect::Inserted)).await;
    assert_eq!(book.stats().await.waiting, 1);
    book.settle(entries[1].seq, done(Effect::Inserted)).await;
    assert_eq!(book.claimed(10).await, ["moved"]);
}

/// The record that closes a circle does not wait, the others do: within a page and over several, across streams, through others
/// that wait, and through one that was given up.
pub async fn the_record_that_closes_a_circle_does_not_wait(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    let other = book.on("workflow/other");
    book.append_child("own", "1", &[(&book, "own")]).await;
    assert_eq!(book.claimed(10).await, ["own"]);
    book.append_child("a", "1", &[(&other, "b")]).await;
    other.append_child("b", "1", &[(&book, "c")]).await;
    let of = |name: &str| vec![Parent { stream: book.stream.clone(), key: key(name) }];
    let drafts = [("c", "a"), ("d", "e"), ("e", "d")];
    let drafts = drafts.map(|(name, on)| Draft { parents: of(on), ..book.draft(key(name), state("1")) });
    book.append_drafts(drafts.into()).await;
    assert_eq!((book.stats().await.waiting, other.stats().await.waiting), (2, 1));
    let free = book.claim(10).await;
    assert_eq!(free.iter().map(|entry| entry.key.to_text()).collect::<Vec<_>>(), ["c", "e"]);
    for entry in free {
        book.settle(entry.seq, done(Effect::Inserted)).await;
    }
    assert_eq!(book.claimed(10).await, ["d"]);
    other.finish(done(Effect::Inserted)).await;
    assert_eq!(book.claimed(10).await, ["a"]);
    // A state that comes later may close one too, and one that was given up is waited for no more than one that waits.
    book.append_child("f", "1", &[(&book, "nobody")]).await;
    book.append_child("g", "1", &[(&book, "f")]).await;
    book.append_child("f", "2", &[(&book, "g")]).await;
    assert_eq!(book.claimed(10).await, ["f"]);
    book.append_child("h", "1", &[(&book, "i")]).await;
    book.now_ms = 9_000;
    let reason = rejection("no-parent");
    let given_up = book.store.give_up_waiting(&book.lease, &book.stream, 9_000, &reason, 9_000);
    assert_eq!(given_up.await.unwrap(), 2);
    book.append_child("i", "1", &[(&book, "h")]).await;
    book.finish(done(Effect::Inserted)).await;
    assert_eq!(book.claimed(10).await, ["h"], "queued again");
}

/// Held deletes are not claimed, not due, and let go together when nothing of the children is unsettled that was there in time: queued,
/// in flight, due later, unknown or held itself. What came later does not count, nor what waits for a parent and was never written.
pub async fn deletes_are_held_until_those_of_children_are_done(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    book.hold_deletes = true;
    let mut children = book.on("workflow/children");
    for name in ["p", "q"] {
        book.write(name, "1").await;
    }
    for name in ["c", "d"] {
        children.write(name, "1").await;
    }
    book.append(vec![("p", DraftBody::Delete), ("q", DraftBody::DeleteFiltered), ("r", state("1"))]).await;
    let stats = book.stats().await;
    assert_eq!((stats.queued, stats.waiting, stats.held), (3, 2, 2));
    assert_eq!(book.claimed(10).await, ["r"]);
    assert_eq!(book.stats().await.next_due_ms, None);
    let reason = rejection("no-parent");
    let give_up = book.store.give_up_waiting(&book.lease, &book.stream, i64::MAX, &reason, 2_000);
    assert_eq!(give_up.await.unwrap(), 0, "they wait for no parent");
    let held_to = book.last().await;
    children.append(vec![("c", DraftBody::Delete)]).await;
    children.append_child("never-written", "1", &[(&book, "nobody")]).await;
    let in_time = book.last().await;
    children.append(vec![("late", state("1"))]).await;
    let wait = async |children: &Book| assert_eq!(book.release(held_to, &[children], in_time).await, None);
    wait(&children).await;
    children.release(book.last().await, &[], in_time).await;
    let delete = children.claim(1).await.remove(0);
    wait(&children).await;
    children.settle(delete.seq, retry(9_000)).await;
    wait(&children).await;
    children.now_ms = 9_000;
    let delete = children.claim(1).await.remove(0);
    children.settle(delete.seq, unknown(10_000)).await;
    wait(&children).await;
    children.now_ms = 10_000;
    let delete = children.claim(1).await.remove(0);
    assert_eq!(delete.key, key("c"));
    children.settle(delete.seq, done(Effect::Deleted)).await;
    assert!(book.claim(10).await.is_empty(), "not before they are let go");
    assert_eq!(book.release(held_to, &[&children], in_time).await, Some(2));
    let stats = book.stats().await;
    assert_eq!((stats.waiting, stats.held), (0, 0));
    assert_eq!(book.claimed(10).await, ["p", "q"]);
    assert_eq!(book.release(held_to, &[&children], in_time).await, Some(0));
    children.finish(done(Effect::Inserted)).await;
    // A written child that waits for another parent is hidden by the old one's delete, and counts.
    children.append_child("d", "2", &[(&book, "nobody")]).await;
    assert_eq!(book.release(held_to, &[&children], book.last().await).await, None);
}

/// Each by the number that it was given when it became a delete, whatever stood in its place before.
pub async fn a_held_delete_goes_by_its_own_number(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    book.hold_deletes = true;
    for name in ["p", "q", "r"] {
        book.write(name, "1").await;
    }
    book.append(vec![("r", state("2")), ("p", DraftBody::Delete)]).await;
    let held_to = book.last().await;
    book.append(vec![("r", DraftBody::Delete), ("q", DraftBody::Delete)]).await;
    assert_eq!(book.release(held_to, &[], held_to).await, Some(1));
    assert_eq!(book.claimed(10).await, ["p"]);
    // A record that comes back waits behind its delete.
    book.append(vec![("r", state("3"))]).await;
    assert!(book.claim(10).await.is_empty());
    let stats = book.stats().await;
    assert_eq!((stats.queued, stats.waiting, stats.held, stats.next_due_ms), (3, 3, 2, None), "it waits as well");
    assert_eq!(book.release(book.last().await, &[], held_to).await, Some(2));
    assert_eq!(book.claimed(10).await, ["r", "q"]);
}

/// All of a page that is to hold them, also of what may be there, or is on its way; those of other pages are not.
pub async fn every_delete_of_such_a_page_is_held(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    book.append(vec![("doubt", state("1"))]).await;
    book.finish(dead("open", true)).await;
    book.write("free", "1").await;
    book.append(vec![("free", DraftBody::Delete)]).await;
    book.hold_deletes = true;
    book.append(vec![("doubt", DraftBody::Delete), ("coming", state("1"))]).await;
    let entries = book.claim(10).await;
    assert_eq!(entries.iter().map(|entry| entry.key.to_text()).collect::<Vec<_>>(), ["free", "coming"]);
    book.append(vec![("coming", DraftBody::Delete)]).await;
    book.settle(entries[1].seq, done(Effect::Inserted)).await;
    assert!(book.claim(10).await.is_empty() && book.stats().await.held == 2);
    assert!(book.store.record_life(&book.stream, &key("coming")).await.unwrap().entries[0].held);
}

/// Those appended before a time, and no others: dead letters with the reason, counted.
/// C34.
pub async fn those_who_waited_too_long_are_given_up(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    book.append_child("old", "1", &[(&book, "nobody")]).await;
    book.append(vec![("free", state("1"))]).await;
    book.now_ms = 2_000;
    book.append_child("young", "1", &[(&book, "nobody")]).await;
    let give_up = async |book: &Book, before_ms: i64| {
        let (lease, stream) = (&book.lease, &book.stream);
        book.store.give_up_waiting(lease, stream, before_ms, &rejection("no-parent"), book.now_ms).await.unwrap()
    };
    assert_eq!(give_up(&book, 1_000).await, 0, "not those of the very time");
    assert_eq!(give_up(&book, 2_000).await, 1);
    let letters = book.letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!((&letters[0].key, letters[0].at_ms, letters[0].attempts), (&key("old"), 2_000, 0));
    assert_eq!(letters[0].rejection, rejection("no-parent"));
    let totals = book.store.load(&book.stream).await.unwrap().unwrap().totals;
    assert_eq!((totals.read, totals.dead, totals.unsettled()), (3, 1, 2));
    assert_eq!((book.stats().await.waiting, book.stats().await.dead), (1, 1));
    assert_eq!(book.claimed(10).await, ["free"]);
}

/// Once more, counted as read once more; the letter is closed by its end. One whose record was read again meanwhile is not.
/// C29.
pub async fn an_orphan_is_queued_again_when_its_parent_comes(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    let other = book.on("workflow/other");
    let two = [(&book, "a"), (&book, "b")].map(|(at, name)| Parent { stream: at.stream.clone(), key: key(name) });
    other.append_drafts(vec![Draft { parents: two.to_vec(), ..other.draft(key("two"), state("1")) }]).await;
    other.append_child("orphan", "1", &[(&book, "a")]).await;
    other.append_child("read-again", "1", &[(&book, "a")]).await;
    book.now_ms = 5_000;
    let given_up =
        book.store.give_up_waiting(&book.lease, &other.stream, 5_000, &rejection("no-parent"), 5_000).await.unwrap();
    assert_eq!(given_up, 3);
    other.append(vec![("read-again", DraftBody::Filtered)]).await;
    book.append(vec![("a", state("1"))]).await;
    let report = book.finish_report(done(Effect::Inserted)).await;
    let counted = Tally { read: 1, ..Tally::default() };
    assert_eq!(report.released, BTreeMap::from([(other.stream.clone(), counted)]));
    assert_eq!(other.codes().await.len(), 2, "the letter is there until the end");
    let orphan = other.claim_one().await;
    assert_eq!((&orphan.key, orphan.attempt), (&key("orphan"), 1));
    other.settle(orphan.seq, done(Effect::Inserted)).await;
    assert_eq!(other.letters().await.len(), 1, "the other still lacks a parent");
    let totals = other.store.load(&other.stream).await.unwrap().unwrap().totals;
    assert_eq!((totals.read, totals.dead, totals.unsettled()), (5, 3, 0));
    book.append(vec![("b", state("1"))]).await;
    book.finish(done(Effect::Inserted)).await;
    assert_eq!(other.claimed(10).await, ["two"]);
}
