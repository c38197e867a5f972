use std::path::PathBuf;

use d365_campaign::control::{self, CarriedOutBy, LeftRequest};
use d365_campaign::{Config, Error};

use crate::exit::Exit;
use crate::{Format, output};

/// Has all records of a table written again.
#[derive(Debug, clap::Args)]
pub(crate) struct Replay {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The Dynamics 365 table.
    #[arg(long, value_name = "NAME")]
    table: String,
    /// At once, instead of with the next start.
    #[arg(long)]
    now: bool,
}

pub(crate) async fn run(arguments: Replay, format: Format) -> Exit {
    let config = match Config::load(&arguments.config) {
        Ok(config) => config,
        Err(error) => return Exit::from_error(&error),
    };
    let left = control::replay(&config, &arguments.table, arguments.now).await;
    report(left.map(|left| vec![left]), format)
}

/// Says what was asked, and who will do it.
pub(crate) fn report(left: Result<Vec<LeftRequest>, Error>, format: Format) -> Exit {
    let left = match left {
        Ok(left) => left,
        Err(error) => return Exit::from_error(&error),
    };
    match format {
        Format::Json => output::summary(&serde_json::json!({ "requests": left })),
        Format::Text if left.is_empty() => output::line("no dead letters; nothing was asked"),
        Format::Text => {
            for request in &left {
                output::line(&sentence(request));
            }
        }
    }
    Exit::code(Exit::DONE).summarised()
}

fn sentence(left: &LeftRequest) -> String {
    let letters = left.dead_letters.map(|count| format!(" of {count} dead letters")).unwrap_or_default();
    let by = match left.carried_out_by {
        CarriedOutBy::RunningProcess => "the running process carries it out within seconds",
        CarriedOutBy::NextStart => "the next start of the workflow carries it out",
    };
    let already = if left.pending_already { ", asked for already" } else { "" };
    format!("{}: {}{letters} (request {}{already}); {by}", left.table, left.request, left.id)
}
