//! Service protection limits: requests, execution time and concurrency of one user over a sliding window, counted by each web
//! server for itself (learn.microsoft.com, "Service protection API limits").

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::error::{Refusal, refusal};

/// What the limits are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
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

impl Default for Limits {
    /// A window of 300 seconds, and none of the limits.
    fn default() -> Self {
        Self { requests: u64::MAX, execution_millis: u64::MAX, concurrent: u64::MAX, window_seconds: 300 }
    }
}

impl Limits {
    /// The documented figures.
    pub const REAL: Self = Self { requests: 6000, execution_millis: 1_200_000, concurrent: 52, window_seconds: 300 };

    /// So many requests in so many seconds, and neither of the other limits.
    pub fn requests_in(requests: u64, window_seconds: u64) -> Self {
        Self { requests, window_seconds, ..Self::default() }
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

impl Window {
    fn slide(&mut self, now: i64, length: i64) {
        while let Some((_, execution)) = self.entries.front().copied().filter(|(at, _)| *at + length <= now) {
            self.entries.pop_front();
            self.gone += 1;
            self.execution = self.execution.saturating_sub(execution);
        }
    }
}

/// The limits of one user on every web server.
#[derive(Debug)]
pub(super) struct Protection {
    limits: Mutex<Option<Limits>>,
    servers: Vec<Mutex<Window>>,
    /// Requests that came without a cookie.
    strays: AtomicUsize,
    refusals_per_second_more: u64,
}

/// What the rate-limit headers say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remaining {
    pub(super) requests: u64,
    pub(super) seconds: f64,
}

/// What one server counts, for the control interface.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Load {
    /// Requests in the window.
    pub requests: u64,
    /// Their milliseconds of execution.
    pub execution_millis: u64,
    /// Requests being worked on.
    pub concurrent: u64,
}

/// A refusal and the seconds to wait.
pub(super) type Throttled = (Refusal, u64);

/// A request that was let in. Dropped when it is done, or when its client went away.
#[derive(Debug)]
pub(super) struct Stay<'a> {
    window: &'a Mutex<Window>,
    /// `None`: there were no limits when it came, and it is counted nowhere.
    number: Option<u64>,
    /// What a request takes is real time: the sandbox's clock may jump in the middle of it.
    since: Instant,
}

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let millis = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
            leave(self.window, number, millis);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request that was let in is done, after so many milliseconds.
fn leave(window: &Mutex<Window>, number: u64, millis: u64) {
    let mut window = lock(window);
    window.concurrent = window.concurrent.saturating_sub(1);
    let at = number.checked_sub(window.gone).and_then(|at| usize::try_from(at).ok());
    // One that slid out of the window while it was carried out takes its time with it.
    if let Some(own) = at.and_then(|at| window.entries.get_mut(at)) {
        own.1 = millis;
        window.execution += millis;
    }
}

fn milliseconds(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000)
}

impl Protection {
    pub(super) fn new(limits: Option<Limits>, servers: u32, refusals_per_second_more: u32) -> Self {
        Self {
            limits: Mutex::new(limits),
            servers: (0..servers.max(1)).map(|_| Mutex::default()).collect(),
            strays: AtomicUsize::new(0),
            refusals_per_second_more: refusals_per_second_more.into(),
        }
    }

    /// The present limits.
    pub(super) fn limits(&self) -> Option<Limits> {
        *lock(&self.limits)
    }

    /// Other limits from the next request on. What the window holds stays in it.
    pub(super) fn set_limits(&self, limits: Option<Limits>) {
        *lock(&self.limits) = limits;
    }

    /// What each server counts.
    pub(super) fn load(&self, now: i64) -> Vec<Load> {
        let length = milliseconds(self.limits().unwrap_or_default().window_seconds);
        let of = |window: &Mutex<Window>| {
            let mut window = lock(window);
            window.slide(now, length);
            Load {
                requests: window.entries.len() as u64,
                execution_millis: window.execution,
                concurrent: window.concurrent,
            }
        };
        self.servers.iter().map(of).collect()
    }

