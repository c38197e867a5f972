//! What the checks found, and the report made of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::name::{Name, Side};
use crate::error::Problem;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Status {
    /// In order.
    Ok,
    /// A run would fail, or do the wrong thing.
    Failed,
    /// A run goes on, at a price that the message names.
    Warning,
    /// Not made; the message says why.
    Skipped,
}

/// One check and its result.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// Its stable name, such as `change-tracking-on`.
    pub name: &'static str,
    /// The side that it concerns.
    pub side: Side,
    /// How it ended.
    pub status: Status,
    /// What was found, one sentence or several.
    pub message: String,
    /// How to mend it; empty where there is nothing to mend.
    pub remedy: String,
    /// Everything that it found wrong, with the places in the configuration.
    pub problems: Vec<Problem>,
}

/// Every check, those that others need before those that need them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The checks.
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether no check failed. Warnings and skipped checks are no failures: what a skipped check waits for has failed itself, or
    /// is not configured.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.status != Status::Failed)
    }

    /// What made checks fail.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.checks.iter().filter(|check| check.status == Status::Failed).flat_map(|check| &check.problems)
    }
}

/// What is known so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: BTreeMap<Name, Finding>,
    unasked: BTreeSet<Name>,
}

#[derive(Debug, Default)]
struct Finding {
    good: Vec<String>,
    warnings: Vec<Problem>,
    faults: Vec<Problem>,
}

impl Findings {
    fn of(&mut self, name: Name) -> &mut Finding {
        self.found.entry(name).or_default()
    }

    /// Nothing configured asks for the check, whatever becomes of those that it needs.
    pub(super) fn unasked(&mut self, name: Name) {
        self.unasked.insert(name);
    }

    /// The check was made and found this in order.
    pub(super) fn good(&mut self, name: Name, message: impl Into<String>) {
        self.of(name).good.push(message.into());
    }

    /// The check was made; a run works, but not as well as it could.
    pub(super) fn warning(&mut self, name: Name, problem: Problem) {
        self.of(name).warnings.push(problem);
    }

    /// Something is wrong; it belongs to the check that the problem names, or else to `otherwise`.
    pub(super) fn fault(&mut self, otherwise: Name, problem: Problem) {
        self.of(problem.check.unwrap_or(otherwise)).faults.push(problem);
    }

    /// Whether the check was made and found nothing wrong.
    pub(super) fn passed(&self, name: Name) -> bool {
        self.found.get(&name).is_some_and(|finding| finding.faults.is_empty())
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.unasked.extend(other.unasked);
        for (name, found) in other.found {
            let finding = self.of(name);
            finding.good.extend(found.good);
            finding.warnings.extend(found.warnings);
            finding.faults.extend(found.faults);
        }
    }

    /// The report: a check of which nothing is known was not made, because of another one or because nothing configured asks for
    /// it.
    pub(super) fn report(mut self) -> Report {
        let mut checks: Vec<Check> = Vec::new();
        for name in Name::ALL {
            let check = match self.found.remove(name) {
                Some(finding) => finding.check(*name),
                None => {
                    let stands = |need: &&Name| {
                        let known = checks.iter().find(|check| check.name == need.as_str());
                        known.is_some_and(|check| matches!(check.status, Status::Ok | Status::Warning))
                    };
                    let message = match name.needs().iter().find(|need| !stands(need)) {
                        Some(need) if !self.unasked.contains(name) => {
                            format!("Not made before {} passes.", need.as_str())
                        }
                        _ => "Nothing in the configuration asks for it.".to_owned(),
                    };
                    check(*name, Status::Skipped, message, Vec::new())
                }
            };
            checks.push(check);
        }
        Report { checks }
    }
}

impl Finding {
    fn check(self, name: Name) -> Check {
        let (status, problems) = match (self.faults.is_empty(), self.warnings.is_empty()) {
            (false, _) => (Status::Failed, self.faults),
            (true, false) => (Status::Warning, self.warnings),
            (true, true) => return check(name, Status::Ok, self.good.join(" "), Vec::new()),
        };
        let message = joined(problems.iter().map(|problem| format!("{}: {}", problem.place, problem.message)));
        check(name, status, message, problems)
    }
}

fn check(name: Name, status: Status, message: String, problems: Vec<Problem>) -> Check {
    let remedy = joined(problems.iter().map(|problem| problem.remedy.clone()));
    Check { name: name.as_str(), side: name.side(), status, message, remedy, problems }
}

/// The sentences, each once.
fn joined(sentences: impl Iterator<Item = String>) -> String {
    let mut all: Vec<String> = Vec::new();
    for sentence in sentences.filter(|sentence| !sentence.is_empty()) {
        if !all.contains(&sentence) {
            all.push(sentence);
        }
    }
    all.join(" ")
}
