//! Small values and the requests of operators.

use sync_core::traits::{LetterFilter, ReplayStart, Request};

use super::begin;
use crate::Ground;
use crate::book::Book;

fn replay(book: &Book) -> Request {
    Request::Replay { stream: book.stream.clone(), when: ReplayStart::Now }
}

/// As it was put, whatever its bytes and length, under its own name.
pub async fn a_value_is_kept(ground: &dyn Ground) {
    let book = begin(ground).await;
    let (store, lease) = (&book.store, &book.lease);
    let every_byte: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    assert_eq!(store.get("pause").await.unwrap(), None);
    for (name, value) in [("pause", every_byte.as_slice()), ("Pause", b"other"), ("empty", b"")] {
        store.put(lease, name, value).await.unwrap();
    }
    assert_eq!(store.get("pause").await.unwrap(), Some(every_byte));
    assert_eq!(store.get("Pause").await.unwrap(), Some(b"other".to_vec()));
    assert_eq!(store.get("empty").await.unwrap(), Some(Vec::new()), "empty is not absent");
    store.put(lease, "pause", b"newer").await.unwrap();
    assert_eq!(store.get("pause").await.unwrap(), Some(b"newer".to_vec()));
}

/// Anybody may ask, also who holds no lease; what was asked twice is asked twice.
pub async fn requests_wait_in_order(ground: &dyn Ground) {
    let book = begin(ground).await;
    let filter = LetterFilter { code: Some("bad".into()), ids: vec![3, 1], before_ms: Some(-1), stream: None };
    let asked = [
        replay(&book),
        Request::Requeue(filter.clone()),
        Request::Drop(LetterFilter { stream: Some(book.stream.clone()), ..filter }),
        Request::Replay { stream: book.stream.clone(), when: ReplayStart::NextStart },
        replay(&book),
    ];
    book.store.release(book.lease.clone()).await.unwrap();
    let mut ids = Vec::new();
    for (at_ms, request) in (5_i64..).zip(&asked) {
        ids.push(book.store.leave_request(request, at_ms).await.unwrap());
    }
    assert!(ids.is_sorted_by(|earlier, later| earlier < later), "{ids:?}");
    let waiting = book.store.requests().await.unwrap();
    assert_eq!(waiting.iter().map(|waiting| waiting.id).collect::<Vec<_>>(), ids);
    assert!(waiting.iter().map(|waiting| &waiting.request).eq(&asked));
    assert!(waiting.iter().map(|waiting| waiting.at_ms).eq(5..10));
}

/// Finished is gone, and the others wait on. Finishing what is gone is no error.
/// C26.
pub async fn a_request_is_carried_out_once(ground: &dyn Ground) {
    let book = begin(ground).await;
    let first = book.store.leave_request(&replay(&book), 1).await.unwrap();
    let second = book.store.leave_request(&replay(&book), 2).await.unwrap();
    for _ in 0..2 {
        book.store.finish_request(&book.lease, first).await.unwrap();
        let left = book.store.requests().await.unwrap();
        assert_eq!(left.iter().map(|left| left.id).collect::<Vec<_>>(), [second]);
    }
    let third = book.store.leave_request(&replay(&book), 3).await.unwrap();
    assert!(third > second, "a number is never used twice");
}
