use std::time::Duration;

/// How far back a window reaches, in seconds.
pub(crate) const WINDOW_SECONDS: u64 = 300;

/// The whole seconds of a window and the one under way: what began within the last 300 s, to the nanosecond, lies in
/// one of these.
const SLOTS: u64 = WINDOW_SECONDS + 1;

/// What was spent in the last 300 seconds, in one-second buckets.
///
/// An amount stays for at least 300 s and for at most 301 s, so the sum is never below that of any window of exactly
/// 300 s that ends now.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    slots: Box<[u64]>,
    /// The second under way.
    newest: u64,
    total: u64,
    /// What will have left after so many seconds, where it matters: the lower convex hull of these points, without the
    /// second under way. Made anew each second, while the rest is asked for at each start.
    hull: Vec<(u64, u64)>,
}

impl Window {
    pub(crate) fn new() -> Self {
        let mut window = Self { slots: vec![0; slot(SLOTS - 1) + 1].into(), newest: 0, total: 0, hull: Vec::new() };
        window.find_hull();
        window
    }

    /// Forgets what has left by `now`. Time that goes back changes nothing.
    pub(crate) fn advance(&mut self, now: Duration) {
        let second = now.as_secs();
        if second <= self.newest {
            return;
        }
        for passed in 1..=(second - self.newest).min(SLOTS) {
            let slot = &mut self.slots[slot(self.newest + passed)];
            self.total -= *slot;
            *slot = 0;
        }
        self.newest = second;
        self.find_hull();
    }

    /// Adds `amount` to the second under way.
    pub(crate) fn add(&mut self, amount: u64) {
        self.slots[slot(self.newest)] += amount;
        self.total += amount;
    }

    /// Takes back what was added at `when`, unless it has left already.
    pub(crate) fn take_back(&mut self, when: Duration, amount: u64) {
        if when.as_secs() + SLOTS > self.newest {
            let slot = &mut self.slots[slot(when.as_secs())];
            let amount = amount.min(*slot);
            *slot -= amount;
            self.total -= amount;
            self.find_hull();
        }
    }

    /// The sum.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// What of the present content will still be there at `when`.
    pub(crate) fn left_at(&self, when: Duration) -> u64 {
        let gone = when.as_secs().saturating_sub(self.newest).min(SLOTS);
        self.total - (1..=gone).map(|second| self.slots[slot(self.newest + second)]).sum::<u64>()
    }

    /// When the next amount leaves; `None` if there is none.
    pub(crate) fn next_leave(&self) -> Option<Duration> {
        (1..=SLOTS)
            .map(|second| self.newest + second)
            .find(|second| self.slots[slot(*second)] > 0)
            .map(Duration::from_secs)
    }

    /// The greatest rate per second that can be kept up from now on for a whole window when `free` is what may be
    /// spent at once: the least, over all horizons, of what will have become free by then, divided by the time to it.
    pub(crate) fn sustainable(&self, free: u64) -> f64 {
        let rate = |(seconds, left): (u64, u64)| (free + left) as f64 / seconds as f64;
        // Seen from (0, -free), the point of the least slope is on the hull.
        self.hull.iter().copied().map(rate).fold(rate((SLOTS, self.total)), f64::min)
    }

    fn find_hull(&mut self) {
        let Self { slots, newest, hull, .. } = self;
        hull.clear();
        let mut left = 0;
        for seconds in 1..=WINDOW_SECONDS {
            left += slots[slot(*newest + seconds)];
            while let [.., before, last] = hull[..]
                && below(before, (seconds, left), last)
            {
                hull.pop();
            }
            hull.push((seconds, left));
        }
    }

    /// The rate per second that uses up `capacity` evenly.
    pub(crate) fn even(capacity: u64) -> f64 {
        capacity as f64 / SLOTS as f64
    }
}

/// Whether the line from `first` to `last` runs below `between`, or through it.
fn below(first: (u64, u64), last: (u64, u64), between: (u64, u64)) -> bool {
    let rise = |to: (u64, u64)| u128::from(to.1 - first.1);
    let run = |to: (u64, u64)| u128::from(to.0 - first.0);
    rise(last) * run(between) <= rise(between) * run(last)
}

/// The bucket of a second; it is also that of the second which leaves when this one begins.
fn slot(second: u64) -> usize {
    usize::try_from(second % SLOTS).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn an_amount_leaves_after_three_hundred_whole_seconds() {
        let mut window = Window::new();
        window.advance(Duration::from_millis(5_900));
        window.add(7);
        window.advance(Duration::from_millis(305_999));
        assert_eq!((window.total(), window.next_leave()), (7, Some(seconds(306))));
        assert_eq!((window.left_at(Duration::from_millis(305_999)), window.left_at(seconds(306))), (7, 0));
        window.advance(seconds(306));
        assert_eq!((window.total(), window.next_leave()), (0, None));
    }

    #[test]
    fn the_sustainable_rate_knows_what_comes_back_and_when() {
        let mut window = Window::new();
        window.advance(seconds(1_000));
        assert!((window.sustainable(3_010) - 10.0).abs() < 1e-9, "an empty window is spent evenly");
        window.add(3_010);
        window.advance(seconds(1_100));
        assert!(window.sustainable(0) == 0.0, "nothing comes back before second 1301");
        // 400 for the 200 s up to there, and then all of it.
        assert!((window.sustainable(400) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn what_was_not_spent_can_be_taken_back_until_it_has_left() {
        let mut window = Window::new();
        window.advance(seconds(10));
        window.add(3);
        window.advance(seconds(300));
        window.take_back(seconds(10), 1);
        assert_eq!(window.total(), 2);
        window.advance(seconds(311));
        window.add(5);
        window.take_back(seconds(10), 2);
        assert_eq!(window.total(), 5);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_sum_is_never_below_that_of_an_exact_window(steps in prop::collection::vec((0_u64..120_000, 0_u64..9), 1..200)) {
            let (mut window, mut now, mut exact) = (Window::new(), Duration::ZERO, Vec::new());
            for (pause, amount) in steps {
                now += Duration::from_millis(pause);
                window.advance(now);
                window.add(amount);
                exact.push((now, amount));
                let within = |age: u64| exact.iter().filter(|(at, _)| now - *at < seconds(age)).map(|(_, amount)| amount).sum::<u64>();
                prop_assert!(window.total() >= within(300));
                prop_assert!(window.total() <= within(301));
                prop_assert_eq!(window.left_at(now), window.total());
                let mut free = amount * 3;
                let rate = window.sustainable(free);
                let mut least = f64::INFINITY;
                for seconds in 1..=SLOTS {
                    free += window.slots[slot(window.newest + seconds)];
                    least = least.min(free as f64 / seconds as f64);
                }
                prop_assert!((rate - least).abs() < 1e-9);
            }
        }
    }
}
