use std::path::Path;

use d365_campaign::{Config, control};

use crate::exit::Exit;
use crate::{Format, output};

pub(crate) async fn run(file: &Path, format: Format) -> Exit {
    let status = match Config::load(file) {
        Ok(config) => control::status(&config).await,
        Err(error) => return Exit::from_error(&error),
    };
    let status = match status {
        Ok(status) => status,
        Err(error) => return Exit::from_error(&error),
    };
    if format == Format::Json {
        output::summary(&status);
        return Exit::code(Exit::DONE).summarised();
    }
    for workflow in &status.workflows {
        output::line(&format!("{}: {}, backlog {}", workflow.workflow, workflow.state, workflow.backlog));
        if let Some(reason) = &workflow.last_error {
            output::line(&format!("  {} Remedy: {}", reason.message, reason.remedy));
        }
        let rows: Vec<Vec<String>> = workflow
            .tables
            .iter()
            .map(|table| {
                vec![
                    format!("  {} -> {}", table.table, table.resource),
                    table.phase.to_string(),
                    table.backlog.to_string(),
                    table.oldest_age_seconds.map_or_else(|| "-".to_owned(), |age| format!("{age} s")),
                    table.dead_letters.to_string(),
                    table.totals.read.to_string(),
                ]
            })
            .collect();
        output::line(&output::table(&["  table", "phase", "backlog", "oldest", "dead letters", "read"], &rows));
    }
    Exit::code(Exit::DONE)
}