    /// The server that answers a request: the one that the cookie names, or the next in turn.
    pub(super) fn server(&self, cookies: &str) -> usize {
        let named = cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix("ARRAffinity=sandbox-"));
        let named = named.and_then(|number| number.parse::<usize>().ok()).filter(|at| *at < self.servers.len());
        named.unwrap_or_else(|| self.strays.fetch_add(1, Ordering::Relaxed) % self.servers.len())
    }

    /// Lets a request in until its [`Stay`] is dropped, or refuses it.
    pub(super) fn enter(&self, server: usize, now: i64) -> Result<Stay<'_>, Throttled> {
        let own = &self.servers[server];
        let Some(limits) = self.limits() else { return Ok(Stay { window: own, number: None, since: Instant::now() }) };
        let mut window = lock(own);
        let full = window.concurrent >= limits.concurrent;
        let concurrency = full.then(|| {
            ("0x80072326", format!("Number of concurrent requests exceeded the limit of {}.", limits.concurrent))
        });
        let number = self.admit(&mut window, limits, now, concurrency)?;
        window.concurrent += 1;
        Ok(Stay { window: own, number: Some(number), since: Instant::now() })
    }

    /// Counts one more request inside of one that was let in: a part of a batch. It takes no place of its own among the
    /// requests at the same time, and its execution time is part of the batch's.
    pub(super) fn count_part(&self, server: usize, now: i64) -> Result<(), Throttled> {
        let Some(limits) = self.limits() else { return Ok(()) };
        self.admit(&mut lock(&self.servers[server]), limits, now, None).map(drop)
    }

    /// Enters a request in the window under its number, or refuses it.
    fn admit(
        &self,
        window: &mut Window,
        limits: Limits,
        now: i64,
        concurrency: Option<(&'static str, String)>,
    ) -> Result<u64, Throttled> {
        let length = milliseconds(limits.window_seconds);
        window.slide(now, length);
        let seconds = limits.window_seconds;
        let refused = if concurrency.is_some() {
            concurrency
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
                    "Combined execution time of incoming requests exceeded limit of {} milliseconds over time window of {seconds} seconds. Decrease number of concurrent requests or reduce the duration of requests and try again later.",
                    thousands(limits.execution_millis)
                ),
            ))
        } else {
            None
        };
        if let Some((code, message)) = refused {
            let oldest = window.entries.front().map_or(now, |(at, _)| *at);
            let wait = u64::try_from((oldest + length - now).max(0)).unwrap_or(0).div_ceil(1000);
            let wait = if code == "0x80072326" { 1 } else { wait.max(1) };
            let more = window.refused.checked_div(self.refusals_per_second_more).unwrap_or(0);
            let wait = (wait + more).min(seconds.max(1));
            window.refused += 1;
            return Err((refusal(429, code, message), wait));
        }
        window.refused = 0;
        window.entries.push_back((now, 0));
        Ok(window.gone + window.entries.len() as u64 - 1)
    }

    pub(super) fn remaining(&self, server: usize) -> Remaining {
        let Some(limits) = self.limits() else { return Remaining { requests: 7999, seconds: 1200.0 } };
        let window = lock(&self.servers[server]);
        let millis = limits.execution_millis.min(1_200_000).saturating_sub(window.execution);
        #[expect(clippy::cast_precision_loss, reason = "at most 1,200,000")]
        let seconds = millis as f64 / 1000.0;
        Remaining { requests: limits.requests.saturating_sub(window.entries.len() as u64), seconds }
    }

    /// `Set-Cookie` of a server.
    pub(super) fn cookie(&self, server: usize) -> String {
        match self.servers.len() {
            1 => "ARRAffinity=sandbox;Path=/;HttpOnly".to_owned(),
            _ => format!("ARRAffinity=sandbox-{server};Path=/;HttpOnly"),
        }
    }
}

