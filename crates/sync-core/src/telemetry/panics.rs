//! Panics inside of a workflow: their message may hold a value of a record, so it is not shown.

use std::cell::Cell;
use std::io::Write;
use std::panic::{set_hook, take_hook};
use std::pin::Pin;
use std::sync::Once;
use std::task::{Context, Poll};

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// From now on the message of a panic in a workflow's tasks is not shown; where it happened is written to standard error. All
/// other panics go to the hook that was set before. To be called once by a program, after it has set a hook of its own: the
/// hook is the whole process's, so no library sets it unasked.
///
/// A mapping, source or destination that panics does so over a record, and a message such as that of `unwrap` shows the value.
/// Threads that a store or a client starts by itself are not covered.
pub fn hide_panic_messages() {
    static SET: Once = Once::new();
    SET.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if !INSIDE.get() {
                before(info);
                return;
            }
            let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
            // Nobody is left to tell when standard error cannot be written.
            let _ = writeln!(
                std::io::stderr().lock(),
                "A part of a workflow panicked at {place}. The message is not shown: it may hold values of a record."
            );
        }));
    });
}

/// A task of a workflow: what panics in it is known to be of a workflow.
pub(crate) struct Contained<T>(Pin<Box<dyn Future<Output = T> + Send>>);

impl<T> Contained<T> {
    pub(crate) fn new(task: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Box::pin(task))
    }
}

impl<T> Future for Contained<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let _inside = Inside { before: INSIDE.replace(true) };
        self.0.as_mut().poll(context)
    }
}

/// Puts the mark back, also when the poll panics.
struct Inside {
    before: bool,
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(self.before);
    }
}
