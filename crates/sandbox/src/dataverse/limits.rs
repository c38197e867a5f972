//! Service protection limits: requests, execution time and concurrency of one user over a sliding window
//! (learn.microsoft.com, "Service protection API limits").

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::error::{Refusal, refusal};

/// What the limits are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests within the window.
    pub requests: u64,
    /// Milliseconds of execution within the window.
    pub execution_millis: u64,
    /// Requests at the same time.
    pub concurrent: u64,
    /// Seconds of the window.
    pub window_seconds: u64,
}

impl Limits {
    /// The documented figures.
    pub const REAL: Self = Self { requests: 6000, execution_millis: 1_200_000, concurrent: 52, window_seconds: 300 };

    /// So many requests in so many seconds, and neither of the other limits.
    pub fn requests_in(requests: u64, window_seconds: u64) -> Self {
        Self { requests, window_seconds, execution_millis: u64::MAX, concurrent: u64::MAX }
    }
}

#[derive(Debug, Default)]
struct Window {
    /// Start in milliseconds and execution time of each request.
    entries: VecDeque<(i64, u64)>,
    /// Requests that slid out of the window: the number of the first entry.
    gone: u64,
    execution: u64,
    concurrent: u64,
    /// Refusals since the last request that passed: who hammers on waits longer.
    refused: u64,
}

/// The limits of one user.
#[derive(Debug)]
pub(super) struct Protection {
    limits: Option<Limits>,
    window: Mutex<Window>,
}

/// What the rate-limit headers say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remaining {
    pub(super) requests: u64,
    pub(super) seconds: f64,
}

/// A refusal and the seconds to wait.
pub(super) type Throttled = (Refusal, u64);

/// A request that was let in. Dropped when it is done, or when its client went away.
#[derive(Debug)]
pub(super) struct Stay<'a> {
    protection: &'a Protection,
    number: u64,
    /// What a request takes is real time: the sandbox's clock may jump in the middle of it.
    since: Instant,
}

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        let millis = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.protection.leave(self.number, millis);
    }
}

impl Protection {
    pub(super) fn new(limits: Option<Limits>) -> Self {
        Self { limits, window: Mutex::default() }
    }

    fn window(&self) -> std::sync::MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a request in until its [`Stay`] is dropped, or refuses it.
    pub(super) fn enter(&self, now: i64) -> Result<Stay<'_>, Throttled> {
        let Some(limits) = self.limits else { return Ok(Stay { protection: self, number: 0, since: Instant::now() }) };
        let mut window = self.window();
        let length = i64::try_from(limits.window_seconds).unwrap_or(i64::MAX).saturating_mul(1000);
        while let Some((at, execution)) = window.entries.front().copied().filter(|(at, _)| *at + length <= now) {
            let _ = at;
            window.entries.pop_front();
            window.gone += 1;
            window.execution = window.execution.saturating_sub(execution);
        }
        let seconds = limits.window_seconds;
        let refused = if window.concurrent >= limits.concurrent {
            Some(("0x80072326", format!("Number of concurrent requests exceeded the limit of {}.", limits.concurrent)))
        } else if window.entries.len() as u64 >= limits.requests {
            let message = format!(
                "Number of requests exceeded the limit of {} over time window of {seconds} seconds.",
                limits.requests
            );
            Some(("0x80072322", message))
        } else if window.execution >= limits.execution_millis {
            Some((
                "0x80072321",
                format!(
                    "Combined execution time of incoming requests exceeded limit of 1,200,000 milliseconds over time window of {seconds} seconds. Decrease number of concurrent requests or reduce the duration of requests and try again later."
                ),
            ))
        } else {
            None
        };
        if let Some((code, message)) = refused {
            let oldest = window.entries.front().map_or(now, |(at, _)| *at);
            let wait = u64::try_from((oldest + length - now).max(0)).unwrap_or(0).div_ceil(1000);
            let wait = if code == "0x80072326" { 1 } else { wait.max(1) };
            let wait = (wait + window.refused / 10).min(seconds.max(1));
            window.refused += 1;
            return Err((refusal(429, code, message), wait));
        }
        window.refused = 0;
        window.concurrent += 1;
        window.entries.push_back((now, 0));
        let number = window.gone + window.entries.len() as u64 - 1;
        Ok(Stay { protection: self, number, since: Instant::now() })
    }

    /// A request that was let in is done, after so many milliseconds.
    fn leave(&self, number: u64, millis: u64) {
        if self.limits.is_none() {
            return;
        }
        let mut window = self.window();
        window.concurrent = window.concurrent.saturating_sub(1);
        let at = number.checked_sub(window.gone).and_then(|at| usize::try_from(at).ok());
        // One that slid out of the window while it was carried out takes its time with it.
        if let Some(own) = at.and_then(|at| window.entries.get_mut(at)) {
            own.1 = millis;
            window.execution += millis;
        }
    }

    pub(super) fn remaining(&self) -> Remaining {
        let Some(limits) = self.limits else { return Remaining { requests: 7999, seconds: 1200.0 } };
        let window = self.window();
        let millis = limits.execution_millis.min(1_200_000).saturating_sub(window.execution);
        #[expect(clippy::cast_precision_loss, reason = "at most 1,200,000")]
        let seconds = millis as f64 / 1000.0;
        Remaining { requests: limits.requests.saturating_sub(window.entries.len() as u64), seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_slides() {
        let protection = Protection::new(Some(Limits::requests_in(2, 10)));
        assert!(protection.enter(0).is_ok());
        assert!(protection.enter(4000).is_ok());
        let (refusal, wait) = protection.enter(5000).unwrap_err();
        assert_eq!((refusal.status, refusal.code.as_ref(), wait), (429, "0x80072322", 5));
        assert!(protection.enter(10_000).is_ok());
    }

    #[test]
    fn concurrency_lasts_until_the_request_is_dropped() {
        let limits = Limits { requests: 100, execution_millis: u64::MAX, concurrent: 1, window_seconds: 300 };
        let protection = Protection::new(Some(limits));
        let stay = protection.enter(0).unwrap();
        assert_eq!(protection.enter(1).unwrap_err().0.code, "0x80072326");
        drop(stay);
        assert!(protection.enter(2).is_ok());
    }

    #[test]
    fn execution_time_belongs_to_the_request_that_took_it() {
        let limits = Limits { requests: 100, execution_millis: 50, concurrent: 9, window_seconds: 300 };
        let protection = Protection::new(Some(limits));
        let took = |stay: Stay<'_>, millis| {
            protection.leave(stay.number, millis);
            std::mem::forget(stay);
        };
        let first = protection.enter(0).unwrap();
        let second = protection.enter(200_000).unwrap();
        took(first, 60);
        assert_eq!(protection.enter(200_001).unwrap_err().0.code, "0x80072321");
        // The first slides out and its time with it, though the second came later.
        assert!(protection.enter(300_001).is_ok());
        took(second, 60);
        assert_eq!(protection.enter(300_002).unwrap_err().0.code, "0x80072321");
    }
}
