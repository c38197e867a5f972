//! What a store tells of one record to whoever asks.

use sync_core::KeyState;
use sync_core::traits::{ChildLife, Class, Effect, EntryState, Parent, RecordLife};

use super::begin;
use crate::Ground;
use crate::book::{Book, dead, digest, done, key, rejection, state, unknown};

async fn life(book: &Book, name: &str) -> RecordLife {
    book.store.record_life(&book.stream, &key(name)).await.unwrap()
}

/// Queued, in flight, open, written, and refused; always what [`accept`](sync_core::accept) is asked with.
pub async fn it_shows_where_a_record_stands(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    assert!(life(&book, "a").await.is_unknown());
    let urgent = book.of_class(Class::OptOut);
    urgent.append(vec![("a", state("1")), ("other", state("1"))]).await;
    let queued = life(&book, "a").await;
    let shown = |life: &RecordLife| {
        let of = |entry: &sync_core::traits::EntryLife| (entry.state, entry.digest, entry.class, entry.attempts);
        life.entries.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(shown(&queued), [(EntryState::Queued, Some(digest("1")), Class::OptOut, 0)]);
    assert_eq!((queued.entries[0].appended_ms, queued.entries[0].due_ms), (1_000, 0));
    assert_eq!((queued.index, &queued.verification, &queued.dead_letter), (None, &None, &None));

    let entries = book.claim(10).await;
    let flying = life(&book, "a").await;
    assert_eq!(shown(&flying), [(EntryState::InFlight, Some(digest("1")), Class::OptOut, 1)]);
    assert_eq!(flying.entries[0].seq, entries[0].seq);
    book.append(vec![("a", state("2"))]).await;
    let both = life(&book, "a").await;
    assert_eq!(
        both.entries.iter().map(|entry| entry.state).collect::<Vec<_>>(),
        [EntryState::InFlight, EntryState::Queued]
    );
    let state_of = KeyState { version: Some(1_000), in_doubt: true, ..KeyState::default() };
    assert_eq!(KeyState { newest: None, ..both.key_state() }, state_of);
    assert_eq!(
        both.key_state().newest.map(|newest| (newest.digest, newest.replaceable)),
        Some((Some(digest("2")), true))
    );

    book.settle(entries[0].seq, unknown(5_000)).await;
    let open = life(&book, "a").await;
    assert_eq!((open.entries[0].state, open.entries[0].due_ms), (EntryState::Unknown, 5_000));
    book.now_ms = 5_000;
    let again = book.claim_one().await;
    book.settle(again.seq, sync_core::traits::Verdict::Done { effect: Effect::Inserted, verify_at_ms: Some(9_000) })
        .await;
    let written = life(&book, "a").await;
    assert_eq!(written.index, book.row("a").await);
    assert!(written.key_state().bound && written.key_state().written == Some(digest("1")));
    assert_eq!(written.verification.map(|waiting| (waiting.due_ms, waiting.digest)), Some((9_000, Some(digest("1")))));
    let newer = book.claim_one().await;
    book.settle(newer.seq, dead("no", true)).await;
    let refused = life(&book, "a").await;
    let letter = refused.dead_letter.clone().unwrap();
    assert_eq!(vec![letter.letter.clone()], book.letters().await);
    assert_eq!((letter.version, letter.closed_by), (Some(1_000), None));
    assert!(refused.entries.is_empty() && refused.index.is_some_and(|row| row.digest.is_none()), "nobody knows");
    assert_eq!(refused.key_state().version, Some(1_000), "of the letter");
    book.append(vec![("a", state("3"))]).await;
    let closing = life(&book, "a").await;
    assert_eq!(closing.dead_letter.and_then(|letter| letter.closed_by), Some(closing.entries[0].seq));
}

/// Across streams, in the order of waiting, and for those that waited in vain as well.
pub async fn parents_and_children_show_each_other(ground: &dyn Ground) {
    let mut book = begin(ground).await;
    let other = book.on("workflow/other");
    let parent = |name: &str| Parent { stream: book.stream.clone(), key: key(name) };
    let (a, b) = (parent("a"), parent("b"));
    other.append_child("late", "1", &[(&book, "a")]).await;
    book.now_ms = 2_000;
    book.append_child("child", "1", &[(&book, "b"), (&book, "a")]).await;
    assert_eq!(life(&book, "child").await.entries[0].waiting_for, [a.clone(), b]);
    let (lease, why) = (&book.lease, rejection("no-parent"));
    let given_up = book.store.give_up_waiting(lease, &other.stream, 2_000, &why, 2_000).await;
    assert_eq!(given_up.unwrap(), 1);
    let late = life(&other, "late").await;
    assert_eq!(late.dead_letter.map(|letter| letter.waiting_for), Some(vec![a]));
    let child = |at: &Book, name: &str, given_up| ChildLife { stream: at.stream.clone(), key: key(name), given_up };
    let of_a = life(&book, "a").await;
    // A letter has a number of its own, which is younger than that of its entry.
    assert_eq!(of_a.children, [child(&book, "child", false), child(&other, "late", true)]);
    assert_eq!((of_a.children_count, of_a.entries.len()), (2, 0), "it need not be known itself");
    assert_eq!(life(&other, "a").await.children_count, 0, "a record of that name in another stream is another record");

    book.append(vec![("a", state("1"))]).await;
    book.finish(done(Effect::Inserted)).await;
    assert_eq!(life(&book, "a").await.children, []);
    assert_eq!(life(&book, "child").await.entries[0].waiting_for, [parent("b")]);
    let queued_again = life(&other, "late").await;
    assert_eq!((queued_again.entries.len(), queued_again.entries[0].waiting_for.len()), (1, 0));
    let names: Vec<String> = (0..RecordLife::CHILDREN + 5).map(|number| format!("n{number:03}")).collect();
    for name in &names {
        book.append_child(name, "1", &[(&book, "nobody")]).await;
    }
    let many = life(&book, "nobody").await;
    let shown: Vec<String> = many.children.iter().map(|child| child.key.to_text()).collect();
    assert_eq!((shown.as_slice(), many.children_count), (&names[..RecordLife::CHILDREN], names.len() as u64));
}
