use std::path::Path;

use d365_campaign::Config;
use d365_campaign::control::{self, FilesReport, PendingRequestView, TableReport};

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
        if workflow.pending_changes {
            output::line("  settings were edited; they count after a stop and a start of the process that runs");
        }
        if let Some(gaps) = &workflow.gaps {
            let times = if gaps.count == 1 { "once".to_owned() } else { format!("{} times", gaps.count) };
            output::line(&format!(
                "  events are missing: {times}, last at {}, the journal no longer kept what was to be read next",
                gaps.last
            ));
        }
        for line in workflow.files.iter().filter_map(files) {
            output::line(&format!("  {line}"));
        }
        for request in &workflow.requests {
            output::line(&format!("  {}", waiting(request)));
        }
        let rows: Vec<Vec<String>> = workflow.tables.iter().map(row).collect();
        output::line(&output::table(&HEADER, &rows));
        for table in &workflow.tables {
            if let Some(pass) = &table.pass {
                let kind = serde_json::to_value(pass.kind).unwrap_or_default();
                let stage = if pass.scanned { "looking for what is missing" } else { "reading the whole table" };
                output::line(&format!(
                    "  {}: {} pass under way, {stage}; {} rows met, {} read again",
                    table.table,
                    kind.as_str().unwrap_or_default(),
                    pass.rows,
                    pass.reread
                ));
            }
        }
    }
    Exit::code(Exit::DONE)
}

const HEADER: [&str; 8] =
    ["  table", "phase", "backlog", "oldest", "waiting for another", "dead letters", "position", "read"];

fn row(table: &TableReport) -> Vec<String> {
    let position = match (table.position_age_seconds, table.position_state) {
        (None, _) => "-".to_owned(),
        (Some(age), None) => format!("{age} s"),
        (Some(age), Some(state)) => format!("{age} s, {state}"),
    };
    vec![
        format!("  {} -> {}", table.table, table.resource),
        table.phase.to_string(),
        table.backlog.to_string(),
        table.oldest_age_seconds.map_or_else(|| "-".to_owned(), |age| format!("{age} s")),
        table.waiting.to_string(),
        table.dead_letters.to_string(),
        position,
        table.totals.read.to_string(),
    ]
}

/// What is to be said of files that are expected; their absence is told by the reason of the workflow while it runs.
fn files(files: &FilesReport) -> Option<String> {
    let until = files.expected_until.as_deref()?;
    Some(match (&files.overdue, &files.last) {
        (Some(overdue), _) => format!("{} ({})", overdue.message, overdue.code),
        (None, Some(last)) => format!("the last file was read at {last}, the next is expected until {until}"),
        (None, None) => format!("no file was read yet, the first is expected until {until}"),
    })
}

fn waiting(request: &PendingRequestView) -> String {
    let table = request.table.as_deref().unwrap_or("all tables");
    let when = if request.at_next_start { "waits for the next start" } else { "waits to be carried out" };
    format!("{table}: {} asked at {} {when} (request {})", request.request, request.asked_at, request.id)
}
