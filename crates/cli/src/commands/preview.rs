use std::path::PathBuf;

use d365_campaign::Config;
use d365_campaign::preview::{Preview, preview};
use serde_json::Value;

use crate::exit::Exit;
use crate::{Format, output};

/// One record.
#[derive(Debug, clap::Args)]
pub(crate) struct OneRecord {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// The Dynamics 365 table.
    #[arg(long, value_name = "NAME")]
    pub(crate) table: String,
    /// The record's id there, a GUID.
    #[arg(long, value_name = "ID")]
    pub(crate) id: String,
}

pub(crate) async fn run(of: OneRecord, format: Format) -> Exit {
    let config = match Config::load_with_references(&of.config) {
        Ok(config) => config,
        Err(error) => return Exit::from_error(&error),
    };
    let preview = match preview(&config, &of.table, &of.id).await {
        Ok(preview) => preview,
        Err(error) => return Exit::from_error(&error),
    };
    match format {
        Format::Text => output::line(&preview.to_string()),
        Format::Json => objects(&preview),
    }
    Exit::code(Exit::DONE).summarised()
}

/// Each rule, field and request on a line of its own, and then the rest.
fn objects(preview: &Preview) {
    let Ok(Value::Object(mut rest)) = serde_json::to_value(preview) else { return };
    for (list, event) in [("rules", "rule"), ("fields", "field"), ("requests", "request")] {
        let Some(Value::Array(items)) = rest.remove(list) else { continue };
        for item in items {
            let mut line = serde_json::json!({ "event": event });
            if let (Some(line), Value::Object(item)) = (line.as_object_mut(), item) {
                line.extend(item);
            }
            output::json(&line);
        }
    }
    output::summary(&Value::Object(rest));
}
