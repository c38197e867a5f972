use std::path::Path;

use d365_campaign::{Config, Connector};

use crate::exit::Exit;
use crate::{Format, output};

pub(crate) async fn run(file: &Path, format: Format) -> Exit {
    let config = match Config::load_with_references(file) {
        Ok(config) => config,
        Err(error) => return Exit::from_error(&error),
    };
    let (checks, exit) = match Connector::builder(config).check().await {
        Ok(checks) => (checks, Exit::code(Exit::DONE)),
        Err(error) => (Vec::new(), Exit::from_error(&error).recoded(Exit::PREFLIGHT)),
    };
    for check in &checks {
        match format {
            Format::Json => output::json(&serde_json::json!({ "event": "check", "passed": true, "check": check })),
            Format::Text => output::line(&format!("ok  {check}")),
        }
    }
    if format == Format::Json {
        let problems = exit.problems();
        output::json(&serde_json::json!({
            "event": "summary", "passed": problems.is_empty(), "checks": checks.len(), "problems": problems,
        }));
    }
    exit.summarised()
}
