//! How urgent entries are, and that none starves for it.

use sync_core::traits::{Class, Entry};

use super::begin;
use crate::Ground;
use crate::book::{Book, retry, state};

/// Appends that many entries of a class, named by a letter and a number.
async fn append(book: &Book, class: Class, letter: &str, many: usize) {
    let names: Vec<String> = (0..many).map(|number| format!("{letter}{number}")).collect();
    let drafts = names.iter().map(|name| (name.as_str(), state("1"))).collect();
    book.of_class(class).append(drafts).await;
}

/// The first letters of what a claim finds, sorted.
async fn letters(book: &Book, max: usize) -> String {
    let mut letters: Vec<String> = book.claimed(max).await.iter().map(|name| name[..1].to_owned()).collect();
    letters.sort_unstable();
    letters.concat()
}

/// By class, and within a class the oldest first.
/// C30.
pub async fn the_more_urgent_go_first(ground: &dyn Ground) {
    let book = begin(ground).await;
    for (class, letter) in [(Class::Backfill, "b"), (Class::Replay, "r"), (Class::Live, "l"), (Class::OptOut, "o")] {
        append(&book, class, letter, 2).await;
    }
    let mut entries: Vec<Entry> = Vec::new();
    while let Some(entry) = book.claim(1).await.pop() {
        entries.push(entry);
    }
    let names: Vec<String> = entries.iter().map(|entry| entry.key.to_text()).collect();
    assert_eq!(names, ["o0", "o1", "l0", "l1", "r0", "r1", "b0", "b1"]);
    let classes: Vec<Class> = entries.iter().map(|entry| entry.class).collect();
    assert_eq!(classes, Class::ALL.into_iter().flat_map(|class| [class, class]).collect::<Vec<_>>());
}

/// Urgent work does not starve the rest: up to a quarter goes to it, the oldest first, and no more.
/// C30.
pub async fn a_quarter_goes_to_what_is_left_behind(ground: &dyn Ground) {
    let book = begin(ground).await;
    append(&book, Class::Backfill, "b", 3).await;
    append(&book, Class::Replay, "r", 1).await;
    append(&book, Class::Live, "l", 30).await;
    let first = book.claimed(8).await;
    assert!(first.contains(&"b0".into()) && first.contains(&"b1".into()), "the oldest of the rest: {first:?}");
    assert_eq!(first.iter().filter(|name| name.starts_with('l')).count(), 6, "{first:?}");
    assert!(first.contains(&"l0".into()) && first.contains(&"l5".into()), "the oldest of the urgent: {first:?}");
    assert_eq!(letters(&book, 7).await, "bllllll", "rounded down");
    assert_eq!(letters(&book, 3).await, "lll", "a quarter of three is nothing");
    assert_eq!(letters(&book, 8).await, "lllllllr");
    assert_eq!(letters(&book, 100).await, "llllllll", "whatever is there when there is room");
}

/// Not even by the quarter: opt-outs are few, and each of them is a promise to a person.
/// C30.
pub async fn nothing_holds_up_an_opt_out(ground: &dyn Ground) {
    let book = begin(ground).await;
    append(&book, Class::Backfill, "b", 5).await;
    append(&book, Class::Live, "l", 5).await;
    append(&book, Class::OptOut, "o", 9).await;
    assert_eq!(letters(&book, 8).await, "oooooooo");
    assert_eq!(letters(&book, 4).await, "bllo", "the quarter is taken from the next class");
}

/// What a more urgent state asked for is not put off by a later one; what a later one asks for is not put off either.
/// C30.
pub async fn a_newer_state_is_as_urgent_as_the_older(ground: &dyn Ground) {
    let book = begin(ground).await;
    append(&book, Class::Backfill, "b", 3).await;
    append(&book, Class::OptOut, "o", 2).await;
    book.of_class(Class::Live).append(vec![("o0", state("2")), ("b2", state("2"))]).await;
    book.of_class(Class::Live).append(vec![("o1", state("1")), ("b1", state("1"))]).await;
    let entries = book.claim(10).await;
    let found: Vec<(String, Class)> = entries.iter().map(|entry| (entry.key.to_text(), entry.class)).collect();
    let wanted = [
        ("o0", Class::OptOut),
        ("o1", Class::OptOut),
        ("b1", Class::Live),
        ("b2", Class::Live),
        ("b0", Class::Backfill),
    ];
    assert_eq!(found, wanted.map(|(name, class)| (name.to_owned(), class)));
    book.settle(entries[0].seq, retry(0)).await;
    assert_eq!(book.claim_one().await.class, Class::OptOut, "another attempt is as urgent as the first");
}

/// A deep backlog of one stream is no concern of another, and neither answers for the other.
/// C30.
pub async fn streams_do_not_mix(ground: &dyn Ground) {
    let book = begin(ground).await;
    let (other, empty) = (book.on("workflow/other"), book.on("workflow/empty"));
    append(&book, Class::Live, "a", 20).await;
    append(&other, Class::Backfill, "a", 1).await;
    assert_eq!(empty.claimed(10).await, Vec::<String>::new());
    assert_eq!(other.claimed(10).await, ["a0"], "the same key in two streams is two records");
    assert_eq!(book.claim(10).await.len(), 10);
    assert_eq!((book.stats().await.queued, other.stats().await.queued, empty.stats().await.queued), (10, 0, 0));
    assert_eq!((book.version().await, other.version().await, empty.version().await), (1, 1, 0));
}
