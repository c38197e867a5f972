use std::io::Write;
use std::path::PathBuf;

use d365_campaign::template;

use crate::exit::Exit;
use crate::{Format, output};

/// Writes a commented configuration to start from.
#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// Fills in the addresses and credentials of a running sandbox, asked at its control address.
    #[arg(long, value_name = "CONTROL_URL")]
    from_sandbox: Option<String>,
    /// Writes to this file, which must not exist; to standard output when absent.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) async fn run(arguments: Init, format: Format) -> Exit {
    let text = match &arguments.from_sandbox {
        Some(control) => match template::from_sandbox(control).await {
            Ok(text) => text,
            Err(error) => return Exit::from_error(&error),
        },
        None => template::commented(),
    };
    let Some(file) = arguments.output else {
        match format {
            Format::Json => output::json(&serde_json::json!({ "event": "summary", "configuration": text })),
            Format::Text => output::line(text.trim_end()),
        }
        return Exit::code(Exit::DONE).summarised();
    };
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&file)
        .and_then(|mut handle| handle.write_all(text.as_bytes()));
    match written {
        Ok(()) => {
            match format {
                Format::Json => output::json(&serde_json::json!({ "event": "summary", "written": file })),
                Format::Text => output::line(&format!("wrote {}", file.display())),
            }
            Exit::code(Exit::DONE).summarised()
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Exit::with_message(
            Exit::USAGE,
            &format!("{} exists already and was not changed. Remedy: name a file that does not exist.", file.display()),
        ),
        Err(error) => Exit::with_message(
            Exit::USAGE,
            &format!(
                "{} cannot be written: {}. Remedy: name a file in a folder you may write.",
                file.display(),
                error.kind()
            ),
        ),
    }
}
