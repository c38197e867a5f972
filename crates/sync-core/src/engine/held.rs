//! Deletes that are held: when they may go. A delete of a parent goes once the change feeds of its children were read anew and what
//! they told is written, so that no child is left that nobody sees any more.

use std::sync::Arc;
use std::time::Duration;

use super::Run;
use crate::traits::DeleteRelease;
use crate::{Seq, StoreError, StreamId};

/// How long to wait after an attempt that came too early, at least and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// The deletes that were held in a stream at some moment.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    /// Those with this number or an older one.
    pub(crate) held_to: Seq,
    /// The feeds of children have to be asked after this tick.
    tick: u64,
    /// When they go, whatever children do.
    overdue: Duration,
    /// The last number that the store had given when those feeds had been read.
    children_to: Option<Seq>,
    /// When to ask the store next, and how long to wait after that.
    next: Duration,
    wait: Duration,
    /// When to ask at the earliest, whatever happens.
    not_before: Duration,
    /// Something of the children ended since the store was asked.
    stirred: bool,
    asking: bool,
    /// The feeds of children were read.
    read: bool,
    /// Nothing of children was under way when that was looked at last.
    calm: bool,
}

/// What is known of the streams that may hold children.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Children {
    /// The oldest tick at which one of their feeds was asked that was then read to its end; `None` where there are no such streams.
    pub(crate) feeds_read: Option<u64>,
    /// Nothing of theirs is under way.
    pub(crate) calm: bool,
}

impl Ticket {
    /// `wait` is how long deletes are held at most.
    pub(crate) fn new(held_to: Seq, tick: u64, now: Duration, wait: Duration) -> Self {
        Self {
            held_to,
            tick,
            overdue: now.saturating_add(wait),
            children_to: None,
            next: Duration::ZERO,
            wait: AGAIN.0,
            not_before: Duration::ZERO,
            stirred: false,
            asking: false,
            read: false,
            calm: false,
        }
    }

    pub(crate) fn stir(&mut self) {
        self.stirred = true;
    }

    /// Whether the store is to be asked now to release the deletes; `Some(true)` where children do not count any more.
    pub(crate) fn ask(&mut self, children: Children, now: Duration) -> Option<bool> {
        self.read = children.feeds_read.is_none_or(|asked| asked > self.tick);
        let overdue = now >= self.overdue;
        self.calm = children.calm;
        let due = now >= self.next || (self.stirred && children.calm && now >= self.not_before);
        if self.asking || !(overdue || (self.read && due)) {
            return None;
        }
        (self.asking, self.stirred) = (true, false);
        Some(overdue)
    }

    /// The store answered that children are to be written first.
    pub(crate) fn refused(&mut self, children_to: Seq, now: Duration) {
        self.asking = false;
        self.children_to = Some(children_to);
        self.not_before = now.saturating_add(AGAIN.0);
        self.next = now.saturating_add(self.wait);
        self.wait = (self.wait * 2).min(AGAIN.1);
    }

    /// When there may be something to do without anything happening.
    pub(crate) fn wake(&self) -> Option<Duration> {
        // As long as children are at work, their ends are waited for.
        let next = if self.stirred && self.calm { self.not_before.min(self.next) } else { self.next };
        let next = if self.read { next.min(self.overdue) } else { self.overdue };
        (!self.asking).then_some(next)
    }

    /// Whether a run until idle may end with it: nothing that the run still does would release the deletes.
    pub(crate) fn parked(&self) -> bool {
        !self.asking && (!self.read || (self.children_to.is_some() && !self.stirred))
    }
}

/// What the store answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) children_to: Seq,
    pub(crate) released: Option<u64>,
}

/// Asks the store to release the deletes of a stream.
pub(crate) async fn release(
    run: Arc<Run>,
    stream: StreamId,
    children: Vec<StreamId>,
    ticket: Ticket,
) -> Result<Answered, StoreError> {
    let children_to = match ticket.children_to {
        Some(known) => known,
        None => run.spec.store.stats(&stream).await?.last,
    };
    let want = DeleteRelease { stream, held_to: ticket.held_to, children, children_to };
    let released = run.spec.store.release_deletes(&run.lease, &want).await?;
    Ok(Answered { children_to, released })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn children(feeds_read: u64, calm: bool) -> Children {
        Children { feeds_read: Some(feeds_read), calm }
    }

    #[test]
    fn the_store_is_asked_once_the_feeds_were_asked_and_read_after_the_ticket_was_drawn() {
        let mut ticket = Ticket::new(Seq(7), 3, SECOND, SECOND * 100);
        ticket.stir();
        assert_eq!(ticket.ask(children(3, true), SECOND), None, "asked before the ticket was drawn");
        assert!(ticket.parked(), "whatever happened meanwhile");
        assert_eq!(ticket.wake(), Some(SECOND * 101));
        assert_eq!(ticket.ask(children(4, false), SECOND), Some(false));
        assert!(!ticket.parked() && ticket.wake().is_none());
        assert_eq!(ticket.ask(children(4, true), SECOND), None, "it is being asked");
    }

    #[test]
    fn a_refused_ticket_asks_again_when_children_are_calm_or_later_and_ever_more_rarely() {
        let mut ticket = Ticket::new(Seq(7), 3, SECOND, SECOND * 100);
        assert_eq!(ticket.ask(children(4, true), SECOND), Some(false));
        ticket.refused(Seq(9), SECOND);
        assert!(ticket.parked());
        assert_eq!(ticket.ask(children(4, true), SECOND), None, "nothing happened since");
        ticket.stir();
        assert!(!ticket.parked());
        assert_eq!(ticket.ask(children(4, true), SECOND * 5 / 4), None, "not so soon");
        assert_eq!(ticket.wake(), Some(SECOND * 3 / 2));
        assert_eq!(ticket.ask(children(4, true), SECOND * 3 / 2), Some(false));
        ticket.refused(Seq(9), SECOND);
        assert_eq!(ticket.wake(), Some(SECOND * 2));
        ticket.stir();
        assert_eq!(ticket.ask(children(4, false), SECOND * 7 / 4), None, "they are at work");
        assert_eq!(ticket.wake(), Some(SECOND * 2), "and nothing is to be done before they end");
        assert_eq!(ticket.ask(children(4, false), SECOND * 2), Some(false));
        for _ in 0..20 {
            ticket.refused(Seq(9), SECOND);
        }
        assert_eq!(ticket.wake(), Some(SECOND * 31));
    }

    #[test]
    fn deletes_are_held_for_their_time_and_no_longer() {
        let mut ticket = Ticket::new(Seq(7), 3, SECOND, SECOND * 100);
        assert_eq!(ticket.ask(children(0, false), SECOND * 100), None);
        assert_eq!(ticket.ask(children(0, false), SECOND * 101), Some(true));
    }

    #[test]
    fn without_children_nothing_is_waited_for() {
        let mut ticket = Ticket::new(Seq(7), 3, SECOND, SECOND * 100);
        assert_eq!(ticket.ask(Children { feeds_read: None, calm: true }, SECOND), Some(false));
    }
}
