//! The deliveries of the journal, in their order, and which of them are still kept.

use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug, Clone, Copy)]
struct Delivery {
    event: u32,
    arrived: i64,
}

#[derive(Debug, Default)]
struct Deliveries {
    all: Vec<Delivery>,
    /// Deliveries that are gone, whatever their age.
    dropped: usize,
}

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    Oldest,
    /// Behind so many deliveries.
    After(u64),
    Latest,
    /// What arrived since then.
    Arrived(i64),
}

/// What a reader gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Numbers of the events, and the number of deliveries before the first of them.
    Events { after: u64, events: Vec<u32> },
    /// Nothing, behind so many deliveries.
    End(u64),
    /// What stood there is kept no longer.
    Expired,
    /// Nobody was ever told to begin there.
    Unknown,
}

/// What came into the journal.
#[derive(Debug, Default)]
pub(super) struct Feed {
    deliveries: Mutex<Deliveries>,
}

impl Feed {
    fn deliveries(&self) -> MutexGuard<'_, Deliveries> {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Delivers events. A clock that went back does not bring deliveries before those that are there.
    pub(super) fn append(&self, events: &[u32], now: i64) {
        let mut deliveries = self.deliveries();
        let arrived = deliveries.all.last().map_or(now, |last| last.arrived.max(now));
        deliveries.all.extend(events.iter().map(|event| Delivery { event: *event, arrived }));
    }

    /// Drops the oldest deliveries that are kept; tells how many.
    pub(super) fn drop_oldest(&self, count: usize, keep_since: i64) -> usize {
        let mut deliveries = self.deliveries();
        let first = first_kept(&deliveries, keep_since);
        deliveries.dropped = first.saturating_add(count).min(deliveries.all.len());
        deliveries.dropped - first
    }

    /// At most `limit` deliveries.
    pub(super) fn read(&self, from: From, limit: usize, keep_since: i64) -> Found {
        let deliveries = self.deliveries();
        let (first, end) = (first_kept(&deliveries, keep_since), deliveries.all.len());
        let start = match from {
            From::Oldest => first,
            From::Latest => end,
            From::Arrived(since) => deliveries.all.partition_point(|delivery| delivery.arrived < since).max(first),
            From::After(after) => match usize::try_from(after) {
                // The delivery that the position names must be kept itself.
                Ok(after) if first > 0 && after <= first => return Found::Expired,
                Ok(after) if after <= end => after,
                _ => return Found::Unknown,
            },
        };
        let events: Vec<u32> = deliveries.all.iter().skip(start).take(limit).map(|delivery| delivery.event).collect();
        let after = start as u64;
        if events.is_empty() { Found::End(after) } else { Found::Events { after, events } }
    }
}

fn first_kept(deliveries: &Deliveries, keep_since: i64) -> usize {
    deliveries.all.partition_point(|delivery| delivery.arrived < keep_since).max(deliveries.dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_gets_what_comes_behind_its_position() {
        let feed = Feed::default();
        assert_eq!(feed.read(From::Oldest, 10, 0), Found::End(0));
        feed.append(&[4, 5, 6], 1000);
        feed.append(&[7], 2000);
        assert_eq!(feed.read(From::Oldest, 2, 0), Found::Events { after: 0, events: vec![4, 5] });
        assert_eq!(feed.read(From::After(2), 2, 0), Found::Events { after: 2, events: vec![6, 7] });
        assert_eq!(feed.read(From::After(4), 2, 0), Found::End(4));
        assert_eq!(feed.read(From::After(5), 2, 0), Found::Unknown);
        assert_eq!(feed.read(From::Latest, 2, 0), Found::End(4));
        assert_eq!(feed.read(From::Arrived(1500), 9, 0), Found::Events { after: 3, events: vec![7] });
    }

    #[test]
    fn what_is_too_old_or_dropped_is_gone_and_its_positions_with_it() {
        let feed = Feed::default();
        feed.append(&[1, 2], 1000);
        feed.append(&[3, 4], 2000);
        assert_eq!(feed.read(From::Oldest, 9, 1500), Found::Events { after: 2, events: vec![3, 4] });
        for after in 0..=2 {
            assert_eq!(feed.read(From::After(after), 9, 1500), Found::Expired, "{after}");
        }
        assert_eq!(feed.read(From::After(3), 9, 1500), Found::Events { after: 3, events: vec![4] });
        assert_eq!(feed.drop_oldest(1, 1500), 1);
        assert_eq!(feed.read(From::After(3), 9, 0), Found::Expired);
        assert_eq!(feed.drop_oldest(9, 0), 1);
        assert_eq!(feed.read(From::Oldest, 9, 0), Found::End(4));
    }

    #[test]
    fn a_clock_that_goes_back_leaves_the_order() {
        let feed = Feed::default();
        feed.append(&[1], 5000);
        feed.append(&[2], 1000);
        assert_eq!(feed.read(From::Arrived(4000), 9, 0), Found::Events { after: 0, events: vec![1, 2] });
    }
}
