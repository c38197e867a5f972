//! Scripted faults: which request is hit, and by what.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::prng::Prng;
use crate::service::Side;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The connection is cut before anything is done.
    ResetBefore,
    /// The request is carried out, then the connection is cut without an answer.
    ResetAfterCommit,
    /// The answer stops half-way and the connection is cut.
    Truncate,
    /// No answer ever (or after `delay_ms`, when that is given); nothing is done.
    Hang,
    /// The request waits `delay_ms`, then goes its way.
    Delay,
    /// The given status (default 503), headers and body; nothing is done.
    Status,
    /// A gateway's HTML page with the given status (default 502); nothing is done.
    Html,
    /// Answered with 504 at once, carried out `delay_ms` later.
    LateExecution,
    /// The service's own 429 with `Retry-After` (default 1 s, or as `headers` say); nothing is done.
    Throttle,
    /// The token that the request carries has expired.
    ExpireToken,
    /// The delta token that the request carries has expired.
    ExpireDelta,
    /// The request is answered, and the connection is cut when the client uses it for the next one.
    CloseOnReuse,
    /// The request is delivered twice, and carried out both times; the client gets the first answer.
    Duplicate,
    /// The answer comes byte by byte, with `delay_ms` (default one second) before each.
    Drip,
    /// Success in a megabyte of gzip that decompresses to a gibibyte of white space; nothing is done.
    GzipBomb,
    /// Success whose body never ends; nothing is done.
    Endless,
    /// Continuation links of the answer lead to another host.
    ForeignNextLink,
    /// The next link of the answer leads to the page that it came with.
    RepeatPage,
    /// A page without rows whose next link leads to the rows (Dataverse).
    EmptyPage,
    /// The next link that was followed is too old (Dataverse).
    StaleNextLink,
    /// The rows of the page come twice (Dataverse).
    ResendRows,
    /// A page of changes has one more deletion, of a row that nobody ever saw (Dataverse).
    UnseenDelete,
    /// The page has neither a next nor a delta link (Dataverse).
    NoLink,
    /// A look-up does not find a row that was created less than `delay_ms` ago; without `delay_ms`, whenever it was. In Campaign by
    /// key or filter, in Dataverse by alternate key.
    LookupLag,
}

impl FaultKind {
    /// Whether `delay_ms` means something else than a wait before the fault.
    pub(crate) fn has_its_own_delay(self) -> bool {
        matches!(self, Self::Hang | Self::LateExecution | Self::Drip | Self::LookupLag)
    }

    /// The one side that the fault is of; `None` for both.
    pub(crate) fn only_on(self) -> Option<Side> {
        let of_pages = matches!(
            self,
            Self::ExpireDelta
                | Self::EmptyPage
                | Self::StaleNextLink
                | Self::ResendRows
                | Self::UnseenDelete
                | Self::NoLink
        );
        of_pages.then_some(Side::Dataverse)
    }
}

/// One scripted fault, as the control interface takes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// The service that is hit; both when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
    /// HTTP method; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Route template (`/contacts({id})`, with or without the method before it), or a part of the path and query as sent.
    /// When absent, every record request matches and no set-up request does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The first matching request that is hit, from 1. Without `nth` and `probability`: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nth: Option<u64>,
    /// Share of the matching requests that are hit, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Seed of `probability` (default 0).
    #[serde(default)]
    pub seed: u64,
    /// How often it fires at most; default 1, with `probability` without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// What happens.
    pub fault: FaultKind,
    /// Status of `status`, `html`, `gzip_bomb`, `endless`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Headers of `status`, `html`, `throttle`, `gzip_bomb`, `endless`; an empty value takes away one that the answer would have: `{"Retry-After": ""}`
    /// makes a `throttle` that names no time.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Body of `status`, `html`: a text is sent as it stands, anything else as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<serde_json::Value>,
    /// Milliseconds of `delay`, `hang`, `late_execution`, `drip`, `lookup_lag`; before any other fault when given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
}

impl FaultRule {
    /// A rule that hits the next record request of a side once.
    pub fn new(side: Side, fault: FaultKind) -> Self {
        Self {
            side: Some(side),
            method: None,
            route: None,
            nth: None,
            probability: None,
            seed: 0,
            times: None,
            fault,
            status: None,
            headers: BTreeMap::new(),
            body: None,
            delay_ms: None,
        }
    }
}

#[derive(Debug)]
struct Armed {
    rule: FaultRule,
    seen: u64,
    fired: u64,
    draws: Prng,
}

/// A request as the rules see it.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Service.
    pub side: Side,
    /// HTTP method.
    pub method: &'a str,
    /// Method and route template.
    pub template: &'a str,
    /// Path and query as sent.
    pub path: &'a str,
    /// Whether this is a set-up request.
    pub setup: bool,
}

/// A rule that fired.
#[derive(Debug, Clone)]
pub struct Firing {
    /// The rule.
    pub rule: FaultRule,
    /// Its place in the book.
    pub(crate) at: usize,
    epoch: u64,
}

#[derive(Debug, Default)]
struct Book {
    armed: Vec<Armed>,
    /// Changes when the book is emptied, so that a firing of an earlier book is not taken back from a later one.
    epoch: u64,
}

/// The scripted faults.
#[derive(Debug, Default)]
pub struct FaultBook {
    book: Mutex<Book>,
}