/// `1,200,000`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_slides() {
        let protection = Protection::new(Some(Limits::requests_in(2, 10)), 1, 10);
        assert!(protection.enter(0, 0).is_ok());
        assert!(protection.enter(0, 4000).is_ok());
        let (refusal, wait) = protection.enter(0, 5000).unwrap_err();
        assert_eq!((refusal.status, refusal.code.as_ref(), wait), (429, "0x80072322", 5));
        assert!(protection.enter(0, 10_000).is_ok());
    }

    #[test]
    fn concurrency_lasts_until_the_request_is_dropped() {
        let limits = Limits { requests: 100, execution_millis: u64::MAX, concurrent: 1, window_seconds: 300 };
        let protection = Protection::new(Some(limits), 1, 10);
        let stay = protection.enter(0, 0).unwrap();
        assert_eq!(protection.enter(0, 1).unwrap_err().0.code, "0x80072326");
        drop(stay);
        assert!(protection.enter(0, 2).is_ok());
    }

    #[test]
    fn execution_time_belongs_to_the_request_that_took_it() {
        let limits = Limits { requests: 100, execution_millis: 50, concurrent: 9, window_seconds: 300 };
        let protection = Protection::new(Some(limits), 1, 10);
        let took = |stay: Stay<'_>, millis| {
            leave(stay.window, stay.number.unwrap(), millis);
            std::mem::forget(stay);
        };
        let first = protection.enter(0, 0).unwrap();
        let second = protection.enter(0, 200_000).unwrap();
        took(first, 60);
        assert_eq!(protection.enter(0, 200_001).unwrap_err().0.code, "0x80072321");
        // The first slides out and its time with it, though the second came later.
        assert!(protection.enter(0, 300_001).is_ok());
        took(second, 60);
        assert_eq!(protection.enter(0, 300_002).unwrap_err().0.code, "0x80072321");
    }

    #[test]
    fn who_presses_on_waits_longer_and_never_longer_than_the_window() {
        let protection = Protection::new(Some(Limits::requests_in(1, 60)), 1, 2);
        assert!(protection.enter(0, 0).is_ok());
        let waits: Vec<u64> = (0..6).map(|_| protection.enter(0, 30_000).unwrap_err().1).collect();
        assert_eq!(waits, [30, 30, 31, 31, 32, 32]);
        (0..100).for_each(|_| assert!(protection.enter(0, 30_000).is_err()));
        assert_eq!(protection.enter(0, 30_000).unwrap_err().1, 60);
        // One that passes makes up for all.
        assert!(protection.enter(0, 60_000).is_ok());
        assert_eq!(protection.enter(0, 90_000).unwrap_err().1, 30);
        let patient = Protection::new(Some(Limits::requests_in(1, 60)), 1, 0);
        assert!(patient.enter(0, 0).is_ok());
        assert!((0..50).all(|_| patient.enter(0, 30_000).unwrap_err().1 == 30));
    }

    #[test]
    fn each_server_counts_for_itself_and_strays_go_round() {
        let protection = Protection::new(Some(Limits::requests_in(1, 10)), 3, 10);
        let turn: Vec<usize> = (0..4).map(|_| protection.server("")).collect();
        assert_eq!(turn, [0, 1, 2, 0]);
        assert_eq!(protection.server("a=b; ARRAffinity=sandbox-2"), 2);
        assert_eq!(protection.server("ARRAffinity=sandbox-3"), 1, "no such server: the next in turn");
        assert!(protection.enter(2, 0).is_ok() && protection.enter(2, 0).is_err() && protection.enter(1, 0).is_ok());
    }

    #[test]
    fn limits_change_under_the_requests_in_flight() {
        let protection = Protection::new(None, 1, 10);
        let uncounted = protection.enter(0, 0).unwrap();
        protection.set_limits(Some(Limits { concurrent: 2, ..Limits::requests_in(4, 10) }));
        let (first, second) = (protection.enter(0, 0).unwrap(), protection.enter(0, 0).unwrap());
        drop(uncounted);
        assert_eq!(protection.enter(0, 0).unwrap_err().0.code, "0x80072326", "both are still in");
        drop((first, second));
        // Half of it: what was let in counts against the new figure.
        protection.set_limits(Some(Limits::requests_in(2, 10)));
        assert_eq!(protection.enter(0, 1).unwrap_err().0.code, "0x80072322");
        assert_eq!(protection.load(1)[0].requests, 2);
        protection.set_limits(Some(Limits::requests_in(4, 10)));
        assert!(protection.enter(0, 1).is_ok());
        assert_eq!(protection.load(10_000)[0].requests, 1);
    }

    #[test]
    fn the_message_names_the_limit() {
        let limits = Limits { execution_millis: 1_200_000, ..Limits::default() };
        let protection = Protection::new(Some(limits), 1, 10);
        let stay = protection.enter(0, 0).unwrap();
        leave(stay.window, stay.number.unwrap(), 1_200_000);
        std::mem::forget(stay);
        let (refusal, _) = protection.enter(0, 0).unwrap_err();
        assert!(refusal.message.contains("exceeded limit of 1,200,000 milliseconds"), "{}", refusal.message);
    }
}
