use std::path::PathBuf;

use d365_campaign::{Config, control};

use crate::exit::Exit;
use crate::{Format, output};

/// Records that could not be written.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum DeadLetters {
    /// Lists them, without their data.
    List(Selection),
    /// Puts them back into the backlog (not available yet).
    Requeue(Selection),
    /// Removes them (not available yet).
    Drop(Selection),
}

/// Which ones.
#[derive(Debug, clap::Args)]
pub(crate) struct Selection {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Of this Dynamics 365 table only.
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// With this reason only.
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
    /// With this number only; may be given several times.
    #[arg(long, value_name = "N")]
    id: Vec<u64>,
}

pub(crate) async fn run(command: DeadLetters, format: Format) -> Exit {
    let selection = match command {
        DeadLetters::List(selection) => selection,
        DeadLetters::Requeue(_) => return Exit::not_available("dead-letters requeue"),
        DeadLetters::Drop(_) => return Exit::not_available("dead-letters drop"),
    };
    let config = match Config::load(&selection.config) {
        Ok(config) => config,
        Err(error) => return Exit::from_error(&error),
    };
    let filter = control::DeadLetterFilter { table: selection.table, reason: selection.reason, ids: selection.id };
    let letters = match control::dead_letters(&config, &filter).await {
        Ok(letters) => letters,
        Err(error) => return Exit::from_error(&error),
    };
    match format {
        Format::Json => {
            for letter in &letters {
                output::json(letter);
            }
            output::json(&serde_json::json!({ "event": "summary", "dead_letters": letters.len() }));
        }
        Format::Text if letters.is_empty() => output::line("no dead letters"),
        Format::Text => {
            for letter in &letters {
                let field = letter.field.as_deref().map(|field| format!(" in {field}")).unwrap_or_default();
                output::line(&format!(
                    "{}  {}  {}  {}{field}: {} ({} attempts, {})",
                    letter.id,
                    letter.table,
                    letter.record,
                    letter.reason,
                    letter.explanation,
                    letter.attempts,
                    letter.at
                ));
            }
        }
    }
    Exit::code(Exit::DONE).summarised()
}
