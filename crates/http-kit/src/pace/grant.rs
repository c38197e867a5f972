use std::time::Duration;

/// What a server is believed to grant in a window, of requests or of busy time: never more than configured, less once
/// it has said so, and then more again, since limits change and other processes of the same user end.
///
/// *Down.* A refusal says: come back in `pause`. A server whose window slides says by this when enough will have left
/// it. So what will be left in our own window at that moment is what it grants. A pause may be longer than that; one
/// refusal therefore takes away half at most.
///
/// *Up.* After a rest that grows with the pause (probing costs a pause each time), the belief doubles every 140 s.
/// That is slow against the server's window, so a wrong guess costs one refusal, not a burst of them; and fast enough
/// that a limit which was halved and doubled is used again within two windows.
#[derive(Debug)]
pub(crate) struct Grant {
    configured: f64,
    believed: f64,
    /// What started before this says nothing about the present belief.
    changed_at: Option<Duration>,
    grows_from: Duration,
}

/// The rest is so many times the pause, within these bounds.
const REST_FACTOR: u32 = 20;
const LEAST_REST: Duration = Duration::from_secs(60);
const LONGEST_REST: Duration = Duration::from_secs(240);
/// The belief grows by this factor in one such time.
const GROWTH: f64 = std::f64::consts::E;
const GROWTH_TIME: f64 = 200.0;
/// The belief stays above this part of what is configured, so that it is never more than six doublings away.
const FLOOR: f64 = 1.0 / 64.0;

impl Grant {
    pub(crate) fn new(configured: u64) -> Self {
        let configured = configured.max(1) as f64;
        Self { configured, believed: configured, changed_at: None, grows_from: Duration::ZERO }
    }

    /// What is believed, in the unit it was configured in.
    pub(crate) fn believed(&self) -> u64 {
        self.believed as u64
    }

    /// Whether a refusal of a request that started then says something new.
    pub(crate) fn is_news(&self, started: Duration) -> bool {
        self.changed_at.is_none_or(|changed| started >= changed)
    }

    /// The server has refused, and asks for a pause until `resume`, when `left` of what we spent will be in the window.
    pub(crate) fn refused(&mut self, left: u64, resume: Duration, now: Duration) {
        let half = self.believed / 2.0;
        let floor = (self.configured * FLOOR).max(1.0);
        self.believed = (left as f64).clamp(half, self.believed).max(floor);
        self.changed_at = Some(now);
        let pause = resume.saturating_sub(now);
        self.grows_from = resume.saturating_add(pause.saturating_mul(REST_FACTOR).clamp(LEAST_REST, LONGEST_REST));
    }

    /// Lets the belief grow up to `now`.
    pub(crate) fn advance(&mut self, now: Duration) {
        if self.believed < self.configured && now > self.grows_from {
            let spans = (now - self.grows_from).as_secs_f64() / GROWTH_TIME;
            self.believed = (self.believed * GROWTH.powf(spans)).min(self.configured);
            self.grows_from = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_refusal_teaches_what_will_be_left_but_takes_half_at_most() {
        for (left, believed) in [(3_020, 3_020), (5_990, 5_990), (9_000, 6_000), (0, 3_000), (2_999, 3_000)] {
            let mut grant = Grant::new(6_000);
            grant.refused(left, seconds(145), seconds(0));
            assert_eq!(grant.believed(), believed, "{left}");
        }
        let mut grant = Grant::new(6_400);
        (0..20).for_each(|at| grant.refused(0, seconds(at), seconds(at)));
        assert_eq!(grant.believed(), 100);
    }

    #[test]
    fn those_refused_together_teach_once() {
        let mut grant = Grant::new(6_000);
        assert!(grant.is_news(Duration::ZERO));
        grant.refused(3_000, seconds(12), seconds(10));
        assert!(!grant.is_news(seconds(9)));
        assert!(grant.is_news(seconds(12)));
    }

    #[test]
    fn it_rests_and_then_doubles_up_to_what_is_configured() {
        for (pause, rest) in [(1, 60), (10, 200), (100, 240)] {
            let mut grant = Grant::new(6_000);
            grant.refused(3_000, seconds(pause), seconds(0));
            grant.advance(seconds(pause + rest));
            assert_eq!(grant.believed(), 3_000, "{pause}");
            (1..=138).for_each(|second| grant.advance(seconds(pause + rest + second)));
            assert!((5_960..6_000).contains(&grant.believed()), "{}", grant.believed());
            grant.advance(seconds(pause + rest + 1_000));
            assert_eq!(grant.believed(), 6_000);
        }
    }
}
