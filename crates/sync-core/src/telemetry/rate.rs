use std::time::Duration;

/// How long a rate looks back.
const WINDOW_SECONDS: u64 = 60;

/// Counts over the last minute, second by second.
#[derive(Debug)]
pub(super) struct Rate {
    began: Duration,
    /// The second that a slot counts, and its count.
    slots: [(u64, u64); WINDOW_SECONDS as usize],
}

impl Rate {
    pub(super) fn new(now: Duration) -> Self {
        Self { began: now, slots: [(0, 0); WINDOW_SECONDS as usize] }
    }

    pub(super) fn add(&mut self, now: Duration, count: u64) {
        let second = now.as_secs();
        let place = usize::try_from(second % WINDOW_SECONDS).unwrap_or(0);
        if let Some(slot) = self.slots.get_mut(place) {
            *slot = if slot.0 == second { (second, slot.1 + count) } else { (second, count) };
        }
    }

    /// Per second, over the last minute or since the beginning, whichever is shorter.
    pub(super) fn per_second(&self, now: Duration) -> f64 {
        let second = now.as_secs();
        let oldest = (second + 1).saturating_sub(WINDOW_SECONDS);
        let recent = self.slots.iter().filter(|(at, _)| (oldest..=second).contains(at));
        let counted: u64 = recent.map(|(_, count)| count).sum();
        let span = now.saturating_sub(self.began).as_secs_f64().clamp(1.0, 60.0);
        #[expect(clippy::cast_precision_loss, reason = "a rate is not exact to one in 2^52")]
        let rate = counted as f64 / span;
        rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_rate_looks_back_a_minute_and_not_beyond_the_beginning() {
        let mut rate = Rate::new(at(100));
        rate.add(at(100), 30);
        assert!((rate.per_second(at(100)) - 30.0).abs() < 1e-9, "never over less than a second");
        assert!((rate.per_second(at(110)) - 3.0).abs() < 1e-9);
        rate.add(at(159), 30);
        assert!((rate.per_second(at(159)) - 60.0 / 59.0).abs() < 1e-9);
        assert!((rate.per_second(at(160)) - 0.5).abs() < 1e-9, "what is a minute old is forgotten");
        assert!((rate.per_second(at(1000)) - 0.0).abs() < 1e-9);
    }

    #[test]
    fn a_slot_that_is_used_again_begins_at_nothing() {
        let mut rate = Rate::new(at(0));
        rate.add(at(5), 600);
        rate.add(at(65), 60);
        assert!((rate.per_second(at(65)) - 1.0).abs() < 1e-9);
    }
}
