use std::path::Path;

use d365_campaign::{Config, Connector};

use crate::exit::Exit;
use crate::{Format, output};

pub(crate) async fn run(file: &Path, format: Format) -> Exit {
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(error) => return Exit::from_error(&error),
    };
    match Connector::builder(config).check().await {
        Ok(checks) => {
            for check in checks {
                match format {
                    Format::Json => {
                        output::json(&serde_json::json!({ "event": "check", "passed": true, "check": check }))
                    }
                    Format::Text => output::line(&format!("ok  {check}")),
                }
            }
            Exit::code(Exit::DONE)
        }
        Err(error) => Exit::from_error(&error).recoded(Exit::PREFLIGHT),
    }
}
