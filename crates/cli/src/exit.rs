//! How the program ends: one message on standard error and one of the published exit codes.

use std::io::Write;
use std::process::ExitCode;

use d365_campaign::{Error, ErrorKind};

use crate::{Format, output};

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Exit {
    code: u8,
    problems: Vec<serde_json::Value>,
    text: String,
    /// Whether the command wrote its summary itself.
    summarised: bool,
}

impl Exit {
    /// Done.
    pub(crate) const DONE: u8 = 0;
    /// A service refused or a workflow failed.
    pub(crate) const FAILED: u8 = 1;
    /// Usage or configuration, seen without asking a service.
    pub(crate) const USAGE: u8 = 2;
    /// Preflight found a fault.
    pub(crate) const PREFLIGHT: u8 = 3;
    /// Done, but dead letters were added.
    pub(crate) const DEAD_LETTERS: u8 = 4;
    /// Interrupted from the keyboard, stopped in good order.
    pub(crate) const INTERRUPTED: u8 = 130;

    /// An end with nothing to say.
    pub(crate) fn code(code: u8) -> Self {
        Self { code, problems: Vec::new(), text: String::new(), summarised: false }
    }

    /// An end with a message.
    pub(crate) fn with_message(code: u8, message: &str) -> Self {
        let problems = vec![serde_json::json!({ "message": message })];
        Self { code, problems, text: message.to_owned(), summarised: false }
    }

    /// A failure with a message.
    pub(crate) fn failed(message: &str) -> Self {
        Self::with_message(Self::FAILED, message)
    }

    /// What the library refused. Trouble seen without asking a service ends with 2, everything else with 1.
    pub(crate) fn from_error(error: &Error) -> Self {
        let code = match error.kind() {
            ErrorKind::Configuration | ErrorKind::Store => Self::USAGE,
            _ => Self::FAILED,
        };
        let problems = error
            .problems()
            .iter()
            .map(|problem| {
                serde_json::json!({
                    "place": problem.place,
                    "line": problem.line,
                    "message": problem.message,
                    "remedy": problem.remedy,
                })
            })
            .collect();
        Self { code, problems, text: error.to_string(), summarised: false }
    }

    /// The same problems under another code.
    pub(crate) fn recoded(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// The same of a command whose summary stands on standard output already.
    pub(crate) fn summarised(mut self) -> Self {
        self.summarised = true;
        self
    }

    /// What is wrong, as objects.
    pub(crate) fn problems(&self) -> &[serde_json::Value] {
        &self.problems
    }

    /// Says it and ends. For programs the last line of standard output is a summary, however the command ended.
    pub(crate) fn finish(self, format: Format) -> ExitCode {
        if format == Format::Json && !self.summarised {
            output::json(&serde_json::json!({ "event": "summary", "exit_code": self.code, "problems": self.problems }));
        }
        let mut err = std::io::stderr().lock();
        // Nobody is left to tell when standard error itself cannot be written.
        let _ = match format {
            Format::Json if !self.problems.is_empty() => {
                writeln!(err, "{}", serde_json::json!({ "event": "error", "problems": self.problems }))
            }
            _ if self.text.is_empty() => Ok(()),
            _ => writeln!(err, "{}", self.text),
        };
        ExitCode::from(self.code)
    }
}
