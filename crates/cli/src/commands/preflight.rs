use std::path::Path;

use d365_campaign::preflight::{Check, Report, Status, preflight};
use d365_campaign::{Config, Error};

use crate::exit::Exit;
use crate::{Format, output};

pub(crate) async fn run(file: &Path, format: Format) -> Exit {
    let config = match Config::load_with_references(file) {
        Ok(config) => config,
        Err(error) => return Exit::from_error(&error),
    };
    let report = match preflight(&config).await {
        Ok(report) => report,
        Err(error) => return Exit::from_error(&error),
    };
    let exit = if report.passed() {
        Exit::code(Exit::DONE)
    } else {
        Exit::from_error(&Error::from(&report)).recoded(Exit::PREFLIGHT)
    };
    match format {
        Format::Json => objects(&report, exit.problems()),
        Format::Text => report.checks.iter().for_each(|check| output::line(&row(check))),
    }
    exit.summarised()
}

/// A line of the table, with the remedy beneath where there is one.
fn row(check: &Check) -> String {
    let status = match check.status {
        Status::Ok => "ok",
        Status::Failed => "FAILED",
        Status::Warning => "warning",
        _ => "skipped",
    };
    let mut row = format!("{status:<7}  {:<27}  {}", check.name, check.message);
    row.truncate(row.trim_end().len());
    if !check.remedy.is_empty() {
        row.push_str(&format!("\n{:<9}{:<27}  Remedy: {}", "", "", check.remedy));
    }
    row
}

fn objects(report: &Report, problems: &[serde_json::Value]) {
    let mut counts = std::collections::BTreeMap::from(["failed", "ok", "skipped", "warning"].map(|status| (status, 0)));
    for check in &report.checks {
        let status = match check.status {
            Status::Ok => "ok",
            Status::Failed => "failed",
            Status::Warning => "warning",
            _ => "skipped",
        };
        *counts.entry(status).or_default() += 1;
        output::json(&serde_json::json!({
            "event": "check", "check": check.name, "side": check.side, "status": status,
            "passed": check.status != Status::Failed, "message": check.message, "remedy": check.remedy,
        }));
    }
    output::json(&serde_json::json!({
        "event": "summary", "passed": report.passed(), "checks": report.checks.len(), "statuses": counts, "problems": problems,
    }));
}
