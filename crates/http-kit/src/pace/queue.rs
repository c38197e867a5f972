use std::collections::BTreeMap;

use super::priority::Priority;

/// A place in the queue of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket {
    priority: Priority,
    number: u64,
}

impl Ticket {
    pub(crate) fn priority(self) -> Priority {
        self.priority
    }
}

/// What the lane remembers of one that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waiter {
    /// It only reads, so it can find out whether the server is back.
    pub(crate) read_only: bool,
    /// How many probes had failed when it came.
    pub(crate) failed_probes: u64,
}

/// Who waits, and who is next.
///
/// Among the classes that share, the next is chosen by smooth weighted round robin: each waiting class gains its
/// weight, the richest goes, and pays the sum of the weights. A class that waits alone goes at once; one that always
/// waits gets its part in every run of as many starts as the weights add up to.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    classes: [BTreeMap<u64, Waiter>; 4],
    credit: [i64; 4],
    next_number: u64,
}

impl Queue {
    pub(crate) fn enter(&mut self, priority: Priority, waiter: Waiter) -> Ticket {
        let number = self.next_number;
        self.next_number += 1;
        self.classes[priority.index()].insert(number, waiter);
        Ticket { priority, number }
    }

    pub(crate) fn get(&self, ticket: Ticket) -> Option<&Waiter> {
        self.classes[ticket.priority.index()].get(&ticket.number)
    }

    /// Takes one out that gives up.
    pub(crate) fn leave(&mut self, ticket: Ticket) {
        let class = &mut self.classes[ticket.priority.index()];
        class.remove(&ticket.number);
        if class.is_empty() {
            self.credit[ticket.priority.index()] = 0;
        }
    }

    /// Takes one out that starts, and counts its turn. A class that may not start gains nothing meanwhile.
    pub(crate) fn start(&mut self, ticket: Ticket, may_start: impl Fn(Priority) -> bool) {
        if ticket.priority != Priority::OptOut {
            let mut sum = 0;
            for priority in self.waiting_to_share().filter(|priority| may_start(*priority)).collect::<Vec<_>>() {
                self.credit[priority.index()] += priority.weight();
                sum += priority.weight();
            }
            self.credit[ticket.priority.index()] -= sum;
        }
        self.leave(ticket);
    }

    /// The next one. `may_start` says of a class whether it may at all.
    pub(crate) fn head(&self, may_start: impl Fn(Priority) -> bool) -> Option<Ticket> {
        if let Some(ticket) = self.first(Priority::OptOut) {
            return Some(ticket);
        }
        let rich = |priority: &Priority| self.credit[priority.index()] + priority.weight();
        // Of equals the last is taken, so they are shown lowest first.
        let next = self.waiting_to_share().filter(|priority| may_start(*priority)).collect::<Vec<_>>();
        next.into_iter().rev().max_by_key(rich).and_then(|priority| self.first(priority))
    }

    /// The first one that only reads, by priority.
    pub(crate) fn first_reader(&self) -> Option<Ticket> {
        Priority::ALL.into_iter().find_map(|priority| {
            let class = &self.classes[priority.index()];
            class.iter().find(|(_, waiter)| waiter.read_only).map(|(number, _)| Ticket { priority, number: *number })
        })
    }

    pub(crate) fn waits(&self, priority: Priority) -> bool {
        !self.classes[priority.index()].is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.classes.iter().map(BTreeMap::len).sum()
    }

    fn first(&self, priority: Priority) -> Option<Ticket> {
        let (number, _) = self.classes[priority.index()].first_key_value()?;
        Some(Ticket { priority, number: *number })
    }

    fn waiting_to_share(&self) -> impl Iterator<Item = Priority> + '_ {
        Priority::ALL.into_iter().filter(|priority| *priority != Priority::OptOut && self.waits(*priority))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITER: Waiter = Waiter { read_only: false, failed_probes: 0 };

    fn starts(queue: &mut Queue, count: usize) -> String {
        let letter = |priority| match priority {
            Priority::OptOut => 'o',
            Priority::Live => 'l',
            Priority::Replay => 'r',
            Priority::Backfill => 'b',
        };
        let next = |_| {
            let ticket = queue.head(|_| true)?;
            queue.start(ticket, |_| true);
            Some(letter(ticket.priority()))
        };
        (0..count).filter_map(next).collect()
    }

    #[test]
    fn opt_outs_go_first_and_the_others_share_sixteen_to_three_to_one() {
        let mut queue = Queue::default();
        for _ in 0..40 {
            for priority in Priority::ALL {
                queue.enter(priority, WAITER);
            }
        }
        assert_eq!(starts(&mut queue, 40), "o".repeat(40));
        let turn = starts(&mut queue, 20);
        assert!(turn.starts_with('l'), "{turn}");
        let count = |letter| turn.chars().filter(|other| *other == letter).count();
        assert_eq!((count('l'), count('r'), count('b')), (16, 3, 1), "{turn}");
        assert_eq!(starts(&mut queue, 20), turn);
    }

    #[test]
    fn a_class_alone_has_everything_and_owes_nothing_later() {
        let mut queue = Queue::default();
        (0..30).for_each(|_| _ = queue.enter(Priority::Backfill, WAITER));
        assert_eq!(starts(&mut queue, 20), "b".repeat(20));
        (0..40).for_each(|_| _ = queue.enter(Priority::Live, WAITER));
        let turn = starts(&mut queue, 17);
        assert_eq!(turn.chars().filter(|letter| *letter == 'b').count(), 1, "{turn}");
        assert!(turn.starts_with('l'), "{turn}");
    }

    #[test]
    fn within_a_class_who_came_first_goes_first_and_leaving_makes_room() {
        let mut queue = Queue::default();
        let [a, b, c] = [0; 3].map(|_| queue.enter(Priority::Live, WAITER));
        queue.leave(a);
        assert_eq!(queue.head(|_| true), Some(b));
        queue.start(b, |_| true);
        assert_eq!((queue.head(|_| true), queue.len()), (Some(c), 1));
        assert_eq!(queue.head(|priority| priority != Priority::Live), None);
    }
}
