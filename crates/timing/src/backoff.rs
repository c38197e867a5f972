use std::time::Duration;

/// Exponential back-off with full jitter: a pure function of the attempt and of one random number.
///
/// The wait before retry `attempt` (0 for the first) is drawn from `[0, min(cap, base * factor^attempt))`.
/// Full jitter spreads the retries of many workers evenly, so that they do not return as one wave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    base: Duration,
    factor: f64,
    cap: Duration,
}

impl Backoff {
    /// `base` is the ceiling of the first wait, `factor` the growth per attempt (values under 1 and
    /// NaN count as 1), `cap` the ceiling of every wait.
    #[must_use]
    pub fn new(base: Duration, factor: f64, cap: Duration) -> Self {
        Self { base, factor: if factor >= 1.0 { factor } else { 1.0 }, cap }
    }

    /// The longest wait before retry `attempt`, counted from 0.
    #[must_use]
    pub fn ceiling(&self, attempt: u32) -> Duration {
        let exponent = i32::try_from(attempt).unwrap_or(i32::MAX);
        let seconds = self.base.as_secs_f64() * self.factor.powi(exponent);
        // An overflow to infinity (or 0 times infinity) means "as long as allowed".
        Duration::try_from_secs_f64(seconds).map_or(self.cap, |ceiling| ceiling.min(self.cap))
    }

    /// The wait before retry `attempt`, where `unit` is a random number in `[0, 1)`.
    #[must_use]
    pub fn delay(&self, attempt: u32, unit: f64) -> Duration {
        let unit = if unit.is_nan() { 0.0 } else { unit.clamp(0.0, 1.0) };
        self.ceiling(attempt).mul_f64(unit)
    }
}