/// One line of the list of faults.
#[derive(Debug, Clone, Serialize)]
pub struct FaultCount {
    /// The rule.
    #[serde(flatten)]
    pub rule: FaultRule,
    /// Requests that matched it.
    pub seen: u64,
    /// How often it fired.
    pub fired: u64,
}

impl FaultBook {
    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds rules after those that are there. The first rule that fires decides.
    pub fn add(&self, rules: Vec<FaultRule>) {
        let mut book = self.book();
        for rule in rules {
            let draws = Prng::stream(rule.seed, "faults");
            book.armed.push(Armed { rule, seen: 0, fired: 0, draws });
        }
    }

    /// Takes all rules away.
    pub fn clear(&self) {
        let mut book = self.book();
        book.armed.clear();
        book.epoch += 1;
    }

    /// The rules with their counts.
    pub fn list(&self) -> Vec<FaultCount> {
        let count = |armed: &Armed| FaultCount { rule: armed.rule.clone(), seen: armed.seen, fired: armed.fired };
        self.book().armed.iter().map(count).collect()
    }

    /// What hits this request, if anything does.
    pub fn decide(&self, target: Target<'_>) -> Option<Firing> {
        let mut book = self.book();
        let epoch = book.epoch;
        let mut hit = None;
        for (at, armed) in book.armed.iter_mut().enumerate() {
            if hit.is_some() || !matches(&armed.rule, target) {
                continue;
            }
            armed.seen += 1;
            let fires = if let Some(probability) = armed.rule.probability {
                armed.rule.times.is_none_or(|times| armed.fired < times) && armed.draws.fraction() < probability
            } else {
                armed.seen >= armed.rule.nth.unwrap_or(1) && armed.fired < armed.rule.times.unwrap_or(1)
            };
            if fires {
                armed.fired += 1;
                hit = Some(Firing { rule: armed.rule.clone(), at, epoch });
            }
        }
        hit
    }

    /// The fault found nothing to act on: it may fire again at the next request.
    pub fn take_back(&self, firing: &Firing) {
        let mut book = self.book();
        if book.epoch == firing.epoch
            && let Some(armed) = book.armed.get_mut(firing.at)
        {
            armed.fired = armed.fired.saturating_sub(1);
        }
    }
}

fn matches(rule: &FaultRule, target: Target<'_>) -> bool {
    if rule.side.is_some_and(|side| side != target.side) {
        return false;
    }
    if rule.method.as_deref().is_some_and(|method| !method.eq_ignore_ascii_case(target.method)) {
        return false;
    }
    if rule.fault.only_on().is_some_and(|side| side != target.side) {
        return false;
    }
    let token = match rule.fault {
        FaultKind::ExpireDelta => "deltatoken",
        FaultKind::StaleNextLink => "skiptoken",
        _ => "",
    };
    if !target.path.contains(token) {
        return false;
    }
    match &rule.route {
        None => !target.setup,
        Some(route) => {
            let bare = target.template.split_once(' ').map_or(target.template, |(_, bare)| bare);
            // A template is exact: `/contacts` does not mean `/contacts({id})`.
            if route.starts_with('/') || route.contains(" /") {
                route == bare || route == target.template || target.path == route
            } else {
                target.path.contains(route.as_str())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target<'a>(template: &'a str, path: &'a str, setup: bool) -> Target<'a> {
        Target { side: Side::Dataverse, method: template.split(' ').next().unwrap(), template, path, setup }
    }

    #[test]
    fn nth_and_times_make_a_window() {
        let book = FaultBook::default();
        let mut rule = FaultRule::new(Side::Dataverse, FaultKind::Throttle);
        rule.nth = Some(2);
        rule.times = Some(2);
        book.add(vec![rule]);
        let hits: Vec<bool> =
            (0..5).map(|_| book.decide(target("GET /contacts", "/api/data/v9.2/contacts", false)).is_some()).collect();
        assert_eq!(hits, [false, true, true, false, false]);
        assert_eq!((book.list()[0].seen, book.list()[0].fired), (5, 2));
    }

    #[test]
    fn a_rule_without_a_route_spares_set_up_requests() {
        let book = FaultBook::default();
        book.add(vec![FaultRule::new(Side::Dataverse, FaultKind::Status)]);
        assert!(book.decide(target("GET /WhoAmI", "/api/data/v9.2/WhoAmI", true)).is_none());
        assert!(book.decide(target("GET /contacts", "/api/data/v9.2/contacts", false)).is_some());
    }

    #[test]
    fn a_template_is_exact_and_a_fragment_is_not() {
        let book = FaultBook::default();
        let mut rule = FaultRule::new(Side::Dataverse, FaultKind::Status);
        rule.route = Some("/contacts".to_owned());
        book.add(vec![rule.clone()]);
        assert!(book.decide(target("GET /contacts({id})", "/api/data/v9.2/contacts(1)", false)).is_none());
        rule.route = Some("contacts(1".to_owned());
        book.clear();
        book.add(vec![rule]);
        assert!(book.decide(target("GET /contacts({id})", "/api/data/v9.2/contacts(1)", false)).is_some());
    }

    #[test]
    fn a_probability_is_repeatable() {
        let run = || {
            let book = FaultBook::default();
            let mut rule = FaultRule::new(Side::Dataverse, FaultKind::Status);
            rule.probability = Some(0.5);
            rule.seed = 7;
            book.add(vec![rule]);
            (0..64).map(|_| book.decide(target("GET /contacts", "/x", false)).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
        let hits = run().into_iter().filter(|hit| *hit).count();
        assert!((16..48).contains(&hits), "{hits}");
    }
}
