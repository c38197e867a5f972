//! Scripted faults of the file exchange: which operation is hit, and by what.

use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::files::locked;
use crate::prng::Prng;

/// What happens to an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SftpFaultKind {
    /// The connection is cut before anything is done.
    ResetBefore,
    /// The operation is carried out, then the connection is cut without an answer.
    ResetAfterCommit,
    /// `READ`: half of the data, and the connection is cut at the next operation.
    Truncate,
    /// No answer ever, or after `delay_ms` when that is given; nothing is done.
    Hang,
    /// The operation waits `delay_ms`, then goes its way.
    Delay,
    /// `READ`: one byte in place of what was asked for, after `delay_ms`.
    Drip,
    /// The general failure of the protocol; nothing is done.
    Status,
    /// `CONNECT`: the server shows another host key.
    HostKey,
}

/// One scripted fault of the file exchange, as the control interface takes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SftpFaultRule {
    /// Always `sftp`.
    pub side: SftpSide,
    /// Operation: `CONNECT`, `OPEN`, `READ`, `WRITE`, `CLOSE`, `FSYNC`, `LIST`, `RENAME`, `REMOVE`, `MKDIR`, `STAT`; any but `CONNECT`
    /// when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// A part of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The first matching operation that is hit, from 1. Without `nth` and `probability`: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nth: Option<u64>,
    /// Share of the matching operations that are hit, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Seed of `probability` (default 0).
    #[serde(default)]
    pub seed: u64,
    /// How often it fires at most; default 1, with `probability` without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// What happens.
    pub fault: SftpFaultKind,
    /// Milliseconds of `delay`, `hang`, `drip`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
}

/// The side that these rules are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SftpSide {
    /// The file exchange.
    Sftp,
}

impl SftpFaultRule {
    /// A rule that hits the next operation of a kind once.
    pub fn new(method: &str, fault: SftpFaultKind) -> Self {
        Self {
            side: SftpSide::Sftp,
            method: Some(method.to_owned()),
            route: None,
            nth: None,
            probability: None,
            seed: 0,
            times: None,
            fault,
            delay_ms: None,
        }
    }

    /// What is wrong with the rule.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let on = |method: &str| self.method.as_deref().is_some_and(|given| given.eq_ignore_ascii_case(method));
        let checks = [
            (self.probability.is_some_and(|p| !(0.0..=1.0).contains(&p)), "probability is from 0 to 1"),
            (self.nth.is_some() && self.probability.is_some(), "nth and probability exclude each other"),
            (self.nth == Some(0), "nth counts from 1"),
            (self.fault == SftpFaultKind::HostKey && !on("CONNECT"), "host_key is a fault of CONNECT"),
            (
                matches!(self.fault, SftpFaultKind::Truncate | SftpFaultKind::Drip) && !on("READ"),
                "the fault is one of READ",
            ),
        ];
        checks.into_iter().find_map(|(wrong, message)| wrong.then_some(message))
    }
}

#[derive(Debug)]
struct Armed {
    rule: SftpFaultRule,
    seen: u64,
    fired: u64,
    draws: Prng,
}

/// One line of the list of faults.
#[derive(Debug, Clone, Serialize)]
pub struct SftpFaultCount {
    /// The rule.
    #[serde(flatten)]
    pub rule: SftpFaultRule,
    /// Operations that matched it.
    pub seen: u64,
    /// How often it fired.
    pub fired: u64,
}

/// The scripted faults of the file exchange.
#[derive(Debug, Default)]
pub struct SftpFaultBook {
    armed: Mutex<Vec<Armed>>,
}

impl SftpFaultBook {
    /// Adds rules after those that are there. The first rule that fires decides.
    pub fn add(&self, rules: impl IntoIterator<Item = SftpFaultRule>) {
        let arm =
            |rule: SftpFaultRule| Armed { draws: Prng::stream(rule.seed, "sftp faults"), rule, seen: 0, fired: 0 };
        locked(&self.armed).extend(rules.into_iter().map(arm));
    }

    /// Takes all rules away.
    pub fn clear(&self) {
        locked(&self.armed).clear();
    }

    /// The rules with their counts.
    pub fn list(&self) -> Vec<SftpFaultCount> {
        let count = |armed: &Armed| SftpFaultCount { rule: armed.rule.clone(), seen: armed.seen, fired: armed.fired };
        locked(&self.armed).iter().map(count).collect()
    }

    pub(super) fn decide(&self, method: &str, path: &str) -> Option<SftpFaultRule> {
        let mut hit = None;
        for armed in locked(&self.armed).iter_mut() {
            let of_method = match &armed.rule.method {
                Some(wanted) => wanted.eq_ignore_ascii_case(method),
                None => method != "CONNECT",
            };
            let of_path = armed.rule.route.as_deref().is_none_or(|part| path.contains(part));
            if hit.is_some() || !of_method || !of_path {
                continue;
            }
            armed.seen += 1;
            let fires = match armed.rule.probability {
                Some(share) => {
                    armed.rule.times.is_none_or(|times| armed.fired < times) && armed.draws.fraction() < share
                }
                None => armed.seen >= armed.rule.nth.unwrap_or(1) && armed.fired < armed.rule.times.unwrap_or(1),
            };
            if fires {
                armed.fired += 1;
                hit = Some(armed.rule.clone());
            }
        }
        hit
    }
}
