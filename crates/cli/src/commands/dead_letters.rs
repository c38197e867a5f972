use std::path::PathBuf;

use d365_campaign::{Config, Error, control};

use super::replay;
use crate::exit::Exit;
use crate::{Format, output};

/// Records that could not be written.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum DeadLetters {
    /// Lists them, without their data.
    List(Selection),
    /// Has their records read again and queued.
    Requeue(Selection),
    /// Has them forgotten; their records stay as they are in Campaign.
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

impl Selection {
    fn read(self) -> Result<(Config, control::DeadLetterFilter), Error> {
        let config = Config::load(&self.config)?;
        Ok((config, control::DeadLetterFilter { table: self.table, reason: self.reason, ids: self.id }))
    }
}

pub(crate) async fn run(command: DeadLetters, format: Format) -> Exit {
    match command {
        DeadLetters::List(selection) => list(selection, format).await,
        DeadLetters::Requeue(selection) => match selection.read() {
            Ok((config, filter)) => replay::report(control::requeue(&config, &filter).await, format),
            Err(error) => Exit::from_error(&error),
        },
        DeadLetters::Drop(selection) => match selection.read() {
            Ok((config, filter)) => replay::report(control::drop_letters(&config, &filter).await, format),
            Err(error) => Exit::from_error(&error),
        },
    }
}

async fn list(selection: Selection, format: Format) -> Exit {
    let (config, filter) = match selection.read() {
        Ok(read) => read,
        Err(error) => return Exit::from_error(&error),
    };
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
